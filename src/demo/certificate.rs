//! A certificate authority that is good for this machine only, and the mail server's certificate from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Days that the certificates are valid for; a demonstration is over sooner.
const DAYS: i64 = 30;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS library does not take it.
    #[error("cannot use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// The mail server's TLS, and whom to trust for it.
pub(super) struct Certificate {
    pub(super) acceptor: TlsAcceptor,
    /// The authority, as PEM.
    pub(super) ca: String,
}

impl Certificate {
    pub(super) fn make() -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let params = authority();
        let ca = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let leaf_key = KeyPair::generate()?;
        let leaf = leaf()?.signed_by(&leaf_key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca: ca.pem(),
        })
    }
}

/// An authority whose certificates nobody accepts for another machine.
fn authority() -> CertificateParams {
    let mut params = dated(CertificateParams::default());
    params.distinguished_name = named("mailwicket demo: authority of the sandbox");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                IpAddr::V6(Ipv6Addr::LOCALHOST),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn leaf() -> Result<CertificateParams, rcgen::Error> {
    let names = [
        "localhost".to_owned(),
        Ipv4Addr::LOCALHOST.to_string(),
        Ipv6Addr::LOCALHOST.to_string(),
    ];
    let mut params = dated(CertificateParams::new(names)?);
    params.distinguished_name = named("mailwicket demo: mail server of the sandbox");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Valid from yesterday on, so that time zones and slow clocks do not matter. The library's own dates are centuries apart, which
/// some programs refuse.
fn dated(mut params: CertificateParams) -> CertificateParams {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |days: i64| {
        let date = today.saturating_add(days.days());
        // Months are 1 to 12 and days 1 to 31.
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    params.not_before = day(-1);
    params.not_after = day(DAYS);
    params
}
