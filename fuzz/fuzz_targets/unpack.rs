//! Any archive and any JSON as a backup or a journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::config_map::an_archive(data));
