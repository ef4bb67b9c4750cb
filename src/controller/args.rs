//! The flags of `rso controller`, typed as they are meant.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::bytes::Bytes;
use crate::cluster::watch::Scope;
use crate::policy::drivers::{DriverError, Drivers};
use crate::policy::settings::Limits;
use crate::telemetry::logs::Format;

/// Flags of the operator. The limits here beat every annotation.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Namespaces to look after; without it all of them
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE,…")]
    pub watch_namespaces: Vec<String>,
    /// No volume is ever grown above this quantity
    #[arg(long, value_name = "QUANTITY")]
    pub max_size: Option<Bytes>,
    /// No step by usage is larger than this quantity
    #[arg(long, value_name = "QUANTITY")]
    pub max_step: Option<Bytes>,
    /// The least time between two growths of one volume by usage
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub min_cooldown: Duration,
    /// What a storage driver allows, overriding what is built in; may be repeated
    #[arg(long = "driver", value_name = "PROVISIONER:FIELD=VALUE,…")]
    pub drivers: Vec<String>,
    /// Do not ask kubelets how full a volume is whose pod has no agent
    #[arg(long)]
    pub no_kubelet: bool,
    /// ServiceAccount in the operator's own namespace whose tokens kubelets get; it may read nodes/stats and nothing else.
    /// Without it kubelets are not asked: they never get the operator's own token
    #[arg(long, value_name = "NAME", conflicts_with = "no_kubelet")]
    pub kubelet_account: Option<String>,
    /// Do not verify the kubelets' certificates: for clusters where each kubelet signs its own
    #[arg(long)]
    pub kubelet_insecure_tls: bool,
    /// StatefulSets recreated at the same time in the whole cluster, one a namespace
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub max_recreates: usize,
    /// How long claims that a StatefulSet owns keep their second owner after a recreate
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub guard_for: Duration,
    /// Where metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,
    /// Where /livez and /readyz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub health_address: SocketAddr,
    /// What is logged: error, warn, info, debug, or a filter such as info,rso::recreate=debug
    #[arg(long, env = "RSO_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// How it is logged
    #[arg(long, value_name = "json|text", default_value = "json")]
    pub log_format: Format,
    /// This replica's name in the lease
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "rso", hide_env_values = true)]
    pub pod_name: String,
    /// The operator's own namespace: journals and the lease are there, and nobody else may write to it
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "rso-system", hide_env_values = true)]
    pub pod_namespace: String,
}

impl Args {
    /// The administrator's limits.
    pub fn limits(&self) -> Limits {
        Limits { max_size: self.max_size, max_step: self.max_step, min_cooldown: self.min_cooldown }
    }

    /// What the storage drivers allow.
    ///
    /// # Errors
    /// Which `--driver` is wrong.
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
