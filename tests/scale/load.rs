//! How large is the load?

/// How many objects of each kind there are.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// StatefulSets of one replica in one namespace.
    pub sets: usize,
    /// How many of them cross their threshold at once.
    pub crossing: usize,
    /// Volumes in another namespace, where one StatefulSet is resized.
    pub volumes: usize,
    /// StatefulSets of 1 MB.
    pub large: usize,
    /// How many of those are resized at once.
    pub resized: usize,
    /// Pods beside them that belong to no StatefulSet.
    pub foreign: usize,
}

/// What `make scale` measures.
const FULL: Load = Load { sets: 600, crossing: 20, volumes: 1_400, large: 60, resized: 5, foreign: 10_000 };
/// What belongs to `make test`.
const SAMPLE: Load = Load { sets: 120, crossing: 10, volumes: 200, large: 6, resized: 2, foreign: 500 };

impl Load {
    /// What was asked for.
    pub fn wanted() -> Self {
        if is_full() { FULL } else { SAMPLE }
    }
}

/// Whether all of it is measured.
pub fn is_full() -> bool {
    std::env::var("SCALE").is_ok_and(|which| which == "full")
}
