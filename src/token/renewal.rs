//! Renewal: the one place where a provider is asked for an account's tokens.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};

use super::AccessToken;
use super::entry::{Decision, Need, just_renewed};
use super::grant::Grant;
use super::keeper::{Registration, Slot, Tokens, internal, lock};
use super::life::{State, Trouble};
use crate::config::Flow;
use crate::failure::Failure;
use crate::oauth::catalogue::Class;
use crate::oauth::response::{Answer, ErrorAnswer};
use crate::oauth::{OAuth, OAuthError};
use crate::vault::{Guard, Kind, VaultError};

impl Tokens {
    /// Renews the account's grant if that is still needed when it is its turn.
    pub(super) async fn renew_grant(
        self,
        slot: Slot,
        registration: Arc<Registration>,
        need: Need,
    ) -> Result<AccessToken, Failure> {
        let _turn = slot.turn().await;
        let guard = loop {
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
            let Some(grant) = unsaved else { break guard };
            if let Err(error) = self.save(&slot, guard, grant).await {
                return self.failed(&slot, &registration, &need, from_lock(&error));
            }
            // Its access token may be all that is needed, or no good.
        };
        if !lock(&registration.brake).admit(self.now()) {
            let brake = registration.brake();
            return slot.entry().fall_back(&need, &brake, &slot.account);
        }
        slot.entry().note_force(&need, self.now());
        match self.ask(&slot, &registration.oauth).await {
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
        let token = grant.access_token().cloned();
        if let Err(error) = self.save(slot, guard, grant).await {
            return self.failed(slot, registration, need, from_lock(&error));
        }
        let token = token.ok_or_else(|| internal("a grant without an access token"))?;
        match need {
            Need::Instead(refused) if *refused == token => Err(just_renewed()),
            _ => Ok(token),
        }
    }

    /// Makes a grant durable and takes it up. One with another refresh token that the vault does not take is kept for later.
    async fn save(&self, slot: &Slot, guard: Guard, grant: Grant) -> Result<(), VaultError> {
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
                return Err(error);
            }
        }
        let until = grant.span().map(|span| span.until);
        // Of an answer that was no good otherwise there is only the refresh token.
        let is_healthy = grant.life().state == State::Ok;
        entry.take(grant);
        let recent = &self.inner.recent;
        if is_healthy {
            recent.renewed(address, until);
        }
        if is_healthy && entry.life.succeeded(self.now()) {
            info!(account = %address, "the account is ok again");
            recent.state(address, State::Ok, "", "");
        }
        drop(entry);
        self.inner.changed.notify_one();
        Ok(())
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
        let concerns_all = error.concerns_all_accounts() && !is_about_one_mailbox(slot, &error);
        {
            let (now, luck) = (self.now(), self.inner.world.luck());
            let mut brake = lock(&registration.brake);
            if concerns_all {
                brake.failed(now, &trouble, luck);
            } else if error.is_answer() {
                brake.release();
            } else {
                brake.doubted(&slot.account.address, now, &trouble, luck);
            }
        }
        let outcome = self.failed(slot, registration, need, trouble);
        if registration.is_former() {
            // The answer is to a question that would be another one now.
            lock(&registration.brake).reconsidered();
            slot.entry().life.reconsidered();
        }
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
        let (now, luck) = (self.now(), self.inner.world.luck());
        if entry.life.failed(now, &trouble, luck) {
            let (state, reason) = (entry.life.state, &trouble.reason);
            warn!(account = %slot.account.address, %state, reason, remedy = trouble.remedy, "no new token");
            let recent = &self.inner.recent;
            recent.state(&slot.account.address, state, reason, &trouble.remedy);
        }
        self.inner.changed.notify_one();
        entry.fall_back(need, &brake, &slot.account)
    }

    /// Asks the provider. A lost answer is asked for once more, with the same refresh token: some providers allow for that, and the
    /// others had ended the token already. Where one was lost before, there is more than a mishap, and the back-off does that.
    async fn ask(&self, slot: &Slot, oauth: &OAuth) -> Result<(Answer, Timestamp), OAuthError> {
        let (sent, is_first) = (self.now(), !slot.entry().is_ambiguous);
        match ask_once(slot, oauth).await {
            Err(error) if error.is_lost() && is_first => {
                let sent = self.now();
                Ok((ask_once(slot, oauth).await?, sent))
            }
            outcome => Ok((outcome?, sent)),
        }
    }
}

async fn ask_once(slot: &Slot, oauth: &OAuth) -> Result<Answer, OAuthError> {
    let grant = slot.entry().grant.clone();
    let refresh_token = grant.as_ref().and_then(|grant| grant.refresh_token());
    let outcome = match refresh_token {
        _ if slot.account.provider.flow.is_unattended() => oauth.unattended(&slot.account).await,
        Some(token) => oauth.refresh(token).await,
        None => {
            let answer = ErrorAnswer::plain("invalid_grant", Some("there is no refresh token"));
            Err(OAuthError::Refused(answer))
        }
    };
    if outcome.as_ref().is_err_and(OAuthError::may_have_acted) {
        slot.entry().is_ambiguous = true;
    }
    outcome
}

/// Whether the words that elsewhere speak of the whole registration speak of one mailbox: a service account hears them for each that it
/// may not act for.
fn is_about_one_mailbox(slot: &Slot, error: &OAuthError) -> bool {
    slot.account.provider.flow == Flow::ServiceAccount
        && matches!(error, OAuthError::Refused(answer) if answer.error == "unauthorized_client")
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
