//! The web console: what people would rather look at than read. It is opened by a link that works once (`mailwicket console`).
//!
//! * [`Console`] is what handlers get as their state: the configuration in force and what goes with it ([`Console::now`]), what has
//!   happened lately, and the wish to reload.
//! * `server` binds, serves with limits, and stops; `guest` is who is at a connection, and for how long.
//! * `gate` is in front of every page: Host, Origin, session, CSRF. A handler behind it gets a [`gate::Session`], and what was posted
//!   only as a [`gate::Form`], which exists only after every check.
//! * `prefix` is the secret path that each session has its pages below; handlers and pages write their addresses without it.
//! * `sessions` knows links and sessions, without clock or HTTP.
//! * `page` has the frame of every page: navigation, forms, messages, errors. `assets` are its style and script. `live` keeps
//!   what is shown up to date.
//! * Every page is a file of its own with a `routes()`, merged in `pages` below and, if it is to be found, named in `page::NAVIGATION`.
//! * An account is added in `add`, authorised in `sign_in`, and has its page in `account`. `edits` changes providers and listeners.
//!
//! A page never shows a secret: what stands in the file is masked (`config::edit`). One shows what was just made up.

mod account;
mod add;
mod assets;
mod edits;
mod events;
pub mod gate;
mod guest;
mod live;
mod overview;
pub mod page;
mod prefix;
pub mod reload;
pub mod server;
mod sessions;
mod sign_in;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::Config;
use crate::observe::Recent;
use crate::status::Sources;
use crate::token::Tokens;
use crate::vault::Vault;
use page::Fault;
use reload::Reload;
use sessions::Sessions;

/// What is in force since the last reload.
pub struct InForce {
    /// The configuration, with the file it came from ([`Config::path`]) and what it was read in ([`Config::around`]).
    pub config: Arc<Config>,
    /// The vault.
    pub vault: Vault,
    /// The access tokens.
    pub tokens: Tokens,
    /// What `status` tells.
    pub sources: Arc<Sources>,
}

/// Where the console is found.
#[derive(Clone, Debug)]
pub struct Own {
    /// Where a browser is sent.
    pub url: Url,
    /// Whether nobody else can be at `localhost` with that port.
    pub has_localhost: bool,
}

/// What the handlers share. It outlives reloads.
pub struct Console {
    in_force: watch::Receiver<Arc<InForce>>,
    recent: Recent,
    reload: Reload,
    sessions: Mutex<Sessions>,
    /// Where it can be reached, if it is served.
    at: Mutex<Option<Own>>,
    /// Sign-ins at providers that were begun here.
    sign_ins: sign_in::Ongoing,
    /// The last test of each account.
    tests: account::test::Tests,
    /// Passwords that were just made up.
    made: account::made::Made,
    /// Changes of the configuration that are looked at, or can be taken back.
    drafts: edits::Drafts,
    /// Places for pages that are kept up to date.
    streams: Arc<Semaphore>,
    /// Set when mailwicket stops.
    stop: CancellationToken,
}

impl Console {
    /// A console that nobody serves yet.
    pub fn new(
        in_force: watch::Receiver<Arc<InForce>>,
        recent: Recent,
        reload: Reload,
        stop: CancellationToken,
    ) -> Self {
        Self {
            in_force,
            recent,
            reload,
            sessions: Mutex::default(),
            at: Mutex::default(),
            sign_ins: sign_in::Ongoing::default(),
            tests: account::test::Tests::default(),
            made: account::made::Made::default(),
            drafts: edits::Drafts::default(),
            streams: Arc::new(Semaphore::new(live::MOST_STREAMS)),
            stop,
        }
    }

    /// What is in force now. Take it once for each request.
    pub fn now(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.borrow())
    }

    /// What has happened lately; [`Recent::of_account`] for one mailbox.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Takes the configuration file up, as HUP does; see [`Reload::ask`].
    ///
    /// # Errors
    /// Why the old configuration stays in force.
    pub async fn reload(&self) -> Result<(), String> {
        self.reload.ask().await
    }

    /// Does what blocks (the vault, files) away from the connections, with what is in force; `None` if it panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&InForce) -> T + Send + 'static,
    ) -> Option<T> {
        let in_force = self.now();
        tokio::task::spawn_blocking(move || work(&in_force))
            .await
            .ok()
    }

    /// Does something to its end, even if its answer is not wanted any more: a browser that goes away (a second click is enough) must
    /// leave nothing half done.
    async fn whole<T: Send + 'static>(
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Fault> {
        tokio::spawn(work).await.map_err(|_| Fault::internal())
    }

    /// A link that opens the console once; `None` if it is not served.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn link(&self) -> std::io::Result<Option<Url>> {
        let Some(Own { mut url, .. }) = self.own_address() else {
            return Ok(None);
        };
        let key = self.sessions().link(Instant::now())?;
        url.set_path(gate::OPEN);
        url.query_pairs_mut()
            .append_pair("key", key.expose_secret());
        Ok(Some(url))
    }

    /// Where it is served, if it is.
    fn own_address(&self) -> Option<Own> {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.clone()
    }

    /// From now on it is served there, or nowhere.
    pub fn moved(&self, own: Option<Own>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = own;
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // A poisoned lock only says that a thread panicked; every change under it is whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every page behind the gate.
fn pages() -> Router<Arc<Console>> {
    Router::new()
        .merge(overview::routes())
        .merge(events::routes())
        .merge(account::routes())
        .merge(add::routes())
        .merge(sign_in::routes())
        .merge(edits::routes())
        .merge(live::routes())
        .merge(gate::routes())
        .fallback(page::not_found)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing;
