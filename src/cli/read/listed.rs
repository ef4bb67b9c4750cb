//! The objects that the command line listed, to read snapshots from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::measure::Key;
use crate::api::names::{ClaimName, TemplateName};
use crate::api::objects::STORAGE_CLASSES;
use crate::cli::failure::Failure;
use crate::cluster::client::{Client, Error, Selector};
use crate::policy::claim::Class;
use crate::workload::claims::{self, ClaimView};
use crate::workload::objects::Objects;
use crate::workload::statefulset::StatefulSetView;

/// The StorageClasses by name; `None` if this user may not list them, which is common for users with access to one
/// namespace.
pub(crate) type Classes = Option<BTreeMap<String, Class>>;

/// What was listed.
#[derive(Debug)]
pub(crate) struct Listed {
    claims: BTreeMap<Key, Arc<ClaimView>>,
    classes: Classes,
}

impl Listed {
    pub(crate) fn new(claims: Vec<Value>, classes: Classes) -> Self {
        let claims = claims.iter().filter_map(|claim| ClaimView::deserialize(claim).ok());
        let keyed = claims.map(|claim| ((claim.namespace.clone(), claim.name.clone()), Arc::new(claim)));
        Self { claims: keyed.collect(), classes }
    }
}

impl Objects for Listed {
    fn claim(&self, namespace: &str, name: &ClaimName) -> Option<Arc<ClaimView>> {
        self.claims.get(&(namespace.to_owned(), name.clone())).cloned()
    }

    fn retained(&self, set: &StatefulSetView, template: &TemplateName) -> Vec<Arc<ClaimView>> {
        let is_retained = |(namespace, name): &Key| set.is_retained(namespace, name, template);
        self.claims.iter().filter(|(key, _)| is_retained(key)).map(|(_, claim)| Arc::clone(claim)).collect()
    }

    fn class(&self, name: &str) -> Option<Class> {
        self.classes.as_ref()?.get(name).cloned()
    }

    fn has_classes(&self) -> bool {
        self.classes.is_some()
    }
}

/// Lists the StorageClasses.
///
/// # Errors
/// If the request fails for another reason than a missing permission.
pub(crate) async fn classes(client: &Client) -> Result<Classes, Failure> {
    match client.list(&STORAGE_CLASSES, None, Selector::default()).await {
        Ok(list) => {
            let classes =
                list.items.into_iter().filter_map(|class| serde_json::from_value(class).ok()).map(claims::class);
            Ok(Some(classes.map(|class| (class.name.clone(), class)).collect()))
        }
        Err(Error::NotAllowed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
