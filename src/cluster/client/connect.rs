//! The configuration of a client: credentials from a kubeconfig or a Pod, and the proxy.

use std::path::PathBuf;
use std::sync::Arc;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::proxy::{self, ProxyError};
use super::transport::{DeadlineLayer, RequestObserver};

/// Where the credentials of the cluster come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A kubeconfig, found as `kubectl` finds it, else the ServiceAccount of the Pod.
    #[default]
    Infer,
    /// This kubeconfig (or the default one) and this context of it (or the current one).
    Kubeconfig {
        /// The file; `None`: `$KUBECONFIG`, else `~/.kube/config`.
        path: Option<PathBuf>,
        /// The context; `None`: the current one.
        context: Option<String>,
    },
}

/// Why a client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a kubeconfig nor a ServiceAccount.
    #[error("failed to find a cluster; set KUBECONFIG, or run in a Pod whose ServiceAccount token is mounted")]
    Nowhere(#[source] kube::config::InferConfigError),
    /// The kubeconfig is invalid.
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The proxy is invalid.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The TLS configuration or the credentials are invalid.
    #[error("failed to create a client from the cluster's certificates and credentials")]
    Build(#[source] kube::Error),
}

/// The configuration from a source, with its proxy.
pub(super) async fn config(source: &Source) -> Result<kube::Config, ConnectError> {
    let (mut config, named) = match source {
        Source::Infer => match kubeconfig(None, None).await {
            Ok(found) => found,
            Err(_) => (kube::Config::infer().await.map_err(ConnectError::Nowhere)?, None),
        },
        Source::Kubeconfig { path, context } => {
            kubeconfig(path.as_deref(), context.clone()).await.map_err(ConnectError::Kubeconfig)?
        }
    };
    config.proxy_url = proxy::choose(&config.cluster_url, named.as_deref(), |name| std::env::var(name).ok())?;
    Ok(config)
}

/// The kubeconfig and its `proxy-url`.
async fn kubeconfig(
    path: Option<&std::path::Path>,
    context: Option<String>,
) -> Result<(kube::Config, Option<String>), kube::config::KubeconfigError> {
    let file = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from)?;
    let proxy = proxy_of(&file, context.as_ref());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Ok((kube::Config::from_custom_kubeconfig(file, &options).await?, proxy))
}

fn proxy_of(file: &Kubeconfig, context: Option<&String>) -> Option<String> {
    let context = context.or(file.current_context.as_ref())?;
    let context = file.contexts.iter().find(|named| named.name == *context)?.context.as_ref()?;
    file.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?.proxy_url.clone()
}

/// Builds kube's client, with the deadlines and the observer.
pub(super) fn build(config: &kube::Config, observer: &Arc<dyn RequestObserver>) -> Result<kube::Client, ConnectError> {
    let builder = ClientBuilder::try_from(config.clone()).map_err(ConnectError::Build)?;
    Ok(builder.with_layer(&DeadlineLayer { observer: observer.clone() }).build())
}
