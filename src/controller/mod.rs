//! The operator: watches open, a leader is elected, sets are passed over, and at SIGTERM what was begun is finished.

pub mod args;
pub mod context;
mod deferral;
mod expand;
mod measure;
pub mod memory;
mod pass;
pub mod queue;
pub mod reconcile;
pub mod recreate;
mod repetition;
mod report;
mod requeue;
mod standing;
mod sync;
pub mod turns;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

pub use self::args::Args;
use self::context::Context;
use self::queue::Triggers;
use crate::cluster::client::{Client, ConnectError, Source};
use crate::cluster::clock;
use crate::cluster::departures::Departures;
use crate::cluster::events;
use crate::cluster::lease::{self, Election, Role};
use crate::cluster::observe::Ground;
use crate::cluster::usage::{Account, AskError, KubeletUse, Sources, Trust};
use crate::cluster::watch::{self, Change, Changes};
use crate::policy::drivers::DriverError;
use crate::recreate::Rules;
use crate::telemetry::Telemetry;
use crate::telemetry::logs::{self, LogError};
use crate::telemetry::serve::{self, ServeError};
use crate::telemetry::stop::{Stop, Stopper};

/// The field manager of the operator's writes.
pub const MANAGER: &str = "rso-controller";
/// Sets that are passed over at the same time, beside those that are recreated. Most passes make no request.
const AT_ONCE: usize = 64;
/// How often it is asked which recreates are stuck, and whose turn has come. Costs no request.
const TURNS_CHECKED: Duration = Duration::from_secs(5);
/// What was begun when SIGTERM came is finished within this; then the journal has it, and the next leader goes on.
const DRAIN: Duration = Duration::from_secs(40);
/// What runs beside ends within this after the stop.
const PARTING: Duration = Duration::from_secs(6);
/// The Events of the last passes are sent within this.
const FLUSH: Duration = Duration::from_secs(2);

/// Why what runs beside the operator ended.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Logging cannot begin.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A `--driver` flag is wrong.
    #[error("failed to read --driver")]
    Driver(#[from] DriverError),
    /// Signals cannot be heard.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
    /// The cluster cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Kubelets cannot be asked.
    #[error("failed to prepare for asking kubelets; use --no-kubelet to do without")]
    Kubelets(#[source] AskError),
    /// A port cannot be had.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A watch has ended for good, which it never should.
    #[error("failed to watch the cluster: a watch has ended")]
    Watch,
    /// What runs beside the operator has ended.
    #[error("failed to serve what runs beside the operator")]
    Beside(#[source] Fault),
    /// Another replica may lead by now, so nothing more may be written; a fresh process begins anew.
    #[error("lost the lease; ending, so that a fresh process takes part in the election")]
    LostLease,
}

/// Runs until SIGTERM, SIGINT or a fault. `beside`: what else this process does with what it has at hand, on every replica,
/// until it is told to stop (the webhook: this room does not know it).
///
/// # Errors
/// When it cannot start, or must not go on.
pub async fn run<B>(args: Args, source: &Source, beside: impl FnOnce(&Context, Stop) -> B) -> Result<(), RunError>
where
    B: Future<Output = Result<(), Fault>> + Send + 'static,
{
    logs::init(args.log_format, Some(&args.log))?;
    let stop = Stop::on_signals().map_err(RunError::Signals)?;
    let telemetry = Telemetry::default();
    telemetry.health.condition("caches", false);
    let client = Client::connect(source, MANAGER, Arc::new(telemetry.clone())).await?;
    let departures = Arc::new(Departures::default());
    let (cache, changes) = watch::open(&client.kube(), &args.scope(), &args.pod_namespace, &departures);
    let (election, leadership) = Election::new(&client, &args.pod_namespace, lease::identity(&args.pod_name))?;
    let metrics = telemetry.metrics.clone();
    let (recorder, sender) = events::recorder(client.clone(), &args.pod_name, move || metrics.event_dropped());
    let context = Arc::new(Context {
        ground: Ground {
            client: client.clone(),
            namespace: args.pod_namespace.clone(),
            rules: rules(&args),
            departures,
        },
        sources: Sources::new(&client, kubelets(&args)).map_err(RunError::Kubelets)?,
        client,
        leadership,
        cache,
        recorder,
        telemetry: telemetry.clone(),
        limits: args.limits(),
        drivers: args.drivers()?,
        memories: memory::Memories::default(),
        measuring: measure::Measuring::default(),
        turns: turns::Turns::default(),
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), scope = ?args.scope(), "started");

    let (drained, over) = Stop::by_hand();
    let (_never, to_the_end) = Stop::by_hand();
    let elected = tokio::spawn(async move { election.run(async move { over.wait().await }).await });
    let told = tokio::spawn(sender.run());
    let (beside, fault) = spawn(beside(&context, stop.clone()));
    let ended = tokio::select! {
        ended = serve::metrics(args.metrics_address, &telemetry, to_the_end) => ended.map_err(RunError::from),
        ended = serve::health(args.health_address, &telemetry, stop.clone()) => ended.map_err(RunError::from),
        ended = operate(&context, changes, &stop) => ended,
        error = fault => Err(RunError::Beside(error)),
    };
    give_over(context, drained, elected).await;
    let last = beside.abort_handle();
    if stop.is_set() {
        // It has been told, and goes on answering until nobody asks any more.
        let _ = tokio::time::timeout(PARTING, beside).await;
    }
    // It holds what the Events go through.
    last.abort();
    let _ = tokio::time::timeout(FLUSH, told).await;
    tracing::info!("ended");
    ended
}

/// Follows the cluster; as the leader, passes over its sets.
async fn operate(context: &Arc<Context>, changes: Changes, stop: &Stop) -> Result<(), RunError> {
    let (triggers, requests) = queue::triggers();
    let mut leadership = context.leadership.clone();
    let lead = async {
        if !context.cache.ready().await {
            return Err(RunError::Watch);
        }
        context.telemetry.health.condition("caches", true);
        if !leadership.becomes(Role::Leader).await {
            return Ok(());
        }
        context.telemetry.metrics.leads(true);
        context.cache.sets().into_iter().chain(context.cache.journalled()).for_each(|set| triggers.now(set));
        let work = |set| {
            let context = context.clone();
            async move { reconcile::reconcile(&context, &set).await }
        };
        // A recreate lasts seconds: those have slots of their own, so that no growth ever waits for one.
        let at_most = AT_ONCE.saturating_add(context.ground.rules.concurrent);
        let depth = |waiting| context.telemetry.metrics.queued(waiting);
        let passes = queue::run(requests, at_most, depth, async { stop.wait().await }, work);
        let overtime = async {
            stop.wait().await;
            tokio::time::sleep(DRAIN).await;
        };
        let mut role = context.leadership.clone();
        tokio::select! {
            () = passes => Ok(()),
            () = measure::run(context, &triggers) => Ok(()),
            () = overtime => Ok(()),
            () = call(context, &triggers) => Ok(()),
            _ = role.becomes(Role::Follower) => Err(RunError::LostLease),
        }
    };
    let waiting = async {
        // A follower that is told to stop has nothing to finish.
        stop.wait().await;
        if context.leadership.role() == Role::Leader {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = lead => ended,
        ended = follow(context, changes, &triggers) => ended,
        () = waiting => Ok(()),
    }
}

/// Calls the sets whose turn to be recreated has come, as soon as one is free.
async fn call(context: &Context, triggers: &Triggers) {
    loop {
        let (flights, now) = (context.cache.flights(), clock::now());
        context.telemetry.metrics.stuck(flights.iter().filter(|flight| flight.is_stuck(now)).count());
        let called = context.turns.call(&flights, context.ground.rules.concurrent, now);
        called.into_iter().for_each(|set| triggers.now(set));
        let _ = tokio::time::timeout(TURNS_CHECKED, context.turns.changed()).await;
    }
}

/// Turns changes into triggers while this replica leads. Before, they are only taken into the caches: whoever becomes the
/// leader passes over everything once.
async fn follow(context: &Context, mut changes: Changes, triggers: &Triggers) -> Result<(), RunError> {
    while let Some(change) = changes.next().await {
        match change {
            Ok(_) if context.leadership.role() == Role::Follower => {}
            Ok(Change::Set(set)) => triggers.now(set),
            Ok(Change::Journal(set)) => {
                triggers.now(set);
                context.turns.change();
            }
            Ok(Change::Claim(namespace, claim)) => {
                context.cache.sets_of_claim(&namespace, &claim).into_iter().for_each(|set| triggers.now(set));
            }
            Err(error) => tracing::warn!(error = crate::cluster::client::chain(&error), "a watch begins again"),
        }
    }
    Err(RunError::Watch)
}

/// Hands over: the lease is given back at once, so that another replica leads within a second.
async fn give_over(context: Arc<Context>, drained: Stopper, elected: tokio::task::JoinHandle<()>) {
    context.telemetry.metrics.leads(false);
    drained.stop();
    // Both end by themselves; a task that panicked has been reported.
    let _ = tokio::time::timeout(FLUSH, elected).await;
    drop(context);
}

/// Starts what runs beside. The second half tells its fault, and nothing when it ends well.
fn spawn(
    beside: impl Future<Output = Result<(), Fault>> + Send + 'static,
) -> (tokio::task::JoinHandle<()>, impl Future<Output = Fault>) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        if let Err(fault) = beside.await {
            let _ = tell.send(fault);
        }
    });
    let fault = async {
        match told.await {
            Ok(fault) => fault,
            Err(_) => std::future::pending().await,
        }
    };
    (task, fault)
}

fn rules(args: &Args) -> Rules {
    Rules { guard_for: args.guard_for, concurrent: args.max_recreates, ..Rules::default() }
}

fn kubelets(args: &Args) -> KubeletUse {
    let trust = if args.kubelet_insecure_tls { Trust::Anyone } else { Trust::ClusterCa };
    match (args.no_kubelet, args.kubelet_account.clone()) {
        (true, _) => KubeletUse::Never,
        (false, Some(name)) => {
            KubeletUse::Ask { trust, account: Account { namespace: args.pod_namespace.clone(), name } }
        }
        (false, None) => {
            tracing::warn!(
                "kubelets are not asked, as they would get this operator's own credentials: name a ServiceAccount that may \
                 only get nodes/stats with --kubelet-account, or use --no-kubelet"
            );
            KubeletUse::NoAccount
        }
    }
}
