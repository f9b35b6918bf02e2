//! A console without a daemon, for tests.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::reload::{self, Wishes};
use super::{Console, InForce};
use crate::config::{Config, Surroundings};
use crate::observe::Recent;
use crate::password::Passwords;
use crate::status::Sources;
use crate::token::Tokens;
use crate::vault::Vault;

/// What a test holds of a console.
pub struct Held {
    pub in_force: watch::Sender<Arc<InForce>>,
    pub wishes: Wishes,
    pub stop: CancellationToken,
    pub recent: Recent,
}

/// A console with an empty configuration.
pub fn console(folder: &Path) -> (Console, Held) {
    console_of(folder, "state-dir = '.'\n")
}

/// A console with this configuration; its state is in `folder`.
pub fn console_of(folder: &Path, text: &str) -> (Console, Held) {
    let path = folder.join("mailwicket.toml");
    std::fs::write(&path, text).expect("written");
    let config = Config::parse_in(text, &path, &Surroundings::default());
    let config = config.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let vault = Vault::open(&config.state_dir, &config.vault_key).expect("a vault");
    let recent = Recent::default();
    let tokens = Tokens::telling(vault.clone(), config.timeouts.token, recent.clone());
    let sources = Sources {
        tokens: Some(tokens.clone()),
        accounts: config.accounts.clone(),
        listeners: Vec::new(),
    };
    let failures = config.limits.failed_logins_per_minute;
    let passwords = Passwords::new(&config.accounts, vault.clone(), failures);
    let in_force = InForce {
        config: Arc::new(config),
        vault,
        tokens,
        passwords: Arc::new(passwords),
        sources: Arc::new(sources),
    };
    let (sender, receiver) = watch::channel(Arc::new(in_force));
    let (reload, wishes) = reload::channel();
    let stop = CancellationToken::new();
    let console = Console::new(receiver, recent.clone(), reload, stop.clone());
    let held = Held {
        in_force: sender,
        wishes,
        stop,
        recent,
    };
    (console, held)
}
