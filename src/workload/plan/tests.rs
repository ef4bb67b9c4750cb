use super::*;
use crate::api::names::{Ordinal, Uid};
use crate::policy::claim::{Class, Resize};
use crate::policy::settings::{Limits, Request};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn claim(ordinal: u32, gib: u64) -> Claim {
    Claim {
        name: ClaimName::new(format!("data-db-{ordinal}")),
        template: "data".into(),
        ordinal: Ordinal(ordinal),
        uid: Uid::new("1"),
        resource_version: "7".into(),
        phase: Phase::Bound,
        deleting: false,
        protected: true,
        block_mode: false,
        requested: Bytes::gib(gib),
        capacity: Some(Bytes::gib(gib)),
        resize: Resize::None,
        class: Some(Class { name: "local".into(), expandable: true, provisioner: "csi".into() }),
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    }
}

fn settings(gib: u64) -> TemplateSettings {
    let mut settings = TemplateSettings::new("data".into(), &Limits::default());
    settings.requested = Some(Request { size: Bytes::gib(gib), key: "resize.data".into() });
    settings
}

fn template<'a>(
    settings: &'a TemplateSettings,
    template_gib: u64,
    claims: Vec<Claim>,
    retained: Vec<Claim>,
) -> Template<'a> {
    let driver = Driver::default();
    let size = Bytes::gib(template_gib);
    let decision = crate::policy::decide::decide(settings, &driver, size, &claims, &BTreeMap::new(), now());
    Template { settings, driver, decision, claims, retained }
}

fn grown(plan: &Plan) -> Option<(&str, Bytes)> {
    match &plan.step {
        Step::Grow { claim, to, .. } => Some((claim.name.as_str(), *to)),
        Step::Rest | Step::Sync(_) => None,
    }
}

#[test]
fn claims_of_which_nobody_knows_how_full_they_are_grow_one_a_pass_in_the_order_of_their_ordinals() {
    let settings = settings(2);
    let seen = plan(
        &[template(&settings, 1, vec![claim(0, 2), claim(1, 1), claim(2, 1)], vec![])],
        &HashMap::new(),
        |_| false,
        now(),
    );
    assert_eq!(grown(&seen), Some(("data-db-1", Bytes::gib(2))));
}

#[test]
fn the_template_follows_when_every_claim_has_accepted_its_size() {
    let settings = settings(2);
    let mut growing = claim(1, 1);
    growing.requested = Bytes::gib(2);
    growing.resize = Resize::ControllerInProgress;
    let seen = plan(&[template(&settings, 1, vec![claim(0, 2), growing], vec![])], &HashMap::new(), |_| false, now());
    assert_eq!(seen.step, Step::Sync(BTreeMap::from([("data".into(), Bytes::gib(2))])));
}

#[test]
fn claims_that_scaling_down_left_behind_grow_along() {
    let settings = settings(2);
    let seen = plan(&[template(&settings, 1, vec![claim(0, 2)], vec![claim(3, 1)])], &HashMap::new(), |_| false, now());
    assert_eq!(grown(&seen), Some(("data-db-3", Bytes::gib(2))));
}

#[test]
fn a_set_without_replicas_gets_the_larger_template_at_once() {
    let settings = settings(2);
    let seen = plan(&[template(&settings, 1, vec![], vec![])], &HashMap::new(), |_| false, now());
    assert_eq!(seen.step, Step::Sync(BTreeMap::from([("data".into(), Bytes::gib(2))])));
}

#[test]
fn a_claim_that_cannot_grow_keeps_its_template_and_says_so() {
    let settings = settings(2);
    let mut fixed = claim(0, 1);
    fixed.class = Some(Class { name: "fixed".into(), expandable: false, provisioner: "csi".into() });
    let seen = plan(&[template(&settings, 1, vec![fixed], vec![])], &HashMap::new(), |_| false, now());
    assert_eq!(seen.step, Step::Rest);
    assert_eq!(seen.of_claims[0].1.reason, Reason::StorageClassNotExpandable);
    assert!(seen.of_the_set.iter().any(|note| note.reason == Reason::TemplateSyncDeferred));
}

#[test]
fn a_claim_that_is_held_back_lets_the_others_grow() {
    let settings = settings(2);
    let templates = [template(&settings, 1, vec![claim(0, 1), claim(1, 1)], vec![])];
    let seen = plan(&templates, &HashMap::new(), |claim| claim.as_str() == "data-db-0", now());
    assert_eq!(grown(&seen), Some(("data-db-1", Bytes::gib(2))));
}

#[test]
fn several_templates_follow_in_one_recreate() {
    let data = settings(2);
    let mut wal = settings(3);
    wal.name = "wal".into();
    let templates = [template(&data, 1, vec![claim(0, 2)], vec![]), template(&wal, 1, vec![claim(0, 3)], vec![])];
    let seen = plan(&templates, &HashMap::new(), |_| false, now());
    assert_eq!(seen.step, Step::Sync(BTreeMap::from([("data".into(), Bytes::gib(2)), ("wal".into(), Bytes::gib(3))])));
}

#[test]
fn what_has_arrived_is_left_alone() {
    let settings = settings(2);
    let seen = plan(
        &[template(&settings, 2, vec![claim(0, 2), claim(1, 2)], vec![claim(5, 2)])],
        &HashMap::new(),
        |_| false,
        now(),
    );
    assert_eq!(seen, Plan { step: Step::Rest, of_the_set: vec![], of_claims: vec![] });
}

/// A template that grows by usage, with claims so full.
fn by_usage<'a>(settings: &'a TemplateSettings, claims: Vec<Claim>, percents: &[u64]) -> Template<'a> {
    let readings = claims.iter().zip(percents).map(|(claim, percent)| {
        let usage = crate::policy::samples::usage(claim, *percent);
        let usage = crate::policy::usage::Usage { at: now(), ..usage };
        let capacity = claim.capacity.unwrap_or_default();
        (claim.name.clone(), crate::policy::usage::Reading::Measured { usage, rate: Default::default(), capacity })
    });
    let (driver, readings) = (Driver::default(), readings.collect());
    let size = Bytes::gib(1);
    let decision = crate::policy::decide::decide(settings, &driver, size, &claims, &readings, now());
    Template { settings, driver, decision, claims, retained: vec![] }
}

fn growing_by_usage(name: &str) -> TemplateSettings {
    let mut settings = TemplateSettings::new(name.into(), &Limits::default());
    settings.auto = Auto::On;
    settings
}

#[test]
fn the_fullest_claim_of_all_templates_grows_first() {
    let (data, wal) = (growing_by_usage("data"), growing_by_usage("wal"));
    let of_wal = |ordinal| Claim { name: ClaimName::new(format!("wal-db-{ordinal}")), ..claim(ordinal, 1) };
    let check = |of_data: [u64; 2], full_wal: [u64; 2], expected: &str| {
        let templates = [
            by_usage(&data, vec![claim(0, 1), claim(1, 1)], &of_data),
            by_usage(&wal, vec![of_wal(0), of_wal(1)], &full_wal),
        ];
        let seen = plan(&templates, &HashMap::new(), |_| false, now());
        assert_eq!(grown(&seen).unwrap().0, expected, "{of_data:?} {full_wal:?}");
    };
    check([4, 92], [10, 10], "data-db-1");
    check([4, 92], [10, 95], "wal-db-1");
    check([92, 92], [10, 10], "data-db-0");
    // The fullest was asked first; its siblings follow by how full they are.
    let claims = vec![claim(0, 1), claim(1, 1), Claim { resize: Resize::ControllerInProgress, ..claim(2, 2) }];
    let seen = plan(&[by_usage(&data, claims, &[4, 30, 95])], &HashMap::new(), |_| false, now());
    assert_eq!(grown(&seen).unwrap().0, "data-db-1");
}

#[test]
fn a_claim_that_is_rescued_comes_first_and_may_get_less() {
    let mut settings = growing_by_usage("data");
    (settings.rescue, settings.max_size) = (true, Some(Bytes::gib(9)));
    let mut claims = vec![claim(0, 1), claim(1, 1)];
    claims[1].rescue.evidence.failures = vec![crate::policy::failure::ContainerFailure {
        container: "db".to_owned(),
        reason: "Error".to_owned(),
        message: "no space left on device".to_owned(),
        exit_code: Some(1),
        at: Some(now()),
    }];
    claims[1].rescue.steps = 2;
    let silent = crate::policy::usage::Unknown::Silent("timeout".to_owned());
    let readings = BTreeMap::from([("data-db-1".into(), crate::policy::usage::Reading::Unknown(silent))]);
    let driver = Driver::default();
    let decision = crate::policy::decide::decide(&settings, &driver, Bytes::gib(1), &claims, &readings, now());
    let templates = [Template { settings: &settings, driver, decision, claims, retained: vec![] }];
    let seen = plan(&templates, &HashMap::new(), |_| false, now());
    let Step::Grow { claim, to, trigger, is_full, rescue } = seen.step else { panic!("{:?}", seen.step) };
    assert_eq!((claim.name.as_str(), to, trigger), ("data-db-1", Bytes::gib(2), Trigger::Rescue));
    assert_eq!((is_full, rescue), (true, Some(3)));
    // Its expansion is refused: the others are expanded, and nothing is announced or recorded for them.
    let seen = plan(&templates, &HashMap::new(), |name| name.as_str() == "data-db-1", now());
    let Step::Grow { claim, is_full, rescue, .. } = seen.step else { panic!("{:?}", seen.step) };
    assert_eq!((claim.name.as_str(), is_full, rescue), ("data-db-0", false, None));
    let seen = plan(&templates, &HashMap::new(), |_| true, now());
    assert!(seen.of_the_set.iter().all(|note| note.reason != Reason::RescueTriggered), "{:?}", seen.of_the_set);
}

#[test]
fn only_what_is_full_itself_may_get_less() {
    let data = growing_by_usage("data");
    let is_full = |percents: [u64; 2], held: &str| {
        let templates = [by_usage(&data, vec![claim(0, 1), claim(1, 1)], &percents)];
        let step = plan(&templates, &HashMap::new(), |claim| claim.as_str() == held, now()).step;
        let Step::Grow { is_full, .. } = step else { panic!("{step:?}") };
        is_full
    };
    assert!(is_full([4, 92], ""));
    assert!(!is_full([4, 92], "data-db-1"));
}

#[test]
fn what_scaling_down_has_left_and_cannot_grow_does_not_hold_the_template() {
    let settings = settings(2);
    let check = |change: fn(&mut Claim), expected: bool| {
        let mut left = claim(2, 1);
        change(&mut left);
        let seen = plan(&[template(&settings, 1, vec![claim(0, 2)], vec![left])], &HashMap::new(), |_| false, now());
        assert_eq!(matches!(seen.step, Step::Sync(_)), expected, "{seen:?}");
        // Whatever holds the template is asked to grow, or is told.
        let told = seen.of_claims.iter().any(|(name, _)| name.as_str() == "data-db-2");
        assert!(expected || told, "{seen:?}");
    };
    check(|_| {}, false);
    check(|left| (left.phase, left.capacity) = (Phase::Pending, None), true);
    check(|left| left.phase = Phase::Lost, true);
    check(|left| left.deleting = true, true);
    check(|left| (left.deleting, left.protected) = (true, false), true);
    // What the driver made is enough.
    check(|left| left.capacity = Some(Bytes::gib(2)), true);
    check(|left| left.class = None, false);
}

#[test]
fn a_pvc_that_is_being_deleted_under_its_pod_grows_with_a_warning_of_its_own() {
    let settings = settings(2);
    let leaving = Claim { deleting: true, ..claim(0, 1) };
    let seen = plan(&[template(&settings, 1, vec![leaving], vec![])], &HashMap::new(), |_| false, now());
    assert_eq!(grown(&seen), Some(("data-db-0", Bytes::gib(2))));
    assert!(seen.of_claims.iter().any(|(_, note)| note.text.contains("with its data, when Pod db-0 ends")), "{seen:?}");
}

#[test]
fn what_is_refused_to_all_is_not_told_as_if_it_were_done() {
    let settings = settings(2);
    let told = |held: &[&str]| {
        let templates = [template(&settings, 1, vec![claim(0, 1), claim(1, 1)], vec![])];
        let seen = plan(&templates, &HashMap::new(), |claim| held.contains(&claim.as_str()), now());
        seen.of_the_set.iter().any(|note| note.reason == Reason::ResizeRequested)
    };
    assert!(told(&[]));
    assert!(told(&["data-db-0"]));
    assert!(!told(&["data-db-0", "data-db-1"]));
}
