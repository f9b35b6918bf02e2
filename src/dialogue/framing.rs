//! Bytes to lines, before any grammar; every buffer is bounded.

use std::fmt;

use zeroize::Zeroizing;

use super::Outgoing;
use crate::accept::proxy;

/// What has come from a peer and was not yet used. The whole capacity is reserved at once, so growth never leaves a copy of a
/// password behind.
pub(super) struct Input {
    bytes: Zeroizing<Vec<u8>>,
    /// How many octets have come.
    received: usize,
    /// How many of the first ones are those of [`proxy::V2`]. Its line ends make lines of it that are used up one by one.
    signature: usize,
}

/// The next line of an [`Input`].
pub(super) enum Line {
    /// Its end has not come.
    Incomplete,
    /// More octets than allowed without an end.
    TooLong,
    /// It holds a NUL, or a CR without LF; it is taken off.
    Broken,
    /// The line without its end, taken off.
    Whole(Zeroizing<Vec<u8>>),
}

impl Input {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(capacity)),
            received: 0,
            signature: 0,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    pub(super) fn receive(&mut self, input: &[u8]) {
        debug_assert!(input.len() <= self.room());
        if self.signature == self.received {
            let expected = proxy::V2[self.signature..].iter();
            self.signature += input
                .iter()
                .zip(expected)
                .take_while(|(is, be)| is == be)
                .count();
        }
        self.received += input.len();
        self.bytes.extend_from_slice(input);
    }

    /// Octets that were taken off so far; unlike what has come, it does not depend on how that was cut.
    pub(super) fn used(&self) -> usize {
        self.received - self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the peer is no mail program, by the first octets of a message and of the conversation.
    pub(super) fn intruder(&self) -> Option<super::Ending> {
        // Two empty lines, and a NUL at the start of the third.
        let is_at_nul = self.bytes.first() == Some(&0) && self.received - self.bytes.len() == 4;
        if is_at_nul && self.signature > 4 {
            return Some(super::Ending::ProxyHeader);
        }
        intruder(&self.bytes)
    }

    /// Takes the first `count` octets off.
    pub(super) fn take(&mut self, count: usize) -> Zeroizing<Vec<u8>> {
        let taken = Zeroizing::new(self.bytes[..count].to_vec());
        self.bytes.copy_within(count.., 0);
        let rest = self.bytes.len() - count;
        self.bytes.truncate(rest);
        taken
    }

    /// Takes everything off.
    pub(super) fn take_all(&mut self) -> Outgoing {
        Outgoing(self.take(self.bytes.len()))
    }

    /// The next line without its end, if it is whole and sound; it is not taken off.
    pub(super) fn whole_line(&self, limit: usize) -> Option<&[u8]> {
        let end = memchr::memchr(b'\n', &self.bytes)?;
        let line = without_cr(&self.bytes[..end]);
        (line.len() <= limit && !is_broken(line)).then_some(line)
    }

    /// Takes a line of at most `limit` octets off. CRLF ends a line; a bare LF does so too, because some old clients send it.
    pub(super) fn line(&mut self, limit: usize) -> Line {
        let Some(end) = memchr::memchr(b'\n', &self.bytes) else {
            return match self.bytes.len() > limit + 1 {
                true => Line::TooLong,
                false => Line::Incomplete,
            };
        };
        let length = without_cr(&self.bytes[..end]).len();
        if length > limit {
            return Line::TooLong;
        }
        let mut line = self.take(end + 1);
        line.truncate(length);
        match is_broken(&line) {
            true => Line::Broken,
            false => Line::Whole(line),
        }
    }
}

/// A line without the CR before its LF.
pub(super) fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line, without its end, holds what no line may.
pub(super) fn is_broken(line: &[u8]) -> bool {
    memchr::memchr2(0, b'\r', line).is_some()
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.bytes.len())
    }
}

/// Whether the first octets of a conversation show that the peer is no mail program: browsers can be made to send requests
/// with mail commands in their body, so they are cut off at their first line.
fn intruder(start: &[u8]) -> Option<super::Ending> {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"OPTIONS ",
        b"CONNECT ",
        b"TRACE ",
        b"DELETE ",
        b"PATCH ",
        b"PRI ",
    ];
    const HEADERS: [&[u8]; 5] = [
        b"host:",
        b"content-",
        b"user-agent:",
        b"origin:",
        b"referer:",
    ];
    let begins =
        |word: &&[u8]| start.len() >= word.len() && start[..word.len()].eq_ignore_ascii_case(word);
    if start.first() == Some(&0x16) {
        Some(super::Ending::Tls)
    } else if METHODS.iter().any(begins) || HEADERS.iter().any(begins) {
        Some(super::Ending::Http)
    } else if start.starts_with(proxy::V1) {
        Some(super::Ending::ProxyHeader)
    } else {
        None
    }
}
