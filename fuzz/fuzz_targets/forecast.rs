//! The rate of any readings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::forecast::a_history(data));
