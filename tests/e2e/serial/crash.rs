//! The operator is killed with SIGKILL at random moments during fifty resizes.
//!
//! The operator runs as a child of the test, with the rights of its service account, while the deployed one is scaled to
//! zero: that is the shortest way from a random number to a dead process. `SEED` repeats a run's choices, `RESIZES` sets
//! how many there are.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rso::api::bytes::Bytes;
use tokio::process::{Child, Command};

use crate::harness::api::Api;
use crate::harness::chance::Chance;
use crate::harness::facts::{Facts, size_in_template};
use crate::harness::live::Live;
use crate::harness::programs::{environment, kubectl};
use crate::harness::set::Set;
use crate::harness::space::in_namespaces;
use crate::harness::{PATIENCE, cluster_dir, operator};

/// Sets that are resized at once, so that every kill meets several recreates at different places.
const AT_ONCE: usize = 5;

#[tokio::test]
async fn fifty_resizes_survive_an_operator_that_is_killed_at_random_moments() {
    let resizes = number("RESIZES").unwrap_or(50);
    let seed = number("SEED").unwrap_or_else(Chance::seed);
    println!("SEED={seed}");
    let mut chance = Chance::new(seed);
    let api = Api::connect().await;
    operator::scale(&api, 0).await;
    let survived = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(rounds(&mut chance, resizes))).await;
    operator::scale(&api, 2).await;
    let (kills, finished) = survived.unwrap_or_else(|panic| {
        println!("repeat with SEED={seed}");
        std::panic::resume_unwind(panic)
    });
    println!("{finished} resizes, {kills} kills, every set present and larger, no pod restarted; SEED={seed}");
}

/// Resizes five sets at once, over and over, and kills while they are at it.
async fn rounds(chance: &mut Chance, resizes: u64) -> (u64, u64) {
    let (mut kills, mut finished) = (0, 0);
    in_namespaces("crash", AT_ONCE, async |spaces| {
        let set = Set::named("db").replicas(2).parallel().template("data", "400Mi");
        let sets = join_all(spaces.iter().map(|space| space.run(&set))).await;
        let before = join_all(sets.iter().map(Live::facts)).await;
        let mut process = start().await;
        for round in 1..=resizes.div_ceil(AT_ONCE as u64) {
            let size = Bytes::mib(400 + 16 * round);
            kills += resize_and_kill(chance, &sets, size, &mut process).await;
            finished += sets.len() as u64;
            join_all(sets.iter().zip(&before).map(|(set, before)| is_whole(set, before, size))).await;
        }
        stop(&mut process).await;
    })
    .await;
    (kills, finished)
}

/// Asks all sets for the size, and kills the operator one to three times before they have it.
async fn resize_and_kill(chance: &mut Chance, sets: &[Live<'_>], size: Bytes, process: &mut Child) -> u64 {
    let text = size.to_string();
    join_all(sets.iter().map(|set| set.asks("resize-0", &text))).await;
    let kills = 1 + chance.below(3);
    for _ in 0..kills {
        let midway = chance.one(&[false, true]);
        if midway {
            // In the very middle of a recreate: a moment after a set is seen on its way …
            on_its_way(sets).await;
        }
        // … and, as often, anywhere from the first look to the last write.
        let within = if midway { 60 } else { 1_500 };
        tokio::time::sleep(Duration::from_millis(chance.below(within))).await;
        stop(process).await;
        *process = start().await;
    }
    join_all(sets.iter().map(|set| set.template_is("data", &text))).await;
    kills
}

/// A set is held, going, or gone; or three seconds have passed.
async fn on_its_way(sets: &[Live<'_>]) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        for object in join_all(sets.iter().map(Live::object)).await {
            let finalizers = object.map(|set| set["metadata"]["finalizers"].is_array());
            if finalizers.unwrap_or(true) {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_whole(set: &Live<'_>, before: &Facts, size: Bytes) {
    set.leaves_no_trace().await;
    set.claims_have_grown("data", &size.to_string()).await;
    let after = set.facts().await;
    after.pods_are_the_same_as(before);
    after.claims_only_grew_since(before);
    after.revision_is_the_same_as(before);
    assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
    assert_eq!(size_in_template(&after.set, "data"), Some(size));
}

/// Starts the operator here, and waits until it serves.
async fn start() -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(cluster_dir().join("crash.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rso"));
    command.arg("controller").envs(environment()).env("KUBECONFIG", kubeconfig_of_the_operator().await);
    command.env("POD_NAMESPACE", operator::NAMESPACE).env("POD_NAME", "rso-under-fire");
    command.stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap()
}

/// SIGKILL, and no goodbye.
async fn stop(process: &mut Child) {
    process.start_kill().unwrap();
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
    assert_eq!(signal, Some(9), "the operator ended by itself ({ended}); see .cluster/crash.log");
}

/// The cluster's kubeconfig, with a token of the operator's service account: its rights are tested too.
async fn kubeconfig_of_the_operator() -> std::path::PathBuf {
    let path = cluster_dir().join("crash.kubeconfig");
    let token = kubectl(&["-n", operator::NAMESPACE, "create", "token", operator::NAME, "--duration=6h"]).await.ok();
    let flat = kubectl(&["config", "view", "--raw", "--flatten", "-o", "json"]).await.ok();
    let mut config: serde_json::Value = serde_json::from_str(&flat).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = serde_json::json!({"token": token.trim()});
    }
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
