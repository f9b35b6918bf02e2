//! Who has the certificate of the local CA at hand, and sees that it is the right one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::leaf::Leaf;
use super::{Authority, CaError, RECORD, address};
use crate::config::CertificateName;
use crate::stage::Stage;
use crate::vault::{Kind, Vault};

/// How often the vault is asked, at most, whether somebody has made a new authority.
const LOOK: Duration = Duration::from_secs(1);

/// Addresses of this machine that are put into the certificate because somebody connected to them.
const MOST_ADDRESSES: usize = 32;

/// The local CA of a running mailwicket.
pub struct Keeper {
    vault: Vault,
    provider: Arc<CryptoProvider>,
    /// What the configuration and the machine say.
    wanted: BTreeSet<CertificateName>,
    clock: fn() -> Timestamp,
    state: Mutex<State>,
}

struct State {
    authority: Authority,
    leaf: Leaf,
    looked: Instant,
    /// Addresses that were asked for and are beyond the authority; each is told once.
    refused: BTreeSet<CertificateName>,
}

impl Keeper {
    /// Takes the authority and its certificate from the vault; makes what is not there. Blocks.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn open(
        vault: Vault,
        wanted: BTreeSet<CertificateName>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, CaError> {
        Self::with_clock(vault, wanted, provider, Timestamp::now)
    }

    pub(super) fn with_clock(
        vault: Vault,
        wanted: BTreeSet<CertificateName>,
        provider: Arc<CryptoProvider>,
        clock: fn() -> Timestamp,
    ) -> Result<Self, CaError> {
        let now = clock();
        let authority = Authority::load_or_make(&vault, &wanted, now)?;
        warn_of(&authority, &wanted);
        if let Some(ending) = authority.ending(now) {
            tracing::warn!(stage = %Stage::Tls, "{ending}");
        }
        let names = permitted(&authority, &wanted);
        let kept = Leaf::load(&vault, &provider)
            .filter(|leaf| leaf.is_good(&authority, now) && leaf.names().is_superset(&names));
        let leaf = match kept {
            Some(leaf) => leaf,
            None => issue(&vault, &authority, &names, now, &provider)?,
        };
        let state = State {
            authority,
            leaf,
            looked: Instant::now(),
            refused: BTreeSet::new(),
        };
        Ok(Self {
            vault,
            provider,
            wanted,
            clock,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate for a connection to the address `local`, if there is nothing to be done for it.
    pub(crate) fn at_hand(
        &self,
        local: IpAddr,
        wants_rsa: bool,
        now: Instant,
    ) -> Option<Arc<CertifiedKey>> {
        // Whoever makes an RSA key has it for a second; nobody waits for that on a thread of the runtime.
        let state = self.state.try_lock().ok()?;
        let is_fresh = now.saturating_duration_since(state.looked) < LOOK;
        let covers = self.covers(&state, local);
        let good = is_fresh && covers && state.leaf.is_good(&state.authority, (self.clock)());
        good.then(|| state.leaf.certified(wants_rsa)).flatten()
    }

    /// The same, after whatever has to be done. Blocks.
    ///
    /// # Errors
    /// [`CaError`]
    pub(crate) fn current(
        &self,
        local: IpAddr,
        wants_rsa: bool,
        now: Instant,
    ) -> Result<Arc<CertifiedKey>, CaError> {
        let mut state = self.state();
        let state = &mut *state;
        self.look(state, now);
        note_refused(state, local);
        let today = (self.clock)();
        let is_good = state.leaf.is_good(&state.authority, today);
        if !is_good || !self.covers(state, local) {
            let names = self.names(state, local);
            state.leaf = issue(&self.vault, &state.authority, &names, today, &self.provider)?;
        }
        if wants_rsa && state.leaf.certified(true).is_none() {
            state.leaf.add_rsa(&state.authority, &self.provider)?;
            keep(&state.leaf, &self.vault);
        }
        // There is always one of the usual kind, and one of the other was just made.
        state.leaf.certified(wants_rsa).ok_or(CaError::Format)
    }

    /// Takes a new authority up, if somebody has made one. Trouble with the vault leaves the old one in force.
    fn look(&self, state: &mut State, now: Instant) {
        state.looked = now;
        let revision = self.vault.revision(Kind::Authority, RECORD);
        if let Ok(Some(revision)) = &revision
            && revision == state.authority.revision()
        {
            return;
        }
        match Authority::load(&self.vault) {
            Ok(Some(authority)) => {
                tracing::info!(stage = %Stage::Tls, name = authority.name(), "a new local CA was taken up");
                warn_of(&authority, &self.wanted);
                state.authority = authority;
                state.refused.clear();
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(stage = %Stage::Tls, %error, "the local CA cannot be read; the one in memory stays in force");
            }
        }
    }

    /// Whether the certificate is for the address, as far as one of this authority can be.
    fn covers(&self, state: &State, local: IpAddr) -> bool {
        let State {
            authority, leaf, ..
        } = state;
        address(local).is_none_or(|address| {
            leaf.names().contains(&address)
                || !authority.permits(&address)
                || leaf.names().len() >= self.most_names()
        })
    }

    fn most_names(&self) -> usize {
        self.wanted.len() + MOST_ADDRESSES
    }

    /// What the next certificate is for: what is wanted, the address that somebody used now, and those that were used before.
    fn names(&self, state: &State, local: IpAddr) -> BTreeSet<CertificateName> {
        let mut names = permitted(&state.authority, &self.wanted);
        names.extend(address(local).filter(|address| state.authority.permits(address)));
        for name in state.leaf.names() {
            let is_address = matches!(name, CertificateName::Address(_));
            if is_address && names.len() < self.most_names() && state.authority.permits(name) {
                names.insert(name.clone());
            }
        }
        names
    }
}

/// Says once that an address is beyond the authority.
fn note_refused(state: &mut State, local: IpAddr) {
    let beyond = address(local).filter(|address| !state.authority.permits(address));
    if let Some(address) = beyond
        && state.refused.len() < MOST_ADDRESSES
        && state.refused.insert(address.clone())
    {
        tracing::warn!(stage = %Stage::Tls, %address, "the local CA cannot vouch for this address; add it to [ca] names and run: mailwicket ca rotate");
    }
}

fn permitted(
    authority: &Authority,
    wanted: &BTreeSet<CertificateName>,
) -> BTreeSet<CertificateName> {
    let permitted = wanted.iter().filter(|name| authority.permits(name));
    permitted.cloned().collect()
}

fn issue(
    vault: &Vault,
    authority: &Authority,
    names: &BTreeSet<CertificateName>,
    now: Timestamp,
    provider: &CryptoProvider,
) -> Result<Leaf, CaError> {
    let leaf = Leaf::issue(authority, names, now, provider)?;
    let named: Vec<String> = names.iter().map(ToString::to_string).collect();
    tracing::info!(stage = %Stage::Tls, names = named.join(" "), "a certificate of the local CA was made");
    keep(&leaf, vault);
    Ok(leaf)
}

/// A certificate that cannot be kept is as good as any until the next start.
fn keep(leaf: &Leaf, vault: &Vault) {
    if let Err(error) = leaf.store(vault) {
        tracing::warn!(stage = %Stage::Tls, %error, "the certificate of the local CA cannot be kept; the next start makes another");
    }
}

fn warn_of(authority: &Authority, wanted: &BTreeSet<CertificateName>) {
    for name in authority.lacking(wanted) {
        tracing::warn!(stage = %Stage::Tls, %name, "the local CA was made before this name was known and cannot vouch for it; run: mailwicket ca rotate");
    }
}
