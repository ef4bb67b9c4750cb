//! From a full volume to a larger one, and the recreation that follows.

use jiff::Timestamp;
use rso::api::bytes::Bytes;
use serde_json::json;

use crate::figures::{counts, markdown, times};
use crate::harness::audit::{self, Request};
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};
use crate::kubelet::{Kubelet, Profile};
use crate::moments::{begun, done, ms, operator_in, printed};
use crate::{memory, page};

/// The size of the volume at first, and what it is expanded by, in MiB.
const FIRST: u64 = 400;
const STEP: u64 = 200;

/// The replicas of the StatefulSet: each has a volume that is expanded in each run.
const REPLICAS: u32 = 3;

/// The moments of one expansion.
#[derive(Default)]
struct Growth {
    crossed_to_patched: Vec<f64>,
    patched_to_larger: Vec<f64>,
    pending_to_larger: Vec<f64>,
    name_absent: Vec<f64>,
    deleted_to_adopted: Vec<f64>,
    reads: Vec<f64>,
    writes: Vec<f64>,
    dry_runs: Vec<f64>,
}

/// Fills the volume of a StatefulSet of three Pods again and again, and prints how long each part took.
pub async fn measure(runs: u64, kubelet: &Kubelet) {
    in_namespace("bench-growth", async |space| {
        // Says so whenever the disk has another size.
        let watch = "was=0; while :; do set -- $(stat -f -c %b /data); \
                     if [ $1 != $was ]; then was=$1; echo larger; fi; usleep 20000; done";
        let container = json!([{
            "name": "db", "image": "localhost/busybox:1", "command": ["sh", "-c", watch],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }]);
        let set = Set::named("db").replicas(REPLICAS).parallel().template("data", "400Mi");
        let set = set.with_agent().grows_by_usage().with(&json!({"template": {"spec": {"containers": container}}}));
        let set = space.run(&set).await;
        let before = set.facts().await;
        let mut growth = Growth::default();
        for run in 0..runs {
            // A run ends with a synchronization of the Pods: without a pause, every expansion would begin at the same time
            // after one. So they are spread over the interval.
            tokio::time::sleep(kubelet.sync.mul_f64(run as f64 / runs as f64)).await;
            growth.run(space, &set, FIRST + STEP * run).await;
        }
        set.facts().await.pods_are_the_same_as(&before);
        growth.print(kubelet);
        memory::measure();
    })
    .await;
}

impl Growth {
    /// One expansion from this size, in MiB, by a step.
    async fn run(&mut self, space: &Space, set: &Live<'_>, mib: u64) {
        let size = Bytes::mib(mib + STEP).to_string();
        // One file after the other looks like a volume that fills fast, whose steps are larger.
        set.annotates(&[("max-size", &size)]).await;
        let started = Timestamp::now();
        // A little more than half of what df counts, in one call: the threshold is crossed at its end. Another file each
        // time, as XFS wants room for the whole length, also for what is allocated already.
        let (full, filled) = (mib * 49 / 100, if mib == FIRST { 0 } else { (mib - STEP) * 49 / 100 });
        let length = (full - filled) * Bytes::MIB;
        let fill = format!("fallocate -l {length} /data/filled.{mib} && echo crossed > /proc/1/fd/1");
        set.exec(0, &["sh", "-c", &fill]).await;
        set.reaches("data", &size).await;
        let crossed = said(set, 0, "crossed", started).await;

        let asked = operator_in(space, started);
        let writes: Vec<_> = asked.iter().filter(|one| one.is_a_write()).collect();
        let patched = writes.iter().find(|one| one.verb == "patch" && one.resource == "persistentvolumeclaims");
        self.crossed_to_patched.extend(patched.map(|one| ms(crossed, done(one))));
        for ordinal in 0..REPLICAS {
            self.expansion(set, ordinal, crossed, &writes).await;
        }
        self.recreation(space, started, &writes);
        set.leaves_no_trace().await;
        self.requests(audit::requests_of_the_operator(&started.to_string()));
    }

    /// How long one volume took: since its PVC was patched, and since the resizer left the rest to the kubelet.
    async fn expansion(&mut self, set: &Live<'_>, ordinal: u32, crossed: Timestamp, writes: &[&Request]) {
        let larger = said(set, ordinal, "larger", crossed).await;
        let claim = format!("/namespaces/{}/persistentvolumeclaims/data-db-{ordinal}", set.space.name);
        let is_about_it = |one: &&Request| one.uri.split('?').next().is_some_and(|path| path.contains(&claim));
        if let Some(patched) = writes.iter().find(|one| one.verb == "patch" && is_about_it(one)) {
            self.patched_to_larger.push(ms(done(patched), larger));
        }
        // With its last write before the Pod has the size, the resizer sets NodeResizePending.
        let resizer = audit::requests_of("system:csi-resizer", &crossed.to_string());
        let pending = resizer.iter().filter(|one| is_about_it(one)).map(done).filter(|at| *at < larger).max();
        self.pending_to_larger.extend(pending.map(|at| ms(at, larger)));
    }

    /// How long the StatefulSet was absent, and its Pods without an owner.
    fn recreation(&mut self, space: &Space, started: Timestamp, writes: &[&Request]) {
        let first = |verb: &str| writes.iter().find(|one| one.verb == verb && one.resource == "statefulsets");
        let (Some(deleted), Some(created)) = (first("delete"), first("create")) else {
            panic!("no recreation in the audit log: {writes:?}");
        };
        let before_create = writes.iter().filter(|one| one.resource == "statefulsets" && done(one) < done(created));
        let released = before_create.max_by_key(|one| done(one)).expect("nothing released the StatefulSet");
        self.name_absent.push(ms(done(released), done(created)));
        let adoptions =
            audit::requests_of("system:serviceaccount:kube-system:statefulset-controller", &started.to_string());
        let adopted = adoptions.iter().filter(|one| one.namespace == space.name && one.resource == "pods");
        if let Some(last) = adopted.filter(|one| one.verb == "patch").map(done).max() {
            self.deleted_to_adopted.push(ms(begun(deleted), last));
        }
    }

    /// What the recreation asked of the API server, from its first dry run to the end of its journal. Only this StatefulSet is
    /// recreated meanwhile. The complete observation that comes before the first dry run is counted too.
    fn requests(&mut self, mut asked: Vec<Request>) {
        // The log has them in the order of their answers, and a watch twice.
        asked.sort_by(|one, other| (&one.at, &one.uri).cmp(&(&other.at, &other.uri)));
        asked.dedup_by(|one, other| (&one.at, &one.uri) == (&other.at, &other.uri));
        let is_dry = |one: &&Request| one.uri.contains("dryRun=All");
        let first = asked.iter().position(|one| one.resource == "statefulsets" && is_dry(&one)).unwrap_or_default();
        let last = asked.iter().rposition(|one| one.verb == "delete" && one.resource == "configmaps");
        let Some(last) = last else { panic!("no journal was deleted: {asked:?}") };
        let begins = |one: &Request| one.verb == "get" && one.resource == "statefulsets";
        let begun = asked[..first].iter().rposition(begins).unwrap_or(first);
        let all = &asked[begun..=last];
        let count = |is_it: &dyn Fn(&&Request) -> bool| all.iter().filter(is_it).count() as f64;
        let of_it = |one: &Request| !matches!(one.resource.as_str(), "events" | "persistentvolumeclaims");
        self.reads.push(count(&|one| one.is_a_read()));
        self.writes.push(count(&|one| one.is_a_write() && of_it(one)));
        self.dry_runs.push(count(&|one| is_dry(one) && of_it(one)));
    }

    /// To the terminal, and to the page if the kubelet has the settings of one of the two profiles.
    fn print(self, kubelet: &Kubelet) {
        let rows = [
            times("threshold crossed → PVC patched", self.crossed_to_patched, "≤ 2 s"),
            times("PVC patched → larger in the Pod", self.patched_to_larger, ""),
            times("NodeResizePending → larger in the Pod", self.pending_to_larger, ""),
            times("StatefulSet absent", self.name_absent, "p50 ≤ 20 ms"),
            times("DELETE → last Pod adopted", self.deleted_to_adopted, "p50 ≤ 150 ms"),
            counts("reads of the API server for each recreation", self.reads, "≤ 40"),
            counts("its writes, without Events", self.writes, ""),
            counts("its dry runs", self.dry_runs, ""),
        ];
        let table = markdown(&rows, &kubelet.dated());
        match kubelet.profile() {
            Some(Profile::Tests) => page::write("expansion-2s", &table),
            Some(Profile::Defaults) => page::write("expansion-1m", &table),
            None => {}
        }
    }
}

/// When that Pod said the word for the first time since.
async fn said(set: &Live<'_>, ordinal: u32, word: &str, since: Timestamp) -> Timestamp {
    let pod = format!("db-{ordinal}");
    until(&format!("{pod} to say {word}"), PATIENCE, async || {
        let lines = printed(set.space, &pod, "db").await;
        let first = lines.iter().filter(|(at, line)| line.contains(word) && *at > since).map(|(at, _)| *at).min();
        expect(first.is_some(), || format!("{lines:?}"))?;
        Ok(first.unwrap_or_default())
    })
    .await
}
