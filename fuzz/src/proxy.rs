//! Headers of the PROXY protocol, as anybody may send them who can reach the port.
//!
//! What a header says is read here once more, word by word. Of every header that is found, each shorter piece is a part of one that
//! asks for no octet beyond it, so nothing behind a header is ever read with it; and what follows makes no difference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mailwicket::accept::proxy::{Found, Header, find};

/// The beginning of version 2 (§2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of the longest header of version 1, with its end (§2.1).
const LONGEST_LINE: usize = 107;
/// Octets behind the fixed part of version 2 that a proxy of ours may send.
const MOST: usize = 4096;

/// Any octets, as the first that somebody says.
pub fn run(data: &[u8]) {
    let found = find(data);
    match found {
        Found::Whole(header, length) => {
            assert_eq!(expected(data), Some((header, length)));
            assert_eq!(find(&data[..length]), found, "what follows matters");
            (0..length).for_each(|most| is_part(&data[..most], length));
        }
        Found::Part(missing) => {
            assert_eq!(expected(data), None);
            (0..data.len()).for_each(|most| is_part(&data[..most], data.len() + missing));
            for octet in *b"\n 0" {
                let more = [data, &vec![octet; missing.max(1) - 1]].concat();
                let is_whole = matches!(find(&more), Found::Whole(..));
                assert!(!is_whole, "less was missing than it said");
            }
        }
        Found::Nothing => assert_eq!(expected(data), None),
    }
    assert_eq!(read(data), found, "what was asked for bit by bit");
    if !matches!(found, Found::Part(_)) {
        for behind in [&b"\r\n"[..], SIGNATURE, b"\0\xff"] {
            assert_eq!(
                find(&[data, behind].concat()),
                found,
                "what follows matters"
            );
        }
    }
}

/// The beginning of a header of at least `length` octets asks for some of them and for none behind.
fn is_part(beginning: &[u8], length: usize) {
    match find(beginning) {
        Found::Part(missing) => assert!((1..=length - beginning.len()).contains(&missing)),
        other => panic!("{other:?} after {} of {length}", beginning.len()),
    }
}

/// What comes of it if nothing is taken that was not asked for.
fn read(data: &[u8]) -> Found {
    let mut taken = 0;
    loop {
        match find(&data[..taken]) {
            Found::Part(missing) if taken + missing <= data.len() => taken += missing,
            Found::Part(_) => return find(data),
            Found::Whole(header, length) => {
                assert_eq!(length, taken, "octets behind the header were read");
                return Found::Whole(header, length);
            }
            Found::Nothing => return Found::Nothing,
        }
    }
}

/// The header at the beginning, and its length.
fn expected(data: &[u8]) -> Option<(Header, usize)> {
    if data.starts_with(SIGNATURE) {
        let length = usize::from(u16::from_be_bytes([*data.get(14)?, *data.get(15)?]));
        let said = data.get(16..16 + length).filter(|_| length <= MOST)?;
        return Some((binary(data[12], data[13], said)?, 16 + length));
    }
    let end = data.iter().take(LONGEST_LINE).position(|b| *b == b'\n')?;
    let line = std::str::from_utf8(&data[..end]).ok()?.strip_suffix('\r')?;
    let header = text(line).filter(|_| !line.contains('\r'))?;
    Some((header, end + 1))
}

fn text(line: &str) -> Option<Header> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    let is_address = |word: &str| match family {
        "TCP4" => word.parse::<Ipv4Addr>().is_ok(),
        _ => word.parse::<Ipv6Addr>().is_ok(),
    };
    let port = |word: &str| -> Option<u16> {
        let is_number = word.bytes().all(|b| b.is_ascii_digit());
        word.parse().ok().filter(|_| is_number)
    };
    match (family, words.collect::<Vec<_>>().as_slice()) {
        ("UNKNOWN", _) => Some(Header::Unknown),
        ("TCP4" | "TCP6", [source, destination, from, to]) => {
            port(to).filter(|_| is_address(source) && is_address(destination))?;
            let source: IpAddr = source.parse().ok()?;
            Some(of(source, port(from)?))
        }
        _ => None,
    }
}

fn binary(command: u8, family: u8, said: &[u8]) -> Option<Header> {
    let port = |at: usize| Some(u16::from_be_bytes([*said.get(at)?, *said.get(at + 1)?]));
    match (command, family) {
        (0x20, _) => Some(Header::Local),
        (0x21, 0x11) => {
            port(10)?;
            let source: [u8; 4] = said[..4].try_into().ok()?;
            Some(of(source.into(), port(8)?))
        }
        (0x21, 0x21) => {
            port(34)?;
            let source: [u8; 16] = said[..16].try_into().ok()?;
            Some(of(source.into(), port(32)?))
        }
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(Header::Unknown),
        _ => None,
    }
}

/// An IPv4 address in IPv6's clothes is what it is.
fn of(source: IpAddr, port: u16) -> Header {
    Header::For(SocketAddr::new(source.to_canonical(), port))
}
