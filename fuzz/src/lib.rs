//! What must hold of the product whatever it is given? One function from any bytes for each fuzz target.
//!
//! `make fuzz` drives them with libFuzzer, and `tests/fast/fuzz.rs` with every file of the corpora and with seeded random
//! bytes. Most make a case out of the bytes first ([`draw`]), so that no byte is wasted on what a parser refuses.

pub mod agent;
pub mod claim_name;
pub mod cluster;
pub mod config_map;
pub mod draw;
pub mod forecast;
pub mod held;
pub mod manifest;
pub mod next;
pub mod quantity;
pub mod settings;
pub mod size;
pub mod step;
pub mod webhook;

/// A target: its name, and what must hold of any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; each has a file in `fuzz_targets/` and a folder in `corpus/`.
pub const TARGETS: [Target; 17] = [
    ("agent", agent::an_answer),
    ("backup", config_map::a_backup),
    ("claim_name", claim_name::a_name),
    ("forecast", forecast::a_history),
    ("held", held::a_query),
    ("journal", config_map::a_journal),
    ("kubelet", agent::a_summary),
    ("manifest", manifest::a_set),
    ("next", next::a_round),
    ("ownership", manifest::ownership),
    ("pair", webhook::a_pair),
    ("quantity", quantity::a_text),
    ("review", webhook::a_body),
    ("settings", settings::annotations),
    ("size", size::a_decision),
    ("step", step::a_claim),
    ("unpack", config_map::an_archive),
];
