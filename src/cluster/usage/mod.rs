//! How full are the volumes of a pod? Its agent is asked first, then the kubelet of its node. What they say is only passed on
//! for claims that the pod really has; whether it is plausible is for `policy::usage` to judge.

mod agents;
mod http_get;
mod kubelets;
mod backoff;
mod slots;
mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::client::{Client, RequestObserver, chain};
use crate::api::names::ClaimName;
use crate::policy::usage::{AgentVolume, PodVolume, Usage};

pub use self::agents::Agents;
pub use self::http_get::UsageError;
pub use self::kubelets::{Kubelets, Trust};
pub use self::token::Account;

/// A pod whose volumes are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Where its agent listens, if it has one: the pod's IP from its status, and the port.
    pub agent: Option<SocketAddr>,
    /// The node it runs on.
    pub node: Option<&'a str>,
    /// The claims it uses, those that are asked about.
    pub claims: &'a [ClaimName],
}

/// For each claim what was said of it, or why nothing was.
pub type UsageByClaim = BTreeMap<ClaimName, Result<Usage, String>>;

/// Whom to ask.
pub struct UsageSources {
    agents: Agents,
    kubelets: KubeletSource,
    observer: Arc<dyn RequestObserver>,
}

/// How kubelets are asked.
enum KubeletSource {
    Query(Box<Kubelets>),
    NoAccount,
    Disabled,
}

/// Whether kubelets are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeletUse {
    /// Those of pods without a good answer from an agent.
    Ask {
        /// Whom to believe.
        trust: Trust,
        /// Whose token they get.
        account: Account,
    },
    /// Never: there is no account for it.
    NoAccount,
    /// Never: nobody wants it.
    Never,
}

impl UsageSources {
    /// Prepares to ask.
    ///
    /// # Errors
    /// When the certificates for the kubelets cannot be used.
    pub fn new(client: &Client, kubelets: KubeletUse) -> Result<Self, UsageError> {
        let kubelets = match kubelets {
            KubeletUse::Ask { trust, account } => KubeletSource::Query(Box::new(Kubelets::new(client, trust, account)?)),
            KubeletUse::NoAccount => KubeletSource::NoAccount,
            KubeletUse::Never => KubeletSource::Disabled,
        };
        Ok(Self { agents: Agents::default(), kubelets, observer: client.observer() })
    }

    /// Asks about the claims of a pod. Every one of them has an answer.
    pub async fn query(&self, pod: &Pod<'_>) -> UsageByClaim {
        let mut answers = UsageByClaim::new();
        match pod.agent {
            Some(agent) => match self.agents.query(pod.namespace, agent).await {
                Ok(volumes) => {
                    self.observer.usage_requested("agent", "ok");
                    add_from_agent(&mut answers, volumes);
                }
                Err(error) => self.record_failure(&mut answers, pod, "agent", &error),
            },
            None => add_failure(&mut answers, pod, "the pod has no agent"),
        }
        if unmeasured(&answers, pod).next().is_some() {
            self.query_kubelet(pod, &mut answers).await;
        }
        answers.retain(|claim, _| pod.claims.contains(claim));
        for claim in pod.claims {
            answers.entry(claim.clone()).or_insert_with(|| Err("nobody spoke of this claim".to_owned()));
        }
        answers
    }

    async fn query_kubelet(&self, pod: &Pod<'_>, answers: &mut UsageByClaim) {
        let (kubelets, node) = match (&self.kubelets, pod.node) {
            (KubeletSource::Query(kubelets), Some(node)) => (kubelets, node),
            (KubeletSource::NoAccount, _) => return add_failure(answers, pod, "kubelet: not asked without --kubelet-account"),
            (KubeletSource::Query(_), None) | (KubeletSource::Disabled, _) => return,
        };
        match kubelets.query(node).await {
            Ok(volumes) => {
                self.observer.usage_requested("kubelet", "ok");
                add_from_kubelet(answers, pod, &volumes);
            }
            Err(error) => self.record_failure(answers, pod, "kubelet", &error),
        }
    }

    /// Adds to what is told of each open claim.
    fn record_failure(&self, answers: &mut UsageByClaim, pod: &Pod<'_>, who: &'static str, error: &UsageError) {
        let result = error.kind();
        self.observer.usage_requested(who, result);
        add_failure(answers, pod, &format!("{who}: {}", chain(error)));
    }
}

/// The claims of the pod that nobody has measured yet.
fn unmeasured<'a>(answers: &'a UsageByClaim, pod: &Pod<'a>) -> impl Iterator<Item = &'a ClaimName> {
    pod.claims.iter().filter(|claim| !matches!(answers.get(*claim), Some(Ok(_))))
}

fn add_failure(answers: &mut UsageByClaim, pod: &Pod<'_>, why: &str) {
    for claim in pod.claims {
        match answers.get_mut(claim) {
            Some(Ok(_)) => {}
            Some(Err(before)) => *before = format!("{before}; {why}"),
            None => {
                answers.insert(claim.clone(), Err(why.to_owned()));
            }
        }
    }
}

/// Of several volumes of one claim the fullest counts.
fn add_from_agent(answers: &mut UsageByClaim, volumes: Vec<AgentVolume>) {
    for AgentVolume { claim, usage } in volumes {
        match usage {
            Ok(usage) => keep_fuller(answers, usage),
            Err(why) => {
                answers.entry(claim).or_insert_with(|| Err(format!("agent: {why}")));
            }
        }
    }
}

fn add_from_kubelet(answers: &mut UsageByClaim, pod: &Pod<'_>, volumes: &[PodVolume]) {
    let of_pod = volumes.iter().filter(|volume| volume.namespace == pod.namespace && volume.pod == pod.name);
    let wanted: Vec<ClaimName> = unmeasured(answers, pod).cloned().collect();
    for volume in of_pod.filter(|volume| wanted.contains(&volume.usage.claim)) {
        keep_fuller(answers, volume.usage.clone());
    }
    add_failure(answers, pod, "kubelet: nothing about this claim yet");
}

fn keep_fuller(answers: &mut UsageByClaim, usage: Usage) {
    match answers.get(&usage.claim) {
        Some(Ok(known)) if known.fullness() >= usage.fullness() => {}
        Some(_) | None => {
            answers.insert(usage.claim.clone(), Ok(usage));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bytes::Bytes;
    use crate::policy::usage::Source;

    fn usage(claim: &str, used: u64, source: Source) -> Usage {
        Usage {
            claim: claim.into(),
            total: Bytes(100),
            used: Bytes(used),
            available: Bytes(100 - used),
            inodes: None,
            shared: false,
            at: jiff::Timestamp::UNIX_EPOCH,
            source,
        }
    }

    fn pod(claims: &[ClaimName]) -> Pod<'_> {
        Pod { namespace: "shop", name: "db-0", agent: None, node: None, claims }
    }

    fn said(claim: &str, usage: Result<Usage, String>) -> AgentVolume {
        AgentVolume { claim: claim.into(), usage }
    }

    #[test]
    fn the_fullest_volume_of_a_claim_counts() {
        let mut answers = UsageByClaim::new();
        let of = |used| said("a", Ok(usage("a", used, Source::Agent)));
        add_from_agent(&mut answers, vec![of(10), of(90), of(50), said("a", Err("late".into()))]);
        assert_eq!(answers[&ClaimName::from("a")], Ok(usage("a", 90, Source::Agent)));
    }

    #[test]
    fn the_kubelet_fills_in_only_what_the_agent_of_this_pod_left_open() {
        let claims = ["a".into(), "b".into(), "c".into(), "d".into()];
        let mut answers = UsageByClaim::new();
        let by = said("b", Err("hangs".into()));
        add_from_agent(&mut answers, vec![said("a", Ok(usage("a", 10, Source::Agent))), by]);
        let volume = |namespace: &str, pod: &str, claim: &str| PodVolume {
            namespace: namespace.into(),
            pod: pod.into(),
            usage: usage(claim, 70, Source::Kubelet),
        };
        let volumes = [
            volume("shop", "db-0", "a"),
            volume("shop", "db-0", "b"),
            volume("other", "db-0", "c"),
            volume("shop", "db-1", "d"),
            volume("shop", "db-0", "not-asked-about"),
        ];
        add_from_kubelet(&mut answers, &pod(&claims), &volumes);
        let told: Vec<_> = answers.into_values().map(|answer| answer.map(|usage| usage.source)).collect();
        let nothing = || Err("kubelet: nothing about this claim yet".to_owned());
        assert_eq!(told, [Ok(Source::Agent), Ok(Source::Kubelet), nothing(), nothing()]);
    }

    #[test]
    fn why_nobody_answered_is_told_in_the_order_of_asking() {
        let claims = ["a".into()];
        let mut answers = UsageByClaim::new();
        add_failure(&mut answers, &pod(&claims), "agent: nothing came within 2 s");
        add_failure(&mut answers, &pod(&claims), "kubelet: it answered 403 Forbidden");
        let expected = "agent: nothing came within 2 s; kubelet: it answered 403 Forbidden";
        assert_eq!(answers.into_values().next().unwrap().unwrap_err(), expected);
    }
}
