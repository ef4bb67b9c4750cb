//! Any query of a held request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::held::a_query(data));
