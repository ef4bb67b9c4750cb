//! The write that expands a PVC.
//!
//! It is one PATCH of the size and of the time of the expansion, on exactly the object that the decision is based on. A
//! dry run comes first: a quota, a policy, or a StorageClass that forbids the expansion is known before anything is
//! written.

use serde_json::Value;

use super::act::act;
use super::client::{Client, Error, Outcome};
use super::lease::Leadership;
use crate::api::bytes::Bytes;
use crate::api::refusal::Refusal;
use crate::api::storage;
use crate::policy::claim::Claim;
use crate::workload::claims::{Rescued, expansion};

/// The most dry runs of one attempt: of the wanted size, then of half the step, down to a sixty-fourth.
const MOST_TRIES: u32 = 7;

/// How an attempt to expand a PVC ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The API server accepted a size.
    Committed {
        /// The size.
        to: Bytes,
        /// Why it is smaller than requested.
        less: Option<Refusal>,
    },
    /// The PVC changed since it was read: reconcile again.
    Conflict,
    /// The PVC does not exist.
    Gone,
    /// This replica may not write now.
    NotLeading,
    /// The API server refuses the size, and the smaller ones that were tried.
    Refused(Refusal),
}

/// Whether a smaller size is requested if the API server refuses the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrLess {
    /// Yes: the volume is full, and any space helps.
    Yes,
    /// No: a person requested the size, or it is that of the other replicas.
    No,
}

/// A requested size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The size.
    pub size: Bytes,
    /// Whether a smaller one is better than none.
    pub or_less: OrLess,
    /// What is recorded with it.
    pub rescued: Rescued,
}

/// Requests a size: first as a dry run, then for real, both with the resourceVersion of the PVC that was read as the
/// precondition.
///
/// # Errors
/// If a request fails, or the operator lacks the permission. After an error of class
/// [`Unknown`](super::client::Class::Unknown) the size may or may not have been accepted.
pub async fn grow(
    client: &Client,
    leadership: &Leadership,
    namespace: &str,
    claim: &Claim,
    wanted: Wanted,
    now: jiff::Timestamp,
) -> Result<Growth, Error> {
    let Wanted { size: mut to, or_less, rescued } = wanted;
    let mut less = None;
    for _ in 0..MOST_TRIES {
        let write = expansion(namespace, claim, to, rescued, now);
        match ended(client.dry_run(&write).await.map(Some), to)? {
            Growth::Committed { .. } => {
                return Ok(ended(act(client, leadership, &write).await, to)?.because(less));
            }
            Growth::Refused(refusal) => {
                let smaller = refusal.smaller(claim.requested, claim.capacity.unwrap_or_default(), to);
                // The first refusal is the one that matters to a person.
                let first = less.take().unwrap_or(refusal);
                let Some(smaller) = smaller.filter(|_| or_less == OrLess::Yes) else {
                    return Ok(Growth::Refused(first));
                };
                (to, less) = (smaller, Some(first));
            }
            other @ (Growth::Conflict | Growth::Gone | Growth::NotLeading) => return Ok(other),
        }
    }
    Ok(less.map_or(Growth::Conflict, Growth::Refused))
}

impl Growth {
    fn because(self, less: Option<Refusal>) -> Self {
        match self {
            Self::Committed { to, .. } => Self::Committed { to, less },
            other @ (Self::Conflict | Self::Gone | Self::NotLeading | Self::Refused(_)) => other,
        }
    }
}

fn ended(outcome: Result<Option<Outcome<Value>>, Error>, to: Bytes) -> Result<Growth, Error> {
    match outcome {
        Ok(None) => Ok(Growth::NotLeading),
        // The stored size counts: a mutating policy or webhook may have changed it.
        Ok(Some(Outcome::Done(claim))) => match storage::request(&claim) {
            Some(stored) if stored < to => Ok(Growth::Refused(Refusal::lowered(stored))),
            Some(stored) => Ok(Growth::Committed { to: stored, less: None }),
            None => Ok(Growth::Committed { to, less: None }),
        },
        Ok(Some(Outcome::Conflict(_) | Outcome::AlreadyExists)) => Ok(Growth::Conflict),
        Ok(Some(Outcome::NotFound)) => Ok(Growth::Gone),
        Err(Error::Refused { message, .. } | Error::Invalid { message, .. }) => {
            Ok(Growth::Refused(Refusal::read(&message)))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::{Call, Effect};
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_kind_and_in_the_words_of_the_server() {
        let call = || Call { verb: "patch", resource: String::new(), object: String::new(), effect: Effect::Reads };
        let to = Bytes::gib(2);
        let refused = |message: &str| ended(Err(Error::Refused { call: call(), message: message.into() }), to).unwrap();
        let words = |growth: Growth| {
            let Growth::Refused(refusal) = growth else { panic!("{growth:?}") };
            refusal.words
        };
        assert_eq!(
            words(refused("persistentvolumeclaims \"data-db-0\" is forbidden: exceeded quota: q, requested: 2Gi")),
            "exceeded quota: q, requested: 2Gi"
        );
        let message = "PersistentVolumeClaim \"x\" is invalid: spec: too small".into();
        let invalid = ended(Err(Error::Invalid { call: call(), code: 422, message }), to).unwrap();
        assert_eq!(words(invalid), "spec: too small");
        let stored = |size: &str| {
            let claim = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            ended(Ok(Some(Outcome::Done(claim))), to).unwrap()
        };
        assert_eq!(stored("2Gi"), Growth::Committed { to, less: None });
        assert_eq!(stored("3Gi"), Growth::Committed { to: Bytes::gib(3), less: None });
        assert_eq!(stored("1Gi"), Growth::Refused(Refusal::lowered(Bytes::gib(1))));
        assert_eq!(ended(Ok(Some(Outcome::Conflict("x".into()))), to).unwrap(), Growth::Conflict);
        let lost = Error::NoAnswer { call: call(), source: "reset".into() };
        assert!(ended(Err(lost), to).is_err());
    }
}
