//! Stacks of AArch64 programs, recorded instruction by instruction (see `recorded/README.md`), and walked here on whatever
//! processor the tests run on: by the tables, the walk and the limits that the sampler has on AArch64.

use framehop::aarch64::{CacheAarch64, PtrAuthMask, UnwindRegsAarch64, UnwinderAarch64};
use tephra_proto::ids::BuildId;

use crate::sampler::modules::loader::{Loaded, UnwindBytes, UnwindTables};
use crate::sampler::modules::pointer_auth;
use crate::sampler::unwinding::allocation_policy::FixedRoom;
use crate::sampler::unwinding::rule_cache::RuleCache;
use crate::sampler::unwinding::snapshot::Snapshot;
use crate::sampler::unwinding::stack_memory::StackMemory;
use crate::sampler::unwinding::walk::Walker;
use crate::sampler::unwinding::walk_cache::WalkCache;

type Unwinder = UnwinderAarch64<UnwindBytes, FixedRoom>;

/// One moment of a program.
struct Moment<'a> {
    pc: u64,
    registers: UnwindRegsAarch64,
    memory: StackMemory<'a>,
    /// Return addresses of the calls under way, innermost first.
    callers: Vec<u64>,
}

/// Reads a recording and shows each of its moments.
fn replay(recording: &[u8], mut each: impl FnMut(&Snapshot<Unwinder>, &Moment<'_>)) {
    let text = tephra_proto::codec::decompress(recording, 16 << 20).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut mask = PtrAuthMask::new_no_strip();
    let (mut code, mut header, mut frames) = (Vec::new(), None, None);
    let mut snapshot = None;
    let (mut low, mut stack) = (0, Vec::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        match words.next().unwrap() {
            "mask" => mask = PtrAuthMask(number(&mut words)),
            "code" => code.push(number(&mut words)..number(&mut words)),
            "header" => header = Some((number(&mut words), UnwindBytes::Copied(bytes(&mut words).into()))),
            "frames" => {
                let (at, frames_bytes) = (number(&mut words), bytes(&mut words));
                let frames_bytes = pointer_auth::left_out(&frames_bytes).unwrap_or(frames_bytes);
                frames = Some((at, UnwindBytes::Copied(frames_bytes.into())));
            }
            "stack" => {
                let range = number(&mut words)..number(&mut words);
                low = range.start;
                stack = vec![0; (range.end - range.start) as usize / 8];
                let unwind = Some(UnwindTables { header: header.take(), frames: frames.take().unwrap() });
                let (code, build_id) = (std::mem::take(&mut code), BuildId::hash(b"recorded"));
                let loaded =
                    Loaded { bias: 0, code, path: "recorded".into(), build_id, noted: true, unwind, left_out: false };
                snapshot = Some(Snapshot::<Unwinder>::new(&[loaded.into()]));
            }
            "word" => {
                let (at, value) = (number(&mut words), number(&mut words));
                stack[((at - low) / 8) as usize] = value;
            }
            "at" => {
                let [pc, sp, fp, lr] = [(); 4].map(|()| number(&mut words));
                let registers = UnwindRegsAarch64::new_with_ptr_auth_mask(mask, lr, sp, fp);
                let memory = StackMemory::copied(sp, &stack[((sp - low) / 8) as usize..]);
                let callers = words.map(hex).collect();
                each(snapshot.as_ref().unwrap(), &Moment { pc, registers, memory, callers });
            }
            strange => panic!("{strange:?}"),
        }
    }
}

fn hex(word: &str) -> u64 {
    u64::from_str_radix(word, 16).unwrap()
}

fn number(words: &mut std::str::Split<'_, char>) -> u64 {
    hex(words.next().unwrap())
}

fn bytes(words: &mut std::str::Split<'_, char>) -> Vec<u8> {
    let digits = words.next().unwrap().as_bytes();
    digits.chunks_exact(2).map(|pair| hex(std::str::from_utf8(pair).unwrap()) as u8).collect()
}

/// Walks every moment and compares every address with what the program really had called.
#[track_caller]
fn check(recording: &[u8], least_moments: usize) {
    let (mut rules, mut walks) = (RuleCache::new(CacheAarch64::<FixedRoom>::new_in), WalkCache::default());
    let mut out = [0; 128];
    let (mut moments, mut wrong) = (0, Vec::new());
    replay(recording, |snapshot, moment| {
        let Moment { pc, registers, memory, callers } = moment;
        let walker = Walker { snapshot, rules: &mut rules, retracing: walks.walk(0), memory, skip: &(0..0) };
        let walk = walker.walk(*pc, *registers, &mut out);
        // A call is where its return address is, less one.
        let expected: Vec<u64> = std::iter::once(*pc).chain(callers.iter().map(|caller| caller - 1)).collect();
        moments += 1;
        if out[..walk.depth] != expected || walk.truncated {
            wrong.push(format!("{:x?} instead of {expected:x?}, truncated: {}", &out[..walk.depth], walk.truncated));
        }
    });
    assert!(moments >= least_moments, "{moments} moments");
    let shown = &wrong[..wrong.len().min(12)];
    assert!(wrong.is_empty(), "{} of {moments} wrong:\n{}", wrong.len(), shown.join("\n"));
}

#[test]
fn c_without_frame_pointers() {
    check(include_bytes!("recorded/c.zst"), 1_000);
}

#[test]
fn c_that_signs_its_return_addresses() {
    check(include_bytes!("recorded/c-signed.zst"), 1_000);
}

#[test]
fn rust_as_it_is_built_for_release() {
    check(include_bytes!("recorded/rust.zst"), 1_000);
}
