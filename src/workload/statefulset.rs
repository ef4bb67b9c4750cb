//! A StatefulSet as far as decisions need it: its volumes, its annotations, and its owner. Nothing is written from it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::annotations::{HOLD, REQUESTED, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid};
use crate::api::objects::Address;
use crate::api::reasons::Note;
use crate::api::received::{PersistentVolumeClaim, StatefulSet};
use crate::api::requested::{self, Remaining};
use crate::api::storage;
use crate::api::write::{Precondition, Write};
use crate::policy::settings::{Limits, Settings, concerns_us};

/// What decisions need of a StatefulSet.
#[derive(Clone, Debug)]
pub struct StatefulSetView {
    /// Namespace and name.
    pub name: SetName,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`: it changes with every change of the object.
    pub resource_version: String,
    /// `metadata.generation`: it changes with every change of the spec.
    pub generation: i64,
    /// `metadata.annotations`: those of rso.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.labels`: those of rso.
    pub labels: BTreeMap<String, String>,
    /// `spec.volumeClaimTemplates`, in order.
    pub templates: Vec<Template>,
    /// The ordinals of its replicas.
    pub ordinals: std::ops::Range<u32>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether it has the finalizer or the transaction ID of a recreation.
    pub marked: bool,
    /// The kind and name of the controller that owns it.
    pub owner: Option<(String, String)>,
}

/// An entry of `spec.volumeClaimTemplates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// `metadata.name`.
    pub name: TemplateName,
    /// `spec.resources.requests.storage`; `None` if it is missing or malformed.
    pub size: Option<Bytes>,
}

impl StatefulSetView {
    /// The write that shortens the annotation `requested` to what is left of it, on exactly the object that was read.
    pub fn requested_left(&self, left: Option<&str>) -> Write {
        let only = Precondition { uid: self.uid.clone(), resource_version: self.resource_version.clone() };
        let patch = json!({ "metadata": { "annotations": { REQUESTED: left } } });
        Write::merge_if(Address::set(&self.name), &only, patch)
    }

    /// [`StatefulSetView::of`] from JSON.
    pub fn read(set: &Value) -> Option<Self> {
        Self::of(&StatefulSet::deserialize(set).ok()?)
    }

    /// Reads it; `None` if the name, the namespace, or the UID is missing, which does not happen in objects of the API server.
    pub fn of(set: &StatefulSet) -> Option<Self> {
        let meta = &set.metadata;
        let name = SetName::new(meta.namespace.clone()?, meta.name.clone()?);
        let spec = &set.spec;
        let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).map_or(0, non_negative);
        let replicas = spec.replicas.map_or(1, non_negative);
        let annotations = meta.annotations.clone();
        Some(Self {
            name,
            uid: Uid::new(meta.uid.clone()?),
            generation: meta.generation.unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            marked: meta.has_finalizer(HOLD) || annotations.contains_key(TRANSACTION),
            annotations,
            labels: meta.labels.clone(),
            templates: spec.volume_claim_templates.iter().flatten().filter_map(template).collect(),
            ordinals: start..start.saturating_add(replicas),
            deleting: meta.deletion_timestamp.is_some(),
            owner: meta.controller().map(|owner| (owner.kind.clone(), owner.name.clone())),
        })
    }

    /// The names of the templates, in order.
    pub fn template_names(&self) -> Vec<TemplateName> {
        self.templates.iter().map(|template| template.name.clone()).collect()
    }

    /// What of the `requested` annotation is left to do.
    pub fn remaining_requests(&self) -> Remaining {
        let live = |name: &str| self.templates.iter().find(|template| template.name.as_str() == name)?.size;
        self.annotations.get(REQUESTED).map_or(Remaining::None, |text| requested::remaining(text, live))
    }

    /// Whether rso manages it.
    pub fn is_managed(&self) -> bool {
        concerns_us(&self.annotations, &self.labels)
    }

    /// Its settings, and the errors in its annotations.
    pub fn settings(&self, limits: &Limits) -> (Settings, Vec<Note>) {
        Settings::read(&self.annotations, &self.labels, &self.template_names(), limits)
    }

    /// Whether this is a PVC of the template that belongs to none of its ordinals: scaling down left it.
    pub fn is_retained(&self, namespace: &str, claim: &ClaimName, template: &TemplateName) -> bool {
        namespace == self.name.namespace
            && claim.ordinal_of(template, &self.name).is_some_and(|ordinal| !self.ordinals.contains(&ordinal.0))
    }

    /// What the names of all PVCs of this template begin with.
    pub fn claim_prefix(&self, template: &TemplateName) -> String {
        format!("{template}-{}-", self.name.name)
    }

    /// The PVCs that its replicas have of this template.
    pub fn claims_of<'a>(&'a self, template: &'a TemplateName) -> impl Iterator<Item = (Ordinal, ClaimName)> + 'a {
        self.ordinals.clone().map(Ordinal).map(|ordinal| (ordinal, ClaimName::of(template, &self.name, ordinal)))
    }
}

fn non_negative(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn template(claim: &PersistentVolumeClaim) -> Option<Template> {
    Some(Template { name: TemplateName::new(claim.metadata.name.clone()?), size: storage::requested(claim) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(spec: serde_json::Value) -> StatefulSetView {
        let set = json!({
            "metadata": {"name": "db", "namespace": "ns", "uid": "1"},
            "spec": spec,
        });
        StatefulSetView::of(&serde_json::from_value(set).unwrap()).unwrap()
    }

    #[test]
    fn what_is_missing_has_the_default_of_the_api() {
        let set = view(json!({"serviceName": "db", "selector": {}, "template": {}}));
        assert_eq!(set.ordinals, 0..1);
        assert!(set.templates.is_empty() && set.annotations.is_empty() && !set.marked && set.owner.is_none());
    }

    #[test]
    fn claims_are_named_from_the_first_ordinal_on() {
        let set = view(json!({
            "serviceName": "db", "selector": {}, "template": {}, "replicas": 2, "ordinals": {"start": 5},
            "volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1e9"}}}},
                {"metadata": {"name": "odd"}, "spec": {}},
            ],
        }));
        let claims: Vec<_> = set.claims_of(&"data".into()).map(|(_, claim)| claim.to_string()).collect();
        assert_eq!(claims, ["data-db-5", "data-db-6"]);
        assert_eq!(set.templates[0].size, Some(Bytes(1_000_000_000)));
        assert_eq!(set.templates[1].size, None);
    }

    #[test]
    fn a_request_is_open_until_the_template_has_its_size() {
        let check = |recorded: Option<&str>, expected: Remaining| {
            let mut set = json!({
                "metadata": {"name": "db", "namespace": "ns", "uid": "1"},
                "spec": {"serviceName": "db", "selector": {}, "template": {}, "volumeClaimTemplates": [
                    {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "50Gi"}}}},
                    {"metadata": {"name": "wal"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}},
                ]},
            });
            if let Some(recorded) = recorded {
                set["metadata"]["annotations"] = json!({ REQUESTED: recorded });
            }
            let view = StatefulSetView::of(&serde_json::from_value(set).unwrap()).unwrap();
            assert_eq!(view.remaining_requests(), expected, "{recorded:?}");
        };
        check(None, Remaining::None);
        check(Some("data"), Remaining::None);
        check(Some("data=much"), Remaining::None);
        check(Some("data=60Gi"), Remaining::All("data=60Gi".into()));
        check(Some("data=60Gi,wal=2Gi"), Remaining::All("data=60Gi,wal=2Gi".into()));
        check(Some("data=50Gi,wal=2Gi"), Remaining::Part(Some("wal=2Gi".into())));
        check(Some("data=51200Mi"), Remaining::Part(None));
        check(Some("gone=1Gi"), Remaining::Part(None));
    }
}
