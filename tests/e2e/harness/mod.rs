//! What a test says to a cluster, in words.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`api`] | How is an object read and written? |
//! | [`programs`] | How are `kubectl`, `helm` and `rso` run as a person runs them? |
//! | [`set`] | What does the set under test look like? |
//! | [`space`] | Where does a test live, and what is kept of it when it fails? |
//! | [`live`] | What is done to a set that runs, and what is waited for? |
//! | [`facts`] | What was true before and after, and may the two differ? |
//! | [`operator`] | What does the operator under test keep, say and count? |
//! | [`kinds`] | How are objects of a tool made whose controllers are not there? |
//! | [`chance`] | What happens next? |
//! | [`audit`] | What did the API server record? |
//! | [`policy`] | How is a moment inside a recreate stretched until a test has done its thing? |
//! | [`rewrite`] | How does a cluster write something else than was sent? |

pub mod api;
pub mod asking;
pub mod audit;
pub mod chance;
pub mod facts;
pub mod kinds;
pub mod live;
pub mod operator;
pub mod policy;
pub mod programs;
pub mod rewrite;
pub mod set;
pub mod space;

use std::path::PathBuf;
use std::time::Duration;

/// How long something may take before a test calls it broken. Generous: two cores carry the cluster and four tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a thing that is waited for is looked at.
pub const LOOK: Duration = Duration::from_millis(250);

/// The folder of the cluster: kubeconfig, programs, audit log.
pub fn cluster_dir() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cluster");
    std::env::var_os("CLUSTER_DIR").map_or_else(default, PathBuf::from)
}

/// The kubeconfig of the cluster under test. One that merely happens to be in the environment is never used, for it may
/// be that of somebody's production: `CLUSTER=current` has to be said.
pub fn kubeconfig() -> PathBuf {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("CLUSTER") == "current" {
        let home = || PathBuf::from(variable("HOME")).join(".kube/config");
        return std::env::var_os("KUBECONFIG").map_or_else(home, PathBuf::from);
    }
    cluster_dir().join(format!("kubeconfig{}", cluster_suffix()))
}

/// What the files of a further cluster end in.
pub fn cluster_suffix() -> String {
    match std::env::var("CLUSTER_ID").unwrap_or_default().as_str() {
        "" | "0" => String::new(),
        id => format!("-{id}"),
    }
}

/// Looks until it is there, and gives it. Panics with `what` and the last thing seen when patience ends.
pub async fn until<T>(what: &str, patience: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = std::time::Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > patience => {
                panic!("waited {} s for {what}; last seen: {seen}", patience.as_secs())
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// For [`until`]: there, or what was seen instead.
pub fn expect(there: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if there { Ok(()) } else { Err(seen()) }
}
