//! What is measured, and how large is the load?

/// How many objects of each kind there are.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// StatefulSets of one replica in one namespace.
    pub sets: usize,
    /// How many of them cross their threshold at once.
    pub crossing: usize,
    /// Volumes of StatefulSets of three replicas, spread over namespaces.
    pub spread: usize,
    /// How many of those StatefulSets cross their threshold at once.
    pub spread_crossing: usize,
    /// How many of them cross their threshold while something is broken.
    pub broken_crossing: usize,
    /// StatefulSets of one replica in one namespace, none of whose agents answers.
    pub hanging: usize,
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
const FULL: Load = Load {
    sets: 600,
    crossing: 20,
    spread: 1_002,
    spread_crossing: 100,
    broken_crossing: 10,
    hanging: 200,
    volumes: 1_400,
    large: 60,
    resized: 5,
    foreign: 10_000,
};
/// What belongs to `make test`.
const SAMPLE: Load = Load {
    sets: 60,
    crossing: 6,
    spread: 102,
    spread_crossing: 12,
    broken_crossing: 4,
    hanging: 20,
    volumes: 200,
    large: 4,
    resized: 1,
    foreign: 500,
};

/// The volumes of each measurement of a fleet.
const FLEETS: &[usize] = &[102, 1_002, 5_001, 10_002];
/// StatefulSets beside the largest of them, without Pods and without an annotation of ours.
const OTHERS: usize = 5_000;

/// A part of the measurements, on a control plane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A little of everything.
    Sample,
    /// Many resizes at once, and what is broken.
    Load,
    /// What volumes cost at which nothing happens.
    Fleet(Fleet),
}

/// Volumes of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    pub size: &'static str,
    /// The volumes of each measurement.
    pub steps: &'static [usize],
    /// StatefulSets of others beside those of a last one.
    pub others: usize,
    /// Seconds of each measurement.
    pub window: u64,
    /// Seconds from the start of the operator until then: an agent holds its first request for five.
    pub calm: u64,
    /// How many StatefulSets cross their threshold afterwards.
    pub crossing: usize,
}

/// Volumes that are full soon.
const SMALL: Fleet = Fleet { size: "10Gi", steps: FLEETS, others: OTHERS, window: 60, calm: 20, crossing: 10 };
/// Volumes that are not.
const LARGE: Fleet = Fleet { size: "1Ti", others: 0, ..SMALL };
/// A few of them.
const FEW: Fleet = Fleet { size: "10Gi", steps: &[102], others: 0, window: 20, calm: 10, crossing: 4 };

impl Part {
    /// What was asked for: `SCALE` is one of `load`, `small` and `large`, or nothing for a sample.
    pub fn wanted() -> Self {
        match std::env::var("SCALE").unwrap_or_default().as_str() {
            "" => Self::Sample,
            "load" => Self::Load,
            "small" => Self::Fleet(SMALL),
            "large" => Self::Fleet(LARGE),
            other => panic!("SCALE is '{other}': use load, small, or large"),
        }
    }

    /// The load of this part.
    pub const fn load(self) -> Option<Load> {
        match self {
            Self::Sample => Some(SAMPLE),
            Self::Load => Some(FULL),
            Self::Fleet(_) => None,
        }
    }

    /// The fleet of this part.
    pub const fn fleet(self) -> Option<Fleet> {
        match self {
            Self::Sample => Some(FEW),
            Self::Load => None,
            Self::Fleet(fleet) => Some(fleet),
        }
    }
}
