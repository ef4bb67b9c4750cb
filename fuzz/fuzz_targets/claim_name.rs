//! Names of claims and backups, and their numbers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::claim_name::a_name(data));
