//! A refusal by the API server, classified by its message: what refused, what to do about it, and which smaller size
//! fits.
//!
//! The messages are those of Kubernetes 1.31 to 1.35. An unknown message is [`Kind::Other`] and is shown unchanged.

use super::bytes::Bytes;
use super::reasons::Reason;

mod words;

/// What refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A ResourceQuota on storage has too little room.
    StorageQuota(Quota),
    /// A ResourceQuota on a number of objects, or on something else that is not storage, is used up.
    ObjectQuota(Quota),
    /// A LimitRange of the namespace allows less for one PVC.
    LimitRange {
        /// The most that it allows.
        max: Option<Bytes>,
    },
    /// An admission policy.
    Policy {
        /// Its name.
        name: String,
        /// The name of its binding.
        binding: String,
    },
    /// An admission webhook.
    Webhook {
        /// Its name.
        name: String,
    },
    /// No refusal: a mutating admission policy or webhook lowers the size.
    Lowered {
        /// That size.
        to: Bytes,
    },
    /// A part of the object is larger than Kubernetes allows.
    TooLong {
        /// The part, for example `metadata.annotations`.
        part: String,
    },
    /// The StorageClass is missing or does not allow expansion, or the volume was not provisioned dynamically.
    NotResizable,
    /// The operator lacks a permission.
    Rights,
    /// The object is not valid.
    Invalid,
    /// Anything else.
    Other,
}

/// The part of a ResourceQuota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The name of the ResourceQuota.
    pub name: String,
    /// The resource with the least room, for example `requests.storage`.
    pub resource: String,
    /// What this request adds.
    pub requested: Bytes,
    /// What is in use.
    pub used: Bytes,
    /// What is allowed.
    pub limited: Bytes,
}

impl Quota {
    /// What is left.
    pub fn room(&self) -> Bytes {
        self.limited.saturating_sub(self.used)
    }

    /// What must be allowed for the request to pass.
    pub fn needed(&self) -> Bytes {
        self.used.saturating_add(self.requested)
    }
}

/// A refusal: its kind, and the API server's message without the name of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What refused.
    pub kind: Kind,
    /// The API server's message.
    pub words: String,
}

impl Refusal {
    /// Classifies a message of the API server, alone or at the end of an error message.
    pub fn read(message: &str) -> Self {
        Self { kind: words::kind(message), words: words::bare(message).to_owned() }
    }

    /// A refusal because the API server stored a smaller size than the one that was sent.
    pub fn lowered(to: Bytes) -> Self {
        Self { kind: Kind::Lowered { to }, words: format!("a mutating admission policy or webhook lowers it to {to}") }
    }

    /// The reason of the Event about a PVC whose larger size was refused.
    pub fn reason(&self) -> Reason {
        match self.kind {
            Kind::StorageQuota(_) | Kind::ObjectQuota(_) => Reason::QuotaExceeded,
            Kind::LimitRange { .. } => Reason::MaxSizeReached,
            Kind::NotResizable => Reason::StorageClassNotExpandable,
            Kind::Policy { .. }
            | Kind::Webhook { .. }
            | Kind::Lowered { .. }
            | Kind::TooLong { .. }
            | Kind::Rights
            | Kind::Invalid
            | Kind::Other => Reason::ExpansionInfeasible,
        }
    }

    /// The word that distinguishes the Event messages about refusals: what refused.
    pub fn case(&self) -> String {
        match &self.kind {
            Kind::StorageQuota(quota) | Kind::ObjectQuota(quota) => format!("quota {} {}", quota.name, quota.resource),
            Kind::LimitRange { .. } => "limit-range".to_owned(),
            Kind::Policy { name, binding } => format!("policy {name} {binding}"),
            Kind::Webhook { name } => format!("webhook {name}"),
            Kind::Lowered { .. } => "lowered".to_owned(),
            Kind::TooLong { part } => format!("too-long {part}"),
            Kind::NotResizable => "not-resizable".to_owned(),
            Kind::Rights => "rights".to_owned(),
            Kind::Invalid => "invalid".to_owned(),
            Kind::Other => "other".to_owned(),
        }
    }

    /// What a person can do about it, as the end of a sentence.
    pub fn advice(&self) -> String {
        match &self.kind {
            Kind::StorageQuota(quota) | Kind::ObjectQuota(quota) => {
                let needed = if quota.resource.contains("storage") {
                    quota.needed().to_string()
                } else {
                    quota.needed().0.to_string()
                };
                format!("raise {} in ResourceQuota {} to at least {needed}", quota.resource, quota.name)
            }
            Kind::LimitRange { max: Some(max) } => {
                format!("raise max.storage in the LimitRange of the namespace, or ask for at most {max}")
            }
            Kind::LimitRange { max: None } => "raise max.storage in the LimitRange of the namespace".to_owned(),
            Kind::Policy { name, binding } if binding.is_empty() => {
                format!("do what admission policy {name} asks for, or exempt the operator's ServiceAccount in it")
            }
            Kind::Policy { name, binding } => format!(
                "do what admission policy {name} asks for, or exempt the operator's ServiceAccount in it or in its binding \
                 {binding}"
            ),
            Kind::Webhook { name } => format!(
                "do what the admission webhook {name} asks for, or exempt the operator's ServiceAccount in its configuration"
            ),
            Kind::Lowered { .. } => {
                "raise the size that it allows, or exempt the operator's ServiceAccount in it".to_owned()
            }
            Kind::TooLong { part } => format!("make {part} of the object smaller"),
            Kind::NotResizable => {
                "set allowVolumeExpansion: true in the StorageClass if its driver can expand volumes, \
                                   or move the data to a PVC of a StorageClass that allows it"
                    .to_owned()
            }
            Kind::Rights => "grant the operator's ServiceAccount that right".to_owned(),
            Kind::Invalid => "correct the field that the API server names".to_owned(),
            Kind::Other => "allow it, or exempt the operator's ServiceAccount".to_owned(),
        }
    }

    /// The largest smaller size that may be accepted instead of `wanted`, for a PVC that requests `requested` and has
    /// `capacity`.
    ///
    /// A quota and a LimitRange state what they allow; policies and webhooks do not, so rso tries half of the step. A
    /// step of less than a hundredth of the volume, or of less than 1Mi, is not worth it: the volume would be full
    /// again at once, and each expansion starts the cooldown, which some drivers count in hours.
    pub fn smaller(&self, requested: Bytes, capacity: Bytes, wanted: Bytes) -> Option<Bytes> {
        let has = requested.max(capacity);
        let size = match &self.kind {
            Kind::StorageQuota(quota) => whole_mib(requested.saturating_add(quota.room())),
            Kind::LimitRange { max } => (*max)?,
            Kind::Lowered { to } => *to,
            Kind::Policy { .. } | Kind::Webhook { .. } | Kind::Invalid | Kind::Other => {
                has.saturating_add(whole_mib(Bytes(wanted.saturating_sub(has).0 / 2)))
            }
            Kind::ObjectQuota(_) | Kind::TooLong { .. } | Kind::NotResizable | Kind::Rights => return None,
        };
        let least = Bytes(has.0 / 100).max(Bytes::mib(1));
        (size < wanted && size.saturating_sub(has) >= least).then_some(size)
    }
}

fn whole_mib(size: Bytes) -> Bytes {
    Bytes(size.0 - size.0 % Bytes::MIB)
}

#[cfg(test)]
mod tests;
