//! Any two sets, as `[object, oldObject]`: what is answered applies, touches only what it may, and is final.
#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod properties;

use libfuzzer_sys::fuzz_target;

use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    if let Ok((object, old)) = serde_json::from_slice::<(Value, Value)>(body) {
        properties::pair_is_sound(&object, &old);
    }
});
