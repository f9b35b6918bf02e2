//! Every reply that our POP3 server makes up by itself.

use super::super::{Interruption, Privacy, Profile};
use crate::failure::{Cause, Failure};

/// The capability list: the provider's, and our words about authentication and TLS (RFC 2449 §6, RFC 2595 §4).
pub(super) fn capabilities(profile: Option<&Profile>, privacy: Privacy) -> String {
    let mut reply = String::from("+OK Capabilities follow.\r\n");
    let provided = profile.into_iter().flat_map(Profile::words);
    let login: &[&str] = match privacy.allows_login() {
        true => &["USER", "SASL PLAIN LOGIN"],
        false => &[],
    };
    let tls = privacy.offers_tls().then_some("STLS");
    let ours = login.iter().copied().chain(tls);
    for line in provided.chain(ours).chain(["RESP-CODES", "AUTH-RESP-CODE"]) {
        reply.push_str(line);
        reply.push_str("\r\n");
    }
    reply.push_str(".\r\n");
    reply
}

/// The answer to a login that failed, by what can be done about it (RFC 2449 §8.1, RFC 3206).
pub(super) fn refusal(failure: &Failure) -> String {
    let cause = failure.cause;
    let response_code = match cause {
        Cause::Password => "AUTH",
        Cause::Consent | Cause::Token | Cause::Upstream | Cause::Changed => "SYS/TEMP",
        Cause::Config | Cause::Refused => "SYS/PERM",
        Cause::Busy | Cause::Limit => "IN-USE",
    };
    format!(
        "-ERR [{response_code}] {} ({})\r\n",
        cause.words(),
        cause.code()
    )
}

/// The answer to a login in clear where TLS is required.
pub(super) const SECURE_FIRST: &str =
    "Encryption required; switch STLS (STARTTLS) on in the mail program (MW-TLS)";

/// The last words of a conversation that is ended from outside.
pub(in crate::dialogue) fn farewell(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Timeout => "-ERR [SYS/TEMP] Login timeout.\r\n",
        Interruption::Shutdown => "-ERR [SYS/TEMP] mailwicket is shutting down.\r\n",
        Interruption::Limit => {
            "-ERR [IN-USE] Too many connections, try again later. (MW-LIMIT)\r\n"
        }
        Interruption::Plaintext => {
            "-ERR [SYS/PERM] No connection without TLS is taken from your address. (MW-PLAINTEXT)\r\n"
        }
        Interruption::ExpectedTls => {
            "-ERR [SYS/PERM] This port speaks TLS from the first byte; set the mail program to SSL/TLS. (MW-TLS)\r\n"
        }
    }
}

/// The last words to somebody who says much and never logs in.
pub(super) const TOO_MUCH: &str = "-ERR Too much was said without a login.\r\n";
