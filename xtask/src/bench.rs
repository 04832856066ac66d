//! `cargo xtask bench`: measures what the design promises, in release, and says whether it is met.

use std::process::Command;

use serde_json::Value;

use crate::tools::{self, RELEASED, cargo, npm, run_quietly, target_dir};
use crate::{Result, binaries, web};

/// Runs the named benchmarks, or all of them; of `agent` and `store` also single parts, such as `agent rest`.
pub(crate) fn run(args: &[&str]) -> Result {
    let json = args.contains(&"--json");
    let args: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--json").collect();
    let (named, parts): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| ["agent", "store", "web"].contains(arg));
    if let Some(part) = parts.first()
        && !matches!(named[..], ["agent"] | ["store"])
    {
        return Err(
            format!("no benchmark {part}: there are agent, store and web; parts are of agent or of store").into()
        );
    }
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let mut numbers = Vec::new();
    if wanted("agent") {
        numbers.extend(rust("bench-agent", &parts, &[])?);
    }
    if wanted("agent") && parts.is_empty() {
        numbers.extend(heap()?);
        let binaries = binaries::release()?;
        numbers.extend(rust("bench-wire", &[], &[("TEPHRA_BINARIES", binaries.folder.as_os_str())])?);
    }
    if wanted("store") {
        let binaries = binaries::release()?;
        numbers.extend(rust("bench-store", &parts, &[("TEPHRA_BINARIES", binaries.folder.as_os_str())])?);
    }
    if wanted("web") {
        web::install()?;
        numbers.extend(read(&run_quietly(npm().args(["run", "--silent", "bench"]))?)?);
    }
    if json {
        println!("{:#}", Value::Array(numbers));
    } else {
        numbers.iter().for_each(print);
    }
    Ok(())
}

/// The heap profiler's cost, over jemalloc too, and beside another sampler where that can be built.
fn heap() -> Result<Vec<Value>> {
    let beside: &[&str] =
        if std::env::var_os("LIBCLANG_PATH").is_some() { &["--features", "tephra-tests/libdd"] } else { &[] };
    rust_with("bench-heap", beside, &[], &[])
}

fn rust(program: &str, parts: &[&str], env: &[(&str, &std::ffi::OsStr)]) -> Result<Vec<Value>> {
    rust_with(program, &[], parts, env)
}

fn rust_with(program: &str, options: &[&str], parts: &[&str], env: &[(&str, &std::ffi::OsStr)]) -> Result<Vec<Value>> {
    tools::run(cargo().arg("build").args(RELEASED).args(options).args(["--quiet", "--bin", program]))?;
    let mut command = Command::new(target_dir().join("release").join(program));
    read(&run_quietly(command.args(parts).envs(env.iter().copied()))?)
}

/// The numbers are the last thing a benchmark prints, as one JSON array.
fn read(output: &str) -> Result<Vec<Value>> {
    let start = output.rfind("\n[").map_or(0, |at| at + 1);
    serde_json::from_str(output[start..].trim()).map_err(|e| format!("not an array of numbers: {e}\n{output}").into())
}

fn print(number: &Value) {
    let text = |key: &str| number[key].as_str().unwrap_or_default().to_owned();
    let value = number["value"].as_f64().unwrap_or(f64::NAN);
    let verdict = match number["met"].as_bool() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    let goal = match &number["goal"] {
        Value::Null => String::new(),
        Value::String(goal) => format!("goal {goal}"),
        goal => format!("goal {goal}"),
    };
    println!("{:<58} {value:>14.3} {:<12} {goal:<22} {verdict}", text("name"), text("unit"));
}
