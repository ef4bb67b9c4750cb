//! Any bytes to any hook: the answer is a review that allows, and whatever it patches applies.
#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod properties;

use libfuzzer_sys::fuzz_target;
use rso::webhook::hook::Hook;

fuzz_target!(|body: &[u8]| {
    for hook in Hook::ALL {
        properties::answer_is_sound(hook, body);
    }
});
