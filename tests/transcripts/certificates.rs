//! Certificates that are right or wrong in one way each, as they lie in `certs/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A name that no resolver knows (RFC 6761 §6.4), for servers behind a proxy.
pub const HIDDEN: &str = "mail.hidden.invalid";

/// What a mail server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    Good,
    WrongName,
    Expired,
    NotYetValid,
    UnknownAuthority,
    SelfSigned,
    CommonNameOnly,
    AddressOnly,
    WildcardOfTwo,
    MissingIntermediate,
    NotForServers,
}

impl Certificate {
    pub const BAD: [Self; 10] = [
        Self::WrongName,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownAuthority,
        Self::SelfSigned,
        Self::CommonNameOnly,
        Self::AddressOnly,
        Self::WildcardOfTwo,
        Self::MissingIntermediate,
        Self::NotForServers,
    ];

    const fn file(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::WrongName => "wrong-name",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::UnknownAuthority => "unknown-authority",
            Self::SelfSigned => "self-signed",
            Self::CommonNameOnly => "common-name-only",
            Self::AddressOnly => "address-only",
            Self::WildcardOfTwo => "wildcard-of-two",
            Self::MissingIntermediate => "missing-intermediate",
            Self::NotForServers => "not-for-servers",
        }
    }
}

fn certs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certs")
}

/// The authorities that the program is told to trust, in PEM form.
pub fn authority() -> String {
    fs::read_to_string(certs().join("authorities.pem")).unwrap()
}

/// TLS as a mail server with this certificate speaks it.
pub fn server(certificate: Certificate) -> Arc<ServerConfig> {
    let file = certs()
        .join("ecdsa")
        .join(certificate.file())
        .with_extension("pem");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&file).unwrap().collect();
    let key = PrivateKeyDer::from_pem_file(&file).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key);
    Arc::new(config.unwrap())
}
