//! The accounts that can be logged in to, each with its [`Door`].
//!
//! Accounts with a table of their own are here from the start. A mailbox of a template is here once a record of passwords was seen in the
//! vault, at the start or at a login since: so nothing is kept of names that strangers make up, and no attempt makes anything anywhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::candidates::Door;
use super::remembered::Mark;
use crate::config::{Account, Provider, Roster};
use crate::vault::{Kind, Vault, VaultError};

/// By address, with ASCII letters in lower case.
type ByAddress = BTreeMap<String, Arc<Door>>;

pub(super) struct Doors {
    roster: Roster,
    own: HashMap<String, Arc<Door>>,
    /// Those whose passwords unknown logins are checked against, by provider; with them the mailboxes of templates.
    decoys: HashMap<String, Vec<Arc<Door>>>,
    met: Mutex<HashMap<String, ByAddress>>,
}

impl Doors {
    /// Blocks for a look into the vault's folder where there are templates.
    pub(super) fn new(roster: &Roster, vault: &Vault) -> Self {
        let (mut own, mut decoys) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for account in roster.accounts() {
            let door = Arc::new(Door::new(account.clone()));
            own.insert(account.address.to_ascii_lowercase(), door.clone());
            let provider = account.provider.name.clone();
            decoys.entry(provider).or_default().push(door);
        }
        let doors = Self {
            roster: roster.clone(),
            own,
            decoys,
            met: Mutex::default(),
        };
        for account in of_templates(roster, vault) {
            doors.meet(&account);
        }
        doors
    }

    /// The one that `login` is for, at a listener of `provider`. Blocks for a small read.
    pub(super) fn find(&self, login: &str, provider: &str, vault: &Vault) -> Option<Arc<Door>> {
        let account = self.roster.by_login(login)?;
        if account.provider.name != provider {
            return None;
        }
        match self.own.get(&account.address.to_ascii_lowercase()) {
            Some(door) => Some(door.clone()),
            None => self.of_template(&account, vault),
        }
    }

    fn of_template(&self, account: &Arc<Account>, vault: &Vault) -> Option<Arc<Door>> {
        match vault.revision(Kind::Passwords, &account.address) {
            Ok(Some(_)) => Some(self.meet(account)),
            Ok(None) => {
                self.part(account);
                None
            }
            // No record has such a name.
            Err(VaultError::Account) => None,
            // Whoever opens it hears of the trouble. The name may be made up all the same, so it is not kept.
            Err(_) => {
                let known = self.of(&account.address, &account.provider);
                known.or_else(|| Some(Arc::new(Door::new(account.clone()))))
            }
        }
    }

    /// One of a provider's doors, always the same for the same mark as long as no mailbox comes or goes.
    pub(super) fn decoy(&self, provider: &str, mark: &Mark) -> Option<Arc<Door>> {
        let own = self.decoys.get(provider).map_or(&[][..], Vec::as_slice);
        let met = self.met();
        let met = met.get(provider);
        let count = own.len() + met.map_or(0, BTreeMap::len);
        let at = (count > 0).then(|| mark.below(count))?;
        match own.get(at) {
            Some(door) => Some(door.clone()),
            None => met?.values().nth(at - own.len()).cloned(),
        }
    }

    /// Takes over what the doors of `former` know of the same accounts.
    pub(super) fn inherit(&self, former: &Self) {
        let met = self.met();
        let met = met.values().flat_map(BTreeMap::iter);
        for (address, door) in self.own.iter().chain(met) {
            if let Some(former) = former.of(address, &door.account.provider) {
                door.inherit(&former);
            }
        }
    }

    fn of(&self, address: &str, provider: &Provider) -> Option<Arc<Door>> {
        let met = || self.met().get(&provider.name)?.get(address).cloned();
        self.own.get(address).cloned().or_else(met)
    }

    fn meet(&self, account: &Arc<Account>) -> Arc<Door> {
        let mut met = self.met();
        let provider = account.provider.name.clone();
        let door = || Arc::new(Door::new(account.clone()));
        let doors = met.entry(provider).or_default();
        doors
            .entry(account.address.clone())
            .or_insert_with(door)
            .clone()
    }

    fn part(&self, account: &Account) {
        if let Some(doors) = self.met().get_mut(&account.provider.name) {
            doors.remove(&account.address);
        }
    }

    fn met(&self) -> MutexGuard<'_, HashMap<String, ByAddress>> {
        // Every change is whole when the lock is given back.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn met_so_far(&self) -> Vec<String> {
        let met = self.met();
        met.values()
            .flat_map(|doors| doors.keys().cloned())
            .collect()
    }
}

/// Every mailbox that is in use: the accounts with a table of their own, and of each template those that have a local password. Blocks
/// for a look into the vault's folder where there are templates.
pub fn mailboxes(roster: &Roster, vault: &Vault) -> Vec<Arc<Account>> {
    let own = roster.accounts().iter().cloned();
    own.chain(of_templates(roster, vault)).collect()
}

/// The mailboxes of templates that have a record of passwords.
fn of_templates(roster: &Roster, vault: &Vault) -> Vec<Arc<Account>> {
    if roster.templates().is_empty() {
        return Vec::new();
    }
    let kept = vault.accounts(Kind::Passwords).unwrap_or_else(|error| {
        tracing::warn!(%error, "the mailboxes of whole domains cannot be listed");
        Vec::new()
    });
    let mailboxes = kept.iter().filter_map(|name| roster.covered(name));
    mailboxes.collect()
}
