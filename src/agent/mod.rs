//! `rso-agent`: how full are the volumes of this pod? A sidecar that answers `GET /disk`, and nothing else.
//!
//! It has no token and no client, reads only the figures of the filesystems it was given, and is written on the standard
//! library alone, so that it costs next to nothing beside every pod.
//!
//! ```text
//!  operator ──GET :1251/disk──► one of a few connections ──► one probe for each volume ──statvfs──► filesystem
//! ```
//!
//! A filesystem may hang (NFS whose server is gone). Each volume has its own probe, so a hanging one is told as an error
//! within a second and holds up neither the answer nor the other volumes.

mod args;
mod disk;
mod http;
mod serve;

use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use args::{Command, Config, Listen};

use crate::api::names::AGENT_PORT;

const USAGE: u8 = 2;

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("failed to listen on {address}")]
    Bind { address: String, source: io::Error },
    #[error("failed to handle the signal to end")]
    Signal(#[source] io::Error),
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
}

/// Runs the program with these arguments, the first of them left out.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(Command::Help) => say(&mut io::stdout(), args::HELP, ExitCode::SUCCESS),
        Ok(Command::Version) => {
            say(&mut io::stdout(), concat!("rso-agent ", env!("CARGO_PKG_VERSION")), ExitCode::SUCCESS)
        }
        Ok(Command::Run(config)) => match run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(&mut io::stderr(), &chain(&error), ExitCode::FAILURE),
        },
        Err(error) => say(&mut io::stderr(), &format!("{error}\n\n{}", args::HELP), ExitCode::from(USAGE)),
    }
}

fn run(config: Config) -> Result<(), StartError> {
    // As process 1 of a container, a program is not ended by a signal that it does not handle. Nothing is held that would
    // have to be put in order, so the handler itself ends the process.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 0, always).map_err(StartError::Signal)?;
    }
    let listener = bind(&config.listen)?;
    let probes = config.volumes.into_iter().map(disk::Probe::start).collect::<Result<Vec<_>, _>>();
    let probes = Arc::new(probes.map_err(StartError::Thread)?);
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    say(&mut io::stderr(), &format!("rso-agent {} listens on {address}", env!("CARGO_PKG_VERSION")), ());
    serve::forever(listener, probes).map_err(StartError::Thread)
}

/// Without an address both families are tried: a cluster may have only one of them.
fn bind(listen: &Listen) -> Result<TcpListener, StartError> {
    let bound = match listen {
        Listen::Default => {
            TcpListener::bind(("::", AGENT_PORT)).or_else(|_| TcpListener::bind(("0.0.0.0", AGENT_PORT)))
        }
        Listen::At(address) => TcpListener::bind(address),
    };
    bound.map_err(|source| StartError::Bind { address: listen.to_string(), source })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Tells it, if anybody listens; the rest of the program does not depend on that.
fn say<T>(to: &mut impl Write, what: &str, then: T) -> T {
    let _ = writeln!(to, "{what}");
    then
}
