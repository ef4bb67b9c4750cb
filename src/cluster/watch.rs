//! The caches of what exists, kept up to date by watches: to read from them costs no request.
//!
//! Nothing is written because of a cache alone: the expansion of a PVC names the resourceVersion that was read, and a
//! recreation reads everything again, consistently.

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll, select_all};
use kube::Client;
use kube::runtime::watcher;

use super::clock::since_boot;
use super::departures::Departures;
use super::pods::{self, Pod};
use super::watching::{Stores, Watching, watch, watch_all};
use crate::api::annotations::KIND_LABEL;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid, pod_name};
use crate::api::received::{ConfigMap, PersistentVolumeClaim, StatefulSet, pod};
use crate::policy::claim::Class;
use crate::recreate::concurrency::Flight;
use crate::workload::claims::{ClaimView, class};
use crate::workload::objects::Objects;
use crate::workload::statefulset::StatefulSetView;

/// Some load balancers drop a watch that was silent for 240 s; the API server ends ours before that.
const WATCH_SECONDS: u32 = 200;

/// The StatefulSet controller sets this label on every Pod that it creates, and restores it. Other Pods cost nothing.
const POD_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// Objects on a page of the first list. A whole page is in memory, and an object can have 1.5 MiB.
const SMALL_PAGE: u32 = 10;
/// The same for small objects: only the annotations of a PVC can be large.
const LARGE_PAGE: u32 = 100;

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, with cluster-wide rights.
    Cluster,
    /// Only these, with rights in each.
    Namespaces(Vec<String>),
}

impl Scope {
    fn namespaces(&self) -> Option<&[String]> {
        match self {
            Self::Cluster => None,
            Self::Namespaces(names) => Some(names),
        }
    }
}

/// A change that can matter to a StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of this StatefulSet, or one of its Pods.
    Set(SetName),
    /// Of the journal of this StatefulSet.
    Journal(SetName),
    /// Of a PVC, by namespace and name. [`Cache::sets_of_claim`] returns its StatefulSets.
    Claim(String, ClaimName),
}

/// All that is watched.
pub struct Cache {
    sets: Stores<StatefulSetView>,
    claims: Stores<ClaimView>,
    pods: Stores<Pod>,
    classes: Stores<Class>,
    journals: Stores<Journal>,
}

/// The journal of a recreation.
#[derive(Debug)]
struct Journal {
    set: SetName,
    /// `None` if it does not say its phase.
    flight: Option<Flight>,
}

impl Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("sets", &self.sets.len()).finish_non_exhaustive()
    }
}

/// What the watches report; an error if a watch was restarted, which it does by itself, with backoff.
pub type Changes = SelectAll<BoxStream<'static, Result<Change, watcher::Error>>>;

/// Opens the watches: of the StatefulSets, PVCs, and Pods in the scope, the journals in the operator's `own` namespace,
/// and the StorageClasses if the scope is the cluster. `departures` gets each event of a StatefulSet or a PVC.
pub fn open(client: &Client, scope: &Scope, own: &str, departures: &Arc<Departures>) -> (Arc<Cache>, Changes) {
    let mut streams = Vec::new();
    let (small, large) = (config(SMALL_PAGE), config(LARGE_PAGE));
    let (of_sets, of_claims) = (Arc::clone(departures), Arc::clone(departures));
    let sets = Watching::new(small.clone(), |set| StatefulSetView::of(&set), |set| of_set(set).map(Change::Set));
    let sets =
        watch(client, scope.namespaces(), &sets.heard(move |event| of_sets.set(event, since_boot())), &mut streams);
    let claims = Watching::new(large.clone(), |claim| Some(ClaimView::from(claim)), of_claim);
    let claims = claims.heard(move |event| of_claims.claim(event, since_boot()));
    let claims = watch(client, scope.namespaces(), &claims, &mut streams);
    let pods = Watching::new(small.clone().labels(POD_LABEL), kept_pod, |pod| set_of_pod(pod).map(Change::Set));
    let pods = watch(client, scope.namespaces(), &pods, &mut streams);
    let classes = match scope {
        Scope::Cluster => {
            let classes = Watching::new(large, |object| Some(class(object)), |_| None);
            watch_all(client, &classes, &mut streams)
        }
        // They are cluster-scoped, and permissions in namespaces do not include them.
        Scope::Namespaces(_) => Stores::default(),
    };
    let journals = small.labels(&format!("{KIND_LABEL}=journal"));
    let journals = Watching::new(journals, kept_journal, |journal| set_of_journal(journal).map(Change::Journal));
    let journals = watch(client, Some(&[own.to_owned()]), &journals, &mut streams);
    let cache = Cache { sets, claims, pods, classes, journals };
    (Arc::new(cache), select_all(streams))
}

fn config(page: u32) -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(page)
}

fn of_set(set: &StatefulSet) -> Option<SetName> {
    Some(SetName::new(set.metadata.namespace.clone()?, set.metadata.name.clone()?))
}

fn of_claim(claim: &PersistentVolumeClaim) -> Option<Change> {
    Some(Change::Claim(claim.metadata.namespace.clone()?, ClaimName::new(claim.metadata.name.clone()?)))
}

fn set_of_pod(pod: &pod::Pod) -> Option<SetName> {
    let owner = pod.metadata.controller().filter(|owner| owner.kind == "StatefulSet")?;
    Some(SetName::new(pod.metadata.namespace.clone()?, owner.name.clone()))
}

/// Most Pods of a cluster use no PVC.
fn kept_pod(pod: pod::Pod) -> Option<Pod> {
    Some(Pod::from(pod).lean()).filter(Pod::matters)
}

fn kept_journal(journal: ConfigMap) -> Option<Journal> {
    let set = set_of_journal(&journal)?;
    let entry = |key: &str| journal.data.as_ref()?.get(key);
    let flight = entry("phase").zip(entry("phase-at")).and_then(|(phase, at)| Flight::read(set.clone(), phase, at));
    Some(Journal { set, flight })
}

fn set_of_journal(journal: &ConfigMap) -> Option<SetName> {
    let (namespace, name) = journal.data.as_ref()?.get("set")?.split_once('/')?;
    Some(SetName::new(namespace, name))
}

impl Cache {
    /// Waits until every watch has listed all objects. `false`: a watch has ended for good.
    pub async fn ready(&self) -> bool {
        self.sets.ready().await
            && self.claims.ready().await
            && self.pods.ready().await
            && self.classes.ready().await
            && self.journals.ready().await
    }

    /// The StatefulSet, if it exists.
    pub fn set(&self, set: &SetName) -> Option<StatefulSetView> {
        self.view(set).as_deref().cloned()
    }

    fn view(&self, set: &SetName) -> Option<Arc<StatefulSetView>> {
        self.sets.get((&set.namespace, &set.name))
    }

    /// The Pod of this ordinal, if it exists and uses a PVC.
    pub fn pod(&self, set: &SetName, ordinal: Ordinal) -> Option<Arc<Pod>> {
        self.pods.get((&set.namespace, &pod_name(set, ordinal)))
    }

    /// The StatefulSets with a Pod that cannot start because of an agent of this image. A walk over all Pods.
    pub fn sets_with_stuck_agent(&self, image: &str) -> Vec<SetName> {
        self.pods.select(|pod| pod.set().filter(|_| pods::has_stuck_agent(pod, image)))
    }

    /// The journals of this StatefulSet; `None` for one that does not say its phase.
    pub fn journals_of(&self, set: &SetName) -> Vec<Option<Flight>> {
        self.journals.select(|journal| (journal.set == *set).then(|| journal.flight.clone()))
    }

    /// Every recreation in flight, including those that only wait to remove their protective owner references.
    pub fn flights(&self) -> Vec<Flight> {
        self.journals.select(|journal| journal.flight.clone())
    }

    /// The StatefulSets with a journal.
    pub fn journalled(&self) -> Vec<SetName> {
        self.journals.select(|journal| Some(journal.set.clone()))
    }

    /// The names of all StatefulSets.
    pub fn sets(&self) -> Vec<SetName> {
        self.sets.select(|set| Some(set.name.clone()))
    }

    /// The namespaces and names of all PVCs.
    pub fn claims(&self) -> Vec<(String, ClaimName)> {
        self.claims.select(|claim| Some((claim.namespace.clone(), claim.name.clone())))
    }

    /// The StatefulSets that this PVC can belong to by its name: several if names with dashes can be read in two ways,
    /// which is harmless for a trigger.
    pub fn sets_of_claim(&self, namespace: &str, claim: &ClaimName) -> Vec<SetName> {
        let Some((stem, ordinal)) = claim.as_str().rsplit_once('-') else { return Vec::new() };
        if ordinal.parse::<u32>().is_err() {
            return Vec::new();
        }
        // Every end of the stem that begins after a dash can be the name of a StatefulSet.
        stem.match_indices('-')
            .map(|(dash, _)| SetName::new(namespace, &stem[dash + 1..]))
            .filter(|set| self.view(set).is_some())
            .collect()
    }

    /// The UID of the StatefulSet, if it exists.
    pub fn uid(&self, set: &SetName) -> Option<Uid> {
        self.view(set).map(|set| set.uid.clone())
    }
}

/// The objects of a snapshot.
impl Objects for Cache {
    fn claim(&self, namespace: &str, name: &ClaimName) -> Option<Arc<ClaimView>> {
        self.claims.get((namespace, name.as_str()))
    }

    fn retained(&self, set: &StatefulSetView, template: &TemplateName) -> Vec<Arc<ClaimView>> {
        let mut claims = self.claims.with_prefix(&set.name.namespace, &set.claim_prefix(template));
        claims.retain(|claim| set.is_retained(&claim.namespace, &claim.name, template));
        claims
    }

    fn class(&self, name: &str) -> Option<Class> {
        self.classes.get(("", name)).as_deref().cloned()
    }

    /// Not with rights in some namespaces only.
    fn has_classes(&self) -> bool {
        !self.classes.is_none()
    }
}
