//! The usage of the volumes of a Pod, from its agent or else from the kubelet of its node. Only values for PVCs of the
//! Pod are returned; `policy::usage` decides whether they are plausible.

mod agents;
mod backoff;
mod http_get;
mod kubelets;
mod slots;
mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::client::{Client, RequestObserver, chain};
use crate::api::names::ClaimName;
use crate::policy::usage::{AgentVolume, PodVolume, Usage};

pub use self::agents::Agents;
pub use self::http_get::UsageError;
pub use self::kubelets::{Kubelets, Trust};
pub use self::token::Account;

/// A Pod whose volumes are measured.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The address of its agent, if it has one: the Pod IP from its status, and the port.
    pub agent: Option<SocketAddr>,
    /// The node it runs on.
    pub node: Option<&'a str>,
    /// When its newest container started, if that is known: a kubelet that was asked earlier did not know the Pod.
    pub started: Option<Timestamp>,
    /// Those of its PVCs that are measured.
    pub claims: &'a [ClaimName],
}

/// For each PVC its usage, or why it is unknown.
pub type UsageByClaim = BTreeMap<ClaimName, Result<Usage, String>>;

/// The sources of volume usage.
pub struct UsageSources {
    agents: Agents,
    kubelets: KubeletSource,
    observer: Arc<dyn RequestObserver>,
}

/// How kubelets are queried.
enum KubeletSource {
    Query(Box<Kubelets>),
    NoAccount,
    Disabled,
}

/// Whether kubelets are queried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeletUse {
    /// Those of Pods without a good response from an agent.
    Ask {
        /// Which certificates to accept.
        trust: Trust,
        /// The account of the token.
        account: Account,
    },
    /// Never: there is no account for it.
    NoAccount,
    /// Never: it is disabled.
    Never,
}

impl UsageSources {
    /// Creates the clients.
    ///
    /// # Errors
    /// When the certificates for the kubelets cannot be used.
    pub fn new(client: &Client, kubelets: KubeletUse) -> Result<Self, UsageError> {
        let kubelets = match kubelets {
            KubeletUse::Ask { trust, account } => {
                KubeletSource::Query(Box::new(Kubelets::new(client, trust, account)?))
            }
            KubeletUse::NoAccount => KubeletSource::NoAccount,
            KubeletUse::Never => KubeletSource::Disabled,
        };
        Ok(Self { agents: Agents::default(), kubelets, observer: client.observer() })
    }

    /// Queries the usage of the PVCs of a Pod. Each PVC gets a result.
    pub async fn query(&self, pod: &Pod<'_>) -> UsageByClaim {
        let mut results = UsageByClaim::new();
        match pod.agent {
            Some(agent) => match self.agents.query(pod.namespace, agent).await {
                Ok(volumes) => {
                    self.observer.usage_requested("agent", "ok");
                    add_from_agent(&mut results, volumes);
                }
                Err(error) => self.record_failure(&mut results, pod, "agent", &error),
            },
            None => add_failure(&mut results, pod, "the Pod has no agent"),
        }
        if unmeasured(&results, pod).next().is_some() {
            self.query_kubelet(pod, &mut results).await;
        }
        results.retain(|claim, _| pod.claims.contains(claim));
        for claim in pod.claims {
            results.entry(claim.clone()).or_insert_with(|| Err("no source reported this PVC".to_owned()));
        }
        results
    }

    async fn query_kubelet(&self, pod: &Pod<'_>, results: &mut UsageByClaim) {
        let (kubelets, node) = match (&self.kubelets, pod.node) {
            (KubeletSource::Query(kubelets), Some(node)) => (kubelets, node),
            (KubeletSource::NoAccount, _) => {
                return add_failure(results, pod, "kubelet: not queried without --kubelet-account");
            }
            (KubeletSource::Query(_), None) | (KubeletSource::Disabled, _) => return,
        };
        match kubelets.query(node, pod.started).await {
            Ok(volumes) => {
                self.observer.usage_requested("kubelet", "ok");
                add_from_kubelet(results, pod, &volumes);
            }
            Err(error) => self.record_failure(results, pod, "kubelet", &error),
        }
    }

    /// Adds the error to the result of each PVC that is not measured.
    fn record_failure(&self, results: &mut UsageByClaim, pod: &Pod<'_>, who: &'static str, error: &UsageError) {
        let result = error.kind();
        self.observer.usage_requested(who, result);
        add_failure(results, pod, &format!("{who}: {}", chain(error)));
    }
}

/// The PVCs of the Pod that are not measured yet.
fn unmeasured<'a>(results: &'a UsageByClaim, pod: &Pod<'a>) -> impl Iterator<Item = &'a ClaimName> {
    pod.claims.iter().filter(|claim| !matches!(results.get(*claim), Some(Ok(_))))
}

fn add_failure(results: &mut UsageByClaim, pod: &Pod<'_>, why: &str) {
    for claim in pod.claims {
        match results.get_mut(claim) {
            Some(Ok(_)) => {}
            Some(Err(before)) => *before = format!("{before}; {why}"),
            None => {
                results.insert(claim.clone(), Err(why.to_owned()));
            }
        }
    }
}

/// If several volumes have the same PVC, the fullest counts.
fn add_from_agent(results: &mut UsageByClaim, volumes: Vec<AgentVolume>) {
    for AgentVolume { claim, usage } in volumes {
        match usage {
            Ok(usage) => keep_fuller(results, usage),
            Err(why) => {
                results.entry(claim).or_insert_with(|| Err(format!("agent: {why}")));
            }
        }
    }
}

fn add_from_kubelet(results: &mut UsageByClaim, pod: &Pod<'_>, volumes: &[PodVolume]) {
    let of_pod = volumes.iter().filter(|volume| volume.namespace == pod.namespace && volume.pod == pod.name);
    let wanted: Vec<ClaimName> = unmeasured(results, pod).cloned().collect();
    for volume in of_pod.filter(|volume| wanted.contains(&volume.usage.claim)) {
        keep_fuller(results, volume.usage.clone());
    }
    add_failure(results, pod, "kubelet: no data for this PVC yet");
}

fn keep_fuller(results: &mut UsageByClaim, usage: Usage) {
    match results.get(&usage.claim) {
        Some(Ok(known)) if known.fullness() >= usage.fullness() => {}
        Some(_) | None => {
            results.insert(usage.claim.clone(), Ok(usage));
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
        Pod { namespace: "shop", name: "db-0", agent: None, node: None, started: None, claims }
    }

    fn reported(claim: &str, usage: Result<Usage, String>) -> AgentVolume {
        AgentVolume { claim: claim.into(), usage }
    }

    #[test]
    fn the_fullest_volume_of_a_pvc_counts() {
        let mut results = UsageByClaim::new();
        let of = |used| reported("a", Ok(usage("a", used, Source::Agent)));
        add_from_agent(&mut results, vec![of(10), of(90), of(50), reported("a", Err("late".into()))]);
        assert_eq!(results[&ClaimName::from("a")], Ok(usage("a", 90, Source::Agent)));
    }

    #[test]
    fn the_kubelet_measures_only_what_the_agent_of_this_pod_did_not() {
        let claims = ["a".into(), "b".into(), "c".into(), "d".into()];
        let mut results = UsageByClaim::new();
        let by = reported("b", Err("hangs".into()));
        add_from_agent(&mut results, vec![reported("a", Ok(usage("a", 10, Source::Agent))), by]);
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
            volume("shop", "db-0", "not-start-about"),
        ];
        add_from_kubelet(&mut results, &pod(&claims), &volumes);
        let sources: Vec<_> = results.into_values().map(|response| response.map(|usage| usage.source)).collect();
        let nothing = || Err("kubelet: no data for this PVC yet".to_owned());
        assert_eq!(sources, [Ok(Source::Agent), Ok(Source::Kubelet), nothing(), nothing()]);
    }

    #[test]
    fn failures_are_listed_in_the_order_of_the_queries() {
        let claims = ["a".into()];
        let mut results = UsageByClaim::new();
        add_failure(&mut results, &pod(&claims), "agent: no response within 2 s");
        add_failure(&mut results, &pod(&claims), "kubelet: HTTP status 403 Forbidden");
        let expected = "agent: no response within 2 s; kubelet: HTTP status 403 Forbidden";
        assert_eq!(results.into_values().next().unwrap().unwrap_err(), expected);
    }
}
