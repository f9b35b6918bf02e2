//! A console without a daemon, for tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::reload::{self, Wishes};
use super::{Console, InForce};
use crate::config::{Config, Listener, Surroundings};
use crate::observe::{Counters, Recent};
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
    let recent = Recent::default();
    let (sender, receiver) = watch::channel(Arc::new(in_force(config, &recent)));
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

/// What a daemon would make of this configuration. Its listeners are said to be bound where they are configured.
fn in_force(config: Config, recent: &Recent) -> InForce {
    let vault = Vault::open(&config.state_dir, &config.vault_key).expect("a vault");
    let tokens = Tokens::telling(vault.clone(), config.timeouts.token, recent.clone());
    let sources = Sources {
        tokens: Some(tokens.clone()),
        roster: config.roster.clone(),
        listeners: config.listeners.iter().flat_map(bound).collect(),
        console_certificate: None,
    };
    InForce {
        config: Arc::new(config),
        vault,
        tokens,
        sources: Arc::new(sources),
    }
}

fn bound(listener: &Arc<Listener>) -> Vec<(Arc<Listener>, SocketAddr, Arc<Counters>)> {
    let each = |at: &SocketAddr| (Arc::clone(listener), *at, Arc::default());
    listener.addresses.iter().map(each).collect()
}

impl Held {
    /// Takes the file up whenever a page wants it, as the daemon does.
    pub fn take_up(&mut self, path: PathBuf) {
        let mut wishes = std::mem::replace(&mut self.wishes, reload::channel().1);
        let (in_force_now, recent) = (self.in_force.clone(), self.recent.clone());
        tokio::spawn(async move {
            loop {
                let wish = wishes.next().await;
                let taken = Config::load_in(&path, &Surroundings::default()).map(|config| {
                    in_force_now.send_replace(Arc::new(in_force(config, &recent)));
                });
                wish.answer(taken.map_err(|error| error.to_string()));
            }
        });
    }
}
