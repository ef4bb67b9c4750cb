use proptest::prelude::*;

use super::*;
use crate::policy::samples::{at, claim, growing};

const TEN: Bytes = Bytes::gib(10);
const TWELVE: Bytes = Bytes::gib(12);

fn driver() -> Driver {
    Driver::default()
}

/// The step in one line: `settled`, `patch 12Gi Reason`, `wait Reason`, `blocked Reason`.
fn told(step: &ClaimStep) -> String {
    match step {
        ClaimStep::Settled => "settled".to_owned(),
        ClaimStep::Patch { to, note } => format!("patch {to} {}", note.reason),
        ClaimStep::Wait(note) => format!("wait {}", note.reason),
        ClaimStep::Blocked(note) => format!("blocked {}", note.reason),
    }
}

#[test]
fn a_healthy_claim_is_asked_to_grow_once() {
    let check = |claim: Claim, target: Bytes, expected: &str| {
        assert_eq!(told(&next(&claim, target, None, &driver(), at(0))), expected, "{claim:?}");
    };
    check(claim(0, TEN), TWELVE, "patch 12Gi ClaimExpanding");
    check(claim(0, TEN), TEN, "settled");
    check(claim(0, TWELVE), TEN, "settled");
    // The driver made more than was asked for, and what it made is enough.
    check(Claim { requested: TEN, ..claim(0, TWELVE) }, TWELVE, "settled");
    check(Claim { requested: TEN, ..claim(0, TWELVE) }, TEN, "settled");
    check(growing(TEN, TWELVE, Resize::None), TWELVE, "wait ClaimExpanding");
    check(growing(TEN, TWELVE, Resize::ControllerInProgress), TWELVE, "wait ClaimExpanding");
    // Nothing more is asked for while an expansion runs.
    check(growing(TEN, TWELVE, Resize::ControllerInProgress), Bytes::gib(20), "wait ClaimExpanding");
    check(growing(TEN, TWELVE, Resize::NodeInProgress), Bytes::gib(20), "wait ClaimExpanding");
    // The capacity is there, but the status still says that the node is at it.
    check(Claim { resize: Resize::NodeInProgress, ..claim(0, TWELVE) }, TWELVE, "wait ClaimExpanding");
}

#[test]
fn a_claim_that_cannot_be_asked_is_told() {
    let check = |claim: Claim, expected: &str| {
        assert_eq!(told(&next(&claim, TWELVE, None, &driver(), at(0))), expected, "{claim:?}");
    };
    check(Claim { phase: Phase::Pending, capacity: None, ..claim(0, TEN) }, "wait TemplateSyncDeferred");
    check(Claim { phase: Phase::Pending, capacity: None, ..claim(0, TWELVE) }, "settled");
    check(Claim { phase: Phase::Lost, ..claim(0, TEN) }, "blocked TemplateSyncBlocked");
    check(Claim { deleting: true, protected: false, ..claim(0, TEN) }, "wait TemplateSyncDeferred");
    // A pod runs on it: it is live data until the pod ends.
    check(Claim { deleting: true, ..claim(0, TEN) }, "patch 12Gi ClaimExpanding");
    check(Claim { capacity: None, ..claim(0, TEN) }, "wait TemplateSyncDeferred");
    check(Claim { class: None, ..claim(0, TEN) }, "blocked StorageClassNotExpandable");
    let class = claim(0, TEN).class.map(|class| Class { expandable: false, ..class });
    check(Claim { class: class.clone(), ..claim(0, TEN) }, "blocked StorageClassNotExpandable");
    // What need not grow is no trouble.
    check(Claim { class, ..claim(0, TWELVE) }, "settled");
}

#[test]
fn the_limits_of_the_driver_hold() {
    let check = |driver: Driver, target: Bytes, expected: &str| {
        assert_eq!(told(&next(&claim(0, TEN), target, None, &driver, at(0))), expected, "{driver:?}");
    };
    check(Driver { growth: Growth::Never, ..driver() }, TWELVE, "blocked StorageClassNotExpandable");
    check(Driver { growth: Growth::Offline, ..driver() }, TWELVE, "patch 12Gi ClaimExpanding");
    check(Driver { max_size: Some(Bytes::gib(11)), ..driver() }, TWELVE, "patch 11Gi ClaimExpanding");
    check(Driver { max_size: Some(TEN), ..driver() }, TWELVE, "blocked MaxSizeReached");
    check(Driver { max_size: Some(Bytes::gib(5)), ..driver() }, TWELVE, "blocked MaxSizeReached");
}

#[test]
fn an_expansion_that_does_not_end_is_told() {
    assert_eq!(STUCK_AFTER.as_secs(), 600);
    let long = i64::try_from(STUCK_AFTER.as_secs()).expect("small");
    let check = |resize: Resize, growth: Growth, since: i64, expected: &str| {
        let claim = Claim { resized_at: Some(at(-since)), ..growing(TEN, TWELVE, resize) };
        let step = next(&claim, TWELVE, None, &Driver { growth, ..driver() }, at(0));
        assert_eq!(told(&step), format!("wait {expected}"), "{resize:?} {growth:?} {since}");
    };
    check(Resize::ControllerInProgress, Growth::Online, long - 1, "ClaimExpanding");
    check(Resize::ControllerInProgress, Growth::Online, long, "ExpansionStuck");
    check(Resize::NodeInProgress, Growth::Online, long, "ExpansionStuck");
    check(Resize::None, Growth::Online, long, "ExpansionStuck");
    check(Resize::NodePending, Growth::Online, long - 1, "ClaimExpanding");
    check(Resize::NodePending, Growth::Online, long, "OfflineExpansionNeeded");
    check(Resize::FileSystemResizePending, Growth::Online, long, "OfflineExpansionNeeded");
    check(Resize::FileSystemResizePending, Growth::Offline, 1, "OfflineExpansionNeeded");
    check(Resize::ControllerInProgress, Growth::Offline, 1, "OfflineExpansionNeeded");
}

#[test]
fn what_waits_for_a_pod_is_asked_for_more_and_what_the_driver_is_at_is_not() {
    let check = |resize: Resize, growth: Growth, asked: bool| {
        let half_way = Claim { requested: TWELVE, resize, ..claim(0, TEN) };
        let step = next(&half_way, Bytes::gib(20), None, &Driver { growth, ..driver() }, at(0));
        assert_eq!(matches!(step, ClaimStep::Patch { to, .. } if to == Bytes::gib(20)), asked, "{resize:?} {step:?}");
    };
    check(Resize::NodePending, Growth::Online, true);
    check(Resize::FileSystemResizePending, Growth::Online, true);
    check(Resize::ControllerInProgress, Growth::Online, false);
    check(Resize::NodeInProgress, Growth::Online, false);
    check(Resize::None, Growth::Online, false);
    check(Resize::ControllerInProgress, Growth::Offline, true);
}

#[test]
fn committed_is_not_done() {
    let check = |claim: Claim, committed: bool, done: bool| {
        assert_eq!((claim.is_committed(TWELVE), claim.is_done()), (committed, done), "{claim:?}");
    };
    check(claim(0, TEN), false, true);
    check(growing(TEN, TWELVE, Resize::None), true, false);
    check(growing(TEN, TWELVE, Resize::FileSystemResizePending), true, false);
    check(Claim { resize: Resize::NodePending, ..claim(0, TWELVE) }, true, false);
    check(claim(0, TWELVE), true, true);
    check(Claim { capacity: None, ..claim(0, TWELVE) }, true, false);
}

/// What the loop does: look, remember the refusal, take the step.
fn halvings(resize: Resize, target: Bytes) -> Vec<String> {
    let mut claim = growing(TEN, target, resize);
    let (mut refused, mut steps) = (None, Vec::new());
    for round in 0..10 {
        // Two looks at the same refusal count once.
        refused = refusal(&claim, refused.as_ref(), at(round * 60));
        refused = refusal(&claim, refused.as_ref(), at(round * 60 + 1));
        let step = next(&claim, target, refused.as_ref(), &driver(), at(round * 60 + 1));
        steps.push(told(&step));
        match step {
            ClaimStep::Patch { to, .. } => claim.requested = to,
            ClaimStep::Settled | ClaimStep::Wait(_) | ClaimStep::Blocked(_) => break,
        }
    }
    steps
}

#[test]
fn an_infeasible_size_is_halved_three_times() {
    for resize in [Resize::ControllerInfeasible, Resize::NodeInfeasible] {
        assert_eq!(
            halvings(resize, Bytes::gib(26)),
            [
                "patch 18Gi ExpansionInfeasible",
                "patch 14Gi ExpansionInfeasible",
                "patch 12Gi ExpansionInfeasible",
                "blocked ExpansionInfeasible"
            ]
        );
    }
    let tiny = TEN.saturating_add(Bytes::mib(2));
    assert_eq!(
        halvings(Resize::NodeInfeasible, tiny),
        ["patch 10241Mi ExpansionInfeasible", "blocked ExpansionInfeasible"]
    );
    assert_eq!(halvings(Resize::NodeInfeasible, TEN.saturating_add(Bytes(1))), ["blocked ExpansionInfeasible"]);
}

#[test]
fn after_a_refusal_the_size_is_not_asked_for_again_for_an_hour() {
    let refused = Refusal { size: TWELVE, times: 1, at: at(0) };
    let check = |target: Bytes, now: i64, expected: &str| {
        assert_eq!(told(&next(&claim(0, TEN), target, Some(&refused), &driver(), at(now))), expected, "{target} {now}");
    };
    check(TWELVE, 60, "blocked ExpansionInfeasible");
    check(Bytes::gib(20), 3599, "blocked ExpansionInfeasible");
    check(Bytes::gib(20), 3600, "patch 20Gi ClaimExpanding");
    check(Bytes::gib(11), 60, "patch 11Gi ClaimExpanding");
    check(TEN, 60, "settled");
}

#[test]
fn a_refusal_is_forgotten_when_it_no_longer_holds() {
    let known = Refusal { size: TWELVE, times: 2, at: at(0) };
    let check = |claim: Claim, now: i64, expected: Option<Refusal>| {
        assert_eq!(refusal(&claim, Some(&known), at(now)), expected, "{now}");
    };
    check(claim(0, TEN), 3599, Some(known));
    check(claim(0, TEN), 3600, None);
    check(growing(TEN, TWELVE, Resize::NodeInfeasible), 9999, Some(known));
    let other = Refusal { size: Bytes::gib(11), times: 3, at: at(5) };
    check(growing(TEN, Bytes::gib(11), Resize::NodeInfeasible), 5, Some(other));
    assert_eq!(refusal(&claim(0, TEN), None, at(0)), None);
}

#[test]
fn the_words_of_kubernetes_are_read_and_an_unknown_one_is_waited_for() {
    let check = |word: &str, expected: Resize| assert_eq!(Resize::from_word(word), expected, "{word}");
    check("", Resize::None);
    check("ControllerResizeInProgress", Resize::ControllerInProgress);
    check("ControllerResizeInfeasible", Resize::ControllerInfeasible);
    check("NodeResizePending", Resize::NodePending);
    check("NodeResizeInProgress", Resize::NodeInProgress);
    check("NodeResizeInfeasible", Resize::NodeInfeasible);
    check("FileSystemResizePending", Resize::FileSystemResizePending);
    check("SomethingOfTheFuture", Resize::ControllerInProgress);
}

#[test]
fn every_note_names_the_pvc_and_ends_with_what_to_do() {
    let check = |claim: Claim, driver: Driver, end: &str| {
        let note = match next(&claim, TWELVE, None, &driver, at(0)) {
            ClaimStep::Patch { note, .. } | ClaimStep::Wait(note) | ClaimStep::Blocked(note) => note,
            ClaimStep::Settled => panic!("settled"),
        };
        assert!(note.text.contains("data-db-0") && note.text.ends_with(end), "{note}");
        assert_eq!(note.object, "data-db-0", "{note}");
        assert!(note.text.len() < 900, "{note}");
    };
    let never = Driver { growth: Growth::Never, ..driver() };
    check(Claim { phase: Phase::Lost, ..claim(0, TEN) }, driver(), "or delete the PVC");
    check(claim(0, TEN), never, "move the data to a PVC of another StorageClass");
    check(Claim { class: None, ..claim(0, TEN) }, driver(), "to a PVC of a StorageClass that allows expansion");
    check(growing(TEN, TWELVE, Resize::NodeInfeasible), driver(), "the free space of the storage pool or the node");
    check(
        Claim { resized_at: Some(at(-3600)), ..growing(TEN, TWELVE, Resize::ControllerInProgress) },
        driver(),
        "the log of the CSI driver's resizer",
    );
    check(
        Claim { resized_at: Some(at(-3600)), ..growing(TEN, TWELVE, Resize::NodePending) },
        driver(),
        "restart Pod db-0 when convenient",
    );
}

#[test]
fn a_pvc_that_is_being_deleted_under_its_pod_is_reported_with_what_to_do() {
    let note = goes_with_its_pod(&Claim { deleting: true, ..claim(1, TEN) }).expect("a note");
    assert_eq!(note.reason, Reason::TemplateSyncBlocked);
    assert!(note.text.contains("data-db-1") && note.text.ends_with("delete Pod db-1 to get a new PVC"), "{note}");
    assert_eq!(goes_with_its_pod(&claim(1, TEN)), None);
}

fn sizer(is_ours: bool, at: Option<Timestamp>) -> Option<Sizer> {
    Some(Sizer { manager: "m".to_owned(), is_ours, at })
}

#[test]
fn the_last_growth_has_two_witnesses_and_none_from_the_future() {
    let check = |stamp: Option<i64>, managed: Option<Sizer>, remembered: Option<i64>, expected: Option<i64>| {
        let mut claim = Claim { resized_at: stamp.map(at), sizer: managed.clone(), ..claim(0, TEN) };
        if let Some(remembered) = remembered {
            claim.remember_growth(at(remembered), 0, at(0));
        }
        assert_eq!(claim.grown_at(at(0)), expected.map(at), "{stamp:?} {managed:?} {remembered:?}");
    };
    let ours = |second| sizer(true, Some(at(second)));
    check(Some(-60), None, None, Some(-60));
    check(None, None, None, None);
    // The annotation was taken off, set back, or set to the year 3000.
    let year_3000 = 30_000_000_000;
    for stamp in [None, Some(-90_000), Some(year_3000)] {
        check(stamp, ours(-60), None, Some(-60));
        check(stamp, None, Some(-60), Some(-60));
        check(stamp, sizer(false, Some(at(-5))), Some(-60), Some(-60));
    }
    // The leader remembers exactly; managedFields also has the time of a later write.
    check(Some(-60), ours(-10), Some(-60), Some(-60));
    // Somebody else's size is no growth of ours.
    check(None, sizer(false, Some(at(-5))), None, None);
    check(None, ours(year_3000), None, None);
    check(Some(200), None, None, Some(200));
}

#[test]
fn an_expansion_that_somebody_else_asked_for_is_told_too_when_it_does_not_end() {
    let stuck = growing(TEN, TWELVE, Resize::ControllerInProgress);
    let check = |claim: Claim, expected: &str| {
        assert_eq!(told(&next(&claim, TWELVE, None, &driver(), at(0))), expected);
    };
    check(Claim { sizer: sizer(false, Some(at(-600))), ..stuck.clone() }, "wait ExpansionStuck");
    // Neither does a stamp from the future silence it.
    check(
        Claim { resized_at: Some(at(30_000_000)), sizer: sizer(true, Some(at(-600))), ..stuck },
        "wait ExpansionStuck",
    );
}

fn any_resize() -> impl Strategy<Value = Resize> {
    prop::sample::select(vec![
        Resize::None,
        Resize::ControllerInProgress,
        Resize::ControllerInfeasible,
        Resize::NodePending,
        Resize::NodeInProgress,
        Resize::NodeInfeasible,
        Resize::FileSystemResizePending,
    ])
}

proptest! {
    #[test]
    fn a_step_is_above_the_capacity_and_below_the_request_only_after_a_refusal(
        resize in any_resize(),
        capacity in 0..=Bytes::MAX.0,
        requested in 0..=Bytes::MAX.0,
        target in 0..=Bytes::MAX.0,
        max in prop::option::of(0..=Bytes::MAX.0),
        times in 0_u32..6,
    ) {
        let claim = Claim { requested: Bytes(requested), ..growing(Bytes(capacity), Bytes(requested), resize) };
        let refused = Refusal { size: Bytes(requested), times, at: at(0) };
        let driver = Driver { max_size: max.map(Bytes), ..driver() };
        for refused in [None, Some(&refused)] {
            if let ClaimStep::Patch { to, .. } = next(&claim, Bytes(target), refused, &driver, at(0)) {
                if claim.is_infeasible() {
                    prop_assert!(to.0 > capacity && to.0 < requested);
                } else {
                    prop_assert!(to.0 > requested && to.0 <= target);
                }
            }
        }
    }
}
