//! Why a connection did not reach `relay`, in the words of the person who has to act.
//!
//! Nothing here knows a protocol: each dialogue maps a [`Cause`] to its own reply in one table.

use std::fmt;
use std::time::Duration;

use crate::stage::Stage;

/// What went wrong, sorted by what somebody can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Unknown login or wrong local password; the two are never told apart.
    Password,
    /// Somebody must sign in at the provider: never authorised, or the grant is gone.
    Consent,
    /// The token endpoint or the way to it has trouble; trying again is right.
    Token,
    /// The registration or the configuration must be changed (secret, permission, scope).
    Config,
    /// The provider refused a fresh token.
    Refused,
    /// The provider could not be reached over verified TLS, or did not speak its protocol.
    Upstream,
    /// The provider has too many connections or logins of this account.
    Busy,
    /// The provider no longer offers what this session had announced.
    Changed,
    /// One of our own limits is reached.
    Limit,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Password,
        Self::Consent,
        Self::Token,
        Self::Config,
        Self::Refused,
        Self::Upstream,
        Self::Busy,
        Self::Changed,
        Self::Limit,
    ];

    /// The stable short code that stands in replies and in the troubleshooting page.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Password => "MW-PASSWORD",
            Self::Consent => "MW-CONSENT",
            Self::Token => "MW-TOKEN",
            Self::Config => "MW-CONFIG",
            Self::Refused => "MW-REFUSED",
            Self::Upstream => "MW-UPSTREAM",
            Self::Busy => "MW-BUSY",
            Self::Changed => "MW-CHANGED",
            Self::Limit => "MW-LIMIT",
        }
    }

    /// What a person at the mail program reads. It names no host, account or reason that a stranger could use.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Password => "Authentication failed.",
            Self::Consent => "Sign-in needed; run: mailwicket authorize ACCOUNT",
            Self::Token => "Sign-in service unreachable, try again later.",
            Self::Config => "Configuration must be mended; run: mailwicket doctor ACCOUNT",
            Self::Refused => "Mail server refused the sign-in; run: mailwicket doctor ACCOUNT",
            Self::Upstream => "Mail server unreachable, try again later.",
            Self::Busy => "Mail server has too many sessions of this account, try again later.",
            Self::Changed => "Mail server changed its features, connect again.",
            Self::Limit => "Too many connections, try again later.",
        }
    }
}

/// A [`Cause`] with the stage where it showed and the detail for the log, `status` and `doctor`.
///
/// `detail` never holds a secret and never goes to the mail program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where on the path it happened.
    pub stage: Stage,
    /// What kind of failure it is.
    pub cause: Cause,
    /// What exactly happened and what to do next, for the administrator.
    pub detail: String,
    /// What the log says in place of the cause's code, where the mail program must not know.
    log_code: Option<&'static str>,
    /// What to do next once more, where it is known apart from what happened.
    pub remedy: Option<String>,
    /// For how long the provider wants no other login of this account.
    pub pause: Option<Duration>,
}

impl Failure {
    /// A failure at `stage`.
    pub fn new(stage: Stage, cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            stage,
            cause,
            detail: detail.into(),
            log_code: None,
            remedy: None,
            pause: None,
        }
    }

    /// The same for the mail program, and under another code in the log.
    pub fn logged_as(mut self, code: &'static str) -> Self {
        self.log_code = Some(code);
        self
    }

    /// The short code for the log.
    pub fn log_code(&self) -> &'static str {
        self.log_code.unwrap_or(self.cause.code())
    }

    /// The same, knowing which end of `detail` says what to do next.
    pub fn remedied(mut self, remedy: Option<&str>) -> Self {
        self.remedy = remedy
            .filter(|remedy| !remedy.is_empty())
            .map(str::to_owned);
        self
    }

    /// The same, from a provider that wants to be left alone for so long.
    pub fn pausing(mut self, pause: Option<Duration>) -> Self {
        self.pause = pause;
        self
    }

    /// `detail` without the remedy.
    pub fn happened(&self) -> &str {
        let Some(remedy) = &self.remedy else {
            return &self.detail;
        };
        let sentence = || self.detail.strip_suffix(remedy)?.strip_suffix(". ");
        let in_brackets = || {
            let rest = self.detail.strip_suffix(')')?.strip_suffix(remedy)?;
            rest.strip_suffix(" (")
        };
        sentence().or_else(in_brackets).unwrap_or(&self.detail)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.cause.code(), self.stage, self.detail)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_apart_from_what_to_do() {
        let failure = |detail: &str| {
            Failure::new(Stage::Token, Cause::Config, detail).remedied(Some("Mend it (soon)"))
        };
        assert_eq!(failure("no. (Mend it (soon))").happened(), "no.");
        assert_eq!(failure("no. Mend it (soon)").happened(), "no");
        assert_eq!(failure("something else").happened(), "something else");
        let plain = Failure::new(Stage::Token, Cause::Config, "no (yet)").remedied(Some(""));
        assert_eq!((plain.happened(), &plain.remedy), ("no (yet)", &None));
    }
}
