//! What a presented password is compared with: the hashes of one account, from the configuration and the vault.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::MAX_PER_ACCOUNT;
use super::named::{self, NamedError, NamedPassword};
use super::remembered::Mark;
use crate::config::Account;
use crate::protocol::Protocol;
use crate::vault::{Kind, Revision, Vault};

/// One hash, where it is good, and the mark of its password once that was presented.
pub(super) struct Candidate {
    pub hash: Arc<str>,
    /// Set once: a hash has one right password. It goes when the vault's record changes, with the candidate.
    pub right: OnceLock<Mark>,
    /// The named password it comes from; the configuration's have no restrictions.
    named: Option<NamedPassword>,
}

impl Candidate {
    fn of_configuration(hash: &str) -> Self {
        Self {
            hash: hash.into(),
            right: OnceLock::new(),
            named: None,
        }
    }

    fn of_vault(named: NamedPassword) -> Self {
        Self {
            hash: named.hash.as_str().into(),
            right: OnceLock::new(),
            named: Some(named),
        }
    }

    /// Whether its restrictions allow this use.
    pub(super) fn is_good_for(&self, protocol: Protocol, source: IpAddr) -> bool {
        let named = self.named.as_ref();
        named.is_none_or(|named| named.is_good_for(protocol, source))
    }
}

/// What was read from the vault, and which writing that was.
type Known = (Option<Revision>, Arc<[Candidate]>);

/// An account with its candidates, as the vault has them now.
pub(super) struct Door {
    pub account: Arc<Account>,
    known: Mutex<Option<Known>>,
}

impl Door {
    /// With what `former` knows, if that is a door of the same account with the same passwords in the configuration.
    pub(super) fn new(account: Arc<Account>, former: Option<&Self>) -> Self {
        let is_same = |former: &&Self| {
            former.account.address == account.address
                && former.account.password_hashes == account.password_hashes
        };
        let known = former.filter(is_same).and_then(|former| former.known());
        Self {
            account,
            known: Mutex::new(known),
        }
    }

    fn known(&self) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// The candidates, read anew if somebody wrote the record since. Blocks for a small read.
    pub(super) fn candidates(&self, vault: &Vault) -> Result<Arc<[Candidate]>, NamedError> {
        let revision = vault.revision(Kind::Passwords, &self.account.address)?;
        // What is guarded is replaced as a whole, so a panic elsewhere left nothing half done.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, candidates)) = &*known
            && *of == revision
        {
            return Ok(candidates.clone());
        }
        // A write since the look at the revision only means that the next login reads once more.
        let candidates = self.read(vault)?;
        *known = Some((revision, candidates.clone()));
        Ok(candidates)
    }

    fn read(&self, vault: &Vault) -> Result<Arc<[Candidate]>, NamedError> {
        let named = named::list(vault, &self.account.address)?;
        let of_configuration = self.account.password_hashes.iter();
        let candidates = of_configuration
            .map(|hash| Candidate::of_configuration(hash))
            .chain(named.into_iter().map(Candidate::of_vault));
        Ok(candidates.take(MAX_PER_ACCOUNT).collect())
    }
}
