//! Is a volume larger before it is full? A Pod writes 50 MB/s until it has written 800 MiB more than its volume had room for.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::figures::{self, percent, rate, seconds, spread};
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{expect, until};
use crate::kubelet::{Kubelet, Profile};
use crate::moments::{done, ms, operator_in, printed};
use crate::page;

/// What the Pod runs.
const WRITER: &str = include_str!("writer.sh");
/// How long the operator has, before the first byte, to know the Pod and how full its volume is.
const SETTLE: Duration = Duration::from_secs(15);
/// How long a run may take: the longest writes 3.4 GB, at no less than 5 MB/s.
const LONGEST: Duration = Duration::from_secs(700);

/// What is written to.
struct Case {
    what: &'static str,
    size: &'static str,
    /// How full it is at first, in percent.
    filled: u64,
}

const CASES: [Case; 2] = [
    Case { what: "600Mi, empty", size: "600Mi", filled: 0 },
    Case { what: "10Gi, 75% full", size: "10Gi", filled: 75 },
];

/// What came of one run. Times in milliseconds.
#[derive(Debug, Default)]
struct Run {
    was_full: bool,
    /// MB/s.
    rate: f64,
    /// The largest share in use that was seen, in percent.
    fullest: f64,
    /// It was larger before it had reached its threshold.
    early: bool,
    crossed_to_larger: Option<f64>,
    patched_to_larger: Option<f64>,
}

/// Measures each case that often, so many at once, and writes the table.
pub async fn measure(runs: u64, at_once: u64, kubelet: &Kubelet) {
    let mut table = String::from(
        "| Volume | Runs | With ENOSPC | Write rate | Highest usage | Expanded before the threshold | \
         Threshold crossed → larger in the Pod | PVC patched → larger in the Pod |\n|---|---|---|---|---|---|---|---|\n",
    );
    for case in CASES {
        let mut ended = Vec::new();
        while (ended.len() as u64) < runs {
            let some = at_once.min(runs - ended.len() as u64);
            ended.extend(join_all((0..some).map(|_| case.run())).await);
        }
        table.push_str(&case.row(&ended));
    }
    let table = format!("{table}\n{} Cells with three values are min, median, max.", kubelet.dated());
    match kubelet.profile() {
        Some(Profile::Tests) => page::write("burst-2s", &table),
        Some(Profile::Defaults) => page::write("burst-1m", &table),
        None => {}
    }
}

impl Case {
    async fn run(&self) -> Run {
        let mut run = Run::default();
        in_namespace("bench-burst", async |space| {
            let set = space.run(&self.set()).await;
            if self.filled > 0 {
                // Allocated, not written.
                let fill = "set -- $(stat -f -c '%b %f %S' /data); fallocate -l";
                let length = format!("$((($1 * {} / 100 - $1 + $2) * $3))", self.filled);
                set.exec(0, &["sh", "-c", &format!("{fill} {length} /data/filled")]).await;
            }
            tokio::time::sleep(SETTLE).await;
            let since = Timestamp::now();
            set.exec(0, &["touch", "/tmp/go"]).await;
            run = Run::read(space, &ended(&set).await, since);
            println!("  {}: {run:?}", self.what);
        })
        .await;
        run
    }

    fn set(&self) -> Set {
        let container = json!([{
            "name": "db", "image": "localhost/busybox:1", "command": ["sh", "-c", WRITER],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }]);
        let set = Set::named("db").template("data", self.size).with_agent().asks("auto-scaled", "true");
        set.with(&json!({"template": {"spec": {"containers": container}}}))
    }

    /// To the terminal, and as a row of the table.
    fn row(&self, runs: &[Run]) -> String {
        let all = |read: fn(&Run) -> f64| runs.iter().map(read).collect::<Vec<_>>();
        let some = |read: fn(&Run) -> Option<f64>| runs.iter().filter_map(read).collect::<Vec<_>>();
        let count = |is: fn(&Run) -> bool| runs.iter().filter(|run| is(run)).count();
        let (full, early) = (count(|run| run.was_full), count(|run| run.early));
        let (rates, fullest) = (spread(all(|run| run.rate), rate), spread(all(|run| run.fullest), percent));
        let [crossed, patched] = [some(|run| run.crossed_to_larger), some(|run| run.patched_to_larger)];
        figures::row(&format!("{}: ENOSPC", self.what), runs.len(), &format!("{full}   goal 0; written {rates}"));
        figures::row(&format!("{}: highest usage", self.what), runs.len(), &fullest);
        figures::times(&format!("{}: threshold → larger", self.what), crossed.clone(), "");
        figures::times(&format!("{}: patched → larger", self.what), patched.clone(), "p50 ≤ 0.4 s, p99 ≤ 1.5 s");
        let [crossed, patched] = [spread(crossed, seconds), spread(patched, seconds)];
        let (what, runs) = (self.what, runs.len());
        format!("| {what} | {runs} | {full} | {rates} | {fullest} | {early} | {crossed} | {patched} |\n")
    }
}

/// What the writer has printed, when it has ended.
async fn ended(set: &Live<'_>) -> Vec<(Timestamp, String)> {
    until("the writer to end", LONGEST, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lines = printed(set.space, "db-0", "db").await;
        expect(lines.iter().any(|(_, line)| line.starts_with("ended ")), || format!("{lines:?}"))?;
        Ok(lines)
    })
    .await
}

impl Run {
    fn read(space: &Space, lines: &[(Timestamp, String)], since: Timestamp) -> Self {
        let failed = lines.iter().find_map(|(_, line)| line.strip_prefix("failed "));
        assert!(failed.is_none_or(|why| why.contains("No space left on device")), "{failed:?}");
        let first = |word: &str| lines.iter().find(|(_, line)| line.starts_with(word)).map(|(at, _)| *at);
        let larger = first("larger");
        let crossed = first("crossed").filter(|crossed| larger.is_none_or(|larger| *crossed < larger));
        let asked = operator_in(space, since);
        let is_patch = |verb: &str, resource: &str| verb == "patch" && resource == "persistentvolumeclaims";
        let patched = asked.iter().find(|one| one.is_a_write() && is_patch(&one.verb, &one.resource)).map(done);
        let to_larger = |from: Option<Timestamp>| Some(ms(from?, larger?));
        Self {
            was_full: failed.is_some(),
            rate: written(lines),
            fullest: if failed.is_some() { 100.0 } else { fullest(lines) },
            early: larger.is_some() && crossed.is_none(),
            crossed_to_larger: to_larger(crossed),
            patched_to_larger: to_larger(patched),
        }
    }
}

/// MB/s, from `ended 1350 MB in 2702 cs`.
fn written(lines: &[(Timestamp, String)]) -> f64 {
    let line = lines.iter().find_map(|(_, line)| line.strip_prefix("ended ")).unwrap();
    let mut numbers = line.split(' ').filter_map(|word| word.parse::<f64>().ok());
    let (megabytes, centiseconds) = (numbers.next().unwrap(), numbers.next().unwrap());
    megabytes * 100.0 / centiseconds.max(1.0)
}

/// The largest share in use just before the volume became larger, in percent: `larger 913` is 91.3.
fn fullest(lines: &[(Timestamp, String)]) -> f64 {
    let shares = lines.iter().filter_map(|(_, line)| line.strip_prefix("larger ")?.parse::<f64>().ok());
    shares.fold(0.0, f64::max) / 10.0
}
