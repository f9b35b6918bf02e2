use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, ReadBuf};

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = V2.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

/// Version 2 for TCP over IPv4, with more behind the addresses.
fn v2_tcp4(more: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 143];
    v2(0x21, 0x11, &[&addresses[..], more].concat())
}

fn v2_tcp6(address: Ipv6Addr) -> Vec<u8> {
    let ports = [0x30, 0x39, 0, 143];
    v2(
        0x21,
        0x21,
        &[&address.octets()[..], &[0; 16], &ports].concat(),
    )
}

fn from(address: &str) -> Header {
    Header::For(address.parse().unwrap())
}

fn sound() -> Vec<(Vec<u8>, Header)> {
    let v1 = |text: &str| text.as_bytes().to_vec();
    let mapped: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    vec![
        (
            v1("PROXY TCP4 192.0.2.7 10.0.0.1 12345 143\r\n"),
            from("192.0.2.7:12345"),
        ),
        (
            v1("PROXY TCP6 2001:db8::7 ::1 12345 143\r\n"),
            from("[2001:db8::7]:12345"),
        ),
        (
            v1("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 143\r\n"),
            from("192.0.2.7:1"),
        ),
        (v1("PROXY UNKNOWN\r\n"), Header::Unknown),
        (
            v1(
                "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            ),
            Header::Unknown,
        ),
        (v2_tcp4(b""), from("192.0.2.7:12345")),
        (
            v2_tcp4(b"\x03\0\x04\x01\x02\x03\x04"),
            from("192.0.2.7:12345"),
        ),
        (v2_tcp4(&[4; V2_MOST - 12]), from("192.0.2.7:12345")),
        (
            v2_tcp6("2001:db8::7".parse().unwrap()),
            from("[2001:db8::7]:12345"),
        ),
        (v2_tcp6(mapped.to_ipv6_mapped()), from("192.0.2.7:12345")),
        (v2(0x20, 0x00, b""), Header::Local),
        (v2(0x20, 0x11, &[1; 12]), Header::Local),
        (v2(0x20, 0xff, b"x"), Header::Local),
        (v2(0x21, 0x00, b"more"), Header::Unknown),
        (v2(0x21, 0x12, &[1; 12]), Header::Unknown),
        (v2(0x21, 0x31, &[1; 216]), Header::Unknown),
    ]
}

#[test]
fn a_header_is_found_with_its_length_whatever_follows() {
    for (header, meant) in sound() {
        for rest in ["", "EHLO vm\r\n", "PROXY TCP4 ", "\r\n"] {
            let input = [&header[..], rest.as_bytes()].concat();
            assert_eq!(
                find(&input),
                Found::Whole(meant, header.len()),
                "{}",
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn a_part_never_wants_more_than_is_missing() {
    for (header, _) in sound() {
        for cut in 0..header.len() {
            match find(&header[..cut]) {
                Found::Part(missing) => assert!(
                    (1..=header.len() - cut).contains(&missing),
                    "{missing} after {cut} of {}",
                    header.escape_ascii()
                ),
                other => panic!("{other:?} after {cut} of {}", header.escape_ascii()),
            }
        }
    }
}

#[test]
fn what_is_no_header_is_told_at_the_first_octet_that_shows_it() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    let cases: Vec<(Vec<u8>, usize)> = vec![
        (b"EHLO vm\r\n".to_vec(), 1),
        (b"a LOGIN x y\r\n".to_vec(), 1),
        (b"\x16\x03\x01".to_vec(), 1),
        (b"PROXYTCP4".to_vec(), 6),
        (b"proxy TCP4".to_vec(), 1),
        (b"PROXY \r\n".to_vec(), 7),
        (b"PROXY UNKNOWN\n".to_vec(), 14),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n".to_vec(), 37),
        (b"PROXY TCP4 192.0.2.7  10.0.0.1 12345 143\r\n".to_vec(), 42),
        (b"PROXY TCP4 2001:db8::7 ::1 12345 143\r\n".to_vec(), 38),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 143\r\n".to_vec(), 41),
        (
            b"PROXY TCP4 192.0.2.300 10.0.0.1 12345 143\r\n".to_vec(),
            43,
        ),
        (b"PROXY UDP4 192.0.2.7 10.0.0.1 12345 143\r\n".to_vec(), 41),
        (long.into_bytes(), 106),
        (b"\r\n\r\n\0\r\nQUIT\r\n".to_vec(), 12),
        (v2(0x11, 0x11, &[1; 12]), 28),
        (v2(0x22, 0x11, &[1; 12]), 28),
        (v2(0x21, 0x11, &[1; 11]), 27),
        (v2(0x21, 0x21, &[1; 35]), 51),
        (v2(0x21, 0x41, &[1; 36]), 52),
        (v2(0x21, 0x11, &[1; V2_MOST + 1]), 16),
    ];
    for (input, shown) in cases {
        let first = (0..=input.len()).find(|cut| find(&input[..*cut]) == Found::Nothing);
        assert_eq!(first, Some(shown), "{}", input.escape_ascii());
    }
}

/// Gives its octets in pieces of one size.
struct Cut<'a> {
    octets: &'a [u8],
    piece: usize,
}

impl AsyncRead for Cut<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.piece.min(buffer.remaining()).min(self.octets.len());
        let (now, later) = self.octets.split_at(count);
        buffer.put_slice(now);
        self.octets = later;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn not_one_octet_behind_a_header_is_read_however_it_is_cut() {
    for (header, meant) in sound() {
        let input = [&header[..], b"EHLO vm\r\n"].concat();
        for piece in 1..=input.len() {
            let mut stream = Cut {
                octets: &input,
                piece,
            };
            assert_eq!(read(&mut stream).await.unwrap(), meant);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest.escape_ascii().to_string(), "EHLO vm\\r\\n");
        }
    }
}

#[tokio::test]
async fn a_peer_that_leaves_is_told_from_one_that_says_something_else() {
    let read = async |octets: &[u8]| read(&mut Cut { octets, piece: 3 }).await.unwrap_err();
    assert!(matches!(read(b"").await, HeaderError::Silent));
    assert!(matches!(read(b"PROXY TC").await, HeaderError::Broken(_)));
    assert!(matches!(read(b"EHLO vm\r\n").await, HeaderError::Other));
}

proptest! {
    #[test]
    fn any_octets_have_one_meaning_however_many_are_there(
        start in prop::sample::select(vec![&b""[..], V1, b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", V2, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"]),
        rest in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let input = [start, &rest].concat();
        let whole = find(&input);
        for cut in 0..input.len() {
            match (find(&input[..cut]), whole) {
                (Found::Part(missing), Found::Whole(_, length)) => prop_assert!(cut + missing <= length),
                (Found::Part(missing), _) => prop_assert!(missing >= 1),
                (earlier, later) => prop_assert_eq!(earlier, later),
            }
        }
    }
}
