use insta::assert_snapshot;
use jiff::SignedDuration;

use super::super::bar;
use super::super::view::{Phase, State, UsageStatus};
use super::*;
use crate::api::bytes::Percent;
use crate::api::reasons::Reason;

fn look(width: usize) -> Look {
    let now = "2026-05-01T12:00:00Z".parse().unwrap();
    Look { now, width, paint: Paint::Bare, detail: Detail::Usual }
}

fn seconds_ago(seconds: i64) -> Timestamp {
    look(0).now - SignedDuration::from_secs(seconds)
}

fn claim(name: &str, full: Option<u32>, capacity: Bytes) -> ClaimStatus {
    let usage = full.map(|full| UsageStatus {
        used: capacity.share(Percent::whole(full)),
        available: capacity.share(Percent::whole(100_u32.saturating_sub(full))),
        total: capacity,
        full: Percent::whole(full),
        inodes_full: Some(Percent::whole(3)),
        source: "agent",
        at: seconds_ago(2),
    });
    ClaimStatus {
        name: name.into(),
        pod: "db-0".into(),
        class: Some("fast".into()),
        requested: Some(capacity),
        capacity: Some(capacity),
        state: State::Settled,
        usage,
        unknown: None,
        resized_at: None,
    }
}

fn template(name: &str, size: Bytes, growth: Growth, claims: Vec<ClaimStatus>) -> TemplateStatus {
    TemplateStatus { name: name.into(), index: 0, size, wanted: None, growth, notes: vec![], claims }
}

fn by_usage() -> Growth {
    Growth::ByUsage(Rule { threshold: Percent::whole(80), increase: "20%".into(), max_size: Some(Bytes::gib(100)) })
}

fn set(templates: Vec<TemplateStatus>) -> SetStatus {
    SetStatus {
        namespace: "shop".into(),
        name: "db".into(),
        replicas: 3,
        ready_replicas: 3,
        managed: true,
        phase: Phase::Settled,
        templates,
        notes: vec![],
        events: vec![],
    }
}

fn busy() -> SetStatus {
    let growing = ClaimStatus {
        requested: Some(Bytes::gib(12)),
        state: State::Growing,
        ..claim("data-db-1", Some(81), Bytes::gib(10))
    };
    let grown = ClaimStatus { resized_at: Some(seconds_ago(190)), ..claim("data-db-2", Some(65), Bytes::gib(12)) };
    let claims = vec![claim("data-db-0", Some(40), Bytes::gib(10)), growing, grown];
    let mut data = template("data", Bytes::gib(10), by_usage(), claims);
    data.wanted = Some(Bytes::gib(12));
    data.notes = vec![Note::new(
        Reason::AutoResizeTriggered,
        "data-db-1 is 81% full, at or above 80%: all claims of data grow from 10Gi to 12Gi",
    )];
    let wal = template("wal", Bytes::gib(5), Growth::OnRequest, vec![claim("wal-db-0", None, Bytes::gib(5))]);
    let mut set = set(vec![data, wal]);
    set.events = vec![EventStatus {
        claim: None,
        at: seconds_ago(65),
        reason: "ClaimExpanding".into(),
        warning: false,
        note: "claim data-db-1 is asked to grow from 10Gi to 12Gi".into(),
    }];
    set
}

#[test]
fn a_busy_set_at_80_columns() {
    assert_snapshot!(draw(&[busy()], &[], look(80)));
}

#[test]
fn a_busy_set_at_120_columns() {
    assert_snapshot!(draw(&[busy()], &[], look(120)));
}

#[test]
fn a_busy_set_with_all_columns() {
    assert_snapshot!(draw(&[busy()], &[], Look { detail: Detail::Wide, ..look(120) }));
}

#[test]
fn no_line_is_wider_than_the_screen() {
    for width in [80, 100, 120, 200] {
        let screen = draw(&[busy()], &["a hint that is told once".into()], look(width));
        let widest = screen.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width), "{widest:?} at {width}\n{screen}");
    }
}

#[test]
fn colours_are_only_paint() {
    let coloured = draw(&[busy()], &["hint".into()], Look { paint: Paint::Coloured, ..look(80) });
    let mut bare = String::new();
    let mut inside = false;
    for c in coloured.chars() {
        match (inside, c) {
            (false, '\u{1b}') => inside = true,
            (false, c) => bare.push(c),
            (true, 'm') => inside = false,
            (true, _) => {}
        }
    }
    assert_eq!(bare, draw(&[busy()], &["hint".into()], look(80)));
    assert_ne!(bare, coloured);
}

#[test]
fn what_a_person_must_act_on_is_told_below_the_volumes() {
    let mut infeasible = claim("data-db-0", Some(97), Bytes::gib(10));
    (infeasible.state, infeasible.requested) = (State::Infeasible, Some(Bytes::gib(12)));
    let mut data = template("data", Bytes::gib(10), by_usage(), vec![infeasible]);
    data.notes = vec![Note::new(
        Reason::ExpansionInfeasible,
        "claim data-db-0: the driver cannot make 12Gi; asking for 11Gi instead. Check the free space of the pool",
    )];
    let mut set = set(vec![data]);
    set.phase = Phase::Paused;
    set.ready_replicas = 2;
    let hint = "usage of 1 volume is unknown: you may not read pods/proxy".to_owned();
    assert_snapshot!(draw(&[set], &[hint], look(80)));
}

#[test]
fn a_long_name_loses_its_middle_and_keeps_its_ordinal() {
    assert_eq!(shortened("data-db-0"), "data-db-0");
    let cut = shortened("a-very-long-template-name-a-very-long-set-name-12");
    assert_eq!(cut, "a-very-long-tem…long-set-name-12");
    assert_eq!(cut.chars().count(), NAME);
}

#[test]
fn a_bar_has_room_at_any_width() {
    assert_eq!(bar_width(&busy(), look(20)), BAR.0);
    assert_eq!(bar_width(&busy(), look(300)), BAR.1);
    assert_eq!(bar::unknown(3), "···");
}
