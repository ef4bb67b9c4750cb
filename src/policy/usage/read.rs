//! Parsers for the responses of an agent and of a kubelet. Both come over the network from programs that may be broken
//! or hostile: sizes are whole numbers, bodies are bounded, and a missing number is not guessed.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Inodes, Source, Usage};
use crate::api::bytes::Bytes;
use crate::api::names::ClaimName;

/// The maximum length of an agent's response.
pub const MAX_AGENT_BODY: usize = 64 << 10;
/// The maximum length of a kubelet's response: a node of 500 Pods needs about 2 MiB.
pub const MAX_SUMMARY_BODY: usize = 16 << 20;
/// The maximum length of the name of a PVC.
const MAX_NAME: usize = 253;

/// Why a response cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// More bytes than any honest response has.
    #[error("failed to read the answer: it has {0} bytes, more than the {1} allowed")]
    TooLong(usize, usize),
    /// Not the expected JSON.
    #[error("failed to read the answer")]
    Json(#[source] serde_json::Error),
}

/// One volume in the response of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentVolume {
    /// The PVC, as the agent names it; trust it only if the Pod really has it.
    pub claim: ClaimName,
    /// What it measured, or why it could not.
    pub usage: Result<Usage, String>,
}

/// One volume in the response of a kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodVolume {
    /// The namespace of the PVC.
    pub namespace: String,
    /// The Pod that uses it.
    pub pod: String,
    /// What the kubelet measured.
    pub usage: Usage,
}

#[derive(Deserialize)]
struct AgentEntry {
    pvc_name: String,
    #[serde(default)]
    all_bytes: u64,
    #[serde(default)]
    free_bytes: u64,
    available_bytes: Option<u64>,
    #[serde(default)]
    inodes: u64,
    #[serde(default)]
    inodes_free: u64,
    #[serde(default)]
    shared: bool,
    /// Only in the answer to a held request.
    rate_bytes: Option<u64>,
    /// The same.
    #[serde(default)]
    waited_ms: u64,
    #[serde(default)]
    error: String,
}

/// The response of an agent to a held request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAnswer {
    /// Whether the agent knows held requests; an older one ignores the query and responds at once.
    pub is_held: bool,
    /// The volumes.
    pub volumes: Vec<AgentVolume>,
}

/// Parses the body of `GET /disk` of an agent that was queried at `at`. Entries with impossible names are omitted.
///
/// # Errors
/// If it is too long, or not the JSON array of the contract: `-1`, `1.5` and `"1"` are not sizes.
pub fn read_agent(body: &[u8], at: Timestamp) -> Result<Vec<AgentVolume>, ReadError> {
    let entries: Vec<AgentEntry> = parse(body, MAX_AGENT_BODY)?;
    Ok(entries.into_iter().filter_map(|entry| agent_volume(entry, at)).collect())
}

/// Parses the response to a held request that was sent at `at` and took `took`. The agent states how long after the
/// request it measured, so a reading is never dated earlier than the request, or later than the response.
///
/// # Errors
/// As for [`read_agent`].
pub fn read_held(body: &[u8], at: Timestamp, took: Duration) -> Result<HeldAnswer, ReadError> {
    let entries: Vec<AgentEntry> = parse(body, MAX_AGENT_BODY)?;
    let is_held = entries.iter().any(|entry| entry.rate_bytes.is_some());
    let measured = |entry: &AgentEntry| at.checked_add(Duration::from_millis(entry.waited_ms).min(took)).unwrap_or(at);
    let volumes = entries.into_iter().filter_map(|entry| {
        let at = measured(&entry);
        agent_volume(entry, at)
    });
    Ok(HeldAnswer { is_held, volumes: volumes.collect() })
}

fn agent_volume(entry: AgentEntry, at: Timestamp) -> Option<AgentVolume> {
    if entry.pvc_name.is_empty() || entry.pvc_name.len() > MAX_NAME {
        return None;
    }
    let claim = ClaimName::new(entry.pvc_name);
    if !entry.error.is_empty() {
        return Some(AgentVolume { claim, usage: Err(entry.error.chars().take(200).collect()) });
    }
    let Some(used) = entry.all_bytes.checked_sub(entry.free_bytes) else {
        let why = format!("{} bytes free of {}", entry.free_bytes, entry.all_bytes);
        return Some(AgentVolume { claim, usage: Err(why) });
    };
    let usage = Usage {
        claim: claim.clone(),
        total: Bytes(entry.all_bytes),
        used: Bytes(used),
        available: Bytes(entry.available_bytes.unwrap_or(entry.free_bytes)),
        inodes: inodes(entry.inodes, entry.inodes_free),
        shared: entry.shared,
        write_rate: entry.rate_bytes,
        at,
        source: Source::Agent,
    };
    Some(AgentVolume { claim, usage: Ok(usage) })
}

/// btrfs reports 0 of 0: it creates inodes as needed.
fn inodes(total: u64, free: u64) -> Option<Inodes> {
    (total > 0).then_some(Inodes { total, free })
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    pods: Vec<PodStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: ObjectRef,
    #[serde(default)]
    volume: Vec<VolumeStats>,
}

#[derive(Deserialize)]
struct ObjectRef {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeStats {
    pvc_ref: Option<ObjectRef>,
    time: Option<Timestamp>,
    capacity_bytes: Option<u64>,
    used_bytes: Option<u64>,
    available_bytes: Option<u64>,
    inodes: Option<u64>,
    inodes_free: Option<u64>,
}

/// Parses the body of `GET /stats/summary` of a kubelet. Volumes that belong to no PVC, or lack a number, are omitted.
/// The time of a reading is the kubelet's own, but never later than `now`.
///
/// # Errors
/// If it is too long or not a summary.
pub fn read_summary(body: &[u8], now: Timestamp) -> Result<Vec<PodVolume>, ReadError> {
    let summary: Summary = parse(body, MAX_SUMMARY_BODY)?;
    let volumes = summary.pods.into_iter().flat_map(|pod| {
        let name = pod.pod_ref.name;
        pod.volume.into_iter().filter_map(move |volume| pod_volume(&name, volume, now))
    });
    Ok(volumes.collect())
}

fn pod_volume(pod: &str, volume: VolumeStats, now: Timestamp) -> Option<PodVolume> {
    let claim = volume.pvc_ref?;
    let usage = Usage {
        claim: ClaimName::new(claim.name),
        total: Bytes(volume.capacity_bytes?),
        used: Bytes(volume.used_bytes?),
        available: Bytes(volume.available_bytes?),
        inodes: inodes(volume.inodes.unwrap_or(0), volume.inodes_free.unwrap_or(0)),
        shared: false,
        write_rate: None,
        at: volume.time.unwrap_or(now).min(now),
        source: Source::Kubelet,
    };
    Some(PodVolume { namespace: claim.namespace, pod: pod.to_owned(), usage })
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8], limit: usize) -> Result<T, ReadError> {
    if body.len() > limit {
        return Err(ReadError::TooLong(body.len(), limit));
    }
    serde_json::from_slice(body).map_err(ReadError::Json)
}
