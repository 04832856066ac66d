//! Sends people to the shop: `shop-load [--target URL] [--rate PER_SECOND] [--seconds N] [--seed N] [--tally FILE]`.
//!
//! Ends when the time is over, or when asked to (SIGTERM, Ctrl-C), once everybody has their answer. The file then holds what became of
//! every request, as JSON.

use std::path::PathBuf;
use std::time::Duration;

use shop::client::Error;
use shop::load::{self, Plan};
use shop::service;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (plan, tally) = read_plan(std::env::args().skip(1))?;
    println!("{} requests/s to {}", plan.rate, plan.target);
    let mut outcomes = load::run(&plan, service::asked_to_stop()?).await;
    for (route, outcome) in &mut outcomes {
        outcome.took_ns.sort_unstable();
        let at = |share: f64| {
            let last = outcome.took_ns.len().saturating_sub(1) as f64;
            Duration::from_nanos(outcome.took_ns.get((last * share) as usize).copied().unwrap_or_default())
        };
        let good = outcome.answered - outcome.failed;
        println!(
            "{route:<18} {good:>6} ok {:>5} failed   p50 {:>9.1?}   p99 {:>9.1?}   max {:>9.1?}",
            outcome.sent + outcome.turned_away - good,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    if let Some(file) = tally {
        std::fs::write(&file, serde_json::to_vec(&outcomes)?)
            .map_err(|why| format!("cannot write {}: {why}", file.display()))?;
    }
    Ok(())
}

fn read_plan(mut args: impl Iterator<Item = String>) -> Result<(Plan, Option<PathBuf>), Error> {
    let mut plan = Plan { target: "http://127.0.0.1:4051".to_owned(), rate: 60.0, lasts: None, seed: 7 };
    let mut tally = None;
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--target" => plan.target = value,
            "--rate" => plan.rate = value.parse::<f64>()?.clamp(0.1, 2_000.0),
            "--seconds" => plan.lasts = Some(Duration::from_secs(value.parse()?)),
            "--seed" => plan.seed = value.parse()?,
            "--tally" => tally = Some(value.into()),
            _ => {
                return Err(format!("unknown option {name}: try --target, --rate, --seconds, --seed or --tally").into());
            }
        }
    }
    Ok((plan, tally))
}
