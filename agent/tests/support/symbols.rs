//! Function names of this test's own binary, from its symbol table: what the collector does, in forty lines.

use std::collections::BTreeMap;

/// Functions by address.
pub struct Functions {
    module: String,
    by_address: BTreeMap<u64, (u64, String)>,
}

impl Functions {
    pub fn of_this_binary() -> Self {
        let path = std::env::current_exe().unwrap();
        let module = path.file_name().unwrap().to_string_lossy().into_owned();
        Self { module, by_address: read(&std::fs::read(path).unwrap()) }
    }

    /// Where the functions whose names contain `part` are in this process. `known` is one function's address and name.
    pub fn loaded(&self, known: (u64, &str), part: &str) -> Vec<std::ops::Range<u64>> {
        let named = |part: &str| {
            let all = self.by_address.iter().filter(|(_, (_, name))| name.contains(part));
            all.map(|(&start, (size, _))| start..start + size).collect::<Vec<_>>()
        };
        // Its closures have its name too, but do not lie a whole number of pages from where it is.
        let is_it = |code: &&std::ops::Range<u64>| known.0.wrapping_sub(code.start).is_multiple_of(4096);
        let bias = known.0.wrapping_sub(named(known.1).iter().find(is_it).expect("a function of this binary").start);
        named(part).into_iter().map(|code| code.start.wrapping_add(bias)..code.end.wrapping_add(bias)).collect()
    }

    /// Reads the functions of an ELF file.
    pub fn of(elf: &[u8]) -> usize {
        read(elf).len()
    }

    /// The mangled name of the function that holds a frame; empty for other modules.
    pub fn name(&self, (module, address): &(String, u64)) -> &str {
        let found = self.by_address.range(..=address).next_back();
        match found {
            Some((start, (size, name))) if *module == self.module && address - start < *size => name,
            _ => "",
        }
    }

    /// A function whose name contains `part` is on the stack.
    pub fn on_stack(&self, stack: &[(String, u64)], part: &str) -> bool {
        stack.iter().any(|frame| self.name(frame).contains(part))
    }
}

fn read(elf: &[u8]) -> BTreeMap<u64, (u64, String)> {
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let section = |index: usize| number(40, 8) + index * 64;
    let symbols = (0..number(60, 2)).map(section).find(|&at| number(at + 4, 4) == 2).expect("a symbol table");
    let (from, bytes, names) = (number(symbols + 24, 8), number(symbols + 32, 8), section(number(symbols + 40, 4)));
    let names = number(names + 24, 8);
    let functions = (from..from + bytes).step_by(24).filter(|&at| elf[at + 4] & 15 == 2);
    functions
        .map(|at| {
            let name = elf[names + number(at, 4)..].split(|byte| *byte == 0).next().unwrap();
            let size = number(at + 16, 8) as u64;
            (number(at + 8, 8) as u64, (size, String::from_utf8_lossy(name).into_owned()))
        })
        .collect()
}
