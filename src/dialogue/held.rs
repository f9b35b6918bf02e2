//! What a mail program sent behind its login, before it heard the answer.

use crate::protocol::Protocol;

/// Whether the held lines hold another login, which would carry the local password upstream.
///
/// Lines are read until one announces octets that are not lines.
pub(super) fn holds_login(protocol: Protocol, held: &[u8]) -> bool {
    for line in held.split(|b| *b == b'\n') {
        let mut words = line
            .split(|b| b.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        if protocol == Protocol::Imap {
            words.next();
        }
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        if is_login(protocol, &verb) {
            return true;
        }
        if announces_octets(protocol, &verb, line) {
            return false;
        }
    }
    false
}

fn is_login(protocol: Protocol, verb: &[u8]) -> bool {
    match protocol {
        Protocol::Imap => matches!(verb, b"LOGIN" | b"AUTHENTICATE"),
        Protocol::Pop3 => matches!(verb, b"USER" | b"PASS" | b"AUTH" | b"APOP"),
        Protocol::Smtp => verb == b"AUTH",
    }
}

fn announces_octets(protocol: Protocol, verb: &[u8], line: &[u8]) -> bool {
    match protocol {
        Protocol::Imap => line.trim_ascii_end().ends_with(b"}") || verb == b"COMPRESS",
        Protocol::Pop3 => false,
        Protocol::Smtp => matches!(verb, b"BDAT" | b"DATA"),
    }
}
