//! Runs real code one instruction at a time, and walks the stack at each: in prologues and epilogues, in the C library's
//! assembly, between a call and its function's first push. What the stack should be is known from the calls and returns
//! that were executed.

use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::sampler::unwinding::rule_cache::RuleCache;
use crate::sampler::unwinding::snapshot::Snapshot;
use crate::sampler::unwinding::stack_memory::StackMemory;
use crate::sampler::unwinding::walk::Walker;
use crate::sampler::unwinding::walk_cache::WalkCache;

/// More would take longer than a test may.
const STEPS_MAX: u64 = 60_000;
const DEPTH: usize = 256;
const FAILURES_KEPT: usize = 12;

/// Everything the trap handler needs, made before the first step: code that is stepped through may hold any lock.
struct Stepper {
    snapshot: Snapshot,
    rules: RuleCache,
    walks: WalkCache,
    stack_end: u64,
    /// The calls under way, outermost first.
    calls: Vec<Call>,
    /// How many there were before the work began.
    depth_outside: usize,
    /// Where the last instruction was, if it was a call.
    calling: Option<u64>,
    started: bool,
    steps: u64,
    wrong_leaf: u64,
    wrong_callers: u64,
    cut: u64,
    failures: Vec<(u64, usize, usize)>,
}

/// A call that has not returned.
struct Call {
    /// The return address, as the walk writes it.
    caller: u64,
    /// Where on the stack that is. The call has returned when the stack pointer is above: between two traps may be more than one
    /// instruction, after a system call for example.
    kept_at: u64,
}

/// The longest instruction there is.
const INSTRUCTION_MAX: u64 = 15;

/// The stepper of the one test that runs.
static STEPPER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the address is of the stepper below, which lives until stepping ends, and which nobody else uses meanwhile.
    let stepper = unsafe { &mut *(STEPPER.load(Ordering::Relaxed) as *mut Stepper) };
    // SAFETY: `context` is this handler's third argument.
    let done = stepper.step(unsafe { Registers::interrupted(context) });
    if done || stepper.steps >= STEPS_MAX {
        // SAFETY: as above; without the trap flag the code runs on unwatched.
        unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize] &= !0x100 };
    }
}

impl Stepper {
    /// Looks at one step; `true` when the work has returned.
    fn step(&mut self, registers: Registers) -> bool {
        let mut out = [0; DEPTH];
        // SAFETY: the stack is this thread's own from here to its control block.
        let memory = unsafe { StackMemory::in_place(registers.sp & !7, self.stack_end) };
        let (pc, unwound) = (registers.pc, registers.for_unwinding());
        let (rules, retracing) = (&mut self.rules, self.walks.walk(0));
        let walker = Walker { snapshot: &self.snapshot, rules, retracing, memory: &memory, skip: &(0..0) };
        let walk = walker.walk(pc, unwound, &mut out);
        let stack = &out[..walk.depth];
        // SAFETY: the program's own stack pointer.
        let top = unsafe { *(registers.sp as *const u64) };
        // A trap may come twice for one instruction, when a signal comes with it: then this call is still to be made.
        if self.calling.is_some_and(|at| registers.pc != at && (at..=at + INSTRUCTION_MAX).contains(&top)) {
            self.calls.push(Call { caller: top - 1, kept_at: registers.sp });
        }
        let under_way = self.calls.len();
        while self.calls.pop_if(|call| call.kept_at < registers.sp).is_some() {}
        let done = self.calls.len() < under_way && self.calls.len() == self.depth_outside;
        if !std::mem::replace(&mut self.started, true) {
            self.calls.extend(stack[1..].iter().rev().map(|&caller| Call { caller, kept_at: u64::MAX }));
            self.depth_outside = self.calls.len();
        }
        let callers_right = stack.iter().skip(1).eq(self.calls.iter().rev().map(|call| &call.caller));
        self.steps += 1;
        self.cut += u64::from(walk.truncated);
        self.wrong_leaf += u64::from(stack.first() != Some(&registers.pc));
        if !callers_right {
            self.wrong_callers += 1;
            if self.failures.len() < FAILURES_KEPT {
                self.failures.push((registers.pc, walk.depth, self.calls.len() + 1));
            }
        }
        // SAFETY: the program is about to execute these bytes; instructions this short do not cross into another page.
        self.calling = unsafe { is_call(registers.pc as *const u8) }.then_some(registers.pc);
        done
    }
}

/// Whether an instruction is a call.
///
/// # Safety
/// `code` is an instruction that is about to be executed.
unsafe fn is_call(mut code: *const u8) -> bool {
    // SAFETY: reads the instruction only, byte by byte.
    unsafe {
        // Prefixes: repeat, no-track, address size, and the register extensions.
        while matches!(*code, 0xf2 | 0xf3 | 0x3e | 0x66 | 0x67 | 0x40..=0x4f) {
            code = code.add(1);
        }
        *code == 0xe8 || *code == 0xff && *code.add(1) >> 3 & 7 == 2
    }
}

/// Sets the trap flag, which the handler clears when the work has returned.
#[inline(never)]
fn stepped(work: &mut dyn FnMut()) {
    // SAFETY: from here on a trap follows every instruction, for which there is a handler.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop") };
    work();
}

fn step_through(mut work: impl FnMut()) -> Stepper {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // What is bound or allocated on first use is not what is looked at.
    work();
    let mut stepper = Stepper {
        snapshot: Snapshot::of_this_process(),
        rules: RuleCache::default(),
        walks: WalkCache::default(),
        stack_end: arch::thread_pointer() & !7,
        calls: Vec::with_capacity(1 << 16),
        depth_outside: 0,
        calling: None,
        started: false,
        steps: 0,
        wrong_leaf: 0,
        wrong_callers: 0,
        cut: 0,
        failures: Vec::with_capacity(FAILURES_KEPT),
    };
    STEPPER.store(&raw mut stepper as usize, Ordering::Relaxed);
    // SAFETY: `sigaction` is a C structure for which zero is valid; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_trap as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()), 0);
    }
    stepped(&mut work);
    stepper
}

/// Every step knows its leaf. Its callers may be unknown where a library's own tables are wrong, as in hand-written assembly
/// of some C libraries: in one step of a hundred at most.
#[track_caller]
fn check(stepper: &Stepper, least_steps: u64) {
    let Stepper { steps, wrong_leaf, wrong_callers, cut, ref failures, .. } = *stepper;
    assert!(steps >= least_steps, "{steps} steps are too few to tell");
    assert_eq!(wrong_leaf, 0, "of {steps}");
    let told = format!("{wrong_callers} of {steps} wrong, {cut} of them cut short; pc, depth, expected: {failures:x?}");
    assert!(wrong_callers * 100 <= steps, "{told}");
    println!("{told}");
}

#[test]
fn rust_code_and_the_standard_library() {
    let stepper = step_through(|| {
        let mut words: Vec<String> = (0..20u64).map(|i| format!("{:x}-{i}", i.wrapping_mul(0x9e37_79b9))).collect();
        words.sort();
        let map: HashMap<&str, usize> = words.iter().map(|word| (word.as_str(), word.len())).collect();
        black_box(map.values().sum::<usize>());
    });
    check(&stepper, 20_000);
}

#[test]
fn the_c_library_and_the_kernels_clock() {
    extern "C" fn descending(a: *const c_void, b: *const c_void) -> c_int {
        // SAFETY: `qsort` passes pointers to two of the numbers it was given.
        unsafe { (*b.cast::<c_int>()).cmp(&*a.cast::<c_int>()) as c_int }
    }
    let mut numbers: Vec<c_int> = (0..40).map(|i| i * 7919 % 101).collect();
    let mut text = [0u8; 256];
    let mut copy = [0u8; 256];
    let stepper = step_through(|| {
        // SAFETY: all pointers are to buffers of the sizes given.
        unsafe {
            libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<c_int>(), Some(descending));
            libc::snprintf(text.as_mut_ptr().cast(), text.len(), c"%s %g %lld".as_ptr(), c"words".as_ptr(), 2.5, 77i64);
            libc::memcpy(copy.as_mut_ptr().cast(), text.as_ptr().cast(), text.len());
            black_box(libc::memcmp(copy.as_ptr().cast(), text.as_ptr().cast(), text.len()));
            black_box(libc::strtod(c"1234.5678e-3".as_ptr(), std::ptr::null_mut()));
            let block = libc::malloc(5_000);
            libc::free(libc::realloc(block, 100_000));
            let mut now: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now);
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now);
        }
    });
    check(&stepper, 3_000);
}

#[test]
fn optimized_c_code_and_a_library_loaded_at_run_time() {
    // SAFETY: loads the C library's mathematics, whose initialization does nothing, and calls what it declares.
    let cosine: extern "C" fn(f64) -> f64 = unsafe {
        let library = libc::dlopen(c"libm.so.6".as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null());
        std::mem::transmute(libc::dlsym(library, c"cos".as_ptr()))
    };
    let text: Vec<u8> = (0..600u32).flat_map(|i| (i * i % 97).to_le_bytes()).collect();
    let stepper = step_through(|| {
        (1..20).for_each(|i| assert!(cosine(black_box(f64::from(i) * 1e3)) <= 1.0));
        black_box(tephra_proto::codec::compress(&text).unwrap());
    });
    check(&stepper, 20_000);
}
