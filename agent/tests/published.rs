//! Another process finds out which trace a thread works for, as OTEP 4947 says: by the symbol `otel_thread_ctx_v1`, the ABI's
//! rules for thread-local storage, and the record that it points to.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "pprof-fallback")))]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use tephra_agent::{TraceContext, attach};

const ROLE: &str = "TEPHRA_TEST_ROLE";
const TEST: &str = "another_process_reads_the_trace_that_a_thread_works_for";

const CONTEXT: TraceContext = TraceContext {
    trace_id: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    span_id: [21, 22, 23, 24, 25, 26, 27, 28],
    flags: 1,
};

#[test]
fn another_process_reads_the_trace_that_a_thread_works_for() {
    if std::env::var_os(ROLE).is_some() {
        return be_read();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(ROLE, "writer")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = |input: &mut ChildStdin| {
        let said = output.by_ref().find_map(|line| Some(line.split_once("thread ")?.1.parse::<i32>().unwrap()));
        let record = read_record(&child, said.unwrap());
        input.write_all(b"go on\n").unwrap();
        record
    };
    assert_eq!(next(&mut input), None, "it has not worked for any trace yet");
    let record = next(&mut input).expect("a record");
    assert_eq!(record[..16], CONTEXT.trace_id);
    assert_eq!(record[16..24], CONTEXT.span_id);
    assert_eq!(record[24..28], [1, CONTEXT.flags, 0, 0], "valid, flags, no attributes");
    assert_eq!(next(&mut input), None, "it is done");
    assert!(child.wait().unwrap().success());
}

/// Says three times where it is, and waits to be read.
fn be_read() {
    let say_and_wait = || {
        println!("thread {}", std::fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap());
        std::io::stdin().read_line(&mut String::new()).unwrap();
    };
    say_and_wait();
    let label = attach(CONTEXT);
    say_and_wait();
    drop(label);
    say_and_wait();
}

/// The record that thread `tid` of `child` shows.
fn read_record(child: &Child, tid: i32) -> Option<[u8; 28]> {
    let memory = std::fs::File::open(format!("/proc/{}/mem", child.id())).unwrap();
    let variable = thread_pointer(tid) - offset_below_thread_pointer();
    let mut pointer = [0; 8];
    memory.read_exact_at(&mut pointer, variable).unwrap();
    let mut record = [0; 28];
    match u64::from_le_bytes(pointer) {
        0 => None,
        at => {
            memory.read_exact_at(&mut record, at).unwrap();
            Some(record)
        }
    }
}

/// Stops the thread for a moment and asks for its registers.
fn thread_pointer(tid: i32) -> u64 {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the pointers are to locals of the kernel's types; the thread is a child's, and goes on afterwards.
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, tid, nothing, nothing), 0, "{}", std::io::Error::last_os_error());
        assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, tid, nothing, nothing), 0);
        assert_eq!(libc::waitpid(tid, &mut 0, libc::__WALL), tid);
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, tid, nothing, &raw mut registers), 0);
        assert_eq!(libc::ptrace(libc::PTRACE_DETACH, tid, nothing, nothing), 0);
        registers.fs_base
    }
}

/// An executable's thread-locals end where the thread pointer points; how far below that the variable is, this binary's
/// program headers and symbols say.
fn offset_below_thread_pointer() -> u64 {
    const TLS: u64 = 7;
    let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let number = |at: u64, bytes: usize| {
        elf[at as usize..at as usize + bytes].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut headers = (0..number(56, 2)).map(|i| number(32, 8) + i * 56);
    let tls = headers.find(|&at| number(at, 4) == TLS).expect("thread-locals");
    let size = number(tls + 40, 8).next_multiple_of(number(tls + 48, 8));

    let section = |index: u64| number(40, 8) + index * 64;
    let mut sections = (0..number(60, 2)).map(section);
    let symbols = sections.find(|&at| number(at + 4, 4) == 2).expect("a symbol table");
    let (from, bytes, names) = (number(symbols + 24, 8), number(symbols + 32, 8), section(number(symbols + 40, 4)));
    let names = number(names + 24, 8);
    let named = |at: &u64| elf[(names + number(*at, 4)) as usize..].starts_with(b"otel_thread_ctx_v1\0");
    let symbol = (from..from + bytes).step_by(24).find(named).expect("the symbol");
    assert_eq!(elf[symbol as usize + 4] & 15, 6, "a thread-local's symbol");
    assert_eq!(number(symbol + 16, 8), 8, "as large as a pointer");
    size - number(symbol + 8, 8)
}
