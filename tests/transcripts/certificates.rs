//! An authority of our own, and certificates that are right or wrong in one way each.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

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
}

impl Certificate {
    pub const BAD: [Self; 9] = [
        Self::WrongName,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownAuthority,
        Self::SelfSigned,
        Self::CommonNameOnly,
        Self::AddressOnly,
        Self::WildcardOfTwo,
        Self::MissingIntermediate,
    ];
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// The authority that the program is told to trust, in PEM form.
pub fn authority() -> String {
    trusted().pem()
}

fn trusted() -> &'static Issuer {
    static TRUSTED: OnceLock<Issuer> = OnceLock::new();
    TRUSTED.get_or_init(|| issuer("a test authority"))
}

fn issuer(name: &str) -> Issuer {
    CertifiedIssuer::self_signed(authoritys(name), KeyPair::generate().unwrap()).unwrap()
}

/// Trusted by way of the authority, by who is shown its certificate.
fn intermediate() -> Issuer {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(authoritys("an intermediate"), key, trusted()).unwrap()
}

fn authoritys(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// TLS as a mail server with this certificate speaks it.
pub fn server(certificate: Certificate) -> Arc<ServerConfig> {
    static GOOD: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    match certificate {
        Certificate::Good => Arc::clone(GOOD.get_or_init(|| make(certificate))),
        _ => make(certificate),
    }
}

fn make(certificate: Certificate) -> Arc<ServerConfig> {
    let names: &[&str] = match certificate {
        Certificate::WrongName => &["other.example"],
        Certificate::CommonNameOnly => &[],
        Certificate::AddressOnly => &["127.0.0.1"],
        Certificate::WildcardOfTwo => &["*.localhost"],
        _ => &["localhost", HIDDEN],
    };
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    match certificate {
        Certificate::Expired => params.not_after = date_time_ymd(2020, 1, 1),
        Certificate::NotYetValid => params.not_before = date_time_ymd(2200, 1, 1),
        _ => {}
    }
    let key = KeyPair::generate().unwrap();
    let certificate = match certificate {
        Certificate::SelfSigned => params.self_signed(&key),
        Certificate::UnknownAuthority => params.signed_by(&key, &issuer("somebody else")),
        Certificate::MissingIntermediate => params.signed_by(&key, &intermediate()),
        _ => params.signed_by(&key, trusted()),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.unwrap().der().clone()], key);
    Arc::new(config.unwrap())
}
