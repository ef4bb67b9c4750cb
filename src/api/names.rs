//! What are things called, and which claim belongs to which set?
//!
//! A claim made from a template is named `<template>-<set>-<ordinal>`. All three parts may hold dashes and digits, so a
//! name alone can be read in several ways; it is only ever read with the set and its templates at hand
//! ([`ClaimName::ordinal_of`]), never split at a dash.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of the agent's container, by which a pod that has one is known.
pub const AGENT_CONTAINER: &str = "rso-agent";

/// The port on which an agent answers, and nobody else may in its pod.
pub const AGENT_PORT: u16 = 1251;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Takes the name as the API server gave it; the server has validated it.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The bare text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
    };
}

name! {
    /// The name of an entry of `spec.volumeClaimTemplates`.
    TemplateName
}
name! {
    /// The name of a PersistentVolumeClaim.
    ClaimName
}
name! {
    /// `metadata.uid`: which object of a name, not just which name.
    Uid
}

/// A StatefulSet by namespace and name. Displays as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl SetName {
    /// Names a set.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The number at the end of a pod's name, `spec.ordinals.start` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(pub u32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of the pod with this ordinal.
pub fn pod_name(set: &SetName, ordinal: Ordinal) -> String {
    format!("{}-{ordinal}", set.name)
}

impl ClaimName {
    /// The claim that this template and ordinal of the set have.
    pub fn of(template: &TemplateName, set: &SetName, ordinal: Ordinal) -> Self {
        Self(format!("{template}-{}-{ordinal}", set.name))
    }

    /// The ordinal, if this is a claim of this template of the set.
    ///
    /// Only the spelling that the StatefulSet controller itself makes counts: `data-db-07` and `data-db-+7` are not
    /// claims of ordinal 7.
    pub fn ordinal_of(&self, template: &TemplateName, set: &SetName) -> Option<Ordinal> {
        let digits =
            self.0.strip_prefix(template.as_str())?.strip_prefix('-')?.strip_prefix(&set.name)?.strip_prefix('-')?;
        let ordinal = Ordinal(digits.parse().ok()?);
        (ordinal.to_string() == digits).then_some(ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_with_its_template_and_set_only() {
        let check = |claim: &str, template: &str, set: &str, expected: Option<u32>| {
            let read = ClaimName::new(claim).ordinal_of(&template.into(), &SetName::new("ns", set));
            assert_eq!(read, expected.map(Ordinal), "{claim} as {template} of {set}");
        };
        check("data-db-0", "data", "db", Some(0));
        check("data-db-12", "data", "db", Some(12));
        check("data-db-1-0", "data", "db-1", Some(0));
        check("data-db-1-0", "data", "db", None);
        check("data-db-1-0", "data-db", "1", Some(0));
        check("data-db-07", "data", "db", None);
        check("data-db-+7", "data", "db", None);
        check("data-db-", "data", "db", None);
        check("data-db-4294967296", "data", "db", None);
        check("wal-db-0", "data", "db", None);
    }

    #[test]
    fn a_set_and_its_pods_are_named_as_kubernetes_names_them() {
        let set = SetName::new("ns", "db-1");
        assert_eq!((set.to_string().as_str(), pod_name(&set, Ordinal(7)).as_str()), ("ns/db-1", "db-1-7"));
    }

    #[test]
    fn what_is_made_is_read_back() {
        let set = SetName::new("ns", "db-1");
        for ordinal in [0, 1, 9, 10, 99, u32::MAX].map(Ordinal) {
            let template = TemplateName::from("data-0");
            assert_eq!(ClaimName::of(&template, &set, ordinal).ordinal_of(&template, &set), Some(ordinal));
        }
    }
}
