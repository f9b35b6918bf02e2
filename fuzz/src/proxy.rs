//! Headers of the PROXY protocol, and everything that is none.
//!
//! What the octets are is decided at one length and never again: before it a header is incomplete, behind it nothing counts, and nobody
//! is asked for octets behind a header's end. Both versions are read here once more, from the specification, with indices.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mailwicket::accept::proxy::{self, Found, Header, HeaderError};

/// Octets of the longest header that is taken.
const LONGEST: usize = 16 + 4096;

/// Any octets, as the first of a connection.
pub fn run(data: &[u8]) {
    let found = proxy::find(data);
    match found {
        Found::Whole(header, length) => {
            assert_eq!(read(data), Some((header, length)));
            is_canonical(header);
        }
        Found::Part(_) => {
            assert!(data.len() < LONGEST, "a bound that is none");
            assert_eq!(read(data), None);
        }
        Found::Nothing => assert_eq!(read(data), None),
    }
    is_decided_once(data, found);
    arrives(data, found);
}

/// A mapped address is the IPv4 address, or the rules for sources would miss it.
fn is_canonical(header: Header) {
    if let Header::For(address) = header {
        assert_eq!(address.ip(), address.ip().to_canonical());
    }
}

/// Over all beginnings: incomplete, and then one verdict for ever.
fn is_decided_once(data: &[u8], found: Found) {
    let mut verdict = None;
    for length in 0..data.len().min(LONGEST + 16) {
        match (proxy::find(&data[..length]), verdict) {
            (Found::Part(missing), None) => {
                assert!(missing > 0, "more is needed, and nothing is missing");
                if let Found::Whole(_, whole) = found {
                    assert!(length + missing <= whole, "read beyond the header");
                }
            }
            (other, None) => verdict = Some(other),
            (other, Some(verdict)) => assert_eq!(other, verdict, "it depends on what follows"),
        }
        if let (Found::Whole(_, whole), Some(_)) = (found, verdict) {
            assert!(length >= whole, "whole before its end");
        }
    }
    if let Some(verdict) = verdict {
        assert_eq!(found, verdict, "it depends on what follows");
    }
    if !matches!(found, Found::Part(_)) {
        assert_eq!(proxy::find(&[data, b"\r\n\r\n"].concat()), found);
    }
}

/// From a connection the header is read, and not one octet behind it.
fn arrives(data: &[u8], found: Found) {
    let mut stream = data;
    let outcome = {
        let reading = pin!(proxy::read(&mut stream));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("everything is there"),
        }
    };
    match (found, outcome) {
        (Found::Whole(header, length), Ok(same)) => {
            assert_eq!(header, same);
            assert_eq!(stream, &data[length..]);
        }
        (Found::Part(_), Err(HeaderError::Silent)) => assert!(data.is_empty()),
        (Found::Part(_), Err(HeaderError::Broken(_))) => assert!(!data.is_empty()),
        (Found::Nothing, Err(HeaderError::Other)) => {}
        (found, outcome) => panic!("{found:?} was read as {outcome:?}"),
    }
}

// ---- the same once more

fn read(data: &[u8]) -> Option<(Header, usize)> {
    version_1(data).or_else(|| version_2(data))
}

/// §2.1: a line of at most 107 octets.
fn version_1(data: &[u8]) -> Option<(Header, usize)> {
    let end = data.iter().position(|b| *b == b'\r')?;
    if end + 2 > 107 || data.get(end + 1) != Some(&b'\n') || data[..end].contains(&b'\n') {
        return None;
    }
    let line = std::str::from_utf8(&data[..end]).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    if words.first() != Some(&"PROXY") {
        return None;
    }
    let header = match words.get(1).copied() {
        Some("UNKNOWN") => Header::Unknown,
        Some(family @ ("TCP4" | "TCP6")) if words.len() == 6 => {
            let address = |word: &str| match family {
                "TCP4" => word.parse().map(IpAddr::V4).ok(),
                _ => word.parse().map(IpAddr::V6).ok(),
            };
            let port = |word: &str| match word.bytes().all(|b| b.is_ascii_digit()) {
                true => word.parse().ok(),
                false => None,
            };
            address(words[3])?;
            port(words[5])?;
            from(address(words[2])?, port(words[4])?)
        }
        _ => return None,
    };
    Some((header, end + 2))
}

/// §2.2: a signature, four octets, and as many as they say.
fn version_2(data: &[u8]) -> Option<(Header, usize)> {
    let rest = data.strip_prefix(b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a")?;
    let length = usize::from(*rest.get(2)?) * 256 + usize::from(*rest.get(3)?);
    let body = rest.get(4..4 + length)?;
    if length > 4096 {
        return None;
    }
    let port = |at: usize| Some(u16::from(*body.get(at)?) * 256 + u16::from(*body.get(at + 1)?));
    let header = match (rest[0], rest[1]) {
        (0x20, _) => Header::Local,
        (0x21, 0x11) if length >= 12 => {
            let octets: [u8; 4] = body[..4].try_into().ok()?;
            from(Ipv4Addr::from(octets).into(), port(8)?)
        }
        (0x21, 0x21) if length >= 36 => {
            let octets: [u8; 16] = body[..16].try_into().ok()?;
            from(Ipv6Addr::from(octets).into(), port(32)?)
        }
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Header::Unknown,
        _ => return None,
    };
    Some((header, 16 + length))
}

fn from(address: IpAddr, port: u16) -> Header {
    let address = match address {
        IpAddr::V6(mapped) => mapped.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    Header::For(SocketAddr::new(address, port))
}
