//! What a provider granted for an account, as the vault keeps it.
//!
//! A grant is bound to the registration that it was made with: its tokens are never sent to another client's or server's endpoint.

use std::fmt;
use std::io::Write;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::AccessToken;
use super::life::{Life, Span, State};
use crate::config::Provider;
use crate::oauth::response::Answer;

/// The format that this release writes and the highest that it reads.
const VERSION: u32 = 1;
/// Room for everything but the tokens; more is possible, but would leave copies of the tokens behind when the buffer grows.
const ROOM: usize = 16 * 1024;

/// The record of an account's tokens. `Debug` shows none of them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Grant {
    version: u32,
    client_id: String,
    authority: String,
    #[serde(default, with = "secret")]
    refresh_token: Option<SecretString>,
    /// The one before, for a person who has to put things right by hand; never sent by itself, since strict providers end
    /// a whole family of tokens when an old one comes back.
    #[serde(default, with = "secret")]
    previous_refresh_token: Option<SecretString>,
    #[serde(default, with = "token")]
    access_token: Option<AccessToken>,
    requested_at: Timestamp,
    expires_at: Timestamp,
    refresh_expires_at: Option<Timestamp>,
    /// Whether a renewal has shown that it leaves that end where it is.
    #[serde(default)]
    refresh_end_stays: bool,
    scope: Option<String>,
    signed_in_as: Option<String>,
    state: State,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    remedy: String,
    since: Timestamp,
}

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A later release wrote it.
    #[error("the stored grant was written by a later release of mailwicket; use that one")]
    Later,
    /// It opened, but is not a grant.
    #[error("the stored grant cannot be read; authorize the account again")]
    Unreadable,
}

impl Grant {
    /// A first grant, from an answer to a request that was sent at `requested_at`.
    pub fn new(provider: &Provider, answer: &Answer, requested_at: Timestamp) -> Self {
        let span = Span::new(requested_at, answer.life(requested_at));
        Self {
            version: VERSION,
            client_id: provider.client_id.clone(),
            authority: authority(provider),
            refresh_token: answer.refresh_token.clone(),
            previous_refresh_token: None,
            access_token: Some(answer.access_token.clone()),
            requested_at,
            expires_at: span.until,
            refresh_expires_at: refresh_end(answer, requested_at),
            refresh_end_stays: false,
            scope: answer.scopes.as_ref().map(|scopes| scopes.join(" ")),
            signed_in_as: None,
            state: State::Ok,
            reason: String::new(),
            remedy: String::new(),
            since: requested_at,
        }
    }

    /// This grant after a renewal. An answer without a refresh token leaves the one that was used in force (RFC 6749 §6).
    pub fn renewed(&self, answer: &Answer, requested_at: Timestamp) -> Self {
        let renewed = Self {
            access_token: Some(answer.access_token.clone()),
            requested_at,
            expires_at: Span::new(requested_at, answer.life(requested_at)).until,
            refresh_expires_at: refresh_end(answer, requested_at).or(self.refresh_expires_at),
            refresh_end_stays: self.end_stays(answer, requested_at),
            scope: answer
                .scopes
                .as_ref()
                .map(|scopes| scopes.join(" "))
                .or_else(|| self.scope.clone()),
            ..self.clone()
        };
        match &answer.refresh_token {
            Some(token) => renewed.with_refresh_token(token.clone()),
            None => renewed,
        }
    }

    /// Whether the end of the refresh token stays where it is. A provider that pushes it ahead with each renewal does so by the time
    /// between the two; one that does not may seem to move it by the seconds that an answer takes.
    fn end_stays(&self, answer: &Answer, requested_at: Timestamp) -> bool {
        let passed = requested_at.duration_since(self.requested_at);
        let same_token = |token| self.has_refresh_token(token);
        match (self.refresh_expires_at, refresh_end(answer, requested_at)) {
            (Some(former), Some(end)) if passed.is_positive() => {
                end.duration_since(former) < passed - passed / 4
            }
            // The same token is in force, with the end that it was given.
            (Some(_), None) if answer.refresh_token.as_ref().is_none_or(same_token) => true,
            _ => self.refresh_end_stays,
        }
    }

    /// This grant with a successor of its refresh token; the old one is kept for one generation.
    pub fn with_refresh_token(mut self, token: SecretString) -> Self {
        if !self.has_refresh_token(&token) {
            self.previous_refresh_token = self.refresh_token.replace(token);
        }
        self
    }

    /// This grant as a successor of `former`, whose refresh token is kept for one generation.
    pub fn succeeding(mut self, former: &Grant) -> Self {
        self.previous_refresh_token
            .clone_from(&former.refresh_token);
        self
    }

    /// Whether its refresh token was given for the one that `record` still has.
    pub fn succeeds(&self, record: &Grant) -> bool {
        let former = self.previous_refresh_token.as_ref();
        former.is_some_and(|former| record.has_refresh_token(former))
    }

    /// This grant with the name of who signed in.
    pub fn signed_in(mut self, name: Option<String>) -> Self {
        self.signed_in_as = name;
        self
    }

    /// This grant in the state of `life`.
    pub fn in_state(mut self, life: &Life) -> Self {
        self.state = life.state;
        self.reason.clone_from(&life.reason);
        self.remedy.clone_from(&life.remedy);
        self.since = life.since;
        self
    }

    /// The life that this grant is taken up with.
    pub fn life(&self) -> Life {
        let mut life = Life::new(self.state, self.since);
        life.reason.clone_from(&self.reason);
        life.remedy.clone_from(&self.remedy);
        life
    }

    /// Whether it was made with the registration that `provider` is now.
    pub fn belongs_to(&self, provider: &Provider) -> bool {
        self.client_id == provider.client_id && self.authority == authority(provider)
    }

    /// The registration it was made with, for messages.
    pub fn made_with(&self) -> String {
        format!("client id {} at {}", self.client_id, self.authority)
    }

    /// The refresh token.
    pub fn refresh_token(&self) -> Option<&SecretString> {
        self.refresh_token.as_ref()
    }

    /// The refresh token before that one.
    pub fn previous_refresh_token(&self) -> Option<&SecretString> {
        self.previous_refresh_token.as_ref()
    }

    /// Whether its refresh token is this one.
    pub fn has_refresh_token(&self, token: &SecretString) -> bool {
        let same = |own: &SecretString| own.expose_secret() == token.expose_secret();
        self.refresh_token.as_ref().is_some_and(same)
    }

    /// The access token.
    pub fn access_token(&self) -> Option<&AccessToken> {
        self.access_token.as_ref()
    }

    /// The life of the access token.
    pub fn span(&self) -> Option<Span> {
        let span = Span {
            from: self.requested_at,
            until: self.expires_at,
        };
        self.access_token.as_ref().map(|_| span)
    }

    /// When the refresh token ends, where the provider says so.
    pub fn refresh_expires_at(&self) -> Option<Timestamp> {
        self.refresh_expires_at
    }

    /// Whether renewals leave that end where it is, so that somebody must sign in again before it.
    pub fn refresh_end_stays(&self) -> bool {
        self.refresh_end_stays
    }

    /// Who signed in, where the provider says so.
    pub fn signed_in_as(&self) -> Option<&str> {
        self.signed_in_as.as_deref()
    }

    /// The scopes that were granted, where the provider says so.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Reads a record of the vault.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GrantError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        // The parser's own message is dropped: it might quote a token.
        let head: Head = serde_json::from_slice(bytes).map_err(|_| GrantError::Unreadable)?;
        if head.version > VERSION {
            return Err(GrantError::Later);
        }
        serde_json::from_slice(bytes).map_err(|_| GrantError::Unreadable)
    }

    /// The record for the vault.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let tokens = [&self.refresh_token, &self.previous_refresh_token];
        let secrets: usize = tokens
            .into_iter()
            .flatten()
            .map(|token| token.expose_secret().len() * 2)
            .sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            ROOM + 2 * AccessToken::MAX_LEN + secrets,
        ));
        // Writing strings and numbers into memory cannot fail, and no map with other keys than strings is in it.
        serde_json::to_writer(bytes.by_ref(), self).expect("a grant is plain JSON");
        bytes
    }
}

fn refresh_end(answer: &Answer, requested_at: Timestamp) -> Option<Timestamp> {
    answer
        .refresh_expires_in
        .map(|life| Span::new(requested_at, Some(life)).until)
}

/// What tokens that `provider` grants are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bond {
    client_id: String,
    authority: String,
    is_for_the_application: bool,
}

impl Bond {
    pub(super) fn of(provider: &Provider) -> Self {
        Self {
            client_id: provider.client_id.clone(),
            authority: authority(provider),
            is_for_the_application: provider.flow.is_unattended(),
        }
    }
}

/// What the tokens are bound to besides the client id: the token endpoint, or the issuer that names it.
fn authority(provider: &Provider) -> String {
    match (&provider.token_url, &provider.issuer) {
        (Some(url), _) => url.to_string(),
        (None, issuer) => issuer.clone().unwrap_or_default(),
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("client_id", &self.client_id)
            .field("authority", &self.authority)
            .field("has_refresh_token", &self.refresh_token.is_some())
            .field("access_token", &self.access_token)
            .field("expires_at", &self.expires_at)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

mod secret {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        secret: &Option<SecretString>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        secret
            .as_ref()
            .map(|secret| secret.expose_secret())
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
    }
}

mod token {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        token: &Option<AccessToken>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        token.as_ref().map(AccessToken::expose).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<AccessToken>, D::Error> {
        Ok(secret::deserialize(from)?.and_then(AccessToken::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::provider;
    use std::time::Duration;

    fn answer(refresh_token: Option<&str>) -> Answer {
        Answer {
            access_token: AccessToken::new("s3cretA".to_owned().into()).expect("a token"),
            expires_in: Some(Duration::from_secs(60)),
            refresh_token: refresh_token.map(|token| token.to_owned().into()),
            refresh_expires_in: None,
            scopes: Some(vec!["mail".into()]),
            id_token: None,
        }
    }

    fn registration() -> Provider {
        provider(&"https://id.example/token".parse().expect("url"))
    }

    fn granted() -> Grant {
        Grant::new(
            &registration(),
            &answer(Some("s3cretR")),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn what_is_written_is_read_again() {
        let grant = granted().signed_in(Some("alice@example.com".into()));
        let read = Grant::from_bytes(&grant.to_bytes()).expect("readable");
        assert_eq!(read.to_bytes(), grant.to_bytes());
        assert!(read.has_refresh_token(&"s3cretR".to_owned().into()));
        assert_eq!(read.signed_in_as(), Some("alice@example.com"));
    }

    #[test]
    fn a_rotated_refresh_token_is_kept_for_one_generation() {
        let rotated = granted().renewed(&answer(Some("second")), Timestamp::UNIX_EPOCH);
        assert!(rotated.has_refresh_token(&"second".to_owned().into()));
        assert_eq!(
            rotated
                .previous_refresh_token
                .as_ref()
                .map(|t| t.expose_secret()),
            Some("s3cretR")
        );
    }

    #[test]
    fn an_answer_without_a_refresh_token_keeps_the_one_in_force() {
        for answer in [answer(None), answer(Some("s3cretR"))] {
            let renewed = granted().renewed(&answer, Timestamp::UNIX_EPOCH);
            assert!(renewed.has_refresh_token(&"s3cretR".to_owned().into()));
            assert!(renewed.previous_refresh_token.is_none());
        }
    }

    #[test]
    fn a_grant_of_another_registration_is_not_ours() {
        let grant = granted();
        assert!(grant.belongs_to(&registration()));
        assert!(!grant.belongs_to(&Provider {
            client_id: "other".into(),
            ..registration()
        }));
        let elsewhere = Some("https://evil.example/token".parse().expect("url"));
        assert!(!grant.belongs_to(&Provider {
            token_url: elsewhere,
            ..registration()
        }));
    }

    #[test]
    fn a_later_format_is_told_from_garbage() {
        assert_eq!(
            Grant::from_bytes(br#"{"version":2}"#).unwrap_err(),
            GrantError::Later
        );
        assert_eq!(
            Grant::from_bytes(b"{}").unwrap_err(),
            GrantError::Unreadable
        );
    }

    #[test]
    fn debug_shows_no_token() {
        assert!(!format!("{:?}", granted()).contains("s3cret"));
    }

    #[test]
    fn an_end_that_renewals_push_ahead_does_not_stay() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let ends_in = |seconds| Answer {
            refresh_expires_in: Some(Duration::from_secs(seconds)),
            ..answer(Some("s3cretR2"))
        };
        let first = Grant::new(&registration(), &ends_in(1800), at(0));
        assert!(!first.refresh_end_stays(), "nothing is known yet");
        let pushed = first.renewed(&ends_in(1800), at(30));
        assert!(!pushed.refresh_end_stays());
        let stays = pushed.renewed(&ends_in(1768), at(60));
        assert!(stays.refresh_end_stays(), "moved by two seconds backwards");
        assert!(stays.renewed(&ends_in(1743), at(90)).refresh_end_stays());
        assert!(!stays.renewed(&ends_in(1800), at(90)).refresh_end_stays());
        // Nothing is said of it any more: a token that stays in force keeps its end, of another nothing is known.
        let silent = |token| pushed.renewed(&answer(token), at(60));
        assert!(silent(None).refresh_end_stays());
        assert!(!silent(Some("s3cretR3")).refresh_end_stays());
    }
}
