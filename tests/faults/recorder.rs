//! What was every state that the API server stored? One watch a kind, opened before the first run, told apart by namespace.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::broadcast;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    StatefulSet,
    Pod,
    Claim,
    Revision,
    /// Journals and backups.
    ConfigMap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::StatefulSet, Self::Pod, Self::Claim, Self::Revision, Self::ConfigMap];

    const fn path(self) -> &'static str {
        match self {
            Self::StatefulSet => "/apis/apps/v1/statefulsets",
            Self::Pod => "/api/v1/pods",
            Self::Claim => "/api/v1/persistentvolumeclaims",
            Self::Revision => "/apis/apps/v1/controllerrevisions",
            Self::ConfigMap => "/api/v1/configmaps",
        }
    }

    const fn within(self) -> (&'static str, &'static str) {
        match self {
            Self::StatefulSet => ("/apis/apps/v1", "statefulsets"),
            Self::Pod => ("/api/v1", "pods"),
            Self::Claim => ("/api/v1", "persistentvolumeclaims"),
            Self::Revision => ("/apis/apps/v1", "controllerrevisions"),
            Self::ConfigMap => ("/api/v1", "configmaps"),
        }
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// One state that was stored, or the last one of an object.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the history of all kinds: etcd counts them together.
    pub at: u64,
    pub kind: Kind,
    pub change: Change,
    pub object: Arc<Value>,
    /// When the recorder heard of it.
    pub heard: Instant,
}

impl Event {
    /// The object's name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

type Told = (Kind, Change, Arc<Value>);

#[derive(Default)]
struct Space {
    events: Vec<Event>,
    live: BTreeMap<(Kind, String), Arc<Value>>,
}

/// Records until the test ends.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    spaces: Arc<Mutex<HashMap<String, Space>>>,
    tell: broadcast::Sender<Told>,
}

impl Recorder {
    /// Opens the watches. Only namespaces whose name begins with `prefix` are recorded.
    pub async fn start(client: Client, prefix: &str) -> Self {
        let recorder = Self { client, spaces: Arc::default(), tell: broadcast::channel(65_536).0 };
        for kind in Kind::ALL {
            let from = recorder.now(kind).await;
            tokio::spawn(recorder.clone().watch(kind, from, prefix.to_owned()));
        }
        recorder
    }

    /// Everything that is recorded from now on.
    pub fn follow(&self) -> broadcast::Receiver<Told> {
        self.tell.subscribe()
    }

    /// The objects of that kind that are there.
    pub fn live(&self, namespace: &str, kind: Kind) -> Vec<Arc<Value>> {
        let spaces = self.spaces.lock().unwrap();
        let Some(space) = spaces.get(namespace) else { return Vec::new() };
        space.live.iter().filter(|((of, _), _)| *of == kind).map(|(_, object)| object.clone()).collect()
    }

    /// The object, if it is there.
    pub fn get(&self, namespace: &str, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.spaces.lock().unwrap().get(namespace)?.live.get(&(kind, name.to_owned())).cloned()
    }

    /// Everything that was heard of the namespace until now, in the order in which it was heard.
    #[allow(dead_code, reason = "only the load test takes times while it goes on")]
    pub fn heard(&self, namespace: &str) -> Vec<Event> {
        self.spaces.lock().unwrap().get(namespace).map(|space| space.events.clone()).unwrap_or_default()
    }

    /// Forgets what was heard of the namespace until now; what is there stays known.
    #[allow(dead_code, reason = "only the load test has more than it wants to keep")]
    pub fn forget(&self, namespace: &str) {
        if let Some(space) = self.spaces.lock().unwrap().get_mut(namespace) {
            space.events = Vec::new();
        }
    }

    /// When the namespace changed last.
    pub fn latest(&self, namespace: &str) -> u64 {
        let spaces = self.spaces.lock().unwrap();
        spaces.get(namespace).into_iter().flat_map(|space| &space.events).map(|event| event.at).max().unwrap_or(0)
    }

    /// Waits until nothing that the server stored in these namespaces is missing here, then gives all of it, in order.
    pub async fn take(&self, namespaces: [&str; 2]) -> Vec<Event> {
        let mut events = Vec::new();
        for namespace in namespaces {
            self.catch_up(namespace).await;
            events.extend(self.spaces.lock().unwrap().remove(namespace).unwrap_or_default().events);
        }
        events.sort_by_key(|event| event.at);
        events
    }

    async fn catch_up(&self, namespace: &str) {
        for kind in Kind::ALL {
            let (group, plural) = kind.within();
            let list: Value = self.read(&format!("{group}/namespaces/{namespace}/{plural}")).await;
            let started = Instant::now();
            while !self.has_all(namespace, kind, &list) {
                assert!(started.elapsed() < Duration::from_secs(20), "the recorder lags behind with {kind:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn has_all(&self, namespace: &str, kind: Kind, list: &Value) -> bool {
        let live = self.live(namespace, kind);
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let known = |item: &Value| {
            let same = |one: &&Arc<Value>| one["metadata"]["uid"] == item["metadata"]["uid"];
            live.iter().find(same).is_some_and(|one| version(one) >= version(item))
        };
        live.len() == items.len() && items.iter().all(known)
    }

    async fn read(&self, path: &str) -> Value {
        self.client.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
    }

    async fn now(&self, kind: Kind) -> String {
        let list = self.read(&format!("{}?limit=1", kind.path())).await;
        list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    async fn watch(self, kind: Kind, mut from: String, prefix: String) {
        loop {
            let path =
                format!("{}?watch=1&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion={from}", kind.path());
            let events = self.client.request_events::<Value>(Request::get(path).body(Vec::new()).unwrap()).await;
            let mut events = events.unwrap_or_else(|error| panic!("cannot record {kind:?}: {error}")).boxed();
            while let Some(Ok(event)) = events.next().await {
                let (change, object) = match event {
                    WatchEvent::Added(object) => (Change::Added, object),
                    WatchEvent::Modified(object) => (Change::Modified, object),
                    WatchEvent::Deleted(object) => (Change::Deleted, object),
                    WatchEvent::Bookmark(bookmark) => {
                        from = bookmark.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(error) => panic!("the record of {kind:?} has a gap: {error:?}"),
                };
                from = version(&object).to_string();
                if object["metadata"]["namespace"].as_str().is_some_and(|namespace| namespace.starts_with(&prefix)) {
                    self.keep(kind, change, object);
                }
            }
        }
    }

    fn keep(&self, kind: Kind, change: Change, mut object: Value) {
        if kind != Kind::StatefulSet {
            object["metadata"]["managedFields"] = Value::Null;
        }
        let object = Arc::new(object);
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let mut spaces = self.spaces.lock().unwrap();
        let space = spaces.entry(text("namespace")).or_default();
        let key = (kind, text("name"));
        match change {
            Change::Added | Change::Modified => space.live.insert(key, object.clone()),
            Change::Deleted => space.live.remove(&key),
        };
        let at = version(&object);
        space.events.push(Event { at, kind, change, object: object.clone(), heard: Instant::now() });
        drop(spaces);
        // Nobody may be following.
        let _ = self.tell.send((kind, change, object));
    }
}

/// An object's resourceVersion as the number that it is.
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}
