//! The certificate that listeners show: signed by the authority, and renewed at two thirds of its life.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, SanType};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{Authority, CaError, RECORD, dated};
use crate::config::CertificateName;
use crate::vault::{Kind, Vault};

const VERSION: u32 = 1;

/// From its beginning to its end: the most that the strictest programs take (398 days, CA/Browser Forum), less one.
const DAYS: i64 = 397;

/// What a record of [`Kind::Leaf`] holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// The fingerprint of the authority that signed it.
    authority: String,
    names: Vec<String>,
    issued: Timestamp,
    ends: Timestamp,
    /// For every program of this century.
    ecdsa: Pair,
    /// For those that know nothing but RSA.
    rsa: Option<Pair>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    /// PEM.
    certificate: String,
    /// PEM.
    key: String,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A certificate with its keys, ready to be shown.
pub(super) struct Leaf {
    document: Document,
    names: BTreeSet<CertificateName>,
    ecdsa: Arc<CertifiedKey>,
    rsa: Option<Arc<CertifiedKey>>,
}

impl Leaf {
    /// The one in the vault; one that cannot be used is as good as none, since another is made without anybody noticing.
    pub(super) fn load(vault: &Vault, provider: &CryptoProvider) -> Option<Self> {
        let record = vault.read(Kind::Leaf, RECORD).ok()??;
        let document: Document = serde_json::from_slice(&record.bytes).ok()?;
        match document.version {
            VERSION => Self::from_document(document, provider).ok(),
            _ => None,
        }
    }

    /// A new one for `names`, all of which the authority permits.
    pub(super) fn issue(
        authority: &Authority,
        names: &BTreeSet<CertificateName>,
        now: Timestamp,
        provider: &CryptoProvider,
    ) -> Result<Self, CaError> {
        let (_, ends) = dated("", now, DAYS);
        let key = KeyPair::generate()?;
        let document = Document {
            version: VERSION,
            authority: authority.fingerprint().to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
            issued: now,
            ends,
            ecdsa: sign(authority, names, now, &key)?,
            rsa: None,
        };
        Self::from_document(document, provider)
    }

    /// The same for programs that know nothing but RSA; making the key takes a second on a small machine.
    pub(super) fn add_rsa(
        &mut self,
        authority: &Authority,
        provider: &CryptoProvider,
    ) -> Result<(), CaError> {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        let pair = sign(authority, &self.names, self.document.issued, &key)?;
        self.rsa = Some(pair.certified(provider)?);
        self.document.rsa = Some(pair);
        Ok(())
    }

    fn from_document(document: Document, provider: &CryptoProvider) -> Result<Self, CaError> {
        let names = document.names.iter();
        let rsa = document.rsa.as_ref();
        Ok(Self {
            names: names
                .filter_map(|name| CertificateName::parse(name))
                .collect(),
            ecdsa: document.ecdsa.certified(provider)?,
            rsa: rsa.map(|pair| pair.certified(provider)).transpose()?,
            document,
        })
    }

    /// Keeps it for the next start, so that programs that were told to trust this very certificate are not asked again.
    pub(super) fn store(&self, vault: &Vault) -> Result<(), CaError> {
        let guard = vault.lock(Kind::Leaf, RECORD)?;
        // Nothing in it can fail to become JSON: no map, no number out of range.
        let json = serde_json::to_vec(&self.document).map_err(|_| CaError::Format)?;
        vault.write(&guard, &Zeroizing::new(json))?;
        Ok(())
    }

    /// Whether it is of this authority, not due for renewal, and not of a time to come.
    pub(super) fn is_good(&self, authority: &Authority, now: Timestamp) -> bool {
        let Document { issued, ends, .. } = self.document;
        let life = ends.duration_since(issued);
        let due = issued.saturating_add(life * 2 / 3).unwrap_or(ends);
        // A clock that was set back must not leave a certificate that is not valid yet.
        let is_due = now >= due || now < issued.saturating_sub(life / 128).unwrap_or(issued);
        !is_due && self.document.authority == authority.fingerprint()
    }

    pub(super) fn names(&self) -> &BTreeSet<CertificateName> {
        &self.names
    }

    /// The certificate, with the kind of key that is wanted, if it has that.
    pub(super) fn certified(&self, wants_rsa: bool) -> Option<Arc<CertifiedKey>> {
        match wants_rsa {
            true => self.rsa.clone(),
            false => Some(Arc::clone(&self.ecdsa)),
        }
    }
}

impl Pair {
    fn certified(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, CaError> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        let (Ok(certificate), Ok(key)) = (certificate, key) else {
            return Err(CaError::Format);
        };
        let certified = CertifiedKey::from_der(vec![certificate], key, provider)?;
        Ok(Arc::new(certified))
    }
}

fn sign(
    authority: &Authority,
    names: &BTreeSet<CertificateName>,
    now: Timestamp,
    key: &KeyPair,
) -> Result<Pair, CaError> {
    let (mut params, _) = dated("mailwicket", now, DAYS);
    params.subject_alt_names = names
        .iter()
        .map(|name| match name {
            CertificateName::Host(host) => Ok(SanType::DnsName(host.as_str().try_into()?)),
            CertificateName::Address(address) => Ok(SanType::IpAddress(*address)),
        })
        .collect::<Result<_, rcgen::Error>>()?;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(Pair {
        certificate: params.signed_by(key, authority.issuer())?.pem(),
        key: key.serialize_pem(),
    })
}
