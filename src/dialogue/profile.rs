//! What a provider can do, as it says before login: the list that mail programs are shown.

use std::sync::Arc;

use crate::protocol::Protocol;

/// A provider's capability list without the words about authentication and TLS, which are ours to say.
///
/// Many programs ask once, before login, and use the answer afterwards; so the list must be the provider's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Atoms (IMAP) or whole lines (EHLO, CAPA), in the provider's order.
    words: Arc<[String]>,
}

/// Octets of the longest capability word or line that is passed on.
const LONGEST: usize = 512;

impl Profile {
    /// Keeps what may be passed on: what fits the grammar and does not speak of authentication or TLS.
    pub(crate) fn new<'a>(protocol: Protocol, said: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let words = said
            .into_iter()
            .map(<[u8]>::trim_ascii_end) // a stray blank is no reason to lose a word
            .filter(|word| is_sound(protocol, word) && !is_ours(protocol, word))
            .filter_map(|word| std::str::from_utf8(word).ok())
            .map(str::to_owned)
            .collect();
        Self { words }
    }

    /// The atoms or lines.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// What can be promised if both lists are true at times.
    pub(crate) fn in_common_with(&self, other: &Self) -> Self {
        let kept = |word: &&str| other.words().any(|theirs| keeps(theirs, word));
        let smaller = |word: &str| {
            let theirs = other
                .words()
                .find(|theirs| keyword(theirs).eq_ignore_ascii_case(keyword(word)));
            theirs
                .filter(|theirs| !keeps(theirs, word))
                .map(str::to_owned)
        };
        let words = self.words().filter_map(|word| match kept(&word) {
            true => Some(word.to_owned()),
            false => smaller(word),
        });
        Self {
            words: words.collect(),
        }
    }

    /// The first thing that was `promised` and is not here.
    pub fn lacks<'a>(&self, promised: &'a Self) -> Option<&'a str> {
        promised
            .words()
            .find(|promise| !self.words().any(|word| keeps(word, promise)))
    }
}

/// Whether `word` keeps `promise`: the same keyword, and no smaller size. Other parameters may change from day to day.
fn keeps(word: &str, promise: &str) -> bool {
    // No number, and zero, mean no fixed limit (RFC 1870 §4).
    let size = |word: &str| {
        let number = word.split(' ').nth(1).and_then(|size| size.parse().ok());
        number.filter(|size| *size > 0).unwrap_or(u64::MAX)
    };
    let smaller = keyword(promise).eq_ignore_ascii_case("SIZE") && size(word) < size(promise);
    keyword(word).eq_ignore_ascii_case(keyword(promise)) && !smaller
}

fn keyword(word: &str) -> &str {
    word.split(' ').next().unwrap_or(word)
}

/// Whether a word fits the grammar: printable ASCII, words parted by single spaces; an IMAP atom has none (RFC 3501 §9).
///
/// A line of CAPA must not begin as a reply or the end of the list does, so that nobody takes it for one.
fn is_sound(protocol: Protocol, word: &[u8]) -> bool {
    let is_atom = |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_graphic());
    let is_line = |line: &[u8]| line.len() <= LONGEST && line.split(|b| *b == b' ').all(is_atom);
    match protocol {
        Protocol::Imap => {
            is_atom(word)
                && !word.iter().any(|b| b"(){%*\"\\]".contains(b))
                && word.len() <= LONGEST
        }
        Protocol::Pop3 => is_line(word) && !b"+-.".contains(&word[0]),
        Protocol::Smtp => is_line(word),
    }
}

/// Whether a word speaks of authentication or TLS, or of something that only works before login.
fn is_ours(protocol: Protocol, word: &[u8]) -> bool {
    let keyword: Vec<u8> = word
        .split(|b| *b == b' ')
        .next()
        .unwrap_or(word)
        .to_ascii_uppercase();
    match protocol {
        // UNAUTHENTICATE (RFC 8437) would bring the local password into the relay.
        Protocol::Imap => {
            keyword.starts_with(b"AUTH=")
                || matches!(
                    &keyword[..],
                    b"STARTTLS"
                        | b"LOGINDISABLED"
                        | b"SASL-IR"
                        | b"UNAUTHENTICATE"
                        | b"LOGIN-REFERRALS"
                )
        }
        // AUTH is no capability, but old servers list it as one.
        // LANG and UTF8 (RFC 6856) must come before login, where no byte of the mail program goes upstream.
        Protocol::Pop3 => matches!(
            &keyword[..],
            b"SASL"
                | b"AUTH"
                | b"STLS"
                | b"USER"
                | b"APOP"
                | b"AUTH-RESP-CODE"
                | b"RESP-CODES"
                | b"LANG"
                | b"UTF8"
        ),
        // XCLIENT and XFORWARD let a peer name who it speaks for.
        Protocol::Smtp => {
            keyword.starts_with(b"AUTH=")
                || matches!(
                    &keyword[..],
                    b"AUTH" | b"STARTTLS" | b"XCLIENT" | b"XFORWARD"
                )
        }
    }
}
