//! How is the API server asked, so that nothing is repeated in secret, nothing hangs, and every refusal has a meaning?
//!
//! Objects travel as [`serde_json::Value`]: a typed object written back drops the fields it does not know. kube's own
//! client lies beneath and serves the watches ([`Client::kube`]); its habit of repeating every verb up to sixteen times on
//! 429, 503 and 504 is off, since a POST that was applied but answered 504 would come back as 409, and one call could take
//! a quarter of an hour.

mod error;
mod list;
mod proxy;
pub mod resources;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::response::Status;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::transport::{OwnDeadline, DeadlineLayer};
use crate::api::names::Uid;

pub use self::error::{Call, Class, Effect, Error, Outcome, chain};
pub use self::list::{Form, Selector};
pub use self::proxy::ProxyError;
pub use self::resources::{Address, Resource};
pub use self::transport::{REQUEST_DEADLINE, NoObserver, RequestObserver};

/// An answer larger than this is not read: the largest object is 1.5 MiB, and lists come in pages.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// Where the cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A kubeconfig as `kubectl` would find it, else the service account of the pod.
    #[default]
    Infer,
    /// This kubeconfig (or the usual one) and this context of it (or the current one).
    Kubeconfig {
        /// The file; `None`: `$KUBECONFIG`, else `~/.kube/config`.
        path: Option<PathBuf>,
        /// The context; `None`: the current one.
        context: Option<String>,
    },
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error("failed to find a cluster; set KUBECONFIG, or run in a Pod whose ServiceAccount token is mounted")]
    Nowhere(#[source] kube::config::InferConfigError),
    /// The kubeconfig cannot be used.
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS or credentials cannot be used.
    #[error("failed to make a client from the cluster's certificates and credentials")]
    Build(#[source] kube::Error),
}

/// For real, or only to learn what would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Carried out.
    Real,
    /// `dryRun=All`: admission, validation and quota, but nothing is stored.
    Dry,
}

/// The body of a PATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(Value),
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They stay, without owner.
    Orphan,
    /// They are deleted afterwards.
    Background,
}

/// Which object is meant. A precondition that does not hold is [`Outcome::Conflict`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The object of that name must still be this one.
    pub uid: Option<Uid>,
    /// And unchanged since.
    pub resource_version: Option<String>,
}

/// Talks to one API server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    kube: kube::Client,
    config: Arc<kube::Config>,
    observer: Arc<dyn RequestObserver>,
    manager: &'static str,
    deadline: Duration,
    pages: Arc<Semaphore>,
}

impl Client {
    /// Finds the cluster. Nothing is sent yet.
    ///
    /// `manager` names the writer in `managedFields`: `rso-controller`, or `rso` for a person.
    pub async fn connect(
        source: &Source,
        manager: &'static str,
        observer: Arc<dyn RequestObserver>,
    ) -> Result<Self, ConnectError> {
        let (mut config, named) = match source {
            Source::Infer => match kubeconfig(None, None).await {
                Ok(found) => found,
                Err(_) => (kube::Config::infer().await.map_err(ConnectError::Nowhere)?, None),
            },
            Source::Kubeconfig { path, context } => {
                kubeconfig(path.as_deref(), context.clone()).await.map_err(ConnectError::Kubeconfig)?
            }
        };
        config.proxy_url = proxy::choose(&config.cluster_url, named.as_deref(), |name| std::env::var(name).ok())?;
        Self::of(config, manager, observer)
    }

    fn of(mut config: kube::Config, manager: &'static str, observer: Arc<dyn RequestObserver>) -> Result<Self, ConnectError> {
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("rso/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, agent));
        let kube = build(&config, &observer)?;
        Ok(Self { kube, config: Arc::new(config), observer, manager, deadline: REQUEST_DEADLINE, pages: list::pages() })
    }

    /// The same with connections of its own, so that no amount of other work delays it: for the lease.
    pub fn with_own_connections(&self) -> Result<Self, ConnectError> {
        Ok(Self { kube: build(&self.config, &self.observer)?, ..self.clone() })
    }

    /// The same with another limit for each request, at most [`DEADLINE`].
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline: deadline.min(REQUEST_DEADLINE), ..self.clone() }
    }

    /// The same for kube's watchers: under the same deadline (of the head only, for a watch), counted alike.
    pub fn kube(&self) -> kube::Client {
        self.kube.clone()
    }

    /// The addresses, certificates and credentials in use.
    pub fn config(&self) -> &kube::Config {
        &self.config
    }

    /// Who is told of requests.
    pub(super) fn observer(&self) -> Arc<dyn RequestObserver> {
        self.observer.clone()
    }

    /// The namespace of the kubeconfig's context or of the pod.
    pub fn namespace(&self) -> &str {
        self.kube.default_namespace()
    }

    /// Reads one object, consistently (from etcd, not from the server's cache). `None` if it is not there.
    pub async fn get(&self, object: &Address) -> Result<Option<Value>, Error> {
        let call = call("get", object.resource, object.subresource, object.to_string(), Effect::Reads);
        Ok(self.send(call, Method::GET, object.path(), None).await?.done())
    }

    /// Makes an object. `fieldValidation=Strict`: a field that the server does not know is an error, not a loss.
    pub async fn create(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        object: &Value,
        run: Run,
    ) -> Result<Outcome<Value>, Error> {
        let name = text(object, "/metadata/name").or(text(object, "/metadata/generateName")).unwrap_or_default();
        let address = Address { resource, namespace: namespace.map(Into::into), name: name.into(), subresource: None };
        let path = format!("{}?{}&fieldValidation=Strict", resource.path(namespace), self.write_query(run));
        let call = call("create", resource, None, address.to_string(), effect(run));
        self.send(call, Method::POST, path, Some(("application/json", object))).await
    }

    /// Replaces an object; its `metadata.resourceVersion` is the precondition.
    pub async fn replace(&self, object: &Address, with: &Value, run: Run) -> Result<Outcome<Value>, Error> {
        let path = format!("{}?{}&fieldValidation=Strict", object.path(), self.write_query(run));
        let call = call("update", object.resource, object.subresource, object.to_string(), effect(run));
        self.send(call, Method::PUT, path, Some(("application/json", with))).await
    }

    /// Changes parts of an object; a `metadata.resourceVersion` or `metadata.uid` in a merge patch is a precondition.
    pub async fn patch(&self, object: &Address, patch: &Patch, run: Run) -> Result<Outcome<Value>, Error> {
        let path = format!("{}?{}", object.path(), self.write_query(run));
        let body = match patch {
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Json(body) => ("application/json-patch+json", body),
        };
        let call = call("patch", object.resource, object.subresource, object.to_string(), effect(run));
        self.send(call, Method::PATCH, path, Some(body)).await
    }

    /// Deletes an object if it is the one that is meant. The result is the server's answer: the object, while finalizers
    /// hold it, or a `Status`.
    pub async fn delete(
        &self,
        object: &Address,
        dependents: Dependents,
        only: &Precondition,
        run: Run,
    ) -> Result<Outcome<Value>, Error> {
        let call = call("delete", object.resource, None, object.to_string(), effect(run));
        let body = delete_options(dependents, only, run);
        self.send(call, Method::DELETE, object.path(), Some(("application/json", &body))).await
    }

    /// A token of a ServiceAccount for the API server and kubelets, which lives that long. `None` if there is no such account.
    pub async fn token(&self, account: &Address, lives: Duration) -> Result<Option<String>, Error> {
        let object = Address { subresource: Some("token"), ..account.clone() };
        let call = call("create", object.resource, object.subresource, object.to_string(), Effect::Reads);
        let spec = json!({ "expirationSeconds": lives.as_secs() });
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
        let answer = self.send(call, Method::POST, object.path(), Some(("application/json", &body))).await?.done();
        Ok(answer.as_ref().and_then(|answer| text(answer, "/status/token")).map(str::to_owned))
    }

    fn write_query(&self, run: Run) -> String {
        let dry = match run {
            Run::Real => "",
            Run::Dry => "&dryRun=All",
        };
        format!("fieldManager={}{dry}", self.manager)
    }

    async fn send(
        &self,
        call: Call,
        method: Method,
        path: String,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Outcome<Value>, Error> {
        match self.exchange(call.clone(), method, path, "application/json", body).await? {
            Outcome::Done(body) => match serde_json::from_slice(&body) {
                Ok(value) => Ok(Outcome::Done(value)),
                Err(source) => Err(Error::Unreadable { call, source }),
            },
            Outcome::NotFound => Ok(Outcome::NotFound),
            Outcome::Conflict(words) => Ok(Outcome::Conflict(words)),
            Outcome::AlreadyExists => Ok(Outcome::AlreadyExists),
        }
    }

    /// One request and its answer, as bytes.
    async fn exchange(
        &self,
        call: Call,
        method: Method,
        path: String,
        accept: &'static str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Outcome<Bytes>, Error> {
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let unsent = |error: &dyn std::error::Error| Error::Unsent { call: call.clone(), message: chain(error) };
        let mut bytes = Vec::new();
        if let Some((media, body)) = body {
            request = request.header(header::CONTENT_TYPE, media);
            bytes = serde_json::to_vec(body).map_err(|error| unsent(&error))?;
        }
        let request = request.extension(OwnDeadline(self.deadline)).body(Body::from(bytes));
        let request = request.map_err(|error| unsent(&error))?;
        let unanswered = |source| Error::NoAnswer { call: call.clone(), source };
        let answer = self.kube.send(request).await.map_err(|source| unanswered(source.into()))?;
        let (code, after) = (answer.status(), retry_after(answer.headers()));
        let body = Limited::new(answer.into_body(), MAX_RESPONSE_BYTES).collect().await.map_err(unanswered)?.to_bytes();
        if code.is_success() {
            return Ok(Outcome::Done(body));
        }
        outcome(call, &status(code, &body), after)
    }
}

/// The kubeconfig, and its `proxy-url`.
async fn kubeconfig(
    path: Option<&std::path::Path>,
    context: Option<String>,
) -> Result<(kube::Config, Option<String>), kube::config::KubeconfigError> {
    let file = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from)?;
    let proxy = proxy_of(&file, context.as_ref());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Ok((kube::Config::from_custom_kubeconfig(file, &options).await?, proxy))
}

fn proxy_of(file: &Kubeconfig, context: Option<&String>) -> Option<String> {
    let context = context.or(file.current_context.as_ref())?;
    let context = file.contexts.iter().find(|named| named.name == *context)?.context.as_ref()?;
    file.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?.proxy_url.clone()
}

fn build(config: &kube::Config, observer: &Arc<dyn RequestObserver>) -> Result<kube::Client, ConnectError> {
    let builder = ClientBuilder::try_from(config.clone()).map_err(ConnectError::Build)?;
    Ok(builder.with_layer(&DeadlineLayer { observer: observer.clone() }).build())
}

fn call(verb: &'static str, resource: &Resource, subresource: Option<&str>, object: String, effect: Effect) -> Call {
    // `proxy/disk` is a path below the subresource `proxy`, which is what RBAC knows.
    let part = subresource.and_then(|part| part.split('/').next()).map(|part| format!("/{part}")).unwrap_or_default();
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    Call { verb, resource: format!("{}{part}{group}", resource.plural), object, effect }
}

fn effect(run: Run) -> Effect {
    match run {
        Run::Real => Effect::Writes,
        Run::Dry => Effect::Reads,
    }
}

/// `dryRun` stands in the body: in the query of a DELETE that has a body the server ignores it, and the object is gone
/// (seen on 1.37.1).
fn delete_options(dependents: Dependents, only: &Precondition, run: Run) -> Value {
    let mut options = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": match dependents {
            Dependents::Orphan => "Orphan",
            Dependents::Background => "Background",
        },
    });
    if run == Run::Dry {
        options["dryRun"] = json!(["All"]);
    }
    if let Some(uid) = &only.uid {
        options["preconditions"]["uid"] = json!(uid.as_str());
    }
    if let Some(version) = &only.resource_version {
        options["preconditions"]["resourceVersion"] = json!(version);
    }
    options
}

/// `Retry-After` in whole seconds; Kubernetes never sends the date form.
fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The server's `Status`; a proxy in between may have sent anything, whose first words are kept.
fn status(code: StatusCode, body: &[u8]) -> Status {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.code == code.as_u16() => status,
        Ok(_) | Err(_) => {
            let words: String = String::from_utf8_lossy(body).trim().chars().take(300).collect();
            Status::failure(&words, "").with_code(code.as_u16())
        }
    }
}

fn outcome<T>(call: Call, status: &Status, after: Option<Duration>) -> Result<Outcome<T>, Error> {
    match status.code {
        404 => Ok(Outcome::NotFound),
        409 if status.is_already_exists() => Ok(Outcome::AlreadyExists),
        409 => Ok(Outcome::Conflict(status.message.clone())),
        _ => {
            let own = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
            let own = own.filter(|seconds| *seconds > 0).map(Duration::from_secs);
            Err(Error::from_status(call, status, after.or(own)))
        }
    }
}

/// The text at a JSON pointer.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
