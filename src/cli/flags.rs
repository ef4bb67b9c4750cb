//! Flags that several verbs share, and what they mean.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use crate::cluster::client::Source;

/// The operator's namespace, as in the documentation.
pub(crate) const OPERATOR_NAMESPACE: &str = "rso-system";

/// The cluster, the user, and the namespace: flags of `kubectl`, with the same meaning.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Namespace (default: the current context's namespace)
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig (default: its current context)
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// Path to the kubeconfig (default: $KUBECONFIG, else ~/.kube/config)
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

impl Connection {
    /// The cluster that the flags name, else `$KUBECONFIG`. If you name a file that cannot be used, the ServiceAccount of a
    /// Pod does not replace it.
    pub(crate) fn source(&self) -> Source {
        let is_set = std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
        match (&self.kubeconfig, &self.context) {
            (None, None) if !is_set => Source::Infer,
            (path, context) => Source::Kubeconfig { path: path.clone(), context: context.clone() },
        }
    }

    /// The cluster of the operator. `--namespace` does not limit the operator to a namespace, so it is rejected.
    ///
    /// # Errors
    /// If `--namespace` is given.
    pub(crate) fn operator_source(&self) -> Result<Source, Failure> {
        match &self.namespace {
            None => Ok(self.source()),
            Some(namespace) => Err(Failure::usage("rso controller does not accept --namespace").hint(format!(
                "To limit the operator to one namespace, pass --watch-namespaces={namespace}. To set the operator's own \
                 namespace, pass --pod-namespace={namespace}."
            ))),
        }
    }

    /// Rejects these flags for a verb that does not connect to an API server.
    ///
    /// # Errors
    /// If one of them is given.
    pub(crate) fn reject_all(&self, verb: &str) -> Result<(), Failure> {
        let given = [
            ("--namespace", self.namespace.is_some()),
            ("--context", self.context.is_some()),
            ("--kubeconfig", self.kubeconfig.is_some()),
        ];
        given.iter().find(|(_, is_given)| *is_given).map_or(Ok(()), |(flag, _)| {
            let message = format!("rso {verb} does not accept {flag}: it does not connect to an API server");
            Err(Failure::usage(message).hint(format!("Run the command again without {flag}.")))
        })
    }
}

/// The output format. The help lists its values on one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "clap would print a paragraph for each value")]
pub(super) enum Output {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
}

impl Output {
    /// Whether the output is for programs.
    pub(crate) fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Whether a request is persisted or only validated by the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "clap would print a paragraph for each value")]
pub(super) enum DryRun {
    #[default]
    None,
    Server,
}
