//! Check for harmful settings of Argo CD and Flux: those that replace or delete objects instead of patching them.

use serde_json::Value;

use super::Context;
use super::findings::Finding;
use crate::api::objects::Resource;
use crate::cluster::client::Error;

const APPLICATIONS: Resource =
    Resource { group: "argoproj.io", version: "v1alpha1", kind: "Application", plural: "applications" };
const KUSTOMIZATIONS: Resource =
    Resource { group: "kustomize.toolkit.fluxcd.io", version: "v1", kind: "Kustomization", plural: "kustomizations" };
const RELEASES: Resource =
    Resource { group: "helm.toolkit.fluxcd.io", version: "v2", kind: "HelmRelease", plural: "helmreleases" };

const OPTIONS: &str = "argocd.argoproj.io/sync-options";
const COMPARE: &str = "argocd.argoproj.io/compare-options";
const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";

type Check = fn(&Value) -> Option<Finding>;

pub(super) async fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = context.sets.iter().filter_map(of_set).collect();
    let kinds: [(&'static Resource, Check); 3] =
        [(&APPLICATIONS, of_application), (&KUSTOMIZATIONS, of_kustomization), (&RELEASES, of_release)];
    for (kind, check) in kinds {
        match context.all(kind, None).await {
            Ok(objects) => findings.extend(objects.iter().filter_map(check)),
            // A user who may not list them does not manage them either.
            Err(Error::NotAllowed { .. }) => {}
            Err(error) => findings.push(Finding::unknown(kind.plural, &error)),
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("deployment tools", "no harmful setting of Argo CD or Flux found"));
    }
    findings
}

fn named(kind: &str, object: &Value) -> String {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    format!("{kind} {}/{}", text("namespace"), text("name"))
}

/// Whether a list such as `Replace=true,Force=true` contains the option.
fn contains(list: &Value, option: &str) -> bool {
    list.as_str().is_some_and(|list| list.split(',').any(|one| one.trim() == option))
}

fn replaces(about: String) -> Finding {
    let what = "Replace=true or Force=true: a sync can delete and recreate the StatefulSet with its Pods";
    Finding::problem(about, what, "Remove both options; an apply of any size succeeds without them.")
}

fn of_set(set: &Value) -> Option<Finding> {
    let annotations = &set["metadata"]["annotations"];
    let about = || named("StatefulSet", set);
    if contains(&annotations[OPTIONS], "Replace=true") || contains(&annotations[OPTIONS], "Force=true") {
        return Some(replaces(about()));
    }
    let force = annotations[FORCE].as_str().is_some_and(|value| value.eq_ignore_ascii_case("enabled"));
    force.then(|| forces(about(), "the annotation kustomize.toolkit.fluxcd.io/force: enabled"))
}

fn forces(about: String, setting: &str) -> Finding {
    let what = format!("{setting}: if an apply is rejected, Flux deletes the StatefulSet and all its Pods");
    Finding::problem(about, what, "Remove it; an apply of any size succeeds without it.")
}

fn of_application(application: &Value) -> Option<Finding> {
    let options = application["spec"]["syncPolicy"]["syncOptions"].as_array().map_or(&[][..], Vec::as_slice);
    let compare = &application["metadata"]["annotations"][COMPARE];
    if options.iter().any(|option| contains(option, "Replace=true") || contains(option, "Force=true")) {
        return Some(replaces(named("Application", application)));
    }
    (contains(compare, "ServerSideDiff=true") && !contains(compare, "IncludeMutationWebhook=true")).then(|| {
        let what = "ServerSideDiff without IncludeMutationWebhook: a StatefulSet whose size exceeds the one in git is OutOfSync";
        let fix = format!("Annotate the Application: {COMPARE}: ServerSideDiff=true,IncludeMutationWebhook=true");
        Finding::warning(named("Application", application), what, fix)
    })
}

fn of_kustomization(kustomization: &Value) -> Option<Finding> {
    (kustomization["spec"]["force"] == true).then(|| forces(named("Kustomization", kustomization), "force: true"))
}

fn of_release(release: &Value) -> Option<Finding> {
    let forced = |action: &str| release["spec"][action]["force"] == true;
    (forced("upgrade") || forced("rollback")).then(|| {
        let what = "force: true: an upgrade replaces objects instead of patching them";
        let fix = "Remove force from upgrade and rollback; an upgrade of any size succeeds without it.";
        Finding::problem(named("HelmRelease", release), what, fix)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::verbs::doctor::findings::Level;

    #[test]
    fn a_harmful_setting_is_reported_with_its_object() {
        let check = |check: Check, mut object: Value, expected: Option<Level>| {
            object["metadata"]["namespace"] = json!("shop");
            object["metadata"]["name"] = json!("db");
            let finding = check(&object);
            assert_eq!(finding.as_ref().map(|finding| finding.level), expected, "{object}");
            assert!(finding.is_none_or(|finding| finding.about.ends_with(" shop/db") && finding.fix.is_some()));
        };
        let options = |text: &str| json!({"spec": {"syncPolicy": {"syncOptions": ["CreateNamespace=true", text]}}});
        check(of_application, options("Replace=true"), Some(Level::Problem));
        check(of_application, options("ServerSideApply=true"), None);
        let compare = |text: &str| json!({"metadata": {"annotations": {COMPARE: text}}});
        check(of_application, compare("ServerSideDiff=true"), Some(Level::Warning));
        check(of_application, compare("ServerSideDiff=true,IncludeMutationWebhook=true"), None);
        check(of_application, json!({"metadata": {}}), None);
        check(of_kustomization, json!({"metadata": {}, "spec": {"force": true}}), Some(Level::Problem));
        check(of_kustomization, json!({"metadata": {}, "spec": {"force": false}}), None);
        check(of_release, json!({"metadata": {}, "spec": {"upgrade": {"force": true}}}), Some(Level::Problem));
        check(of_release, json!({"metadata": {}, "spec": {"upgrade": {"cleanupOnFail": true}}}), None);
        let set = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
        check(of_set, set(OPTIONS, "Prune=false, Replace=true"), Some(Level::Problem));
        check(of_set, set(FORCE, "Enabled"), Some(Level::Problem));
        check(of_set, set(OPTIONS, "Prune=false"), None);
    }
}
