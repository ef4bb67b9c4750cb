//! A metric with labels whose series can be removed: the existing StatefulSets and PVCs bound its memory.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::{Family, MetricConstructor};

/// Declares label sets: a struct that encodes itself, and the names for the reference.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $field: $type,)+ }

        impl $crate::telemetry::registry::series::Labels for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
        }
    )+};
}

pub(super) use labels;

/// A label set that lists its names.
pub(super) trait Labels: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static {
    /// The names, in the order of the exposition.
    const NAMES: &'static [&'static str];
}

/// A metric and its known label sets.
#[derive(Debug)]
pub(super) struct Series<L: Labels, M, C = fn() -> M> {
    pub(super) family: Family<L, M, C>,
    known: Mutex<HashSet<L>>,
}

impl<L: Labels, M: Clone + Default> Default for Series<L, M> {
    fn default() -> Self {
        Self { family: Family::default(), known: Mutex::default() }
    }
}

impl<L: Labels, M: Clone, C: MetricConstructor<M>> Series<L, M, C> {
    pub(super) fn with(constructor: C) -> Self {
        Self { family: Family::new_with_constructor(constructor), known: Mutex::default() }
    }

    /// The metric of these labels, created if there is none.
    pub(super) fn of(&self, labels: &L) -> M {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(labels) {
            known.insert(labels.clone());
        }
        self.family.get_or_create_owned(labels)
    }

    /// Removes the series that are not wanted. Searches all of them.
    pub(super) fn retain(&self, mut wanted: impl FnMut(&L) -> bool) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|labels| {
            let keep = wanted(labels);
            if !keep {
                self.family.remove(labels);
            }
            keep
        });
    }
}
