//! The backups of StatefulSets, with a check of their content.

use serde::Serialize;
use serde_json::Value;

use crate::api::annotations::{KIND_LABEL, STATEFULSET_LABEL};
use crate::api::names::SetName;
use crate::api::objects::CONFIG_MAPS;
use crate::cli::failure::Failure;
use crate::cluster::client::{Client, Selector};
use crate::recreate::backup;

/// A backup, from the metadata of its ConfigMap.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Saved {
    /// The ConfigMap.
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The name of the StatefulSet, or its label if the name is too long for a label.
    pub(crate) set: String,
    /// The number of the backup; a newer one has a larger number.
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
    /// Parses a ConfigMap; `None` if it is not a backup, or not one of this StatefulSet.
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

    /// The saved StatefulSet, after a check of its checksum.
    ///
    /// # Errors
    /// If the backup is damaged.
    pub(crate) fn statefulset(&self) -> Result<Value, Failure> {
        backup::decode(&self.object).map_err(|error| {
            Failure::refused(format!("backup {}/{} cannot be used: {error}", self.namespace, self.name))
                .hint(self.list_hint())
        })
    }

    /// How to select another backup.
    pub(crate) fn list_hint(&self) -> String {
        format!("To list the other backups, run `rso backup list -n {}`; select one with --backup.", self.namespace)
    }
}

/// The backups of one StatefulSet, or of all StatefulSets of a namespace or of all namespaces; the newest of each first.
///
/// # Errors
/// If the request fails.
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

/// The backup with this number, or the newest.
///
/// # Errors
/// If there is no such backup, or the request fails.
pub(crate) async fn find(client: &Client, set: &SetName, number: Option<u64>) -> Result<Saved, Failure> {
    let saved = list(client, Some(&set.namespace), Some(set)).await?;
    let numbers: Vec<String> = saved.iter().map(|saved| saved.number.to_string()).collect();
    let wanted = |saved: &Saved| number.is_none_or(|number| number == saved.number);
    saved.into_iter().find(wanted).ok_or_else(|| match (number, numbers.as_slice()) {
        (Some(number), [_, ..]) => Failure::negative(format!("StatefulSet {set} has no backup {number}"))
            .hint(format!("Available backups: {}. Select one with --backup.", numbers.join(", "))),
        (Some(_) | None, _) => Failure::negative(format!("StatefulSet {set} has no backup"))
            .hint("rso takes a backup before it recreates a StatefulSet. To select another namespace, pass -n."),
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
    fn the_name_of_a_backup_contains_its_statefulset_and_its_number() {
        let set = SetName::new("shop", "db");
        let check = |name: &str, set: Option<&SetName>, expected: Option<u64>| {
            assert_eq!(Saved::read(map(name), set).map(|saved| saved.number), expected, "{name}");
        };
        check("db-backup-7", Some(&set), Some(7));
        check("db-backup-7", None, Some(7));
        check("db2-backup-7", Some(&set), None);
        check("db-backup-x", None, None);
        // Neither a counter nor a clock reaches this number.
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
