//! A journal, and what is changed in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::config_map::a_journal(data));
