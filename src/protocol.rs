//! The three mail protocols.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A mail protocol, on either side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 3501 and RFC 9051.
    Imap,
    /// RFC 1939.
    Pop3,
    /// RFC 5321, for submission (RFC 6409).
    Smtp,
}

impl Protocol {
    /// Every protocol, in the order in which they are listed to people.
    pub const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Smtp];

    /// The word used in the configuration, in logs and in commands.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Smtp => "smtp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
