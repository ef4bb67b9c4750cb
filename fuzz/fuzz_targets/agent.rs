//! Any body of an agent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::agent::an_answer(data));
