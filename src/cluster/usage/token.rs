//! The token for kubelets: of a ServiceAccount that may read statistics and nothing else. It is never the operator's
//! own, with which a compromised node could change StatefulSets everywhere.

use std::time::Duration;

use tokio::sync::Mutex;

use super::http_get::UsageError;
use crate::api::objects::SERVICE_ACCOUNTS;
use crate::cluster::client::Client;
use crate::cluster::clock::since_boot;

/// The shortest lifetime that an API server accepts.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// The age at which a token is renewed: clocks differ, and the kubelet takes a while.
const TOKEN_RENEWAL_AGE: Duration = Duration::from_secs(300);

/// A ServiceAccount, bound to `get` on `nodes/stats` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The tokens of one ServiceAccount.
pub(super) struct Tokens {
    account: Account,
    last: Mutex<Option<Token>>,
}

/// A token, and the time (since boot) at which it was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    since: Duration,
}

impl Token {
    fn is_good(&self, now: Duration) -> bool {
        now < self.since.saturating_add(TOKEN_RENEWAL_AGE)
    }
}

impl Tokens {
    pub(super) fn of(account: Account) -> Self {
        Self { account, last: Mutex::default() }
    }

    /// A token that is valid for some minutes. Concurrent callers wait for the same request.
    pub(super) async fn get(&self, client: &Client) -> Result<String, UsageError> {
        let mut last = self.last.lock().await;
        if let Some(token) = last.as_ref().filter(|token| token.is_good(since_boot())) {
            return Ok(token.text.clone());
        }
        let since = since_boot();
        let account = SERVICE_ACCOUNTS.of(&self.account.namespace, &self.account.name);
        let response = client.token(&account, TOKEN_LIFETIME).await;
        let response = response.map_err(|error| UsageError::Token(self.account.to_string(), Box::new(error)))?;
        let text = response.ok_or_else(|| UsageError::NoAccount(self.account.to_string()))?;
        Ok(last.insert(Token { text, since }).text.clone())
    }

    /// A kubelet rejected this token: the ServiceAccount was recreated.
    pub(super) async fn refused(&self, token: &str) {
        self.last.lock().await.take_if(|last| last.text == token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_long_before_it_ends() {
        let token = Token { text: "t".into(), since: Duration::from_secs(1000) };
        let check = |age: u64, expected: bool| {
            assert_eq!(token.is_good(Duration::from_secs(1000 + age)), expected, "{age} s");
        };
        check(0, true);
        check(299, true);
        check(300, false);
        check(600, false);
        assert!(TOKEN_RENEWAL_AGE < TOKEN_LIFETIME);
    }

    #[tokio::test]
    async fn only_the_rejected_token_is_dropped() {
        let account = Account { namespace: "rso-system".into(), name: "rso-kubelet".into() };
        let tokens = Tokens::of(account);
        *tokens.last.lock().await = Some(Token { text: "new".into(), since: Duration::ZERO });
        tokens.refused("old").await;
        assert!(tokens.last.lock().await.is_some());
        tokens.refused("new").await;
        assert!(tokens.last.lock().await.is_none());
    }
}
