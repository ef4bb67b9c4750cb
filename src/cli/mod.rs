//! The command line of `rso`: runs a verb or a program, and turns a failure into a message and an exit code.
//!
//! A verb (`verbs/`) sends requests to the API server with the user's own permissions, never through the operator. It reads
//! from the cluster with `read/` and writes to the terminal with `show/`: data to stdout, progress to stderr, and neither
//! with `print!`, which panics if the stream is closed.

pub mod args;
mod failure;
mod flags;
mod read;
mod show;
mod verbs;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

pub use args::{Cli, Command};
pub use failure::{Exit, Failure};
pub use flags::Connection;

use self::show::terminal;
use self::verbs::{backup, completions, doctor, drift, explain, resize, restore, status, uninstall};
use crate::operator::RunError;

/// Parses the command line, runs the verb, and turns a failure into a message and an exit code.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let program = words.first().cloned().unwrap_or_else(|| "rso".into());
    let Cli { command, connection } = match args::parse(words) {
        Ok(cli) => cli,
        // clap writes help to stdout and errors to stderr; a closed pipe is not an error.
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let ended = match command {
        Command::Status(args) => block_on(status::run(&args, &connection)),
        Command::Explain(args) => block_on(explain::run(&args, &connection)),
        Command::Resize(args) => block_on(resize::run(&args, &connection)),
        Command::Backup(args) => block_on(backup::run(&args, &connection)),
        Command::Restore(args) => block_on(restore::run(&args, &connection)),
        Command::Doctor(args) => block_on(doctor::run(&args, &connection)),
        Command::Drift(args) => block_on(drift::run(&args, &connection)),
        Command::Uninstall(args) => block_on(uninstall::run(&args, &connection)),
        Command::Completions(args) => connection
            .reject_all("completions")
            .and_then(|()| completions::run(&args, args::command(Path::new("rso")), program.as_ref())),
        Command::Controller(args) => block_on_several(operator(*args, &connection)),
        Command::Csi(args) => block_on(csi(args, &connection)),
    };
    match ended.and_then(terminal::final_exit) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::say(&format!("error: {failure}"));
            failure.exit.into()
        }
    }
}

/// Runs the operator.
async fn operator(args: crate::operator::Args, connection: &Connection) -> Result<Exit, Failure> {
    let ended = crate::operator::run(args, &connection.operator_source()?).await;
    ended.map(|()| Exit::Success).map_err(operator_failure)
}

/// The failure of the operator: an invalid flag and an unreachable cluster have exit codes of their own.
fn operator_failure(error: RunError) -> Failure {
    let message = crate::cluster::client::chain(&error);
    match error {
        RunError::Connect(error) => error.into(),
        RunError::Log(_) | RunError::Driver(_) => Failure::usage(message),
        RunError::Signals(_)
        | RunError::Kubelets(_)
        | RunError::Serve(_)
        | RunError::Controller(_)
        | RunError::Webhook(_) => Failure::negative(message),
    }
}

/// Runs the CSI driver. It logs JSON to stderr; `RUST_LOG` sets the filter.
async fn csi(args: crate::csi::Args, connection: &Connection) -> Result<Exit, Failure> {
    connection.reject_all("csi")?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let lines = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr);
    lines.log_internal_errors(false).init();
    let ended = crate::csi::run(args).await;
    ended.map(|()| Exit::Success).map_err(|error| Failure::negative(crate::csi::error::chain(&error)))
}

/// Runs a verb on one thread.
fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    block(&mut tokio::runtime::Builder::new_current_thread(), verb)
}

/// Runs the operator on a thread for its reconciliations and two for the rest: it renews the lease and answers probes while a
/// reconciliation or an admission request takes long. Blocking work runs on a few threads of its own.
fn block_on_several(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    block(tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(8), verb)
}

fn block(
    runtime: &mut tokio::runtime::Builder,
    verb: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let runtime = runtime.enable_all().build();
    runtime.map_err(|error| Failure::negative(format!("failed to start the runtime: {error}")))?.block_on(verb)
}
