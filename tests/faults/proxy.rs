//! How does a request go wrong?
//!
//! HTTP/1.1 over TLS on loopback, one door for each operator, so that two can be told apart. What comes in is passed on to
//! the real API server and written down; at one request of the run, the fault happens. Writes are numbered, reads and
//! watches each for themselves. Not numbered are what the lease needs (two leaders are another sweep) and Events (nothing
//! depends on them, and how many there are depends on the clock).

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::request::Parts;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::answers::{Answer, clean, full};
use crate::asked::{Asked, Class, classify, is_watch};
use crate::fault::Fault;

mod looks;
mod writes;

/// What the proxy asks of the run.
pub enum Order {
    /// The operator is to be killed; say when it is dead.
    Kill { done: oneshot::Sender<()> },
    /// The operator is to stand still; say when it does.
    Stop { done: oneshot::Sender<()> },
}

/// Something that happens beside, when a request is met.
pub struct Beside {
    /// At which request. It happens once.
    pub when: fn(&Asked) -> bool,
    /// Before it is passed on, or after.
    pub before: bool,
    pub act: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

/// Where to make the leader stand still, in the sweep of two leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// At which write of the first leader.
    pub at: usize,
    pub when: FreezeWhen,
}

/// On which side of the API server the write is when the leader stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeWhen {
    /// It has been carried out; the answer waits for the leader to wake.
    After,
    /// It has left the leader and not arrived; it arrives with the leader's awakening.
    Before,
}

/// The proxy of one run.
pub struct Proxy {
    client: Client,
    fault: Option<Fault>,
    freeze: Option<Freeze>,
    beside: Option<Beside>,
    book: Mutex<Book>,
    orders: mpsc::UnboundedSender<Order>,
    thaw: tokio::sync::watch::Sender<bool>,
}

#[derive(Default)]
struct Book {
    asked: Vec<Asked>,
    counts: [usize; 3],
    fired: Option<Instant>,
    /// A write is on its way, and its sender waits for it no longer.
    stalls: bool,
    beside_done: bool,
}

/// Where one operator reaches the proxy.
pub struct Door {
    pub who: usize,
    pub address: SocketAddr,
}

impl Door {
    /// The certificate to trust.
    pub fn authority(&self) -> &'static str {
        &CERTIFICATE.0
    }
}

static CERTIFICATE: LazyLock<(String, Arc<rustls::ServerConfig>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (made.cert.pem(), Arc::new(config))
});

impl Proxy {
    /// A proxy in front of the API server of this client.
    pub fn new(
        client: Client,
        fault: Option<Fault>,
        freeze: Option<Freeze>,
        beside: Option<Beside>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Order>) {
        let (orders, received) = mpsc::unbounded_channel();
        let (thaw, _) = tokio::sync::watch::channel(false);
        (Arc::new(Self { client, fault, freeze, beside, book: Mutex::default(), orders, thaw }), received)
    }

    /// Opens a door. It stays open as long as the proxy lives.
    pub async fn open(self: &Arc<Self>, who: usize) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Ok(accepted) = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await else {
                    if proxy.strong_count() == 0 {
                        return;
                    }
                    continue;
                };
                let (Ok((stream, _)), Some(proxy)) = (accepted, proxy.upgrade()) else { return };
                tokio::spawn(proxy.serve(stream, who));
            }
        });
        Door { who, address }
    }

    /// When the fault happened.
    pub fn fired(&self) -> Option<Instant> {
        self.book.lock().unwrap().fired
    }

    /// A write is still on its way, and its sender waits for it no longer.
    pub fn stalls(&self) -> bool {
        self.book.lock().unwrap().stalls
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.book.lock().unwrap().asked.clone()
    }

    /// When a write was asked last, or was carried out.
    pub fn last_write(&self) -> Option<Instant> {
        let book = self.book.lock().unwrap();
        let writes = book.asked.iter().filter(|asked| asked.class == Class::Write);
        writes.flat_map(|asked| asked.delivered.iter().map(|(at, ..)| *at).chain([asked.at])).max()
    }

    /// Who holds the lease, by what was answered to whom.
    pub fn leads(&self, who: usize) -> bool {
        let book = self.book.lock().unwrap();
        let lease = |asked: &&Asked| asked.class == Class::Lease && asked.method != Method::GET && asked.is_done();
        book.asked.iter().rev().find(lease).is_some_and(|asked| asked.who == who)
    }

    /// How many watches were opened.
    pub fn watches(&self) -> usize {
        self.book.lock().unwrap().counts[Class::Watch as usize]
    }

    /// Lets what was held with the leader go on.
    pub fn thaw(&self) {
        self.thaw.send_replace(true);
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, who: usize) {
        // Whatever is closed from this side is closed with a reset.
        let _ = stream.set_zero_linger();
        let _ = stream.set_nodelay(true);
        let Ok(stream) = TlsAcceptor::from(CERTIFICATE.1.clone()).accept(stream).await else { return };
        let service = service_fn(move |request| self.clone().answer(who, request));
        // How a connection ends is the operator's affair.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self: Arc<Self>, who: usize, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let (index, asked) = self.note(who, &parts, &body);
        let answer = match (asked.class, self.fault) {
            // In a task of its own: that the operator hangs up does not stop it.
            (Class::Write, _) => {
                let proxy = self.clone();
                let written = tokio::spawn(async move { proxy.write(index, &asked, parts, body).await });
                written.await.map_err(std::io::Error::other)?
            }
            (Class::Read, Some(Fault::Read(at, kind))) if at == asked.number => {
                self.fire();
                self.broken_read(kind, index, parts, body).await
            }
            (Class::Watch, Some(Fault::Watch(at, kind))) if at == asked.number => {
                self.fire();
                self.broken_watch(kind, parts).await
            }
            (Class::Watch, _) => self.watch(parts).await,
            (Class::Lease, _) if is_watch(&asked.query) => self.watch(parts).await,
            (Class::Read | Class::Lease | Class::Event, _) => self.whole(index, parts, body).await,
        };
        let mut book = self.book.lock().unwrap();
        book.asked[index].told = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        drop(book);
        answer
    }

    fn note(&self, who: usize, parts: &Parts, body: &Bytes) -> (usize, Asked) {
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        let class = classify(&parts.method, &path, &query, &body);
        let mut book = self.book.lock().unwrap();
        let number = match class {
            Class::Write | Class::Read | Class::Watch => {
                book.counts[class as usize] += 1;
                book.counts[class as usize]
            }
            Class::Lease | Class::Event => 0,
        };
        let (method, at) = (parts.method.clone(), Instant::now());
        let asked = Asked { who, class, number, method, path, query, body, at, delivered: Vec::new(), told: None };
        book.asked.push(asked.clone());
        (book.asked.len() - 1, asked)
    }

    fn fire(&self) {
        self.book.lock().unwrap().fired.get_or_insert_with(Instant::now);
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, told) = oneshot::channel();
        if self.orders.send(order(done)).is_ok() {
            let _ = told.await;
        }
    }

    async fn watch(&self, parts: Parts) -> Answer {
        let (head, body) = self.pass(parts, Bytes::new()).await?.into_parts();
        Ok(Response::from_parts(clean(head), body.map_err(std::io::Error::other).boxed_unsync()))
    }

    /// Passes the request on, and waits for the whole answer.
    async fn whole(&self, index: usize, parts: Parts, body: Bytes) -> Answer {
        let (head, body) = self.pass(parts, body).await?.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let mut book = self.book.lock().unwrap();
        let asked = &mut book.asked[index];
        let said = match asked.class {
            Class::Write => serde_json::from_slice(&body).unwrap_or(Value::Null),
            Class::Read | Class::Watch | Class::Lease | Class::Event => Value::Null,
        };
        asked.delivered.push((Instant::now(), head.status.as_u16(), said));
        Ok(Response::from_parts(clean(head), full(body)))
    }

    async fn pass(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, std::io::Error> {
        let mut request = Request::builder().method(parts.method).uri(parts.uri.path_and_query().unwrap().as_str());
        // Who asks is told by the door; to the API server all are its administrator.
        let ours = [header::HOST, header::AUTHORIZATION, header::ACCEPT_ENCODING, header::CONNECTION];
        for (name, value) in parts.headers.iter().filter(|(name, _)| !ours.contains(name)) {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body.to_vec())).unwrap();
        self.client.send(request).await.map_err(std::io::Error::other)
    }
}
