//! What must hold of the settings, whatever is annotated? One key that cannot be read is told once, and disturbs no other.

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use rso::api::annotations::{KEYS, PREFIX, REQUESTED};
use rso::api::bytes::{Bytes, Percent};
use rso::api::names::TemplateName;
use rso::policy::settings::{Auto, Increase, Limits, Settings, TemplateSettings, concerns_us};

use super::draw;

type Texts = BTreeMap<String, String>;

/// The most that an Event can tell.
const LONGEST_NOTE: usize = 1024;

const VALUES: [&str; 24] = [
    "true",
    "false",
    "recommend",
    "80%",
    "0%",
    "100%",
    "33.333%",
    "120%",
    "10Gi",
    "1.5Ti",
    "0",
    "-1Gi",
    "9e99",
    "15m",
    "1h 30m",
    "0s",
    "Always",
    "OnUserChange",
    "Never",
    "Postgresql",
    "data=50Gi,wal=10Gi",
    "data=50Gi,gone=1Gi",
    "data",
    "",
];

/// Any annotations and labels.
pub fn annotations(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let names: Vec<TemplateName> = draw::list(u, 3, |u| draw::one(u, &["data", "wal", "a.b"]))?
        .iter()
        .map(|name| TemplateName::from(*name))
        .collect();
    let limits = Limits {
        max_size: draw::maybe(u, draw::size)?,
        max_step: draw::maybe(u, draw::size)?,
        min_cooldown: draw::span(u)?,
    };
    let annotations: Texts = draw::list(u, 6, entry)?.into_iter().collect();
    let labels: Texts = draw::list(u, 2, entry)?.into_iter().collect();
    let read = |annotations: &Texts, labels: &Texts| Settings::read(annotations, labels, &names, &limits);

    let (settings, notes) = read(&annotations, &labels);
    let keys = annotations.keys().chain(labels.keys()).filter(|key| key.starts_with(PREFIX)).count();
    assert!(notes.len() <= keys, "{keys} keys are told in {} notes", notes.len());
    for note in &notes {
        assert!(note.text.len() <= LONGEST_NOTE, "a note of {} bytes", note.text.len());
        assert!(!note.text.contains(char::is_control), "{:?} holds a control character", note.text);
    }
    settings.templates.values().for_each(|template| is_sound(template, &limits));
    if !concerns_us(&annotations, &labels) {
        let idle = |template: &TemplateSettings| template.auto == Auto::Off && template.requested.is_none();
        assert!(settings.templates.values().all(idle), "a set that is none of our business would grow");
    }

    // A key is good when nothing is told of it alone. The good ones alone mean what all of them mean. `requested` is a list,
    // whose good parts count.
    let of_annotations = |(key, value): &(&String, &String)| {
        *key == REQUESTED || read(&Texts::from([((*key).clone(), (*value).clone())]), &Texts::new()).1.is_empty()
    };
    let of_labels = |(key, value): &(&String, &String)| {
        read(&Texts::new(), &Texts::from([((*key).clone(), (*value).clone())])).1.is_empty()
            && !annotations.contains_key(*key)
    };
    let owned = |(key, value): (&String, &String)| (key.clone(), value.clone());
    let good: Texts = annotations.iter().filter(of_annotations).map(owned).collect();
    let good_labels: Texts = labels.iter().filter(of_labels).map(owned).collect();
    assert_eq!(read(&good, &good_labels).0, settings, "a key without effect has one: {annotations:?} {labels:?}");
    Ok(())
}

fn entry(u: &mut Unstructured<'_>) -> Result<(String, String)> {
    let doc = u.choose(KEYS)?;
    let key = match u.int_in_range(0..=9_u8)? {
        0 => draw::text(u, 40)?,
        1 => format!("{PREFIX}{}", draw::text(u, 40)?),
        2 => format!("{PREFIX}resize-{}", draw::one(u, &["0", "1", "2", "00", "x", "", "18446744073709551616"])?),
        3 | 4 => format!("{PREFIX}resize.{}", draw::one(u, &["data", "wal", "a.b", "a", ""])?),
        5 | 6 => format!("{PREFIX}{}.{}", doc.key, draw::one(u, &["data", "wal", "a.b", "gone", ""])?),
        _ => format!("{PREFIX}{}", doc.key),
    };
    Ok((key, draw::word(u, &VALUES)?))
}

fn is_sound(template: &TemplateSettings, limits: &Limits) {
    assert!(limits.max_size.is_none_or(|limit| template.max_size.is_some_and(|max| max <= limit)), "over the limit");
    assert_eq!((template.max_step, template.min_cooldown), (limits.max_step, limits.min_cooldown));
    assert!(template.cooldown.unwrap_or(Duration::MAX) >= limits.min_cooldown, "faster than the limit");
    for threshold in [template.threshold, template.inodes_threshold] {
        assert!(threshold > Percent(0) && threshold <= Percent::whole(100), "a threshold of {threshold}");
    }
    assert!(!matches!(template.increase, Increase::Share(Percent(0)) | Increase::Size(Bytes(0))), "a step of nothing");
    assert!(template.requested.as_ref().is_none_or(|request| request.size > Bytes(0)), "a request for nothing");
}
