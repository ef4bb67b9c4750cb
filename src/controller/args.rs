//! Flags of `rso controller`, with their types.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::bytes::Bytes;
use crate::cluster::watch::Scope;
use crate::policy::drivers::{DriverError, Drivers};
use crate::policy::settings::Limits;
use crate::telemetry::logs::Format;

/// Flags of the operator. The limits here override every annotation.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Namespaces to watch (default: all)
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE,…")]
    pub watch_namespaces: Vec<String>,
    /// Maximum size of a volume
    #[arg(long, value_name = "QUANTITY")]
    pub max_size: Option<Bytes>,
    /// Maximum step of an expansion by usage
    #[arg(long, value_name = "QUANTITY")]
    pub max_step: Option<Bytes>,
    /// Minimum time between two expansions of one volume by usage
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub min_cooldown: Duration,
    /// What a CSI driver supports, overriding the built-in value; can be repeated
    #[arg(long = "driver", value_name = "PROVISIONER:FIELD=VALUE,…")]
    pub drivers: Vec<String>,
    /// Do not read the usage of a volume from the kubelet if its Pod has no agent
    #[arg(long)]
    pub no_kubelet: bool,
    /// ServiceAccount in the operator's namespace whose token kubelets receive; it needs the permission for nodes/stats
    /// only. Without it, the operator does not query kubelets, because they never receive its own token
    #[arg(long, value_name = "NAME", conflicts_with = "no_kubelet")]
    pub kubelet_account: Option<String>,
    /// Do not verify the certificates of kubelets, for clusters where each kubelet signs its own
    #[arg(long)]
    pub kubelet_insecure_tls: bool,
    /// Do not annotate a Pod when the disk of one of its volumes is larger; its kubelet then expands the filesystem only
    /// at its next synchronization of the Pod, by default after 30 to 70 seconds
    #[arg(long)]
    pub no_nudge: bool,
    /// Maximum number of StatefulSets that are recreated at the same time in the cluster; in one namespace, it is
    /// always one
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub max_recreates: usize,
    /// How long PVCs that a StatefulSet owns keep a second owner reference after it was recreated
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub guard_for: Duration,
    /// Address for /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,
    /// Address for /livez and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub health_address: SocketAddr,
    /// Log level (error, warn, info, debug) or a filter such as info,rso::recreate=debug
    #[arg(long, env = "RSO_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Log format
    #[arg(long, value_name = "json|text", default_value = "json")]
    pub log_format: Format,
    /// Name of this replica in the Lease
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "rso", hide_env_values = true)]
    pub pod_name: String,
    /// The operator's namespace, which contains the journals and the Lease; no one else may write to it
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "rso-system", hide_env_values = true)]
    pub pod_namespace: String,
}

impl Args {
    /// The limits of the administrator.
    pub fn limits(&self) -> Limits {
        Limits { max_size: self.max_size, max_step: self.max_step, min_cooldown: self.min_cooldown }
    }

    /// What the CSI drivers support.
    ///
    /// # Errors
    /// The first invalid `--driver`.
    pub fn drivers(&self) -> Result<Drivers, DriverError> {
        let mut drivers = Drivers::default();
        self.drivers.iter().try_for_each(|line| drivers.set(line))?;
        Ok(drivers)
    }

    /// The namespaces that are watched.
    pub fn scope(&self) -> Scope {
        match self.watch_namespaces.as_slice() {
            [] => Scope::Cluster,
            names => Scope::Namespaces(names.to_vec()),
        }
    }
}
