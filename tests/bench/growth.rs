//! From a full volume to a larger one, and the recreate that follows.

use jiff::Timestamp;
use rso::api::bytes::Bytes;
use serde_json::json;

use crate::figures::times;
use crate::harness::audit::{self, Request};
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};
use crate::memory;

/// The size of the volume at first, and what it grows by, in MiB.
const FIRST: u64 = 400;
const STEP: u64 = 200;

/// The moments of one growth.
#[derive(Default)]
struct Growth {
    crossed_to_patched: Vec<f64>,
    patched_to_larger: Vec<f64>,
    name_absent: Vec<f64>,
    deleted_to_adopted: Vec<f64>,
}

/// Fills the volume of a set of three pods again and again, and prints how long each part took.
pub async fn measure(runs: u64) {
    in_namespace("bench-growth", async |space| {
        // Says so whenever the disk has another size.
        let watch = "was=0; while :; do set -- $(stat -f -c %b /data); \
                     if [ $1 != $was ]; then was=$1; echo larger; fi; usleep 20000; done";
        let container = json!([{
            "name": "db", "image": "localhost/busybox:1", "command": ["sh", "-c", watch],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }]);
        let set = Set::named("db").replicas(3).parallel().template("data", "400Mi").with_agent().grows_by_usage();
        let set = space.run(&set.with(&json!({"template": {"spec": {"containers": container}}}))).await;
        let before = set.facts().await;
        let mut growth = Growth::default();
        for run in 0..runs {
            growth.run(space, &set, FIRST + STEP * run).await;
        }
        set.facts().await.pods_are_the_same_as(&before);
        times("threshold crossed → claim patched", growth.crossed_to_patched, "≤ 2 s");
        times("claim patched → larger in the pod", growth.patched_to_larger, "");
        times("name absent", growth.name_absent, "p50 ≤ 20 ms");
        times("DELETE → last pod adopted", growth.deleted_to_adopted, "p50 ≤ 300 ms");
        memory::measure();
    })
    .await;
}

impl Growth {
    /// One growth from this size, in MiB, by a step.
    async fn run(&mut self, space: &Space, set: &Live<'_>, mib: u64) {
        let size = Bytes::mib(mib + STEP).to_string();
        let started = Timestamp::now();
        // A little more than half of what df counts, in one call: the threshold is crossed at its end. Another file each
        // time, as XFS wants room for the whole length, also for what is allocated already.
        let (full, filled) = (mib * 49 / 100, if mib == FIRST { 0 } else { (mib - STEP) * 49 / 100 });
        let length = (full - filled) * Bytes::MIB;
        let fill = format!("fallocate -l {length} /data/filled.{mib} && echo crossed > /proc/1/fd/1");
        set.exec(0, &["sh", "-c", &fill]).await;
        set.reaches("data", &size).await;
        let crossed = said(set, "crossed", started).await;
        let larger = said(set, "larger", crossed).await;

        let asked = operator_in(space, started);
        let writes: Vec<_> = asked.iter().filter(|one| one.is_a_write()).collect();
        let first = |verb: &str, resource: &str| writes.iter().find(|one| one.verb == verb && one.resource == resource);
        if let Some(patched) = first("patch", "persistentvolumeclaims") {
            self.crossed_to_patched.push(ms(crossed, done(patched)));
            self.patched_to_larger.push(ms(done(patched), larger));
        }
        let (Some(deleted), Some(created)) = (first("delete", "statefulsets"), first("create", "statefulsets")) else {
            panic!("no recreate in the audit log: {writes:?}");
        };
        let before_create = writes.iter().filter(|one| one.resource == "statefulsets" && done(one) < done(created));
        let released = before_create.max_by_key(|one| done(one)).expect("nothing released the set");
        self.name_absent.push(ms(done(released), done(created)));
        let adoptions =
            audit::requests_of("system:serviceaccount:kube-system:statefulset-controller", &started.to_string());
        let adopted = adoptions.iter().filter(|one| one.namespace == space.name && one.resource == "pods");
        if let Some(last) = adopted.filter(|one| one.verb == "patch").map(done).max() {
            self.deleted_to_adopted.push(ms(begun(deleted), last));
        }
    }
}

fn operator_in(space: &Space, since: Timestamp) -> Vec<Request> {
    let all = audit::requests_of_the_operator(&since.to_string());
    all.into_iter().filter(|one| one.namespace == space.name).collect()
}

/// When pod 0 said the word for the first time since.
async fn said(set: &Live<'_>, word: &str, since: Timestamp) -> Timestamp {
    until(&format!("the pod to say {word}"), PATIENCE, async || {
        let log = set.space.kubectl(&["logs", "db-0", "-c", "db", "--timestamps"]).await;
        let times =
            log.lines().filter(|line| line.contains(word)).filter_map(|line| line.split_once(' ')?.0.parse().ok());
        let first = times.filter(|time| *time > since).min();
        expect(first.is_some(), || log.clone())?;
        Ok(first.unwrap_or_default())
    })
    .await
}

/// When the server had received it.
fn begun(request: &Request) -> Timestamp {
    request.at.parse().unwrap()
}

/// When the server had answered it.
fn done(request: &Request) -> Timestamp {
    request.answered.parse().unwrap()
}

fn ms(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_millis_f64()
}
