//! Where is the load, and when is it at rest? Everything is made by many requests at a time, but not all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rso::api::annotations::{HOLD, TRANSACTION};
use rso::api::bytes::Bytes;
use serde_json::{Value, json};

use crate::agents::Agents;
use crate::harness::api::{Api, Kind as Stored};
use crate::operator::{Operator, Post};
use crate::recorder::{Kind, Recorder};
use crate::stub;

/// What the names of all namespaces here begin with.
const PREFIX: &str = "scale-";
/// How many objects are created side by side.
const AT_ONCE: usize = 16;
/// How long the stand-ins and the controllers of Kubernetes may take for all objects of a namespace, or of a fleet.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long it may take until every agent has been asked.
const ASKED: Duration = Duration::from_secs(120);
/// How often it is looked whether a thing has come.
pub const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether all StatefulSets are ready: that is a look at each.
const LOOK_AT_ALL: Duration = Duration::from_millis(500);
/// The preflight checks of a recreation want owners that have been unchanged for three seconds (`Rules::settle`).
const SETTLE: Duration = Duration::from_secs(4);
/// How often a foreign Pod's containers have an environment variable. With two containers that is a Pod of 3 kB.
const VARIABLES: usize = 12;

/// The control plane with its stand-ins, and the operator in it.
pub struct Stage {
    pub api: Api,
    pub recorder: Recorder,
    pub agents: Agents,
    pub operator: Operator,
    pub post: Post,
}

impl Stage {
    /// Connects, begins to record and to stand in for the nodes, and starts the operator. `size`: of measured volumes.
    pub async fn set(limit: Bytes, size: &str) -> Self {
        let api = Api::connect().await;
        let recorder = Recorder::start(api.client().clone(), PREFIX).await;
        let agents = Agents::listen(size).await;
        stub::start(api.clone(), &recorder, agents.clone());
        let post = Post::new(&api, limit).await;
        let operator = post.start().await;
        Self { api, recorder, agents, operator, post }
    }

    /// The memory limit of the operator.
    pub const fn limit(&self) -> Bytes {
        self.post.limit
    }

    /// Starts another operator when the one that runs has ended, under the limit of [`Stage::post`].
    pub async fn start_again(self) -> Self {
        self.operator.stop().await;
        self.agents.forget_answers();
        let operator = self.post.start().await;
        Self { operator, ..self }
    }

    /// A namespace with these sets, all of them ready and at rest.
    pub async fn populate(&mut self, name: &str, sets: &[Value], foreign: usize) -> String {
        let began = Instant::now();
        let namespace = self.namespace(name).await;
        let pods: Vec<Value> = (0..foreign).map(foreign_pod).collect();
        self.create(Stored::Pod, &namespace, &pods).await;
        self.add(&namespace, sets).await;
        println!("{namespace}: {} StatefulSets, {foreign} other Pods, after {:?}", sets.len(), began.elapsed());
        namespace
    }

    /// An empty namespace.
    pub async fn namespace(&self, name: &str) -> String {
        let namespace = format!("{PREFIX}{name}");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        self.api.create(Stored::Namespace, "", &object).await.unwrap();
        namespace
    }

    /// Further sets in a namespace, until all in it are ready and at rest.
    pub async fn add(&mut self, namespace: &str, sets: &[Value]) {
        let before = self.recorder.live(namespace, Kind::StatefulSet).len();
        self.create(Stored::StatefulSet, namespace, sets).await;
        self.until_ready(&[(namespace.to_owned(), before + sets.len())]).await;
    }

    /// Waits until each namespace has so many sets, all of them ready and at rest.
    pub async fn until_ready(&mut self, spaces: &[(String, usize)]) {
        let mut waiting = spaces.iter().peekable();
        let began = Instant::now();
        while let Some((namespace, sets)) = waiting.peek() {
            if self.is_ready(namespace, *sets) {
                waiting.next();
                continue;
            }
            self.operator.lives();
            assert!(began.elapsed() < PATIENCE, "{namespace} is not ready; the warnings:\n{}", self.warnings().await);
            tokio::time::sleep(LOOK_AT_ALL).await;
        }
        tokio::time::sleep(SETTLE).await;
    }

    /// Waits until every agent that answers was asked.
    pub async fn until_asked(&mut self) {
        self.until(ASKED, "every agent to be asked", |stage| stage.agents.answered() == stage.agents.len()).await;
    }

    /// Creates these objects in the namespace.
    pub async fn create(&mut self, kind: Stored, namespace: &str, objects: &[Value]) {
        let api = &self.api;
        let mut creating = futures::stream::iter(objects)
            .map(|object| async move { api.create(kind, namespace, object).await.map(drop) })
            .buffer_unordered(AT_ONCE);
        while let Some(created) = creating.next().await {
            created.unwrap();
        }
        drop(creating);
        self.operator.lives();
    }

    /// Looks until it is true. The operator has to live meanwhile.
    pub async fn until(&mut self, patience: Duration, what: &str, there: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !there(self) {
            self.operator.lives();
            if began.elapsed() > patience {
                panic!("waited {} s for {what}; the warnings:\n{}", patience.as_secs(), self.warnings().await);
            }
            tokio::time::sleep(LOOK).await;
        }
        self.operator.lives();
    }

    /// What the operator warned of.
    async fn warnings(&self) -> String {
        let events = self.api.list(Stored::Event, "", "").await;
        let warnings = events.iter().filter(|event| event["type"] == "Warning");
        warnings
            .map(|event| format!("{} {}: {}\n", event["regarding"]["name"], event["reason"], event["note"]))
            .collect()
    }

    fn is_ready(&self, namespace: &str, sets: usize) -> bool {
        let live = |kind| self.recorder.live(namespace, kind);
        let all = live(Kind::StatefulSet);
        let bound = |claim: &Arc<Value>| claim["status"]["phase"] == "Bound";
        all.len() == sets && all.iter().all(|set| is_ready(set)) && live(Kind::Claim).iter().all(bound)
    }

    /// The set as it is now.
    pub fn get(&self, namespace: &str, set: &str) -> Option<Arc<Value>> {
        self.recorder.get(namespace, Kind::StatefulSet, set)
    }
}

/// Whether all replicas are there, and nothing of a recreate is left.
pub fn is_ready(set: &Value) -> bool {
    let (metadata, status) = (&set["metadata"], &set["status"]);
    let is_held = metadata["finalizers"].to_string().contains(HOLD) || !metadata["annotations"][TRANSACTION].is_null();
    let available = status["availableReplicas"].as_u64().unwrap_or(0);
    !is_held
        && status["observedGeneration"] == metadata["generation"]
        && set["spec"]["replicas"].as_u64() == Some(available)
}

/// A Pod as a Deployment has it, which no StatefulSet owns and no node runs.
fn foreign_pod(number: usize) -> Value {
    let variables: Vec<Value> =
        (0..VARIABLES).map(|nth| json!({"name": format!("SETTING_{nth}"), "value": "a value as they are"})).collect();
    let container = |name: &str| json!({"name": name, "image": "localhost/busybox:1", "env": variables});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("web-5d4f8c7b9-{number}"),
            "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {stub::BROKEN: "nobody runs it"},
        },
        "spec": {"containers": [container("web"), container("proxy")]},
    })
}
