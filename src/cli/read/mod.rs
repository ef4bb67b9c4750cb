//! What the verbs read from the cluster.

pub(crate) mod compose;
pub(crate) mod follow;
pub(crate) mod live;
pub(crate) mod measure;
pub(crate) mod reach;
pub(crate) mod saved;
