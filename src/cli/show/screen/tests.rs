use std::time::Duration;

use insta::assert_snapshot;
use jiff::SignedDuration;

use super::super::bar;
use super::super::view::{Phase, State, UsageStatus};
use super::*;
use crate::api::bytes::Percent;
use crate::api::reasons::Reason;

fn layout(width: usize) -> Layout {
    let now = "2026-05-01T12:00:00Z".parse().unwrap();
    Layout { now, width, paint: Paint::Plain, detail: Detail::Default }
}

fn seconds_ago(seconds: i64) -> Timestamp {
    layout(0).now - SignedDuration::from_secs(seconds)
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
        full_in: None,
        reaction: None,
    });
    ClaimStatus {
        name: name.into(),
        pod: "db-0".into(),
        class: Some("fast".into()),
        requested: Some(capacity),
        capacity: Some(capacity),
        state: State::Stable,
        usage,
        unknown: None,
        resized_at: None,
    }
}

fn template(name: &str, size: Bytes, expansion: Expansion, claims: Vec<ClaimStatus>) -> TemplateStatus {
    TemplateStatus { name: name.into(), index: 0, size, wanted: None, expansion, notes: vec![], claims }
}

fn by_usage() -> Expansion {
    Expansion::ByUsage(Rule { threshold: Percent::whole(80), increase: "20%".into(), max_size: Some(Bytes::gib(100)) })
}

fn set(templates: Vec<TemplateStatus>) -> SetStatus {
    SetStatus {
        namespace: "shop".into(),
        name: "db".into(),
        replicas: 3,
        ready_replicas: 3,
        managed: true,
        phase: Phase::Stable,
        templates,
        notes: vec![],
        events: vec![],
    }
}

fn during_expansion() -> SetStatus {
    let expanding = ClaimStatus {
        requested: Some(Bytes::gib(12)),
        state: State::Expanding,
        ..claim("data-db-1", Some(81), Bytes::gib(10))
    };
    let expanded = ClaimStatus { resized_at: Some(seconds_ago(190)), ..claim("data-db-2", Some(65), Bytes::gib(12)) };
    let mut claims = vec![claim("data-db-0", Some(40), Bytes::gib(10)), expanding, expanded];
    for usage in claims.iter_mut().filter_map(|claim| claim.usage.as_mut()) {
        usage.reaction = Some(Longest { time: Duration::from_millis(400), of: 8 });
    }
    let mut data = template("data", Bytes::gib(10), by_usage(), claims);
    data.wanted = Some(Bytes::gib(12));
    data.notes = vec![Note::new(
        Reason::AutoResizeTriggered,
        "12Gi",
        "PVC data-db-1 is 81% full, threshold 80%: requesting an expansion of template data from 10Gi to 12Gi",
    )];
    let wal = template("wal", Bytes::gib(5), Expansion::OnRequest, vec![claim("wal-db-0", None, Bytes::gib(5))]);
    let mut set = set(vec![data, wal]);
    set.events = vec![EventStatus {
        claim: None,
        at: seconds_ago(65),
        reason: "ClaimExpanding".into(),
        warning: false,
        note: "expanding PVC data-db-1 from 10Gi to 12Gi".into(),
    }];
    set
}

#[test]
fn an_expansion_at_80_columns() {
    assert_snapshot!(draw(&[during_expansion()], &[], layout(80)));
}

#[test]
fn a_volume_that_fills_is_shown_with_the_time_that_is_left() {
    let check = |state: State, expected: &str| {
        let mut full = claim("data-db-0", Some(70), Bytes::gib(10));
        full.state = state;
        full.usage.as_mut().unwrap().full_in = Some(Duration::from_millis(3_000));
        let drawn = draw(&[set(vec![template("data", Bytes::gib(10), by_usage(), vec![full])])], &[], layout(100));
        assert!(drawn.contains(expected), "{drawn}");
        assert_eq!(drawn.contains("full in"), expected.contains("full in"), "{drawn}");
    };
    check(State::Stable, "full in 3s");
    check(State::Expanding, "expanding, full in 3s");
    // What a person has to do is more important.
    check(State::WaitingForPod, "restart required");
}

#[test]
fn the_slowest_measured_reaction_of_a_template_is_shown_with_the_number_of_expansions() {
    let check = |reactions: &[Option<(u64, usize)>], width: usize, expected: Option<&str>| {
        let claims = reactions.iter().map(|reaction| {
            let mut claim = claim("data-db-0", Some(70), Bytes::gib(10));
            let longest = reaction.map(|(millis, of)| Longest { time: Duration::from_millis(millis), of });
            claim.usage.as_mut().unwrap().reaction = longest;
            claim
        });
        let drawn =
            draw(&[set(vec![template("data", Bytes::gib(10), by_usage(), claims.collect())])], &[], layout(width));
        match expected {
            Some(expected) => assert!(drawn.contains(expected), "{drawn}"),
            None => assert!(!drawn.contains("reaction"), "{drawn}"),
        }
    };
    check(&[], 80, None);
    check(&[None, None], 80, None);
    check(&[None, Some((400, 8))], 80, Some("at most 100Gi, reaction 0.4s (last 8)\n"));
    check(&[Some((1_900, 3)), Some((400, 8))], 80, Some("at most 100Gi, reaction 1.9s (last 3)\n"));
    check(&[Some((69_000, 1))], 100, Some("at most 100Gi, reaction 1m 9s (last 1)\n"));
    check(&[Some((400, 8))], 60, Some("at most 100Gi\n    reaction 0.4s (last 8)\n"));
}

#[test]
fn an_expansion_at_120_columns() {
    assert_snapshot!(draw(&[during_expansion()], &[], layout(120)));
}

#[test]
fn an_expansion_with_all_columns() {
    assert_snapshot!(draw(&[during_expansion()], &[], Layout { detail: Detail::Wide, ..layout(120) }));
}

#[test]
fn no_line_is_wider_than_the_screen() {
    for width in [80, 100, 120, 200] {
        let screen = draw(&[during_expansion()], &["a hint below all StatefulSets".into()], layout(width));
        let widest = screen.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width), "{widest:?} at {width}\n{screen}");
    }
}

#[test]
fn colors_do_not_change_the_text() {
    let colored = draw(&[during_expansion()], &["hint".into()], Layout { paint: Paint::Colored, ..layout(80) });
    let mut plain = String::new();
    let mut inside = false;
    for c in colored.chars() {
        match (inside, c) {
            (false, '\u{1b}') => inside = true,
            (false, c) => plain.push(c),
            (true, 'm') => inside = false,
            (true, _) => {}
        }
    }
    assert_eq!(plain, draw(&[during_expansion()], &["hint".into()], layout(80)));
    assert_ne!(plain, colored);
}

#[test]
fn a_warning_is_shown_below_the_volumes() {
    let mut infeasible = claim("data-db-0", Some(97), Bytes::gib(10));
    (infeasible.state, infeasible.requested) = (State::Infeasible, Some(Bytes::gib(12)));
    let mut data = template("data", Bytes::gib(10), by_usage(), vec![infeasible]);
    data.notes = vec![Note::new(
        Reason::ExpansionInfeasible,
        "smaller-step",
        "PVC data-db-0: the CSI driver cannot provide 12Gi; rso requests 11Gi instead (try 1 of 3). Check the free space of \
         the storage pool or the node",
    )];
    let mut set = set(vec![data]);
    set.phase = Phase::Paused;
    set.ready_replicas = 2;
    let hint = "usage of 1 volume is not shown: you lack the permission to get pods/proxy".to_owned();
    assert_snapshot!(draw(&[set], &[hint], layout(80)));
}

#[test]
fn a_long_name_loses_its_middle_and_keeps_its_ordinal() {
    assert_eq!(shortened("data-db-0"), "data-db-0");
    let cut = shortened("a-very-long-template-name-a-very-long-set-name-12");
    assert_eq!(cut, "a-very-long-tem…long-set-name-12");
    assert_eq!(cut.chars().count(), MAX_NAME_WIDTH);
}

#[test]
fn a_bar_has_its_smallest_width_on_a_narrow_screen_and_its_largest_on_a_wide_one() {
    assert_eq!(bar_width(&during_expansion(), layout(20)), BAR_WIDTHS.0);
    assert_eq!(bar_width(&during_expansion(), layout(300)), BAR_WIDTHS.1);
    assert_eq!(bar::unknown(3), "···");
}
