//! What does the set under test look like? Only what a test cares about is said; the rest is the cheapest that runs.

use rso::api::annotations::PREFIX;
use serde_json::{Map, Value, json};

/// A StatefulSet to be created.
#[derive(Clone, Debug)]
pub struct Set {
    name: String,
    replicas: u32,
    templates: Vec<Value>,
    annotations: Map<String, Value>,
    labels: Map<String, Value>,
    agent: bool,
    init_containers: Vec<Value>,
    spec: Value,
    metadata: Value,
}

impl Set {
    /// A set of one pod without volumes.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            replicas: 1,
            templates: Vec::new(),
            annotations: Map::new(),
            labels: Map::new(),
            agent: false,
            init_containers: Vec::new(),
            spec: json!({}),
            metadata: json!({}),
        }
    }

    /// That many pods.
    pub const fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// A volume for each pod, mounted at `/<template>`. XFS needs 300Mi.
    pub fn template(self, template: &str, size: &str) -> Self {
        self.template_of_class(template, size, "local")
    }

    /// A volume for each pod, of this class.
    pub fn template_of_class(mut self, template: &str, size: &str, class: &str) -> Self {
        self.templates.push(json!({
            "metadata": {"name": template},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": class,
                "resources": {"requests": {"storage": size}},
            },
        }));
        self
    }

    /// One of our annotations, without its prefix.
    pub fn asks(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(format!("{PREFIX}{key}"), json!(value));
        self
    }

    /// One of our labels, without its prefix.
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(format!("{PREFIX}{key}"), json!(value));
        self
    }

    /// Grows by usage, in steps that are cheap to fill: at 50 %, by 200Mi.
    pub fn grows_by_usage(self) -> Self {
        self.asks("auto-scaled", "true").asks("threshold", "50%").asks("increase", "200Mi").asks("min-increase", "1Mi")
    }

    /// With the agent beside the container, written by hand as in the guide.
    pub const fn with_agent(mut self) -> Self {
        self.agent = true;
        self
    }

    /// One more init container; the agent stays the first.
    #[allow(dead_code, reason = "only the bench has another one")]
    pub fn init_container(mut self, container: &Value) -> Self {
        self.init_containers.push(container.clone());
        self
    }

    /// All pods at once.
    pub fn parallel(self) -> Self {
        self.with(&json!({"podManagementPolicy": "Parallel"}))
    }

    /// Anything else of the spec.
    pub fn with(mut self, spec: &Value) -> Self {
        merge(&mut self.spec, spec);
        self
    }

    /// Anything else of the metadata.
    pub fn with_metadata(mut self, metadata: &Value) -> Self {
        merge(&mut self.metadata, metadata);
        self
    }

    /// What is sent to the server.
    pub fn manifest(&self) -> Value {
        let mut manifest = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": self.name},
            "spec": {
                "replicas": self.replicas,
                "serviceName": self.name,
                "selector": {"matchLabels": {"app": self.name}},
                "template": {"metadata": {"labels": {"app": self.name}}, "spec": self.pod()},
            },
        });
        if !self.templates.is_empty() {
            manifest["spec"]["volumeClaimTemplates"] = json!(self.templates);
        }
        for (field, words) in [("annotations", &self.annotations), ("labels", &self.labels)] {
            if !words.is_empty() {
                manifest["metadata"][field] = json!(words);
            }
        }
        merge(&mut manifest["spec"], &self.spec);
        merge(&mut manifest["metadata"], &self.metadata);
        manifest
    }

    fn pod(&self) -> Value {
        let mut pod = json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "db",
                "image": "localhost/busybox:1",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
                "volumeMounts": self.mounts(false),
            }],
        });
        let agent = self.agent.then(|| self.agent_container());
        let init: Vec<Value> = agent.into_iter().chain(self.init_containers.iter().cloned()).collect();
        if !init.is_empty() {
            pod["initContainers"] = json!(init);
        }
        pod
    }

    fn agent_container(&self) -> Value {
        let volumes = self.template_names().map(|t| format!("--volume={t}-$(POD_NAME)=/{t}"));
        json!({
            "name": "rso-agent",
            "image": "localhost/rso-agent:dev",
            "restartPolicy": "Always",
            "args": volumes.collect::<Vec<_>>(),
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "rso-agent", "containerPort": 1251}],
            "volumeMounts": self.mounts(true),
        })
    }

    fn mounts(&self, read_only: bool) -> Value {
        self.template_names().map(|t| json!({"name": t, "mountPath": format!("/{t}"), "readOnly": read_only})).collect()
    }

    fn template_names(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().filter_map(|template| template["metadata"]["name"].as_str())
    }
}

/// A merge patch (RFC 7396) without deletions.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
