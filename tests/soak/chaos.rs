//! What is broken, and how? One to three things a round, each at its moment; all of it is mended before anybody judges.

use std::time::Duration;

use crate::harness::api::Api;
use crate::harness::chance::Chance;
use crate::harness::programs::{kubectl, shell};
use crate::harness::{PATIENCE, expect, operator, until};

/// A component that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The replica that leads.
    Leader,
    Component(&'static str),
}

impl Victim {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "operator (leader)",
            Self::Component(name) => name,
        }
    }
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SIGKILL; whoever looks after it starts it again.
    Kill,
    /// SIGSTOP, and SIGCONT after that long.
    Stop(Duration),
}

/// One thing that is broken in a round.
#[derive(Clone, Copy, Debug)]
pub struct Break {
    pub victim: Victim,
    pub how: How,
    /// After the sets were asked to grow.
    pub at: Duration,
}

const VICTIMS: [Victim; 8] = [
    // The one that this is about, more often than others.
    Victim::Leader,
    Victim::Leader,
    Victim::Leader,
    Victim::Component("kube-apiserver"),
    Victim::Component("kube-controller-manager"),
    Victim::Component("kubelet"),
    Victim::Component("csi-driver"),
    Victim::Component("csi-resizer"),
];

pub fn plan(chance: &mut Chance) -> Vec<Break> {
    let many = 1 + chance.below(3);
    let mut victims: Vec<Victim> = Vec::new();
    while (victims.len() as u64) < many {
        let victim = chance.one(&VICTIMS);
        if !victims.contains(&victim) {
            victims.push(victim);
        }
    }
    let one = |victim: Victim| {
        let how =
            if chance.below(2) == 0 { How::Kill } else { How::Stop(Duration::from_millis(500 + chance.below(6_000))) };
        // A leader that stands still for longer than its lease is one of two when it goes on.
        let how = match (victim, how) {
            (Victim::Leader, How::Stop(_)) if chance.below(3) == 0 => How::Stop(Duration::from_secs(20)),
            _ => how,
        };
        Break { victim, how, at: Duration::from_millis(chance.below(4_000)) }
    };
    victims.into_iter().map(one).collect()
}

pub async fn wreak(breaks: &[Break]) {
    futures::future::join_all(breaks.iter().map(async |one| {
        tokio::time::sleep(one.at).await;
        match (one.victim, one.how) {
            (Victim::Leader, how) => leader(how).await,
            (Victim::Component(name), How::Kill) => restart(name, "KILL").await,
            (Victim::Component(name), How::Stop(long)) => {
                restart(name, "STOP").await;
                tokio::time::sleep(long).await;
                restart(name, "CONT").await;
            }
        }
    }))
    .await;
}

async fn restart(name: &str, signal: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/restart.sh");
    shell(&format!("{script} {name} {signal}")).await.ok();
}

async fn leader(how: How) {
    // Whoever leads while the API server can tell; else there is nobody to hurt.
    let lease = ["-n", operator::NAMESPACE, "get", "lease", operator::NAME, "-o", "jsonpath={.spec.holderIdentity}"];
    let holder = kubectl(&[&lease[..], &["--request-timeout=2s"]].concat()).await.out;
    let pod = holder.split(['_', '/']).next().unwrap_or_default().to_owned();
    let uid = ["-n", operator::NAMESPACE, "get", "pod", &pod, "-o", "jsonpath={.metadata.uid}"];
    let uid = kubectl(&[&uid[..], &["--request-timeout=2s"]].concat()).await.out;
    if uid.is_empty() {
        return;
    }
    match how {
        How::Kill => {
            operator::signal_pod(&uid, "KILL").await;
            // A container that is killed often is started ever later; a new pod starts at once.
            let delete = ["-n", operator::NAMESPACE, "delete", "pod", &pod, "--grace-period=0", "--force"];
            kubectl(&[&delete[..], &["--wait=false", "--request-timeout=5s"]].concat()).await;
        }
        How::Stop(long) => {
            operator::signal_pod(&uid, "STOP").await;
            tokio::time::sleep(long).await;
            operator::signal_pod(&uid, "CONT").await;
        }
    }
}

/// Everything answers again.
pub async fn is_over() {
    until("the cluster to answer", PATIENCE, async || {
        let ran = kubectl(&["get", "--raw", "/readyz", "--request-timeout=2s"]).await;
        expect(ran.code == 0, || ran.err)
    })
    .await;
    until("the node to be ready", PATIENCE, async || {
        let ready = "jsonpath={.items[0].status.conditions[?(@.type==\"Ready\")].status}";
        let ran = kubectl(&["get", "nodes", "-o", ready]).await;
        expect(ran.out == "True", || ran.out + &ran.err)
    })
    .await;
    operator::scale(&Api::connect().await, 2).await;
}
