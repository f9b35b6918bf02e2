//! Gives out access tokens and renews them: the effects around [`super::life`].
//!
//! One request is in flight for an account: in this process by the account's gate, whose waiters look again when it is their
//! turn, and between processes by the vault's lock, after which the record is read again. A request runs in a task of its own, so
//! that a login that goes away does not lose the answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::AccessToken;
use super::grant::{Grant, GrantError};
use super::life::{Brake, Life, State, Step, Trouble, Upkeep};
use crate::config::{Account, Flow, Provider};
use crate::failure::{Cause, Failure};
use crate::oauth::catalogue::Class;
use crate::oauth::response::{Answer, ErrorAnswer};
use crate::oauth::{OAuth, OAuthError};
use crate::password::Verified;
use crate::stage::Stage;
use crate::vault::{Guard, Kind, Revision, Vault, VaultError};

/// A login whose old token still lives waits no longer than this for a new one.
const SPARE_PATIENCE: Duration = Duration::from_secs(2);

/// The tokens of all accounts. Cloning it is cheap and gives the same tokens.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    vault: Vault,
    limit: Duration,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    registrations: Mutex<HashMap<String, Arc<Registration>>>,
    running: TaskTracker,
    /// Tells the upkeep that something became due earlier than it thought.
    changed: Notify,
    started: Timestamp,
}

/// A registration's OAuth client, and the brake that all its accounts share.
struct Registration {
    oauth: OAuth,
    brake: Mutex<Brake>,
}

/// One account's tokens in this process.
pub(super) struct Slot {
    pub(super) account: Arc<Account>,
    gate: tokio::sync::Mutex<()>,
    entry: Mutex<Entry>,
}

/// What is known of an account's grant.
struct Entry {
    /// Whether the vault was read; `revision` is then the record that `grant` came from.
    is_loaded: bool,
    revision: Option<Revision>,
    grant: Option<Arc<Grant>>,
    life: Life,
    /// A grant with a rotated refresh token that the vault did not take; nobody gets its access token before it does.
    unsaved: Option<Grant>,
    /// An answer was lost, so the provider may have rotated the refresh token without our knowing.
    is_ambiguous: bool,
    /// We are writing the record ourselves, so its new revision is no news.
    is_writing: bool,
    used_at: Timestamp,
    luck: f64,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// A token for a login.
    Login,
    /// A token in place of this one, which a mail server refused.
    Instead(AccessToken),
    /// Nobody waits; a renewal ahead of need, if it is due.
    Upkeep,
}

enum Decision {
    Serve(AccessToken),
    Renew,
    Refuse(Failure),
}

impl Tokens {
    /// Tokens kept in `vault`; a request to a token endpoint may take `limit`.
    pub fn new(vault: Vault, limit: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                vault,
                limit,
                slots: Mutex::default(),
                registrations: Mutex::default(),
                running: TaskTracker::new(),
                changed: Notify::new(),
                started: Timestamp::now(),
            }),
        }
    }

    /// An access token for a login, renewed before if it is about to end.
    ///
    /// # Errors
    /// At stage `token`: [`Cause::Consent`], [`Cause::Config`], or [`Cause::Token`] where trying again later is right.
    pub async fn access(&self, verified: &Verified) -> Result<AccessToken, Failure> {
        self.obtain(verified.account(), Need::Login).await
    }

    /// A token in place of `refused`, which the provider's mail server did not take: the one that is there if it is another, else a
    /// renewed one. At most one renewal for such a reason happens in a minute; those who wait share it.
    ///
    /// # Errors
    /// As [`Tokens::access`]; [`Cause::Refused`] if the refused token was just renewed, so that another would not help.
    pub async fn renew(
        &self,
        verified: &Verified,
        refused: &AccessToken,
    ) -> Result<AccessToken, Failure> {
        self.obtain(verified.account(), Need::Instead(refused.clone()))
            .await
    }

    /// As [`Tokens::access`], for `doctor`: who runs it holds the key of the vault, which proves more than a password.
    #[expect(dead_code, reason = "doctor is not written yet")]
    pub(crate) async fn access_for_operator(
        &self,
        account: &Arc<Account>,
    ) -> Result<AccessToken, Failure> {
        self.obtain(account, Need::Login).await
    }

    /// Waits until no request is under way. Call it before the process ends, so that no answer with a rotated token is lost.
    pub async fn settle(&self) {
        self.inner.running.close();
        self.inner.running.wait().await;
        self.inner.running.reopen();
    }

    pub(super) async fn obtain(
        &self,
        account: &Arc<Account>,
        need: Need,
    ) -> Result<AccessToken, Failure> {
        let slot = self.slot(account);
        let registration = self.registration(&account.provider)?;
        if !matches!(need, Need::Upkeep) {
            self.note_use(&slot);
        }
        match self.decide(&slot, &registration, &need) {
            Decision::Serve(token) => return Ok(token),
            Decision::Refuse(failure) => return Err(failure),
            Decision::Renew => {}
        }
        let spare = matches!(need, Need::Login)
            .then(|| slot.entry().living_token(Timestamp::now()))
            .flatten();
        let work = self.clone().renew_grant(slot, registration, need);
        let work = self.inner.running.spawn(work);
        let outcome = match spare {
            None => work.await,
            Some(spare) => match tokio::time::timeout(SPARE_PATIENCE, work).await {
                Ok(outcome) => outcome,
                Err(_) => return Ok(spare),
            },
        };
        outcome.unwrap_or_else(|error| Err(internal(&format!("the renewal ended: {error}"))))
    }

    /// The account's slot. A reload of the configuration brings new accounts of the same name: what is known of the grant is then
    /// looked at anew, since the registration may be another.
    pub(super) fn slot(&self, account: &Arc<Account>) -> Arc<Slot> {
        let mut slots = lock(&self.inner.slots);
        match slots.entry(account.address.clone()) {
            MapEntry::Occupied(slot) if Arc::ptr_eq(&slot.get().account, account) => {
                slot.get().clone()
            }
            MapEntry::Occupied(mut slot) => {
                let unsaved = slot.get().entry().unsaved.take();
                let new = Slot::new(account, self.inner.started);
                new.entry().unsaved = unsaved.filter(|grant| grant.belongs_to(&account.provider));
                slot.insert(Arc::new(new));
                slot.get().clone()
            }
            MapEntry::Vacant(place) => place
                .insert(Arc::new(Slot::new(account, self.inner.started)))
                .clone(),
        }
    }

    fn registration(&self, provider: &Arc<Provider>) -> Result<Arc<Registration>, Failure> {
        let mut registrations = lock(&self.inner.registrations);
        if let Some(known) = registrations.get(&provider.name)
            && Arc::ptr_eq(known.oauth.provider(), provider)
        {
            return Ok(known.clone());
        }
        let oauth = OAuth::new(provider.clone(), self.inner.limit)
            .map_err(|error| Failure::new(Stage::Token, Cause::Config, error.to_string()))?;
        let registration = Arc::new(Registration {
            oauth,
            brake: Mutex::default(),
        });
        registrations.insert(provider.name.clone(), registration.clone());
        Ok(registration)
    }

    fn note_use(&self, slot: &Slot) {
        let now = Timestamp::now();
        let mut entry = slot.entry();
        let was_idle = entry.upkeep().is_idle(now);
        entry.used_at = now;
        if was_idle {
            self.inner.changed.notify_one();
        }
    }

    /// Looks whether somebody else (`authorize`, another process) wrote the record, and reads it if so.
    pub(super) fn notice(&self, slot: &Slot) -> Result<(), Failure> {
        let address = &slot.account.address;
        let mut entry = slot.entry();
        if entry.is_writing {
            return Ok(());
        }
        let revision = self.inner.vault.revision(Kind::Grant, address);
        if entry.is_loaded && entry.revision == revision.map_err(|error| from_vault(&error))? {
            return Ok(());
        }
        let record = self.inner.vault.read(Kind::Grant, address);
        let record = record.map_err(|error| from_vault(&error))?;
        let grant = record
            .as_ref()
            .map(|record| Grant::from_bytes(&record.bytes));
        let grant = grant.transpose().map_err(from_grant)?;
        entry.adopt(grant, record.map(|record| record.revision), &slot.account);
        Ok(())
    }

    fn decide(&self, slot: &Slot, registration: &Registration, need: &Need) -> Decision {
        let now = Timestamp::now();
        if let Err(failure) = self.notice(slot) {
            // A vault that cannot be read is no reason to stop while the token in memory lives.
            let living = slot.entry().living_token(now);
            return match (need, living) {
                (Need::Login, Some(token)) => Decision::Serve(token),
                _ => Decision::Refuse(failure),
            };
        }
        let brake = registration.brake();
        slot.entry().decide(need, now, &brake, &slot.account)
    }

    /// The one place where a provider is asked for an account's tokens.
    async fn renew_grant(
        self,
        slot: Arc<Slot>,
        registration: Arc<Registration>,
        need: Need,
    ) -> Result<AccessToken, Failure> {
        let _turn = slot.gate.lock().await;
        // Whoever had the turn before may have brought what is needed.
        match self.decide(&slot, &registration, &need) {
            Decision::Serve(token) => return Ok(token),
            Decision::Refuse(failure) => return Err(failure),
            Decision::Renew => {}
        }
        let guard = match self.lock_record(&slot).await {
            Ok(guard) => guard,
            Err(error) => return self.failed(&slot, &registration, &need, from_lock(&error)),
        };
        // And so may another process.
        match self.decide(&slot, &registration, &need) {
            Decision::Serve(token) => return Ok(token),
            Decision::Refuse(failure) => return Err(failure),
            Decision::Renew => {}
        }
        let unsaved = slot.entry().unsaved.take();
        if let Some(grant) = unsaved {
            return self.keep(&slot, guard, grant, &registration, &need).await;
        }
        if !lock(&registration.brake).admit(Timestamp::now()) {
            let brake = registration.brake();
            return slot.entry().fall_back(&need, &brake, &slot.account);
        }
        slot.entry().note_force(&need, Timestamp::now());
        match ask(&slot, &registration.oauth).await {
            Ok((answer, sent)) => {
                lock(&registration.brake).release();
                let grant = slot.entry().granted(&answer, sent, &slot.account);
                self.keep(&slot, guard, grant, &registration, &need).await
            }
            Err(error) => {
                self.refused(&slot, guard, &registration, &need, error)
                    .await
            }
        }
    }

    async fn lock_record(&self, slot: &Slot) -> Result<Guard, VaultError> {
        let (vault, address) = (self.inner.vault.clone(), slot.account.address.clone());
        blocking(move || vault.lock(Kind::Grant, &address)).await
    }

    /// Writes the record and gives the lock back.
    async fn write(&self, slot: &Slot, guard: Guard, grant: &Grant) -> Result<(), VaultError> {
        let (vault, bytes) = (self.inner.vault.clone(), grant.to_bytes());
        slot.entry().is_writing = true;
        let written = blocking(move || vault.write(&guard, &bytes)).await;
        let mut entry = slot.entry();
        entry.is_writing = false;
        entry.revision = Some(written?);
        Ok(())
    }

    /// Makes a new grant durable and only then gives its access token out.
    async fn keep(
        &self,
        slot: &Slot,
        guard: Guard,
        grant: Grant,
        registration: &Registration,
        need: &Need,
    ) -> Result<AccessToken, Failure> {
        let written = self.write(slot, guard, &grant).await;
        let address = &slot.account.address;
        let mut entry = slot.entry();
        match written {
            Ok(()) => {}
            Err(error) if entry.has_same_refresh_token(&grant) => {
                warn!(account = %address, %error, "the new access token is kept in memory only");
            }
            Err(error) => {
                entry.unsaved = Some(grant);
                drop(entry);
                return self.failed(slot, registration, need, from_lock(&error));
            }
        }
        let token = grant.access_token().cloned();
        entry.take(grant);
        if entry.life.succeeded(Timestamp::now()) {
            info!(account = %address, "the account is ok again");
        }
        drop(entry);
        self.inner.changed.notify_one();
        let token = token.ok_or_else(|| internal("a grant without an access token"))?;
        match need {
            Need::Instead(refused) if *refused == token => Err(just_renewed()),
            _ => Ok(token),
        }
    }

    /// Deals with a refusal: what the provider said decides the state, and no token is ever thrown away.
    async fn refused(
        &self,
        slot: &Slot,
        guard: Guard,
        registration: &Registration,
        need: &Need,
        error: OAuthError,
    ) -> Result<AccessToken, Failure> {
        let trouble = slot.entry().trouble(&error, &slot.account);
        let concerns_all = error.concerns_all_accounts();
        {
            let mut brake = lock(&registration.brake);
            if concerns_all {
                brake.failed(Timestamp::now(), &trouble, luck());
            } else {
                brake.release();
            }
        }
        let outcome = self.failed(slot, registration, need, trouble);
        let to_write = slot.entry().after_refusal(error);
        if let Some(grant) = to_write {
            let written = self.write(slot, guard, &grant).await;
            let mut entry = slot.entry();
            match written {
                Ok(()) => entry.grant = Some(Arc::new(grant)),
                Err(error) => {
                    warn!(account = %slot.account.address, %error, "cannot write the grant");
                    entry.unsaved =
                        Some(grant).filter(|grant| !entry.has_same_refresh_token(grant));
                }
            }
        }
        outcome
    }

    /// Enters the trouble into the account's life; a login then gets the old token if that still lives.
    fn failed(
        &self,
        slot: &Slot,
        registration: &Registration,
        need: &Need,
        trouble: Trouble,
    ) -> Result<AccessToken, Failure> {
        let brake = registration.brake();
        let mut entry = slot.entry();
        if entry.life.failed(Timestamp::now(), &trouble, luck()) {
            let (state, reason) = (entry.life.state, &trouble.reason);
            warn!(account = %slot.account.address, %state, reason, remedy = trouble.remedy, "no new token");
        }
        self.inner.changed.notify_one();
        entry.fall_back(need, &brake, &slot.account)
    }

    /// What the upkeep needs to know: when to look after the account, if ever.
    pub(super) fn due(&self, slot: &Slot, now: Timestamp) -> Option<Timestamp> {
        let brake = self.registration(&slot.account.provider).ok()?.brake();
        let entry = slot.entry();
        let due = match entry.unsaved {
            Some(_) => entry.life.next_try().unwrap_or(now),
            None => entry.life.due(&entry.upkeep(), now)?,
        };
        Some(brake.until().map_or(due, |until| until.max(due)))
    }

    pub(super) fn is_loaded(&self, slot: &Slot) -> bool {
        slot.entry().is_loaded
    }

    pub(super) async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    /// How the account stands, from what is known in this process after a look into the vault (which blocks for a moment).
    pub fn status(&self, account: &Arc<Account>) -> super::AccountStatus {
        let slot = self.slot(account);
        let trouble = self.notice(&slot).err();
        let entry = slot.entry();
        super::AccountStatus::new(&entry.life, entry.grant.as_deref(), trouble)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("vault", &self.inner.vault)
            .finish_non_exhaustive()
    }
}

/// Asks the provider. A lost answer is asked for once more, with the same refresh token: some providers allow for that, and the
/// others had ended the token already.
async fn ask(slot: &Slot, oauth: &OAuth) -> Result<(Answer, Timestamp), OAuthError> {
    let sent = Timestamp::now();
    match ask_once(slot, oauth).await {
        Err(error) if error.is_lost() => {
            slot.entry().is_ambiguous = true;
            let sent = Timestamp::now();
            Ok((ask_once(slot, oauth).await?, sent))
        }
        outcome => Ok((outcome?, sent)),
    }
}

async fn ask_once(slot: &Slot, oauth: &OAuth) -> Result<Answer, OAuthError> {
    let grant = slot.entry().grant.clone();
    let refresh_token = grant.as_ref().and_then(|grant| grant.refresh_token());
    let outcome = match (slot.account.provider.flow, refresh_token) {
        (Flow::AuthorizationCode, Some(token)) => oauth.refresh(token).await,
        (Flow::AuthorizationCode, None) => {
            let answer = ErrorAnswer::plain("invalid_grant", Some("there is no refresh token"));
            Err(OAuthError::Refused(answer))
        }
        (Flow::ClientCredentials, _) => oauth.client_credentials().await,
    };
    if outcome.as_ref().is_err_and(OAuthError::may_have_acted) {
        slot.entry().is_ambiguous = true;
    }
    outcome
}

impl Registration {
    /// The brake as it is now. Copied, so that no two locks are ever held at once.
    fn brake(&self) -> Brake {
        lock(&self.brake).clone()
    }
}

impl Slot {
    fn new(account: &Arc<Account>, started: Timestamp) -> Self {
        let entry = Entry {
            is_loaded: false,
            revision: None,
            grant: None,
            life: Life::new(State::Unauthorized, started),
            unsaved: None,
            is_ambiguous: false,
            is_writing: false,
            used_at: started,
            luck: luck(),
        };
        Self {
            account: account.clone(),
            gate: tokio::sync::Mutex::default(),
            entry: Mutex::new(entry),
        }
    }

    fn entry(&self) -> MutexGuard<'_, Entry> {
        lock(&self.entry)
    }
}

impl Entry {
    /// Takes up what the vault holds. A grant of another registration is left where it is, and not used.
    fn adopt(&mut self, grant: Option<Grant>, revision: Option<Revision>, account: &Account) {
        if self.revision != revision {
            self.unsaved = None; // somebody wrote a newer one
        }
        (self.is_loaded, self.revision, self.is_ambiguous) = (true, revision, false);
        let foreign = grant
            .as_ref()
            .filter(|grant| !grant.belongs_to(&account.provider));
        let foreign = foreign.map(Grant::made_with);
        let grant = grant.filter(|_| foreign.is_none());
        self.life = match (&grant, account.provider.flow) {
            (Some(grant), _) => grant.life(),
            (None, Flow::ClientCredentials) => Life::new(State::Ok, self.life.since),
            (None, Flow::AuthorizationCode) => never_authorised(foreign, self.life.since, account),
        };
        self.grant = grant.map(Arc::new);
        self.luck = luck();
    }

    /// Takes up a grant that was just made.
    fn take(&mut self, grant: Grant) {
        self.grant = Some(Arc::new(grant));
        (self.is_ambiguous, self.luck) = (false, luck());
    }

    fn granted(&self, answer: &Answer, sent: Timestamp, account: &Account) -> Grant {
        let mut healthy = self.life.clone();
        healthy.succeeded(Timestamp::now());
        match &self.grant {
            Some(grant) => grant.renewed(answer, sent),
            None => Grant::new(&account.provider, answer, sent),
        }
        .in_state(&healthy)
    }

    /// What has to be written after a refusal: a state that must outlive the process, or a refresh token that came all the same.
    fn after_refusal(&self, error: OAuthError) -> Option<Grant> {
        let grant = self.grant.as_deref()?.clone().in_state(&self.life);
        match error {
            OAuthError::Unusable(unusable) => {
                Some(grant.with_refresh_token(unusable.refresh_token?))
            }
            _ => (self.life.state != State::Retrying).then_some(grant),
        }
    }

    /// Remembers that a renewal begins because a mail server refused the token that is there.
    fn note_force(&mut self, need: &Need, now: Timestamp) {
        if let Need::Instead(refused) = need
            && self.living_token(now).as_ref() == Some(refused)
        {
            self.life.forced(now);
        }
    }

    fn has_same_refresh_token(&self, grant: &Grant) -> bool {
        match grant.refresh_token() {
            None => true,
            Some(token) => self
                .grant
                .as_ref()
                .is_some_and(|own| own.has_refresh_token(token)),
        }
    }

    fn living_token(&self, now: Timestamp) -> Option<AccessToken> {
        let grant = self.grant.as_ref()?;
        grant.span().filter(|span| span.is_alive(now))?;
        grant.access_token().cloned()
    }

    fn upkeep(&self) -> Upkeep {
        let grant = self.grant.as_deref();
        Upkeep {
            span: grant.and_then(Grant::span),
            used_at: self.used_at,
            refresh_until: grant.and_then(Grant::refresh_expires_at),
            can_lapse: grant.is_some_and(|grant| grant.refresh_token().is_some()),
            luck: self.luck,
        }
    }

    fn decide(&self, need: &Need, now: Timestamp, brake: &Brake, account: &Account) -> Decision {
        let current = self.living_token(now);
        let span = self.grant.as_deref().and_then(Grant::span);
        let step = match need {
            Need::Instead(refused) if current.as_ref() == Some(refused) => {
                self.life.when_refused(now, brake)
            }
            Need::Upkeep => self.step_of_upkeep(now, brake),
            Need::Login | Need::Instead(_) if self.unsaved.is_some() => {
                self.life.at_login(None, now, brake)
            }
            Need::Login | Need::Instead(_) => self.life.at_login(span, now, brake),
        };
        match (step, current) {
            (Step::Renew, _) => Decision::Renew,
            (Step::Serve, Some(token)) => Decision::Serve(token),
            // Only with a token that could not be saved: its predecessor serves as long as it lives.
            (Step::Refuse, Some(token)) if matches!(need, Need::Login) => Decision::Serve(token),
            (Step::Serve | Step::Refuse, _) => {
                Decision::Refuse(self.refusal(need, now, brake, account))
            }
        }
    }

    fn step_of_upkeep(&self, now: Timestamp, brake: &Brake) -> Step {
        let due = self.life.due(&self.upkeep(), now);
        let is_due = self.unsaved.is_some() || due.is_some_and(|due| due <= now);
        if is_due && self.life.may_ask(now) && brake.is_off(now) {
            Step::Renew
        } else {
            Step::Serve
        }
    }

    /// After a renewal that did not happen: the old token for a login, while it lives.
    fn fall_back(
        &self,
        need: &Need,
        brake: &Brake,
        account: &Account,
    ) -> Result<AccessToken, Failure> {
        let now = Timestamp::now();
        match (need, self.living_token(now)) {
            (Need::Login, Some(token)) => Ok(token),
            _ => Err(self.refusal(need, now, brake, account)),
        }
    }

    fn refusal(&self, need: &Need, now: Timestamp, brake: &Brake, account: &Account) -> Failure {
        let is_healthy = self.life.state == State::Ok;
        if let (true, Some(trouble)) = (is_healthy, brake.trouble(now)) {
            return failure(state_of(trouble.class), &trouble.reason, &trouble.remedy);
        }
        if matches!(need, Need::Instead(_)) && is_healthy && self.life.was_just_forced(now) {
            return just_renewed();
        }
        let Life {
            state,
            reason,
            remedy,
            ..
        } = &self.life;
        if reason.is_empty() {
            let reason = format!("no token for {}", account.address);
            return failure(*state, &reason, remedy);
        }
        failure(*state, reason, remedy)
    }

    /// What a refusal means for this account.
    fn trouble(&self, error: &OAuthError, account: &Account) -> Trouble {
        let class = match (error.class(), account.provider.flow) {
            // Nobody signs in for an application: somebody has to change its rights.
            (Class::Consent, Flow::ClientCredentials) => Class::Config,
            (class, _) => class,
        };
        let mut reason = error.to_string();
        if self.is_ambiguous && class == Class::Consent {
            reason.push_str(
                "; an earlier answer was lost on the network, and with it perhaps a renewed sign-in",
            );
        }
        Trouble {
            class,
            retry_after: error.retry_after(),
            reason,
            remedy: error.remedy().replace("ACCOUNT", &account.address),
        }
    }
}

fn never_authorised(foreign: Option<String>, since: Timestamp, account: &Account) -> Life {
    let mut life = Life::new(State::Unauthorized, since);
    life.reason = match foreign {
        Some(made_with) => format!(
            "the stored sign-in was made with {made_with}, not with the present registration"
        ),
        None => "nobody has signed in for this account yet".into(),
    };
    life.remedy = format!("Run: mailwicket authorize {}", account.address);
    life
}

const fn state_of(class: Class) -> State {
    match class {
        Class::Consent => State::NeedsConsent,
        Class::Config => State::ConfigError,
        Class::Retry => State::Retrying,
    }
}

fn failure(state: State, reason: &str, remedy: &str) -> Failure {
    let cause = match state {
        State::NeedsConsent | State::Unauthorized => Cause::Consent,
        State::ConfigError => Cause::Config,
        State::Ok | State::Retrying => Cause::Token,
    };
    let gap = if remedy.is_empty() { "" } else { ". " };
    Failure::new(Stage::Token, cause, format!("{reason}{gap}{remedy}"))
}

fn just_renewed() -> Failure {
    Failure::new(
        Stage::Token,
        Cause::Refused,
        "the mail server refused a token that had just been renewed",
    )
}

fn internal(words: &str) -> Failure {
    Failure::new(Stage::Token, Cause::Token, words)
}

/// Trouble with the file system may pass; everything else about the vault needs a person.
fn from_vault(error: &VaultError) -> Failure {
    let cause = match error {
        VaultError::Io { .. } | VaultError::Busy { .. } => Cause::Token,
        _ => Cause::Config,
    };
    Failure::new(Stage::Token, cause, error.to_string())
}

fn from_grant(error: GrantError) -> Failure {
    Failure::new(Stage::Token, Cause::Config, error.to_string())
}

fn from_lock(error: &VaultError) -> Trouble {
    Trouble {
        class: Class::Retry,
        retry_after: None,
        reason: error.to_string(),
        remedy: String::new(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(VaultError::Io {
            action: "work on",
            path: "the vault".into(),
            source: std::io::Error::other(error),
        }),
    }
}

/// A poisoned lock only says that a thread panicked; every change under these locks is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from 0 to 1. Without randomness everybody gets the middle, which only means less spread.
fn luck() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
