//! The client of the API server: it never repeats a request on its own, every request has a deadline, and every error
//! has a class.
//!
//! Objects are [`serde_json::Value`]: a typed object that is written back loses the fields that it does not know. It is
//! built on kube's client, which also serves the watches ([`Client::kube`]). kube's habit of repeating every verb up to
//! sixteen times on 429, 503, and 504 is off: a POST that was applied but answered with 504 would return 409, and one
//! call could take a quarter of an hour.

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

use self::transport::{DeadlineLayer, OwnDeadline};
use crate::api::names::Uid;

pub use self::error::{Call, Class, Effect, Error, Outcome, chain};
pub use self::list::{Form, Selector};
pub use self::proxy::ProxyError;
pub use self::resources::{Address, Resource};
pub use self::transport::{NoObserver, REQUEST_DEADLINE, RequestObserver};

/// A larger response is not read: the largest object is 1.5 MiB, and lists are paged.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// Where the credentials of the cluster come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A kubeconfig, found as `kubectl` finds it, else the ServiceAccount of the Pod.
    #[default]
    Infer,
    /// This kubeconfig (or the default one) and this context of it (or the current one).
    Kubeconfig {
        /// The file; `None`: `$KUBECONFIG`, else `~/.kube/config`.
        path: Option<PathBuf>,
        /// The context; `None`: the current one.
        context: Option<String>,
    },
}

/// Why a client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a kubeconfig nor a ServiceAccount.
    #[error("failed to find a cluster; set KUBECONFIG, or run in a Pod whose ServiceAccount token is mounted")]
    Nowhere(#[source] kube::config::InferConfigError),
    /// The kubeconfig is invalid.
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The proxy is invalid.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The TLS configuration or the credentials are invalid.
    #[error("failed to create a client from the cluster's certificates and credentials")]
    Build(#[source] kube::Error),
}

/// Whether a write is a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The write is stored.
    Real,
    /// `dryRun=All`: admission, validation and quota, but nothing is stored.
    Dry,
}

/// The body of a PATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    /// A merge patch, RFC 7386.
    Merge(Value),
    /// A JSON patch, RFC 6902.
    Json(Value),
}

/// The propagation policy of a deletion: what happens to the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They are kept, without an owner.
    Orphan,
    /// They are deleted afterwards.
    Background,
}

/// The preconditions of a deletion. If one does not hold, the result is [`Outcome::Conflict`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The UID of the object.
    pub uid: Option<Uid>,
    /// The resourceVersion of the object.
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
    /// Creates a client. It sends nothing yet.
    ///
    /// `manager` is the field manager in `managedFields`: `rso-controller`, or `rso` for the command line.
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

    fn of(
        mut config: kube::Config,
        manager: &'static str,
        observer: Arc<dyn RequestObserver>,
    ) -> Result<Self, ConnectError> {
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("rso/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, agent));
        let kube = build(&config, &observer)?;
        Ok(Self { kube, config: Arc::new(config), observer, manager, deadline: REQUEST_DEADLINE, pages: list::pages() })
    }

    /// A copy with connections of its own, which no other work delays: for the Lease.
    pub fn with_own_connections(&self) -> Result<Self, ConnectError> {
        Ok(Self { kube: build(&self.config, &self.observer)?, ..self.clone() })
    }

    /// A copy with another deadline for each request, at most [`REQUEST_DEADLINE`].
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline: deadline.min(REQUEST_DEADLINE), ..self.clone() }
    }

    /// The client for kube's watchers: it has the same deadline (for a watch, of the header only) and reports to the
    /// same observer.
    pub fn kube(&self) -> kube::Client {
        self.kube.clone()
    }

    /// The addresses, certificates, and credentials in use.
    pub fn config(&self) -> &kube::Config {
        &self.config
    }

    /// The observer of the requests.
    pub(super) fn observer(&self) -> Arc<dyn RequestObserver> {
        self.observer.clone()
    }

    /// The namespace of the kubeconfig's context or of the Pod.
    pub fn namespace(&self) -> &str {
        self.kube.default_namespace()
    }

    /// Gets one object with a consistent read (from etcd, not from the server's cache). `None` if it does not exist.
    pub async fn get(&self, object: &Address) -> Result<Option<Value>, Error> {
        let call = call("get", object.resource, object.subresource, object.to_string(), Effect::Reads);
        Ok(self.send(call, Method::GET, object.path(), None).await?.done())
    }

    /// Creates an object. `fieldValidation=Strict`: a field that the server does not know is an error instead of being
    /// dropped.
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

    /// Patches an object; a `metadata.resourceVersion` or `metadata.uid` in a merge patch is a precondition.
    pub async fn patch(&self, object: &Address, patch: &Patch, run: Run) -> Result<Outcome<Value>, Error> {
        let path = format!("{}?{}", object.path(), self.write_query(run));
        let body = match patch {
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Json(body) => ("application/json-patch+json", body),
        };
        let call = call("patch", object.resource, object.subresource, object.to_string(), effect(run));
        self.send(call, Method::PATCH, path, Some(body)).await
    }

    /// Deletes an object if the preconditions hold. The result is the server's response: the object, while it has
    /// finalizers, or a `Status`.
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

    /// Requests a token of a ServiceAccount for the API server and kubelets, with that lifetime. `None` if the
    /// ServiceAccount does not exist.
    pub async fn token(&self, account: &Address, lives: Duration) -> Result<Option<String>, Error> {
        let object = Address { subresource: Some("token"), ..account.clone() };
        let call = call("create", object.resource, object.subresource, object.to_string(), Effect::Reads);
        let spec = json!({ "expirationSeconds": lives.as_secs() });
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
        let response = self.send(call, Method::POST, object.path(), Some(("application/json", &body))).await?.done();
        Ok(response.as_ref().and_then(|response| text(response, "/status/token")).map(str::to_owned))
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

    /// Sends one request and returns the response as bytes.
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
        let no_response = |source| Error::NoAnswer { call: call.clone(), source };
        let response = self.kube.send(request).await.map_err(|source| no_response(source.into()))?;
        let (code, after) = (response.status(), retry_after(response.headers()));
        let body =
            Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await.map_err(no_response)?.to_bytes();
        if code.is_success() {
            return Ok(Outcome::Done(body));
        }
        outcome(call, &status(code, &body), after)
    }
}

/// The kubeconfig and its `proxy-url`.
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
    // `proxy/disk` is a path below the subresource `proxy`, which is the name in RBAC rules.
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

/// `dryRun` is in the body: in the query of a DELETE that has a body, the server ignores it and deletes the object
/// (observed on 1.37.1).
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

/// `Retry-After` in whole seconds; Kubernetes never sends a date.
fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The server's `Status`; of any other body, which a proxy may have sent, the first characters.
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
