//! The first octets of TLS, as the oldest and the strangest clients send them.
//!
//! They are read only to name the version that a client speaks. Nothing panics, a hello that is not whole tells nothing, and what
//! stands behind its record changes nothing. It is read here once more, with indices.

use mailwicket::tls::hello::{self, Version};

/// Any octets, as the first of a connection.
pub fn run(data: &[u8]) {
    let found = hello::newest_version(data);
    let name = found.map(|version| version.to_string());
    assert_eq!(name, newest(data).map(name_of));
    if let Some(version) = found {
        assert!(hello::is_tls(data[0]), "a version of something else");
        assert!(name.is_some_and(|name| !name.contains(char::is_control)));
        if version != Version::SSL_2 {
            is_the_records(data, version);
        }
    }
    if let Some(first) = data.first() {
        let is_text = first.is_ascii_graphic() || first.is_ascii_whitespace();
        assert!(
            !(is_text && hello::is_tls(*first)),
            "a command is taken for TLS"
        );
    }
}

/// The record alone says it, and no part of the record does.
fn is_the_records(data: &[u8], version: Version) {
    let end = 5 + number(data, 3, 2).expect("a record");
    let record = &data[..end];
    assert_eq!(hello::newest_version(record), Some(version));
    assert_eq!(hello::newest_version(&record[..end - 1]), None);
    assert_eq!(hello::newest_version(&record[..end / 2]), None);
}

// ---- the same once more (RFC 8446 §4.1.2, §5.1; RFC 5246 appendix E.2)

fn newest(data: &[u8]) -> Option<usize> {
    if data.len() >= 3 && data[0] >= 0x80 && data[2] == 1 {
        return Some(0x0200);
    }
    let record = data.get(5..5 + number(data, 3, 2)?)?;
    let hello = record.get(4..4 + number(record, 1, 3)?)?;
    if data[0] != 22 || record[0] != 1 {
        return None;
    }
    let legacy = number(hello, 0, 2)?;
    // Version and random, then three lists behind their lengths.
    let mut at = 34;
    for octets in [1, 2, 1] {
        at += octets + number(hello, at, octets)?;
    }
    hello.get(..at)?;
    Some(listed(&hello[at..]).unwrap_or(legacy))
}

/// The newest version of the first extension that lists them.
fn listed(extensions: &[u8]) -> Option<usize> {
    let extensions = extensions.get(2..2 + number(extensions, 0, 2)?)?;
    let mut at = 0;
    loop {
        let length = number(extensions, at + 2, 2)?;
        let content = extensions.get(at + 4..at + 4 + length)?;
        if number(extensions, at, 2)? == 43 {
            let list = content.get(1..1 + number(content, 0, 1)?)?;
            let versions = list.chunks(2).filter(|pair| pair.len() == 2);
            let versions = versions.map(|pair| usize::from(pair[0]) * 256 + usize::from(pair[1]));
            // 0x0a0a, 0x1a1a, ... are there for nothing (RFC 8701).
            let is_real = |version: &usize| version & 0x0f0f != 0x0a0a;
            return versions.filter(is_real).max();
        }
        at += 4 + length;
    }
}

fn number(data: &[u8], at: usize, octets: usize) -> Option<usize> {
    let octets = data.get(at..at + octets)?;
    Some(
        octets
            .iter()
            .fold(0, |number, octet| number * 256 + usize::from(*octet)),
    )
}

fn name_of(version: usize) -> String {
    match version {
        0x0200 => "SSL 2".to_owned(),
        0x0300 => "SSL 3".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other => format!("TLS {other:#06x}"),
    }
}
