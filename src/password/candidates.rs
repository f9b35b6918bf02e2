//! What a presented password is compared with: the hashes of one account, from the configuration and the vault.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;

use super::MAX_PER_ACCOUNT;
use super::learning::Window;
use super::named::{self, NamedError, NamedPassword};
use super::remembered::Mark;
use super::uses::Tag;
use crate::config::Account;
use crate::protocol::Protocol;
use crate::vault::{Kind, Revision, Vault};

/// One hash, where it is good, and the mark of its password once that was presented.
pub(super) struct Candidate {
    pub hash: Arc<str>,
    /// Set once: a hash has one right password. It goes when the vault's record changes, with the candidate.
    pub right: OnceLock<Mark>,
    /// Its name among the last uses.
    pub tag: Tag,
    /// The named password it comes from; the configuration's have no restrictions.
    named: Option<NamedPassword>,
}

impl Candidate {
    fn of_configuration(hash: &str) -> Self {
        Self {
            hash: hash.into(),
            right: OnceLock::new(),
            tag: Tag::of(hash),
            named: None,
        }
    }

    fn of_vault(named: NamedPassword) -> Self {
        Self {
            hash: named.hash.as_str().into(),
            right: OnceLock::new(),
            tag: Tag::of(&named.hash),
            named: Some(named),
        }
    }

    /// Whether its restrictions allow this use.
    pub(super) fn is_good_for(&self, protocol: Protocol, source: IpAddr, now: Timestamp) -> bool {
        let named = self.named.as_ref();
        named.is_none_or(|named| named.is_good_for(protocol, source, now))
    }
}

/// What is known of an account's passwords.
#[derive(Default)]
pub(super) struct Known {
    pub candidates: Vec<Candidate>,
    /// Where another one may be learned; it may be over.
    pub window: Option<Window>,
}

/// An account with its candidates, as the vault has them now.
pub(super) struct Door {
    pub account: Arc<Account>,
    /// Held by the one login that may be adopted.
    pub learning: tokio::sync::Mutex<()>,
    /// What was read from the vault, and which writing that was.
    known: Mutex<Option<(Option<Revision>, Arc<Known>)>>,
}

impl Door {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            learning: tokio::sync::Mutex::new(()),
            known: Mutex::new(None),
        }
    }

    /// Takes over what `former` knows, if that has the same vault and is a door of the same account with the same passwords in the
    /// configuration.
    pub(super) fn inherit(&self, former: &Self) {
        let (own, other) = (&self.account, &former.account);
        if own.address == other.address && own.password_hashes == other.password_hashes {
            let known = former.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.clone();
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        }
    }

    /// What is known, read anew if somebody wrote the record since. Blocks for a small read.
    pub(super) fn known(&self, vault: &Vault) -> Result<Arc<Known>, NamedError> {
        let revision = vault.revision(Kind::Passwords, &self.account.address)?;
        // What is guarded is replaced as a whole, so a panic elsewhere left nothing half done.
        let mut cached = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, known)) = &*cached
            && *of == revision
        {
            return Ok(known.clone());
        }
        // A write since the look at the revision only means that the next login reads once more.
        let known = Arc::new(self.read(vault)?);
        *cached = Some((revision, known.clone()));
        Ok(known)
    }

    fn read(&self, vault: &Vault) -> Result<Known, NamedError> {
        let kept = named::read(vault, &self.account.address)?;
        let of_configuration = self.account.password_hashes.iter();
        let candidates = of_configuration
            .map(|hash| Candidate::of_configuration(hash))
            .chain(kept.passwords.into_iter().map(Candidate::of_vault));
        Ok(Known {
            candidates: candidates.take(MAX_PER_ACCOUNT).collect(),
            window: kept.learning,
        })
    }
}
