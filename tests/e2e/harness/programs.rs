//! How are `kubectl`, `helm` and `rso` run as a person runs them?

use std::ffi::OsString;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How a program ended and what it printed.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// What it printed, if it succeeded; else the test ends with what it complained about.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }
}

/// `kubectl` against the cluster under test.
pub async fn kubectl(args: &[&str]) -> Ran {
    run(Command::new("kubectl").args(args), "").await
}

/// `kubectl` with something to read.
pub async fn kubectl_reading(input: &str, args: &[&str]) -> Ran {
    run(Command::new("kubectl").args(args), input).await
}

/// `helm` against the cluster under test: what the chart is installed with.
pub async fn helm(args: &[&str]) -> Ran {
    helm_of(HELMS[0], args).await
}

/// Helm 4, which applies on the server and does not force, and Helm 3, which merges three ways and patches.
pub const HELMS: [&str; 2] = ["helm", "helm3"];

/// One of [`HELMS`] against the cluster under test.
pub async fn helm_of(program: &str, args: &[&str]) -> Ran {
    run(Command::new(program).args(args), "").await
}

/// `rso`, as built from this tree, with a person's kubeconfig.
pub async fn rso(args: &[&str]) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_rso")).args(args), "").await
}

/// A line of shell, as the documents print it.
pub async fn shell(line: &str) -> Ran {
    run(Command::new("bash").args(["-euo", "pipefail", "-c", line]), "").await
}

/// The environment in which `kubectl` is the cluster's and finds the cluster.
pub fn environment() -> [(&'static str, OsString); 2] {
    let mut path = OsString::from(super::cluster_dir().join("bin"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    [("PATH", path), ("KUBECONFIG", super::kubeconfig().into())]
}

async fn run(command: &mut Command, input: &str) -> Ran {
    // A program that is started by name is looked up in the parent's PATH, hence through `env`.
    let wanted = command.as_std();
    let mut child = Command::new("env")
        .args(environment().map(|(key, value)| {
            let mut pair = OsString::from(key);
            pair.push("=");
            pair.push(value);
            pair
        }))
        .arg(wanted.get_program())
        .args(wanted.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whether it reads all of it is its own affair.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}
