//! The layer under every request to the API server: a deadline, a server-side timeout, and an observer.
//!
//! kube's client has no read timeout (a GET to a black hole never returns), and nothing bounds a slow body. The layer
//! therefore bounds the time to the header of every response, and to the end of every body except that of a watch,
//! which stays open.

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

/// The deadline of an ordinary request, including its body.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// The deadline of one page of a watch's initial list. If a page fails, the list starts again from its first page, so a
/// busy API server gets more time than for an ordinary request; only the caches wait for it.
const LIST_PAGE_DEADLINE: Duration = Duration::from_secs(60);

/// Observes requests, for metrics and liveness. Called often; must be fast.
pub trait RequestObserver: Send + Sync + 'static {
    /// A request ended with this HTTP status, or `<error>` without a response (the label of client-go).
    fn request_completed(&self, method: &Method, code: &str);
    /// The watch on this URL path was opened or received something, if only a bookmark. Watches of a single object are
    /// not reported: they start and end often.
    fn watch_active(&self, watch: &str);
    /// The usage of volumes was requested from an `agent` or a `kubelet`: `ok`, `silent`, `refused` (its response is
    /// unusable), `resting` (skipped after a recent failure); `held`, or why an agent did not hold a request.
    fn usage_requested(&self, who: &'static str, result: &'static str);
}

/// An observer that ignores everything.
#[derive(Debug)]
pub struct NoObserver;

impl RequestObserver for NoObserver {
    fn request_completed(&self, _method: &Method, _code: &str) {}
    fn watch_active(&self, _watch: &str) {}
    fn usage_requested(&self, _who: &'static str, _result: &'static str) {}
}

/// A deadline in the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnDeadline(pub(super) Duration);

#[derive(Debug, thiserror::Error)]
#[error("no response within {:.1} s", .0.as_secs_f64())]
struct DeadlineExceeded(Duration);

/// Wraps the inner service of a kube client.
#[derive(Clone)]
pub(super) struct DeadlineLayer {
    pub(super) observer: Arc<dyn RequestObserver>,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, observer: self.observer.clone() }
    }
}

pub(super) struct DeadlineService<S> {
    inner: S,
    observer: Arc<dyn RequestObserver>,
}

impl<S, B> Service<Request<Body>> for DeadlineService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<TimedBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let watch = is_watch(request.uri()).then(|| long_lived_watch(request.uri()));
        let deadline = deadline_of(&request);
        if watch.is_none() {
            *request.uri_mut() = with_server_timeout(request.uri(), deadline);
        }
        let method = request.method().clone();
        let observer = self.observer.clone();
        let response = self.inner.call(request);
        Box::pin(async move {
            let until = tokio::time::sleep(deadline);
            let mut until = Box::pin(until);
            let response = tokio::select! {
                response = response => response.map_err(Into::into),
                () = &mut until => Err(BoxError::from(DeadlineExceeded(deadline))),
            };
            match &response {
                Ok(response) => observer.request_completed(&method, response.status().as_str()),
                Err(_) => observer.request_completed(&method, "<error>"),
            }
            let limit = match watch {
                Some(watch) => {
                    let activity = WatchActivity { watch, observer };
                    activity.report();
                    BodyLimit::None(activity)
                }
                None => BodyLimit::Until { until, deadline },
            };
            Ok(response?.map(|inner| TimedBody { inner, limit }))
        })
    }
}

/// A body with a deadline, or one that reports its activity.
pub(super) struct TimedBody<B> {
    inner: B,
    limit: BodyLimit,
}

enum BodyLimit {
    Until { until: Pin<Box<Sleep>>, deadline: Duration },
    None(WatchActivity),
}

struct WatchActivity {
    watch: Option<String>,
    observer: Arc<dyn RequestObserver>,
}

impl WatchActivity {
    fn report(&self) {
        if let Some(watch) = &self.watch {
            self.observer.watch_active(watch);
        }
    }
}

impl<B> HttpBody for TimedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            if let (Some(Ok(_)), BodyLimit::None(activity)) = (&frame, &self.limit) {
                activity.report();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match &mut self.limit {
            BodyLimit::None(_) => Poll::Pending,
            BodyLimit::Until { until, deadline } => {
                ready!(until.as_mut().poll(context));
                Poll::Ready(Some(Err(DeadlineExceeded(*deadline).into())))
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

/// Requests of our own client carry their deadline; all others come from watches.
fn deadline_of<B>(request: &Request<B>) -> Duration {
    match request.extensions().get::<OwnDeadline>() {
        Some(own) => own.0,
        None if is_watch(request.uri()) => REQUEST_DEADLINE,
        None => LIST_PAGE_DEADLINE,
    }
}

fn is_watch(uri: &Uri) -> bool {
    parameters(uri).any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
}

/// The path of a watch of many objects; such a watch is opened again whenever it ends, for as long as the process runs.
fn long_lived_watch(uri: &Uri) -> Option<String> {
    let single = parameters(uri).any(|pair| pair.starts_with("fieldSelector=metadata.name"));
    (!single).then(|| uri.path().to_owned())
}

/// Asks the server to time out when we do; otherwise it could carry out a write long after we gave up.
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
    fn the_server_gets_our_timeout() {
        let check = |uri: &str, expected: &str| {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(with_server_timeout(&uri, REQUEST_DEADLINE).to_string(), expected);
        };
        check("/api/v1/pods", "/api/v1/pods?timeout=10s");
        check("/api/v1/pods?", "/api/v1/pods?timeout=10s");
        check("/api/v1/pods?limit=5&", "/api/v1/pods?limit=5&timeout=10s");
        check("/api/v1/pods?timeout=2s", "/api/v1/pods?timeout=2s");
        check("https://h:6443/api?a=b", "https://h:6443/api?a=b&timeout=10s");
    }

    #[test]
    fn a_page_of_a_watched_list_has_a_longer_deadline() {
        let check = |uri: &str, own: Option<Duration>, expected: Duration| {
            let mut request = Request::get(uri).body(()).unwrap();
            own.map(|own| request.extensions_mut().insert(OwnDeadline(own)));
            assert_eq!(deadline_of(&request), expected, "{uri}");
        };
        check("/api/v1/pods?&limit=10", None, LIST_PAGE_DEADLINE);
        check("/api/v1/pods?&watch=true", None, REQUEST_DEADLINE);
        check("/api/v1/pods?limit=10", Some(Duration::from_secs(2)), Duration::from_secs(2));
    }

    #[test]
    fn only_the_body_of_a_watch_has_no_deadline() {
        let check = |uri: &str, expected: bool| assert_eq!(is_watch(&uri.parse().unwrap()), expected, "{uri}");
        check("/apis/apps/v1/statefulsets?&watch=true&timeoutSeconds=200", true);
        check("/api/v1/namespaces/a/pods?watch=1", true);
        check("/api/v1/namespaces/a/pods?watchful=true", false);
        check("/api/v1/namespaces/a/pods", false);
    }

    #[test]
    fn a_watch_of_one_object_is_not_observed() {
        let check = |uri: &str, expected: Option<&str>| {
            assert_eq!(long_lived_watch(&uri.parse().unwrap()).as_deref(), expected);
        };
        check("/apis/apps/v1/statefulsets?watch=true", Some("/apis/apps/v1/statefulsets"));
        check("/apis/apps/v1/namespaces/a/statefulsets?watch=true&fieldSelector=metadata.name%3Ddb", None);
    }
}
