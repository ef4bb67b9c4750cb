//! A finding: its level, its subject, what was found, and what to do.

use serde_json::{Value, json};

use crate::cluster::client::{Error, chain};

/// The level of a finding, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It causes a failure, now or later.
    Problem,
    /// It can cause a failure.
    Warning,
    /// It could not be checked.
    Unknown,
    /// No problem.
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
    /// The part of the installation, or the object.
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

    /// A check that failed, usually because of a missing permission.
    pub(super) fn unknown(about: impl Into<String>, error: &Error) -> Self {
        let fix = "Ask someone with this permission to run `rso doctor`, or ignore this finding.".to_owned();
        Self { level: Level::Unknown, about: about.into(), what: chain(error), fix: Some(fix) }
    }

    pub(super) fn to_json(&self) -> Value {
        let level = self.level.as_str().to_lowercase();
        json!({ "level": level, "about": self.about, "what": self.what, "fix": self.fix })
    }
}
