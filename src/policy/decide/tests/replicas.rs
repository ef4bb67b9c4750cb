//! Tests that each replica is decided for itself: a problem of one replica does not keep rso from expanding the others.

use super::*;

const TWELVE: Bytes = Bytes::gib(12);

/// One replica with each kind of problem.
fn in_trouble() -> Vec<Claim> {
    let resizes = [
        Resize::None,
        Resize::ControllerInProgress,
        Resize::ControllerInfeasible,
        Resize::NodePending,
        Resize::NodeInProgress,
        Resize::NodeInfeasible,
        Resize::FileSystemResizePending,
    ];
    let growing = resizes.map(|resize| Claim { resized_at: Some(at(-86_400)), ..growing(TEN, TWELVE, resize) });
    let sick = [
        Claim { deleting: true, protected: false, ..claim(0, TEN) },
        Claim { phase: Phase::Lost, ..claim(0, TEN) },
        Claim { phase: Phase::Pending, capacity: None, ..claim(0, TEN) },
        Claim { capacity: None, ..claim(0, TEN) },
    ];
    growing.into_iter().chain(sick).collect()
}

#[test]
fn a_full_replica_grows_whatever_is_wrong_with_its_sibling() {
    for sick in in_trouble() {
        let claims = [sick.clone(), claim(1, TWELVE)];
        let readings = BTreeMap::from([(claims[1].name.clone(), reading(&claims[1], 85))]);
        let decision = decided(&settings(|_| {}), &claims, &readings);
        let to = Bytes::gib(15);
        assert_eq!(decision.verdict, Verdict::Grow { to, trigger: Trigger::Usage }, "{sick:?}");
    }
}

#[test]
fn a_pvc_that_is_being_deleted_under_its_pod_counts_as_full() {
    let claims = [Claim { deleting: true, ..claim(0, TEN) }, claim(1, TEN)];
    let decision = decided(&settings(|_| {}), &claims, &readings(&claims, &[90, 10]));
    assert_eq!(told(&decision), "expand 12Gi usage; template 12Gi; AutoResizeTriggered");
}

/// Its capacity never changes, and its Pod may never come.
#[test]
fn what_waits_for_its_pod_is_asked_for_one_step_above_its_capacity_and_no_more() {
    let mut claims = [growing(TEN, Bytes::gib(11), Resize::NodePending)];
    let mut sizes = Vec::new();
    for second in 0..100 {
        let decision = decided(&settings(|_| {}), &claims, &readings(&claims, &[90]));
        if let Verdict::Grow { to, .. } = decision.verdict {
            claims[0].requested = to;
            sizes.push((second, to));
        }
    }
    assert_eq!(sizes, [(0, TWELVE)]);
}

#[test]
fn nobody_follows_to_a_size_that_the_driver_has_refused() {
    let check = |resize: Resize, expected: &str| {
        let claims = [claim(0, TEN), growing(TEN, Bytes::gib(1000), resize)];
        assert_eq!(told(&decided(&settings(|_| {}), &claims, &readings(&claims, &[10, 10]))), expected, "{resize:?}");
    };
    check(Resize::ControllerInfeasible, "keep");
    check(Resize::NodeInfeasible, "keep");
}

#[test]
fn a_volume_that_is_larger_than_was_requested_needs_no_larger_request() {
    let claims = [Claim { requested: TEN, ..claim(0, TWELVE) }, claim(1, TWELVE)];
    assert_eq!(told(&decided(&settings(|_| {}), &claims, &readings(&claims, &[10, 10]))), "keep; template 12Gi");
}

#[test]
fn a_full_replica_at_its_limit_is_told_although_another_grows() {
    let claims = [claim(0, TEN), claim(1, Bytes::gib(40))];
    let settings = settings(|s| s.max_size = Some(Bytes::gib(40)));
    let decision = decided(&settings, &claims, &readings(&claims, &[90, 90]));
    assert_eq!(told(&decision), "expand 40Gi siblings; template 40Gi; ResizeRequested; MaxSizeReached");
}

#[test]
fn the_note_about_pvcs_that_follow_names_the_one_they_follow() {
    let check = |change: &dyn Fn(&mut [Claim; 2]), max: Option<Bytes>, expected: &str| {
        let mut claims = [growing(Bytes::gib(1), Bytes::gib(2), Resize::ControllerInProgress), claim(1, Bytes::gib(1))];
        change(&mut claims);
        let settings = settings(|s| s.max_size = max);
        let decision =
            decide(&settings, &Driver::default(), Bytes::gib(1), &claims, &readings(&claims, &[2, 2]), at(0));
        let note = decision.notes.iter().find(|note| note.reason == Reason::ResizeRequested);
        assert_eq!(note.map(|note| note.text.as_str()).unwrap_or_default(), expected);
    };
    let by = |manager: &str, is_ours: bool| Some(Sizer { manager: manager.to_owned(), is_ours, at: None });
    check(
        &|claims| claims[0].sizer = by("kubectl-patch", false),
        Some(Bytes::gib(5)),
        "template data: PVC data-db-0 was set to 2Gi by kubectl-patch; 1 of 2 PVCs request less and need 2Gi, up to \
         max-size 5Gi",
    );
    check(&|_| {}, None, "template data: PVC data-db-0 requests 2Gi; 1 of 2 PVCs request less and need 2Gi");
    // rso reported the expansion when it began.
    check(&|claims| claims[0].sizer = by("rso-controller", true), None, "");
    // Neither a finished expansion by the operator nor the creation of the PVC is reported as set by a user.
    for sizer in [by("rso-controller", true), by("kube-controller-manager", false)] {
        let done = |claims: &mut [Claim; 2]| claims[0] = Claim { sizer: sizer.clone(), ..claim(0, Bytes::gib(2)) };
        check(&done, None, "template data: PVC data-db-0 requests 2Gi; 1 of 2 PVCs request less and need 2Gi");
    }
}

#[test]
fn the_event_about_pvcs_below_their_template_names_the_template_and_no_smaller_or_infeasible_pvc() {
    let claims = [growing(TEN, Bytes::gib(1000), Resize::ControllerInfeasible), claim(1, TEN)];
    let decision = decide(&settings(|_| {}), &Driver::default(), TWELVE, &claims, &readings(&claims, &[10, 10]), at(0));
    assert_eq!(decision.notes[0].reason, Reason::ResizeRequested);
    let text = &decision.notes[0].text;
    assert!(text.starts_with("template data: the template requests 12Gi;"), "{text}");
}

#[test]
fn a_size_that_a_pvc_requests_already_is_not_recommended() {
    let check = |requested: Bytes, expected: Verdict| {
        let claims = [growing(TEN, requested, Resize::NodePending)];
        let decision = decided(&settings(|s| s.auto = Auto::Recommend), &claims, &readings(&claims, &[90]));
        assert_eq!(decision.verdict, expected, "{requested}");
    };
    check(Bytes::gib(11), Verdict::Recommend { to: TWELVE });
    check(TWELVE, Verdict::Keep);
    check(Bytes::gib(13), Verdict::Keep);
}

#[test]
fn exactly_the_replicas_over_a_threshold_are_marked_as_over_it() {
    let claims = three(TEN);
    let measured = decided(&settings(|_| {}), &claims, &readings(&claims, &[10, 85, 79])).measured;
    let marks: Vec<bool> = claims.iter().map(|claim| measured[&claim.name].is_over).collect();
    assert_eq!(marks, [false, true, false]);
}

#[test]
fn the_cooldown_holds_whatever_is_written_into_the_annotation() {
    let ours = Some(Sizer { manager: "rso-controller".to_owned(), is_ours: true, at: Some(at(-60)) });
    for stamp in [None, Some(at(-90_000)), Some(at(30_000_000))] {
        let claims = [Claim { resized_at: stamp, sizer: ours.clone(), ..claim(0, TEN) }];
        let settings = settings(|s| s.min_cooldown = Duration::from_secs(3600));
        let decision = decided(&settings, &claims, &readings(&claims, &[85]));
        assert_eq!(told(&decision), "refuse CooldownActive; CooldownActive", "{stamp:?}");
    }
}

fn any_claim(ordinal: u32) -> impl Strategy<Value = Claim> {
    let resize = prop::sample::select(vec![
        Resize::None,
        Resize::None,
        Resize::ControllerInProgress,
        Resize::ControllerInfeasible,
        Resize::NodePending,
        Resize::NodeInProgress,
        Resize::NodeInfeasible,
    ]);
    let phase = prop::sample::select(vec![Phase::Bound, Phase::Bound, Phase::Lost, Phase::Pending]);
    (resize, phase, 1..=40_u64, 0..=10_u64, any::<bool>(), any::<bool>(), prop::option::of(-7200..0_i64)).prop_map(
        move |(resize, phase, capacity, more, deleting, protected, resized)| Claim {
            phase,
            deleting,
            protected,
            resized_at: resized.map(at),
            ..Claim { requested: Bytes::gib(capacity + more), resize, ..claim(ordinal, Bytes::gib(capacity)) }
        },
    )
}

proptest! {
    #[test]
    fn a_pvc_over_its_threshold_that_is_done_grows_or_a_warning_is_told(
        mut claims in (any_claim(0), any_claim(1), any_claim(2)).prop_map(|(a, b, c)| vec![a, b, c]),
        percents in prop::array::uniform3(0..=100_u64),
        full in 81..=100_u64,
        max in prop::option::of(1..=60_u64),
        cooldown in 0..=7200_u64,
    ) {
        (claims[2].phase, claims[2].deleting, claims[2].resize) = (Phase::Bound, false, Resize::None);
        claims[2].requested = claims[2].capacity.unwrap_or_default();
        let settings = settings(|s| {
            (s.max_size, s.cooldown) = (max.map(Bytes::gib), Some(Duration::from_secs(cooldown)));
        });
        let decision = decided(&settings, &claims, &readings(&claims, &[percents[0], percents[1], full]));
        let grows = matches!(decision.verdict, Verdict::Grow { to, .. } if to > claims[2].requested);
        let is_told = decision.notes.iter().any(|note| {
            note.reason.severity() == crate::api::reasons::Severity::Warning && note.text.contains("full")
        });
        prop_assert!(grows || is_told, "{decision:?}");
    }
}
