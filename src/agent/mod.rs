//! The agent `rso-agent`: a sidecar that serves the usage of the volumes of its Pod at `GET /disk`.
//!
//! It has no token and no Kubernetes client, and reads only the usage of the filesystems on its command line. It uses threads
//! and sockets of the standard library and no async runtime, so it needs few resources in each Pod.
//!
//! ```text
//!  operator ──GET :1251/disk──► one of a few connections ──► one probe for each volume ──statvfs──► filesystem
//! ```
//!
//! A client can also leave the question open, at `GET /disk?wait=…&full=…`: the agent then answers when a volume has reached
//! that share or has changed its size.
//!
//! A filesystem can block (NFS without its server). Each volume has its own probe, so a blocked filesystem is reported as an
//! error within a second and delays neither the response nor the other volumes.

mod args;
mod disk;
mod held;
mod http;
mod news;
mod samples;
mod serve;

use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use args::{Command, Config, ListenAddress};

use crate::api::names::AGENT_PORT;

/// The exit code for an invalid command line.
const USAGE_EXIT_CODE: u8 = 2;

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("failed to listen on {address}")]
    Bind { address: String, source: io::Error },
    #[error("failed to register a signal handler")]
    Signal(#[source] io::Error),
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
}

/// Runs the program with these arguments, without the name of the program.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(Command::Help) => print(&mut io::stdout(), args::HELP_TEXT, ExitCode::SUCCESS),
        Ok(Command::Version) => {
            print(&mut io::stdout(), concat!("rso-agent ", env!("CARGO_PKG_VERSION")), ExitCode::SUCCESS)
        }
        Ok(Command::Run(config)) => match run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => print(&mut io::stderr(), &chain(&error), ExitCode::FAILURE),
        },
        Err(error) => {
            print(&mut io::stderr(), &format!("{error}\n\n{}", args::HELP_TEXT), ExitCode::from(USAGE_EXIT_CODE))
        }
    }
}

fn run(config: Config) -> Result<(), StartError> {
    // As process 1 of a container, a program ignores a signal without a handler. The agent has no state to clean up, so the
    // handler itself ends the process.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 0, always).map_err(StartError::Signal)?;
    }
    let listener = bind(&config.listen)?;
    let probes = config.volumes.into_iter().map(disk::Probe::start).collect::<Result<Vec<_>, _>>();
    let service = serve::Service { probes: probes.map_err(StartError::Thread)?, holds: held::Holds::default() };
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    print(&mut io::stderr(), &format!("rso-agent {} listening on {address}", env!("CARGO_PKG_VERSION")), ());
    serve::forever(listener, Arc::new(service)).map_err(StartError::Thread)
}

/// Without an address, tries both IP families, because a cluster can have only one of them.
fn bind(listen: &ListenAddress) -> Result<TcpListener, StartError> {
    let bound = match listen {
        ListenAddress::Default => {
            TcpListener::bind(("::", AGENT_PORT)).or_else(|_| TcpListener::bind(("0.0.0.0", AGENT_PORT)))
        }
        ListenAddress::At(address) => TcpListener::bind(address),
    };
    bound.map_err(|source| StartError::Bind { address: listen.to_string(), source })
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Prints a line and returns `then`. Ignores an error: the program works without its output.
fn print<T>(to: &mut impl Write, what: &str, then: T) -> T {
    let _ = writeln!(to, "{what}");
    then
}
