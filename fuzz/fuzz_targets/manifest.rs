//! What is carried over from any set.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::manifest::a_set(data));
