//! The certificate of the webhook with the CA that signed it, in a Secret that all replicas read.
//!
//! The key of a CA signs one certificate and is then discarded: it is stored nowhere, and a new certificate always
//! comes with a new CA. The verifier that TLS clients use checks the validity, so this module parses no field of a
//! certificate.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};

/// How long an issued certificate is valid.
const VALIDITY_DAYS: i64 = 90;
/// A certificate is renewed when it is valid for less than this.
const RENEWAL_WINDOW_DAYS: i64 = 30;
/// How far `notBefore` is in the past: clocks may differ, and it is a date.
const BACKDATED_DAYS: i64 = 1;
/// CAs that are trusted at the same time, the newest first.
const MAX_CAS: usize = 3;

/// A certificate, its key, and the CAs to trust, as PEM. `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The CAs, the newest first: the content of `caBundle`.
    pub bundle: String,
    chain: String,
    key: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A key of the Secret is missing or is not text.
    #[error("the Secret has no valid {0}")]
    Missing(&'static str),
    /// The certificate or its key cannot be parsed.
    #[error("the certificate cannot be parsed: {0}")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The certificate and the key do not match, or TLS does not support them.
    #[error("the certificate cannot be used")]
    Unfit(#[source] rustls::Error),
    /// A certificate could not be signed.
    #[error("failed to issue a certificate")]
    Make(#[source] rcgen::Error),
}

impl Material {
    /// Issues a CA and a certificate for the names of a Service, and discards the CA's key.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn issue(service: &str, namespace: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let made = || -> Result<Self, rcgen::Error> {
            let mut ca = CertificateParams::new(Vec::new())?;
            ca.distinguished_name.push(DnType::CommonName, format!("{service}.{namespace} CA {now:.0}"));
            ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            let mut leaf = CertificateParams::new(names(service, namespace))?;
            leaf.distinguished_name.push(DnType::CommonName, format!("{service}.{namespace}"));
            leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            valid(&mut ca, now);
            valid(&mut leaf, now);
            let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
            let bundle = ca.self_signed(&ca_key)?.pem();
            let chain = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?.pem();
            Ok(Self { bundle, chain, key: key.serialize_pem() })
        };
        made().map_err(CertificateError::Make)
    }

    /// Reads the Secret; cert-manager writes the same keys, `ca.crt` only if it knows a CA.
    ///
    /// # Errors
    /// When a key is missing.
    pub fn read(secret: &Value) -> Result<Self, CertificateError> {
        let text = |key: &'static str| {
            let bytes = secret["data"][key].as_str().and_then(|text| STANDARD.decode(text).ok());
            bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(CertificateError::Missing(key))
        };
        Ok(Self { bundle: text("ca.crt").unwrap_or_default(), chain: text("tls.crt")?, key: text("tls.key")? })
    }

    /// The data of the Secret.
    pub fn data(&self) -> Value {
        let encode = |text: &str| STANDARD.encode(text);
        json!({ "ca.crt": encode(&self.bundle), "tls.crt": encode(&self.chain), "tls.key": encode(&self.key) })
    }

    /// The same, with previously trusted CAs after its own: certificates that they signed are served until every
    /// replica has the new one.
    #[must_use]
    pub fn trusting_also(mut self, before: &str) -> Self {
        let before: Vec<&str> = split(before).filter(|ca| !self.bundle.contains(ca.trim())).collect();
        let room = MAX_CAS.saturating_sub(split(&self.bundle).count());
        before.into_iter().take(room).for_each(|ca| {
            self.bundle.push_str(ca.trim());
            self.bundle.push('\n');
        });
        self
    }

    /// The same, with the newest CA only.
    #[must_use]
    pub fn trusting_only_its_own(self) -> Self {
        let bundle = split(&self.bundle).next().map(|ca| format!("{}\n", ca.trim())).unwrap_or_default();
        Self { bundle, ..self }
    }

    /// The certificate and key for TLS.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(CertificateError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(CertificateError::Pem)?;
        CertifiedKey::from_der(chain, key, provider).map_err(CertificateError::Unfit)
    }

    /// Whether a client that trusts `bundle` would accept it for the Service at that time.
    pub fn is_accepted(&self, bundle: &str, service: &str, namespace: &str, at: Timestamp) -> bool {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let Ok(certified) = self.certified(&provider) else { return false };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten());
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
            return false;
        };
        let Ok(name) = ServerName::try_from(format!("{service}.{namespace}.svc")) else { return false };
        let Some((leaf, others)) = certified.cert.split_first() else { return false };
        let since = Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
        verifier.verify_server_cert(leaf, others, &name, &[], UnixTime::since_unix_epoch(since)).is_ok()
    }

    /// Whole days for which a client that trusts its bundle accepts it, at most ten years; `None` if it is not accepted
    /// now.
    pub fn days_left(&self, service: &str, namespace: &str, now: Timestamp) -> Option<u32> {
        let holds = |days: i64| self.is_accepted(&self.bundle, service, namespace, plus_days(now, days));
        if !holds(0) {
            return None;
        }
        let (mut holds_at, mut fails_at) = (0, 3651);
        while fails_at - holds_at > 1 {
            let middle = (holds_at + fails_at) / 2;
            if holds(middle) { holds_at = middle } else { fails_at = middle }
        }
        u32::try_from(holds_at).ok()
    }
}

/// The next step of the certificate manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateStep {
    /// Nothing to do.
    UpToDate,
    /// Issue a new certificate, and continue to trust these CAs.
    Renew {
        /// PEM; empty if no CA was trusted.
        before: String,
    },
    /// The old CAs have been unused for a day: write this.
    Trim(Material),
    /// Write these CAs to the `caBundle`.
    Trust(String),
}

/// Decides on the certificate of a Service. `trusted` is the current `caBundle`, as PEM.
pub fn next(secret: Option<&Value>, trusted: &str, service: &str, namespace: &str, now: Timestamp) -> CertificateStep {
    let material = secret.and_then(|secret| Material::read(secret).ok());
    let Some(material) = material else { return CertificateStep::Renew { before: trusted.to_owned() } };
    let own = material.clone().trusting_only_its_own();
    let accepted = |days: i64| own.is_accepted(&own.bundle, service, namespace, plus_days(now, days));
    // The bundle must contain the CA of the certificate, which is the newest one.
    if !accepted(0) || !accepted(RENEWAL_WINDOW_DAYS) {
        let before = if trusted.is_empty() { &material.bundle } else { trusted };
        return CertificateStep::Renew { before: before.to_owned() };
    }
    if own != material && accepted(-BACKDATED_DAYS - 1) {
        return CertificateStep::Trim(own);
    }
    if trusted.trim() == material.bundle.trim() {
        CertificateStep::UpToDate
    } else {
        CertificateStep::Trust(material.bundle)
    }
}

fn names(service: &str, namespace: &str) -> Vec<String> {
    ["", ".cluster.local"].map(|domain| format!("{service}.{namespace}.svc{domain}")).to_vec()
}

/// The certificates of a PEM text.
fn split(pem: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END).filter_map(|part| Some(&part[part.find("-----BEGIN CERTIFICATE-----")?..]))
}

fn plus_days(now: Timestamp, days: i64) -> Timestamp {
    now.checked_add((days * 24).hours()).unwrap_or(now)
}

/// Sets the period of validity. rcgen has a date type of its own.
fn valid(certificate: &mut CertificateParams, now: Timestamp) {
    let date = |days: i64| {
        let date = plus_days(now, days).to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    certificate.not_before = date(-BACKDATED_DAYS);
    certificate.not_after = date(VALIDITY_DAYS);
}

#[cfg(test)]
mod tests;
