//! How does a read or a watch go wrong?

use futures::stream::{self, StreamExt};
use http::request::Parts;
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::json;

use super::Proxy;
use crate::answers::{Answer, another, clean, gone, later, status, status_object, truncated};
use crate::fault::{ReadFault, SILENCE, WatchFault};

impl Proxy {
    pub(super) async fn broken_read(&self, kind: ReadFault, index: usize, parts: Parts, body: Bytes) -> Answer {
        match kind {
            ReadFault::Reset => Err(gone()),
            ReadFault::InternalError => Ok(status(500, "InternalError", "etcdserver: leader changed")),
            ReadFault::TooManyRequests => Ok(later(429, "TooManyRequests", "too many requests")),
            ReadFault::Gone => Ok(status(410, "Expired", "the resourceVersion is too old")),
            ReadFault::Silence => std::future::pending().await,
            ReadFault::Truncated => truncated(self.whole(index, parts, body).await?).await,
            ReadFault::AnotherBody if parts.method == Method::GET => self.whole(index, parts, body).await,
            ReadFault::AnotherBody => another(self.whole(index, parts, body).await?).await,
        }
    }

    pub(super) async fn broken_watch(&self, kind: WatchFault, parts: Parts) -> Answer {
        let error = |code: u16, reason: &str| {
            let event = json!({"type": "ERROR", "object": status_object(code, reason, "a fault was injected")});
            Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n")))
        };
        if kind == WatchFault::GoneAtOnce {
            return Ok(status(410, "Expired", "too old resource version"));
        }
        let answer = self.pass(parts, Bytes::new()).await?;
        let (head, body) = answer.into_parts();
        let lines = body.into_data_stream().map(|line| line.map_err(std::io::Error::other));
        let lines = match kind {
            WatchFault::Dropped => {
                let half = |line: Result<Bytes, std::io::Error>| line.map(|line| line.slice(..line.len() / 2));
                lines.take(1).map(half).chain(stream::once(async { Err(gone()) })).boxed()
            }
            WatchFault::GoneLater => lines.take(1).map(move |_| error(410, "Expired")).boxed(),
            WatchFault::Error => lines.take(1).map(move |_| error(500, "InternalError")).boxed(),
            WatchFault::Silence => stream::once(async {
                tokio::time::sleep(SILENCE).await;
                Err(gone())
            })
            .boxed(),
            WatchFault::GoneAtOnce => stream::empty().boxed(),
        };
        let body = StreamBody::new(lines.map(|line| line.map(Frame::data)));
        Ok(Response::from_parts(clean(head), body.boxed_unsync()))
    }
}
