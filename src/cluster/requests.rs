//! What did applies ask for that the template does not have yet? The `requested` annotation, which the webhook writes and
//! the controller shortens as the requests come true.

use serde_json::{Value, json};

use super::client::{Address, Client, Error, Outcome, Patch, Run};
use super::lease::Leadership;
use super::sets::SetView;
use crate::api::annotations::REQUESTED;
use crate::api::bytes::Bytes;

/// What of the record is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// There is none, or none that can be read.
    None,
    /// All of it.
    Open(String),
    /// Only this; the rest has come true or means a template that is not there.
    Done(Option<String>),
}

/// What came of shortening the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortened {
    /// There is nothing more to do.
    Settled,
    /// Another version of the set is there; the next look will tell.
    Moved,
    /// Nothing was written: admission would change the spec with it, and restart Pods. The record stays, and does nothing.
    Changed,
}

/// Reads the record of a set. A value that is not as the webhook writes it is left for the settings to tell of.
pub fn record(set: &SetView) -> Record {
    let Some(value) = set.annotations.get(REQUESTED) else { return Record::None };
    let entry = |part| {
        let (name, size) = str::split_once(part, '=')?;
        Some((part, name, size.parse::<Bytes>().ok()?))
    };
    let Some(entries) = value.split(',').map(entry).collect::<Option<Vec<_>>>() else { return Record::None };
    let is_open = |name: &str, size: Bytes| {
        let template = set.templates.iter().find(|template| template.name.as_str() == name);
        template.is_some_and(|template| template.size.is_some_and(|present| present < size))
    };
    let open: Vec<&str> =
        entries.iter().filter(|(_, name, size)| is_open(name, *size)).map(|(part, ..)| *part).collect();
    if open.len() == entries.len() {
        return Record::Open(value.clone());
    }
    Record::Done((!open.is_empty()).then(|| open.join(",")))
}

/// Writes what is left, on the version of the set that was looked at.
///
/// # Errors
/// When the API server cannot be asked or refuses.
pub async fn shorten(
    client: &Client,
    leadership: &Leadership,
    set: &SetView,
    left: Option<&str>,
) -> Result<Shortened, Error> {
    let Some(permit) = leadership.permit() else { return Ok(Shortened::Settled) };
    let (client, object, patch) = (permit.client(client), Address::set(&set.name), Patch::Merge(patch_of(set, left)));
    // An annotation is no change of the spec, and so no new generation; unless admission makes one of it.
    if let Outcome::Done(answer) = client.patch(&object, &patch, Run::Dry).await?
        && answer["metadata"]["generation"].as_i64() != Some(set.generation)
    {
        return Ok(Shortened::Changed);
    }
    Ok(match client.patch(&object, &patch, Run::Real).await? {
        Outcome::Done(_) | Outcome::NotFound => Shortened::Settled,
        Outcome::Conflict(_) | Outcome::AlreadyExists => Shortened::Moved,
    })
}

fn patch_of(set: &SetView, left: Option<&str>) -> Value {
    json!({
        "metadata": {
            "uid": set.uid.as_str(),
            "resourceVersion": set.resource_version,
            "annotations": { REQUESTED: left },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_open_until_the_template_has_its_size() {
        let check = |recorded: Option<&str>, expected: Record| {
            let mut set = json!({
                "metadata": {"name": "db", "namespace": "ns", "uid": "1"},
                "spec": {"serviceName": "db", "selector": {}, "template": {}, "volumeClaimTemplates": [
                    {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "50Gi"}}}},
                    {"metadata": {"name": "wal"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}},
                ]},
            });
            if let Some(recorded) = recorded {
                set["metadata"]["annotations"] = json!({ REQUESTED: recorded });
            }
            let view = SetView::of(&serde_json::from_value(set).unwrap()).unwrap();
            assert_eq!(record(&view), expected, "{recorded:?}");
        };
        check(None, Record::None);
        check(Some("data"), Record::None);
        check(Some("data=much"), Record::None);
        check(Some("data=60Gi"), Record::Open("data=60Gi".into()));
        check(Some("data=60Gi,wal=2Gi"), Record::Open("data=60Gi,wal=2Gi".into()));
        check(Some("data=50Gi,wal=2Gi"), Record::Done(Some("wal=2Gi".into())));
        check(Some("data=51200Mi"), Record::Done(None));
        check(Some("gone=1Gi"), Record::Done(None));
    }
}
