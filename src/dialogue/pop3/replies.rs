//! Every reply that our POP3 server makes up by itself.

use super::super::{Interruption, Profile};
use crate::failure::{Cause, Failure};

/// The capability list: the provider's, and our words about authentication (RFC 2449 §6).
pub(super) fn capabilities(profile: Option<&Profile>) -> String {
    let mut reply = String::from("+OK Capabilities follow.\r\n");
    let provided = profile.into_iter().flat_map(Profile::words);
    for line in provided.chain(["USER", "SASL PLAIN LOGIN", "RESP-CODES", "AUTH-RESP-CODE"]) {
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

/// The last words of a conversation that is ended from outside.
pub(super) fn farewell(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Timeout => "-ERR [SYS/TEMP] Login timeout.\r\n",
        Interruption::Shutdown => "-ERR [SYS/TEMP] mailwicket is shutting down.\r\n",
        Interruption::Limit => {
            "-ERR [IN-USE] Too many connections, try again later. (MW-LIMIT)\r\n"
        }
    }
}

/// The last words to somebody who says much and never logs in.
pub(super) const TOO_MUCH: &str = "-ERR Too much was said without a login.\r\n";
