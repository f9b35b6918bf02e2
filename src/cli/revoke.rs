//! `mailwicket revoke`: gives an account's tokens back to the provider, and forgets them.

use super::{Exit, Global, say};
use crate::config::{Config, NoSuchAccount};
use crate::revoke::{self, RevokeError};
use crate::vault::{Kind, Vault, VaultError};

/// The arguments of `revoke`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The mailbox, as in NAME@DOMAIN
    account: String,
    /// Only forget the tokens here; the provider is not asked
    #[arg(long)]
    local: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    NoAccount(#[from] NoSuchAccount),
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Error {
    const fn exit(&self) -> Exit {
        match self {
            Self::NoAccount(_) | Self::Revoke(RevokeError::Tls(_)) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    let outcome = global.load().and_then(|config| {
        let revoked = super::block_on(revoke(&args, &config))?;
        revoked.map_err(|error| {
            say(&format!("error: {error}").replace("ACCOUNT", &args.account));
            error.exit()
        })
    });
    match outcome {
        Ok(words) => {
            say(&words);
            Exit::Done
        }
        Err(exit) => exit,
    }
}

/// Gives back and forgets; the words for the person.
async fn revoke(args: &Args, config: &Config) -> Result<String, Error> {
    let vault = Vault::open(&config.state_dir, &config.vault_key)?;
    let account = match config.account(&args.account) {
        Ok(account) => account,
        // The account may be gone from the configuration while its tokens are not.
        Err(_) if args.local && vault.read(Kind::Grant, &args.account)?.is_some() => {
            return Ok(revoke::forget(&vault, &args.account)?);
        }
        Err(error) => return Err(error.into()),
    };
    if args.local {
        return Ok(revoke::forget(&vault, &account.address)?);
    }
    Ok(revoke::revoke(&account, &vault, config.timeouts.token).await?)
}
