//! Which certificate is shown, and does the API server trust it? Every replica shows what the Secret holds, as soon as it
//! holds it; the leader sees to it that the Secret holds one, and that the `caBundle` says so.
//!
//! By which path the API server asks is kept in the same way (see [`crate::cluster::hook_path`]), also where somebody else makes
//! the certificate.
//!
//! A new CA is trusted before anything it signed is shown, and an old one for a day after. A Secret that is deleted or
//! broken is made anew; the replicas go on with the certificate they have until then.

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
use crate::cluster::certificate::{Material, CertificateStep, next};
use crate::cluster::client::resources::{MUTATING_WEBHOOKS, SECRETS};
use crate::cluster::client::{Client, Error, Outcome, Patch, Run, chain};
use crate::cluster::clock::now;
use crate::cluster::hook_path::{self, TOKEN_BYTES, Token};
use crate::cluster::lease::Role;

/// The condition of readiness.
pub(super) const READY_CONDITION: &str = "certificate";
/// Until every API server has heard of a new CA.
const CA_PROPAGATION_DELAY: Duration = Duration::from_secs(3);
/// Looked at this often, whatever the watches say: certificates grow old in silence.
const RESYNC_INTERVAL: Duration = Duration::from_secs(3600);
/// After something could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Follows the Secret, and as the leader keeps it. Never ends.
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
                tracing::warn!(error = chain(&error), "the webhook's certificate could not be kept; trying again");
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
    /// Something happened to the Secret or to the configuration.
    fn wake(&self) -> impl Stream<Item = ()> + Unpin + use<> {
        let kube = self.context.client.kube();
        let secrets: Api<Secret> = Api::namespaced(kube.clone(), &self.context.namespace);
        let secret = watcher::watch_object(secrets, &self.args.webhook_secret).map(|_| ());
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(kube);
        let configuration = watcher::watch_object(configurations, &self.args.webhook_name).map(|_| ());
        Box::pin(futures::stream::select(secret, configuration))
    }

    /// Shows what there is; as the leader, makes one step towards what should be.
    async fn reconcile(&self) -> Result<Reconciled, Error> {
        let Args { webhook_name: service, webhook_secret, .. } = self.args;
        let namespace = &self.context.namespace;
        let client = &self.context.client;
        let configuration = client.get(&MUTATING_WEBHOOKS.global(service)).await?;
        let secret = client.get(&SECRETS.of(namespace, webhook_secret)).await?;
        // Whose questions are believed is known before the first can come.
        self.tokens.set(configuration.as_ref().map(hook_path::tokens).unwrap_or_default());
        self.show(secret.as_ref());
        if self.context.leadership.role() == Role::Follower {
            return Ok(Reconciled::Stable);
        }
        if let Some(configuration) = &configuration
            && let Some((token, patch)) = fresh_token().and_then(|fresh| hook_path::completed(configuration, &fresh))
        {
            let Some(permit) = self.context.leadership.permit() else { return Ok(Reconciled::Requeue) };
            self.tokens.set(hook_path::tokens(configuration).into_iter().chain([token]).collect());
            let address = MUTATING_WEBHOOKS.global(service);
            permit.client(client).patch(&address, &Patch::Json(patch), Run::Real).await?;
            tracing::info!(configuration = service, "the API server has a path that nobody else knows");
            return Ok(Reconciled::Requeue);
        }
        if self.args.webhook_certificates == Certificates::External {
            return Ok(Reconciled::Stable);
        }
        let step = next(secret.as_ref(), &trusted(configuration.as_ref()), service, namespace, now());
        let Some(permit) = self.context.leadership.permit() else { return Ok(Reconciled::Requeue) };
        let client = permit.client(client);
        match step {
            CertificateStep::UpToDate => return Ok(Reconciled::Stable),
            CertificateStep::Trust(bundle) => self.trust(&client, configuration.as_ref(), &bundle).await?,
            CertificateStep::Trim(material) => self.write(&client, secret, &material).await?,
            CertificateStep::Renew { before } => {
                drop(permit);
                self.renew(secret, configuration.as_ref(), &before).await?;
            }
        }
        // What was written wakes us again; should it not, we look.
        Ok(Reconciled::Requeue)
    }

    fn show(&self, secret: Option<&Value>) {
        let Some(secret) = secret else { return };
        let provider = rustls::crypto::ring::default_provider();
        match Material::read(secret).and_then(|material| material.certified(&provider)) {
            Ok(certified) => {
                self.certificate.set(certified);
                self.context.telemetry.health.condition(READY_CONDITION, true);
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the webhook's certificate is broken; the last good one is shown"
                );
            }
        }
    }

    /// Trust comes first: a replica that shows the new certificate before the API server trusts it would not be believed.
    async fn renew(&self, secret: Option<Value>, configuration: Option<&Value>, before: &str) -> Result<(), Error> {
        let made = Material::issue(&self.args.webhook_name, &self.context.namespace, now());
        let material = match made {
            Ok(material) => material.trusting_also(before),
            Err(error) => {
                tracing::error!(error = chain(&error), "the webhook has no certificate");
                return Ok(());
            }
        };
        let Some(permit) = self.context.leadership.permit() else { return Ok(()) };
        self.trust(&permit.client(&self.context.client), configuration, &material.bundle).await?;
        drop(permit);
        if !before.is_empty() {
            tokio::time::sleep(CA_PROPAGATION_DELAY).await;
        }
        let Some(permit) = self.context.leadership.permit() else { return Ok(()) };
        self.write(&permit.client(&self.context.client), secret, &material).await
    }

    async fn write(&self, client: &Client, secret: Option<Value>, material: &Material) -> Result<(), Error> {
        let (namespace, name) = (&self.context.namespace, &self.args.webhook_secret);
        let outcome = match secret {
            Some(mut secret) => {
                secret["data"] = material.data();
                client.replace(&SECRETS.of(namespace, name), &secret, Run::Real).await?
            }
            None => {
                let secret = json!({
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "type": "kubernetes.io/tls",
                    "metadata": { "name": name, "namespace": namespace },
                    "data": material.data(),
                });
                client.create(&SECRETS, Some(namespace), &secret, Run::Real).await?
            }
        };
        if let Outcome::Done(_) = outcome {
            tracing::info!(secret = name, "the webhook has a new certificate");
        }
        Ok(())
    }

    /// Tells the API server whom to trust. Without a configuration nobody asks us, and there is nobody to tell.
    async fn trust(&self, client: &Client, configuration: Option<&Value>, bundle: &str) -> Result<(), Error> {
        let Some(configuration) = configuration else { return Ok(()) };
        let patch = ca_bundle(configuration, bundle);
        let address = MUTATING_WEBHOOKS.global(&self.args.webhook_name);
        client.patch(&address, &Patch::Json(patch), Run::Real).await.map(|_| ())
    }
}

/// None when there is no randomness, which rustls would not survive either.
fn fresh_token() -> Option<Token> {
    let mut random = [0; TOKEN_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).ok().map(|()| Token::new(random))
}

fn webhooks(configuration: &Value) -> &[Value] {
    configuration["webhooks"].as_array().map_or(&[], Vec::as_slice)
}

/// The bundle that all webhooks of the configuration have, as PEM; empty when they differ.
fn trusted(configuration: Option<&Value>) -> String {
    let bundles = configuration.map_or(&[][..], webhooks).iter().map(|hook| &hook["clientConfig"]["caBundle"]);
    let mut bundles = bundles.map(|bundle| bundle.as_str().unwrap_or_default());
    let first = bundles.next().unwrap_or_default();
    let same = bundles.all(|bundle| bundle == first);
    let pem = STANDARD.decode(first).ok().and_then(|pem| String::from_utf8(pem).ok());
    pem.filter(|_| same).unwrap_or_default()
}

/// Sets the bundle of every webhook of the configuration as it was seen.
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
    fn a_bundle_counts_when_all_webhooks_have_it() {
        let check = |bundles: &[Option<&str>], expected: &str| {
            assert_eq!(trusted(Some(&configuration(bundles))), expected);
        };
        check(&[], "");
        check(&[Some("a")], "a");
        check(&[Some("a"), Some("a")], "a");
        check(&[Some("a"), Some("b")], "");
        check(&[Some("a"), None], "");
        check(&[None, None], "");
        assert_eq!(trusted(None), "");
    }

    #[test]
    fn every_webhook_gets_the_bundle_unless_the_configuration_has_changed() {
        let mut object = configuration(&[None, Some("old")]);
        let patch = ca_bundle(&object, "new");
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(trusted(Some(&object)), "new");
        let mut moved = configuration(&[None]);
        moved["metadata"]["resourceVersion"] = json!("8");
        assert!(json_patch::patch(&mut moved, &patch).is_err());
    }
}
