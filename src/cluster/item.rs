//! An object of a watch, as kube requires it: with its identity and its version beside the fields that rso reads.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::api::{apps, core, storage};
use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::api::received::{ConfigMap, Meta, PersistentVolumeClaim, StatefulSet, StorageClass, pod::Pod};

/// The fields of a kind that are read.
pub(super) trait Fields: Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// The kind.
    type Kind: Resource<DynamicType = ()>;
    /// `metadata`.
    fn meta(&self) -> &Meta;
}

macro_rules! fields {
    ($($fields:ty: $kind:ty),+ $(,)?) => {$(
        impl Fields for $fields {
            type Kind = $kind;

            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }
    )+};
}

fields! {
    StatefulSet: apps::v1::StatefulSet,
    PersistentVolumeClaim: core::v1::PersistentVolumeClaim,
    Pod: core::v1::Pod,
    ConfigMap: core::v1::ConfigMap,
    StorageClass: storage::v1::StorageClass,
}

/// An object that a watch reports.
#[derive(Clone, Debug)]
pub(super) struct Item<F> {
    /// The name and the version alone, which kube reads.
    pub(super) meta: ObjectMeta,
    /// The fields that rso reads.
    pub(super) fields: F,
}

impl<'de, F: Fields> Deserialize<'de> for Item<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = F::deserialize(deserializer)?;
        let meta = fields.meta();
        let meta = ObjectMeta {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, fields })
    }
}

impl<F: Fields> Resource for Item<F> {
    type DynamicType = ();
    type Scope = <F::Kind as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        F::Kind::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        F::Kind::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        F::Kind::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        F::Kind::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_has_the_kind_the_name_and_the_version_of_its_object() {
        let object = json!({"metadata": {"namespace": "shop", "name": "db", "resourceVersion": "7", "uid": "u"}});
        let item: Item<StatefulSet> = serde_json::from_value(object).unwrap();
        let meta = [&item.meta.namespace, &item.meta.name, &item.meta.resource_version].map(Option::as_deref);
        assert_eq!(meta, [Some("shop"), Some("db"), Some("7")]);
        assert_eq!(item.fields.metadata.uid.as_deref(), Some("u"));
        assert_eq!(Item::<StatefulSet>::url_path(&(), Some("shop")), "/apis/apps/v1/namespaces/shop/statefulsets");
        assert_eq!(Item::<Pod>::url_path(&(), None), "/api/v1/pods");
    }
}
