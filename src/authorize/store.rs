//! The grant's way into the vault, under the lock that the daemon's renewals take as well.

use std::time::Duration;

use crate::config::Account;
use crate::token::grant::Grant;
use crate::vault::{Guard, Kind, Vault, VaultError, blocking};

/// How long a grant that was just made waits for the right to be stored: a person would have to sign in again.
pub const STORE_PATIENCE: Duration = Duration::from_secs(600);

/// Puts the grant in the place of the former one.
pub(super) async fn store(
    vault: &Vault,
    account: &Account,
    grant: Grant,
    on_busy: impl FnOnce(&VaultError),
) -> Result<(), VaultError> {
    let guard = match lock(vault, account, Duration::ZERO).await {
        Err(error @ VaultError::Busy { .. }) => {
            on_busy(&error);
            lock(vault, account, STORE_PATIENCE).await
        }
        outcome => outcome,
    }?;
    let (vault, address, provider) = (
        vault.clone(),
        account.address.clone(),
        account.provider.clone(),
    );
    blocking(move || {
        let former = vault.read(Kind::Grant, &address)?;
        let former = former.and_then(|record| Grant::from_bytes(&record.bytes).ok());
        let grant = match former.filter(|former| former.belongs_to(&provider)) {
            Some(former) => grant.succeeding(&former),
            None => grant,
        };
        vault.write(&guard, &grant.to_bytes()).map(drop)
    })
    .await
}

async fn lock(vault: &Vault, account: &Account, patience: Duration) -> Result<Guard, VaultError> {
    let (vault, address) = (vault.clone(), account.address.clone());
    blocking(move || vault.lock_within(Kind::Grant, &address, patience)).await
}
