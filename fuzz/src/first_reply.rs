//! The first answers behind a login, which are looked at in passing.
//!
//! What is heard does not depend on how it is cut; nobody listens for ever; what goes to the log is printable and bounded. Which
//! answers mean trouble is written down here once more.

use mailwicket::dialogue::{FirstReply, Heard};
use mailwicket::protocol::Protocol;

use super::script::Script;
use super::visit::Cuts;

/// Octets of a line that count.
const LINE: usize = 512;
/// Octets after which nobody listens.
const ALL: usize = 64 * 1024;
/// Answers of an SMTP server after which nobody listens.
const SMTP_ANSWERS: usize = 32;
/// Octets of the longest words about it.
const DETAIL: usize = 4096;
/// What providers say when a token was good for nothing.
const TROUBLE: [&str; 4] = [
    "authenticated but not connected",
    "5.7.60",
    "sendasdenied",
    "5.7.57",
];

/// Options as in `segmentation`, and what a mail server says on its first connection.
pub fn run(data: &[u8]) {
    let script = Script::read(data);
    let protocol = script.protocol();
    let turns = script.visits.front().into_iter().flatten().copied();
    let said = turns.collect::<Vec<_>>().concat();
    let whole = listen(protocol, &said, Cuts::none());
    assert_eq!(whole, listen(protocol, &said, Cuts::new(&[1])));
    assert_eq!(whole, listen(protocol, &said, Cuts::new(script.cuts)));
    is_right(protocol, &said, &whole);
    // A server that repeats itself for ever is not listened to for ever.
    if !said.is_empty() {
        let endless = said.repeat(ALL / said.len() + 1);
        assert_ne!(
            listen(protocol, &endless, Cuts::new(script.cuts)),
            Heard::More
        );
    }
}

/// What is heard in the end.
fn listen(protocol: Protocol, mut said: &[u8], mut cuts: Cuts<'_>) -> Heard {
    let mut first = FirstReply::new(protocol);
    while !said.is_empty() {
        let (now, later) = said.split_at(cuts.take(said.len()));
        said = later;
        match first.hear(now) {
            Heard::More => {}
            heard => return heard,
        }
    }
    Heard::More
}

fn is_right(protocol: Protocol, said: &[u8], heard: &Heard) {
    let mut lines: Vec<&[u8]> = said[..said.len().min(ALL)].split(|b| *b == b'\n').collect();
    lines.pop(); // it has no end
    let mut answers = match protocol {
        Protocol::Smtp => SMTP_ANSWERS,
        Protocol::Imap | Protocol::Pop3 => 1,
    };
    for line in lines {
        let line = line[..line.len().min(LINE)].trim_ascii_end();
        let lower = String::from_utf8_lossy(line).to_ascii_lowercase();
        let is_good = protocol == Protocol::Smtp && matches!(line.first(), Some(b'2' | b'3'));
        if !is_good && TROUBLE.iter().any(|words| lower.contains(words)) {
            let Heard::Trouble(detail) = heard else {
                panic!("{lower:?} is trouble, not {heard:?}");
            };
            assert!(detail.len() <= DETAIL && !detail.contains(char::is_control));
            return;
        }
        let is_news = match protocol {
            Protocol::Imap => line.starts_with(b"* ") || line.starts_with(b"+"),
            Protocol::Pop3 => false,
            Protocol::Smtp => line.get(3) == Some(&b'-'),
        };
        answers -= usize::from(!is_news);
        if answers == 0 {
            return assert_eq!(*heard, Heard::Nothing, "{lower:?}");
        }
    }
    let expected = if said.len() < ALL {
        Heard::More
    } else {
        Heard::Nothing
    };
    assert_eq!(*heard, expected);
}
