//! Does every metric move? One that nobody counts shows zero for ever, and zero is what an alert takes for good news.

use crate::tree;

/// Where metrics are counted, and where they are registered.
const REGISTRY: [&str; 2] = ["src/telemetry/registry/mod.rs", "src/telemetry/registry/register.rs"];

/// Set once, when the registry is made.
const CONSTANT: &[&str] = &["rso_build_info"];

#[test]
fn whatever_moves_a_metric_is_called_by_the_program() {
    let callers = callers();
    let unused: Vec<String> = methods(&registry())
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name != "render" && !is_called(name, &callers))
        .collect();
    assert!(unused.is_empty(), "nobody calls {unused:?} of the metrics; call them, or take them away");
}

#[test]
fn every_metric_has_a_way_to_move() {
    let text = registry();
    let methods = methods(&text);
    let still: Vec<&str> = registered(&text)
        .into_iter()
        .filter(|(metric, field)| !CONSTANT.contains(metric) && !methods.iter().any(|(_, body)| moves(body, field)))
        .map(|(metric, _)| metric)
        .collect();
    assert!(still.is_empty(), "nothing moves {still:?}");
    let names: Vec<&str> = registered(&text).into_iter().map(|(metric, _)| metric).collect();
    let twice: Vec<_> = names.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).collect();
    assert!(twice.is_empty(), "registered twice, which no scraper takes: {twice:?}");
}

#[test]
fn the_search_sees_what_it_is_to_see() {
    let text = "impl Metrics {\n    pub fn a(&self) {\n        self.x.of(&l).inc();\n    }\n\n    fn b(&self) {}\n}\n";
    let found = methods(text);
    assert_eq!(found.len(), 1);
    assert!(moves(&found[0].1, "x") && !moves(&found[0].1, "y"));
    assert!(is_called("a", "metrics.a(1)") && !is_called("a", "metrics.aa(1)") && !is_called("a", "a(1)"));
    let text = "self.add(\n    \"rso_x\",\n    A,\n    help,\n    self.x.family.clone(),\n);\nself.add(\"rso_y\", &[], help, self.y.clone());";
    assert_eq!(registered(text), [("rso_x", "x"), ("rso_y", "y")]);
    assert_eq!(registered("self.add(\"rso_z\", &A, help, self.volumes.z());"), [("rso_z", "z")]);
    let (body, other) = ("self.volumes.volume(v, |known| known.z = Some(1));", "self.volumes.remove(set);");
    assert!(moves(body, "z") && !moves(body, "y") && !moves(other, "z"));
}

/// The text of the registry.
fn registry() -> String {
    REGISTRY.map(tree::read).join("\n")
}

/// The public methods of the metrics, with their bodies.
fn methods(text: &str) -> Vec<(String, String)> {
    let of_metrics = text.split("\nimpl Metrics {").chain(text.strip_prefix("impl Metrics {")).skip(1);
    let methods =
        of_metrics.flat_map(|part| part.split("\n}\n").next().unwrap_or_default().split("    pub fn ").skip(1));
    methods
        .map(|method| {
            let (name, body) = method.split_once('(').unwrap();
            (name.to_owned(), body.split("\n    }\n").next().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The metrics with the fields that they show.
fn registered(text: &str) -> Vec<(&str, &str)> {
    let added = text.split("self.add(").skip(1).filter_map(|call| {
        let name = call.trim_start().strip_prefix('"')?.split('"').next()?;
        let field = call.split_once("self.")?.1;
        // Many are rendered from one copy of the values, which names each.
        let field = field.strip_prefix("volumes.").unwrap_or(field).split(['.', '(']).next()?;
        Some((name, field))
    });
    added.collect()
}

/// Whether a method writes a field, and does not only take its series away.
fn moves(body: &str, field: &str) -> bool {
    let writes = [".of(", ".inc()", ".inc_by(", ".observe(", ".set("];
    writes.iter().any(|write| body.contains(&format!("self.{field}{write}")))
        || body.contains(&format!("known.{field} = "))
}

fn is_called(method: &str, callers: &str) -> bool {
    callers.contains(&format!(".{method}("))
}

/// The code of the program outside the registry, without its tests.
fn callers() -> String {
    let files = tree::files("src", "rs").into_iter();
    let files = files.filter(|file| !file.starts_with("src/telemetry/registry/") && !file.ends_with("tests.rs"));
    files.map(|file| tree::read(&file).split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()).collect()
}
