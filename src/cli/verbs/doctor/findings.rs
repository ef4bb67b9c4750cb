//! How is a finding told?

use serde_json::{Value, json};

use crate::cluster::client::{Error, chain};

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It hurts, or will.
    Problem,
    /// It may hurt.
    Warning,
    /// It could not be looked at.
    Unknown,
    /// All is well.
    Good,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "PROBLEM",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Good => "ok",
        }
    }
}

/// What was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// Which part, or which object.
    pub(super) about: String,
    pub(super) what: String,
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn good(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Good, about: about.into(), what: what.into(), fix: None }
    }

    pub(super) fn warning(about: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warning, about: about.into(), what: what.into(), fix: Some(fix.into()) }
    }

    pub(super) fn problem(about: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Problem, about: about.into(), what: what.into(), fix: Some(fix.into()) }
    }

    /// It could not be looked at.
    pub(super) fn unknown(about: impl Into<String>, error: &Error) -> Self {
        let fix = "Ask somebody with that right to run it, or ignore it.".to_owned();
        Self { level: Level::Unknown, about: about.into(), what: chain(error), fix: Some(fix) }
    }

    pub(super) fn to_json(&self) -> Value {
        let level = self.level.as_str().to_lowercase();
        json!({ "level": level, "about": self.about, "what": self.what, "fix": self.fix })
    }
}
