//! The operator: builds everything once, runs controller, webhook and telemetry in one process, and drains on SIGTERM.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cluster::client::{Client, ConnectError, Source};
use crate::cluster::departures::Departures;
use crate::cluster::environment::Environment;
use crate::cluster::events;
use crate::cluster::lease::{self, Election};
use crate::cluster::usage::{Account, KubeletUse, Trust, UsageError, UsageSources};
use crate::cluster::watch::{self, Changes};
use crate::controller::{self, Context, ControllerError};
use crate::policy::drivers::DriverError;
use crate::recreate::manifest::MANAGER;
use crate::recreate::observed::Rules;
use crate::telemetry::Telemetry;
use crate::telemetry::logs::{self, LogError};
use crate::telemetry::serve::{self, ServeError};
use crate::telemetry::stop::{Stop, Stopper};
use crate::webhook;

/// The webhook ends within this after the stop.
const WEBHOOK_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);
/// The Events of the last reconciliations are sent, and the lease is released, within this.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Flags of the operator, with those of the webhook, which runs in the same process.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Flags of the operator.
    #[command(flatten)]
    pub controller: controller::Args,
    /// Flags of the webhook.
    #[command(flatten)]
    pub webhook: webhook::Args,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log could not be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A `--driver` flag is invalid.
    #[error("failed to read --driver")]
    Driver(#[from] DriverError),
    /// The signal handlers could not be installed.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
    /// There is no way to the cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The TLS client for kubelets could not be built.
    #[error("failed to prepare requests to kubelets; use --no-kubelet to do without them")]
    Kubelets(#[source] UsageError),
    /// The port could not be bound.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The controller ended.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The webhook ended.
    #[error("failed to serve the webhook")]
    Webhook(#[from] webhook::ServeError),
}

/// Runs until SIGTERM, SIGINT or an error.
///
/// # Errors
/// When it cannot start, or must not continue.
pub async fn run(args: Args, source: &Source) -> Result<(), RunError> {
    logs::init(args.controller.log_format, Some(&args.controller.log))?;
    let stop = Stop::on_signals().map_err(RunError::Signals)?;
    let parts = Parts::build(&args.controller, source).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), scope = ?args.controller.scope(), "started");
    parts.run(args, stop).await
}

/// Everything that is built once.
struct Parts {
    context: Arc<Context>,
    changes: Changes,
    election: Election,
    sender: events::Sender,
}

impl Parts {
    async fn build(args: &controller::Args, source: &Source) -> Result<Self, RunError> {
        let telemetry = Telemetry::default();
        telemetry.health.condition("caches", false);
        let client = Client::connect(source, MANAGER, Arc::new(telemetry.clone())).await?;
        let departures = Arc::new(Departures::default());
        let (cache, changes) = watch::open(&client.kube(), &args.scope(), &args.pod_namespace, &departures);
        let (election, leadership) = Election::new(&client, &args.pod_namespace, lease::identity(&args.pod_name))?;
        let metrics = telemetry.metrics.clone();
        let (recorder, sender) = events::recorder(client.clone(), &args.pod_name, move || metrics.event_dropped());
        let namespace = args.pod_namespace.clone();
        let context = Arc::new(Context {
            environment: Environment { client: client.clone(), namespace, rules: rules(args), departures },
            sources: UsageSources::new(&client, kubelets(args)).map_err(RunError::Kubelets)?,
            client,
            leadership,
            cache,
            recorder,
            telemetry,
            limits: args.limits(),
            drivers: args.drivers()?,
            memories: controller::memory::Memories::default(),
            measuring: controller::Measuring::default(),
            nudges: controller::Nudges::new(!args.no_nudge),
            recreations: controller::limit::RecreationLimit::default(),
        });
        Ok(Self { context, changes, election, sender })
    }

    async fn run(self, args: Args, stop: Stop) -> Result<(), RunError> {
        let Self { context, changes, election, sender } = self;
        let telemetry = context.telemetry.clone();
        let (drained, over) = Stop::by_hand();
        let (_never, to_the_end) = Stop::by_hand();
        let elected = tokio::spawn(async move { election.run(async move { over.wait().await }).await });
        let sent = tokio::spawn(sender.run());
        let mut webhook = tokio::spawn(webhook::run(args.webhook, shared(&context), stop.clone()));
        let ended = tokio::select! {
            ended = serve::metrics(args.controller.metrics_address, &telemetry, to_the_end) => ended.map_err(RunError::from),
            ended = serve::health(args.controller.health_address, &telemetry, stop.clone()) => ended.map_err(RunError::from),
            ended = controller::run(&context, changes, &stop) => ended.map_err(RunError::from),
            error = failure(&mut webhook) => Err(error),
        };
        release_lease(context, drained, elected).await;
        if stop.is_set() && !webhook.is_finished() {
            // It has been stopped, and answers until no more requests come.
            let _ = tokio::time::timeout(WEBHOOK_SHUTDOWN_TIMEOUT, &mut webhook).await;
        }
        // It holds a recorder: as long as it runs, the sender of Events does not end.
        webhook.abort();
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, sent).await;
        tracing::info!("ended");
        ended
    }
}

/// What the webhook shares with the controller.
fn shared(context: &Context) -> webhook::Context {
    webhook::Context {
        client: context.client.clone(),
        namespace: context.environment.namespace.clone(),
        leadership: context.leadership.clone(),
        cache: context.cache.clone(),
        recorder: context.recorder.clone(),
        telemetry: context.telemetry.clone(),
        limits: context.limits.clone(),
    }
}

/// The error with which the webhook ends; never returns if it ends well, or panicked (which has been reported).
async fn failure(webhook: &mut JoinHandle<Result<(), webhook::ServeError>>) -> RunError {
    match webhook.await {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) | Err(_) => std::future::pending().await,
    }
}

/// Releases the lease at once: another replica leads within a second.
async fn release_lease(context: Arc<Context>, drained: Stopper, elected: JoinHandle<()>) {
    context.telemetry.metrics.leads(false);
    drained.stop();
    // A task that panicked has been reported.
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, elected).await;
    drop(context);
}

fn rules(args: &controller::Args) -> Rules {
    Rules { protect_for: args.guard_for, concurrent: args.max_recreates, ..Rules::default() }
}

fn kubelets(args: &controller::Args) -> KubeletUse {
    let trust = if args.kubelet_insecure_tls { Trust::Anyone } else { Trust::ClusterCa };
    match (args.no_kubelet, args.kubelet_account.clone()) {
        (true, _) => KubeletUse::Never,
        (false, Some(name)) => {
            KubeletUse::Ask { trust, account: Account { namespace: args.pod_namespace.clone(), name } }
        }
        (false, None) => {
            tracing::warn!(
                "rso does not ask kubelets, because that would send them its own credentials: name a ServiceAccount that may \
                 only get nodes/stats with --kubelet-account, or use --no-kubelet"
            );
            KubeletUse::NoAccount
        }
    }
}
