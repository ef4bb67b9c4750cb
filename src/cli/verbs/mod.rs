//! The verbs for people, one file each: the flags of a verb, what it does, and how its answer is put.

pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod resize;
pub(crate) mod restore;
pub(crate) mod status;
pub(crate) mod uninstall;
