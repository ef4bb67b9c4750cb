//! Flags of the webhook.

use std::net::SocketAddr;

/// Who issues the certificate of the webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "clap would make a paragraph of each")]
pub enum Certificates {
    /// The operator
    #[default]
    Own,
    /// Another program, such as cert-manager, which also writes the caBundle
    External,
}

/// Flags of the webhook, which runs in the operator's process on every replica.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "webhook")]
#[command(next_help_heading = "Admission")]
pub struct Args {
    /// Address on which the API server reaches the webhook; without it, the webhook is disabled
    #[arg(long, value_name = "ADDRESS")]
    pub webhook_address: Option<SocketAddr>,
    /// Name of the Service and of the MutatingWebhookConfiguration of the webhook
    #[arg(long, value_name = "NAME", default_value = "rso")]
    pub webhook_name: String,
    /// Secret with the certificate, in the operator's namespace
    #[arg(long, value_name = "NAME", default_value = "rso-webhook")]
    pub webhook_secret: String,
    /// Who issues the certificate
    #[arg(long, value_name = "ISSUER", value_enum, default_value_t, hide_possible_values = false)]
    pub webhook_certificates: Certificates,
    /// Image of the agent that is added to new Pods; without it, no agent is added
    #[arg(long, value_name = "IMAGE")]
    pub agent_image: Option<String>,
}
