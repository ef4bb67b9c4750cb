//! The next step of a recreate, whatever was observed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::next::a_round(data));
