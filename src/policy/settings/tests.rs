use proptest::prelude::*;

use super::*;
use crate::api::reasons::Reason;
use crate::policy::values::quote;

mod stacks;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect()
}

fn templates(names: &[&str]) -> Vec<TemplateName> {
    names.iter().map(|name| TemplateName::from(*name)).collect()
}

/// A set with the templates `data` and `wal`.
fn read(annotations: &[(&str, &str)]) -> (Settings, Vec<Note>) {
    Settings::read(&map(annotations), &BTreeMap::new(), &templates(&["data", "wal"]), &Limits::default())
}

fn of<'a>(settings: &'a Settings, template: &str) -> &'a TemplateSettings {
    &settings.templates[&TemplateName::from(template)]
}

#[test]
fn without_annotations_the_defaults_of_the_product_hold() {
    let (settings, notes) = read(&[]);
    assert_eq!(notes, []);
    assert_eq!((settings.paused, settings.allow_owner.as_deref()), (false, None));
    let data = of(&settings, "data");
    assert_eq!((data.auto, data.threshold, data.inodes_threshold), (Auto::Off, Percent::whole(80), Percent::whole(80)));
    assert_eq!((data.increase, data.min_increase), (Increase::Share(Percent::whole(20)), Bytes::gib(1)));
    assert_eq!((data.max_size, data.cooldown, data.lead_time, &data.requested), (None, None, None, &None));
    assert_eq!((data.template_sync, data.origins.len()), (TemplateSync::Always, 0));
}

#[test]
fn every_key_is_read_for_the_set_and_overridden_for_one_template() {
    fn check<T: PartialEq + std::fmt::Debug>(key: &str, values: [(&str, T); 2], get: impl Fn(&TemplateSettings) -> T) {
        let [(all, for_all), (one, for_one)] = values;
        let override_key = format!("{key}.data");
        let (settings, notes) = read(&[(key, all), (&override_key, one)]);
        assert_eq!(notes, [], "{key}");
        assert_eq!(get(of(&settings, "wal")), for_all, "{key}");
        assert_eq!(get(of(&settings, "data")), for_one, "{key}");
        assert_eq!(of(&settings, "wal").origins[key], Origin::Annotation(key.to_owned()));
        assert_eq!(of(&settings, "data").origins[key], Origin::Annotation(override_key));
    }
    check("auto-scaled", [("true", Auto::On), ("recommend", Auto::Recommend)], |t| t.auto);
    check("auto-scaled", [("true", Auto::On), ("false", Auto::Off)], |t| t.auto);
    check("threshold", [("70%", Percent::whole(70)), ("80.5%", Percent(80_500))], |t| t.threshold);
    check("inodes-threshold", [("100%", Percent::whole(100)), ("0.001%", Percent(1))], |t| t.inodes_threshold);
    check(
        "increase",
        [("10Gi", Increase::Size(Bytes::gib(10))), ("300%", Increase::Share(Percent::whole(300)))],
        |t| t.increase,
    );
    check("min-increase", [("0", Bytes(0)), ("0.5Gi", Bytes::mib(512))], |t| t.min_increase);
    check("max-size", [("1Ti", Some(Bytes::gib(1024))), ("1e9", Some(Bytes(1_000_000_000)))], |t| t.max_size);
    let seconds = |n| Some(Duration::from_secs(n));
    check("cooldown", [("15m", seconds(900)), ("1h 30m", seconds(5400))], |t| t.cooldown);
    check("lead-time", [("0s", seconds(0)), ("2days", seconds(172_800))], |t| t.lead_time);
}

/// Which keys may carry a template is told in the reference; it must be so.
#[test]
fn the_keys_that_may_carry_a_template_are_those_of_the_reference() {
    for doc in KEYS.iter().filter(|doc| !doc.key.contains('<')) {
        let (_, notes) = read(&[(&format!("{}.data", doc.key), "")]);
        let reasons: Vec<Reason> = notes.iter().map(|note| note.reason).collect();
        let expected = if doc.per_template { Reason::InvalidAnnotation } else { Reason::UnknownAnnotation };
        assert_eq!(reasons, [expected], "{}", doc.key);
    }
}

#[test]
fn what_holds_for_the_whole_set_is_read() {
    let (settings, notes) =
        read(&[("paused", "true"), ("allow-owner", "Postgresql"), ("template-sync", "OnUserChange")]);
    assert_eq!(notes, []);
    assert_eq!((settings.paused, settings.allow_owner.as_deref()), (true, Some("Postgresql")));
    assert_eq!(settings.template_sync, TemplateSync::OnUserChange);
    assert_eq!(of(&settings, "wal").template_sync, TemplateSync::OnUserChange);
    assert!(!read(&[("paused", "false")]).0.paused);
    for (word, mode) in [("Always", TemplateSync::Always), ("Never", TemplateSync::Never)] {
        assert_eq!(read(&[("template-sync", word)]).0.template_sync, mode);
    }
    // Words that change nothing are no faults.
    for quiet in [("paused", "false"), ("template-sync", "Always"), ("allow-delete", "true"), ("allow-delete", "false")]
    {
        assert_eq!(read(&[quiet]).1, [], "{quiet:?}");
    }
}

#[test]
fn the_largest_request_counts_whoever_asks() {
    let check = |annotations: &[(&str, &str)], data: Option<(&str, Bytes)>, wal: Option<(&str, Bytes)>| {
        let (settings, notes) = read(annotations);
        assert_eq!(notes, [], "{annotations:?}");
        for (template, expected) in [("data", data), ("wal", wal)] {
            let found = of(&settings, template).requested.as_ref().map(|request| (request.key.as_str(), request.size));
            assert_eq!(found, expected, "{annotations:?}");
        }
    };
    check(&[("resize-1", "2Gi")], None, Some(("resize-1", Bytes::gib(2))));
    check(&[("resize.wal", "2Gi")], None, Some(("resize.wal", Bytes::gib(2))));
    check(&[("resize-0", "2Gi"), ("resize.data", "3Gi")], Some(("resize.data", Bytes::gib(3))), None);
    check(&[("resize-0", "3Gi"), ("resize.data", "2Gi")], Some(("resize-0", Bytes::gib(3))), None);
    check(
        &[("requested", "data=50Gi,wal=10Gi"), ("resize-0", "51200Mi"), ("resize-1", "20G")],
        Some(("requested", Bytes::gib(50))),
        Some(("resize-1", Bytes(20_000_000_000))),
    );
}

#[test]
fn a_request_of_the_webhook_is_told_from_one_of_a_person() {
    let check = |key: &str, expected: bool| {
        assert_eq!(Request { size: Bytes(1), key: key.to_owned() }.is_from_apply(), expected);
    };
    check("requested", true);
    check("resize-0", false);
    check("resize.requested", false);
}

#[test]
fn an_invalid_value_is_reported_and_has_no_effect() {
    let untouched = read(&[("resize-1", "5Gi")]).0;
    let check = |key: &str, value: &str, told: &str| {
        let (settings, notes) = read(&[("resize-1", "5Gi"), (key, value)]);
        let [note] = notes.as_slice() else { panic!("{key}: {value}: {notes:?}") };
        assert_eq!(note.reason, Reason::InvalidAnnotation, "{note}");
        assert!(note.text.starts_with(&format!("annotation {PREFIX}{key} has no effect")), "{note}");
        assert!(note.text.contains(&quote(value)) && note.text.contains(told), "{note}");
        assert_eq!((&note.object, &note.case), (&key.to_owned(), &quote(value)), "{note}");
        assert!(note.text.len() < 500, "{} bytes: {note}", note.text.len());
        assert_eq!(settings, untouched, "{key}: {value}");
    };
    check("auto-scaled", "True", "\"true\", \"recommend\" or \"false\"");
    check("auto-scaled", "", "\"true\"");
    check("paused", "yes", "\"true\" or \"false\"");
    check("allow-delete", "yes", "\"true\" or \"false\"");
    check("template-sync", "always", "Always, OnUserChange or Never");
    for key in ["threshold", "inodes-threshold", "threshold.data"] {
        check(key, "80", "80%");
        check(key, "0%", "more than 0%");
        check(key, "101%", "at most 100%");
        check(key, "100.001%", "at most 100%");
        check(key, "NaN%", "80%");
        check(key, "-5%", "80%");
        check(key, "1e3%", "80%");
    }
    check("increase", "0%", "more than 0%");
    check("increase", "0", "more than 0");
    check("increase", "-1Gi", "negative");
    check("increase", "20 %", "decimal number");
    check("min-increase", "1GB", "\"GB\" is not a unit");
    check("max-size", "0", "more than 0");
    check("max-size", "8Ei", "2^63-1");
    check("cooldown", "15", "15m");
    check("cooldown", "soon", "15m");
    check("lead-time", "-5m", "15m");
    check("lead-time", "99999999999999999999y", "15m");
    check("allow-owner", "", "kind");
    check("allow-owner", "postgres.example.com/v1", "kind");
    check("resize-0", "10 Gi", "\" Gi\" is not a unit");
    check("resize-0", "0", "more than 0");
    check("resize-2", "10Gi", "the StatefulSet has 0 data, 1 wal");
    check("resize-99999999999999999999", "10Gi", "the StatefulSet has 0 data, 1 wal");
    check("resize.date", "10Gi", "no template \"date\"; the StatefulSet has 0 data, 1 wal");
    check("max-size.date", "10Gi", "no template \"date\"");
    check("requested", "data", "<template>=<quantity>");
    check("requested", "data=10Gi,wal=lots", "begin with a number");
    check("requested", "data=10Gi,,", "<template>=<quantity>");
    check("resize-0", "10Gi\n\u{1b}[2Jok", "is not a unit");
    check("resize-0", "10\u{202e}iG", "is not a unit");
    check("resize-0", &"9".repeat(300 << 10), "2^63-1");
    check("resize-0", &"x".repeat(300 << 10), "number");
    check("resize-0", &format!("1{}", "x".repeat(300 << 10)), "is not a unit");
    check("cooldown", &"x".repeat(300 << 10), "15m");
}

#[test]
fn a_template_that_is_gone_does_not_hide_the_other_requests_of_an_apply() {
    let (settings, notes) = read(&[("requested", "gone=1Gi,wal=7Gi")]);
    assert_eq!(of(&settings, "wal").requested.as_ref().map(|request| request.size), Some(Bytes::gib(7)));
    assert_eq!(notes.iter().map(|note| note.reason).collect::<Vec<_>>(), [Reason::InvalidAnnotation]);
}

#[test]
fn an_unknown_key_is_reported_with_the_nearest_known() {
    let check = |key: &str, told: &str| {
        let (settings, notes) = read(&[(key, "true")]);
        let [note] = notes.as_slice() else { panic!("{key}: {notes:?}") };
        assert_eq!(note.reason, Reason::UnknownAnnotation, "{note}");
        assert!(note.text.contains(key) && note.text.ends_with(told), "{note}");
        assert_eq!(settings, read(&[]).0, "{key}");
    };
    check("autoscaled", "did you mean auto-scaled?");
    check("auto-scale", "did you mean auto-scaled?");
    check("treshold", "did you mean threshold?");
    check("treshold.data", "did you mean threshold?");
    check("treshold.gone", "did you mean threshold?");
    check("max-szie", "did you mean max-size?");
    check("coolDown", "did you mean cooldown?");
    check("Paused", "did you mean paused?");
    check("resize-data", "did you mean resize.data?");
    check("resize-01", "did you mean resize-<N>?");
    check("resize-", "did you mean resize-<N>?");
    check("resize", "did you mean resize-<N>?");
    check("paused.data", "paused applies to the whole StatefulSet: use it without the template");
    check("requested.data", "requested applies to the whole StatefulSet: use it without the template");
}

#[test]
fn state_of_ours_and_keys_of_others_are_not_remarked_on() {
    let mut annotations = map(&[("transaction", "7f3a"), ("resized-at", "2026-01-01T00:00:00Z")]);
    annotations.insert("example.com/threshold".to_owned(), "lots".to_owned());
    annotations.insert("resize-statefulset-operatorx/threshold".to_owned(), "lots".to_owned());
    let (_, notes) = Settings::read(&annotations, &BTreeMap::new(), &templates(&["data"]), &Limits::default());
    assert_eq!(notes, []);
}

#[test]
fn the_label_counts_where_there_is_no_annotation() {
    let check = |annotations: &[(&str, &str)], labels: &[(&str, &str)], data: Auto, wal: Auto| {
        let read = Settings::read(&map(annotations), &map(labels), &templates(&["data", "wal"]), &Limits::default());
        assert_eq!((of(&read.0, "data").auto, of(&read.0, "wal").auto), (data, wal), "{annotations:?} {labels:?}");
    };
    check(&[], &[("auto-scaled", "true")], Auto::On, Auto::On);
    check(&[], &[("auto-scaled", "recommend")], Auto::Recommend, Auto::Recommend);
    check(&[], &[("auto-scaled.wal", "true")], Auto::Off, Auto::On);
    check(&[("auto-scaled", "false")], &[("auto-scaled", "true")], Auto::Off, Auto::Off);
    check(&[("auto-scaled.data", "false")], &[("auto-scaled", "true")], Auto::Off, Auto::On);
    check(&[("auto-scaled", "flase")], &[("auto-scaled", "true")], Auto::Off, Auto::Off);
    // No other key is a label.
    check(&[], &[("resize-0", "5Gi"), ("treshold", "1%"), ("auto-scaledx", "true")], Auto::Off, Auto::Off);
}

#[test]
fn the_administrators_limits_beat_the_annotations() {
    let limits = Limits {
        max_size: Some(Bytes::gib(100)),
        max_step: Some(Bytes::gib(10)),
        min_cooldown: Duration::from_secs(600),
    };
    let check = |annotations: &[(&str, &str)], max: Bytes, cooldown: Option<u64>, by_limit: [bool; 2]| {
        let (settings, notes) = Settings::read(&map(annotations), &BTreeMap::new(), &templates(&["data"]), &limits);
        let data = of(&settings, "data");
        assert_eq!(notes, []);
        assert_eq!((data.max_size, data.cooldown), (Some(max), cooldown.map(Duration::from_secs)), "{annotations:?}");
        assert_eq!((data.max_step, data.min_cooldown), (limits.max_step, limits.min_cooldown));
        let origins = ["max-size", "cooldown"].map(|key| data.origins.get(key) == Some(&Origin::Limit));
        assert_eq!(origins, by_limit, "{annotations:?}");
    };
    check(&[], Bytes::gib(100), None, [true, false]);
    check(&[("max-size", "1Ti"), ("cooldown", "1s")], Bytes::gib(100), Some(600), [true, true]);
    check(&[("max-size", "10Gi"), ("cooldown", "1h")], Bytes::gib(10), Some(3600), [false, false]);
    check(&[("max-size", "10Gi"), ("max-size.data", "1Ti")], Bytes::gib(100), None, [true, false]);
    // As strict as the limit is the set's own word.
    check(&[("max-size", "100Gi"), ("cooldown", "10m")], Bytes::gib(100), Some(600), [false, false]);
}

#[test]
fn a_set_concerns_us_when_it_asks_for_something_or_means_to() {
    let check = |annotations: &[(&str, &str)], labels: &[(&str, &str)], expected: bool| {
        assert_eq!(concerns_us(&map(annotations), &map(labels)), expected, "{annotations:?} {labels:?}");
    };
    check(&[], &[], false);
    check(&[("auto-scaled", "true")], &[], true);
    check(&[("auto-scaled", "recommend")], &[], true);
    check(&[("auto-scaled", "flase")], &[], true);
    check(&[("auto-scaled", "false")], &[], false);
    check(&[("auto-scaled", "false"), ("auto-scaled.data", "true")], &[], true);
    check(&[("resize-0", "10Gi")], &[], true);
    check(&[("resize.data", "10Gi")], &[], true);
    check(&[("requested", "data=10Gi")], &[], true);
    check(&[("autoscaled", "true")], &[], true);
    check(&[("resize-data", "10Gi")], &[], true);
    check(&[("threshold", "80%"), ("max-size.data", "1Ti"), ("paused", "true")], &[], false);
    check(&[("transaction", "7f3a")], &[], false);
    check(&[], &[("auto-scaled", "true")], true);
    check(&[], &[("auto-scaled.data", "true")], true);
    check(&[], &[("auto-scaled", "false")], false);
    check(&[], &[("kind", "backup"), ("resize-0", "1Gi")], false);
    check(&[("auto-scaled", "false")], &[("auto-scaled", "true")], false);
    assert!(!concerns_us(&BTreeMap::from([("example.com/auto-scaled".to_owned(), "true".to_owned())]), &map(&[])));
}

#[test]
fn a_set_without_templates_has_nothing_to_set() {
    let (settings, notes) =
        Settings::read(&map(&[("auto-scaled", "true"), ("resize-0", "1Gi")]), &map(&[]), &[], &Limits::default());
    assert!(settings.templates.is_empty());
    assert!(notes[0].text.ends_with("the StatefulSet has no volumeClaimTemplates"), "{}", notes[0]);
}

proptest! {
    #[test]
    fn no_key_and_no_value_makes_the_reader_panic_or_talk_without_end(key in "\\PC{0,40}", value in ".{0,200}") {
        for name in [key.clone(), format!("max-size.{key}"), format!("resize-{key}"), "resize-0".to_owned()] {
            let (_, notes) = read(&[(&name, &value)]);
            prop_assert!(notes.len() <= 1);
            prop_assert!(notes.iter().all(|note| note.text.len() < 800 && !note.text.contains('\n')));
        }
    }
}
