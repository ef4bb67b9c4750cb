use std::time::Duration;

use super::*;
use crate::policy::claim::{Class, Resize};
use crate::policy::decide::decide;
use crate::policy::samples::{at, claim, growing, reading};
use crate::policy::settings::Limits;

const TEN: Bytes = Bytes::gib(10);

/// A template by usage with one PVC that is so full.
struct Case {
    settings: TemplateSettings,
    driver: Driver,
    claims: Vec<Claim>,
    percent: Option<u64>,
    is_paused: bool,
}

fn case() -> Case {
    let mut settings = TemplateSettings::new("data".into(), &Limits::default());
    settings.auto = Auto::On;
    settings.origins.insert("auto-scaled".to_owned(), Origin::Annotation("auto-scaled".to_owned()));
    Case { settings, driver: Driver::default(), claims: vec![claim(0, TEN)], percent: Some(85), is_paused: false }
}

impl Case {
    fn gates(&self) -> Vec<Checked> {
        let readings: BTreeMap<ClaimName, Reading> =
            self.claims.iter().filter_map(|claim| Some((claim.name.clone(), reading(claim, self.percent?)))).collect();
        let decision = decide(&self.settings, &self.driver, TEN, &self.claims, &readings, at(0));
        let Self { settings, driver, claims, is_paused, .. } = self;
        let subject = Subject {
            settings,
            driver,
            claims,
            is_paused: *is_paused,
            readings: &readings,
            decision: &decision,
            now: at(0),
        };
        all(&subject)
    }

    /// The first closed gate, with its value, its origin and its fix.
    fn stop(&self) -> Option<(Gate, String, String, Option<Fix>)> {
        let closed = self.gates().into_iter().find(|checked| checked.state == State::Closed)?;
        Some((closed.gate, closed.value, closed.from, closed.fix))
    }
}

fn check(change: impl FnOnce(&mut Case), gate: Gate, value: &str, from: &str, fix: Option<Fix>) {
    let mut case = case();
    change(&mut case);
    assert_eq!(case.stop(), Some((gate, value.to_owned(), from.to_owned(), fix)));
    // What comes before is open; what comes after, but for the last two, is not reached.
    let mut is_after = false;
    for checked in case.gates() {
        let expected = if is_after { State::NotReached } else { State::Open };
        let is_evaluated_always = matches!(checked.gate, Gate::NotPaused | Gate::Expandable);
        assert!(checked.gate == gate || is_evaluated_always || checked.state == expected, "{checked:?}");
        is_after |= checked.gate == gate;
    }
}

fn annotate(key: &str, value: &str) -> Option<Fix> {
    Some(Fix::Annotate(key.to_owned(), Some(value.to_owned())))
}

#[test]
fn every_gate_is_open_when_the_template_is_expanded() {
    let gates = case().gates();
    assert!(gates.iter().all(|checked| checked.state == State::Open && checked.fix.is_none()), "{gates:#?}");
    let told: Vec<(&str, &str)> = gates.iter().map(|checked| (checked.value.as_str(), checked.from.as_str())).collect();
    let expected = [
        ("on", "annotation auto-scaled"),
        ("85% in data-db-0", "agent, 0s ago; 1 of 1 PVCs"),
        ("80%", "default"),
        ("none", "PVC status"),
        ("none", "default"),
        ("0s", "default"),
        ("not paused", "default"),
        ("online", "StorageClass fast"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_gate_at_which_it_stops_says_what_opens_it() {
    check(
        |case| {
            case.settings.auto = Auto::Off;
            case.settings.origins.clear();
        },
        Gate::Managed,
        "off",
        "default",
        annotate("auto-scaled", "true"),
    );
    check(|case| case.percent = None, Gate::Usage, "unknown", "0 of 1 PVCs", Some(Fix::DescribePod("db-0".to_owned())));
    check(|case| case.percent = Some(79), Gate::Threshold, "80%", "default", None);
    let describe = Some(Fix::DescribeClaim("data-db-0".into()));
    check(
        |case| case.claims = vec![growing(TEN, Bytes::gib(12), Resize::ControllerInProgress)],
        Gate::Progress,
        "10Gi → 12Gi",
        "PVC data-db-0",
        describe,
    );
    check(
        |case| {
            case.settings.cooldown = Some(Duration::from_secs(900));
            case.settings.origins.insert("cooldown".to_owned(), Origin::Annotation("cooldown.data".to_owned()));
            case.claims[0].resized_at = Some(at(-180));
        },
        Gate::Cooldown,
        "15m; last 3m ago",
        "annotation cooldown.data",
        None,
    );
    let resume = Some(Fix::Annotate("paused".to_owned(), None));
    check(|case| case.is_paused = true, Gate::NotPaused, "paused", "annotation paused", resume);
    let allow = Some(Fix::AllowExpansion("slow".to_owned()));
    check(
        |case| {
            let class = Class { name: "slow".to_owned(), expandable: false, provisioner: "csi.example.com".to_owned() };
            case.claims[0].class = Some(class);
        },
        Gate::Expandable,
        "no",
        "StorageClass slow",
        allow,
    );
    check(|case| case.driver.growth = Growth::Never, Gate::Expandable, "no", "StorageClass fast", None);
}

#[test]
fn the_owner_can_raise_the_owners_limit_only() {
    let limited = |origin: Origin| {
        move |case: &mut Case| {
            case.settings.max_size = Some(TEN);
            case.settings.origins.insert("max-size".to_owned(), origin);
        }
    };
    check(
        limited(Origin::Annotation("max-size.data".to_owned())),
        Gate::MaxSize,
        "10Gi",
        "annotation max-size.data",
        annotate("max-size.data", "12Gi"),
    );
    check(limited(Origin::Limit), Gate::MaxSize, "10Gi", "limit of the administrator", None);
    check(|case| case.driver.max_size = Some(TEN), Gate::MaxSize, "10Gi", "CSI driver", None);
}
