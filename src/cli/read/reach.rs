//! How does a verb reach the cluster? With the person's kubeconfig; and a refusal is told as the right that is missing.

use std::sync::Arc;

use crate::api::names::SetName;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::Connection;
use crate::cluster::client::{Client, ConnectError, Error, Nobody, chain};

/// Who writes, in `managedFields`: a person through `rso`. Never a name that begins with `kubectl`: its fields would be
/// taken over by the next `kubectl apply`.
const MANAGER: &str = "rso";

/// The cluster, as this person.
pub(crate) struct Cluster {
    /// With the rights of the kubeconfig.
    pub(crate) client: Client,
    /// The namespace that is meant when none is given.
    pub(crate) namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub(crate) async fn of(connection: &Connection) -> Result<Self, Failure> {
        let client = Client::connect(&connection.source(), MANAGER, Arc::new(Nobody)).await?;
        let namespace = connection.namespace.clone().unwrap_or_else(|| client.namespace().to_owned());
        Ok(Self { client, namespace })
    }

    /// The set that a word on the command line names.
    pub(crate) fn set(&self, word: &str) -> Result<SetName, Failure> {
        Ok(SetName::new(&self.namespace, set_name(word)?))
    }
}

/// `db`, `sts/db`, `statefulset/db`, as kubectl takes them.
fn set_name(word: &str) -> Result<&str, Failure> {
    let name = match word.split_once('/') {
        None => word,
        Some(("sts" | "statefulset" | "statefulsets" | "statefulset.apps" | "statefulsets.apps", name)) => name,
        Some((kind, _)) => {
            return Err(Failure::usage(format!("{kind:?} is not a StatefulSet"))
                .hint("name the set alone, `db`, and its namespace with -n"));
        }
    };
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    match !name.is_empty() && name.bytes().all(valid) {
        true => Ok(name),
        false => Err(Failure::usage(format!("{word:?} cannot be the name of a StatefulSet"))),
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(Exit::Unreachable, chain(&error))
            .hint("name the file with --kubeconfig or $KUBECONFIG, and a context of it with --context")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let call = error.call().to_string();
        match &error {
            Error::NotAllowed { call: asked, message } => Self::new(
                Exit::Unreachable,
                format!("you may not {call}: the right `{}` on `{}` is missing", asked.verb, asked.resource),
            )
            .hint(format!(
                "ask an administrator for it, or name another context with --context; the server says: {message}"
            )),
            Error::Refused { message, .. } => Self::refused(format!("the cluster refuses to {call}: {message}")),
            Error::Invalid { message, .. } => Self::no(format!("the API server does not {call}: {message}")),
            Error::Unsent { .. } => Self::no(chain(&error)),
            Error::Busy { .. } | Error::Server { .. } => {
                Self::new(Exit::Unreachable, chain(&error)).hint("run the command again a little later")
            }
            Error::NoAnswer { .. } => Self::new(Exit::Unreachable, chain(&error))
                .hint("`kubectl version` tells whether the cluster answers; another one is named by --context"),
            Error::Unreadable { .. } => Self::new(Exit::Unreachable, chain(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::client::{Call, Effect};

    fn call() -> Call {
        let (resource, object) = ("statefulsets.apps".to_owned(), "statefulsets shop/db".to_owned());
        Call { verb: "patch", resource, object, effect: Effect::Writes }
    }

    #[test]
    fn a_missing_right_is_named_as_rbac_names_it() {
        let failure = Failure::from(Error::NotAllowed { call: call(), message: "no".into() });
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(
            failure.what,
            "you may not patch statefulsets shop/db: the right `patch` on `statefulsets.apps` is missing"
        );
    }

    #[test]
    fn each_answer_of_the_server_has_its_exit_code() {
        let check = |error: Error, expected: Exit| assert_eq!(Failure::from(error).exit, expected);
        let message = || "no".to_owned();
        check(Error::Refused { call: call(), message: message() }, Exit::Refused);
        check(Error::Invalid { call: call(), code: 422, message: message() }, Exit::No);
        check(Error::Unsent { call: call(), message: message() }, Exit::No);
        check(Error::Busy { call: call(), code: 429, message: message(), after: None }, Exit::Unreachable);
        check(Error::Server { call: call(), code: 503, message: message(), after: None }, Exit::Unreachable);
        check(Error::NoAnswer { call: call(), source: "connection refused".into() }, Exit::Unreachable);
    }

    #[test]
    fn a_set_is_named_as_kubectl_names_it() {
        let check = |word: &str, expected: Result<&str, Exit>| {
            assert_eq!(set_name(word).map_err(|failure| failure.exit), expected, "{word}");
        };
        check("db", Ok("db"));
        check("sts/db", Ok("db"));
        check("statefulsets.apps/db-1.a", Ok("db-1.a"));
        check("shop/db", Err(Exit::Usage));
        check("pod/db-0", Err(Exit::Usage));
        check("", Err(Exit::Usage));
        check("sts/", Err(Exit::Usage));
        check("DB", Err(Exit::Usage));
        check("db?watch=1", Err(Exit::Usage));
    }
}
