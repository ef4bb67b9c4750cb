//! What do volumes cost at which nothing happens? CPU time, memory, and requests of the leader, of the other replica, and of
//! a peer, in a window of time.

use std::time::{Duration, Instant};

use crate::fleet::{self, Fleet};
use crate::harness::audit;
use crate::harness::operator::NAMESPACE;
use crate::load;
use crate::measure::{Resize, claim};
use crate::operator::Operator;
use crate::peer::{self, Peer};
use crate::process::Process;
use crate::report::{self, FleetRow, Used};
use crate::sizing;
use crate::stage::Stage;

/// How old the oldest reading may be: a request is held for 58 s at most.
const OLDEST: f64 = 120.0;
/// Seconds of CPU time each minute, whatever else runs on the machine: half a core.
const CPU: f64 = 30.0;
/// How far the metric may be from what the agents know: it has whole seconds, and both look one after the other.
const METRIC: f64 = 5.0;

/// Measures each step of the fleet, under the memory limit that is to be enough for it.
pub async fn measure(mut stage: Stage, wanted: &load::Fleet) -> (Stage, Vec<FleetRow>) {
    let (mut fleet, mut rows) = (Fleet::named("fleet"), Vec::new());
    for volumes in wanted.steps {
        stage.post.limit = sizing::limit(*volumes, 0);
        stage = stage.start_again().await;
        fleet.grow(&mut stage, *volumes).await;
        let mut of_step;
        (stage, of_step) = step(stage, &mut fleet, wanted, 0).await;
        rows.append(&mut of_step);
    }
    if wanted.others > 0 {
        stage.post.limit = sizing::limit(fleet.volumes(), wanted.others);
        stage = stage.start_again().await;
        fleet::others(&mut stage, wanted.others).await;
        let mut of_step;
        (stage, of_step) = step(stage, &mut fleet, wanted, wanted.others).await;
        rows.append(&mut of_step);
    }
    (stage, rows)
}

/// Starts the operator anew, so that its memory is that of so many volumes, and measures.
async fn step(stage: Stage, fleet: &mut Fleet, wanted: &load::Fleet, others: usize) -> (Stage, Vec<FleetRow>) {
    fleet.forget(&stage);
    let began = Instant::now();
    let mut stage = stage.start_again().await;
    stage.until_asked().await;
    let asked = began.elapsed();
    let mut standby = stage.post.start_standby().await;
    let peer = Peer::start(&stage.api, &fleet.claims(), stage.agents.size()).await;
    tokio::time::sleep(Duration::from_secs(wanted.calm)).await;
    if let Some(peer) = &peer {
        peer.until_all_are_read().await;
    }
    let window = Window::open(&stage, &standby, peer.as_ref());
    tokio::time::sleep(Duration::from_secs(wanted.window)).await;
    let mut rows = window.close(&mut stage, &mut standby, peer.as_ref()).await;
    if let Some(peer) = peer {
        peer.stop(&stage.api).await;
    }
    for row in &mut rows {
        (row.volumes, row.others) = (fleet.volumes(), others);
    }
    rows[0].started = Some(asked);
    rows[0].formula = Some(stage.limit());
    let crossed = cross(&mut stage, fleet, wanted.crossing).await;
    rows[0].used.peak = rows[0].used.peak.max(crossed.peak);
    rows[0].patched = crossed.patched;
    standby.stop().await;
    rows.iter().for_each(|row| println!("{}", row.line()));
    check(&rows[0]);
    (stage, rows)
}

async fn cross(stage: &mut Stage, fleet: &mut Fleet, count: usize) -> report::Row {
    let sets = fleet.some(count);
    let resize = Resize { sets: sets.clone(), claims: 1, from: stage.agents.size() };
    let (what, beside) =
        (format!("{count} StatefulSets cross their threshold"), format!("{} volumes", fleet.volumes()));
    let cross = async |stage: &Stage| sets.iter().for_each(|(space, set)| stage.agents.fill(space, &claim(set, 0)));
    resize.measure(stage, what, beside, cross).await
}

/// What has to be true of every row of the operator.
fn check(row: &FleetRow) {
    let standby = row.standby.as_ref().unwrap();
    for (who, used) in [("leader", &row.used), ("other replica", standby)] {
        assert_eq!(used.requests, 0.0, "API requests of the {who} each minute, other than for the Lease");
        let formula = row.formula.unwrap();
        assert!(used.peak <= formula, "the {who} has needed {}, and {formula} was to be enough", used.peak);
    }
    assert!(row.used.cpu <= CPU, "{} s of CPU time each minute", row.used.cpu);
    assert!(row.oldest.is_some_and(|oldest| oldest <= OLDEST), "the oldest reading is {:?} s old", row.oldest);
}

/// What there was when the window was opened.
struct Window {
    opened: Instant,
    since: String,
    agents: u64,
    pages: u64,
    leader: f64,
    standby: f64,
    peer: f64,
}

impl Window {
    fn open(stage: &Stage, standby: &Operator, peer: Option<&Peer>) -> Self {
        Self {
            opened: Instant::now(),
            since: audit::now(),
            agents: stage.agents.requests(),
            pages: peer.map_or(0, Peer::pages),
            leader: stage.operator.process().cpu(),
            standby: standby.process().cpu(),
            peer: peer.map_or(0.0, |peer| peer.process().cpu()),
        }
    }

    /// The rows of the operator and of the peer.
    async fn close(self, stage: &mut Stage, standby: &mut Operator, peer: Option<&Peer>) -> Vec<FleetRow> {
        stage.operator.lives();
        standby.lives();
        let leader = self.used(stage.operator.process(), self.leader, |request| request.token == stage.operator.token);
        let of_standby = self.used(standby.process(), self.standby, |request| request.token == standby.token);
        let oldest = stage.operator.metric("rso_usage_oldest_reading_seconds").await;
        let answer = stage.agents.oldest_answer().as_secs_f64();
        assert!((oldest - answer).abs() < METRIC, "the oldest reading is {oldest} s old, the oldest answer {answer} s");
        let agents = self.each_minute((stage.agents.requests() - self.agents) as f64);
        let load = report::load();
        let ours = FleetRow {
            program: "rso".to_owned(),
            used: leader,
            standby: Some(of_standby),
            asked: agents,
            oldest: Some(oldest),
            load: load.clone(),
            ..FleetRow::default()
        };
        let theirs = peer.map(|peer| FleetRow {
            program: "pvc-autoresizer".to_owned(),
            used: self.used(peer.process(), self.peer, |request| request.user.ends_with(peer::ACCOUNT)),
            asked: self.each_minute((peer.pages() - self.pages) as f64),
            oldest: peer.oldest().map(|age| age.as_secs_f64()),
            load,
            ..FleetRow::default()
        });
        std::iter::once(ours).chain(theirs).collect()
    }

    fn used(&self, process: Process, cpu: f64, is_its: impl Fn(&audit::Request) -> bool) -> Used {
        let requests = audit::requests_of(&format!("system:serviceaccount:{NAMESPACE}:"), &self.since);
        let its: Vec<&audit::Request> = requests.iter().filter(|request| is_its(request)).collect();
        let (leases, others): (Vec<_>, Vec<_>) = its.into_iter().partition(|request| request.resource == "leases");
        // A watch is opened again after some minutes, and then waits.
        let others: Vec<_> = others.into_iter().filter(|request| request.verb != "watch").collect();
        others.iter().for_each(|request| println!("{} {} {}", request.verb, request.resource, request.uri));
        let resident = process.resident();
        Used {
            cpu: self.each_minute(process.cpu() - cpu),
            resident,
            peak: process.peak().max(resident),
            leases: self.each_minute(leases.len() as f64),
            requests: self.each_minute(others.len() as f64),
        }
    }

    fn each_minute(&self, count: f64) -> f64 {
        count * 60.0 / self.opened.elapsed().as_secs_f64()
    }
}
