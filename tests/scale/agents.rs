//! Who says how full the volumes are, where there are too many of them for real ones? One listener at all addresses of pods;
//! it answers as the agent of the pod that has the address, and holds a request as an agent does.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rso::api::bytes::Bytes;
use rso::api::held::HeldQuery;
use rso::api::names::AGENT_PORT;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::addresses::{address, key, measured_claim};

/// How full the volumes are at first, in percent.
const IDLE: u64 = 40;
/// How full one is that has crossed the threshold, 80 % by default.
const FULL: u64 = 85;

/// The volumes that are measured. Clones are the same.
#[derive(Clone)]
pub struct Agents {
    volumes: Arc<Mutex<Volumes>>,
    /// How large the volumes are at first.
    size: Bytes,
}

#[derive(Default)]
struct Volumes {
    /// By the address of their pod.
    of: HashMap<IpAddr, Volume>,
    addresses: HashMap<(String, String), IpAddr>,
    requests: u64,
}

struct Volume {
    claim: String,
    size: u64,
    used: u64,
    /// When the operator had the last answer about it, since [`Agents::forget_answers`].
    answered: Option<Instant>,
    hangs: bool,
    changed: Arc<Notify>,
}

impl Agents {
    /// Listens until the test ends. `size`: that of the volumes at first.
    pub async fn listen(size: &str) -> Self {
        let listener = TcpListener::bind(("0.0.0.0", AGENT_PORT)).await.unwrap();
        let agents = Self { volumes: Arc::default(), size: size.parse().unwrap() };
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

    /// How large the volumes are at first.
    pub const fn size(&self) -> Bytes {
        self.size
    }

    /// Answers the address of the pod, if it should have an agent.
    pub fn start(&self, pod: &Value) -> Option<String> {
        let claim = measured_claim(pod)?;
        let mut volumes = self.lock();
        let place = (key(pod).0, claim.clone());
        if let Some(address) = volumes.addresses.get(&place) {
            return Some(address.to_string());
        }
        let address = address(u32::try_from(volumes.of.len()).unwrap());
        let size = self.size.0;
        let used = share(size, IDLE);
        let volume = Volume { claim, size, used, answered: None, hangs: false, changed: Arc::default() };
        volumes.of.insert(address.parse().unwrap(), volume);
        volumes.addresses.insert(place, address.parse().unwrap());
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

    /// The agents of the namespace take requests, and answer none.
    pub fn hang(&self, namespace: &str) {
        let claims: Vec<String> = {
            let volumes = self.lock();
            let of_it = volumes.addresses.keys().filter(|(of, _)| of == namespace);
            of_it.map(|(_, claim)| claim.clone()).collect()
        };
        claims.iter().for_each(|claim| self.change(namespace, claim, |volume| volume.hangs = true));
    }

    /// How many volumes have an agent that answers.
    pub fn len(&self) -> usize {
        self.lock().of.values().filter(|volume| !volume.hangs).count()
    }

    /// How many of those have been asked about, since [`Agents::forget_answers`].
    pub fn answered(&self) -> usize {
        self.lock().of.values().filter(|volume| !volume.hangs && volume.answered.is_some()).count()
    }

    /// Counts from the start who has been asked.
    pub fn forget_answers(&self) {
        self.lock().of.values_mut().for_each(|volume| volume.answered = None);
    }

    /// The requests until now.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// The time since the answer about the volume of which there was none for the longest.
    pub fn oldest_answer(&self) -> Duration {
        let volumes = self.lock();
        let answers = volumes.of.values().filter(|volume| !volume.hangs).filter_map(|volume| volume.answered);
        answers.min().map_or(Duration::ZERO, |at| at.elapsed())
    }

    fn change(&self, namespace: &str, claim: &str, change: impl FnOnce(&mut Volume)) {
        let mut volumes = self.lock();
        let place = (namespace.to_owned(), claim.to_owned());
        let Some(address) = volumes.addresses.get(&place).copied() else { return };
        let volume = volumes.of.get_mut(&address).unwrap();
        change(volume);
        volume.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap()
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(head) = read_head(&mut stream).await? else { return Ok(()) };
        self.lock().requests += 1;
        let agent = stream.local_addr()?.ip();
        let waited = match held(&head) {
            Some(query) => Some(self.hold(agent, query, &stream).await?),
            None => None,
        };
        let body = match self.lock().of.get_mut(&agent) {
            Some(volume) if !volume.hangs => Some(volume.report(waited)),
            Some(_) => None,
            None => Some(Value::Null),
        };
        let Some(body) = body else { return is_gone(&stream).await };
        let body = body.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await
    }

    /// Waits until the volume is as full as is asked, its size is another one, the time is over, or the client is gone.
    async fn hold(&self, agent: IpAddr, query: HeldQuery, client: &TcpStream) -> io::Result<Duration> {
        let (began, (_, _, changed)) = (Instant::now(), self.state(agent));
        let end = tokio::time::Instant::now() + Duration::from_secs(u64::from(query.wait));
        let (size, used, _) = self.state(agent);
        let was_full = query.full.is_reached(used, size);
        loop {
            let change = changed.notified();
            let (now_size, now_used, _) = self.state(agent);
            if now_size != size || (!was_full && query.full.is_reached(now_used, now_size)) {
                break;
            }
            tokio::select! {
                () = change => {}
                () = tokio::time::sleep_until(end) => break,
                gone = is_gone(client) => return gone.and(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Ok(began.elapsed())
    }

    /// Size, used bytes, and what is notified when one of them is another.
    fn state(&self, agent: IpAddr) -> (u64, u64, Arc<Notify>) {
        let volumes = self.lock();
        let volume = volumes.of.get(&agent);
        volume.map_or_else(|| (0, 0, Arc::default()), |volume| (volume.size, volume.used, volume.changed.clone()))
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let (mut head, mut piece) = (Vec::new(), [0; 512]);
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&piece[..count]);
    }
    Ok(Some(head))
}

/// Waits until the client has closed the connection.
async fn is_gone(client: &TcpStream) -> io::Result<()> {
    match client.peek(&mut [0]).await? {
        0 => Ok(()),
        // It has sent more than a request, which no client of ours does.
        _ => pending().await,
    }
}

/// The query of a held request, if it is one.
fn held(head: &[u8]) -> Option<HeldQuery> {
    let head = String::from_utf8_lossy(head);
    let target = head.split(' ').nth(1)?;
    HeldQuery::parse(target.split_once('?')?.1).ok().flatten()
}

impl Volume {
    /// What `GET /disk` of the agent answers; with what an answer to a held request has besides.
    fn report(&mut self, waited: Option<Duration>) -> Value {
        self.answered = Some(Instant::now());
        let free = self.size - self.used;
        let mut volume = json!({
            "dir": "/data", "pvc_name": self.claim, "all_bytes": self.size, "free_bytes": free,
            "available_bytes": free, "inodes": 5_000_000, "inodes_free": 4_900_000,
        });
        if let Some(waited) = waited {
            (volume["rate_bytes"], volume["waited_ms"]) = (json!(0), json!(waited.as_millis()));
        }
        json!([volume])
    }
}

fn share(size: u64, percent: u64) -> u64 {
    size / 100 * percent
}
