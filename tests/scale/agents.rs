//! Who says how full the volumes are, where there are too many of them for real ones? One listener at all addresses of pods;
//! it answers as the agent of the pod that has the address, and holds a request as an agent does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rso::api::bytes::Bytes;
use rso::api::held::HeldQuery;
use rso::api::names::AGENT_PORT;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::addresses::{address, key, measured_claim};

/// How large the volumes are at first.
pub const SIZE: &str = "10Gi";
/// How full they are at first, in percent.
const IDLE: u64 = 40;
/// How full one is that has crossed the threshold, 80 % by default.
const FULL: u64 = 85;

/// The volumes that are measured, by the address of their pod. Clones are the same.
#[derive(Clone, Default)]
pub struct Agents(Arc<Mutex<HashMap<IpAddr, Volume>>>);

struct Volume {
    namespace: String,
    claim: String,
    size: u64,
    used: u64,
    asked: bool,
}

impl Agents {
    /// Listens until the test ends.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind(("0.0.0.0", AGENT_PORT)).await.unwrap();
        let agents = Self::default();
        let answering = agents.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let agents = answering.clone();
                // A connection that breaks is the other side's affair.
                tokio::spawn(async move { agents.answer(stream).await.ok() });
            }
        });
        agents
    }

    /// Answers the address of the pod, if it should have an agent.
    pub fn start(&self, pod: &Value) -> Option<String> {
        let claim = measured_claim(pod)?;
        let namespace = key(pod).0;
        let mut volumes = self.0.lock().unwrap();
        if let Some((address, _)) = volumes.iter().find(|(_, volume)| volume.is(&namespace, &claim)) {
            return Some(address.to_string());
        }
        let address = address(u32::try_from(volumes.len()).unwrap());
        let size = SIZE.parse::<Bytes>().unwrap().0;
        let volume = Volume { namespace, claim, size, used: share(size, IDLE), asked: false };
        volumes.insert(address.parse().unwrap(), volume);
        Some(address)
    }

    /// A pod is gone. The answers for its volume stay: no pod of this test should go.
    pub fn end(&self, _pod: &Value) {}

    /// The filesystem of a claim grows.
    pub async fn grow(&self, claim: &Value, size: Bytes) {
        let (namespace, name) = key(claim);
        self.change(&namespace, &name, |volume| volume.size = size.0);
    }

    /// The volume crosses its threshold.
    pub fn fill(&self, namespace: &str, claim: &str) {
        self.change(namespace, claim, |volume| volume.used = share(volume.size, FULL));
    }

    /// How many volumes there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How many volumes have been asked about.
    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().values().filter(|volume| volume.asked).count()
    }

    /// Counts from the start who is asked.
    pub fn forget_asked(&self) {
        self.0.lock().unwrap().values_mut().for_each(|volume| volume.asked = false);
    }

    fn change(&self, namespace: &str, claim: &str, change: impl FnOnce(&mut Volume)) {
        let mut volumes = self.0.lock().unwrap();
        if let Some(volume) = volumes.values_mut().find(|volume| volume.is(namespace, claim)) {
            change(volume);
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (mut head, mut piece) = (Vec::new(), [0; 512]);
        while !head.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                return Ok(());
            }
            head.extend_from_slice(&piece[..count]);
        }
        let agent = stream.local_addr()?.ip();
        let tell = || self.0.lock().unwrap().get_mut(&agent).map_or(Value::Null, Volume::tell);
        let body = match held(&head) {
            Some(query) => {
                let waited = self.hold(agent, query, &stream).await?;
                let mut body = tell();
                (body[0]["rate_bytes"], body[0]["waited_ms"]) = (json!(0), json!(waited.as_millis()));
                body
            }
            None => tell(),
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await
    }
}

impl Agents {
    /// Waits until the volume is as full as is asked, its size is another one, the time is over, or the client is gone.
    async fn hold(&self, agent: IpAddr, query: HeldQuery, client: &TcpStream) -> std::io::Result<Duration> {
        let now = || self.0.lock().unwrap().get(&agent).map_or((0, 0), |volume| (volume.size, volume.used));
        let (began, (size, used)) = (Instant::now(), now());
        let was_full = query.full.is_reached(used, size);
        let is_news =
            |(now_size, now_used)| now_size != size || (!was_full && query.full.is_reached(now_used, now_size));
        while began.elapsed() < Duration::from_secs(u64::from(query.wait)) && !is_news(now()) {
            let mut byte = [0];
            let pause = tokio::time::timeout(Duration::from_millis(100), client.peek(&mut byte));
            if let Ok(sent) = pause.await {
                sent.and_then(|count| if count == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) })?;
            }
        }
        Ok(began.elapsed())
    }
}

/// The query of a held request, if it is one.
fn held(head: &[u8]) -> Option<HeldQuery> {
    let head = String::from_utf8_lossy(head);
    let target = head.split(' ').nth(1)?;
    HeldQuery::parse(target.split_once('?')?.1).ok().flatten()
}

impl Volume {
    fn is(&self, namespace: &str, claim: &str) -> bool {
        self.namespace == namespace && self.claim == claim
    }

    /// What `GET /disk` of the agent answers.
    fn tell(&mut self) -> Value {
        self.asked = true;
        let free = self.size - self.used;
        json!([{
            "dir": "/data", "pvc_name": self.claim, "all_bytes": self.size, "free_bytes": free,
            "available_bytes": free, "inodes": 5_000_000, "inodes_free": 4_900_000,
        }])
    }
}

fn share(size: u64, percent: u64) -> u64 {
    size / 100 * percent
}
