//! A provider's consent for a mailbox: asked for, checked, and kept for the daemon.
//!
//! Knows no terminal and no page: whoever asks shows addresses and words, and brings the redirect. What the provider answers becomes a
//! [`Granted`] only if it is of use to the account, and only that can be kept.

pub mod check;
mod store;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use self::check::Unfit;
use crate::config::{Account, Flow};
use crate::oauth::catalogue;
use crate::oauth::device::DeviceSignIn;
use crate::oauth::redirect::RedirectError;
use crate::oauth::response::Answer;
use crate::oauth::{OAuth, OAuthError, SignIn};
use crate::tls::TlsError;
use crate::token::grant::Grant;
use crate::vault::{Kind, Vault, VaultError};

pub use self::store::STORE_PATIENCE;

/// Why an account was not authorised.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// The provider's `ca-file` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What proves the application cannot be read.
    #[error("{0}")]
    Credential(String),
    /// The provider gave no tokens.
    #[error("{error}{}", on_a_new_line(error.remedy()))]
    OAuth {
        /// Why not.
        #[from]
        error: OAuthError,
    },
    /// The sign-in did not come to its end.
    #[error("{error}{}", on_a_new_line(remedy_of(error)))]
    Redirect {
        /// Why not.
        #[from]
        error: RedirectError,
    },
    /// What was granted is of no use; nothing was stored.
    #[error("{0}; nothing was stored")]
    Unfit(#[from] Unfit),
    /// The vault did not take the grant.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl AuthorizeError {
    /// Whether the configuration itself is wrong.
    pub const fn is_of_configuration(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

fn on_a_new_line(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!("\n{words}")
    }
}

fn remedy_of(error: &RedirectError) -> &'static str {
    match error {
        RedirectError::Declined(answer) => catalogue::meaning(answer).remedy,
        _ => "",
    }
}

/// An account that is to be authorised.
#[derive(Debug)]
pub struct Authorization {
    account: Arc<Account>,
    oauth: OAuth,
    vault: Vault,
}

/// What the provider granted, checked, and not kept yet.
#[derive(Debug)]
pub struct Granted {
    grant: Grant,
    /// Who signed in, where the provider says so.
    pub signed_in_as: Option<String>,
    /// What may be a mistake.
    pub warnings: Vec<String>,
}

impl Authorization {
    /// For `account`. What would make a sign-in useless is found before anybody signs in: a record that cannot be replaced, a secret that
    /// cannot be read. Each request to the provider ends within `limit`. Blocks.
    ///
    /// # Errors
    /// See [`AuthorizeError`].
    pub fn new(
        account: Arc<Account>,
        vault: Vault,
        limit: Duration,
    ) -> Result<Self, AuthorizeError> {
        vault.read(Kind::Grant, &account.address)?;
        let oauth = OAuth::new(account.provider.clone(), limit)?;
        let looked_at = account.provider.look_at_credentials();
        looked_at.map_err(AuthorizeError::Credential)?;
        Ok(Self {
            account,
            oauth,
            vault,
        })
    }

    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Who has to sign in.
    pub fn who(&self) -> &str {
        let account = &self.account;
        account.authorize_as.as_deref().unwrap_or(&account.address)
    }

    /// Begins a sign-in by browser that ends at `redirect` (RFC 6749 §4.1).
    ///
    /// # Errors
    /// If the provider's endpoints cannot be found out.
    pub async fn begin(&self, redirect: &Url) -> Result<SignIn, AuthorizeError> {
        Ok(self.oauth.sign_in(redirect, self.who()).await?)
    }

    /// Ends a sign-in with the code that its redirect brought.
    ///
    /// # Errors
    /// If the provider refuses the code, or what it grants is of no use.
    pub async fn finish(
        &self,
        sign_in: SignIn,
        code: SecretString,
    ) -> Result<Granted, AuthorizeError> {
        let sent = Timestamp::now();
        let answer = self.oauth.exchange(sign_in, code).await?;
        self.checked(&answer, sent)
    }

    /// Begins a sign-in on another device (RFC 8628).
    ///
    /// # Errors
    /// If the provider gives no code.
    pub async fn begin_device(&self) -> Result<DeviceSignIn, AuthorizeError> {
        Ok(self.oauth.device_sign_in().await?)
    }

    /// Waits until somebody has signed in on the other device.
    ///
    /// # Errors
    /// If nobody does in time, the provider refuses, or what it grants is of no use.
    pub async fn finish_device(&self, sign_in: DeviceSignIn) -> Result<Granted, AuthorizeError> {
        let (answer, sent) = self.oauth.device_answer(sign_in).await?;
        self.checked(&answer, sent)
    }

    /// Signs in by the mailbox's own password, which is sent once and kept nowhere (RFC 6749 §4.3).
    ///
    /// # Errors
    /// If the provider refuses, or what it grants is of no use.
    pub async fn by_password(&self, password: &SecretString) -> Result<Granted, AuthorizeError> {
        let sent = Timestamp::now();
        let answer = self.oauth.password(self.who(), password).await?;
        self.checked(&answer, sent)
    }

    /// Lets the application sign in by itself: nobody is needed, so there is nobody to check.
    ///
    /// # Errors
    /// If the provider refuses.
    pub async fn by_application(&self) -> Result<Granted, AuthorizeError> {
        let sent = Timestamp::now();
        let answer = self.oauth.unattended(&self.account).await?;
        Ok(Granted {
            grant: Grant::new(&self.account.provider, &answer, sent),
            signed_in_as: None,
            warnings: Vec::new(),
        })
    }

    fn checked(&self, answer: &Answer, sent: Timestamp) -> Result<Granted, AuthorizeError> {
        let checked = check::check(answer, &self.account)?;
        let grant = Grant::new(&self.account.provider, answer, sent);
        Ok(Granted {
            grant: grant.signed_in(checked.signed_in_as.clone()),
            signed_in_as: checked.signed_in_as,
            warnings: checked.warnings,
        })
    }

    /// Keeps what was granted, in the place of what was granted before. If another process holds the record, `on_busy` hears it, and the
    /// record is waited for: a person would have to sign in again.
    ///
    /// # Errors
    /// If the vault refuses; what it held before is still there then.
    pub async fn keep(
        &self,
        granted: Granted,
        on_busy: impl FnOnce(&VaultError),
    ) -> Result<(), AuthorizeError> {
        Ok(store::store(&self.vault, &self.account, granted.grant, on_busy).await?)
    }
}

/// The redirect URL of a sign-in whose last address is pasted: it needs no listener, and "any free port" means none.
pub fn redirect_to_paste(configured: &Url) -> Url {
    let mut url = configured.clone();
    if url.port() == Some(0) {
        // Only URLs without a host refuse this, and the check of the configuration refuses those.
        let _ = url.set_port(None);
    }
    url
}

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a browser that is led back to this machine.
    Browser,
    /// In a browser; the address it ends at is pasted.
    Paste,
    /// With a code, on any device.
    Device,
}

impl Way {
    /// The one that the account's provider is set up for.
    pub fn of(account: &Account) -> Self {
        let provider = &account.provider;
        match provider.flow {
            Flow::DeviceCode => Self::Device,
            // Nothing can be listened on there.
            _ if provider.redirect_url.scheme() != "http" => Self::Paste,
            _ => Self::Browser,
        }
    }
}
