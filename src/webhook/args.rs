//! The flags of the webhook.

use std::net::SocketAddr;

/// Who makes the webhook's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "clap would make a paragraph of each")]
pub enum Certificates {
    /// The operator itself
    #[default]
    Own,
    /// Somebody else, such as cert-manager, who also writes the caBundle
    External,
}

/// Flags of the webhook, which runs in the operator's process on every replica.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "webhook")]
#[command(next_help_heading = "Admission")]
pub struct Args {
    /// Where the API server asks; without it there is no webhook
    #[arg(long, value_name = "ADDRESS")]
    pub webhook_address: Option<SocketAddr>,
    /// The Service and the MutatingWebhookConfiguration that lead here
    #[arg(long, value_name = "NAME", default_value = "rso")]
    pub webhook_name: String,
    /// The Secret with the certificate, in the operator's namespace
    #[arg(long, value_name = "NAME", default_value = "rso-webhook")]
    pub webhook_secret: String,
    /// Who makes the certificate
    #[arg(long, value_name = "WHO", value_enum, default_value_t, hide_possible_values = false)]
    pub webhook_certificates: Certificates,
    /// The image of the agent that new pods get; without it they get none
    #[arg(long, value_name = "IMAGE")]
    pub agent_image: Option<String>,
}
