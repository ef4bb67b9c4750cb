//! What is there of a claim, and how is it made to grow?
//!
//! A growth is one PATCH of one field with the time of it, on exactly the object that was decided on, tried dry first: so
//! that a quota, a policy or a class that forbids it is known before anything is written.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{Address, Client, Error, Outcome, Patch, Run};
use super::lease::Leadership;
use crate::api::annotations::RESIZED_AT;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::api::refusal::Refusal;
use crate::policy::claim::{Claim, Class, Phase, Resize, Sizer};
use crate::recreate::manifest::MANAGER;

/// Annotations of a claim that name its provisioner; the second is what old clusters wrote.
const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// The finalizer that keeps a claim as long as a pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Where `managedFields` has the requested size.
const SIZE_FIELD: &str = "/f:spec/f:resources/f:requests/f:storage";
/// How many sizes are tried dry in one attempt: the wanted one, and half of the step down to a sixty-fourth.
const MOST_TRIES: u32 = 7;

/// Why a claim cannot be looked at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// A part that every claim has is missing or cannot be read.
    #[error("failed to read persistentvolumeclaims {claim}: {part} is missing or not what it should be")]
    Part {
        /// `namespace/name`.
        claim: String,
        /// Which part.
        part: &'static str,
    },
    /// It belongs to another template or set.
    #[error("failed to read persistentvolumeclaims {claim}: it is not a claim of template {template} of {set}")]
    Foreign {
        /// `namespace/name`.
        claim: String,
        /// The template that was asked for.
        template: TemplateName,
        /// Its set.
        set: SetName,
    },
}

/// How an attempt to grow a claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The API server has accepted a size.
    Committed {
        /// Which.
        to: Bytes,
        /// Why it is less than what was wanted.
        less: Option<Refusal>,
    },
    /// The claim has changed since it was looked at: look again.
    Conflict,
    /// The claim is not there.
    Gone,
    /// This replica may not write now.
    NotLeading,
    /// The API server does not accept the size, nor a smaller one that was tried.
    Refused(Refusal),
}

/// Looks at a claim of this template of this set. `class` is the claim's StorageClass, if it exists.
///
/// # Errors
/// When it is another's claim, or no identity or size can be read: such a claim must not be touched.
pub fn read(claim: &Value, set: &SetName, template: &TemplateName, class: Option<Class>) -> Result<Claim, ReadError> {
    let (meta, spec, status) = (&claim["metadata"], &claim["spec"], &claim["status"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = ClaimName::new(text(&meta["name"]).unwrap_or_default());
    let told = || format!("{}/{name}", meta["namespace"].as_str().unwrap_or_default());
    let missing = |part| ReadError::Part { claim: told(), part };
    let ours = meta["namespace"].as_str() == Some(set.namespace.as_str());
    let ordinal = name.ordinal_of(template, set).filter(|_| ours);
    let Some(ordinal) = ordinal else {
        return Err(ReadError::Foreign { claim: told(), template: template.clone(), set: set.clone() });
    };
    let requested = size(&spec["resources"]["requests"]).ok_or_else(|| missing("spec.resources.requests.storage"))?;
    Ok(Claim {
        template: template.clone(),
        ordinal,
        uid: text(&meta["uid"]).map(Uid::new).ok_or_else(|| missing("metadata.uid"))?,
        resource_version: text(&meta["resourceVersion"]).ok_or_else(|| missing("metadata.resourceVersion"))?,
        phase: phase(&status["phase"]),
        deleting: meta["deletionTimestamp"].is_string(),
        protected: meta["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == PROTECTION)),
        block_mode: spec["volumeMode"] == "Block",
        requested,
        capacity: size(&status["capacity"]),
        resize: resize(status, requested),
        class,
        resized_at: meta["annotations"][RESIZED_AT].as_str().and_then(|time| time.parse().ok()),
        sizer: sizer(&meta["managedFields"]),
        name,
    })
}

/// The last that set the requested size. The cache keeps that entry alone, without the list of its fields.
fn sizer(managed: &Value) -> Option<Sizer> {
    let entries = managed.as_array()?.iter();
    let sets_the_size = |entry: &&Value| entry["fieldsV1"].is_null() || entry["fieldsV1"].pointer(SIZE_FIELD).is_some();
    let at = |entry: &Value| entry["time"].as_str().and_then(|time| time.parse().ok());
    let last = entries.filter(sets_the_size).max_by_key(|entry| at(entry))?;
    let manager = last["manager"].as_str().unwrap_or_default();
    Some(Sizer { manager: manager.to_owned(), is_ours: manager == MANAGER, at: at(last) })
}

/// Leaves of the `managedFields` of a claim what [`read`] needs: who set the requested size last, and when.
pub fn only_the_sizer(managed: Vec<ManagedFieldsEntry>) -> Option<Vec<ManagedFieldsEntry>> {
    let sets_the_size = |entry: &ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(SIZE_FIELD).is_some())
    };
    let last = managed.into_iter().filter(sets_the_size).max_by_key(|entry| entry.time.clone())?;
    Some(vec![ManagedFieldsEntry { manager: last.manager, time: last.time, ..Default::default() }])
}

/// The same for a claim from a cache.
///
/// # Errors
/// As [`read`].
pub fn read_typed(
    claim: &PersistentVolumeClaim,
    set: &SetName,
    template: &TemplateName,
    class: Option<Class>,
) -> Result<Claim, ReadError> {
    read(&untyped(claim), set, template, class)
}

/// The name of the class of a claim; an empty one means that the claim has none.
pub fn class_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.storage_class_name.as_deref().filter(|name| !name.is_empty())
}

/// Looks at a StorageClass. Expansion is allowed only where the class says so.
pub fn class(class: &Value) -> Class {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Class {
        name: text(&class["metadata"]["name"]),
        expandable: class["allowVolumeExpansion"] == true,
        provisioner: text(&class["provisioner"]),
    }
}

/// The same for a class from a cache.
pub fn class_typed(typed: &StorageClass) -> Class {
    class(&untyped(typed))
}

/// The class of a claim where classes cannot be read: the provisioner is on the claim, and whether it may grow is learned
/// from the API server, whose dry run refuses what the class does not allow.
pub fn class_unread(claim: &PersistentVolumeClaim, name: &str) -> Class {
    let annotations = claim.metadata.annotations.as_ref();
    let provisioner = annotations.and_then(|all| PROVISIONER.iter().find_map(|key| all.get(*key)));
    Class { name: name.to_owned(), expandable: true, provisioner: provisioner.cloned().unwrap_or_default() }
}

/// May a smaller size be asked for, where the wanted one is refused?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrLess {
    /// Yes: the volume is full, and any room helps.
    Yes,
    /// No: a person named the size, or it is that of the siblings.
    No,
}

/// Asks for a size: first dry, then for real, both on the version of the claim that was looked at.
///
/// # Errors
/// When the API server cannot be asked or the operator lacks the right. After an error of class
/// [`Unknown`](super::client::Class::Unknown) the size may or may not have been accepted.
pub async fn grow(
    client: &Client,
    leadership: &Leadership,
    namespace: &str,
    claim: &Claim,
    wanted: (Bytes, OrLess),
    now: jiff::Timestamp,
) -> Result<Growth, Error> {
    let address = Address::claim(namespace, &claim.name);
    let (mut to, or_less) = wanted;
    let mut less = None;
    for _ in 0..MOST_TRIES {
        let patch = Patch::Merge(growth(claim, to, now));
        match ended(client.patch(&address, &patch, Run::Dry).await, to)? {
            Growth::Committed { .. } => {
                let Some(permit) = leadership.permit() else { return Ok(Growth::NotLeading) };
                let done = ended(permit.client(client).patch(&address, &patch, Run::Real).await, to)?;
                return Ok(done.because(less));
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

/// Size and time in one patch, so that the two cannot part; the resourceVersion is the precondition.
fn growth(claim: &Claim, to: Bytes, now: jiff::Timestamp) -> Value {
    json!({
        "metadata": {
            "resourceVersion": claim.resource_version,
            "annotations": {RESIZED_AT: format!("{now:.0}")},
        },
        "spec": {"resources": {"requests": {"storage": to}}},
    })
}

fn ended(outcome: Result<Outcome<Value>, Error>, to: Bytes) -> Result<Growth, Error> {
    match outcome {
        // What is stored counts: a mutating policy or webhook may have changed it.
        Ok(Outcome::Done(claim)) => match size(&claim["spec"]["resources"]["requests"]) {
            Some(stored) if stored < to => Ok(Growth::Refused(Refusal::lowered(stored))),
            Some(stored) => Ok(Growth::Committed { to: stored, less: None }),
            None => Ok(Growth::Committed { to, less: None }),
        },
        Ok(Outcome::Conflict(_) | Outcome::AlreadyExists) => Ok(Growth::Conflict),
        Ok(Outcome::NotFound) => Ok(Growth::Gone),
        Err(Error::Refused { message, .. } | Error::Invalid { message, .. }) => {
            Ok(Growth::Refused(Refusal::read(&message)))
        }
        Err(error) => Err(error),
    }
}

fn untyped(object: &impl Serialize) -> Value {
    // A struct of strings and maps always serialises; if ever not, everything is missing and the claim is left alone.
    serde_json::to_value(object).unwrap_or_default()
}

fn size(of: &Value) -> Option<Bytes> {
    of["storage"].as_str()?.parse().ok()
}

fn phase(phase: &Value) -> Phase {
    match phase.as_str() {
        Some("Bound") => Phase::Bound,
        Some("Lost") => Phase::Lost,
        _ => Phase::Pending,
    }
}

/// Since 1.34 the status word tells where an expansion is; older servers, and resizers without it, tell it by conditions.
fn resize(status: &Value, requested: Bytes) -> Resize {
    let Some(word) = status["allocatedResourceStatuses"]["storage"].as_str() else {
        return if condition(status, "FileSystemResizePending").is_some() {
            Resize::FileSystemResizePending
        } else if condition(status, "Resizing").is_some() {
            Resize::ControllerInProgress
        } else {
            Resize::None
        };
    };
    // What was refused is the size that was tried, which after a smaller request is still the one before it.
    let tried = size(&status["allocatedResources"]).unwrap_or(requested);
    let verdict = node_verdict(Resize::from_word(word), status);
    if verdict == Resize::NodeInfeasible && tried != requested {
        Resize::NodePending
    } else if verdict == Resize::ControllerInfeasible && tried != requested {
        Resize::ControllerInProgress
    } else {
        verdict
    }
}

/// Where the driver grows volumes on the node alone, external-resizer 2.3 turns `NodeResizeInfeasible` back into
/// `NodeResizePending` within moments (measured), and so it goes round and round; the kubelet's condition stays.
fn node_verdict(word: Resize, status: &Value) -> Resize {
    let under_way = matches!(word, Resize::NodePending | Resize::NodeInProgress);
    let Some(said) = condition(status, "NodeResizeError").filter(|_| under_way) else { return word };
    let said_code = |code: &str| said.contains(&format!("code = {code} "));
    if ["OutOfRange", "InvalidArgument", "NotFound"].into_iter().any(said_code) {
        return Resize::NodeInfeasible;
    }
    // Not while it is in use.
    if said_code("FailedPrecondition") { Resize::FileSystemResizePending } else { word }
}

/// The message of a condition that is true.
fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind && condition["status"] == "True")?;
    Some(found["message"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::client::{Call, Effect};
    use super::*;

    fn set() -> SetName {
        SetName::new("shop", "db")
    }

    fn claim(change: impl FnOnce(&mut Value)) -> Value {
        let mut claim = json!({
            "metadata": {"namespace": "shop", "name": "data-db-3", "uid": "u-1", "resourceVersion": "7"},
            "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "fast"},
            "status": {"phase": "Bound", "capacity": {"storage": "10737418240"}},
        });
        change(&mut claim);
        claim
    }

    fn look(change: impl FnOnce(&mut Value)) -> Result<Claim, ReadError> {
        read(&claim(change), &set(), &"data".into(), None)
    }

    #[test]
    fn a_claim_is_read_with_every_part_that_deciding_needs() {
        let read = look(|claim| {
            claim["metadata"]["annotations"] = json!({RESIZED_AT: "2026-01-02T03:04:05Z"});
            claim["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
            claim["spec"]["volumeMode"] = json!("Block");
        });
        let read = read.unwrap();
        assert_eq!((read.name.as_str(), read.ordinal.0, read.uid.as_str()), ("data-db-3", 3, "u-1"));
        assert_eq!((read.requested, read.capacity), (Bytes::gib(10), Some(Bytes::gib(10))));
        assert_eq!((read.phase, read.resize), (Phase::Bound, Resize::None));
        assert!(read.deleting && read.block_mode);
        assert_eq!(read.resized_at, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    }

    #[test]
    fn who_set_the_size_is_known_also_from_what_the_cache_keeps() {
        let fields = |path: Value| json!({"f:spec": {"f:resources": {"f:requests": path}}});
        let entry =
            |manager: &str, time: &str, fields: Value| json!({"manager": manager, "time": time, "fieldsV1": fields});
        let whole = claim(|claim| {
            claim["metadata"]["managedFields"] = json!([
                entry("kubectl", "2026-01-02T03:04:05Z", fields(json!({"f:storage": {}}))),
                entry("rso-controller", "2026-01-02T03:05:00Z", fields(json!({"f:storage": {}}))),
                entry("kube-controller-manager", "2026-01-02T03:06:00Z", json!({"f:status": {}})),
            ]);
            claim["metadata"]["finalizers"] = json!([PROTECTION]);
        });
        let mut typed: PersistentVolumeClaim = serde_json::from_value(whole.clone()).unwrap();
        let sizer = Some(Sizer {
            manager: MANAGER.to_owned(),
            is_ours: true,
            at: Some("2026-01-02T03:05:00Z".parse().unwrap()),
        });
        let (set, template) = (set(), "data".into());
        let read_whole = read(&whole, &set, &template, None).unwrap();
        assert_eq!((&read_whole.sizer, read_whole.protected), (&sizer, true));
        typed.metadata.managed_fields = typed.metadata.managed_fields.and_then(only_the_sizer);
        assert_eq!(typed.metadata.managed_fields.as_ref().map(Vec::len), Some(1));
        assert_eq!(read_typed(&typed, &set, &template, None).unwrap().sizer, sizer);
        assert_eq!(look(|_| ()).unwrap().sizer, None);
    }

    #[test]
    fn what_may_be_missing_is_missing_without_harm() {
        let read = look(|claim| {
            claim["status"] = Value::Null;
            claim["metadata"]["annotations"] = json!({RESIZED_AT: "yesterday"});
        });
        let read = read.unwrap();
        assert_eq!((read.phase, read.capacity, read.resized_at), (Phase::Pending, None, None));
    }

    #[test]
    fn a_claim_without_identity_or_size_or_of_another_set_is_not_touched() {
        let check = |change: fn(&mut Value), part: &str| {
            let told = look(change).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        };
        check(|claim| claim["metadata"]["uid"] = Value::Null, "metadata.uid");
        check(|claim| claim["metadata"]["resourceVersion"] = Value::Null, "metadata.resourceVersion");
        check(|claim| claim["spec"]["resources"]["requests"]["storage"] = json!("ten"), "requests.storage");
        check(|claim| claim["metadata"]["name"] = json!("wal-db-3"), "not a claim of template data of shop/db");
        check(|claim| claim["metadata"]["namespace"] = json!("other"), "not a claim of template data of shop/db");
        assert!(read(&Value::Null, &set(), &"data".into(), None).is_err());
    }

    #[test]
    fn an_expansion_is_seen_by_its_word_or_else_by_its_condition() {
        let check = |status: Value, expected| assert_eq!(resize(&status, Bytes::gib(8)), expected, "{status}");
        let word = |word: &str| json!({"allocatedResourceStatuses": {"storage": word}});
        let condition = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status}]});
        check(json!({}), Resize::None);
        check(word("ControllerResizeInProgress"), Resize::ControllerInProgress);
        check(word("NodeResizeInfeasible"), Resize::NodeInfeasible);
        check(condition("Resizing", "True"), Resize::ControllerInProgress);
        check(condition("Resizing", "False"), Resize::None);
        check(condition("FileSystemResizePending", "True"), Resize::FileSystemResizePending);
        check(condition("Unused", "True"), Resize::None);
    }

    #[test]
    fn a_class_that_cannot_be_read_is_known_by_the_claim_alone() {
        let check = |annotations: Value, expected: &str| {
            let claim: PersistentVolumeClaim =
                serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap();
            assert_eq!(class_unread(&claim, "fast").provisioner, expected);
            assert!(class_unread(&claim, "fast").expandable, "the API server is asked");
        };
        check(
            json!({"volume.kubernetes.io/storage-provisioner": "new", "volume.beta.kubernetes.io/storage-provisioner": "old"}),
            "new",
        );
        check(json!({"volume.beta.kubernetes.io/storage-provisioner": "old"}), "old");
        check(json!({}), "");
    }

    #[test]
    fn a_refusal_by_the_node_is_seen_although_the_resizer_rubs_it_out() {
        let check = |word: &str, tried: &str, error: &str, expected: Resize| {
            let message = format!("failed to expand pvc with … rpc error: code = {error} desc = why");
            let status = json!({
                "allocatedResources": {"storage": tried},
                "allocatedResourceStatuses": {"storage": word},
                "conditions": [{"type": "NodeResizeError", "status": "True", "message": message}],
            });
            assert_eq!(resize(&status, Bytes::gib(8)), expected, "{status}");
        };
        check("NodeResizePending", "8Gi", "OutOfRange", Resize::NodeInfeasible);
        check("NodeResizeInProgress", "8Gi", "OutOfRange", Resize::NodeInfeasible);
        check("NodeResizeInfeasible", "8Gi", "OutOfRange", Resize::NodeInfeasible);
        check("NodeResizePending", "8Gi", "Unavailable", Resize::NodePending);
        check("NodeResizeInProgress", "8Gi", "FailedPrecondition", Resize::FileSystemResizePending);
        // The size asked for since is smaller, and was not tried yet.
        check("NodeResizeInfeasible", "9Gi", "OutOfRange", Resize::NodePending);
        check("NodeResizePending", "9Gi", "OutOfRange", Resize::NodePending);
        check("ControllerResizeInfeasible", "9Gi", "", Resize::ControllerInProgress);
        check("ControllerResizeInfeasible", "8Gi", "", Resize::ControllerInfeasible);
    }

    #[test]
    fn a_class_grows_volumes_only_where_it_says_so() {
        let check = |allowed: Value, expected: bool| {
            let object = json!({"metadata": {"name": "fast"}, "provisioner": "p", "allowVolumeExpansion": allowed});
            assert_eq!(class(&object), Class { name: "fast".into(), expandable: expected, provisioner: "p".into() });
        };
        check(json!(true), true);
        check(json!(false), false);
        check(Value::Null, false);
    }

    #[test]
    fn a_growth_is_one_patch_of_size_and_time_on_one_version() {
        let claim = look(|_| ()).unwrap();
        assert_eq!(
            growth(&claim, Bytes::gib(12), "2026-01-02T03:04:05.678Z".parse().unwrap()),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {RESIZED_AT: "2026-01-02T03:04:05Z"}},
                "spec": {"resources": {"requests": {"storage": "12Gi"}}},
            })
        );
    }

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
            ended(Ok(Outcome::Done(claim)), to).unwrap()
        };
        assert_eq!(stored("2Gi"), Growth::Committed { to, less: None });
        assert_eq!(stored("3Gi"), Growth::Committed { to: Bytes::gib(3), less: None });
        assert_eq!(stored("1Gi"), Growth::Refused(Refusal::lowered(Bytes::gib(1))));
        assert_eq!(ended(Ok(Outcome::Conflict("x".into())), to).unwrap(), Growth::Conflict);
        let lost = Error::NoAnswer { call: call(), source: "reset".into() };
        assert!(ended(Err(lost), to).is_err());
    }
}
