//! The HTTP servers: `/metrics` on one port, `/livez` and `/readyz` on another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Telemetry;
use super::health::{Health, ProbeReport};
use super::port::{self, ConnectionLimits};
use super::registry::Metrics;
use super::stop::Stop;

/// Concurrent scrapes. Each may hold a whole exposition, which is megabytes where there are thousands of volumes.
const METRICS_CONNECTIONS: ConnectionLimits = ConnectionLimits { unverified: 8, verified: 0 };
/// Concurrent probes. Each holds a few kilobytes.
const HEALTH_CONNECTIONS: ConnectionLimits = ConnectionLimits { unverified: 64, verified: 0 };
/// The time for a header, which arrives in one packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest header.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// The time from the first byte to the last. By default, Prometheus gives up after ten seconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The media type of OpenMetrics text.
const OPENMETRICS_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port could not be bound.
    #[error("failed to listen on {0}; check that no other process uses the port")]
    Listen(SocketAddr, #[source] io::Error),
}

/// Serves `/metrics` until the stop.
///
/// # Errors
/// When the port cannot be bound.
pub async fn metrics(address: SocketAddr, telemetry: &Telemetry, stop: Stop) -> Result<(), ServeError> {
    let state = (telemetry.metrics.clone(), Arc::new(Semaphore::new(1)));
    let router = Router::new().route("/metrics", get(exposition)).with_state(state);
    serve(address, router, METRICS_CONNECTIONS, stop).await
}

/// Serves `/livez` and `/readyz`. It continues while the process stops, and then reports that it is not ready: drop it
/// at the end.
///
/// # Errors
/// When the port cannot be bound.
pub async fn health(address: SocketAddr, telemetry: &Telemetry, stop: Stop) -> Result<(), ServeError> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state((telemetry.health.clone(), stop));
    let (_never, forever) = Stop::by_hand();
    serve(address, router, HEALTH_CONNECTIONS, forever).await
}

/// Each connection gets one response and ends: no client can keep a connection for long, or many of them.
async fn serve(address: SocketAddr, router: Router, limits: ConnectionLimits, stop: Stop) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen(address, source))?;
    tokio::select! {
        () = port::accept(&listener, limits, |stream, _| handle_connection(stream, router.clone())) => {}
        () = stop.wait() => {}
    }
    Ok(())
}

async fn handle_connection(stream: TcpStream, router: Router) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false);
    let served = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // After a connection breaks or times out, the client tries again.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
}

/// With thousands of volumes, an exposition takes tenths of a second: it is rendered on a thread for blocking work, one at a
/// time, so scrapes delay neither the Lease nor the probes.
async fn exposition(State((metrics, turn)): State<(Arc<Metrics>, Arc<Semaphore>)>) -> Response {
    let turn = turn.acquire_owned().await;
    let render = move || {
        let text = metrics.render();
        // Not earlier: a client that gives up does not stop the rendering.
        drop(turn);
        text
    };
    match tokio::task::spawn_blocking(render).await {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS_MEDIA_TYPE)], text).into_response(),
        // A panic has been reported.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn livez(State((health, _)): State<(Arc<Health>, Stop)>) -> Response {
    probe_response(health.live())
}

async fn readyz(State((health, stop)): State<(Arc<Health>, Stop)>) -> Response {
    let mut report = health.ready();
    if stop.is_set() {
        report.healthy = false;
        report.lines.push("[-]stopping".to_owned());
    }
    probe_response(report)
}

fn probe_response(report: ProbeReport) -> Response {
    let code = if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = report.lines.join("\n");
    text.push_str(if report.healthy { "\nok\n" } else { "\nfailed\n" });
    (code, text.trim_start().to_owned()).into_response()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    async fn get_path(router: Router, path: &str) -> (u16, String) {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_that_stops_is_alive_but_not_ready() {
        let health = Arc::new(Health::default());
        health.condition("caches", true);
        let (stopper, stop) = Stop::by_hand();
        let router = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state((health, stop));
        assert_eq!(get_path(router.clone(), "/readyz").await, (200, "[+]caches ok\nok\n".to_owned()));
        stopper.stop();
        assert_eq!(get_path(router.clone(), "/readyz").await, (503, "[+]caches ok\n[-]stopping\nfailed\n".to_owned()));
        assert_eq!(get_path(router, "/livez").await, (200, "ok\n".to_owned()));
    }
}
