//! Output of the verbs: screens and tables for users, JSON and YAML for programs.

pub(crate) mod bar;
pub(crate) mod explanation;
pub(crate) mod output;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod view;
