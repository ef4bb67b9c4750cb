use proptest::prelude::*;

use super::*;
use crate::policy::samples::at;

/// A container that ended at this second with these words.
fn said(message: &str, second: i64) -> ContainerFailure {
    ContainerFailure {
        container: "db".to_owned(),
        reason: "Error".to_owned(),
        message: message.to_owned(),
        exit_code: Some(1),
        at: Some(at(second)),
    }
}

const FULL: &str = "No space left on device";

fn of(failures: &[ContainerFailure]) -> Evidence {
    Evidence { last: None, failures: failures.to_vec() }
}

fn last(second: i64, percent: u64) -> Evidence {
    let share = Percent::whole(u32::try_from(percent).unwrap());
    Evidence { last: Some(LastReading { at: at(second), share, is_over: percent >= 80 }), failures: Vec::new() }
}

/// The judgement at second 0.
fn judged(evidence: &Evidence, steps: u32, expanded: Option<i64>) -> Judgement {
    judge(evidence, &Taken { steps, last: expanded.map(at) }, at(0))
}

#[test]
fn a_step_needs_strong_evidence() {
    let step = |text: &str| Judgement::Step(text.to_owned());
    let no = || Judgement::No(No::Evidence);
    let check =
        |evidence: Evidence, expected: Judgement| assert_eq!(judged(&evidence, 0, None), expected, "{evidence:?}");
    check(Evidence::default(), no());
    check(of(&[said(FULL, -5)]), step("container db says \"No space left on device\""));
    check(of(&[said("dd: ENOSPC", -5)]), step("container db says \"dd: ENOSPC\""));
    // A broken program, however often it ends.
    check(of(&[said("panic: index out of range", -5), said("", -65)]), no());
    check(of(&[ContainerFailure { reason: "OOMKilled".to_owned(), ..said("", -5) }]), no());
    // It ended well, or has not ended: `failed container=disk-full` is a name.
    check(of(&[ContainerFailure { exit_code: Some(0), ..said(FULL, -5) }]), no());
    check(
        of(&[ContainerFailure { exit_code: None, at: None, ..said("back-off restarting container=enospc", 0) }]),
        no(),
    );
    // The disk of the node is full.
    check(of(&[ContainerFailure { reason: "StartError".to_owned(), ..said(FULL, -5) }]), no());
    // The newest words count, and only the line that matters is shown.
    let lines = said("starting\n cp: No space left on device\nbye", -5);
    check(of(&[said("ENOSPC", -65), lines]), step("container db says \"cp: No space left on device\""));
    let lines = said("disk full: data\nbye", -5);
    check(of(&[lines]), step("container db says \"disk full: data\""));
    // The last reading, for a day.
    check(last(-3_600, 85), step("it was 85% full 1h ago, when it was last measured"));
    check(last(-3_600, 79), no());
    check(last(-24 * 3_600, 85), step("it was 85% full 1day ago, when it was last measured"));
    check(last(-24 * 3_600 - 1, 85), no());
    // It was measured after the container failed, and is not full.
    let measured = Evidence { failures: vec![said(FULL, -100)], ..last(-90, 50) };
    check(measured, no());
    let failed = Evidence { failures: vec![said(FULL, -80)], ..last(-90, 50) };
    check(failed, step("container db says \"No space left on device\""));
}

#[test]
fn the_words_of_a_container_are_quoted_and_bounded() {
    let Judgement::Step(text) =
        judged(&of(&[said(&format!("a\u{202e}\t{}: disk full", "x".repeat(200)), -5)]), 0, None)
    else {
        panic!("a step")
    };
    assert!(text.len() < 256 && text.contains("disk full") && !text.contains('\u{202e}'), "{text}");
    let Judgement::Step(text) = judged(&of(&[said(&format!("disk full{}", "\u{202e}".repeat(80)), -5)]), 0, None)
    else {
        panic!("a step")
    };
    assert!(text.len() < 320 && text.contains("disk full") && !text.contains('\u{202e}'), "{text}");
}

#[test]
fn there_is_at_most_one_step_in_ten_minutes_and_three_without_a_reading() {
    let check = |steps: u32, expanded: Option<i64>, expected: &str| {
        let judgement = match judged(&of(&[said(FULL, -5)]), steps, expanded) {
            Judgement::Step(_) => "step".to_owned(),
            Judgement::Wait(left) => format!("wait {}", left.as_secs()),
            Judgement::No(No::Evidence) => "no evidence".to_owned(),
            Judgement::No(No::Exhausted) => "exhausted".to_owned(),
        };
        assert_eq!(judgement, expected, "{steps} {expanded:?}");
    };
    check(0, None, "step");
    check(0, Some(-600), "step");
    check(0, Some(-599), "wait 1");
    check(2, Some(-6_000), "step");
    check(3, Some(-6_000), "exhausted");
    check(u32::MAX, Some(-6_000), "exhausted");
    // It failed before it was expanded.
    check(0, Some(-5), "no evidence");
    check(3, Some(-5), "no evidence");
}

proptest! {
    /// A container that says that its disk is full at any time, whatever anybody does to the operator.
    #[test]
    fn a_lying_pod_gets_three_steps_and_not_one_more(gaps in proptest::collection::vec(1_i64..2_000, 1..400)) {
        let (mut now, mut taken, mut steps) = (0, Taken::default(), Vec::new());
        for gap in gaps {
            now += gap;
            // What is taken is all that a new operator knows, too.
            if let Judgement::Step(_) = judge(&of(&[said(FULL, now)]), &taken, at(now)) {
                steps.push(now);
                taken = Taken { steps: taken.steps + 1, last: Some(at(now)) };
            }
        }
        prop_assert!(steps.len() <= 3, "{:?}", steps);
        prop_assert!(steps.windows(2).all(|pair| pair[1] - pair[0] >= 600), "{:?}", steps);
        prop_assert!(now < 1_300 || !steps.is_empty());
    }
}
