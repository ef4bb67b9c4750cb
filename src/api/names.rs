//! Names of the objects of a StatefulSet, and the rule by which a PVC belongs to a StatefulSet.
//!
//! A PVC that is created from a template is named `<template>-<set>-<ordinal>`. All three parts may contain dashes and
//! digits, so a name alone is ambiguous. rso parses a name only against a given StatefulSet and its templates
//! ([`ClaimName::ordinal_of`]), and never splits it at a dash.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of the agent's container, which identifies a Pod that has an agent.
pub const AGENT_CONTAINER: &str = "rso-agent";

/// The port on which an agent listens; nothing else in its Pod may use it.
pub const AGENT_PORT: u16 = 1251;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Takes the name as the API server returned it; the API server has validated it.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
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
    /// `metadata.uid`: identifies one object, not every object with its name.
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
    /// The name of a StatefulSet.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A PVCPolicy by namespace and name. Displays as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The number at the end of a Pod's name, `spec.ordinals.start` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(pub u32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of the Pod with this ordinal.
pub fn pod_name(set: &SetName, ordinal: Ordinal) -> String {
    format!("{}-{ordinal}", set.name)
}

impl ClaimName {
    /// The name of the PVC of this template and ordinal of the StatefulSet.
    pub fn of(template: &TemplateName, set: &SetName, ordinal: Ordinal) -> Self {
        Self(format!("{template}-{}-{ordinal}", set.name))
    }

    /// The ordinal, if this is the name of a PVC of this template of the StatefulSet.
    ///
    /// Only the notation of the StatefulSet controller counts: `data-db-07` and `data-db-+7` are not PVCs of ordinal 7.
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
