//! Check that the StorageClasses of managed StatefulSets allow expansion.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Context;
use super::findings::Finding;
use crate::api::objects::{CLAIMS, STORAGE_CLASSES};
use crate::cluster::client::Error;

pub(super) async fn check(context: &Context<'_>) -> Result<Vec<Finding>, Error> {
    let names: BTreeSet<(String, String)> = context
        .managed()
        .flat_map(|set| {
            let claims: Vec<_> =
                set.template_names().iter().flat_map(|template| set.claims_of(template).collect::<Vec<_>>()).collect();
            claims.into_iter().map(move |(_, claim)| (set.name.namespace.clone(), claim.to_string()))
        })
        .collect();
    let claims = context.all(&CLAIMS, context.namespace).await?;
    let classes = match context.all(&STORAGE_CLASSES, None).await {
        Ok(classes) => classes,
        Err(error) => return Ok(vec![Finding::unknown("storage classes", &error)]),
    };
    let text = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    let ours = claims.iter().filter(|claim| names.contains(&(text(claim, "namespace"), text(claim, "name"))));
    Ok(findings(ours, &classes))
}

fn findings<'a>(claims: impl Iterator<Item = &'a Value>, classes: &[Value]) -> Vec<Finding> {
    let mut in_use: BTreeMap<&str, usize> = BTreeMap::new();
    for claim in claims {
        *in_use.entry(claim["spec"]["storageClassName"].as_str().unwrap_or_default()).or_default() += 1;
    }
    in_use.into_iter().map(|(class, claims)| of_class(class, claims, classes)).collect()
}

fn of_class(name: &str, claims: usize, classes: &[Value]) -> Finding {
    let about = format!("StorageClass {}", if name.is_empty() { "(none)" } else { name });
    let claims = format!("{claims} PVC{}", if claims == 1 { "" } else { "s" });
    match classes.iter().find(|class| class["metadata"]["name"] == name) {
        None => {
            let fix = "Statically provisioned volumes cannot be expanded. Move the data to PVCs of a StorageClass that allows \
                       expansion.";
            Finding::problem(about, format!("does not exist; used by {claims}"), fix)
        }
        Some(class) if class["allowVolumeExpansion"] == true => {
            Finding::good(about, format!("allows expansion; used by {claims}"))
        }
        Some(_) => {
            let fix = format!(
                "If its CSI driver can expand volumes, run: kubectl patch storageclass {name} -p \
                 '{{\"allowVolumeExpansion\":true}}'. This also applies to existing volumes."
            );
            Finding::problem(about, format!("does not allow expansion; used by {claims}"), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::verbs::doctor::findings::Level;

    #[test]
    fn each_storage_class_in_use_has_one_finding() {
        let claim = |class: Value| json!({"spec": {"storageClassName": class}});
        let claims = [claim(json!("fast")), claim(json!("fast")), claim(json!("fixed")), claim(Value::Null)];
        let classes = [
            json!({"metadata": {"name": "fast"}, "allowVolumeExpansion": true}),
            json!({"metadata": {"name": "fixed"}}),
            json!({"metadata": {"name": "unused"}}),
        ];
        let found: Vec<_> = findings(claims.iter(), &classes).into_iter().map(|f| (f.level, f.about, f.what)).collect();
        assert_eq!(
            found,
            [
                (Level::Problem, "StorageClass (none)".into(), "does not exist; used by 1 PVC".into()),
                (Level::Good, "StorageClass fast".into(), "allows expansion; used by 2 PVCs".into()),
                (Level::Problem, "StorageClass fixed".into(), "does not allow expansion; used by 1 PVC".into()),
            ]
        );
    }
}
