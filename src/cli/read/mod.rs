//! Reads from the cluster that the verbs share, with the user's kubeconfig and permissions.

pub(crate) mod compose;
pub(crate) mod explain;
pub(crate) mod follow;
pub(crate) mod listed;
pub(crate) mod live;
pub(crate) mod measure;
pub(crate) mod reach;
pub(crate) mod reactions;
pub(crate) mod saved;
