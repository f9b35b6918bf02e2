//! The first octets of a connection, before anybody has decided what they are. Pure: no sockets, no library.

use std::fmt;

/// The first octet of a TLS record that holds a handshake message (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;
/// A ClientHello among handshake messages (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// The extension that lists versions from TLS 1.3 on (RFC 8446 §4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;

/// A fatal `protocol_version`: none of the client's versions is spoken here (RFC 8446 §6.2).
pub const NO_SUCH_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// A version of TLS, as it stands in a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u16);

impl Version {
    /// What the oldest clients begin with, whatever they speak afterwards (RFC 5246 appendix E.2).
    pub const SSL_2: Self = Self(0x0200);
    /// The oldest version that is spoken here.
    pub const TLS_1_2: Self = Self(0x0303);

    fn is_reserved(self) -> bool {
        // Values that clients put in to keep servers tolerant (RFC 8701).
        self.0 & 0x0f0f == 0x0a0a
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0200 => f.write_str("SSL 2"),
            0x0300 => f.write_str("SSL 3"),
            0x0301 => f.write_str("TLS 1.0"),
            0x0302 => f.write_str("TLS 1.1"),
            0x0303 => f.write_str("TLS 1.2"),
            0x0304 => f.write_str("TLS 1.3"),
            other => write!(f, "TLS {other:#06x}"),
        }
    }
}

/// Whether a connection that begins so is one of TLS. No command of a mail program begins with such an octet.
pub fn is_tls(first: u8) -> bool {
    first == HANDSHAKE || first & 0x80 != 0
}

/// The newest version that a ClientHello offers; `None` if it is not whole, or none.
pub fn newest_version(start: &[u8]) -> Option<Version> {
    if let [length, _, CLIENT_HELLO, ..] = start
        && length & 0x80 != 0
    {
        return Some(Version::SSL_2);
    }
    let mut hello = Reader(start);
    if hello.octets(1)? != [HANDSHAKE] {
        return None;
    }
    hello.octets(2)?; // the record's version says nothing
    let mut hello = Reader(hello.vector(2)?);
    if hello.octets(1)? != [CLIENT_HELLO] {
        return None;
    }
    let mut hello = Reader(hello.vector(3)?);
    let legacy = Version(hello.number(2)? as u16);
    hello.octets(32)?; // random
    hello.vector(1)?; // session
    hello.vector(2)?; // cipher suites
    hello.vector(1)?; // compression
    Some(listed(hello).unwrap_or(legacy))
}

/// The newest version in the extension that lists them.
fn listed(mut hello: Reader<'_>) -> Option<Version> {
    let mut extensions = Reader(hello.vector(2)?);
    loop {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind == usize::from(SUPPORTED_VERSIONS) {
            let versions = Reader(content).vector(1)?.chunks_exact(2);
            return versions
                .map(|pair| Version(u16::from_be_bytes([pair[0], pair[1]])))
                .filter(|version| !version.is_reserved())
                .max();
        }
    }
}

/// Takes parts off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of at most three octets.
    fn number(&mut self, octets: usize) -> Option<usize> {
        let digits = self.octets(octets)?.iter();
        Some(digits.fold(0, |number, digit| number << 8 | usize::from(*digit)))
    }

    /// What stands behind its own length.
    fn vector(&mut self, octets: usize) -> Option<&'a [u8]> {
        let length = self.number(octets)?;
        self.octets(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello with this version and these extensions.
    fn hello(legacy: u16, extensions: &[u8]) -> Vec<u8> {
        let mut body = legacy.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend([0]); // no session
        body.extend([0, 2, 0, 47]); // TLS_RSA_WITH_AES_128_CBC_SHA
        body.extend([1, 0]); // no compression
        if !extensions.is_empty() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        let message = [
            &[CLIENT_HELLO, 0],
            &(body.len() as u16).to_be_bytes()[..],
            &body,
        ]
        .concat();
        [
            &[HANDSHAKE, 3, 1],
            &(message.len() as u16).to_be_bytes()[..],
            &message,
        ]
        .concat()
    }

    #[test]
    fn the_newest_version_is_the_listed_one_or_else_the_old_field() {
        let cases: [(u16, &[u8], &str); 5] = [
            (0x0301, &[], "TLS 1.0"),
            (0x0302, &[0, 23, 0, 0], "TLS 1.1"),
            (0x0303, &[], "TLS 1.2"),
            (0x0303, &[0, 43, 0, 5, 4, 0x03, 0x04, 0x03, 0x03], "TLS 1.3"),
            (0x0303, &[0, 43, 0, 5, 4, 0xba, 0xba, 0x03, 0x01], "TLS 1.0"),
        ];
        for (legacy, extensions, version) in cases {
            let newest = newest_version(&hello(legacy, extensions)).unwrap();
            assert_eq!(newest.to_string(), version);
        }
    }

    #[test]
    fn a_hello_in_the_oldest_form_is_known() {
        let newest = newest_version(&[0x80, 0x2e, 1, 3, 1, 0, 0x15]);
        assert_eq!(newest, Some(Version::SSL_2));
        assert!(is_tls(0x80) && is_tls(0x16) && !is_tls(b'E') && !is_tls(b'\r'));
    }

    #[test]
    fn a_cut_hello_tells_nothing() {
        let whole = hello(0x0301, &[]);
        for length in 0..whole.len() {
            assert_eq!(newest_version(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            newest_version(&octets);
            newest_version(&[&[HANDSHAKE, 3, 1, 0, 100, 1, 0, 0, 96], &octets[..]].concat());
        }
    }
}
