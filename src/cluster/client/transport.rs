//! What every request to the API server goes through: a deadline, a server-side timeout, a count, a sign of life.
//!
//! kube's client has no read timeout (a GET to a black hole never returns) and nothing bounds a body that trickles. So a
//! deadline runs over the head of every answer, and over the whole body of all but watches, which may live on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, Request, Response, Uri};
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use kube::client::Body;
use tokio::time::Sleep;
use tower::{BoxError, Layer, Service};

/// How long an ordinary request may take, its body included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long one page of a watch's first list may take. Such a list begins again from its first page when one fails, so a
/// busy API server gets more time than for an ordinary request; nothing waits for it but the caches.
const PAGE_DEADLINE: Duration = Duration::from_secs(60);

/// Who wants to know about requests: metrics, liveness. Called often; must be quick.
pub trait Witness: Send + Sync + 'static {
    /// A request ended with this HTTP status, or `<error>` when there was no answer (client-go's word).
    fn answered(&self, method: &Method, code: &str);
    /// The watch of this URL path was opened, or brought something, if only a bookmark. Watches of a single object are not
    /// told: they come and go.
    fn heard(&self, watch: &str);
    /// An `agent` or a `kubelet` was asked how full its volumes are: `ok`, `silent`, `refused` (its answer is unusable),
    /// `resting` (it failed a moment ago and was not asked).
    fn measured(&self, who: &'static str, result: &'static str);
}

/// A witness who looks away.
#[derive(Debug)]
pub struct Nobody;

impl Witness for Nobody {
    fn answered(&self, _method: &Method, _code: &str) {}
    fn heard(&self, _watch: &str) {}
    fn measured(&self, _who: &'static str, _result: &'static str) {}
}

/// A request may carry its own deadline in its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Duration);

#[derive(Debug, thiserror::Error)]
#[error("no answer within {:.1} s", .0.as_secs_f64())]
struct TooSlow(Duration);

/// Wraps the inner service of a kube client.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) witness: Arc<dyn Witness>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, witness: self.witness.clone() }
    }
}

pub(super) struct Guarded<S> {
    inner: S,
    witness: Arc<dyn Witness>,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Watched<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let watch = is_watch(request.uri()).then(|| lasting(request.uri()));
        let deadline = deadline_of(&request);
        if watch.is_none() {
            *request.uri_mut() = with_server_timeout(request.uri(), deadline);
        }
        let method = request.method().clone();
        let witness = self.witness.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let until = tokio::time::sleep(deadline);
            let mut until = Box::pin(until);
            let answer = tokio::select! {
                answer = answer => answer.map_err(Into::into),
                () = &mut until => Err(BoxError::from(TooSlow(deadline))),
            };
            match &answer {
                Ok(answer) => witness.answered(&method, answer.status().as_str()),
                Err(_) => witness.answered(&method, "<error>"),
            }
            let limit = match watch {
                Some(watch) => {
                    let hearing = Hearing { watch, witness };
                    hearing.heard();
                    Limit::None(hearing)
                }
                None => Limit::Until { until, deadline },
            };
            Ok(answer?.map(|inner| Watched { inner, limit }))
        })
    }
}

/// A body under a deadline, or one that tells each sign of life.
pub(super) struct Watched<B> {
    inner: B,
    limit: Limit,
}

enum Limit {
    Until { until: Pin<Box<Sleep>>, deadline: Duration },
    None(Hearing),
}

struct Hearing {
    watch: Option<String>,
    witness: Arc<dyn Witness>,
}

impl Hearing {
    fn heard(&self) {
        if let Some(watch) = &self.watch {
            self.witness.heard(watch);
        }
    }
}

impl<B> HttpBody for Watched<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            if let (Some(Ok(_)), Limit::None(hearing)) = (&frame, &self.limit) {
                hearing.heard();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match &mut self.limit {
            Limit::None(_) => Poll::Pending,
            Limit::Until { until, deadline } => {
                ready!(until.as_mut().poll(context));
                Poll::Ready(Some(Err(TooSlow(*deadline).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What our own client sends has its deadline with it; all else comes from the watches.
fn deadline_of<B>(request: &Request<B>) -> Duration {
    match request.extensions().get::<Deadline>() {
        Some(own) => own.0,
        None if is_watch(request.uri()) => DEADLINE,
        None => PAGE_DEADLINE,
    }
}

fn is_watch(uri: &Uri) -> bool {
    parameters(uri).any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
}

/// The path of a watch of many objects; such a watch is opened again whenever it ends, for as long as the program runs.
fn lasting(uri: &Uri) -> Option<String> {
    let single = parameters(uri).any(|pair| pair.starts_with("fieldSelector=metadata.name"));
    (!single).then(|| uri.path().to_owned())
}

/// Asks the server to give up when we do, so that a write is not carried out long after we looked away.
fn with_server_timeout(uri: &Uri, deadline: Duration) -> Uri {
    if parameters(uri).any(|pair| pair.starts_with("timeout=")) {
        return uri.clone();
    }
    let joint = match uri.query() {
        None => "?",
        Some(query) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}{joint}timeout={}s", uri.path(), deadline.as_secs().max(1));
    let mut parts = uri.clone().into_parts();
    let Ok(path) = path.parse() else { return uri.clone() };
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn parameters(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().unwrap_or_default().split('&')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_when_we_give_up() {
        let check = |uri: &str, expected: &str| {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(with_server_timeout(&uri, DEADLINE).to_string(), expected);
        };
        check("/api/v1/pods", "/api/v1/pods?timeout=10s");
        check("/api/v1/pods?", "/api/v1/pods?timeout=10s");
        check("/api/v1/pods?limit=5&", "/api/v1/pods?limit=5&timeout=10s");
        check("/api/v1/pods?timeout=2s", "/api/v1/pods?timeout=2s");
        check("https://h:6443/api?a=b", "https://h:6443/api?a=b&timeout=10s");
    }

    #[test]
    fn a_page_of_a_watched_list_has_more_time_than_an_ordinary_request() {
        let check = |uri: &str, own: Option<Duration>, expected: Duration| {
            let mut request = Request::get(uri).body(()).unwrap();
            own.map(|own| request.extensions_mut().insert(Deadline(own)));
            assert_eq!(deadline_of(&request), expected, "{uri}");
        };
        check("/api/v1/pods?&limit=10", None, PAGE_DEADLINE);
        check("/api/v1/pods?&watch=true", None, DEADLINE);
        check("/api/v1/pods?limit=10", Some(Duration::from_secs(2)), Duration::from_secs(2));
    }

    #[test]
    fn only_a_watch_outlives_the_deadline() {
        let check = |uri: &str, expected: bool| assert_eq!(is_watch(&uri.parse().unwrap()), expected, "{uri}");
        check("/apis/apps/v1/statefulsets?&watch=true&timeoutSeconds=200", true);
        check("/api/v1/namespaces/a/pods?watch=1", true);
        check("/api/v1/namespaces/a/pods?watchful=true", false);
        check("/api/v1/namespaces/a/pods", false);
    }

    #[test]
    fn the_end_of_a_watch_of_one_object_alarms_nobody() {
        let check = |uri: &str, expected: Option<&str>| {
            assert_eq!(lasting(&uri.parse().unwrap()).as_deref(), expected);
        };
        check("/apis/apps/v1/statefulsets?watch=true", Some("/apis/apps/v1/statefulsets"));
        check("/apis/apps/v1/namespaces/a/statefulsets?watch=true&fieldSelector=metadata.name%3Ddb", None);
    }
}
