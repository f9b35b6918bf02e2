//! Every reply that our SMTP server makes up by itself.

use super::super::{Interruption, Profile};
use crate::failure::{Cause, Failure};

/// The answer to EHLO: the provider's keywords, and ours about authentication, the last line with a space behind the code.
pub(super) fn ehlo(profile: &Profile) -> String {
    let mut reply = String::from("250-localhost\r\n");
    for line in profile.words() {
        reply.push_str(&format!("250-{line}\r\n"));
    }
    reply.push_str("250 AUTH PLAIN LOGIN\r\n");
    reply
}

/// The answer to a login that failed, by what can be done about it (RFC 4954 §6). What is not the mail program's fault is
/// temporary, so that a relaying server keeps the mail.
pub(super) fn refusal(failure: &Failure) -> String {
    let cause = failure.cause;
    let status = match cause {
        Cause::Password => "535 5.7.8",
        Cause::Consent
        | Cause::Token
        | Cause::Config
        | Cause::Refused
        | Cause::Upstream
        | Cause::Busy => "454 4.7.0",
        Cause::Changed => "421 4.3.0",
        Cause::Limit => "421 4.7.0",
    };
    format!("{status} {} ({})\r\n", cause.words(), cause.code())
}

/// The answer to EHLO when the provider cannot be asked; no keyword is ever guessed.
pub(super) fn no_profile(failure: &Failure) -> String {
    format!(
        "421 4.3.0 {} ({})\r\n",
        failure.cause.words(),
        failure.cause.code()
    )
}

/// The answer to a command that needs a login.
pub(super) const LOG_IN_FIRST: &str =
    "530 5.7.0 Authentication required; switch it on in the mail program (MW-NOAUTH)\r\n";

/// The last words of a conversation that is ended from outside.
pub(super) fn farewell(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Timeout => "421 4.4.2 Login timeout.\r\n",
        Interruption::Shutdown => "421 4.3.2 mailwicket is shutting down.\r\n",
        Interruption::Limit => "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
    }
}

/// The last words to somebody who says much and never logs in.
pub(super) const TOO_MUCH: &str = "421 4.7.0 Too much was said without a login.\r\n";
