//! The certificate that the server presents, and the tokens that it accepts.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::cluster::hook_path::Token;
use crate::webhook::hook::Caller;

/// The certificate that is served. It can be replaced while connections are open.
#[derive(Debug, Default)]
pub struct ServedCertificate(RwLock<Option<Arc<CertifiedKey>>>);

impl ServedCertificate {
    /// Serves this certificate from now on.
    pub fn set(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The tokens that identify the API server. They can be replaced while connections are open.
#[derive(Debug, Default)]
pub struct ApiServerTokens(RwLock<BTreeSet<Token>>);

impl ApiServerTokens {
    /// Accepts these tokens from now on, and no others.
    pub fn set(&self, tokens: BTreeSet<Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// The caller that presents this text.
    pub(super) fn caller(&self, presented: &str) -> Caller {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if tokens.iter().any(|token| token.is(presented)) { Caller::ApiServer } else { Caller::Unverified }
    }
}
