//! Does a database that failed on its full disk write again by itself, and how soon? And a program that is broken: is its
//! empty disk left alone?
//!
//! The times are those of the database itself, from a volume that outlives its container.

use std::time::Duration;

use futures::future::join_all;

use crate::failing::{self, containers, database, expands};
use crate::figures::{self, seconds, spread};
use crate::harness::api::Kind;
use crate::harness::programs::kubectl;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::kubelet::{Kubelet, Profile};
use crate::page;

/// Between two runs. They overlap, but the moments that are measured do not begin at the same time.
const GAP: Duration = Duration::from_secs(7);
/// When a run is given up, since it was created.
const LONGEST: Duration = Duration::from_secs(300);

/// What fails, and what knows how full its disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    App,
    InitContainer,
    Rescue,
}

/// What came of one run.
#[derive(Debug)]
struct Run {
    /// From the first failure to the first write after it, in milliseconds, if there was one.
    took: Option<f64>,
    /// How often it failed until then.
    failures: usize,
}

/// Measures each case that often, and writes the table.
pub async fn measure(runs: u64, kubelet: &Kubelet) {
    let mut table = String::from(
        "| What fails on the full disk | Runs | In time | Goal | Failure → first successful write | \
         Failed starts until then |\n|---|---|---|---|---|---|\n",
    );
    for case in [Case::App, Case::InitContainer, Case::Rescue] {
        table.push_str(&case.row(&case.measure(runs).await));
    }
    let expanded = failing::on_empty_disks(runs).await;
    figures::row("broken, disk empty, rescue: expansions", runs as usize, &format!("{expanded}   goal 0"));
    let watched = failing::WATCHED.as_secs();
    let below = format!(
        "A program that is broken, on an empty disk, with `rescue`: {expanded} of {runs} volumes were expanded within \
         {watched} s.\n{} Cells with three values are min, median, max.",
        kubelet.dated()
    );
    let table = format!("{table}\n{below}");
    match kubelet.profile() {
        Some(Profile::Tests) => page::write("rescue-2s", &table),
        Some(Profile::Defaults) => page::write("rescue-1m", &table),
        None => {}
    }
}

impl Case {
    const fn what(self) -> &'static str {
        match self {
            Self::App => "App, with the agent",
            Self::InitContainer => "Init container, with the agent",
            Self::Rescue => "App, without an agent, with `rescue`",
        }
    }

    const fn goal(self) -> Duration {
        match self {
            Self::App | Self::InitContainer => Duration::from_secs(10),
            Self::Rescue => Duration::from_secs(120),
        }
    }

    async fn measure(self, runs: u64) -> Vec<Run> {
        let mut ended = Vec::new();
        in_namespace("bench-rescue", async |space| {
            if self == Self::Rescue {
                failing::no_agents(space).await;
            }
            let each = (0..runs).map(async |nth| {
                tokio::time::sleep(GAP * u32::try_from(nth).unwrap()).await;
                let run = self.run(space, &format!("db{nth}")).await;
                println!("  {}: {run:?}", self.what());
                run
            });
            ended = join_all(each).await;
        })
        .await;
        ended
    }

    async fn run(self, space: &Space, name: &str) -> Run {
        space.create(&self.set(name)).await;
        let ended = tokio::time::timeout(LONGEST, async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if let Some(run) = self.look(space, &format!("{name}-0")).await {
                    return run;
                }
            }
        });
        // One that does not write again has failed more often than is known here.
        ended.await.unwrap_or(Run { took: None, failures: 0 })
    }

    fn set(self, name: &str) -> Set {
        let set = expands(name);
        match self {
            Self::App => set.with_agent().with(&containers(&database("db", ""))),
            Self::InitContainer => {
                let prepare = database("prepare", "1");
                set.with_agent().init_container(&prepare).with(&containers(&failing::nothing("db")))
            }
            Self::Rescue => set.asks("rescue", "true").with(&containers(&database("db", ""))),
        }
    }

    /// The run, if the database writes again. It is asked only when it runs again: `kubectl exec` costs more than a GET.
    async fn look(self, space: &Space, pod: &str) -> Option<Run> {
        let found = space.api.get(Kind::Pod, &space.name, pod).await?;
        let agents = found["spec"]["initContainers"].as_array().into_iter().flatten();
        let has_agent = agents.filter(|container| container["name"] == "rso-agent").count() == 1;
        assert_eq!(has_agent, self != Self::Rescue, "{pod} has an agent: {has_agent}");
        let db = &found["status"]["containerStatuses"][0];
        let again = self == Self::InitContainer || db["restartCount"].as_u64() > Some(0);
        if !again || !db["state"]["running"].is_object() {
            return None;
        }
        let read = ["-n", &space.name, "exec", pod, "-c", "db", "--", "cat", "/state/times"];
        Run::read(&kubectl(&read).await.out)
    }

    /// To the terminal, and as a row of the table.
    fn row(self, runs: &[Run]) -> String {
        let (what, goal) = (self.what(), self.goal());
        let times: Vec<f64> = runs.iter().filter_map(|run| run.took).collect();
        let in_time = times.iter().filter(|ms| **ms <= goal.as_secs_f64() * 1_000.0).count();
        let failures: Vec<f64> = runs.iter().filter(|run| run.took.is_some()).map(|run| run.failures as f64).collect();
        figures::times(what, times.clone(), &format!("{in_time} of {} in ≤ {} s", runs.len(), goal.as_secs()));
        let (times, failures) = (spread(times, seconds), spread(failures, |count| format!("{count:.0}")));
        format!("| {what} | {} | {in_time} | {} s | {times} | {failures} |\n", runs.len(), goal.as_secs())
    }
}

impl Run {
    /// From lines such as `failed 8123401`, a word and centiseconds. `None`: it has not written again yet.
    fn read(times: &str) -> Option<Self> {
        let words = times.lines().filter_map(|line| line.split_once(' '));
        let lines: Vec<(&str, f64)> = words.filter_map(|(word, at)| Some((word, at.parse().ok()?))).collect();
        let first = lines.iter().position(|(word, _)| *word == "failed")?;
        let again = first + lines[first..].iter().position(|(word, _)| *word == "wrote")?;
        // The first failure is of the run that filled the disk.
        Some(Self { took: Some((lines[again].1 - lines[first].1) * 10.0), failures: again - first - 1 })
    }
}
