//! Any annotations and labels.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::settings::annotations(data));
