//! The certificate manager: serves the certificate in the Secret, and keeps the Secret and the `caBundle` up to date.
//! Every replica serves what the Secret holds, as soon as it holds it; the leader issues the certificate and writes the
//! `caBundle`.
//!
//! The path on which the API server calls the webhook is managed in the same way (see [`crate::cluster::hook_path`]),
//! even if another program issues the certificate.
//!
//! A new CA is trusted before any certificate that it signed is served, and an old one for a day after. A Secret that
//! is deleted or invalid is created again; until then, the replicas continue with the certificate that they have.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::args::Certificates;
use super::server::{ApiServerTokens, ServedCertificate};
use super::{Args, Context};
use crate::api::objects::{Address, MUTATING_WEBHOOKS, SECRETS};
use crate::api::write::Write;
use crate::cluster::act::act;
use crate::cluster::certificate::{CertificateStep, Material, next};
use crate::cluster::client::{Error, Outcome, chain};
use crate::cluster::clock::now;
use crate::cluster::hook_path::{self, TOKEN_BYTES, Token};
use crate::cluster::lease::Role;

/// The readiness condition.
pub(super) const READY_CONDITION: &str = "certificate";
/// The time until every API server uses a new CA.
const CA_PROPAGATION_DELAY: Duration = Duration::from_secs(3);
/// How often the certificate is checked without an event of a watch: it expires without one.
const RESYNC_INTERVAL: Duration = Duration::from_secs(3600);
/// The delay after a failed write.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Follows the Secret and, as the leader, manages it. Never ends.
pub(super) async fn run(context: &Context, args: &Args, certificate: &ServedCertificate, tokens: &ApiServerTokens) {
    let manager = CertificateManager { context, args, certificate, tokens };
    let mut wake = manager.wake();
    let mut role = context.leadership.clone();
    let mut delay = Duration::ZERO;
    loop {
        let other = if role.role() == Role::Leader { Role::Follower } else { Role::Leader };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            Some(()) = wake.next() => {}
            true = role.becomes(other) => {}
        }
        delay = match manager.reconcile().await {
            Ok(Reconciled::Stable) => RESYNC_INTERVAL,
            Ok(Reconciled::Requeue) => RETRY_INTERVAL,
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to reconcile the webhook certificate; retrying");
                RETRY_INTERVAL
            }
        };
    }
}

enum Reconciled {
    Stable,
    Requeue,
}

struct CertificateManager<'a> {
    context: &'a Context,
    args: &'a Args,
    certificate: &'a ServedCertificate,
    tokens: &'a ApiServerTokens,
}

impl CertificateManager<'_> {
    /// Yields when the Secret or the configuration changes.
    fn wake(&self) -> impl Stream<Item = ()> + Unpin + use<> {
        let kube = self.context.client.kube();
        let secrets: Api<Secret> = Api::namespaced(kube.clone(), &self.context.namespace);
        let secret = watcher::watch_object(secrets, &self.args.webhook_secret).map(|_| ());
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(kube);
        let configuration = watcher::watch_object(configurations, &self.args.webhook_name).map(|_| ());
        Box::pin(futures::stream::select(secret, configuration))
    }

    /// Serves the certificate in the Secret; as the leader, makes one step towards the desired state.
    async fn reconcile(&self) -> Result<Reconciled, Error> {
        let Args { webhook_name: service, webhook_secret, .. } = self.args;
        let namespace = &self.context.namespace;
        let client = &self.context.client;
        let configuration = client.get(&MUTATING_WEBHOOKS.global(service)).await?;
        let secret = client.get(&SECRETS.of(namespace, webhook_secret)).await?;
        // Accept the tokens before the first request that has one can arrive.
        self.tokens.set(configuration.as_ref().map(hook_path::tokens).unwrap_or_default());
        self.serve(secret.as_ref());
        if self.context.leadership.role() == Role::Follower {
            return Ok(Reconciled::Stable);
        }
        if let Some(configuration) = &configuration
            && let Some((token, patch)) = new_token().and_then(|fresh| hook_path::completed(configuration, &fresh))
        {
            self.tokens.set(hook_path::tokens(configuration).into_iter().chain([token]).collect());
            let write = Write::json(MUTATING_WEBHOOKS.global(service), patch);
            if self.act(&write).await?.is_some() {
                tracing::info!(configuration = service, "set the secret webhook path");
            }
            return Ok(Reconciled::Requeue);
        }
        if self.args.webhook_certificates == Certificates::External {
            return Ok(Reconciled::Stable);
        }
        let step = next(secret.as_ref(), &trusted_bundle(configuration.as_ref()), service, namespace, now());
        match step {
            CertificateStep::UpToDate => return Ok(Reconciled::Stable),
            CertificateStep::Trust(bundle) => self.write_ca_bundle(configuration.as_ref(), &bundle).await.map(drop)?,
            CertificateStep::Trim(material) => self.write_secret(secret, &material).await?,
            CertificateStep::Renew { before } => self.renew(secret, configuration.as_ref(), &before).await?,
        }
        // The watch of what was written triggers the next iteration; if it does not, the delay does.
        Ok(Reconciled::Requeue)
    }

    fn serve(&self, secret: Option<&Value>) {
        let Some(secret) = secret else { return };
        let provider = rustls::crypto::ring::default_provider();
        match Material::read(secret).and_then(|material| material.certified(&provider)) {
            Ok(certified) => {
                self.certificate.set(certified);
                self.context.telemetry.health.condition(READY_CONDITION, true);
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "webhook certificate is invalid; serving the last valid one");
            }
        }
    }

    /// Writes the `caBundle` first: the API server would reject a replica that serves the new certificate too early.
    async fn renew(&self, secret: Option<Value>, configuration: Option<&Value>, before: &str) -> Result<(), Error> {
        let made = Material::issue(&self.args.webhook_name, &self.context.namespace, now());
        let material = match made {
            Ok(material) => material.trusting_also(before),
            Err(error) => {
                tracing::error!(error = chain(&error), "failed to issue the webhook certificate");
                return Ok(());
            }
        };
        if !self.write_ca_bundle(configuration, &material.bundle).await? {
            return Ok(());
        }
        if !before.is_empty() {
            tokio::time::sleep(CA_PROPAGATION_DELAY).await;
        }
        self.write_secret(secret, &material).await
    }

    async fn write_secret(&self, secret: Option<Value>, material: &Material) -> Result<(), Error> {
        let address = SECRETS.of(&self.context.namespace, &self.args.webhook_secret);
        let name = address.name.clone();
        if let Some(Outcome::Done(_)) = self.act(&secret_with(address, secret, material)).await? {
            tracing::info!(secret = name, "stored the new webhook certificate");
        }
        Ok(())
    }

    /// Writes the CAs to the configuration. Without a configuration, no API server calls us, and there is nothing to
    /// write. `false` if this replica does not lead, and nothing was written.
    async fn write_ca_bundle(&self, configuration: Option<&Value>, bundle: &str) -> Result<bool, Error> {
        let Some(configuration) = configuration else { return Ok(true) };
        let write = Write::json(MUTATING_WEBHOOKS.global(&self.args.webhook_name), ca_bundle(configuration, bundle));
        Ok(self.act(&write).await?.is_some())
    }

    async fn act(&self, write: &Write) -> Result<Option<Outcome<Value>>, Error> {
        act(&self.context.client, &self.context.leadership, write).await
    }
}

/// The write of the certificate to its Secret, which is created if it does not exist.
fn secret_with(address: Address, secret: Option<Value>, material: &Material) -> Write {
    if let Some(mut secret) = secret {
        secret["data"] = material.data();
        return Write::update(address, secret);
    }
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": { "name": address.name, "namespace": address.namespace },
        "data": material.data(),
    });
    Write::create(&SECRETS, address.namespace.as_deref(), secret)
}

/// `None` if the random generator fails, in which case rustls fails too.
fn new_token() -> Option<Token> {
    let mut random = [0; TOKEN_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).ok().map(|()| Token::new(random))
}

fn webhooks(configuration: &Value) -> &[Value] {
    configuration["webhooks"].as_array().map_or(&[], Vec::as_slice)
}

/// The bundle that all webhooks of the configuration have, as PEM; empty when they differ.
fn trusted_bundle(configuration: Option<&Value>) -> String {
    let bundles = configuration.map_or(&[][..], webhooks).iter().map(|hook| &hook["clientConfig"]["caBundle"]);
    let mut bundles = bundles.map(|bundle| bundle.as_str().unwrap_or_default());
    let first = bundles.next().unwrap_or_default();
    let same = bundles.all(|bundle| bundle == first);
    let pem = STANDARD.decode(first).ok().and_then(|pem| String::from_utf8(pem).ok());
    pem.filter(|_| same).unwrap_or_default()
}

/// Sets the bundle of every webhook, if the configuration is unchanged since it was read.
fn ca_bundle(configuration: &Value, bundle: &str) -> Value {
    let seen = json!({
        "op": "test", "path": "/metadata/resourceVersion", "value": configuration["metadata"]["resourceVersion"],
    });
    let set = |index| {
        let path = format!("/webhooks/{index}/clientConfig/caBundle");
        json!({ "op": "add", "path": path, "value": STANDARD.encode(bundle) })
    };
    [seen].into_iter().chain((0..webhooks(configuration).len()).map(set)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(bundles: &[Option<&str>]) -> Value {
        let hook = |bundle: &Option<&str>| match bundle {
            Some(bundle) => json!({"clientConfig": {"service": {}, "caBundle": STANDARD.encode(bundle)}}),
            None => json!({"clientConfig": {"service": {}}}),
        };
        json!({"metadata": {"resourceVersion": "7"}, "webhooks": bundles.iter().map(hook).collect::<Vec<_>>()})
    }

    #[test]
    fn a_bundle_is_trusted_if_all_webhooks_have_it() {
        let check = |bundles: &[Option<&str>], expected: &str| {
            assert_eq!(trusted_bundle(Some(&configuration(bundles))), expected);
        };
        check(&[], "");
        check(&[Some("a")], "a");
        check(&[Some("a"), Some("a")], "a");
        check(&[Some("a"), Some("b")], "");
        check(&[Some("a"), None], "");
        check(&[None, None], "");
        assert_eq!(trusted_bundle(None), "");
    }

    #[test]
    fn every_webhook_gets_the_bundle_unless_the_configuration_has_changed() {
        let mut object = configuration(&[None, Some("old")]);
        let patch = ca_bundle(&object, "new");
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(trusted_bundle(Some(&object)), "new");
        let mut moved = configuration(&[None]);
        moved["metadata"]["resourceVersion"] = json!("8");
        assert!(json_patch::patch(&mut moved, &patch).is_err());
    }
}
