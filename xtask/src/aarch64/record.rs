//! `cargo xtask record`: runs small programs under the emulator, one instruction at a time, and writes down registers, stack
//! and calls under way at each place they come to. The agent's tests walk these stacks.
//!
//! What was called is known from the instructions executed, from the program's first on: a call adds its return address, a
//! return takes one away. So the truth owes nothing to any table, nor to frame pointers.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{COMPILER, EMULATOR, TARGET};
use crate::Result;
use crate::tools::{need_packages, root, run, step};

const FOLDER: &str = "agent/src/sampler/tests/recorded";
/// More instructions are not executed before and while recording.
const STEPS_MAX: usize = 300_000;
/// What one request to the emulator may ask for.
const READ_BYTES_MAX: u64 = 1024;

/// `hint #101` and `hint #102`, which do nothing on any processor.
const BEGIN: u32 = 0xd503_2cbf;
const END: u32 = 0xd503_2cdf;

/// Where the emulator's answer has the registers.
const FP: usize = 29;
const LR: usize = 30;
const SP: usize = 31;
const PC: usize = 32;

/// Records all programs again.
pub(crate) fn all() -> Result {
    super::need_compiler()?;
    super::need_emulator()?;
    need_packages(&["zstd"], &["zstd"])?;
    let built = tempfile::tempdir()?;
    let folder = root().join(FOLDER);
    let c = |name: &str, how: &[&str]| -> Result {
        let program = built.path().join(name);
        let mut compiler = Command::new(COMPILER);
        compiler.args(["-O2", "-static", "-no-pie", "-Wl,--eh-frame-hdr", "-fasynchronous-unwind-tables"]).args(how);
        run(compiler.arg(folder.join("shapes.c")).arg("-o").arg(&program))?;
        record(&program, &folder.join(name))
    };
    let omitted = ["-fomit-frame-pointer", "-momit-leaf-frame-pointer"];
    c("c", &[&omitted[..], &["-mbranch-protection=none"]].concat())?;
    c("c-signed", &[&omitted[..], &["-mbranch-protection=standard"]].concat())?;
    let program = built.path().join("rust");
    let mut compiler = Command::new("rustc");
    compiler.args(["--edition", "2024", "-C", "opt-level=3", "--target", TARGET]);
    compiler.arg(format!("-Clinker={COMPILER}")).args(["-C", "target-feature=+crt-static"]);
    compiler.args(["-C", "relocation-model=static"]);
    run(compiler.arg(folder.join("shapes.rs")).arg("-o").arg(&program))?;
    record(&program, &folder.join("rust"))
}

/// Records one program to a file of that name.
fn record(program: &Path, to: &Path) -> Result {
    step(&format!("recording {}", to.display()), || {
        let file = Elf { bytes: std::fs::read(program)? };
        let text = Recording::of(program, &file)?.text(&file)?;
        std::fs::write(to, text)?;
        run(Command::new("zstd")
            .args(["-19", "--quiet", "--force", "--rm"])
            .arg(to)
            .arg("-o")
            .arg(to.with_extension("zst")))
    })
}

/// A static program, which lies where its file says.
struct Elf {
    bytes: Vec<u8>,
}

struct Segment {
    kind: u64,
    executable: bool,
    offset: u64,
    address: u64,
    bytes: u64,
}

impl Elf {
    fn number(&self, at: u64, bytes: usize) -> u64 {
        let at = at as usize;
        self.bytes[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        let (table, count) = (self.number(32, 8), self.number(56, 2));
        (0..count).map(move |index| {
            let at = table + index * 56;
            Segment {
                kind: self.number(at, 4),
                executable: self.number(at + 4, 4) & 1 != 0,
                offset: self.number(at + 8, 8),
                address: self.number(at + 16, 8),
                bytes: self.number(at + 32, 8),
            }
        })
    }

    fn loaded(&self) -> impl Iterator<Item = Segment> {
        const LOAD: u64 = 1;
        self.segments().filter(|segment| segment.kind == LOAD)
    }

    /// Where in the file an address of the program stands.
    fn offset(&self, address: u64) -> Option<u64> {
        let mut loaded = self.loaded();
        let segment = loaded.find(|s| (s.address..s.address + s.bytes).contains(&address))?;
        Some(address - segment.address + segment.offset)
    }

    fn instruction(&self, address: u64) -> Option<u32> {
        Some(self.number(self.offset(address)?, 4) as u32)
    }

    /// `.eh_frame_hdr` and `.eh_frame`, with their addresses.
    fn tables(&self) -> Option<[(u64, &[u8]); 2]> {
        const EH_FRAME: u64 = 0x6474_e550;
        let header = self.segments().find(|segment| segment.kind == EH_FRAME)?;
        let distance = self.number(header.offset + 4, 4) as u32 as i32;
        let frames = (header.address + 4).wrapping_add_signed(distance.into());
        let start = self.offset(frames)?;
        let mut end = start;
        loop {
            let length = self.number(end, 4);
            end += 4 + length;
            if length == 0 {
                break;
            }
        }
        let bytes = |from: u64, to: u64| &self.bytes[from as usize..to as usize];
        Some([(header.address, bytes(header.offset, header.offset + header.bytes)), (frames, bytes(start, end))])
    }
}

/// What an instruction does to the calls under way.
enum Effect {
    Call,
    Return,
    None,
}

fn effect(instruction: u32) -> Effect {
    let call = instruction >> 26 == 0b10_0101            // bl
        || instruction & 0xffff_fc1f == 0xd63f_0000      // blr
        || instruction & 0xfeff_f800 == 0xd63f_0800; // blraa and its like
    let returns = instruction & 0xffff_fc1f == 0xd65f_0000 // ret
        || instruction & 0xffff_fbff == 0xd65f_0bff; // retaa, retab
    if call {
        Effect::Call
    } else if returns {
        Effect::Return
    } else {
        Effect::None
    }
}

/// Where a sequence ends that loads a word for itself at `pc` and stores it back, unless it branches away before: to stand
/// still inside would make the store fail, for ever.
fn after_exclusive(file: &Elf, pc: u64) -> Option<Vec<u64>> {
    const SEQUENCE_MAX: u64 = 16;
    let family = |instruction: u32| instruction & 0x3fc0_0000;
    if family(file.instruction(pc)?) != 0x0840_0000 {
        return None;
    }
    let mut ends = Vec::new();
    for at in (pc + 4..).step_by(4).take(SEQUENCE_MAX as usize) {
        let instruction = file.instruction(at)?;
        if family(instruction) == 0x0800_0000 {
            ends.push(at + 4);
            return Some(ends);
        }
        let is_conditional = instruction & 0xff00_0010 == 0x5400_0000; // b.cond
        let is_comparing = instruction & 0x7e00_0000 == 0x3400_0000; // cbz, cbnz
        if is_conditional || is_comparing {
            let distance = (instruction << 8) as i32 >> 13 << 2;
            ends.push(at.wrapping_add_signed(distance.into()));
        }
    }
    None
}

/// Registers, stack from the stack pointer upwards, and calls under way.
struct Moment {
    registers: [u64; 33],
    stack: Vec<u64>,
    callers: Vec<u64>,
}

struct Recording {
    mask: u64,
    stack_end: u64,
    moments: Vec<Moment>,
}

impl Recording {
    fn of(program: &Path, file: &Elf) -> Result<Self> {
        let mut emulator = Emulator::start(program)?;
        let mut registers = emulator.registers()?;
        // The kernel leaves the arguments there, which no walk needs.
        let stack_end = (registers[SP] + 64).next_multiple_of(16);
        let mut recording = Self { mask: 0, stack_end, moments: Vec::new() };
        let (mut callers, mut seen, mut recorded) = (Vec::new(), HashSet::new(), false);
        for _ in 0..STEPS_MAX {
            let pc = registers[PC];
            let instruction = file.instruction(pc).ok_or_else(|| format!("no code at {pc:#x}"))?;
            match instruction {
                BEGIN => (recorded, recording.mask) = (true, registers[0]),
                END => return Ok(recording),
                _ => {}
            }
            if recorded && seen.insert((pc, callers.len())) {
                let stack = emulator.memory(registers[SP], stack_end)?;
                recording.moments.push(Moment { registers, stack, callers: callers.iter().rev().copied().collect() });
            }
            match after_exclusive(file, pc) {
                None => emulator.step()?,
                Some(ends) => emulator.run_to(&ends)?,
            }
            registers = emulator.registers()?;
            match effect(instruction) {
                Effect::Call => callers.push(pc + 4),
                Effect::Return => {
                    let expected = callers.pop();
                    if expected != Some(registers[PC]) {
                        return Err(
                            format!("a return at {pc:#x} led to {:#x}, not {expected:x?}", registers[PC]).into()
                        );
                    }
                }
                Effect::None => {}
            }
        }
        Err(format!("the program did not come to its end in {STEPS_MAX} instructions").into())
    }

    /// See the folder's README for what stands where.
    fn text(&self, file: &Elf) -> Result<String> {
        let low = self.moments.iter().map(|moment| moment.registers[SP]).min().ok_or("nothing was recorded")?;
        let [(header, header_bytes), (frames, frames_bytes)] =
            file.tables().ok_or("the program has no unwind tables")?;
        let mut text = format!("mask {:x}\n", self.mask);
        for code in file.loaded().filter(|segment| segment.executable) {
            writeln!(text, "code {:x} {:x}", code.address, code.address + code.bytes)?;
        }
        writeln!(text, "header {header:x} {}", hex(header_bytes))?;
        writeln!(text, "frames {frames:x} {}", hex(frames_bytes))?;
        writeln!(text, "stack {low:x} {:x}", self.stack_end)?;
        let mut known: HashMap<u64, u64> = HashMap::new();
        for Moment { registers, stack, callers } in &self.moments {
            for (address, &word) in (registers[SP]..).step_by(8).zip(stack) {
                if known.insert(address, word).unwrap_or(0) != word {
                    writeln!(text, "word {address:x} {word:x}")?;
                }
            }
            write!(text, "at {:x} {:x} {:x} {:x}", registers[PC], registers[SP], registers[FP], registers[LR])?;
            for caller in callers {
                write!(text, " {caller:x}")?;
            }
            text.push('\n');
        }
        Ok(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A program that stands still between two instructions, by the protocol that debuggers speak.
struct Emulator {
    process: Child,
    connection: UnixStream,
    _folder: tempfile::TempDir,
}

impl Emulator {
    fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("debugger");
        let mut command = Command::new(EMULATOR);
        // No environment and no output: the same stack every time.
        command.env_clear().arg("-g").arg(&socket).arg(program).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().map_err(|error| format!("cannot run {EMULATOR}: {error}"))?;
        let started = Instant::now();
        let connection = loop {
            match UnixStream::connect(&socket) {
                Ok(connection) => break connection,
                Err(error) if started.elapsed() > Duration::from_secs(20) => {
                    return Err(format!("the emulator does not answer: {error}").into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        Ok(Self { process, connection, _folder: folder })
    }

    fn step(&mut self) -> Result {
        let answer = self.ask("s")?;
        if answer.starts_with('T') || answer.starts_with('S') {
            Ok(())
        } else {
            Err(format!("the program ended: {answer}").into())
        }
    }

    /// Runs until it comes to one of these places.
    fn run_to(&mut self, places: &[u64]) -> Result {
        for place in places {
            self.ask(&format!("Z0,{place:x},4"))?;
        }
        self.ask("c")?;
        for place in places {
            self.ask(&format!("z0,{place:x},4"))?;
        }
        Ok(())
    }

    fn registers(&mut self) -> Result<[u64; 33]> {
        let answer = self.ask("g")?;
        let bytes = unhex(&answer)?;
        let mut registers = [0; 33];
        for (register, bytes) in registers.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *register = u64::from_le_bytes(*bytes);
        }
        Ok(registers)
    }

    fn memory(&mut self, from: u64, to: u64) -> Result<Vec<u64>> {
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let length = READ_BYTES_MAX.min(to - at);
            bytes.extend(unhex(&self.ask(&format!("m{at:x},{length:x}"))?)?);
            at += length;
        }
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        let sum = request.bytes().fold(0u8, u8::wrapping_add);
        write!(self.connection, "${request}#{sum:02x}")?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // An answer ends with its own sum of two digits.
        while answer.len() < 3 || answer[answer.len() - 3] != b'#' {
            let read = self.connection.read(&mut buffer)?;
            if read == 0 {
                return Err("the emulator is gone".into());
            }
            answer.extend_from_slice(&buffer[..read]);
        }
        self.connection.write_all(b"+")?;
        let answer = String::from_utf8(answer)?;
        Ok(answer.trim_start_matches(['+', '$']).split('#').next().unwrap_or_default().to_owned())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unhex(digits: &str) -> Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks_exact(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    pairs.collect()
}
