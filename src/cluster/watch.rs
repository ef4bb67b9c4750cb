//! The caches of what exists, kept up to date by watches: to read from them costs no request.
//!
//! Nothing is written because of a cache alone: the expansion of a PVC names the resourceVersion that was read, and a
//! recreation reads everything again, consistently.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::clock::since_boot;
use super::departures::Departures;
use super::{lean, pods};
use crate::api::annotations::KIND_LABEL;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid, pod_name};
use crate::policy::claim::Class;
use crate::recreate::concurrency::Flight;
use crate::workload::claims::class;
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

/// The objects of one kind, in all watched namespaces.
struct Stores<K: Resource<DynamicType = ()> + 'static>(Vec<Store<K>>);

/// All that is watched.
pub struct Cache {
    sets: Stores<StatefulSet>,
    claims: Stores<PersistentVolumeClaim>,
    pods: Stores<Pod>,
    classes: Stores<StorageClass>,
    journals: Stores<ConfigMap>,
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
    let sets = Watching::new(small.clone(), lean::set, |set| of_set(set).map(Change::Set));
    let sets = in_scope(client, scope, &sets.heard(move |event| of_sets.set(event, since_boot())), &mut streams);
    let claims =
        Watching::new(large.clone(), lean::claim, of_claim).heard(move |event| of_claims.claim(event, since_boot()));
    let claims = in_scope(client, scope, &claims, &mut streams);
    let pods = Watching::new(small.clone().labels(POD_LABEL), lean::pod, |pod| set_of_pod(pod).map(Change::Set));
    let pods = in_scope(client, scope, &pods, &mut streams);
    let classes = match scope {
        Scope::Cluster => {
            vec![one(Api::all(client.clone()), &Watching::new(large, lean::class, |_| None), &mut streams)]
        }
        // They are cluster-scoped, and permissions in namespaces do not include them.
        Scope::Namespaces(_) => Vec::new(),
    };
    let journals = Watching::new(
        small.labels(&format!("{KIND_LABEL}=journal")),
        |journal: &mut ConfigMap| journal.binary_data = None,
        |journal| set_of_journal(journal).map(Change::Journal),
    );
    let journals = one(Api::namespaced(client.clone(), own), &journals, &mut streams);
    let cache = Cache { sets, claims, pods, classes: Stores(classes), journals: Stores(vec![journals]) };
    (Arc::new(cache), select_all(streams))
}

/// An observer of the events of a watch.
type Heard<K> = dyn Fn(&watcher::Event<K>) + Send + Sync;

/// How objects of a kind are watched.
#[derive(Clone)]
struct Watching<K> {
    config: watcher::Config,
    /// Removes what no decision needs.
    lean: fn(&mut K),
    /// What a change of the object can matter to.
    changed: fn(&K) -> Option<Change>,
    /// Gets each event before the cache shows it.
    heard: Arc<Heard<K>>,
}

impl<K> Watching<K> {
    fn new(config: watcher::Config, lean: fn(&mut K), changed: fn(&K) -> Option<Change>) -> Self {
        Self { config, lean, changed, heard: Arc::new(|_| {}) }
    }

    fn heard(self, heard: impl Fn(&watcher::Event<K>) + Send + Sync + 'static) -> Self {
        Self { heard: Arc::new(heard), ..self }
    }
}

fn config(page: u32) -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(page)
}

type Streams = Vec<BoxStream<'static, Result<Change, watcher::Error>>>;

fn in_scope<K>(client: &Client, scope: &Scope, watching: &Watching<K>, streams: &mut Streams) -> Stores<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
{
    let apis: Vec<Api<K>> = match scope {
        Scope::Cluster => vec![Api::all(client.clone())],
        Scope::Namespaces(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    Stores(apis.into_iter().map(|api| one(api, watching, streams)).collect())
}

/// What kube requires of a type that is watched.
trait Watched: Clone + Debug + DeserializeOwned + Send + Sync + 'static {}
impl<K: Clone + Debug + DeserializeOwned + Send + Sync + 'static> Watched for K {}

fn one<K>(api: Api<K>, watching: &Watching<K>, streams: &mut Streams) -> Store<K>
where
    K: Resource<DynamicType = ()> + Watched,
{
    let (reader, writer) = store();
    let (changed, heard) = (watching.changed, Arc::clone(&watching.heard));
    let stream = watcher(api, watching.config.clone())
        .default_backoff()
        .modify(watching.lean)
        .inspect(move |event| event.iter().for_each(|event| heard(event)))
        .reflect(writer)
        .touched_objects()
        .filter_map(move |object| async move { object.map(|object| changed(&object)).transpose() });
    streams.push(stream.boxed());
    reader
}

fn of_set(set: &StatefulSet) -> Option<SetName> {
    Some(SetName::new(set.metadata.namespace.clone()?, set.metadata.name.clone()?))
}

fn of_claim(claim: &PersistentVolumeClaim) -> Option<Change> {
    Some(Change::Claim(claim.metadata.namespace.clone()?, ClaimName::new(claim.metadata.name.clone()?)))
}

fn set_of_pod(pod: &Pod) -> Option<SetName> {
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    (owner.kind == "StatefulSet").then(|| Some(SetName::new(pod.metadata.namespace.clone()?, owner.name.clone())))?
}

fn set_of_journal(journal: &ConfigMap) -> Option<SetName> {
    let (namespace, name) = journal.data.as_ref()?.get("set")?.split_once('/')?;
    Some(SetName::new(namespace, name))
}

fn flight_of(journal: &ConfigMap) -> Option<Flight> {
    let data = journal.data.as_ref()?;
    Flight::read(set_of_journal(journal)?, data.get("phase")?, data.get("phase-at")?)
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Stores<K> {
    fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        self.0.iter().find_map(|store| store.get(key))
    }

    fn all(&self) -> impl Iterator<Item = Arc<K>> + '_ {
        self.0.iter().flat_map(Store::state)
    }

    fn len(&self) -> usize {
        self.0.iter().map(Store::len).sum()
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Stores<K> {
    async fn ready(&self) -> bool {
        for store in &self.0 {
            if store.wait_until_ready().await.is_err() {
                return false;
            }
        }
        true
    }
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
        StatefulSetView::of(self.object(set)?.as_ref())
    }

    fn object(&self, set: &SetName) -> Option<Arc<StatefulSet>> {
        self.sets.get(&ObjectRef::new(&set.name).within(&set.namespace))
    }

    /// The Pod of this ordinal, if it exists.
    pub fn pod(&self, set: &SetName, ordinal: Ordinal) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectRef::new(&pod_name(set, ordinal)).within(&set.namespace))
    }

    /// The StatefulSets with a Pod that cannot start because of an agent of this image. A walk over all Pods.
    pub fn sets_with_stuck_agent(&self, image: &str) -> Vec<SetName> {
        let stuck = self.pods.all().filter(|pod| pods::has_stuck_agent(pod, image));
        stuck.filter_map(|pod| set_of_pod(&pod)).collect()
    }

    /// The journals of this StatefulSet; `None` for one that does not say its phase.
    pub fn journals_of(&self, set: &SetName) -> Vec<Option<Flight>> {
        let own = self.journals.all().filter(|journal| set_of_journal(journal).as_ref() == Some(set));
        own.map(|journal| flight_of(&journal)).collect()
    }

    /// Every recreation in flight, including those that only wait to remove their protective owner references.
    pub fn flights(&self) -> Vec<Flight> {
        self.journals.all().filter_map(|journal| flight_of(&journal)).collect()
    }

    /// The StatefulSets with a journal.
    pub fn journalled(&self) -> Vec<SetName> {
        self.journals.all().filter_map(|journal| set_of_journal(&journal)).collect()
    }

    /// The names of all StatefulSets.
    pub fn sets(&self) -> Vec<SetName> {
        self.sets.all().filter_map(|set| of_set(&set)).collect()
    }

    /// The namespaces and names of all PVCs.
    pub fn claims(&self) -> Vec<(String, ClaimName)> {
        let name = |claim: Arc<PersistentVolumeClaim>| {
            Some((claim.metadata.namespace.clone()?, ClaimName::new(claim.metadata.name.clone()?)))
        };
        self.claims.all().filter_map(name).collect()
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
            .filter(|set| self.object(set).is_some())
            .collect()
    }

    /// The UID of the StatefulSet, if it exists.
    pub fn uid(&self, set: &SetName) -> Option<Uid> {
        self.object(set)?.metadata.uid.clone().map(Uid::new)
    }
}

/// The objects of a snapshot. To find retained PVCs is a walk over the PVCs of all watched namespaces.
impl Objects for Cache {
    fn claim(&self, namespace: &str, name: &ClaimName) -> Option<Cow<'_, Value>> {
        let claim = self.claims.get(&ObjectRef::new(name.as_str()).within(namespace))?;
        Some(Cow::Owned(untyped(claim.as_ref())))
    }

    fn retained(&self, set: &StatefulSetView, template: &TemplateName) -> Vec<Cow<'_, Value>> {
        let is_retained = |claim: &PersistentVolumeClaim| {
            let (namespace, name) = (claim.metadata.namespace.as_deref(), claim.metadata.name.as_deref());
            set.is_retained(namespace.unwrap_or_default(), &name.unwrap_or_default().into(), template)
        };
        let retained = self.claims.all().filter(|claim| is_retained(claim));
        retained.map(|claim| Cow::Owned(untyped(claim.as_ref()))).collect()
    }

    fn class(&self, name: &str) -> Option<Class> {
        self.classes.get(&ObjectRef::new(name)).map(|found| class(&untyped(found.as_ref())))
    }

    /// Not with rights in some namespaces only.
    fn has_classes(&self) -> bool {
        !self.classes.0.is_empty()
    }
}

fn untyped(object: &impl Serialize) -> Value {
    // A struct of strings and maps always serializes; if ever not, every part is missing, and the PVC is not changed.
    serde_json::to_value(object).unwrap_or_default()
}
