//! What does the command line say and answer when there is no cluster to talk to?

use std::io::Write as _;
use std::path::Path;

use assert_cmd::Command;

/// A kubeconfig whose API server does not answer: nobody listens on port 1.
const NOBODY: &str = r#"
apiVersion: v1
kind: Config
current-context: nobody
contexts: [{name: nobody, context: {cluster: nobody, user: nobody, namespace: shop}}]
clusters: [{name: nobody, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"#;

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn said(program: &Path, words: &[&str], kubeconfig: &Path) -> Said {
    let output = Command::new(program)
        .args(words)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn rso() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rso"))
}

fn nobody() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(NOBODY.as_bytes()).unwrap();
    file
}

#[test]
fn a_mistake_in_the_words_is_answered_with_2_and_what_is_right() {
    let kubeconfig = nobody();
    let check = |words: &[&str], expected: &str| {
        let said = said(rso(), words, kubeconfig.path());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words:?}: {}", said.err);
        assert!(said.err.contains(expected), "{words:?}: {}", said.err);
    };
    check(&[], "Usage: rso");
    check(&["resise"], "unrecognized subcommand");
    check(&["resize", "db"], "<SIZE>");
    check(&["resize", "db", "lots"], "it does not begin with a number; write a size such as 10Gi");
    check(&["resize", "db", "10GB"], "\"GB\" is not a unit");
    check(&["resize", "db", "20Gi", "--template", "data", "--index", "0"], "cannot be used with");
    check(&["resize", "db", "20Gi", "--timeout", "5m"], "--wait");
    check(&["resize", "db", "20Gi", "--dry-run", "client"], "[possible values: none, server]");
    check(&["resize", "pod/db-0", "20Gi"], "\"pod\" is not a StatefulSet");
    check(&["status", "DB"], "cannot be the name of a StatefulSet");
    check(&["status", "-A", "-n", "shop"], "cannot be used with");
    check(&["status", "--watch", "-o", "json"], "--watch draws for people");
    check(&["backup", "show"], "<SET>");
    check(&["restore", "db", "--backup", "newest"], "invalid digit");
    check(&["completions", "cmd"], "possible values: bash");
}

#[test]
fn a_cluster_that_does_not_answer_is_answered_with_3_and_what_to_do() {
    let kubeconfig = nobody();
    for words in [
        &["status"][..],
        &["status", "db", "-o", "json"],
        &["status", "--watch"],
        &["resize", "db", "20Gi"],
        &["backup", "list"],
        &["backup", "show", "db"],
        &["backup", "diff", "db"],
        &["restore", "db"],
    ] {
        let said = said(rso(), words, kubeconfig.path());
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{words:?}: {}", said.err);
        assert!(said.err.starts_with("error: failed to "), "{words:?}: {}", said.err);
        assert!(said.err.contains("Connection refused"), "{words:?}: {}", said.err);
        assert!(said.err.contains("kubectl version"), "{words:?}: {}", said.err);
    }
}

#[test]
fn a_kubeconfig_that_is_not_there_is_answered_with_3() {
    let kubeconfig = nobody();
    let check = |words: &[&str], expected: &str| {
        let said = said(rso(), words, kubeconfig.path());
        assert_eq!(said.code, 3, "{words:?}: {}", said.err);
        assert!(said.err.contains(expected), "{words:?}: {}", said.err);
        assert!(said.err.contains("--kubeconfig"), "{words:?}: {}", said.err);
    };
    check(&["status", "--kubeconfig", "/nonexistent"], "/nonexistent");
    check(&["status", "--context", "other"], "other");
}

#[test]
fn a_plugin_of_kubectl_calls_itself_so() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-rso");
    std::os::unix::fs::symlink(rso(), &plugin).unwrap();
    let kubeconfig = nobody();
    let help = said(&plugin, &["resize", "--help"], kubeconfig.path());
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Usage: kubectl rso resize [OPTIONS] <SET> <SIZE>"), "{}", help.out);
    assert!(!help.out.contains("Usage: rso"), "{}", help.out);
}

#[test]
fn the_person_sees_first_what_is_needed_first() {
    let kubeconfig = nobody();
    let help = said(rso(), &["--help"], kubeconfig.path()).out;
    let at = |verb: &str| help.find(&format!("\n  {verb} ")).unwrap_or_else(|| panic!("no {verb} in\n{help}"));
    assert!(at("status") < at("resize") && at("resize") < at("backup") && at("backup") < at("restore"), "{help}");
    assert!(
        help.contains("Exit codes: 0 yes, 1 the answer is no, 2 usage, 3 cluster unreachable or forbidden"),
        "{help}"
    );
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn each_shell_gets_its_completions() {
    let kubeconfig = nobody();
    for shell in ["bash", "zsh", "fish"] {
        let said = said(rso(), &["completions", shell], kubeconfig.path());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{shell}");
        for word in ["status", "resize", "all-namespaces", "dry-run"] {
            assert!(said.out.contains(word), "{shell} lacks {word}");
        }
    }
}
