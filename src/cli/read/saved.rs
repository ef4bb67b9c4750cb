//! What backups of a set are there, and are they what was written?

use serde::Serialize;
use serde_json::Value;

use crate::api::annotations::{KIND_LABEL, STATEFULSET_LABEL};
use crate::api::names::SetName;
use crate::cli::failure::Failure;
use crate::cluster::client::resources::CONFIG_MAPS;
use crate::cluster::client::{Client, Selector};
use crate::recreate::backup;

/// A backup, as its ConfigMap tells of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Saved {
    /// The ConfigMap.
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Of which set: its name, or what the label holds of a name too long for a label.
    pub(crate) set: String,
    /// Which backup of the set; later ones have larger numbers.
    pub(crate) number: u64,
    pub(crate) taken_at: String,
    pub(crate) reason: String,
    pub(crate) uid: String,
    pub(crate) sizes: String,
    /// The ConfigMap itself.
    #[serde(skip)]
    pub(crate) object: Value,
}

impl Saved {
    pub(crate) fn read(object: Value, set: Option<&SetName>) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name")?;
        let label = object["metadata"]["labels"][STATEFULSET_LABEL].as_str()?.to_owned();
        let number = match set {
            Some(set) => backup::number_of(set, &name)?,
            None => name.rsplit_once("-backup-")?.1.parse().ok()?,
        };
        if !backup::is_plausible(number, &object["metadata"]) {
            return None;
        }
        let data = |key: &str| object["data"][key].as_str().unwrap_or_default().to_owned();
        Some(Self {
            namespace: text("/metadata/namespace")?,
            set: set.map_or(label, |set| set.name.clone()),
            number,
            taken_at: data("taken-at"),
            reason: data("reason"),
            uid: data("uid"),
            sizes: data("sizes"),
            name,
            object,
        })
    }

    /// The saved StatefulSet, unpacked and compared with its checksum.
    pub(crate) fn statefulset(&self) -> Result<Value, Failure> {
        backup::decode(&self.object).map_err(|error| {
            Failure::refused(format!("backup {}/{} cannot be used: {error}", self.namespace, self.name))
                .hint("`rso backup list` shows the others; --backup names one of them")
        })
    }
}

/// The backups of one set, or of all sets of a namespace or of all namespaces; the newest of a set first.
pub(crate) async fn list(
    client: &Client,
    namespace: Option<&str>,
    set: Option<&SetName>,
) -> Result<Vec<Saved>, Failure> {
    let labels = set.map_or(format!("{KIND_LABEL}={}", backup::KIND), backup::selector_of);
    let selector = Selector { labels: Some(&labels), fields: None };
    let maps = client.list(&CONFIG_MAPS, namespace, selector).await?;
    let mut saved: Vec<Saved> = maps.items.into_iter().filter_map(|object| Saved::read(object, set)).collect();
    saved.sort_by(|a, b| (&a.namespace, &a.set, b.number).cmp(&(&b.namespace, &b.set, a.number)));
    Ok(saved)
}

/// The backup of that number, or the newest.
pub(crate) async fn one(client: &Client, set: &SetName, number: Option<u64>) -> Result<Saved, Failure> {
    let saved = list(client, Some(&set.namespace), Some(set)).await?;
    let numbers: Vec<String> = saved.iter().map(|saved| saved.number.to_string()).collect();
    let wanted = |saved: &Saved| number.is_none_or(|number| number == saved.number);
    saved.into_iter().find(wanted).ok_or_else(|| match (number, numbers.as_slice()) {
        (Some(number), [_, ..]) => Failure::no(format!("StatefulSet {set} has no backup {number}"))
            .hint(format!("it has: {}", numbers.join(", "))),
        (Some(_) | None, _) => Failure::no(format!("StatefulSet {set} has no backup"))
            .hint("a backup is taken before its template is rewritten; another namespace is named by -n"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {STATEFULSET_LABEL: "db"}},
            "data": {"taken-at": "2026-05-01T12:00:00Z", "reason": "usage", "uid": "u", "sizes": "data=10Gi"},
        })
    }

    #[test]
    fn a_backup_is_known_by_its_set_and_number() {
        let set = SetName::new("shop", "db");
        let check = |name: &str, set: Option<&SetName>, expected: Option<u64>| {
            assert_eq!(Saved::read(map(name), set).map(|saved| saved.number), expected, "{name}");
        };
        check("db-backup-7", Some(&set), Some(7));
        check("db-backup-7", None, Some(7));
        check("db2-backup-7", Some(&set), None);
        check("db-backup-x", None, None);
        // Nobody counted that far, and no clock stands there.
        check("db-backup-18446744073709551615", Some(&set), None);
        check("db-backup-18446744073709551615", None, None);
        check("db", None, None);
    }

    #[test]
    fn a_damaged_backup_is_refused() {
        let saved = Saved::read(map("db-backup-7"), None).unwrap();
        assert_eq!(saved.statefulset().unwrap_err().exit, crate::cli::failure::Exit::Refused);
    }
}
