//! What does an answer look like that the API server did not give, or not so?

use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::header::{self, HeaderName};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

/// The body of an answer.
pub type Reply = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer; an error resets the connection.
pub type Answer = Result<Response<Reply>, std::io::Error>;

/// The connection is reset.
pub fn gone() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

/// A whole body.
pub fn full(bytes: impl Into<Bytes>) -> Reply {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Without what belongs to the connection to the server.
pub fn clean(mut head: http::response::Parts) -> http::response::Parts {
    let keep = |name: &HeaderName| *name == header::CONTENT_TYPE || *name == header::RETRY_AFTER;
    let kept: HeaderMap =
        head.headers.iter().filter(|(name, _)| keep(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    head.headers = kept;
    head.version = http::Version::HTTP_11;
    head
}

/// The same answer, promised whole and broken off in the middle.
pub async fn truncated(answer: Response<Reply>) -> Answer {
    let (mut head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let half = body.slice(..body.len() / 2);
    let rest = stream::once(async {
        // The half is to arrive before the connection breaks.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(gone())
    });
    let frames = stream::once(async move { Ok(Frame::data(half)) }).chain(rest);
    Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
}

/// The same answer, with a body that says something else: another Pod template, another size, another finalizer.
pub async fn another(answer: Response<Reply>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    let Ok(mut object) = serde_json::from_slice::<Value>(&body) else {
        return Ok(Response::from_parts(head, full(body)));
    };
    if object["kind"] == "StatefulSet" {
        object["spec"]["template"]["metadata"]["labels"]["policy"] = json!("another");
        for template in object["spec"]["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
            template["spec"]["resources"]["requests"]["storage"] = json!("1Mi");
        }
        object["metadata"]["finalizers"] = json!(["example.com/another"]);
    } else if object["metadata"].is_object() {
        object["metadata"]["labels"]["policy"] = json!("another");
    }
    Ok(Response::from_parts(head, full(object.to_string())))
}

/// The server's way to refuse.
pub fn status_object(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// A refusal.
pub fn status(code: u16, reason: &str, message: &str) -> Response<Reply> {
    let mut answer = Response::new(full(status_object(code, reason, message).to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

/// A refusal that asks to come back in a second.
pub fn later(code: u16, reason: &str, message: &str) -> Response<Reply> {
    let mut answer = status(code, reason, message);
    answer.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    answer
}
