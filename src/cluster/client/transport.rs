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
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long one page of a watch's first list may take. Such a list begins again from its first page when one fails, so a
/// busy API server gets more time than for an ordinary request; nothing waits for it but the caches.
const LIST_PAGE_DEADLINE: Duration = Duration::from_secs(60);

/// Who wants to know about requests: metrics, liveness. Called often; must be quick.
pub trait RequestObserver: Send + Sync + 'static {
    /// A request ended with this HTTP status, or `<error>` when there was no answer (client-go's word).
    fn request_completed(&self, method: &Method, code: &str);
    /// The watch of this URL path was opened, or brought something, if only a bookmark. Watches of a single object are not
    /// told: they come and go.
    fn watch_active(&self, watch: &str);
    /// An `agent` or a `kubelet` was asked how full its volumes are: `ok`, `silent`, `refused` (its answer is unusable),
    /// `resting` (it failed a moment ago and was not asked).
    fn usage_requested(&self, who: &'static str, result: &'static str);
}

/// A witness who looks away.
#[derive(Debug)]
pub struct NoObserver;

impl RequestObserver for NoObserver {
    fn request_completed(&self, _method: &Method, _code: &str) {}
    fn watch_active(&self, _watch: &str) {}
    fn usage_requested(&self, _who: &'static str, _result: &'static str) {}
}

/// A request may carry its own deadline in its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnDeadline(pub(super) Duration);

#[derive(Debug, thiserror::Error)]
#[error("no answer within {:.1} s", .0.as_secs_f64())]
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
        let answer = self.inner.call(request);
        Box::pin(async move {
            let until = tokio::time::sleep(deadline);
            let mut until = Box::pin(until);
            let answer = tokio::select! {
                answer = answer => answer.map_err(Into::into),
                () = &mut until => Err(BoxError::from(DeadlineExceeded(deadline))),
            };
            match &answer {
                Ok(answer) => observer.request_completed(&method, answer.status().as_str()),
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
            Ok(answer?.map(|inner| TimedBody { inner, limit }))
        })
    }
}

/// A body under a deadline, or one that tells each sign of life.
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

/// What our own client sends has its deadline with it; all else comes from the watches.
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

/// The path of a watch of many objects; such a watch is opened again whenever it ends, for as long as the program runs.
fn long_lived_watch(uri: &Uri) -> Option<String> {
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
            assert_eq!(with_server_timeout(&uri, REQUEST_DEADLINE).to_string(), expected);
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
            own.map(|own| request.extensions_mut().insert(OwnDeadline(own)));
            assert_eq!(deadline_of(&request), expected, "{uri}");
        };
        check("/api/v1/pods?&limit=10", None, LIST_PAGE_DEADLINE);
        check("/api/v1/pods?&watch=true", None, REQUEST_DEADLINE);
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
            assert_eq!(long_lived_watch(&uri.parse().unwrap()).as_deref(), expected);
        };
        check("/apis/apps/v1/statefulsets?watch=true", Some("/apis/apps/v1/statefulsets"));
        check("/apis/apps/v1/namespaces/a/statefulsets?watch=true&fieldSelector=metadata.name%3Ddb", None);
    }
}
