//! What does a person want to know or do? The verbs of `rso`, one file each.
//!
//! A verb talks to the API server with the person's own rights and never through the operator. Data goes to stdout,
//! progress to stderr, and neither by `print!`: that panics where nobody reads.

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
pub use flags::{Connection, DryRun, Output};

use self::show::terminal;
use self::verbs::{backup, completions, doctor, drift, resize, restore, status, uninstall};
use crate::controller::RunError;

/// Parses, dispatches, and turns a failure into a message and an exit code.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let program = words.first().cloned().unwrap_or_else(|| "rso".into());
    let Cli { command, connection } = match args::parse(words) {
        Ok(cli) => cli,
        // clap writes help to stdout and mistakes to stderr; a closed pipe is nothing to report.
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let ended = match command {
        Command::Status(args) => block_on(status::run(&args, &connection)),
        Command::Resize(args) => block_on(resize::run(&args, &connection)),
        Command::Backup(args) => block_on(backup::run(&args, &connection)),
        Command::Restore(args) => block_on(restore::run(&args, &connection)),
        Command::Doctor(args) => block_on(doctor::run(&args, &connection)),
        Command::Drift(args) => block_on(drift::run(&args, &connection)),
        Command::Uninstall(args) => block_on(uninstall::run(&args, &connection)),
        Command::Completions(args) => connection
            .unused("completions")
            .and_then(|()| completions::run(&args, args::command(Path::new("rso")), program.as_ref())),
        Command::Controller(args) => block_on_several(controller(*args, &connection)),
        Command::Csi(args) => block_on(csi(args, &connection)),
    };
    match ended.and_then(terminal::answered) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::say(&format!("error: {failure}"));
            failure.exit.into()
        }
    }
}

/// The operator, and beside it the webhook.
async fn controller(args: args::Controller, connection: &Connection) -> Result<Exit, Failure> {
    let args::Controller { operator, webhook } = args;
    let source = connection.of_operator()?;
    let ended = crate::controller::run(operator, &source, |context, stop| {
        let ground = crate::webhook::Ground {
            client: context.client.clone(),
            namespace: context.ground.namespace.clone(),
            leadership: context.leadership.clone(),
            cache: context.cache.clone(),
            recorder: context.recorder.clone(),
            telemetry: context.telemetry.clone(),
            limits: context.limits.clone(),
        };
        async move { crate::webhook::run(webhook, ground, stop).await.map_err(Into::into) }
    })
    .await;
    ended.map(|()| Exit::Yes).map_err(of_operator)
}

/// A flag that cannot be read and a cluster that cannot be found are not the operator's fault.
fn of_operator(error: RunError) -> Failure {
    let what = crate::cluster::client::chain(&error);
    match error {
        RunError::Connect(error) => error.into(),
        RunError::Log(_) | RunError::Driver(_) => Failure::usage(what),
        RunError::Signals(_)
        | RunError::Kubelets(_)
        | RunError::Serve(_)
        | RunError::Watch
        | RunError::Beside(_)
        | RunError::LostLease => Failure::no(what),
    }
}

/// A role logs to stderr, as JSON; `RUST_LOG` says how much.
async fn csi(args: crate::csi::Args, connection: &Connection) -> Result<Exit, Failure> {
    connection.unused("csi")?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let lines = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr);
    lines.log_internal_errors(false).init();
    let ended = crate::csi::run(args).await;
    ended.map(|()| Exit::Yes).map_err(|error| Failure::no(crate::csi::fault::chain(&error)))
}

/// A person's verb needs one thread.
fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    block(&mut tokio::runtime::Builder::new_current_thread(), verb)
}

/// The operator has a thread for its passes and two for the rest: the lease is renewed, and probes are answered, while a pass or
/// a question takes its time. What may take long goes to threads of its own, few of them.
fn block_on_several(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    block(tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(8), verb)
}

fn block(
    runtime: &mut tokio::runtime::Builder,
    verb: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let runtime = runtime.enable_all().build();
    runtime.map_err(|error| Failure::no(format!("failed to start the runtime: {error}")))?.block_on(verb)
}
