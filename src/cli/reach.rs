//! How does a verb reach the cluster? With the person's kubeconfig, untyped, one request at a time; and a refusal is told
//! as the right that is missing.

use std::time::Duration;

use http::Request;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use super::{Connection, Exit, Failure};
use crate::api::names::SetName;

/// A person waits this long for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many objects one page of a list holds: what `kubectl` asks for.
const PAGE: &str = "limit=500";

/// A kind of object: where it is served and what its right is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    api: &'static str,
    plural: &'static str,
    /// The word for one of them.
    pub(super) one: &'static str,
}

/// The kinds that the verbs ask for.
pub(super) const STATEFULSETS: Kind = Kind { api: "apis/apps/v1", plural: "statefulsets", one: "StatefulSet" };
pub(super) const CLAIMS: Kind =
    Kind { api: "api/v1", plural: "persistentvolumeclaims", one: "PersistentVolumeClaim" };
pub(super) const CLASSES: Kind =
    Kind { api: "apis/storage.k8s.io/v1", plural: "storageclasses", one: "StorageClass" };
pub(super) const PODS: Kind = Kind { api: "api/v1", plural: "pods", one: "Pod" };
pub(super) const NODES: Kind = Kind { api: "api/v1", plural: "nodes", one: "Node" };
pub(super) const CONFIGMAPS: Kind = Kind { api: "api/v1", plural: "configmaps", one: "ConfigMap" };
pub(super) const EVENTS: Kind = Kind { api: "apis/events.k8s.io/v1", plural: "events", one: "Event" };

/// What is asked of the server, in its own words for rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Create,
    Patch,
}

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Patch => "patch",
        }
    }
}

/// An object, a list of them, or a part of one (`pods/db-0/proxy/disk`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) part: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// One object of a namespace.
    pub(super) fn one(kind: Kind, namespace: &'a str, name: &'a str) -> Self {
        Self { kind, namespace: Some(namespace), name: Some(name), part: None }
    }

    /// All of a namespace, or of all namespaces.
    pub(super) fn all(kind: Kind, namespace: Option<&'a str>) -> Self {
        Self { kind, namespace, name: None, part: None }
    }

    /// A set.
    pub(super) fn set(set: &'a SetName) -> Self {
        Self::one(STATEFULSETS, &set.namespace, &set.name)
    }

    fn path(&self) -> String {
        let namespace = self.namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        let name = self.name.map(|name| format!("/{name}")).unwrap_or_default();
        let part = self.part.map(|part| format!("/{part}")).unwrap_or_default();
        format!("/{}{namespace}/{}{name}{part}", self.kind.api, self.kind.plural)
    }

    /// The right that RBAC knows: `statefulsets.apps`, `pods/proxy`.
    fn right(&self) -> String {
        let group = self.kind.api.split('/').nth(1).filter(|_| self.kind.api.starts_with("apis/"));
        let group = group.map(|group| format!(".{group}")).unwrap_or_default();
        let part = self.part.and_then(|part| part.split('/').next()).map(|part| format!("/{part}")).unwrap_or_default();
        format!("{}{group}{part}", self.kind.plural)
    }

    /// In a sentence: `StatefulSet shop/db`.
    fn told(&self) -> String {
        match (self.namespace, self.name) {
            (Some(namespace), Some(name)) => format!("{} {namespace}/{name}", self.kind.one),
            (None, Some(name)) => format!("{} {name}", self.kind.one),
            (Some(namespace), None) => format!("the {} of namespace {namespace}", self.kind.plural),
            (None, None) => format!("the {} of all namespaces", self.kind.plural),
        }
    }
}

/// The cluster, as this person.
#[derive(Clone)]
pub(super) struct Cluster {
    client: kube::Client,
    /// The namespace that is meant when none is given.
    pub(super) namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub(super) async fn of(connection: &Connection) -> Result<Self, Failure> {
        let mut config = config(connection).await?;
        // A repeated write answers for the wrong attempt; a person can repeat the command.
        config.default_retry = false;
        config.connect_timeout = Some(DEADLINE);
        if let Some(user) = &connection.impersonate {
            config.auth_info.impersonate = Some(user.clone());
        }
        let namespace = connection.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = kube::Client::try_from(config).map_err(|error| {
            Failure::new(Exit::Unreachable, format!("failed to use the kubeconfig: {}", chain(&error)))
                .hint("check it with: kubectl config view --minify")
        })?;
        Ok(Self { client, namespace })
    }

    /// The set that a word on the command line names: `db`, `sts/db`, `statefulset/db`.
    pub(super) fn set(&self, word: &str) -> Result<SetName, Failure> {
        let name = match word.split_once('/') {
            None => word,
            Some(("sts" | "statefulset" | "statefulsets" | "statefulset.apps" | "statefulsets.apps", name)) => name,
            Some((kind, _)) => {
                return Err(Failure::usage(format!("{kind:?} is not a StatefulSet"))
                    .hint("name the set alone, `db`, and its namespace with -n"));
            }
        };
        match name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        {
            true => Err(Failure::usage(format!("{word:?} cannot be the name of a StatefulSet"))),
            false => Ok(SetName::new(&self.namespace, name)),
        }
    }

    /// The object, or `None` when there is no such.
    pub(super) async fn get(&self, target: Target<'_>) -> Result<Option<Value>, Failure> {
        match self.send(Verb::Get, target, "", None).await {
            Ok(object) => Ok(Some(object)),
            Err(Refusal::Status(status)) if status.code == 404 => Ok(None),
            Err(refusal) => Err(refusal.told(Verb::Get, target)),
        }
    }

    /// All of them, page by page.
    pub(super) async fn list(&self, target: Target<'_>, selector: &str) -> Result<Vec<Value>, Failure> {
        let (mut objects, mut next) = (Vec::new(), String::new());
        loop {
            let query = [PAGE, selector, &next].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
            let mut page = self
                .send(Verb::List, target, &query, None)
                .await
                .map_err(|refusal| refusal.told(Verb::List, target))?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                objects.extend(items);
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str).filter(|token| !token.is_empty()) {
                // The token is base64 and url-safe but for its padding.
                Some(token) => next = format!("continue={}", token.replace('=', "%3D")),
                None => return Ok(objects),
            }
        }
    }

    /// A write: the verb decides the method.
    pub(super) async fn write(
        &self,
        verb: Verb,
        target: Target<'_>,
        query: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        self.send(verb, target, &format!("fieldManager={MANAGER}{query}"), Some(body)).await
    }

    async fn send(&self, verb: Verb, target: Target<'_>, query: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{mark}{query}", target.path());
        let (method, content) = match verb {
            Verb::Get | Verb::List => (http::Method::GET, "application/json"),
            Verb::Create => (http::Method::POST, "application/json"),
            Verb::Patch => (http::Method::PATCH, "application/merge-patch+json"),
        };
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder().method(method).uri(uri).header("content-type", content).body(body);
        let request = request.map_err(|error| Refusal::Silence(error.to_string()))?;
        match tokio::time::timeout(DEADLINE, self.client.request::<Value>(request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(Refusal::Status(status)),
            Ok(Err(error)) => Err(Refusal::Silence(chain(&error))),
            Err(_) => Err(Refusal::Silence(format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }

    /// The bare answer of a part of an object that is not an API object: a reading, through the API server.
    pub(super) async fn read(&self, target: Target<'_>, deadline: Duration) -> Result<String, Refusal> {
        let request = Request::get(target.path()).body(Vec::new());
        let request = request.map_err(|error| Refusal::Silence(error.to_string()))?;
        match tokio::time::timeout(deadline, self.client.request_text(request)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(kube::Error::Api(status))) => Err(Refusal::Status(status)),
            Ok(Err(error)) => Err(Refusal::Silence(chain(&error))),
            Err(_) => Err(Refusal::Silence(format!("no answer within {} s", deadline.as_secs()))),
        }
    }
}

/// Who writes, in `managedFields`: a person through `rso`.
const MANAGER: &str = "rso";

/// Why the server did not do it.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// It answered.
    Status(Box<kube::core::Status>),
    /// It did not, or not understandably.
    Silence(String),
}

impl Refusal {
    /// Whether a right is missing.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 403)
    }

    /// The failure that a person reads.
    pub(super) fn told(self, verb: Verb, target: Target<'_>) -> Failure {
        let what = target.told();
        let status = match self {
            Self::Silence(why) => {
                return Failure::new(Exit::Unreachable, format!("the cluster does not answer ({what}): {why}"))
                    .hint("check it with: kubectl version; another cluster is named by --context or --kubeconfig");
            }
            Self::Status(status) => status,
        };
        let says = &status.message;
        match status.code {
            401 => Failure::new(Exit::Unreachable, format!("the cluster does not accept your credentials: {says}"))
                .hint("log in again, or name another context with --context"),
            // A webhook's or a quota's refusal is a 403 too; only RBAC speaks of what the user "cannot".
            403 if says.contains(" cannot ") => Failure::new(
                Exit::Unreachable,
                format!("you may not {} {what}: the right `{}` on `{}` is missing", verb.word(), verb.word(), target.right()),
            )
            .hint(format!("ask an administrator for it, or act as another with --as; the server says: {says}")),
            403 => Failure::refused(format!("the server refuses to {} {what}: {says}", verb.word())),
            404 => Failure::no(format!("there is no {what}")),
            409 => Failure::no(format!("failed to {} {what}: {says}", verb.word()))
                .hint("somebody else changed it at the same moment; run the command again"),
            500..=599 => Failure::new(Exit::Unreachable, format!("the cluster failed at {what}: {says}"))
                .hint("run the command again"),
            _ => Failure::no(format!("the server did not {} {what}: {says}", verb.word())),
        }
    }
}

async fn config(connection: &Connection) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let unreadable = |why: String| {
        Failure::new(Exit::Unreachable, format!("failed to read the kubeconfig: {why}"))
            .hint("name it with --kubeconfig or $KUBECONFIG, and a context of it with --context")
    };
    if let Some(path) = &connection.kubeconfig {
        let file = Kubeconfig::read_from(path).map_err(|error| unreadable(chain(&error)))?;
        return Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unreadable(chain(&error)));
    }
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        // In a pod there is no kubeconfig but a service account, as kubectl has it.
        Err(error) => Config::incluster().map_err(|_| unreadable(chain(&error))),
    }
}

/// The error and its causes in one line; a cause that its error has already told is not told twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, verb: Verb, target: Target<'_>) -> (Exit, String) {
        let status = kube::core::Status { code, message: message.into(), ..kube::core::Status::failure("", "") };
        let failure = Refusal::Status(Box::new(status)).told(verb, target);
        (failure.exit, failure.what)
    }

    #[test]
    fn a_missing_right_is_named_as_rbac_names_it() {
        let target = Target::one(STATEFULSETS, "shop", "db");
        let says = "statefulsets.apps \"db\" is forbidden: User \"ann\" cannot patch resource \"statefulsets\"";
        let (exit, what) = refused(403, says, Verb::Patch, target);
        assert_eq!(exit, Exit::Unreachable);
        assert_eq!(what, "you may not patch StatefulSet shop/db: the right `patch` on `statefulsets.apps` is missing");
        let proxy = Target { part: Some("proxy/stats/summary"), namespace: None, ..Target::one(NODES, "", "n1") };
        assert_eq!(refused(403, "User cannot get", Verb::Get, proxy).1, "you may not get Node n1: the right `get` on `nodes/proxy` is missing");
    }

    #[test]
    fn each_answer_of_the_server_has_its_exit_code() {
        let check = |code: u16, expected: Exit| {
            let target = Target::one(STATEFULSETS, "shop", "db");
            assert_eq!(refused(code, "no", Verb::Get, target).0, expected, "{code}");
        };
        check(401, Exit::Unreachable);
        check(403, Exit::Refused);
        check(404, Exit::No);
        check(409, Exit::No);
        check(422, Exit::No);
        check(503, Exit::Unreachable);
    }

    #[test]
    fn an_object_is_asked_for_where_it_is_served() {
        let check = |target: Target<'_>, expected: &str| assert_eq!(target.path(), expected);
        check(Target::one(STATEFULSETS, "shop", "db"), "/apis/apps/v1/namespaces/shop/statefulsets/db");
        check(Target::all(CLAIMS, Some("shop")), "/api/v1/namespaces/shop/persistentvolumeclaims");
        check(Target::all(CLASSES, None), "/apis/storage.k8s.io/v1/storageclasses");
        let agent = Target { part: Some("proxy/disk"), ..Target::one(PODS, "shop", "db-0:1251") };
        check(agent, "/api/v1/namespaces/shop/pods/db-0:1251/proxy/disk");
    }
}
