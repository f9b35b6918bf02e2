//! How the application proves who it is: by a secret (RFC 6749 §2.3.1), by an assertion that it signs with the key of its certificate,
//! or by one that a platform made for it (RFC 7523 §2.2).
//!
//! Everything is read anew for each request, so that a renewed secret, certificate or assertion needs no restart.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::jwt;
use crate::config::{CertificateError, ClientCertificate, KeyPair, Provider};

/// The type of every assertion that is sent (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds by which an assertion is older than it is, for clocks that are a little behind.
pub(super) const BACKDATED: i64 = 30;
/// Seconds until an assertion ends. Microsoft wants five to ten minutes in all.
pub(super) const LIFE: i64 = 300;
/// How long after its certificate a key may be written when both are replaced.
const BETWEEN_FILES: Duration = Duration::from_secs(1);

/// What goes with a request so that the provider knows the application.
pub(super) enum Proof {
    /// Nothing but the client id: a public client.
    Nothing,
    /// The client secret.
    Secret(SecretString),
    /// A signed assertion.
    Assertion(SecretString),
}

impl Proof {
    /// The one that `provider` is configured with, for a request to `audience` at `now`. It blocks, for a command up to ten seconds.
    pub(super) fn read(
        provider: &Provider,
        audience: &str,
        now: Timestamp,
    ) -> Result<Self, String> {
        if let Some(certificate) = &provider.certificate {
            let pair = load(certificate).map_err(|error| error.to_string())?;
            let assertion = assertion(certificate, &pair, &provider.client_id, audience, now)?;
            return Ok(Self::Assertion(assertion));
        }
        if let Some(source) = &provider.assertion {
            let assertion = source.read_of_platform();
            return assertion
                .map(Self::Assertion)
                .map_err(|error| format!("cannot read the assertion: {error}"));
        }
        match &provider.client_secret {
            None => Ok(Self::Nothing),
            Some(source) => source
                .read()
                .map(Self::Secret)
                .map_err(|error| format!("cannot read client-secret: {error}")),
        }
    }

    /// The secret in it.
    pub(super) fn exposed(&self) -> &str {
        match self {
            Self::Nothing => "",
            Self::Secret(secret) | Self::Assertion(secret) => secret.expose_secret(),
        }
    }

    /// The parameters of an assertion; none for a secret, which the OAuth library sends.
    pub(super) fn assertion(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Nothing | Self::Secret(_) => Vec::new(),
            Self::Assertion(assertion) => vec![
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", assertion.expose_secret()),
            ],
        }
    }

    /// All parameters, for requests that the OAuth library does not make.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Secret(secret) => vec![("client_secret", secret.expose_secret())],
            _ => self.assertion(),
        }
    }
}

/// The certificate and its key. Where they are no pair somebody may just be replacing them, one after the other, so it looks once more.
fn load(certificate: &ClientCertificate) -> Result<KeyPair, CertificateError> {
    match certificate.load() {
        Err(CertificateError::Mismatch { .. }) => {
            std::thread::sleep(BETWEEN_FILES);
            certificate.load()
        }
        outcome => outcome,
    }
}

/// RFC 7523 §3, with the thumbprint by which Microsoft finds the certificate (RFC 7515 §4.1.8).
fn assertion(
    certificate: &ClientCertificate,
    pair: &KeyPair,
    client_id: &str,
    audience: &str,
    now: Timestamp,
) -> Result<SecretString, String> {
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&pair.certificate));
    let (from, until) = (now.as_second() - BACKDATED, now.as_second() + LIFE);
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": random_id()?,
        "iat": from,
        "nbf": from,
        "exp": until,
    });
    let header = json!({"x5t#S256": thumbprint});
    jwt::signed(&*pair.key, certificate.algorithm, header, &claims).ok_or_else(|| {
        format!(
            "nothing can be signed with the key of the certificate {}; RSA, or the curve P-256, can",
            certificate.file.display()
        )
    })
}

/// Each assertion is good for one request (RFC 7523 §3, point 7).
fn random_id() -> Result<String, String> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}
