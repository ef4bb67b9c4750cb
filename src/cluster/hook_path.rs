//! The secret path by which the webhook recognizes the API server: `/floor/<64 hexadecimal digits>`.
//!
//! The token is stored in the MutatingWebhookConfiguration and nowhere else. The leader writes it, every replica reads
//! it there, and only clients that may read that configuration know it: the API server and the cluster's
//! administrators. The chart omits the path, as it does the caBundle, so no deployment tool overwrites it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Random bytes in a token.
pub const TOKEN_BYTES: usize = 32;

/// The token that identifies the API server. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Token {
    /// Creates a token from random bytes.
    pub fn new(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Parses a token; `None` if it has another length or other characters.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits && text.len() == 2 * TOKEN_BYTES).then(|| Self(text.to_owned()))
    }

    /// Compares a text with the token, in constant time.
    pub fn is(&self, text: &str) -> bool {
        let differences = self.0.bytes().zip(text.bytes()).fold(0, |found, (ours, theirs)| found | (ours ^ theirs));
        text.len() == self.0.len() && differences == 0
    }
}

/// The tokens in the paths of a MutatingWebhookConfiguration.
pub fn tokens(configuration: &Value) -> BTreeSet<Token> {
    webhooks(configuration).filter_map(|(_, hook)| token_of(hook)).collect()
}

/// The patch that gives every webhook of the configuration the token that one of them already has, or else `fresh`, and
/// that token; `None` if each has it. A webhook without a Service was configured by someone else and is not changed.
pub fn completed(configuration: &Value, fresh: &Token) -> Option<(Token, Value)> {
    let token = tokens(configuration).into_iter().next().unwrap_or_else(|| fresh.clone());
    let missing = webhooks(configuration).filter(|(_, hook)| hook["clientConfig"]["service"].is_object());
    let missing = missing.filter_map(|(index, hook)| {
        let path = format!("/{}/{}", hook_of(hook)?, token.0);
        let place = format!("/webhooks/{index}/clientConfig/service/path");
        let differs = hook["clientConfig"]["service"]["path"] != path;
        differs.then(|| json!({ "op": "add", "path": place, "value": path }))
    });
    let missing: Vec<Value> = missing.collect();
    if missing.is_empty() {
        return None;
    }
    let version = &configuration["metadata"]["resourceVersion"];
    let seen = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version });
    let patch = [seen].into_iter().chain(missing).collect();
    Some((token, patch))
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = (usize, &Value)> {
    configuration["webhooks"].as_array().into_iter().flatten().enumerate()
}

/// `floor` of `floor.resize-statefulset-operator.io`.
fn hook_of(webhook: &Value) -> Option<&str> {
    webhook["name"].as_str()?.split('.').next().filter(|hook| !hook.is_empty())
}

fn token_of(webhook: &Value) -> Option<Token> {
    let path = webhook["clientConfig"]["service"]["path"].as_str()?;
    Token::read(path.strip_prefix('/')?.strip_prefix(hook_of(webhook)?)?.strip_prefix('/')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(byte: u8) -> Token {
        Token::new([byte; TOKEN_BYTES])
    }

    fn configuration(paths: &[Option<&str>]) -> Value {
        let names = ["state", "floor", "agent"];
        let hook = |(name, path): (&&str, &Option<&str>)| {
            let mut service = json!({"name": "rso", "namespace": "ns"});
            if let Some(path) = path {
                service["path"] = json!(path);
            }
            json!({"name": format!("{name}.resize-statefulset-operator.io"), "clientConfig": {"service": service}})
        };
        let hooks: Vec<Value> = names.iter().zip(paths).map(hook).collect();
        json!({"metadata": {"resourceVersion": "7"}, "webhooks": hooks})
    }

    fn path(hook: &str, token: &Token) -> String {
        format!("/{hook}/{}", token.0)
    }

    #[test]
    fn a_token_equals_only_itself() {
        let made = token(0xab);
        let check = |text: &str, expected: bool| assert_eq!(made.is(text), expected, "{text}");
        check(&"ab".repeat(TOKEN_BYTES), true);
        check(&"ab".repeat(TOKEN_BYTES - 1), false);
        check(&"ab".repeat(TOKEN_BYTES + 1), false);
        check(&"AB".repeat(TOKEN_BYTES), false);
        check("", false);
        assert_eq!(Token::read(&made.0), Some(made.clone()));
        for bad in ["", "ab", &"AB".repeat(TOKEN_BYTES), &"zz".repeat(TOKEN_BYTES)] {
            assert_eq!(Token::read(bad), None, "{bad}");
        }
        assert!(!format!("{made:?}").contains("ab"));
    }

    #[test]
    fn every_webhook_gets_the_same_token_and_an_existing_one_is_kept() {
        let (old, new) = (token(1), token(2));
        let check = |paths: &[Option<&str>], expected: Option<&Token>| {
            let mut object = configuration(paths);
            let completed = completed(&object, &new);
            assert_eq!(completed.as_ref().map(|(token, _)| token), expected, "{paths:?}");
            if let Some((token, patch)) = completed {
                json_patch::patch(&mut object, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()).unwrap();
                assert_eq!(tokens(&object), BTreeSet::from([token]));
                assert_eq!(super::completed(&object, &new), None, "completed twice");
            }
        };
        check(&[None, None, None], Some(&new));
        check(&[Some("/state"), Some("/floor"), Some("/agent")], Some(&new));
        check(&[Some("/state"), Some(&path("floor", &old)), None], Some(&old));
        check(&[Some(&path("state", &old)), Some(&path("floor", &old)), Some(&path("agent", &old))], None);
        check(&[Some(&path("floor", &old)), None, None], Some(&new));
        check(&[], None);
    }

    #[test]
    fn a_configuration_that_changed_in_the_meantime_is_not_patched() {
        let (_, patch) = completed(&configuration(&[None]), &token(1)).unwrap();
        let mut moved = configuration(&[None]);
        moved["metadata"]["resourceVersion"] = json!("8");
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        assert!(json_patch::patch(&mut moved, &patch).is_err());
    }

    #[test]
    fn a_webhook_without_a_service_is_not_changed() {
        let object = json!({"webhooks": [{"name": "floor.x", "clientConfig": {"url": "https://example.com/floor"}}]});
        assert_eq!(completed(&object, &token(1)), None);
    }
}
