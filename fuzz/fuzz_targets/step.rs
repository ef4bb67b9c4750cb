//! The next step of any claim.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::step::a_claim(data));
