#![no_main]

#[path = "../doors.rs"]
mod doors;

// A panic inside the library that reads symbol tables is caught at its door; what gets past that ends the fuzzer.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |bytes: &[u8]| doors::targets::binary(bytes));
