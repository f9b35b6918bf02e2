//! Every reply that our SMTP server makes up by itself.

use super::super::{Interruption, Privacy, Profile};
use crate::failure::{Cause, Failure};

/// The answer to EHLO: the provider's keywords, and ours about authentication and TLS, the last line with a space behind the code.
pub(super) fn ehlo(profile: &Profile, privacy: Privacy) -> String {
    let tls = privacy.offers_tls().then_some("STARTTLS");
    let login = privacy.allows_login().then_some("AUTH PLAIN LOGIN");
    let mut lines = vec!["localhost"];
    lines.extend(profile.words());
    lines.extend([tls, login].into_iter().flatten());
    let last = lines.len() - 1;
    let line = |(at, line): (usize, &&str)| match at == last {
        true => format!("250 {line}\r\n"),
        false => format!("250-{line}\r\n"),
    };
    lines.iter().enumerate().map(line).collect()
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

/// The answer to MAIL from somebody who need not log in, where no session with the provider came of it. 454 is for AUTH alone
/// (RFC 4954 §6); 451 says as much here.
pub(super) fn refused_mail(failure: &Failure) -> String {
    match failure.cause {
        Cause::Password => LOG_IN_FIRST.to_owned(), // who may send without it is looked up before; this is for good measure
        _ => refusal(failure).replacen("454", "451", 1),
    }
}

/// The answer to a command that must come behind MAIL, from somebody who need not log in.
pub(super) const MAIL_FIRST: &str = "503 5.5.1 Send MAIL first.\r\n";

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

/// The answer to AUTH in clear where TLS is required. (RFC 4954 §4 has 538 for one mechanism; here it is for all of them, and every
/// program knows what it means.)
pub(super) const SECURE_LOGIN_FIRST: &str =
    "538 5.7.11 Encryption required; switch STARTTLS on in the mail program (MW-TLS)\r\n";

/// The answer to mail commands in clear where TLS is required (RFC 3207 §4).
pub(super) const SECURE_FIRST: &str = "530 5.7.0 Must issue a STARTTLS command first (MW-TLS)\r\n";

/// The last words of a conversation that is ended from outside.
pub(in crate::dialogue) fn farewell(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Timeout => "421 4.4.2 Login timeout.\r\n",
        Interruption::Shutdown => "421 4.3.2 mailwicket is shutting down.\r\n",
        Interruption::Limit => "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
        Interruption::Plaintext => {
            "421 4.7.0 No connection without TLS is taken from your address. (MW-PLAINTEXT)\r\n"
        }
        Interruption::ExpectedTls => {
            "421 4.7.0 This port speaks TLS from the first byte; set the mail program to SSL/TLS. (MW-TLS)\r\n"
        }
    }
}

/// The last words to somebody who says much and never logs in.
pub(super) const TOO_MUCH: &str = "421 4.7.0 Too much was said without a login.\r\n";
