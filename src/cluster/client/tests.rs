use std::sync::Mutex;
use std::time::Instant;

use http::StatusCode;
use kube::core::response::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::api::objects::{CLAIMS, CONFIG_MAPS, NODES, Resource, STATEFUL_SETS};
use crate::api::write::{Dependents, Precondition};

fn a_call() -> Call {
    call("delete", &STATEFUL_SETS, None, "statefulsets shop/db".into(), Effect::Writes)
}

#[test]
fn a_dry_run_of_a_deletion_has_dry_run_in_its_body() {
    let only = Precondition { uid: "u-1".into(), resource_version: "7".to_owned() };
    assert_eq!(
        delete_options(Dependents::Orphan, &only, Run::Dry),
        json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Orphan", "dryRun": ["All"],
            "preconditions": {"uid": "u-1", "resourceVersion": "7"},
        })
    );
    assert_eq!(
        delete_options(Dependents::Background, &only, Run::Real),
        json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
            "preconditions": {"uid": "u-1", "resourceVersion": "7"},
        })
    );
}

#[test]
fn a_dry_run_of_a_deletion_has_dry_run_in_its_address_too() {
    let object = STATEFUL_SETS.of("shop", "db");
    let path = "/apis/apps/v1/namespaces/shop/statefulsets/db";
    assert_eq!(delete_path(&object, Run::Dry), format!("{path}?dryRun=All"));
    assert_eq!(delete_path(&object, Run::Real), path);
}

#[test]
fn the_two_meanings_of_409_are_distinguished() {
    let check = |reason: &str, expected: Outcome<Value>| {
        let status = Status::failure("words", reason).with_code(409);
        assert_eq!(outcome(a_call(), &status, None).unwrap(), expected, "{reason}");
    };
    check("AlreadyExists", Outcome::AlreadyExists);
    check("Conflict", Outcome::Conflict("words".into()));
    check("", Outcome::Conflict("words".into()));
}

#[test]
fn the_retry_delay_is_from_the_header_or_else_from_the_status() {
    let check = |header: Option<&'static str>, own: u32, expected: Option<u64>| {
        let mut headers = http::HeaderMap::new();
        if let Some(value) = header {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        }
        let mut status = Status::failure("busy", "TooManyRequests").with_code(429);
        let details = json!({"retryAfterSeconds": own});
        status.details = Some(serde_json::from_value(details).unwrap());
        let error = outcome::<Value>(a_call(), &status, retry_after(&headers)).unwrap_err();
        assert_eq!(error.class(), Class::Retry { after: expected.map(Duration::from_secs) });
    };
    check(Some("7"), 0, Some(7));
    check(Some("7"), 9, Some(7));
    check(None, 9, Some(9));
    check(Some("Fri, 31 Dec 1999 23:59:59 GMT"), 0, None);
    check(Some("99999"), 0, Some(60));
    check(None, 0, None);
}

#[test]
fn the_start_of_a_response_without_a_status_is_kept() {
    let read = status(StatusCode::BAD_GATEWAY, b" <html>bad gateway</html>\n");
    assert_eq!((read.code, read.message.as_str()), (502, "<html>bad gateway</html>"));
    let lying = status(StatusCode::BAD_GATEWAY, br#"{"kind":"Status","code":404,"message":"gone"}"#);
    assert_eq!(lying.code, 502);
}

#[test]
fn a_call_names_the_resource_as_rbac_does() {
    let check = |resource: &Resource, part: Option<&str>, expected: &str| {
        assert_eq!(call("get", resource, part, String::new(), Effect::Reads).resource, expected);
    };
    check(&CLAIMS, None, "persistentvolumeclaims");
    check(&STATEFUL_SETS, Some("status"), "statefulsets/status.apps");
    check(&NODES, Some("proxy/stats/summary"), "nodes/proxy");
}

/// Records what it observes.
#[derive(Default)]
struct RecordingObserver(Mutex<Vec<String>>);

impl RequestObserver for RecordingObserver {
    fn request_completed(&self, method: &Method, code: &str) {
        self.0.lock().unwrap().push(format!("{method} {code}"));
    }
    fn watch_active(&self, watch: &str) {
        self.0.lock().unwrap().push(watch.to_owned());
    }
    fn usage_requested(&self, _who: &'static str, _result: &'static str) {}
}

/// A connection that sends these pieces, one every 100 ms, and then nothing. Not an API server: only a bad network.
async fn slow_line(pieces: &'static [&'static str]) -> (Client, Arc<RecordingObserver>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = connection.read(&mut [0; 4096]).await;
                for piece in pieces {
                    if connection.write_all(piece.as_bytes()).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                std::future::pending::<()>().await;
            });
        }
    });
    let observed: Arc<RecordingObserver> = Arc::default();
    let client = Client::of(kube::Config::new(url), "rso-test", observed.clone()).unwrap();
    (client.with_deadline(Duration::from_millis(350)), observed)
}

#[tokio::test]
async fn silent_and_slow_responses_end_at_the_deadline() {
    const SILENT: &[&str] = &[];
    const TRICKLE: &[&str] = &["HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "\"a\"", ":", "1", ",", "\"b\"", ":"];
    for (pieces, counted) in [(SILENT, "GET <error>"), (TRICKLE, "GET 200")] {
        let (client, observed) = slow_line(pieces).await;
        let start = Instant::now();
        let error = client.get(&NODES.global("n")).await.unwrap_err();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_millis(900), "{took:?}");
        assert_eq!(error.class(), Class::Retry { after: None });
        assert!(chain(&error).contains("no response within"), "{}", chain(&error));
        assert_eq!(*observed.0.lock().unwrap(), [counted]);
    }
}

#[tokio::test]
async fn a_write_without_a_response_has_an_unknown_outcome_and_is_not_repeated() {
    let gateway = &["HTTP/1.1 504 Gateway Timeout\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlate"];
    let (client, observed) = slow_line(gateway).await;
    let write = Write::create(&CONFIG_MAPS, Some("a"), json!({}));
    let error = client.write(&write).await.unwrap_err();
    assert_eq!(error.class(), Class::Unknown);
    let dry = client.dry_run(&write).await.unwrap_err();
    assert_eq!(dry.class(), Class::Retry { after: None });
    assert_eq!(*observed.0.lock().unwrap(), ["POST 504", "POST 504"]);
}

#[tokio::test]
async fn the_body_of_a_watch_has_no_deadline_and_its_activity_is_observed() {
    const BOOKMARKS: &[&str] = &[
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "2\r\n{}\r\n",
        "2\r\n{}\r\n",
        "2\r\n{}\r\n",
        "2\r\n{}\r\n",
        "2\r\n{}\r\n",
        "2\r\n{}\r\n",
        "0\r\n\r\n",
    ];
    let (client, observed) = slow_line(BOOKMARKS).await;
    let request = Request::get("/api/v1/pods?watch=true").extension(OwnDeadline(Duration::from_millis(350)));
    let response = client.kube().send(request.body(Body::empty()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 12);
    let seen = observed.0.lock().unwrap();
    assert_eq!((seen[0].as_str(), seen[1].as_str(), seen.len()), ("GET 200", "/api/v1/pods", 8));
}
