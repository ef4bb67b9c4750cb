//! Checks of admission: the webhook or the policy, its certificate, and whether an apply with a larger size succeeds.

use serde_json::{Value, json};

use super::Context;
use super::findings::Finding;
use crate::api::names::SetName;
use crate::api::objects::{Address, MUTATING_WEBHOOKS, Resource, SECRETS};
use crate::api::storage::REQUEST_POINTER;
use crate::api::write::Write;
use crate::cluster::certificate::Material;
use crate::cluster::client::{Error, Outcome};
use crate::cluster::clock::now;
use crate::cluster::hook_path::{TOKEN_BYTES, Token, completed};

const POLICIES: Resource = Resource {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
};
const SLICES: Resource =
    Resource { group: "discovery.k8s.io", version: "v1", kind: "EndpointSlice", plural: "endpointslices" };

/// The operator renews its certificate thirty days before it expires; one with fewer days than this was not renewed.
const MIN_DAYS_LEFT: u32 = 14;

pub(super) async fn check(context: &Context<'_>) -> Result<Vec<Finding>, Error> {
    let webhook = match context.client.get(&MUTATING_WEBHOOKS.global(context.release)).await {
        Ok(webhook) => webhook,
        Err(error @ Error::NotAllowed { .. }) => return Ok(vec![Finding::unknown("admission", &error)]),
        Err(error) => return Err(error),
    };
    let mut findings = Vec::new();
    match webhook {
        Some(webhook) => {
            findings.push(certificate(context, &webhook).await);
            findings.push(endpoints(context).await);
        }
        None if !has_policy(context).await => {
            let what = "neither the webhook nor the policy exists: Kubernetes rejects an apply whose size differs from the live \
                        one";
            let fix = "Enable it: helm upgrade … --set admission.enabled=true";
            return Ok(vec![Finding::warning("admission", what, fix)]);
        }
        None => findings.push(Finding::good("admission", "the MutatingAdmissionPolicy exists")),
    }
    findings.push(apply(context).await);
    Ok(findings)
}

async fn has_policy(context: &Context<'_>) -> bool {
    let policy = POLICIES.global(format!("{}-absorb", context.release));
    context.client.get(&policy).await.is_ok_and(|policy| policy.is_some())
}

async fn certificate(context: &Context<'_>, webhook: &Value) -> Finding {
    let name = format!("{}-webhook", context.release);
    match context.client.get(&SECRETS.of(context.operator_namespace, &name)).await {
        Ok(secret) => certificate_finding(secret.as_ref(), webhook, context.release, context.operator_namespace),
        Err(error) => Finding::unknown("certificate", &error),
    }
}

fn certificate_finding(secret: Option<&Value>, webhook: &Value, service: &str, namespace: &str) -> Finding {
    const ABOUT: &str = "certificate";
    let renew = &format!(
        "The leading replica issues a new one within seconds. If it does not, check the operator's log: kubectl -n {namespace} \
         logs deployment/{service}"
    );
    let Some(material) = secret.and_then(|secret| Material::read(secret).ok()) else {
        return Finding::problem(ABOUT, "the Secret is missing or invalid", renew);
    };
    let bundles = webhook["webhooks"].as_array().into_iter().flatten().map(|hook| &hook["clientConfig"]["caBundle"]);
    let ours = &material.data()["ca.crt"];
    if !bundles.into_iter().all(|bundle| bundle == ours) {
        let what = "caBundle differs from the CA in the Secret, so the API server does not trust the operator";
        let fix = "The leading replica writes it within seconds. If it changes back, another tool overwrites it: make that \
                   tool ignore caBundle of the MutatingWebhookConfiguration.";
        return Finding::problem(ABOUT, what, fix);
    }
    if completed(webhook, &Token::new([0; TOKEN_BYTES])).is_some() {
        let what = "a webhook has no secret path, so the operator cannot identify the API server and does not change new PVCs and Pods";
        let fix = "The leading replica writes it within seconds. If it changes back, another tool overwrites it: make that \
                   tool ignore clientConfig.service.path of the MutatingWebhookConfiguration.";
        return Finding::problem(ABOUT, what, fix);
    }
    match material.days_left(service, namespace, now()) {
        None => Finding::problem(ABOUT, "the certificate is not valid now, or not for the Service", renew),
        Some(days) if days < MIN_DAYS_LEFT => {
            Finding::warning(ABOUT, format!("the certificate expires in {days} days and was not renewed"), renew)
        }
        Some(days) => Finding::good(ABOUT, format!("valid for {days} more days, and the API server trusts it")),
    }
}

async fn endpoints(context: &Context<'_>) -> Finding {
    let slices = match context.all(&SLICES, Some(context.operator_namespace)).await {
        Ok(slices) => slices,
        Err(error) => return Finding::unknown("webhook", &error),
    };
    match ready(&slices, context.release) {
        0 => {
            let fix = format!(
                "Start the operator: check kubectl -n {} get pods. Until a replica is ready, Kubernetes rejects an apply whose \
                 size differs from the live one; nothing else is affected.",
                context.operator_namespace
            );
            Finding::problem("webhook", "no replica is ready to answer", fix)
        }
        1 => Finding::good("webhook", "1 replica is ready to answer"),
        ready => Finding::good("webhook", format!("{ready} replicas are ready to answer")),
    }
}

fn ready(slices: &[Value], service: &str) -> usize {
    let ours = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    let endpoints = ours.filter_map(|slice| slice["endpoints"].as_array()).flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false).count()
}

/// A dry run of an apply that requests twice the size of the first template of some StatefulSet.
async fn apply(context: &Context<'_>) -> Finding {
    const ABOUT: &str = "apply";
    let target =
        context.sets.iter().filter(|set| set["metadata"]["namespace"] != context.operator_namespace).find_map(larger);
    let Some((set, patch)) = target else {
        return Finding::good(ABOUT, "not tested, because no StatefulSet has a volumeClaimTemplate");
    };
    let fix = "The API server must reach port 9443 of the operator's Pods: check firewalls and NetworkPolicies. If the namespace \
               has the label resize-statefulset-operator/admission=ignore, this is expected.";
    match context.client.dry_run(&Write::merge(Address::set(&set), patch)).await {
        Ok(Outcome::Done(_)) => {
            Finding::good(ABOUT, format!("an apply with a larger size for StatefulSet {set} succeeds (dry run)"))
        }
        Ok(Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists) => Finding::good(
            ABOUT,
            format!("not tested, because StatefulSet {set} changed in the meantime; run the command again"),
        ),
        Err(Error::Invalid { .. }) => Finding::problem(
            ABOUT,
            format!("an apply with a larger size for StatefulSet {set} is rejected (dry run)"),
            fix,
        ),
        Err(error) => Finding::unknown(ABOUT, &error),
    }
}

/// A patch that makes the first template of the StatefulSet larger; `None` if it has no template.
fn larger(set: &Value) -> Option<(SetName, Value)> {
    let name = SetName::new(set["metadata"]["namespace"].as_str()?, set["metadata"]["name"].as_str()?);
    let mut templates = set["spec"]["volumeClaimTemplates"].clone();
    let size = templates.get_mut(0)?.pointer_mut(REQUEST_POINTER)?;
    let present: crate::api::bytes::Bytes = size.as_str()?.parse().ok()?;
    *size = json!(present.saturating_add(present));
    Some((name, json!({ "spec": { "volumeClaimTemplates": templates } })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verbs::doctor::findings::Level;

    #[test]
    fn a_certificate_is_compared_with_the_ca_bundle_of_the_webhook() {
        let material = Material::issue("rso", "ns", now()).unwrap();
        let data = material.data();
        let secret = json!({ "data": data });
        let hook = |bundle: &Value| json!({"webhooks": [{"clientConfig": {"caBundle": bundle}}]});
        let check = |secret: Option<&Value>, webhook: &Value, service: &str, expected: Level, words: &str| {
            let finding = certificate_finding(secret, webhook, service, "ns");
            assert!(finding.level == expected && finding.what.contains(words), "{finding:?}");
        };
        check(Some(&secret), &hook(&data["ca.crt"]), "rso", Level::Good, "89 more days");
        check(Some(&secret), &hook(&data["tls.crt"]), "rso", Level::Problem, "caBundle");
        check(Some(&secret), &hook(&Value::Null), "rso", Level::Problem, "caBundle");
        let mut without_path = hook(&data["ca.crt"]);
        without_path["webhooks"][0]["name"] = json!("floor.resize-statefulset-operator.io");
        without_path["webhooks"][0]["clientConfig"]["service"] = json!({"name": "rso"});
        check(Some(&secret), &without_path, "rso", Level::Problem, "path");
        check(Some(&secret), &hook(&data["ca.crt"]), "other", Level::Problem, "not valid");
        check(Some(&json!({})), &hook(&data["ca.crt"]), "rso", Level::Problem, "missing or invalid");
        check(None, &hook(&data["ca.crt"]), "rso", Level::Problem, "missing or invalid");
    }

    #[test]
    fn only_ready_endpoints_of_the_service_count() {
        let slice = |service: &str, ready: Value| {
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": service}},
                "endpoints": [{"conditions": {"ready": ready}}],
            })
        };
        let slices = [slice("rso", json!(true)), slice("rso", json!(false)), slice("db", json!(true)), json!({})];
        assert_eq!(ready(&slices, "rso"), 1);
    }

    #[test]
    fn the_dry_run_requests_a_larger_first_template() {
        let set = json!({
            "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "5Gi"}}}}]},
        });
        let (name, patch) = larger(&set).unwrap();
        assert_eq!(name.to_string(), "shop/db");
        assert_eq!(patch["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "10Gi");
        assert!(larger(&json!({"metadata": {"namespace": "a", "name": "b"}, "spec": {}})).is_none());
    }
}
