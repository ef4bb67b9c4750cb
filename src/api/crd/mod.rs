//! The custom resources of the product: their names, their fields, and the schema from which the chart's file is generated.

pub mod fields;
pub mod policy;
pub mod schema;

/// The API group.
pub const GROUP: &str = "resize-statefulset-operator.io";
/// The version.
pub const VERSION: &str = "v1alpha1";
