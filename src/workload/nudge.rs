//! The nudge: one annotation on a Pod, which makes its kubelet expand the filesystem of a larger disk at once.
//!
//! A kubelet checks the volumes of a running Pod when it synchronizes the Pod: at the latest every `syncFrequency` (one
//! minute by default, with jitter), or as soon as the spec, the labels, or the annotations of the Pod change. An
//! annotation can change on a running Pod, restarts nothing, and no controller rolls a Pod because of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::claims::ClaimView;
use crate::api::annotations::RESIZE_SEEN;
use crate::api::bytes::Bytes;
use crate::api::names::Uid;
use crate::api::objects::PODS;
use crate::api::write::Write;
use crate::policy::claim::Resize;

/// The expansion of a PVC, as far as a nudge depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// The UID of the PVC.
    pub claim: Uid,
    /// The requested size: another one is another expansion.
    pub size: Bytes,
    /// Where the expansion is.
    pub stage: Stage,
}

/// Where an expansion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none, or it is done.
    Done,
    /// A nudge does not help: the CSI driver is at work, or the kubelet is, or one of them failed.
    Elsewhere,
    /// The disk is larger, and the kubelet has not begun to expand the filesystem.
    AwaitsKubelet,
}

impl Expansion {
    /// Reads it from a PVC; `None` if the PVC has no UID or no readable size.
    pub fn of(claim: &ClaimView) -> Option<Self> {
        let size = claim.requested?;
        let stage = match claim.resize {
            Resize::None => Stage::Done,
            Resize::NodePending | Resize::FileSystemResizePending if !claim.deleting => Stage::AwaitsKubelet,
            Resize::NodePending
            | Resize::FileSystemResizePending
            | Resize::ControllerInProgress
            | Resize::ControllerInfeasible
            | Resize::NodeInProgress
            | Resize::NodeInfeasible => Stage::Elsewhere,
        };
        Some(Self { claim: claim.uid.clone()?, size, stage })
    }
}

/// A Pod that can be annotated.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID: a Pod that was created again mounts the volume anyway.
    pub uid: &'a str,
}

/// The write. It has no resourceVersion: the kubelet updates the status of a Pod all the time, and the annotation depends
/// on nothing else.
pub fn nudge(pod: Target<'_>, now: Timestamp) -> Write {
    let metadata = json!({ "uid": pod.uid, "annotations": { RESIZE_SEEN: format!("{now:.3}") } });
    Write::merge(PODS.of(pod.namespace, pod.name), json!({ "metadata": metadata }))
}

/// Whether the response to the dry run of a nudge shows that nothing but the annotation would change: the generation of a
/// Pod counts the changes of its spec. A mutating policy can replace an image on every UPDATE, which restarts a container.
pub fn changes_no_spec(generation: Option<i64>, response: &Value) -> bool {
    generation.is_some_and(|generation| response["metadata"]["generation"].as_i64() == Some(generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expansion_awaits_the_kubelet_from_the_larger_disk_to_the_larger_filesystem() {
        let read = |metadata: Value, status: Value| {
            let spec = json!({"resources": {"requests": {"storage": "12Gi"}}});
            let claim = json!({"metadata": metadata, "spec": spec, "status": status});
            Expansion::of(&serde_json::from_value(claim).unwrap())
        };
        let check = |status: Value, stage: Stage| {
            let expected = Expansion { claim: "u-1".into(), size: Bytes::gib(12), stage };
            assert_eq!(read(json!({"uid": "u-1"}), status), Some(expected));
        };
        let word = |word: &str| json!({"allocatedResourceStatuses": {"storage": word}});
        let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True"}]});
        check(json!({}), Stage::Done);
        check(word("ControllerResizeInProgress"), Stage::Elsewhere);
        check(word("NodeResizePending"), Stage::AwaitsKubelet);
        check(word("NodeResizeInProgress"), Stage::Elsewhere);
        check(word("NodeResizeInfeasible"), Stage::Elsewhere);
        check(condition("Resizing"), Stage::Elsewhere);
        check(condition("FileSystemResizePending"), Stage::AwaitsKubelet);
        let leaving = json!({"uid": "u-1", "deletionTimestamp": "2026-01-02T03:04:05Z"});
        assert_eq!(read(leaving, word("NodeResizePending")).unwrap().stage, Stage::Elsewhere);
        assert_eq!(read(json!({}), word("NodeResizePending")), None);
    }

    #[test]
    fn a_nudge_is_one_annotation_on_exactly_this_pod() {
        let pod = Target { namespace: "shop", name: "db-0", uid: "u-7" };
        let write = nudge(pod, "2026-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!((write.verb(), write.object.to_string().as_str()), ("patch", "pods shop/db-0"));
        let metadata = json!({"uid": "u-7", "annotations": {RESIZE_SEEN: "2026-01-02T03:04:05.678Z"}});
        assert_eq!(write.merge_patch(), Some(&json!({ "metadata": metadata })));
    }

    #[test]
    fn a_nudge_that_would_change_the_spec_is_not_sent() {
        let check = |before: Option<i64>, after: Value, expected: bool| {
            assert_eq!(changes_no_spec(before, &json!({"metadata": {"generation": after}})), expected);
        };
        check(Some(1), json!(1), true);
        check(Some(1), json!(2), false);
        // A server that does not count shows nothing.
        check(None, Value::Null, false);
        check(None, json!(1), false);
        check(Some(1), Value::Null, false);
    }
}
