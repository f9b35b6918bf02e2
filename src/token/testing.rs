//! Accounts and vaults for tests.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Account, Identity, MaxUpstream, Provider, SecretSource};
use crate::vault::Vault;

/// An account of this registration.
pub(super) fn account_of(provider: &Arc<Provider>, address: &str) -> Arc<Account> {
    Arc::new(Account {
        address: address.into(),
        provider: provider.clone(),
        logins: vec![address.into()],
        identity: Identity {
            imap: address.into(),
            pop3: address.into(),
            smtp: address.into(),
        },
        authorize_as: None,
        max_upstream: MaxUpstream::default(),
        password_hashes: Vec::new(),
    })
}

/// The vault in `folder`.
pub(super) fn open(folder: &Path) -> Vault {
    Vault::open(folder, &SecretSource::File(folder.join("vault.key"))).expect("vault")
}
