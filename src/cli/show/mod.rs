//! How the verbs write to the terminal.

pub(crate) mod bar;
pub(crate) mod output;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod view;
