//! How an account stands, for `status`, the console and notifications.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::grant::Grant;
use super::life::{Life, State};
use crate::failure::Failure;

/// How an account stands. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountStatus {
    /// The state.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why it is not `ok`.
    pub reason: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When the access token was got.
    pub refreshed_at: Option<Timestamp>,
    /// When the sign-in itself ends, where the provider says so.
    pub sign_in_expires_at: Option<Timestamp>,
    /// Whether renewals leave that end where it is.
    #[serde(skip)]
    pub sign_in_end_stays: bool,
    /// When the provider will be asked again after a failure.
    pub next_try: Option<Timestamp>,
    /// Who signed in, where the provider says so.
    pub signed_in_as: Option<String>,
}

impl AccountStatus {
    /// From what is known `now`; `trouble` is why the vault could not be read.
    pub(super) fn new(
        life: &Life,
        grant: Option<&Grant>,
        trouble: Option<Failure>,
        now: Timestamp,
    ) -> Self {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let span = grant.and_then(Grant::span);
        let status = Self {
            state: life.state,
            since: life.since,
            reason: known(&life.reason),
            remedy: known(&life.remedy),
            expires_at: span.map(|span| span.until),
            refreshed_at: span.map(|span| span.from),
            sign_in_expires_at: grant.and_then(Grant::refresh_expires_at),
            sign_in_end_stays: grant.is_some_and(Grant::refresh_end_stays),
            next_try: life.next_try(now),
            signed_in_as: grant.and_then(Grant::signed_in_as).map(str::to_owned),
        };
        match trouble {
            None => status,
            Some(failure) => Self {
                state: State::ConfigError,
                reason: Some(failure.detail),
                remedy: None,
                ..status
            },
        }
    }
}
