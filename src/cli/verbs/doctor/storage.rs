//! Can the volumes of the sets we look after grow at all?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Practice;
use super::findings::Finding;
use crate::cluster::client::Error;
use crate::cluster::client::resources::{CLAIMS, STORAGE_CLASSES};

pub(super) async fn look(practice: &Practice<'_>) -> Result<Vec<Finding>, Error> {
    let names: BTreeSet<(String, String)> = practice
        .managed()
        .flat_map(|set| {
            let claims: Vec<_> =
                set.template_names().iter().flat_map(|template| set.claims_of(template).collect::<Vec<_>>()).collect();
            claims.into_iter().map(move |(_, claim)| (set.name.namespace.clone(), claim.to_string()))
        })
        .collect();
    let claims = practice.all(&CLAIMS, practice.namespace).await?;
    let classes = match practice.all(&STORAGE_CLASSES, None).await {
        Ok(classes) => classes,
        Err(error) => return Ok(vec![Finding::unknown("storage classes", &error)]),
    };
    let text = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    let ours = claims.iter().filter(|claim| names.contains(&(text(claim, "namespace"), text(claim, "name"))));
    Ok(judge(ours, &classes))
}

fn judge<'a>(claims: impl Iterator<Item = &'a Value>, classes: &[Value]) -> Vec<Finding> {
    let mut in_use: BTreeMap<&str, usize> = BTreeMap::new();
    for claim in claims {
        *in_use.entry(claim["spec"]["storageClassName"].as_str().unwrap_or_default()).or_default() += 1;
    }
    in_use.into_iter().map(|(class, claims)| of_class(class, claims, classes)).collect()
}

fn of_class(name: &str, claims: usize, classes: &[Value]) -> Finding {
    let about = format!("class {}", if name.is_empty() { "(none)" } else { name });
    let claims = format!("{claims} claim{}", if claims == 1 { "" } else { "s" });
    match classes.iter().find(|class| class["metadata"]["name"] == name) {
        None => {
            let fix = "Volumes made by hand cannot grow; move the data to claims of a class that allows expansion.";
            Finding::problem(about, format!("does not exist, and has {claims}"), fix)
        }
        Some(class) if class["allowVolumeExpansion"] == true => {
            Finding::good(about, format!("allows expansion; {claims}"))
        }
        Some(_) => {
            let fix = format!(
                "If its driver can: kubectl patch storageclass {name} -p '{{\"allowVolumeExpansion\":true}}'. It counts for \
                 volumes that are there already, too."
            );
            Finding::problem(about, format!("does not allow expansion, and has {claims}"), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::verbs::doctor::findings::Level;

    #[test]
    fn each_class_in_use_is_judged_once() {
        let claim = |class: Value| json!({"spec": {"storageClassName": class}});
        let claims = [claim(json!("fast")), claim(json!("fast")), claim(json!("fixed")), claim(Value::Null)];
        let classes = [
            json!({"metadata": {"name": "fast"}, "allowVolumeExpansion": true}),
            json!({"metadata": {"name": "fixed"}}),
            json!({"metadata": {"name": "unused"}}),
        ];
        let told: Vec<_> = judge(claims.iter(), &classes).into_iter().map(|f| (f.level, f.about, f.what)).collect();
        assert_eq!(
            told,
            [
                (Level::Problem, "class (none)".into(), "does not exist, and has 1 claim".into()),
                (Level::Good, "class fast".into(), "allows expansion; 2 claims".into()),
                (Level::Problem, "class fixed".into(), "does not allow expansion, and has 1 claim".into()),
            ]
        );
    }
}
