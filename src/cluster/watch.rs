//! What is there? Kept up to date by watches, so that a look costs no request.
//!
//! A cache is only looked at; nothing is written on its word alone. A claim is grown with the resourceVersion that was
//! seen, and a recreate reads everything again, consistently.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::clock::since_boot;
use super::departures::Departures;
use super::pods;
use crate::api::annotations::KIND_LABEL;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid, pod_name};
use crate::policy::claim::Class;
use crate::recreate::turn::Flight;
use crate::workload::claims::{class, only_the_sizer};
use crate::workload::snapshot::Objects;
use crate::workload::statefulset::SetView;

/// Some load balancers drop a watch that was silent for 240 s; the server ends ours before that.
const WATCH_SECONDS: u32 = 200;

/// The StatefulSet controller puts this label on every pod it makes, and puts it back. Pods of others cost nothing.
const POD_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// Objects on a page of the first list. A whole page is in memory, and an object may have 1.5 MiB.
const SMALL_PAGE: u32 = 10;
/// The same for objects that are small: of a PVC only the annotations can be large.
const LARGE_PAGE: u32 = 100;

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, with cluster-wide rights.
    Cluster,
    /// Only these, with rights in each.
    Namespaces(Vec<String>),
}

/// Something changed that may matter to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This set, one of its pods.
    Set(SetName),
    /// The journal of this set.
    Journal(SetName),
    /// A claim, by namespace and name: which set it belongs to is a question to [`Cache::sets_of_claim`].
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

/// What the watches tell, an error where one had to begin again (it does so by itself, with backoff).
pub type Changes = SelectAll<BoxStream<'static, Result<Change, watcher::Error>>>;

/// Opens the watches: sets, claims and pods of the scope, journals of the operator's `own` namespace, and storage classes
/// when the scope is the cluster. How sets went is told to `departures`.
pub fn open(client: &Client, scope: &Scope, own: &str, departures: &Arc<Departures>) -> (Arc<Cache>, Changes) {
    let mut streams = Vec::new();
    let (small, large) = (config(SMALL_PAGE), config(LARGE_PAGE));
    let (of_sets, of_claims) = (Arc::clone(departures), Arc::clone(departures));
    let sets = Watching::new(small.clone(), lean_set, |set| of_set(set).map(Change::Set));
    let sets = in_scope(client, scope, &sets.heard(move |event| of_sets.set(event, since_boot())), &mut streams);
    let claims =
        Watching::new(large.clone(), lean_claim, of_claim).heard(move |event| of_claims.claim(event, since_boot()));
    let claims = in_scope(client, scope, &claims, &mut streams);
    let pods = Watching::new(small.clone().labels(POD_LABEL), lean_pod, |pod| set_of_pod(pod).map(Change::Set));
    let pods = in_scope(client, scope, &pods, &mut streams);
    let classes = match scope {
        Scope::Cluster => {
            vec![one(Api::all(client.clone()), &Watching::new(large, lean_class, |_| None), &mut streams)]
        }
        // They belong to the cluster, and rights in namespaces do not reach them.
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

/// Somebody who listens to a watch.
type Heard<K> = dyn Fn(&watcher::Event<K>) + Send + Sync;

/// How objects of a kind are watched.
#[derive(Clone)]
struct Watching<K> {
    config: watcher::Config,
    /// Takes off what nobody needs.
    lean: fn(&mut K),
    /// What a change of one may matter to.
    changed: fn(&K) -> Option<Change>,
    /// Who hears of each event, before the cache shows it.
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

/// What kube asks of a type that is watched.
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

/// Keeps only what deciding needs: a pod template may be large, and may hold secrets that have no business here.
fn lean_set(set: &mut StatefulSet) {
    lean_meta(&mut set.metadata);
    set.spec.template = Default::default();
    set.status = None;
}

fn lean_claim(claim: &mut PersistentVolumeClaim) {
    let managed = claim.metadata.managed_fields.take();
    lean_meta(&mut claim.metadata);
    claim.metadata.managed_fields = managed.and_then(only_the_sizer);
}

fn lean_pod(pod: &mut Pod) {
    lean_meta(&mut pod.metadata);
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let (node, volumes) = (spec.node_name.take(), spec.volumes.take());
        let agents =
            std::mem::take(&mut spec.init_containers).into_iter().flatten().chain(std::mem::take(&mut spec.containers));
        let containers = agents.map(lean_container).collect();
        *spec = k8s_openapi::api::core::v1::PodSpec {
            node_name: node,
            volumes: volumes.map(only_claims),
            containers,
            ..Default::default()
        };
    }
    if let Some(status) = &mut pod.status {
        pods::lean(status);
    }
}

fn lean_container(container: k8s_openapi::api::core::v1::Container) -> k8s_openapi::api::core::v1::Container {
    k8s_openapi::api::core::v1::Container { name: container.name, ports: container.ports, ..Default::default() }
}

fn only_claims(volumes: Vec<k8s_openapi::api::core::v1::Volume>) -> Vec<k8s_openapi::api::core::v1::Volume> {
    volumes.into_iter().filter(|volume| volume.persistent_volume_claim.is_some()).collect()
}

fn lean_class(class: &mut StorageClass) {
    lean_meta(&mut class.metadata);
}

fn lean_meta(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
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
    /// Waits until every watch has told all there is. `false`: a watch has ended for good.
    pub async fn ready(&self) -> bool {
        self.sets.ready().await
            && self.claims.ready().await
            && self.pods.ready().await
            && self.classes.ready().await
            && self.journals.ready().await
    }

    /// The StatefulSet, if it exists.
    pub fn set(&self, set: &SetName) -> Option<SetView> {
        SetView::of(self.object(set)?.as_ref())
    }

    fn object(&self, set: &SetName) -> Option<Arc<StatefulSet>> {
        self.sets.get(&ObjectRef::new(&set.name).within(&set.namespace))
    }

    /// The pod of that ordinal, if there is one.
    pub fn pod(&self, set: &SetName, ordinal: Ordinal) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectRef::new(&pod_name(set, ordinal)).within(&set.namespace))
    }

    /// The sets with a pod that cannot start because of an agent of this image. A walk over all pods.
    pub fn sets_with_stuck_agent(&self, image: &str) -> Vec<SetName> {
        let stuck = self.pods.all().filter(|pod| pods::has_stuck_agent(pod, image));
        stuck.filter_map(|pod| set_of_pod(&pod)).collect()
    }

    /// The journals of this set; none where one does not say how far it is.
    pub fn journals_of(&self, set: &SetName) -> Vec<Option<Flight>> {
        let own = self.journals.all().filter(|journal| set_of_journal(journal).as_ref() == Some(set));
        own.map(|journal| flight_of(&journal)).collect()
    }

    /// Every recreate in flight, those that only wait to drop their guards too.
    pub fn flights(&self) -> Vec<Flight> {
        self.journals.all().filter_map(|journal| flight_of(&journal)).collect()
    }

    /// The uid of the set that the journals of this name are of.
    pub fn journalled(&self) -> Vec<SetName> {
        self.journals.all().filter_map(|journal| set_of_journal(&journal)).collect()
    }

    /// The names of all sets.
    pub fn sets(&self) -> Vec<SetName> {
        self.sets.all().filter_map(|set| of_set(&set)).collect()
    }

    /// The sets that may own this claim by its name. More than one where names with dashes can be read two ways: a
    /// trigger too many does no harm.
    pub fn sets_of_claim(&self, namespace: &str, claim: &ClaimName) -> Vec<SetName> {
        let Some((stem, ordinal)) = claim.as_str().rsplit_once('-') else { return Vec::new() };
        if ordinal.parse::<u32>().is_err() {
            return Vec::new();
        }
        // Every end of the stem that begins after a dash may be the name of a set.
        stem.match_indices('-')
            .map(|(dash, _)| SetName::new(namespace, &stem[dash + 1..]))
            .filter(|set| self.object(set).is_some())
            .collect()
    }

    /// The UID of the set, if there is one.
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

    fn retained(&self, set: &SetView, template: &TemplateName) -> Vec<Cow<'_, Value>> {
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
