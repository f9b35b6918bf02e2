//! The local CA: an authority that is good for names and addresses of this house only, and the certificate that it makes for the
//! listeners. Both are kept in the vault.
//!
//! A mail program is told once to trust the authority; the certificate is renewed by itself. The authority is never replaced but by
//! a person ([`Authority::rotate`]), because every mail program would have to be told again.

mod authority;
mod keeper;
mod leaf;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{CertificateParams, DistinguishedName, DnType};

pub use authority::Authority;
pub use keeper::Keeper;

use crate::config::{CertificateName, Config, LocalTls};
use crate::process;
use crate::vault::VaultError;

/// The name of both records.
const RECORD: &str = "local-ca";

/// Days that certificates begin in the past, for devices whose clock is slow.
const BACKDATED: i64 = 3;

/// Why there is no certificate of the local CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What the vault holds was written by another release.
    #[error(
        "the local CA was made by another release of mailwicket; use that one, or run: mailwicket ca rotate"
    )]
    Format,
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS library does not take it.
    #[error("cannot use a certificate of the local CA: {0}")]
    Use(#[from] rustls::Error),
}

/// Whether a listener or the console shows a certificate of the local CA.
pub fn is_wanted(config: &Config) -> bool {
    let mut listeners = config.listeners.iter();
    let remote = config
        .console
        .as_ref()
        .and_then(|console| console.remote.as_ref());
    listeners.any(|listener| listener.tls != LocalTls::None && listener.certificate.is_none())
        || remote.is_some_and(|remote| remote.certificate.is_none())
}

/// What mail programs may call this machine: by loopback, by its own name, by what listeners bind, and as the configuration says.
pub fn names(config: &Config) -> BTreeSet<CertificateName> {
    let loopback = [
        CertificateName::Host("localhost".into()),
        CertificateName::Address(Ipv4Addr::LOCALHOST.into()),
        CertificateName::Address(Ipv6Addr::LOCALHOST.into()),
    ];
    let bound = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.addresses)
        .chain(config.console.as_ref().map(|console| &console.listen));
    let bound = bound
        .map(|address| address.ip().to_canonical())
        .filter(|address| !address.is_unspecified())
        .map(CertificateName::Address);
    let host = process::host_name();
    let host = host.and_then(|host| CertificateName::parse(&host));
    loopback
        .into_iter()
        .chain(bound)
        .chain(host)
        .chain(config.ca_names.iter().cloned())
        .collect()
}

/// Parameters with a name and an end, valid from some days ago on. Gives the end as well.
fn dated(name: &str, now: Timestamp, days: i64) -> (CertificateParams, Timestamp) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let begin = now
        .to_zoned(TimeZone::UTC)
        .date()
        .saturating_sub(BACKDATED.days());
    let end = begin.saturating_add(days.days());
    let time = |date: jiff::civil::Date| {
        // Months are 1 to 12 and days 1 to 31.
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    params.not_before = time(begin);
    params.not_after = time(end);
    let ends = end.to_zoned(TimeZone::UTC).map(|end| end.timestamp());
    (params, ends.unwrap_or(now))
}

/// The address, unless it stands for all of them.
fn address(local: IpAddr) -> Option<CertificateName> {
    let local = local.to_canonical();
    (!local.is_unspecified()).then_some(CertificateName::Address(local))
}
