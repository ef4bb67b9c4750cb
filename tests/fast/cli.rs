//! The command line without a cluster: help, invalid usage, exit codes, connections.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::Command;

/// A kubeconfig whose API server does not answer: no process listens on port 1.
const UNREACHABLE: &str = r#"
apiVersion: v1
kind: Config
current-context: nobody
contexts: [{name: nobody, context: {cluster: nobody, user: nobody, namespace: shop}}]
clusters: [{name: nobody, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"#;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(program: &Path, words: &[&str], kubeconfig: &Path) -> Ran {
    let output = Command::new(program)
        .args(words)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn rso() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rso"))
}

fn unreachable() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(UNREACHABLE.as_bytes()).unwrap();
    file
}

#[test]
fn invalid_usage_exits_with_2_and_says_what_is_valid() {
    let kubeconfig = unreachable();
    let check = |words: &[&str], expected: &str| {
        let ran = run(rso(), words, kubeconfig.path());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{words:?}: {}", ran.err);
    };
    check(&[], "Usage: rso");
    check(&["resise"], "unrecognized subcommand");
    check(&["resize", "db"], "<SIZE>");
    check(&["resize", "db", "lots"], "must begin with a number; use a size such as 10Gi");
    check(&["resize", "db", "10GB"], "\"GB\" is not a unit");
    check(&["resize", "db", "20Gi", "--template", "data", "--index", "0"], "cannot be used with");
    check(&["resize", "db", "20Gi", "--timeout", "5m"], "--wait");
    check(&["resize", "db", "20Gi", "--dry-run", "client"], "[possible values: none, server]");
    check(&["resize", "pod/db-0", "20Gi"], "\"pod\" is not a StatefulSet");
    check(&["status", "DB"], "is not a valid name of a StatefulSet");
    check(&["status", "-A", "-n", "shop"], "cannot be used with");
    check(&["status", "--watch", "-o", "json"], "--watch does not support");
    check(&["explain"], "<STATEFULSET|KEY>");
    check(&["explain", "pvc/data-db-0"], "\"pvc\" is not a StatefulSet");
    check(&["backup", "show"], "<STATEFULSET>");
    check(&["restore", "db", "--backup", "newest"], "invalid digit");
    check(&["completions", "cmd"], "possible values: bash");
}

#[test]
fn an_unreachable_cluster_exits_with_3_and_says_what_to_do() {
    let kubeconfig = unreachable();
    for words in [
        &["status"][..],
        &["status", "db", "-o", "json"],
        &["status", "--watch"],
        &["explain", "statefulset/db"],
        &["explain", "db", "-o", "json"],
        &["resize", "db", "20Gi"],
        &["backup", "list"],
        &["backup", "show", "db"],
        &["backup", "diff", "db"],
        &["restore", "db"],
    ] {
        let ran = run(rso(), words, kubeconfig.path());
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{words:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: failed to "), "{words:?}: {}", ran.err);
        assert!(ran.err.contains("Connection refused"), "{words:?}: {}", ran.err);
        assert!(ran.err.contains("kubectl version"), "{words:?}: {}", ran.err);
    }
}

#[test]
fn an_annotation_is_explained_without_a_cluster() {
    let kubeconfig = unreachable();
    let ran = run(rso(), &["explain", "max-size.data"], kubeconfig.path());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("resize-statefulset-operator/max-size.<template>"), "{}", ran.out);
    let ran = run(rso(), &["explain", "threshold", "-o", "json"], kubeconfig.path());
    let explained: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&explained["default"], &explained["perTemplate"]), (&"80%".into(), &true.into()));
}

#[test]
fn a_missing_kubeconfig_or_context_exits_with_3() {
    let kubeconfig = unreachable();
    let check = |words: &[&str], expected: &str| {
        let ran = run(rso(), words, kubeconfig.path());
        assert_eq!(ran.code, 3, "{words:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{words:?}: {}", ran.err);
        assert!(ran.err.contains("--kubeconfig"), "{words:?}: {}", ran.err);
    };
    check(&["status", "--kubeconfig", "/nonexistent"], "/nonexistent");
    check(&["status", "--context", "other"], "other");
}

#[test]
fn a_kubectl_plugin_shows_its_usage_as_a_kubectl_command() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-rso");
    std::os::unix::fs::symlink(rso(), &plugin).unwrap();
    let kubeconfig = unreachable();
    let help = run(&plugin, &["resize", "--help"], kubeconfig.path());
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Usage: kubectl rso resize [OPTIONS] <STATEFULSET> <SIZE>"), "{}", help.out);
    assert!(!help.out.contains("Usage: rso"), "{}", help.out);
}

#[test]
fn the_help_lists_the_verbs_in_the_order_in_which_users_need_them() {
    let kubeconfig = unreachable();
    let help = run(rso(), &["--help"], kubeconfig.path()).out;
    let at = |verb: &str| help.find(&format!("\n  {verb} ")).unwrap_or_else(|| panic!("no {verb} in\n{help}"));
    assert!(at("status") < at("resize") && at("resize") < at("backup") && at("backup") < at("restore"), "{help}");
    assert!(
        help.contains("Exit codes: 0 success; 1 negative result (not found, differs, not ready); 2 invalid usage;"),
        "{help}"
    );
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn completions_exist_for_each_shell() {
    let kubeconfig = unreachable();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(rso(), &["completions", shell], kubeconfig.path());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        for word in ["status", "resize", "all-namespaces", "dry-run"] {
            assert!(ran.out.contains(word), "{shell} lacks {word}");
        }
    }
}

/// A kubeconfig whose API server is this listener.
fn kubeconfig_of(listener: &TcpListener) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let address = listener.local_addr().unwrap().to_string();
    file.write_all(UNREACHABLE.replace("127.0.0.1:1", &address).as_bytes()).unwrap();
    file
}

/// Whether the program connects to the listener before it ends; then the program is killed.
fn connects(listener: &TcpListener, words: &[&str], environment: &[(&str, &str)], stderr: Stdio) -> bool {
    listener.set_nonblocking(true).unwrap();
    let mut program = std::process::Command::new(rso());
    program.args(words).env_clear().envs(environment.iter().copied()).env("HOME", "/nonexistent");
    let mut child = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let connected = loop {
        if listener.accept().is_ok() {
            break true;
        }
        if child.try_wait().unwrap().is_some() || Instant::now() > until {
            break false;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    child.kill().ok();
    child.wait().unwrap();
    connected
}

const CONTROLLER: [&str; 5] = ["controller", "--metrics-address", "127.0.0.1:0", "--health-address", "127.0.0.1:0"];

#[test]
fn the_operator_uses_the_kubeconfig_of_the_flag_or_the_variable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (named, other) = (kubeconfig_of(&listener), unreachable());
    let (named, other) = (named.path().to_str().unwrap(), other.path().to_str().unwrap());
    let words = [&CONTROLLER[..], &["--kubeconfig", named, "--context", "nobody"]].concat();
    assert!(connects(&listener, &words, &[("KUBECONFIG", other)], Stdio::null()));
    assert!(connects(&listener, &CONTROLLER, &[("KUBECONFIG", named)], Stdio::null()));
}

#[test]
fn a_flag_that_the_verb_does_not_use_is_rejected_and_so_is_a_cluster_that_does_not_exist() {
    let kubeconfig = unreachable();
    let check = |words: &[&str], code: i32, expected: &str| {
        let ran = run(rso(), words, kubeconfig.path());
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{words:?}: {}", ran.err);
    };
    check(&["controller", "--kubeconfig", "/nonexistent"], 3, "/nonexistent");
    check(&["controller", "--context", "other"], 3, "other");
    check(&["controller", "-n", "shop"], 2, "--watch-namespaces=shop");
    check(&["--namespace", "shop", "controller"], 2, "rso controller does not accept --namespace");
    check(&["controller", "--log", "a=b=c"], 2, "log filter");
    check(&["controller", "--driver", "nonsense"], 2, "--driver");
    check(&["completions", "bash", "--context", "other"], 2, "rso completions does not accept --context");
    check(&["status", "--as", "admin"], 2, "unexpected argument '--as'");
}

#[test]
fn an_unusable_kubeconfig_is_not_replaced_by_the_serviceaccount_of_a_pod() {
    let ran = run(rso(), &["status"], Path::new("/nonexistent/config"));
    assert_eq!(ran.code, 3);
    assert!(ran.err.starts_with("error: failed to read the kubeconfig"), "{}", ran.err);
}

/// Outputs on which every write fails: with EPIPE, and with ENOSPC.
fn broken_outputs() -> [Stdio; 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    [writer.into(), std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()]
}

#[test]
fn a_broken_stderr_does_not_change_the_exit_code() {
    let kubeconfig = unreachable();
    for (words, code) in [
        (&["status"][..], 3),
        (&["resize", "pod/db-0", "20Gi"], 2),
        (&["controller", "--context", "other"], 3),
        (&["controller", "-n", "shop"], 2),
        (&["status", "--no-such-flag"], 2),
    ] {
        for output in broken_outputs() {
            let mut program = std::process::Command::new(rso());
            program.args(words).env_clear().env("KUBECONFIG", kubeconfig.path()).stderr(output);
            assert_eq!(program.status().unwrap().code(), Some(code), "{words:?}");
        }
    }
}

#[test]
fn a_broken_stderr_does_not_end_the_operator() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = kubeconfig_of(&listener);
    for output in broken_outputs() {
        let environment = [("KUBECONFIG", kubeconfig.path().to_str().unwrap())];
        assert!(connects(&listener, &[&CONTROLLER[..], &["--log", "debug"]].concat(), &environment, output));
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure_but_a_full_disk_is() {
    let [closed, full] = broken_outputs();
    let completions = |stdout: Stdio| {
        let mut program = std::process::Command::new(rso());
        let output = program.args(["completions", "bash"]).env_clear().stdout(stdout).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(completions(closed), (Some(0), String::new()));
    let (code, error) = completions(full);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: failed to write to stdout: No space left"), "{error}");
}

/// The kubeconfig of an API server that only a proxy can resolve.
fn behind_a_proxy(extra: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = UNREACHABLE.replace(r#""http://127.0.0.1:1""#, &format!(r#""https://api.invalid:6443"{extra}"#));
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A proxy that records each request and rejects it.
fn proxy() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = std::io::Read::read(&mut stream, &mut request).unwrap();
            sender.send(String::from_utf8_lossy(&request[..length]).into_owned()).ok();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").ok();
        }
    });
    (address, requests)
}

#[test]
fn requests_go_through_the_proxy_of_the_kubeconfig_or_of_the_environment() {
    let (address, requests) = proxy();
    let authority = address.trim_start_matches("http://");
    let with_password = format!("http://me:pa%40ss@{authority}");
    let in_kubeconfig = format!(r#", proxy-url: "{address}""#);
    let check = |kubeconfig: &str, variables: &[(&str, &str)]| {
        let kubeconfig = behind_a_proxy(kubeconfig);
        let mut program = Command::new(rso());
        program.arg("status").env_clear().envs(variables.iter().copied());
        let output = program.env("KUBECONFIG", kubeconfig.path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{error}");
        let request = requests.try_iter().last().unwrap_or_default();
        assert!(request.starts_with("CONNECT api.invalid:6443 "), "{variables:?} {request} {error}");
        request
    };
    check("", &[("HTTPS_PROXY", &address)]);
    check("", &[("https_proxy", authority)]);
    check(&in_kubeconfig, &[]);
    check(&in_kubeconfig, &[("NO_PROXY", "*")]);
    let request = check("", &[("HTTPS_PROXY", &with_password)]);
    assert!(request.to_ascii_lowercase().contains("proxy-authorization: basic "), "{request}");
    check("", &[("HTTPS_PROXY", &address), ("NO_PROXY", "127.0.0.1")]);
    // The local host is always connected directly; no process listens there.
    let direct = error_through(&address, &unreachable_with_tls());
    assert!(direct.contains("Connection refused") && requests.try_recv().is_err(), "{direct}");
}

fn unreachable_with_tls() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(UNREACHABLE.replace("http:", "https:").as_bytes()).unwrap();
    file
}

fn error_through(proxy: &str, kubeconfig: &tempfile::NamedTempFile) -> String {
    let mut program = Command::new(rso());
    program.arg("status").env_clear().env("KUBECONFIG", kubeconfig.path()).env("HTTPS_PROXY", proxy);
    String::from_utf8(program.output().unwrap().stderr).unwrap()
}

#[test]
fn an_unusable_proxy_is_reported_without_its_password() {
    let kubeconfig = behind_a_proxy("");
    let mut program = Command::new(rso());
    program.arg("status").env_clear().env("KUBECONFIG", kubeconfig.path()).env("HTTPS_PROXY", "ftp://me:secret@p");
    let output = program.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.starts_with("error: failed to use HTTPS_PROXY") && !error.contains("secret"), "{error}");
}
