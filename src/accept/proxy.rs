//! The PROXY protocol, versions 1 and 2: a proxy's word about whose connection it passes on.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>; its section is named where a rule comes from it. The grammar is pure,
//! and says how many octets are missing at least, so that not one octet behind the header is read. Who may send a header is not known
//! here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use nom::branch::alt;
use nom::bytes::streaming::{tag, take, take_while_m_n};
use nom::combinator::{map_opt, verify};
use nom::number::streaming::{be_u8, be_u16};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Needed, Parser};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Octets of a version 1 header with its line end, at most (§2.1).
const V1_MOST: usize = 107;
/// Octets behind the fixed part of a version 2 header that we take: the addresses, and more than proxies add to them.
const V2_MOST: usize = 4096;
/// The beginning of version 1.
pub const V1: &[u8] = b"PROXY ";
/// The beginning of version 2 (§2.2).
pub const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection is this peer's.
    For(SocketAddr),
    /// The proxy cannot name a peer: one without an IP address, or of a kind that it does not know.
    Unknown,
    /// The proxy speaks for itself, as in a health check (version 2's LOCAL).
    Local,
}

/// What the octets so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The beginning of a header; at least so many octets of it are missing.
    Part(usize),
    /// A header, and its length.
    Whole(Header, usize),
    /// Something else.
    Nothing,
}

type Octets<'a, T> = IResult<&'a [u8], T>;

/// Looks for a header at the beginning of `input`.
pub fn find(input: &[u8]) -> Found {
    match alt((version_1, version_2)).parse(input) {
        Ok((rest, header)) => Found::Whole(header, input.len() - rest.len()),
        Err(nom::Err::Incomplete(needed)) => match needed {
            Needed::Size(missing) => Found::Part(missing.get()),
            Needed::Unknown => Found::Part(1),
        },
        Err(_) => Found::Nothing,
    }
}

/// `"PROXY" SP ( "UNKNOWN" … / family SP source SP destination SP port SP port ) CRLF` (§2.1)
fn version_1(input: &[u8]) -> Octets<'_, Header> {
    let text = take_while_m_n(1, V1_MOST - V1.len() - 2, |b| b != b'\r' && b != b'\n');
    preceded(tag(V1), map_opt(terminated(text, tag("\r\n")), words)).parse(input)
}

/// What stands between `PROXY` and the end of the line.
fn words(line: &[u8]) -> Option<Header> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["UNKNOWN", ..] => Some(Header::Unknown),
        ["TCP4", source, destination, port, other] => {
            connection::<Ipv4Addr>(source, destination, port, other)
        }
        ["TCP6", source, destination, port, other] => {
            connection::<Ipv6Addr>(source, destination, port, other)
        }
        _ => None,
    }
}

fn connection<Address: FromStr + Into<IpAddr>>(
    source: &str,
    destination: &str,
    port: &str,
    destination_port: &str,
) -> Option<Header> {
    let address: Address = source.parse().ok()?;
    destination.parse::<Address>().ok()?;
    destination_port.parse::<u16>().ok()?;
    Some(from(address, port.parse().ok()?))
}

fn from(address: impl Into<IpAddr>, port: u16) -> Header {
    Header::For(SocketAddr::new(address.into().to_canonical(), port))
}

/// The signature, version and command, family, length, addresses, and more that does not concern us (§2.2).
fn version_2(input: &[u8]) -> Octets<'_, Header> {
    let length = verify(be_u16, |length| usize::from(*length) <= V2_MOST);
    let (rest, (command, family, length)) =
        preceded(tag(V2), (be_u8, be_u8, length)).parse(input)?;
    map_opt(take(length), |addresses| said(command, family, addresses)).parse(rest)
}

fn said(command: u8, family: u8, addresses: &[u8]) -> Option<Header> {
    match (command, family) {
        (0x20, _) => Some(Header::Local), // whatever else it says
        (0x21, 0x11) => source::<4>(addresses),
        (0x21, 0x21) => source::<16>(addresses),
        // Unspecified, datagrams, Unix sockets: nobody who connects to us by TCP.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(Header::Unknown),
        _ => None,
    }
}

/// Source, destination, the source's port, the destination's.
fn source<const SIZE: usize>(addresses: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; SIZE]>,
{
    let address: [u8; SIZE] = addresses.get(..SIZE)?.try_into().ok()?;
    let ports = addresses.get(2 * SIZE..2 * SIZE + 4)?;
    Some(from(address, u16::from_be_bytes([ports[0], ports[1]])))
}

/// Why there was no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The peer closed before it had said anything: a health check.
    #[error("it left without a word")]
    Silent,
    /// The peer said something else.
    #[error("what it sent is no PROXY protocol header")]
    Other,
    /// The connection broke.
    #[error("the connection broke off within the PROXY protocol header: {0}")]
    Broken(#[from] io::Error),
}

/// Reads a header, and nothing behind it. The caller bounds the time.
///
/// # Errors
/// [`HeaderError`]; the connection is of no further use then.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, HeaderError> {
    let mut input = Vec::new();
    loop {
        match find(&input) {
            Found::Whole(header, _) => return Ok(header),
            Found::Nothing => return Err(HeaderError::Other),
            Found::Part(missing) => {
                let missing = missing as u64; // a length of 16 bits at most
                let count = (&mut *stream).take(missing).read_buf(&mut input).await?;
                match count {
                    0 if input.is_empty() => return Err(HeaderError::Silent),
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
