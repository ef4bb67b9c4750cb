//! The connection of a verb to the cluster, with the user's kubeconfig, and what a failed request means for the user.

use std::sync::Arc;

use crate::api::names::SetName;
use crate::cli::failure::{Exit, Failure};
use crate::cli::flags::Connection;
use crate::cluster::client::{Client, ConnectError, Error, NoObserver, chain};

/// The field manager of the verbs. It must not begin with `kubectl`: the next `kubectl apply` would take over its fields.
const FIELD_MANAGER: &str = "rso";

/// The cluster, as this user.
pub(crate) struct Cluster {
    /// A client with the permissions of the kubeconfig.
    pub(crate) client: Client,
    /// The namespace of `--namespace`, else of the context.
    pub(crate) namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig. Sends no request yet.
    ///
    /// # Errors
    /// If the kubeconfig cannot be used.
    pub(crate) async fn of(connection: &Connection) -> Result<Self, Failure> {
        let client = Client::connect(&connection.source(), FIELD_MANAGER, Arc::new(NoObserver)).await?;
        let namespace = connection.namespace.clone().unwrap_or_else(|| client.namespace().to_owned());
        Ok(Self { client, namespace })
    }

    /// The StatefulSet that an argument names.
    ///
    /// # Errors
    /// If it is not a valid name.
    pub(crate) fn set(&self, argument: &str) -> Result<SetName, Failure> {
        Ok(SetName::new(&self.namespace, set_name(argument)?))
    }
}

/// The name in `db`, `sts/db`, or `statefulset/db`, as `kubectl` accepts them.
fn set_name(argument: &str) -> Result<&str, Failure> {
    let name = match argument.split_once('/') {
        None => argument,
        Some(("sts" | "statefulset" | "statefulsets" | "statefulset.apps" | "statefulsets.apps", name)) => name,
        Some((kind, _)) => {
            return Err(Failure::usage(format!("{kind:?} is not a StatefulSet"))
                .hint("Pass only the name, such as `db`, and the namespace with -n."));
        }
    };
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    match !name.is_empty() && name.bytes().all(valid) {
        true => Ok(name),
        false => Err(Failure::usage(format!("{argument:?} is not a valid name of a StatefulSet"))),
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(Exit::Unreachable, chain(&error))
            .hint("Set the file with --kubeconfig or $KUBECONFIG, and one of its contexts with --context.")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let call = error.call().to_string();
        match &error {
            Error::NotAllowed { call: denied, message } => Self::new(
                Exit::Unreachable,
                format!(
                    "you lack the permission to {call}: the verb `{}` on `{}`",
                    denied.verb, denied.resource
                ),
            )
            .hint(format!(
                "Ask an administrator for the permission, or select another context with --context. The API server returned: \
                 {message}"
            )),
            Error::Refused { message, .. } => Self::refused(format!("the cluster rejected the request to {call}: {message}")),
            Error::Invalid { message, .. } => Self::negative(format!("the API server could not {call}: {message}")),
            Error::Unsent { .. } => Self::negative(chain(&error)),
            Error::Busy { .. } | Error::Server { .. } => {
                Self::new(Exit::Unreachable, chain(&error)).hint("Run the command again later.")
            }
            Error::NoAnswer { .. } => Self::new(Exit::Unreachable, chain(&error))
                .hint("Check the connection with `kubectl version`, or select another cluster with --context."),
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
    fn a_missing_permission_is_named_as_in_rbac() {
        let failure = Failure::from(Error::NotAllowed { call: call(), message: "no".into() });
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(
            failure.message,
            "you lack the permission to patch statefulsets shop/db: the verb `patch` on `statefulsets.apps`"
        );
    }

    #[test]
    fn each_error_of_the_api_server_has_its_exit_code() {
        let check = |error: Error, expected: Exit| assert_eq!(Failure::from(error).exit, expected);
        let message = || "no".to_owned();
        check(Error::Refused { call: call(), message: message() }, Exit::Refused);
        check(Error::Invalid { call: call(), code: 422, message: message() }, Exit::Negative);
        check(Error::Unsent { call: call(), message: message() }, Exit::Negative);
        check(Error::Busy { call: call(), code: 429, message: message(), after: None }, Exit::Unreachable);
        check(Error::Server { call: call(), code: 503, message: message(), after: None }, Exit::Unreachable);
        check(Error::NoAnswer { call: call(), source: "connection refused".into() }, Exit::Unreachable);
    }

    #[test]
    fn a_statefulset_is_named_as_in_kubectl() {
        let check = |argument: &str, expected: Result<&str, Exit>| {
            assert_eq!(set_name(argument).map_err(|failure| failure.exit), expected, "{argument}");
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
