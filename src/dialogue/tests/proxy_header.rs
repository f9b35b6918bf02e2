//! A PROXY protocol header where nobody expects one is known for what it is.

use super::super::*;
use super::playbook::*;
use crate::accept::proxy;

#[test]
fn a_header_is_named_in_every_protocol_however_it_is_cut() {
    for protocol in Protocol::ALL {
        let text = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 143\r\nEHLO x\r\n".to_vec();
        let binary = [
            proxy::V2,
            b"\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x30\x39\0\x8f",
        ]
        .concat();
        for header in [text, binary] {
            for piece in 1..=header.len() {
                let mut client = Client::greeted(protocol, &[]);
                let mut pieces = header.chunks(piece);
                while client.ending().is_none() {
                    client.says(pieces.next().expect("an end"));
                }
                client.forgets();
                client.is_closed(Ending::ProxyHeader);
            }
        }
    }
}

#[test]
fn empty_lines_and_nuls_alone_are_no_header() {
    for protocol in Protocol::ALL {
        for said in [
            "\r\n\r\n",
            "\r\n\0\r\n",
            "\0\r\n",
            "\n\n\0\r\n",
            "PROXY\r\n",
        ] {
            let mut client = Client::greeted(protocol, &[]);
            client.says(said);
            assert_ne!(
                client.ending(),
                Some(Ending::ProxyHeader),
                "{protocol}: {said:?}"
            );
        }
    }
}
