//! The messages and services of CSI and of plugin registration, generated from `src/csi/proto` at build time.

/// `csi.v1`: identity, controller, node.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::wildcard_enum_match_arm)]
pub mod v1 {
    tonic::include_proto!("csi.v1");
}

/// `pluginregistration`: registration of the driver with the kubelet.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::wildcard_enum_match_arm)]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}
