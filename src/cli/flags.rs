//! Flags that several verbs share, and what they mean.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use crate::cluster::client::Source;

/// Which cluster, and as whom: the flags of `kubectl`, with the same meaning.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Namespace; without it that of the context
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Path of the kubeconfig; without it $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

impl Connection {
    /// The cluster that the flags, else `$KUBECONFIG`, name. Whoever names a file means it: where it cannot be used, the
    /// service account of a pod is not taken in its place.
    pub(crate) fn source(&self) -> Source {
        let named = std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
        match (&self.kubeconfig, &self.context) {
            (None, None) if !named => Source::Infer,
            (path, context) => Source::Kubeconfig { path: path.clone(), context: context.clone() },
        }
    }

    /// The cluster of the operator. It is not limited to a namespace by `--namespace`, so that flag is refused.
    pub(crate) fn of_operator(&self) -> Result<Source, Failure> {
        match &self.namespace {
            None => Ok(self.source()),
            Some(namespace) => Err(Failure::usage("rso controller does not take --namespace").hint(format!(
                "to limit it to one namespace: --watch-namespaces={namespace}; for its own objects: --pod-namespace={namespace}"
            ))),
        }
    }

    /// Refuses the flags where no API server is asked.
    pub(crate) fn unused(&self, verb: &str) -> Result<(), Failure> {
        let given = [
            ("--namespace", self.namespace.is_some()),
            ("--context", self.context.is_some()),
            ("--kubeconfig", self.kubeconfig.is_some()),
        ];
        given.iter().find(|(_, is_given)| *is_given).map_or(Ok(()), |(flag, _)| {
            Err(Failure::usage(format!("rso {verb} does not take {flag}: it asks no API server")).hint("leave it out"))
        })
    }
}

/// The form of an answer. Its variants are told in one line of the help, not each on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "clap would make a paragraph of each")]
pub enum Output {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
}

impl Output {
    /// For programs, not drawn.
    pub(crate) fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Whether anything is written, or only checked by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "clap would make a paragraph of each")]
pub enum DryRun {
    #[default]
    None,
    Server,
}
