//! TLS on both sides.
//!
//! Upstream it is always verified: system roots, plus the provider's own `ca-file`. On the local side [`Terms`] say when it begins
//! and with which certificate: files of the user's own, or one of the local CA ([`ca`]).

pub mod ca;
mod gather;
mod handshake;
pub mod hello;
pub mod own;
mod server;
mod stream;
pub mod validity;
pub mod witness;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

pub use gather::Gather;
pub use handshake::HandshakeError;
pub use server::{Beginning, Certificate, CertificateError, SILENCE, Terms};
pub use stream::LocalStream;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The `ca-file` cannot be read or holds no certificate.
    #[error("cannot use the CA file {path}: {reason}; it must hold certificates in PEM form")]
    CaFile {
        /// The file.
        path: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The TLS library refused the configuration.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// A configuration for verified connections to a provider: the system's roots and those of `ca_file`.
///
/// Where the system has no roots at all (a bare container) Mozilla's list, which is built in, is used. Sessions are resumed
/// through the configuration's own store, so one configuration should live as long as its provider.
pub fn upstream(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whom [`upstream`] trusts.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_file {
        add_ca_file(&mut roots, path)?;
    }
    Ok(roots)
}

/// The library as we use it, on both sides.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn add_ca_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    add_file(roots, path).map_err(|reason| TlsError::CaFile {
        path: path.display().to_string(),
        reason,
    })
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())? {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err("no certificate in it".into())
    }
}

#[cfg(test)]
mod tests;
