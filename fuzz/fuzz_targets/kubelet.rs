//! Any body of a kubelet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::agent::a_summary(data));
