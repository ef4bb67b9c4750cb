//! Any body to the webhook.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rso_fuzz::webhook::a_body(data));
