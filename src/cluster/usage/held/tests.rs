use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::api::percent::Percent;

const HELD: &str = r#"[{"pvc_name":"data-db-0","all_bytes":10,"free_bytes":5,"rate_bytes":7,"waited_ms":1}]"#;
const PLAIN: &str = r#"[{"pvc_name":"data-db-0","all_bytes":10,"free_bytes":5}]"#;

fn any(_: IpAddr) -> bool {
    true
}

fn query(wait: u32) -> HeldQuery {
    HeldQuery { wait, full: Percent::whole(80) }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A foreign agent on loopback: after `delay`, it sends this and closes the connection. Counts its requests.
async fn agent(delay: Duration, text: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::AcqRel);
            tokio::spawn(respond(stream, delay, text.clone()));
        }
    });
    (address, requests)
}

async fn respond(mut stream: TcpStream, delay: Duration, text: String) {
    let mut request = vec![0; 1_024];
    let read = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    assert!(request.starts_with("GET /disk"), "{request}");
    tokio::time::sleep(delay).await;
    // The client may have gone.
    let _ = stream.write_all(text.as_bytes()).await;
}

const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn an_agent_that_does_not_hold_a_request_is_recognized_and_polled_instead() {
    let check = async |delay: Duration, text: String, expected: Option<Unheld>, has_volumes: bool| {
        let agents = Agents::at(any);
        let (address, requests) = agent(delay, text.clone()).await;
        assert!(agents.may_hold(&address));
        let (why, volumes) = match agents.hold(address, query(1)).await {
            Outcome::Held(volumes) => (None, volumes),
            Outcome::Unheld(why, volumes) => (Some(why), volumes),
        };
        assert_eq!((why, !volumes.is_empty()), (expected, has_volumes), "{text}");
        assert_eq!(agents.may_hold(&address), expected.is_none(), "{text}");
        assert_eq!(requests.load(Ordering::Acquire), 1, "{text}");
    };
    check(AT_ONCE, ok(HELD), None, true).await;
    check(Duration::from_millis(1_100), ok(HELD), None, true).await;
    check(AT_ONCE, ok(PLAIN), Some(Unheld::Older), true).await;
    check(NEVER, String::new(), Some(Unheld::Silent), false).await;
    check(AT_ONCE, String::new(), Some(Unheld::Closed), false).await;
    check(AT_ONCE, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{".to_owned(), Some(Unheld::Closed), false).await;
    check(AT_ONCE, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(), Some(Unheld::Busy), false).await;
    check(AT_ONCE, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n".to_owned(), Some(Unheld::Refused), false).await;
    check(AT_ONCE, ok("{}"), Some(Unheld::Refused), false).await;
    check(AT_ONCE, "SSH-2.0-OpenSSH_9.6\r\n".to_owned(), Some(Unheld::Refused), false).await;
    // As the plain answer is: the error of a volume hides no other.
    let failed = format!("HTTP/1.1 500 Oh\r\nContent-Length: {}\r\n\r\n{HELD}", HELD.len());
    check(AT_ONCE, failed, None, true).await;
}

#[tokio::test]
async fn an_agent_whose_address_is_gone_or_not_allowed_is_silent() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = Outcome::Unheld(Unheld::Silent, Vec::new());
    assert_eq!(Agents::at(any).hold(unused, query(1)).await, silent);
    let (address, requests) = agent(AT_ONCE, ok(HELD)).await;
    assert_eq!(Agents::default().hold(address, query(1)).await, silent, "loopback is the operator's own Pod");
    assert_eq!(requests.load(Ordering::Acquire), 0);
}

/// Asks an agent as the controller does, for that time. Returns the number of requests, and why it gave up.
async fn follow(agents: &Agents, address: SocketAddr, time: Duration) -> Option<Unheld> {
    let (start, mut pace) = (Instant::now(), Pace::default());
    while start.elapsed() < time {
        let asked = Instant::now();
        match agents.hold(address, query(pace.wait(0))).await {
            Outcome::Held(_) => match pace.after(asked.elapsed()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    agents.poll_instead(&address);
                    return Some(Unheld::AtOnce);
                }
            },
            Outcome::Unheld(why, _) => return Some(why),
        }
    }
    None
}

#[tokio::test]
async fn an_agent_that_answers_at_once_for_ever_is_asked_once_a_second_and_then_polled() {
    let (agents, (address, requests)) = (Agents::at(any), agent(AT_ONCE, ok(HELD)).await);
    let start = Instant::now();
    assert_eq!(follow(&agents, address, Duration::from_secs(60)).await, Some(Unheld::AtOnce));
    let count = requests.load(Ordering::Acquire);
    assert_eq!(count, 5);
    assert!(start.elapsed() >= Duration::from_secs(4), "{count} requests in {:?}", start.elapsed());
    assert!(!agents.may_hold(&address));
}

#[tokio::test]
async fn an_older_agent_is_not_asked_to_hold_a_request_again_and_again() {
    let (agents, (address, requests)) = (Agents::at(any), agent(AT_ONCE, ok(PLAIN)).await);
    for _ in 0..50 {
        if agents.may_hold(&address) {
            assert_eq!(follow(&agents, address, NEVER).await, Some(Unheld::Older));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // After a pause of 1 s, then of 2 s.
    assert_eq!(requests.load(Ordering::Acquire), 2);
}

#[test]
fn the_first_request_is_short_and_the_others_are_spread() {
    let mut pace = Pace::default();
    assert_eq!([0, 1, 6, 7].map(|spread| pace.wait(spread)), [5; 4]);
    assert_eq!(pace.after(Duration::from_secs(5)), Some(Duration::ZERO));
    let waits: Vec<u32> = (0..1_000).map(|spread| pace.wait(spread)).collect();
    assert_eq!((waits.iter().min(), waits.iter().max()), (Some(&52), Some(&58)));
    // A thousand agents: at most twenty requests a second, and the last before the reading is too old.
    let mean = f64::from(waits.iter().sum::<u32>()) / 1_000.0;
    assert!(1_000.0 / mean < 18.5, "a request every {mean} s");
    assert!(Duration::from_secs(u64::from(MAX_WAIT)) + AGENT_DEADLINE <= Duration::from_secs(60));
    const { assert!(MAX_WAIT <= HeldQuery::MAX_WAIT) };
}

#[test]
fn early_answers_in_a_row_end_the_held_requests() {
    let early = Duration::from_millis(10);
    let mut pace = Pace::default();
    for _ in 0..4 {
        assert_eq!(pace.after(early), Some(Duration::from_millis(990)));
    }
    assert_eq!(pace.after(Duration::from_secs(2)), Some(Duration::ZERO), "the count begins again");
    for _ in 0..4 {
        assert!(pace.after(early).is_some());
    }
    assert_eq!(pace.after(early), None);
}
