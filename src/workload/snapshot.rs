//! The snapshot of a StatefulSet: the object, its settings, and its PVCs by template. The controller, the webhook, and
//! the command line read it, each from its own objects.

use super::group::VolumeGroup;
use super::objects::Objects;
use super::statefulset::StatefulSetView;
use crate::api::names::TemplateName;
use crate::api::reasons::Note;
use crate::policy::claim::Claim;
use crate::policy::settings::{Limits, Settings, TemplateSettings};

/// A StatefulSet with its settings and its PVCs.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The StatefulSet.
    pub set: StatefulSetView,
    /// Its settings, within the administrator's limits.
    pub settings: Settings,
    /// The errors in its annotations.
    pub problems: Vec<Note>,
    /// Its PVCs, by template, in the order of `volumeClaimTemplates`.
    pub groups: Vec<VolumeGroup>,
}

impl Workload {
    /// Reads what belongs to a StatefulSet.
    pub fn read(objects: &impl Objects, set: StatefulSetView, limits: &Limits) -> Self {
        let (settings, problems) = set.settings(limits);
        let groups = set.templates.iter().map(|template| VolumeGroup::read(objects, &set, template)).collect();
        Self { set, settings, problems, groups }
    }

    /// The PVCs of a template; `None` if there is no such template.
    pub fn group(&self, template: &TemplateName) -> Option<&VolumeGroup> {
        self.groups.iter().find(|group| group.template.name == *template)
    }

    /// The groups with the settings of their templates.
    pub fn configured(&self) -> impl Iterator<Item = (&VolumeGroup, &TemplateSettings)> {
        self.groups.iter().filter_map(|group| Some((group, self.settings.templates.get(&group.template.name)?)))
    }

    /// The PVCs of all templates.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.groups.iter().flat_map(|group| &group.claims)
    }

    /// The same, to change them.
    pub fn claims_mut(&mut self) -> impl Iterator<Item = &mut Claim> {
        self.groups.iter_mut().flat_map(|group| &mut group.claims)
    }
}

/// Whether scaling down made a Pod the owner of a PVC that still has the protective owner reference of a recreation.
pub fn has_protected_retained(objects: &impl Objects, set: &StatefulSetView) -> bool {
    let mut retained = set.templates.iter().flat_map(|template| objects.retained(set, &template.name));
    retained.any(|claim| claim.is_protected_with_pod)
}

#[cfg(test)]
impl Workload {
    /// A StatefulSet with these PVCs, for tests.
    pub(crate) fn of(set: StatefulSetView, claims: Vec<Claim>) -> Self {
        let (settings, problems) = set.settings(&Limits::default());
        let group = |template: &super::statefulset::Template| VolumeGroup {
            template: template.clone(),
            claims: claims.iter().filter(|claim| claim.template == template.name).cloned().collect(),
            unreadable: Vec::new(),
        };
        let groups = set.templates.iter().map(group).collect();
        Self { set, settings, problems, groups }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::bytes::Bytes;
    use crate::api::names::{ClaimName, SetName};
    use crate::policy::claim::Class;
    use crate::workload::claims::ClaimView;

    /// PVCs in the namespace `shop`, without StorageClasses.
    struct Listed(Vec<Arc<ClaimView>>);

    impl Objects for Listed {
        fn claim(&self, namespace: &str, name: &ClaimName) -> Option<Arc<ClaimView>> {
            self.0.iter().find(|claim| claim.name == *name && claim.namespace == namespace).cloned()
        }

        fn retained(&self, set: &StatefulSetView, template: &TemplateName) -> Vec<Arc<ClaimView>> {
            let is_retained = |claim: &&Arc<ClaimView>| set.is_retained(&claim.namespace, &claim.name, template);
            self.0.iter().filter(is_retained).cloned().collect()
        }

        fn class(&self, _: &str) -> Option<Class> {
            None
        }

        fn has_classes(&self) -> bool {
            false
        }
    }

    fn listed(claims: &[Value]) -> Listed {
        Listed(claims.iter().map(|claim| Arc::new(ClaimView::deserialize(claim).unwrap())).collect())
    }

    fn set(replicas: u32) -> StatefulSetView {
        let object = json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "1", "annotations": {
                "resize-statefulset-operator/auto-scaled": "true", "resize-statefulset-operator/treshold": "1%",
            }},
            "spec": {"serviceName": "db", "selector": {}, "template": {}, "replicas": replicas, "volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "10Gi"}}}},
                {"metadata": {"name": "wal"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}},
            ]},
        });
        StatefulSetView::of(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn claim(name: &str, owners: &[&str]) -> Value {
        let owners: Vec<Value> = owners.iter().map(|kind| json!({ "kind": kind })).collect();
        json!({
            "metadata": {
                "namespace": "shop", "name": name, "uid": name, "resourceVersion": "1", "ownerReferences": owners,
                "annotations": {"volume.kubernetes.io/storage-provisioner": "csi.example.com"},
            },
            "spec": {"resources": {"requests": {"storage": "12Gi"}}, "storageClassName": "fast"},
        })
    }

    #[test]
    fn a_snapshot_has_the_settings_and_the_pvcs_of_each_template() {
        let mut unreadable = claim("wal-db-0", &[]);
        unreadable["metadata"]["uid"] = Value::Null;
        let objects = listed(&[claim("data-db-1", &[]), claim("data-db-0", &[]), claim("data-db-2", &[]), unreadable]);
        let workload = Workload::read(&objects, set(2), &Limits::default());
        let names: Vec<&str> = workload.claims().map(|claim| claim.name.as_str()).collect();
        assert_eq!(names, ["data-db-0", "data-db-1"]);
        assert_eq!(workload.problems.len(), 1, "{:?}", workload.problems);
        let unreadable = |template: &str| workload.group(&template.into()).unwrap().unreadable.len();
        assert_eq!((unreadable("data"), unreadable("wal")), (0, 1));
        assert!(workload.group(&"other".into()).is_none());
        let configured: Vec<_> = workload.configured().map(|(group, own)| (&group.template.name, &own.name)).collect();
        assert_eq!(configured, [(&"data".into(), &"data".into()), (&"wal".into(), &"wal".into())]);
        assert_eq!(workload.set.name, SetName::new("shop", "db"));
    }

    #[test]
    fn a_pvc_of_a_replica_that_was_scaled_down_is_retained() {
        let objects = listed(&[claim("data-db-0", &[]), claim("data-db-1", &[]), claim("wal-db-1", &[])]);
        let set = set(1);
        let retained = VolumeGroup::retained(&objects, &set, &set.templates[0]);
        let found: Vec<_> = retained.iter().map(|claim| (claim.name.as_str(), claim.requested)).collect();
        assert_eq!(found, [("data-db-1", Bytes::gib(12))]);
    }

    #[test]
    fn a_storageclass_that_cannot_be_read_is_known_by_the_pvc() {
        let objects = listed(&[claim("data-db-0", &[])]);
        let workload = Workload::read(&objects, set(1), &Limits::default());
        let class = workload.claims().next().unwrap().class.clone().unwrap();
        assert_eq!((class.name.as_str(), class.provisioner.as_str()), ("fast", "csi.example.com"));
    }

    #[test]
    fn a_retained_pvc_with_two_owners_is_found() {
        let check = |name: &str, owners: &[&str], expected: bool| {
            assert_eq!(has_protected_retained(&listed(&[claim(name, owners)]), &set(1)), expected, "{name} {owners:?}");
        };
        check("data-db-1", &["Namespace", "Pod"], true);
        check("wal-db-1", &["Namespace", "Pod"], true);
        check("data-db-0", &["Namespace", "Pod"], false);
        check("data-db-1", &["Namespace"], false);
        check("data-db-1", &["Pod"], false);
    }
}
