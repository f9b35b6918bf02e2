//! Gives an account's tokens back to the provider, and forgets them.
//!
//! A revocation that failed forgets nothing: the tokens are still good then, and somebody has to try again.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::Account;
use crate::config::preset::Preset;
use crate::oauth::{OAuth, OAuthError, Revocation, TokenKind};
use crate::tls::TlsError;
use crate::token::grant::{Grant, GrantError};
use crate::vault::{Guard, Kind, Record, Vault, VaultError, blocking};

/// Where a person takes back what was granted to an application at Microsoft, which has no revocation for programs.
const AT_MICROSOFT: &str = "Microsoft lets no program revoke a sign-in. The user removes the application at https://myapps.microsoft.com (of a personal \
     account: https://account.live.com/consent/Manage), or an administrator ends all sign-ins of the user with \"Revoke sessions\" \
     in the Entra admin centre. Until then, who has a copy of the tokens can use them.";

/// Why an account's tokens are still there.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Nobody signed in.
    #[error(
        "nobody signed in for {0}: the application signs in by itself, so there is no grant to revoke. Take away the application's \
         permission or its secret at the provider. What is stored here is forgotten with --local"
    )]
    NoGrant(String),
    /// The tokens must not be sent to this provider.
    #[error(
        "the stored sign-in of {account} was made with {made_with}, not with the present registration, which must not see its tokens. \
         Revoke it at that provider by hand; then forget it here with --local"
    )]
    Foreign {
        /// The mailbox.
        account: String,
        /// The registration that it was made with.
        made_with: String,
    },
    /// The provider's `ca-file` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The record is none.
    #[error("{0}; to forget it unread: --local")]
    Grant(#[from] GrantError),
    /// The provider did not do it.
    #[error(
        "not revoked: {0}. The tokens are kept, and may still be good at the provider. Try again later, or forget them here alone \
         with --local"
    )]
    OAuth(#[from] OAuthError),
    /// The provider has a place for revocations, but not for this one.
    #[error(
        "the provider revokes no refresh tokens there. The tokens are kept. Take the application's access away on the provider's own \
         pages, then forget them here with --local"
    )]
    Unsupported,
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Gives back and forgets; the words for the person. Each request to the provider ends within `limit`.
///
/// # Errors
/// See [`RevokeError`]; the tokens are kept then.
pub async fn revoke(
    account: &Arc<Account>,
    vault: &Vault,
    limit: Duration,
) -> Result<String, RevokeError> {
    if account.provider.flow.is_unattended() {
        return Err(RevokeError::NoGrant(account.address.clone()));
    }
    at_provider(account, vault, limit).await
}

/// Forgets the tokens and asks nobody; the words for the person. Blocks.
///
/// # Errors
/// If the vault refuses.
pub fn forget(vault: &Vault, address: &str) -> Result<String, VaultError> {
    let guard = vault.lock(Kind::Grant, address)?;
    vault.remove(&guard)?;
    Ok(format!(
        "The tokens of {address} are forgotten here. The provider was not asked: who has a copy of them can use them."
    ))
}

/// Under the record's lock from the first look to the last: a renewal in between would bring a token that nobody revokes.
async fn at_provider(
    account: &Arc<Account>,
    vault: &Vault,
    limit: Duration,
) -> Result<String, RevokeError> {
    let address = &account.address;
    let (guard, record) = locked(vault, address).await?;
    let Some(record) = record else {
        return Ok(format!("There are no tokens of {address}; nothing to do."));
    };
    let grant = Grant::from_bytes(&record.bytes)?;
    if !grant.belongs_to(&account.provider) {
        return Err(RevokeError::Foreign {
            account: address.clone(),
            made_with: grant.made_with(),
        });
    }
    let oauth = OAuth::new(Arc::clone(&account.provider), limit)?;
    let told = give_back(&oauth, &grant, account).await?;
    let vault = vault.clone();
    blocking(move || vault.remove(&guard)).await?;
    Ok(format!(
        "{told}\nThe tokens of {address} are forgotten here; logins are refused from now on. Sessions that are open stay until one of \
         their sides ends them. To sign in again: mailwicket authorize {address}"
    ))
}

/// Another process may hold the lock for long: waiting for it must hold up nobody else.
async fn locked(vault: &Vault, address: &str) -> Result<(Guard, Option<Record>), VaultError> {
    let (vault, address) = (vault.clone(), address.to_owned());
    blocking(move || {
        let guard = vault.lock(Kind::Grant, &address)?;
        let record = vault.read(Kind::Grant, &address)?;
        Ok((guard, record))
    })
    .await
}

/// The refresh token first: with it, RFC 7009 §2.1 wants the access tokens of the same grant to end as well.
async fn give_back(oauth: &OAuth, grant: &Grant, account: &Account) -> Result<String, RevokeError> {
    let Some(url) = oauth.revoke_url().await? else {
        return Ok(by_hand(account));
    };
    if let Some(token) = grant.refresh_token() {
        match oauth.revoke(&url, token, TokenKind::Refresh).await? {
            Revocation::Done => {}
            Revocation::NotForThisKind => return Err(RevokeError::Unsupported),
        }
    }
    let mut words = "The sign-in is revoked at the provider.".to_owned();
    // Of another sign-in, if somebody signed in twice; where it was rotated, it is dead already and this asks for nothing.
    if let Some(former) = grant.previous_refresh_token()
        && let Err(error) = oauth.revoke(&url, former, TokenKind::Refresh).await
    {
        words.push_str(&format!(
            "\nwarning: the sign-in before it may still be good: {error}"
        ));
    }
    if let Some(token) = grant.access_token() {
        let token = SecretString::from(token.expose());
        let outcome = oauth.revoke(&url, &token, TokenKind::Access).await;
        match outcome {
            Ok(Revocation::Done) => {}
            Ok(Revocation::NotForThisKind) => {
                words.push_str(
                    " Its last access token may live on until its own end, within hours.",
                );
            }
            // The sign-in is over, so this is no reason to keep anything.
            Err(error) if grant.refresh_token().is_some() => {
                words.push_str(&format!(
                    "\nwarning: its last access token may live on until its own end: {error}"
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(words)
}

/// What a person has to do where no program can.
fn by_hand(account: &Account) -> String {
    let provider = &account.provider;
    match provider.preset.as_deref().and_then(Preset::named) {
        Some(preset) if preset.is_microsoft() => AT_MICROSOFT.to_owned(),
        _ => format!(
            "The provider `{}` names no place where a program could revoke a sign-in (revoke-url). Take the application's access away \
             on the provider's own pages for {}. Until then, who has a copy of the tokens can use them.",
            provider.name, account.address
        ),
    }
}
