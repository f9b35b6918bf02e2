//! The eight words that everything about a connection is told in.

use std::fmt;

/// One step of the path from a mail program to its provider, in order.
///
/// The same words name modules, tracing spans, time-out keys and the headings of the troubleshooting page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Binding, limits, one task per connection.
    Accept,
    /// TLS towards the mail program.
    Tls,
    /// Our small server of the protocol, until credentials are in hand.
    Dialogue,
    /// The check of the local password.
    Password,
    /// An access token for the verified account.
    Token,
    /// The verified TLS connection to the provider.
    Dial,
    /// Our small client of the protocol, until the provider says yes.
    Login,
    /// Raw bytes, both ways.
    Relay,
}

impl Stage {
    /// The word, as it stands in logs and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Tls => "tls",
            Self::Dialogue => "dialogue",
            Self::Password => "password",
            Self::Token => "token",
            Self::Dial => "dial",
            Self::Login => "login",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
