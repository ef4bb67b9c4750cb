//! Any text as a quantity.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::quantity::a_text(data));
