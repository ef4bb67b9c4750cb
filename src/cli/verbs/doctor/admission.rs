//! Is an apply absorbed? Who is asked, whether the answer is trusted and for how long, and whether it works.

use serde_json::{Value, json};

use super::Practice;
use super::findings::Finding;
use crate::api::names::SetName;
use crate::cluster::certificate::Material;
use crate::cluster::client::resources::{MUTATING_WEBHOOKS, SECRETS};
use crate::cluster::client::{Address, Error, Outcome, Patch, Resource, Run};
use crate::cluster::clock::now;
use crate::cluster::hook_path::{RANDOM, Token, completed};

const POLICIES: Resource = Resource {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
};
const SLICES: Resource =
    Resource { group: "discovery.k8s.io", version: "v1", kind: "EndpointSlice", plural: "endpointslices" };

/// A certificate of ours is renewed at thirty days; one with less than this has been forgotten.
const FEW_DAYS: u32 = 14;

pub(super) async fn look(practice: &Practice<'_>) -> Result<Vec<Finding>, Error> {
    let webhook = match practice.client.get(&MUTATING_WEBHOOKS.global(practice.release)).await {
        Ok(webhook) => webhook,
        Err(error @ Error::NotAllowed { .. }) => return Ok(vec![Finding::unknown("admission", &error)]),
        Err(error) => return Err(error),
    };
    let mut findings = Vec::new();
    match webhook {
        Some(webhook) => {
            findings.push(certificate(practice, &webhook).await);
            findings.push(endpoints(practice).await);
        }
        None if !has_policy(practice).await => {
            let what = "neither webhook nor policy: an apply with another size than the live one is refused";
            let fix = "helm upgrade … --set admission.enabled=true";
            return Ok(vec![Finding::warning("admission", what, fix)]);
        }
        None => findings.push(Finding::good("admission", "the policy is installed")),
    }
    findings.push(proof(practice).await);
    Ok(findings)
}

async fn has_policy(practice: &Practice<'_>) -> bool {
    let policy = POLICIES.global(format!("{}-absorb", practice.release));
    practice.client.get(&policy).await.is_ok_and(|policy| policy.is_some())
}

async fn certificate(practice: &Practice<'_>, webhook: &Value) -> Finding {
    let name = format!("{}-webhook", practice.release);
    match practice.client.get(&SECRETS.of(practice.own, &name)).await {
        Ok(secret) => judge(secret.as_ref(), webhook, practice.release, practice.own),
        Err(error) => Finding::unknown("certificate", &error),
    }
}

fn judge(secret: Option<&Value>, webhook: &Value, service: &str, namespace: &str) -> Finding {
    const ABOUT: &str = "certificate";
    let restart = "The leading replica makes a new one within seconds. If it does not, look at its log.";
    let Some(material) = secret.and_then(|secret| Material::read(secret).ok()) else {
        return Finding::problem(ABOUT, "the Secret is missing or broken", restart);
    };
    let bundles = webhook["webhooks"].as_array().into_iter().flatten().map(|hook| &hook["clientConfig"]["caBundle"]);
    let ours = &material.data()["ca.crt"];
    if !bundles.into_iter().all(|bundle| bundle == ours) {
        let what = "caBundle is not the CA in the Secret, so the API server does not believe the operator";
        let fix = "The leading replica writes it within seconds. If it changes back, another tool writes it: let that tool \
                   ignore caBundle of the MutatingWebhookConfiguration.";
        return Finding::problem(ABOUT, what, fix);
    }
    if completed(webhook, &Token::new([0; RANDOM])).is_some() {
        let what = "a webhook has no secret path, so the operator does not know the API server: new PVCs and Pods are left as they are";
        let fix = "The leading replica writes it within seconds. If it changes back, another tool writes it: let that tool \
                   ignore clientConfig.service.path of the MutatingWebhookConfiguration.";
        return Finding::problem(ABOUT, what, fix);
    }
    match material.days_left(service, namespace, now()) {
        None => Finding::problem(ABOUT, "it is not valid now, or not for the Service", restart),
        Some(days) if days < FEW_DAYS => {
            Finding::warning(ABOUT, format!("it ends in {days} days and should have been renewed"), restart)
        }
        Some(days) => Finding::good(ABOUT, format!("valid for {days} more days, and the API server trusts it")),
    }
}

async fn endpoints(practice: &Practice<'_>) -> Finding {
    let slices = match practice.all(&SLICES, Some(practice.own)).await {
        Ok(slices) => slices,
        Err(error) => return Finding::unknown("webhook", &error),
    };
    let ready = ready(&slices, practice.release);
    if ready == 0 {
        let fix = "Start the operator; until then an apply with another size is refused, and nothing else is affected.";
        return Finding::problem("webhook", "no replica is ready to answer", fix);
    }
    Finding::good("webhook", format!("{ready} replicas are ready to answer"))
}

fn ready(slices: &[Value], service: &str) -> usize {
    let ours = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    let endpoints = ours.filter_map(|slice| slice["endpoints"].as_array()).flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false).count()
}

/// Asks for twice the size of some set's first template, dry: is the template kept?
async fn proof(practice: &Practice<'_>) -> Finding {
    const ABOUT: &str = "absorb";
    let trial = practice.sets.iter().filter(|set| set["metadata"]["namespace"] != practice.own).find_map(larger);
    let Some((set, patch)) = trial else {
        return Finding::good(ABOUT, "no StatefulSet has a volume, so there is nothing to try it with");
    };
    let fix = "The API server must reach port 9443 of the operator's pods: look for a firewall or a NetworkPolicy. Or the \
               namespace has the label resize-statefulset-operator/admission=ignore.";
    match practice.client.patch(&Address::set(&set), &Patch::Merge(patch), Run::Dry).await {
        Ok(Outcome::Done(_)) => Finding::good(ABOUT, format!("a larger size for {set} was absorbed (dry run)")),
        Ok(Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists) => {
            Finding::good(ABOUT, format!("{set} changed meanwhile; run it again to try"))
        }
        Err(Error::Invalid { .. }) => {
            Finding::problem(ABOUT, format!("a larger size for {set} was refused (dry run)"), fix)
        }
        Err(error) => Finding::unknown(ABOUT, &error),
    }
}

/// A patch that makes the first template of the set larger; none when it has none.
fn larger(set: &Value) -> Option<(SetName, Value)> {
    let name = SetName::new(set["metadata"]["namespace"].as_str()?, set["metadata"]["name"].as_str()?);
    let mut templates = set["spec"]["volumeClaimTemplates"].clone();
    let size = templates.get_mut(0)?.pointer_mut("/spec/resources/requests/storage")?;
    let present: crate::api::bytes::Bytes = size.as_str()?.parse().ok()?;
    *size = json!(present.saturating_add(present));
    Some((name, json!({ "spec": { "volumeClaimTemplates": templates } })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verbs::doctor::findings::Level;

    #[test]
    fn a_certificate_is_judged_with_the_bundle_that_the_api_server_has() {
        let made = Material::issue("rso", "ns", now()).unwrap();
        let data = made.data();
        let secret = json!({ "data": data });
        let hook = |bundle: &Value| json!({"webhooks": [{"clientConfig": {"caBundle": bundle}}]});
        let check = |secret: Option<&Value>, webhook: &Value, service: &str, expected: Level, words: &str| {
            let finding = judge(secret, webhook, service, "ns");
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
        check(Some(&json!({})), &hook(&data["ca.crt"]), "rso", Level::Problem, "missing or broken");
        check(None, &hook(&data["ca.crt"]), "rso", Level::Problem, "missing or broken");
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
    fn the_trial_asks_for_a_larger_first_template() {
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
