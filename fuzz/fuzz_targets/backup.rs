//! A backup, what is changed in it, and the way back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::config_map::a_backup(data));
