//! Who owns which field after a recreate.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::manifest::ownership(data));
