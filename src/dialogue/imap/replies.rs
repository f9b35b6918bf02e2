//! Every reply that our IMAP server makes up by itself.

use super::super::{Interruption, Privacy, Profile};
use crate::failure::{Cause, Failure};

/// The capability list of greeting and CAPABILITY: the provider's, and our words about authentication and TLS.
pub(super) fn capabilities(profile: Option<&Profile>, privacy: Privacy) -> String {
    let base = "IMAP4rev1";
    let provided: Vec<&str> = profile
        .map(|profile| profile.words().collect())
        .unwrap_or_default();
    let list = match provided.is_empty() {
        true => base.to_owned(),
        false => provided.join(" "),
    };
    let ours = match privacy {
        Privacy::Clear | Privacy::Secured => "SASL-IR AUTH=PLAIN AUTH=LOGIN",
        Privacy::Offered => "SASL-IR STARTTLS AUTH=PLAIN AUTH=LOGIN",
        Privacy::Required => "SASL-IR STARTTLS LOGINDISABLED",
    };
    format!("{list} {ours}")
}

/// The greeting; it holds the list where that is known, because some programs never ask.
pub(super) fn greeting(profile: Option<&Profile>, privacy: Privacy) -> String {
    match profile {
        Some(_) => format!(
            "* OK [CAPABILITY {}] mailwicket ready\r\n",
            capabilities(profile, privacy)
        ),
        None => "* OK mailwicket ready\r\n".to_owned(),
    }
}

/// The answer to a login that failed, by what can be done about it (RFC 5530).
pub(super) fn refusal(tag: &str, failure: &Failure) -> String {
    let cause = failure.cause;
    let response_code = match cause {
        Cause::Password => "AUTHENTICATIONFAILED",
        Cause::Consent | Cause::Token | Cause::Upstream | Cause::Changed => "UNAVAILABLE",
        Cause::Config | Cause::Refused => "CONTACTADMIN",
        Cause::Busy | Cause::Limit => "LIMIT",
    };
    // Most programs show an alert, and only an alert, to the person in front of them.
    let alert = match cause {
        Cause::Consent | Cause::Config | Cause::Refused => format!(
            "* NO [ALERT] mailwicket: {} ({})\r\n",
            cause.words(),
            cause.code()
        ),
        _ => String::new(),
    };
    format!(
        "{alert}{tag} NO [{response_code}] {} ({})\r\n",
        cause.words(),
        cause.code()
    )
}

/// The answer to a login in clear where TLS is required (RFC 5530), behind the tag.
pub(super) const SECURE_FIRST: &str =
    "NO [PRIVACYREQUIRED] Encryption required; switch STARTTLS on in the mail program (MW-TLS)";

/// The last words of a conversation that is ended from outside.
pub(in crate::dialogue) fn farewell(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Timeout => "* BYE Login timeout.\r\n",
        Interruption::Shutdown => "* BYE mailwicket is shutting down.\r\n",
        Interruption::Limit => "* BYE Too many connections, try again later. (MW-LIMIT)\r\n",
        Interruption::Plaintext => {
            "* BYE No connection without TLS is taken from your address. (MW-PLAINTEXT)\r\n"
        }
        Interruption::ExpectedTls => {
            "* BYE This port speaks TLS from the first byte; set the mail program to SSL/TLS. (MW-TLS)\r\n"
        }
    }
}

/// The last words to somebody who says much and never logs in.
pub(super) const TOO_MUCH: &str = "* BYE Too much was said without a login.\r\n";
