//! The next size of a template, whatever its volumes say.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::size::a_decision(data));
