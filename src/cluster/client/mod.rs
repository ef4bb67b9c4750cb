//! The client of the API server: it never repeats a request on its own, every request has a deadline, and every error
//! has a class.
//!
//! Objects are [`serde_json::Value`]: a typed object that is written back loses the fields that it does not know. It is
//! built on kube's client, which also serves the watches ([`Client::kube`]). kube's habit of repeating every verb up to
//! sixteen times on 429, 503, and 504 is off: a POST that was applied but answered with 504 would return 409, and one
//! call could take a quarter of an hour.

mod connect;
mod error;
mod list;
mod proxy;
mod request;
mod response;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::request::{Run, call, delete_options, delete_path, effect};
use self::response::{outcome, retry_after, status};
use self::transport::OwnDeadline;
use crate::api::objects::Address;
use crate::api::write::{Change, Write};

pub use self::connect::{ConnectError, Source};
pub use self::error::{Call, Class, Effect, Error, Outcome, chain};
pub use self::list::{Form, Selector};
pub use self::transport::{NoObserver, REQUEST_DEADLINE, RequestObserver};

/// A larger response is not read: the largest object is 1.5 MiB, and lists are paged.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

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
        let config = connect::config(source).await?;
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
        let kube = connect::build(&config, &observer)?;
        Ok(Self { kube, config: Arc::new(config), observer, manager, deadline: REQUEST_DEADLINE, pages: list::pages() })
    }

    /// A copy with connections of its own, which no other work delays: for the Lease.
    pub fn with_own_connections(&self) -> Result<Self, ConnectError> {
        Ok(Self { kube: connect::build(&self.config, &self.observer)?, ..self.clone() })
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

    /// Gets what the proxy of a Pod or node returns and is not JSON: at most 8 MiB. `None` if there is no such Pod, node, or path.
    pub async fn get_bytes(&self, object: &Address) -> Result<Option<Bytes>, Error> {
        let call = call("get", object.resource, object.subresource, object.to_string(), Effect::Reads);
        Ok(self.exchange(call, Method::GET, object.path(), "*/*", None).await?.done())
    }

    /// Sends a write, once. A body of which the server does not know a field is refused, not stored in part
    /// (`fieldValidation=Strict`). The result of a deletion is the object, while it has finalizers, or a `Status`.
    ///
    /// The operator calls [`crate::cluster::act::act`] instead, which asks for the permission.
    pub async fn write(&self, write: &Write) -> Result<Outcome<Value>, Error> {
        self.send_write(write, Run::Real).await
    }

    /// Sends a write as a dry run: admission, validation and quota, but nothing is stored.
    pub async fn dry_run(&self, write: &Write) -> Result<Outcome<Value>, Error> {
        self.send_write(write, Run::Dry).await
    }

    async fn send_write(&self, write: &Write, run: Run) -> Result<Outcome<Value>, Error> {
        let Write { object, change } = write;
        let call = call(write.verb(), object.resource, object.subresource, object.to_string(), effect(run));
        let query = self.write_query(run);
        match change {
            Change::Create(body) => {
                let all = object.resource.path(object.namespace.as_deref());
                let path = format!("{all}?{query}&fieldValidation=Strict");
                self.send(call, Method::POST, path, Some(("application/json", body))).await
            }
            Change::Update(body) => {
                let path = format!("{}?{query}&fieldValidation=Strict", object.path());
                self.send(call, Method::PUT, path, Some(("application/json", body))).await
            }
            Change::Merge(patch) => {
                let body = Some(("application/merge-patch+json", patch));
                self.send(call, Method::PATCH, format!("{}?{query}", object.path()), body).await
            }
            Change::Json(patch) => {
                let body = Some(("application/json-patch+json", patch));
                self.send(call, Method::PATCH, format!("{}?{query}", object.path()), body).await
            }
            Change::Delete { dependents, only } => {
                let options = delete_options(*dependents, only, run);
                let path = delete_path(object, run);
                self.send(call, Method::DELETE, path, Some(("application/json", &options))).await
            }
        }
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

/// The text at a JSON pointer.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
