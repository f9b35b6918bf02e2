//! The authority itself: its key, and the constraints that keep the key from being worth stealing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{CaError, RECORD, dated};
use crate::config::CertificateName;
use crate::process;
use crate::vault::{Guard, Kind, Revision, Vault};

const VERSION: u32 = 1;

/// Ten years: an authority that ends means a walk to every mail program.
const DAYS: i64 = 3653;

/// Names that nobody has in the world outside: loopback, and what is set apart for a house of one's own (RFC 6761, 6762, 8375, and
/// ICANN's `internal`).
const HOUSE_NAMES: [&str; 6] = [
    "localhost",
    "local",
    "localdomain",
    "lan",
    "home.arpa",
    "internal",
];

/// The same in addresses: loopback, private, link-local, and what carriers and tunnels give out (RFC 1122, 1918, 3927, 6598, 4193,
/// 4291).
const HOUSE_NETWORKS: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
];

/// An authority that nobody accepts for another house.
pub struct Authority {
    document: Document,
    certificate: CertificateDer<'static>,
    fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
    revision: Revision,
}

/// What a record of [`Kind::Authority`] holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// The common name.
    name: String,
    /// PEM.
    certificate: String,
    /// PEM; empty once the authority is in memory.
    key: String,
    /// The names, with all below them, that it may vouch for.
    names: Vec<String>,
    /// The same in addresses.
    networks: Vec<IpNet>,
    ends: Timestamp,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Authority {
    /// The authority in the vault; `None` if there is none.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn load(vault: &Vault) -> Result<Option<Self>, CaError> {
        let Some(record) = vault.read(Kind::Authority, RECORD)? else {
            return Ok(None);
        };
        let document = serde_json::from_slice(&record.bytes).map_err(|_| CaError::Format)?;
        Self::from_document(document, record.revision).map(Some)
    }

    /// The authority in the vault; a new one only if there is none. Blocks.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn load_or_make(
        vault: &Vault,
        names: &BTreeSet<CertificateName>,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        if let Some(authority) = Self::load(vault)? {
            return Ok(authority);
        }
        let guard = vault.lock(Kind::Authority, RECORD)?;
        match Self::load(vault)? {
            Some(authority) => Ok(authority),
            None => Self::make(vault, &guard, names, now),
        }
    }

    /// A new authority in the place of the old one. Every mail program must be told to trust it. Blocks.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn rotate(
        vault: &Vault,
        names: &BTreeSet<CertificateName>,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let guard = vault.lock(Kind::Authority, RECORD)?;
        Self::make(vault, &guard, names, now)
    }

    fn make(
        vault: &Vault,
        guard: &Guard,
        names: &BTreeSet<CertificateName>,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let (names, networks) = house(names);
        let key = KeyPair::generate()?;
        let name = common_name(&key);
        let (mut params, ends) = dated(&name, now, DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = KEY_USAGES.to_vec();
        // With a stolen key, nobody can sign for e-mail or code: names of those kinds are not constrained below.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(&names, &networks),
            excluded_subtrees: Vec::new(),
        });
        let document = Document {
            version: VERSION,
            name,
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
            names,
            networks,
            ends,
        };
        // Nothing in it can fail to become JSON: no map, no number out of range.
        let json = serde_json::to_vec(&document).map_err(|_| CaError::Format)?;
        let revision = vault.write(guard, &Zeroizing::new(json))?;
        Self::from_document(document, revision)
    }

    fn from_document(mut document: Document, revision: Revision) -> Result<Self, CaError> {
        if document.version != VERSION {
            return Err(CaError::Format);
        }
        let key = KeyPair::from_pem(&document.key)?;
        document.key.zeroize();
        let certificate = CertificateDer::from_pem_slice(document.certificate.as_bytes())
            .map_err(|_| CaError::Format)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, &*document.name);
        params.key_usages = KEY_USAGES.to_vec();
        Ok(Self {
            issuer: Issuer::new(params, key),
            fingerprint: fingerprint(&certificate),
            certificate,
            document,
            revision,
        })
    }

    /// Which one it is.
    pub(super) fn revision(&self) -> &Revision {
        &self.revision
    }

    /// What signs.
    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// Its certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.document.certificate
    }

    /// Its certificate, as DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Until when it is valid.
    pub fn ends(&self) -> Timestamp {
        self.document.ends
    }

    /// That it ends, a year ahead, since every mail program has to be visited.
    pub fn ending(&self, now: Timestamp) -> Option<String> {
        const NOTICE_HOURS: i64 = 365 * 24;
        let left = self.ends().duration_since(now);
        (left.as_hours() < NOTICE_HOURS).then(|| {
            format!(
                "the local CA ends on {}; run: mailwicket ca rotate, and have mail programs trust the new one",
                self.ends()
            )
        })
    }

    /// The SHA-256 of its certificate, as programs show it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether its constraints let it vouch for `name`.
    pub fn permits(&self, name: &CertificateName) -> bool {
        match name {
            CertificateName::Address(address) => self
                .document
                .networks
                .iter()
                .any(|network| network.contains(address)),
            CertificateName::Host(host) => {
                self.document.names.iter().any(|name| is_below(host, name))
            }
        }
    }

    /// The names among `wanted` that it cannot vouch for.
    pub fn lacking(&self, wanted: &BTreeSet<CertificateName>) -> Vec<CertificateName> {
        let lacks = |name: &&CertificateName| !self.permits(name);
        wanted.iter().filter(lacks).cloned().collect()
    }
}

const KEY_USAGES: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

fn fingerprint(certificate: &[u8]) -> String {
    let digest = Sha256::digest(certificate);
    let octets: Vec<String> = digest.iter().map(|octet| format!("{octet:02X}")).collect();
    octets.join(":")
}

/// Two authorities of one machine must not have one name: some programs choose by it.
fn common_name(key: &KeyPair) -> String {
    let digest = Sha256::digest(key.public_key_raw());
    let host = process::host_name().filter(|host| host.len() <= 32); // 64 characters in all
    let at = host.map(|host| format!(" at {host}")).unwrap_or_default();
    format!(
        "mailwicket{at} {:02x}{:02x}{:02x}{:02x}",
        digest[0], digest[1], digest[2], digest[3]
    )
}

/// What the authority may vouch for: everything of a house, and what is wanted besides.
fn house(wanted: &BTreeSet<CertificateName>) -> (Vec<String>, Vec<IpNet>) {
    let mut names: Vec<String> = HOUSE_NAMES.map(str::to_owned).into();
    let mut networks: Vec<IpNet> = HOUSE_NETWORKS
        .iter()
        .filter_map(|network| network.parse().ok())
        .collect();
    for name in wanted {
        match name {
            CertificateName::Host(host) if !names.iter().any(|name| is_below(host, name)) => {
                names.push(host.clone());
            }
            CertificateName::Address(address)
                if !networks.iter().any(|network| network.contains(address)) =>
            {
                networks.push(IpNet::from(*address));
            }
            _ => {}
        }
    }
    (names, networks)
}

/// Whether `host` is `name` or stands below it.
fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn subtrees(names: &[String], networks: &[IpNet]) -> Vec<GeneralSubtree> {
    let name = |name: &String| GeneralSubtree::DnsName(name.clone());
    let network = |network: &IpNet| {
        let address: IpAddr = network.network();
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, network.prefix_len()))
    };
    names
        .iter()
        .map(name)
        .chain(networks.iter().map(network))
        .collect()
}
