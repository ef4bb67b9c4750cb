//! Is each dependency used? What nobody uses is built, audited and updated for nothing.

use crate::tree;

/// Used by what `build.rs` generates, which is in no file here; and the crate itself, which opens a feature to its tests.
const NOT_BY_NAME: &[&str] = &["prost", "tonic-prost", "resize-statefulset-operator"];

/// The sections of `Cargo.toml`, each with the folders and files that may use what it names.
const SECTIONS: &[(&str, &[&str])] =
    &[("dependencies", &["src"]), ("build-dependencies", &["build.rs"]), ("dev-dependencies", &["tests", "src"])];

#[test]
fn every_dependency_is_used() {
    let manifest = tree::read("Cargo.toml");
    for (section, places) in SECTIONS {
        let code: String = places.iter().flat_map(|place| sources(place)).map(|file| tree::read(&file)).collect();
        let names = names(&manifest, section);
        assert!(!names.is_empty(), "[{section}] names nothing");
        let unused: Vec<_> = names.iter().filter(|name| !NOT_BY_NAME.contains(name) && !is_used(name, &code)).collect();
        assert!(unused.is_empty(), "nothing in {places:?} uses {unused:?} of [{section}]; take them out");
    }
}

#[test]
fn the_search_sees_what_it_is_to_see() {
    let manifest = "[dependencies]\n# A note.\nserde-json = \"1\"\nkube = { version = \"5\" }\n\n[dev-dependencies]\ninsta = \"1\"\n";
    assert_eq!(names(manifest, "dependencies"), ["serde-json", "kube"]);
    assert_eq!(names(manifest, "dev-dependencies"), ["insta"]);
    assert!(is_used("serde-json", "use serde_json::Value;") && is_used("kube", "let x = kube::Client;"));
    assert!(!is_used("kube", "use k8s_kube::x; // kube") && !is_used("kube", "kubectl::x"));
}

fn sources(place: &str) -> Vec<String> {
    if place.ends_with(".rs") { vec![place.to_owned()] } else { tree::files(place, "rs") }
}

/// The names in a section.
fn names<'a>(manifest: &'a str, section: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let entries = lines.take_while(|line| !line.starts_with('['));
    entries
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('#'))
        .collect()
}

/// Whether a path begins with the crate: `name::`, not as the end of a longer name.
fn is_used(name: &str, code: &str) -> bool {
    let path = format!("{}::", name.replace('-', "_"));
    let is_whole = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(&path).any(|(at, _)| is_whole(at))
}
