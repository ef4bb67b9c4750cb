//! What do people do meanwhile? At most one thing to a set in a round, until it is accepted.

use std::time::Duration;

use serde_json::Value;

use crate::growth::Growing;
use crate::harness::chance::Chance;
use crate::harness::live::Live;
use crate::harness::programs::kubectl;
use crate::harness::{PATIENCE, expect, until};

/// Something that somebody does to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Nothing,
    /// Deletes the first pod.
    DeletePod,
    /// One pod more, or one less.
    Scale,
    /// Changes a label of the set.
    Label,
    /// Changes the pod template, so that all pods are replaced.
    RollOut,
}

/// What, when, and how it is marked, so that it can be found again.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub deed: Deed,
    pub at: Duration,
    pub mark: u64,
}

pub fn plan(chance: &mut Chance, set: &Growing<'_>) -> Plan {
    let mut deeds =
        vec![Deed::Nothing, Deed::Nothing, Deed::Nothing, Deed::DeletePod, Deed::Scale, Deed::Label, Deed::Label];
    if set.rolls_out() {
        deeds.push(Deed::RollOut);
    }
    Plan { deed: chance.one(&deeds), at: Duration::from_millis(chance.below(5_000)), mark: chance.below(1 << 32) }
}

pub async fn act(set: &Growing<'_>, plan: &Plan) {
    tokio::time::sleep(plan.at).await;
    let live = set.live();
    let mark = plan.mark;
    match plan.deed {
        Deed::Nothing => {}
        Deed::DeletePod => {
            insists(&live, &["delete", "pod", &set.first_pod(), "--wait=false", "--ignore-not-found"]).await
        }
        Deed::Scale => {
            let replicas = format!("--replicas={}", set.replicas_after(plan));
            insists(&live, &["scale", "statefulset", live.name(), &replicas]).await;
        }
        Deed::Label => {
            insists(&live, &["label", "statefulset", live.name(), "--overwrite", &format!("mark=m{mark}")]).await
        }
        Deed::RollOut => {
            let patch =
                format!("{{\"spec\":{{\"template\":{{\"metadata\":{{\"annotations\":{{\"mark\":\"m{mark}\"}}}}}}}}}}");
            insists(&live, &["patch", "statefulset", live.name(), "--type=merge", "-p", &patch]).await;
        }
    }
}

/// Says it until it is accepted: the API server may be down, the set in between.
async fn insists(live: &Live<'_>, words: &[&str]) {
    until(&format!("{words:?} to be accepted"), PATIENCE, async || {
        let ran = kubectl(&[&["-n", &live.space.name, "--request-timeout=5s"][..], words].concat()).await;
        expect(ran.code == 0, || ran.err)
    })
    .await;
}

/// Whether what was done is there.
pub fn is_there(set: &Value, plan: &Plan, replicas: u32) -> Result<(), String> {
    let mark = format!("m{}", plan.mark);
    let there = match plan.deed {
        Deed::Nothing | Deed::DeletePod => true,
        Deed::Scale => set["spec"]["replicas"] == replicas,
        Deed::Label => set["metadata"]["labels"]["mark"] == *mark,
        Deed::RollOut => set["spec"]["template"]["metadata"]["annotations"]["mark"] == *mark,
    };
    expect(there, || format!("what somebody did is lost: {plan:?}"))
}
