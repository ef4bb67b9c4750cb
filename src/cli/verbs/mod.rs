//! The verbs for users, one file each: its arguments, what it does, and what it prints.

pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod explain;
pub(crate) mod resize;
pub(crate) mod restore;
pub(crate) mod status;
pub(crate) mod uninstall;
