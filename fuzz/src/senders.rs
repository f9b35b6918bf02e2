//! Sessions whose senders are limited, against a mail server that is written down here once more, in the plainest way.
//!
//! Whatever a mail program says, and however it is cut: what goes up is the beginning of it, octet for octet, and all of it while
//! nothing is refused. Whatever that server reads as a command is one that sending needs, its MAIL has a listed sender, and no two
//! servers can see the end of a message in different places.
//!
//! The mail program's turns are one stream. The mail server's octets are its answers to one command after the other: `n` is no, `t`
//! not now, `m` a yes of two lines; everything else is yes. The option `C` has it offer BDAT. A second server says the turns as they are.

use std::sync::Arc;

use mailwicket::config::{Senders, UpstreamTls};
use mailwicket::dialogue::Profile;
use mailwicket::dialogue::smtp::SenderGuard;
use mailwicket::protocol::Protocol;

use super::script::{Local, Script};
use super::visit::{Cuts, Outcome, Visit};

/// Who may send.
const LIST: [&str; 3] = ["scanner@example.com", "*@print.example.com", "<>"];
/// The commands that sending needs.
const COMMANDS: [&str; 12] = [
    "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "EHLO", "HELO", "VRFY", "EXPN", "HELP", "QUIT",
];
/// Octets of a command line with its end.
const LINE: usize = 1000;

/// A session from its first MAIL on.
pub fn run(data: &[u8]) {
    let script = Script::read(data);
    let says = |turn: &Local<'_>| match turn {
        Local::Says(said) => said.to_vec(),
        Local::IsInterrupted(_) => Vec::new(),
    };
    let input = script.local.iter().map(says).collect::<Vec<_>>().concat();
    let whole = play(&script, &input, Cuts::none());
    for cuts in [Cuts::new(&[1]), Cuts::new(script.cuts())] {
        assert_eq!(play(&script, &input, cuts), whole);
    }
    listens(&script, &input);
}

fn guard(script: &Script<'_>) -> SenderGuard {
    let senders = Senders::new(LIST).expect("a sound list");
    SenderGuard::new(Arc::new(senders), &profile(script.offers_chunks()))
}

/// The list of a server with or without BDAT.
fn profile(offers_chunks: bool) -> Profile {
    let list: &[u8] = match offers_chunks {
        true => b"250-x\r\n250-CHUNKING\r\n250 AUTH XOAUTH2\r\n",
        false => b"250-x\r\n250-SIZE 9\r\n250 AUTH XOAUTH2\r\n",
    };
    let turns = [&b"220 x\r\n"[..], list].into();
    let (tls, cuts) = (UpstreamTls::Implicit, Cuts::none());
    match Visit::new("unsent", Protocol::Smtp, tls, None, turns, cuts).go() {
        Outcome::Ready(profile) => profile,
        _ => unreachable!("a good server has a list"),
    }
}

/// What went up, and what was refused.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    passed: Vec<u8>,
    breach: Option<String>,
}

fn play(script: &Script<'_>, input: &[u8], mut cuts: Cuts<'_>) -> Seen {
    let mut guard = guard(script);
    let mut server = Server::new(script);
    let (mut passed, mut held, mut rest) = (Vec::new(), Vec::new(), input);
    while guard.breach().is_none() && !rest.is_empty() {
        assert!(guard.has_appetite(), "it waits, and everything is answered");
        let (now, later) = rest.split_at(cuts.take(rest.len()));
        held.extend_from_slice(now);
        rest = later;
        loop {
            let before = passed.len();
            let taken = guard.up(&held, &mut passed);
            held.drain(..taken);
            let answers = server.hears(&passed[before..]);
            guard.down(&answers);
            if taken == 0 && answers.is_empty() {
                break;
            }
        }
    }
    server.has_seen_one_end_at_most();
    assert!(input.starts_with(&passed), "what goes up was never said");
    if guard.breach().is_none() {
        is_whole(&input[passed.len()..], &server);
    }
    Seen {
        passed,
        breach: guard.breach().map(|breach| format!("{breach:?}")),
    }
}

/// Without a breach nothing is kept but what is not yet a whole command, or the CR that may end a message; QUIT ends everything.
fn is_whole(kept: &[u8], server: &Server) {
    match server.mode {
        _ if server.has_quit => {}
        Mode::Command => assert!(!kept.contains(&b'\n') && kept.len() <= LINE),
        Mode::Data => assert!(kept.is_empty() || kept == b"\r"),
        Mode::Chunk(_) => assert!(kept.is_empty()),
    }
}

/// A server that says anything at any time.
fn listens(script: &Script<'_>, input: &[u8]) {
    let mut guard = guard(script);
    let mut passed = Vec::new();
    let mut taken = guard.up(input, &mut passed);
    for answer in script.visits.iter().flatten() {
        guard.down(answer);
        taken += guard.up(&input[taken..], &mut passed);
    }
    assert!(taken <= input.len() && input.starts_with(&passed));
}

impl Script<'_> {
    fn offers_chunks(&self) -> bool {
        self.options.first() == Some(&b'C')
    }
}

/// What the server reads next.
#[derive(Clone, Copy)]
enum Mode {
    Command,
    Data,
    Chunk(u64),
}

/// A server that takes mail: a reader of lines, with nothing in it that is clever.
struct Server {
    takes_chunks: bool,
    answers: Vec<u8>,
    answered: usize,
    mode: Mode,
    /// The line or the message so far.
    heard: Vec<u8>,
    has_sender: bool,
    has_recipient: bool,
    is_last: bool,
    has_quit: bool,
}

impl Server {
    fn new(script: &Script<'_>) -> Self {
        Self {
            takes_chunks: script.offers_chunks(),
            answers: script
                .visits
                .iter()
                .flatten()
                .copied()
                .collect::<Vec<_>>()
                .concat(),
            answered: 0,
            mode: Mode::Command,
            heard: Vec::new(),
            has_sender: false,
            has_recipient: false,
            is_last: false,
            has_quit: false,
        }
    }

    /// Takes what went up, and gives the answers.
    fn hears(&mut self, said: &[u8]) -> Vec<u8> {
        said.iter().flat_map(|octet| self.octet(*octet)).collect()
    }

    fn octet(&mut self, octet: u8) -> Vec<u8> {
        assert!(!self.has_quit, "something goes up behind QUIT");
        match self.mode {
            Mode::Command => {
                self.heard.push(octet);
                match octet {
                    b'\n' => self.line(),
                    _ => Vec::new(),
                }
            }
            Mode::Data => {
                self.heard.push(octet);
                if !self.is_over() {
                    return Vec::new();
                }
                self.has_seen_one_end_at_most();
                self.heard.clear();
                self.mode = Mode::Command;
                self.ends_message();
                self.answer("250").0
            }
            Mode::Chunk(1) => {
                self.mode = Mode::Command;
                self.ends_chunk()
            }
            Mode::Chunk(left) => {
                self.mode = Mode::Chunk(left - 1);
                Vec::new()
            }
        }
    }

    /// The next answer: its words, and whether it is yes, for which the code is `yes`.
    fn answer(&mut self, yes: &str) -> (Vec<u8>, bool) {
        let which = self.answers.get(self.answered % self.answers.len().max(1));
        self.answered += 1;
        let (said, is_yes) = match which {
            Some(b'n') => ("550 no\r\n".to_owned(), false),
            Some(b't') => ("450\r\n".to_owned(), false),
            Some(b'm') => (format!("{yes}-\r\n{yes} well\r\n"), true),
            _ => (format!("{yes} yes\r\n"), true),
        };
        (said.into_bytes(), is_yes)
    }

    fn line(&mut self) -> Vec<u8> {
        let line = std::mem::take(&mut self.heard);
        assert!(line.len() <= LINE, "a line that servers would cut");
        let line = line.strip_suffix(b"\r\n").expect("a line that ends in LF");
        assert!(!line.iter().any(|b| b"\0\r".contains(b)), "NUL or CR");
        let line = String::from_utf8_lossy(line).into_owned();
        let (verb, arguments) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        assert!(COMMANDS.contains(&&*verb), "{verb:?} goes up");
        match &*verb {
            "MAIL" => self.mail(arguments),
            "RCPT" => {
                let (said, is_yes) = self.answer("250");
                self.has_recipient |= is_yes && self.has_sender;
                said
            }
            "DATA" => {
                let (said, is_yes) = self.answer("354");
                if is_yes {
                    self.mode = Mode::Data;
                }
                said
            }
            "BDAT" => self.bdat(arguments),
            "RSET" | "EHLO" | "HELO" => {
                self.ends_message();
                self.answer("250").0
            }
            "QUIT" => {
                self.has_quit = true;
                self.answer("221").0
            }
            _ => self.answer("250").0,
        }
    }

    fn mail(&mut self, arguments: &str) -> Vec<u8> {
        let prefix = arguments.get(..5).unwrap_or_default();
        assert!(prefix.eq_ignore_ascii_case("FROM:"), "MAIL {arguments:?}");
        let path = arguments[5..].trim_start_matches(' ').strip_prefix('<');
        let path = path.and_then(|path| path.split_once('>'));
        let (address, parameters) = path.expect("an address in angle brackets");
        assert!(is_listed(address), "{address:?} sends");
        assert!(parameters.is_empty() || parameters.starts_with(' '));
        let (said, is_yes) = self.answer("250");
        (self.has_sender, self.has_recipient) = (is_yes, false);
        said
    }

    fn bdat(&mut self, arguments: &str) -> Vec<u8> {
        let is_taken = self.takes_chunks && self.has_recipient;
        assert!(is_taken, "a chunk that may be taken for commands");
        let mut words = arguments.split(' ');
        let size: u64 = words
            .next()
            .and_then(|size| size.parse().ok())
            .expect("a size");
        let last = words.next().map(str::to_ascii_uppercase);
        assert!(matches!(last.as_deref(), None | Some("LAST")) && words.next().is_none());
        self.is_last = last.is_some();
        match size {
            0 => self.ends_chunk(),
            _ => {
                self.mode = Mode::Chunk(size);
                Vec::new()
            }
        }
    }

    fn ends_chunk(&mut self) -> Vec<u8> {
        let (said, is_yes) = self.answer("250");
        if self.is_last {
            self.ends_message();
        }
        self.has_recipient &= is_yes;
        said
    }

    fn ends_message(&mut self) {
        (self.has_sender, self.has_recipient) = (false, false);
    }

    /// RFC 5321 §4.1.1.4.
    fn is_over(&self) -> bool {
        self.heard == b".\r\n" || self.heard.ends_with(b"\r\n.\r\n")
    }

    /// A line with nothing but a dot, whatever ends lines, is the last one of a message and stands between CRLFs.
    fn has_seen_one_end_at_most(&self) {
        let Mode::Data = self.mode else { return };
        assert!(!self.heard.contains(&0), "NUL in a message");
        let end = if self.is_over() { 3 } else { 0 };
        let mut lines =
            self.heard[..self.heard.len() - end].split_inclusive(|b| b"\r\n".contains(b));
        let is_dot = |line: &[u8]| line == b".\r" || line == b".\n";
        assert!(!lines.any(is_dot), "an end that only some servers see");
    }
}

/// The list, once more.
fn is_listed(address: &str) -> bool {
    let address = address.to_ascii_lowercase();
    let of_a_printer = address.strip_suffix("@print.example.com");
    address.is_empty()
        || address == "scanner@example.com"
        || of_a_printer.is_some_and(|local| !local.is_empty() && !local.contains(['@', '%', '!']))
}
