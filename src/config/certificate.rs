//! A certificate and its key that prove who the application is, in place of a secret.
//!
//! Knows no OAuth: what is signed with the key is decided in `oauth`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use secrecy::ExposeSecret;
use serde::Deserialize;
use x509_cert::der::Decode;

use super::{SecretError, SecretSource};

/// Where a certificate and its key are; both are read when they are needed, so that renewed files are seen.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate in PEM form, the application's own first.
    pub file: PathBuf,
    /// The key in PEM form; in the same file, if nothing else is said.
    pub key: SecretSource,
    /// What signatures are made with.
    pub algorithm: SigningAlgorithm,
}

/// How assertions are signed (RFC 7518 §3.1). A key on a curve signs with ES256 whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningAlgorithm {
    /// RSASSA-PSS, which Microsoft asks for.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5, for servers that know nothing newer.
    Rs256,
}

/// A certificate with the key that belongs to it.
pub struct KeyPair {
    /// The certificate, in DER.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: Arc<dyn SigningKey>,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

/// Why a certificate or its key cannot be used. No variant holds any of the key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read the certificate {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate in PEM form, beginning with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is damaged.
    #[error("the certificate in {} cannot be read", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be read.
    #[error("the key of the certificate: {0}")]
    Secret(#[from] SecretError),
    /// The key is no key.
    #[error(
        "the key of the certificate {} is no private key in PEM form, without a passphrase; if it has one, remove it with: openssl pkey -in KEY -out NEW-KEY", path.display()
    )]
    NoKey {
        /// The certificate's file.
        path: PathBuf,
    },
    /// The key is of a kind that nothing can be signed with.
    #[error("the key of the certificate {} is neither RSA (2048 bits or more) nor on a curve of NIST", path.display())]
    UnknownKey {
        /// The certificate's file.
        path: PathBuf,
    },
    /// Certificate and key are not a pair.
    #[error("the certificate {} and its key do not belong together", path.display())]
    Mismatch {
        /// The certificate's file.
        path: PathBuf,
    },
}

impl ClientCertificate {
    /// Reads both, now. It blocks, as [`SecretSource::read`] does.
    pub fn load(&self) -> Result<KeyPair, CertificateError> {
        let path = || self.path();
        let certificate = self.certificate()?;
        let key =
            private_key(&self.key)?.ok_or_else(|| CertificateError::NoKey { path: path() })?;
        let key = signing_key(key).ok_or_else(|| CertificateError::UnknownKey { path: path() })?;
        let pair = CertifiedKey::new(vec![certificate.clone()], key.clone());
        match pair.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(CertificateError::Mismatch { path: path() });
            }
            Err(_) => return Err(CertificateError::Damaged { path: path() }),
        }
        let not_after = self.end_of(&certificate)?;
        Ok(KeyPair {
            certificate,
            key,
            not_after,
        })
    }

    /// When the certificate ends. Reads it alone, not its key.
    pub fn not_after(&self) -> Result<Timestamp, CertificateError> {
        self.end_of(&self.certificate()?)
    }

    fn end_of(&self, certificate: &CertificateDer<'_>) -> Result<Timestamp, CertificateError> {
        not_after(certificate).ok_or_else(|| CertificateError::Damaged { path: self.path() })
    }

    fn path(&self) -> PathBuf {
        self.file.clone()
    }

    fn certificate(&self) -> Result<CertificateDer<'static>, CertificateError> {
        let pem = fs::read(&self.file).map_err(|source| CertificateError::File {
            path: self.path(),
            source,
        })?;
        CertificateDer::from_pem_slice(&pem).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateError::NoCertificate { path: self.path() },
            _ => CertificateError::Damaged { path: self.path() },
        })
    }
}

/// The key, if there is one in what was read.
fn private_key(source: &SecretSource) -> Result<Option<PrivateKeyDer<'static>>, SecretError> {
    let pem = source.read_whole()?;
    Ok(PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).ok())
}

/// The key as something that signs.
pub(crate) fn signing_key(key: PrivateKeyDer<'static>) -> Option<Arc<dyn SigningKey>> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.key_provider.load_private_key(key).ok()
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate().validity().not_after;
    Timestamp::from_second(end.to_unix_duration().as_secs().try_into().ok()?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair as Made, PKCS_RSA_SHA256};

    use super::*;

    /// A certificate that ends in 2030, and its key, in PEM.
    pub(crate) fn made(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let key = Made::generate_for(algorithm).expect("a key");
        let mut params = CertificateParams::new(vec!["app.example".into()]).expect("names");
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn at(folder: &Path, certificate: &str, key: &str) -> ClientCertificate {
        let file = folder.join("app.pem");
        fs::write(&file, certificate).expect("written");
        ClientCertificate {
            file,
            key: SecretSource::Inline(key.to_owned().into()),
            algorithm: SigningAlgorithm::Ps256,
        }
    }

    fn loaded(certificate: &str, key: &str) -> Result<KeyPair, CertificateError> {
        let folder = tempfile::tempdir().expect("a folder");
        at(folder.path(), certificate, key).load()
    }

    #[test]
    fn a_pair_says_when_it_ends() {
        let (certificate, key) = made(&PKCS_RSA_SHA256);
        let pair = loaded(&certificate, &key).expect("a pair");
        assert_eq!(pair.not_after.to_string(), "2030-01-02T00:00:00Z");
    }

    #[test]
    fn what_does_not_belong_together_is_told_from_what_is_no_key() {
        let (certificate, key) = made(&PKCS_RSA_SHA256);
        let (_, other) = made(&PKCS_RSA_SHA256);
        let (_, curve) = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        for (certificate, key, want) in [
            (&certificate, &other, "do not belong together"),
            (&certificate, &curve, "do not belong together"),
            (&certificate, &certificate, "is no private key"),
            (&key, &key, "holds no certificate"),
        ] {
            let error = loaded(certificate, key).err().expect("a fault").to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn the_messages_hold_nothing_of_a_key() {
        let (certificate, key) = made(&PKCS_RSA_SHA256);
        let body = key.lines().nth(1).expect("a line");
        let damaged = key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
        let mut told = String::new();
        for (certificate, key) in [(&certificate, &damaged), (&key, &key)] {
            let error = loaded(certificate, key).err().expect("a fault");
            write!(told, "{error} {error:?}").expect("a string");
        }
        assert!(!told.contains(body), "{told}");
    }
}
