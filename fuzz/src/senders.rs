//! Sessions of devices without a login, whose senders are limited.
//!
//! What goes up is the beginning of what the device said, and all of it while nothing is refused. Behind the guard stand servers that
//! part lines in different ways, each read slowly and plainly: they all see the same commands, and no MAIL whose sender is not in the
//! list. All of that is so however the device's octets are cut.
//!
//! The options are what the server answers, in turn: `2`, `4` or `5`; `n`, it does not take chunks; `z`, the empty sender is allowed.
//! With turns of the server (`\xffU`) it says just these instead, one behind each turn of the device, whatever it was asked.

use std::sync::Arc;

use mailwicket::config::{Senders, UpstreamTls};
use mailwicket::dialogue::Profile;
use mailwicket::dialogue::smtp::{Breach, SenderGuard};
use mailwicket::protocol::Protocol;

use super::script::{Local, Script};
use super::setting::secret;
use super::visit::{Cuts, Outcome, Visit};

/// The one address, and the one domain.
const ADDRESS: &str = "a@x.y";
/// See [`ADDRESS`].
const DOMAIN: &str = "print.x.y";
/// Octets of a command line that may be held back, with its end.
const LINE: usize = 1000;
/// What a device needs to send mail. Nothing else is known to do no harm.
const HARMLESS: [&str; 12] = [
    "MAIL", "RCPT", "DATA", "BDAT", "EHLO", "HELO", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT",
];

/// A session, written down.
pub fn run(data: &[u8]) {
    let script = Script::read(data);
    let terms = Terms::of(&script);
    let turns: Vec<&[u8]> = script.local.iter().map(words).collect();
    let answers = script.visits.front().cloned().unwrap_or_default();
    if !answers.is_empty() {
        let answers: Vec<&[u8]> = answers.into();
        return odd_server(&terms, &turns, &answers);
    }
    let said = turns.concat();
    let whole = sound_server(&terms, &said, Cuts::none());
    for cuts in [Cuts::new(&[1]), Cuts::new(script.cuts)] {
        assert_eq!(
            whole,
            sound_server(&terms, &said, cuts),
            "it depends on the cut"
        );
    }
}

fn words<'a>(turn: &Local<'a>) -> &'a [u8] {
    match turn {
        Local::Says(said) | Local::SaysInClear(said) => said,
        Local::IsInterrupted(_) => b"",
    }
}

/// What is allowed, and how the server is.
struct Terms {
    allows_null: bool,
    takes_chunks: bool,
    /// The first digits of its answers, in turn.
    digits: Vec<u8>,
    profile: Profile,
}

impl Terms {
    fn of(script: &Script<'_>) -> Self {
        let takes_chunks = !script.options.contains(&b'n');
        let digits = script.options.iter().copied();
        Self {
            allows_null: script.options.contains(&b'z'),
            takes_chunks,
            digits: digits.filter(|digit| b"245".contains(digit)).collect(),
            profile: profile(takes_chunks),
        }
    }

    fn guard(&self) -> SenderGuard {
        let domain = format!("*@{DOMAIN}");
        let mut list = vec![ADDRESS, &domain];
        if self.allows_null {
            list.push("<>");
        }
        let senders = Senders::new(list).expect("a sound list");
        SenderGuard::new(Arc::new(senders), &self.profile)
    }

    /// The first digit of the answer to the command that has this number.
    fn digit(&self, number: usize) -> u8 {
        match self.digits.len() {
            0 => b'2',
            count => self.digits[number % count],
        }
    }

    /// Whether an address is in the list.
    fn allow(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        let is_of_domain = |local: &str| !local.is_empty() && !local.contains(['@', '%', '!']);
        let local = address
            .strip_suffix(DOMAIN)
            .and_then(|rest| rest.strip_suffix('@'));
        match address.as_str() {
            "" => self.allows_null,
            ADDRESS => true,
            _ => local.is_some_and(is_of_domain),
        }
    }
}

/// A capability list, as our client gets it from a server.
fn profile(takes_chunks: bool) -> Profile {
    let list: &[u8] = match takes_chunks {
        true => b"250-x\r\n250-CHUNKING\r\n250 AUTH XOAUTH2\r\n",
        false => b"250-x\r\n250 AUTH XOAUTH2\r\n",
    };
    let turns: [&[u8]; 2] = [b"220 x\r\n", list];
    let mut visit = Visit::new(
        &secret(b""),
        Protocol::Smtp,
        UpstreamTls::Implicit,
        None,
        turns.into(),
        Cuts::none(),
    );
    match visit.go() {
        Outcome::Ready(profile) => profile,
        _ => unreachable!("a good server has a list"),
    }
}

// ---- a server that says anything

/// Whatever it says, what goes up is what the device said, and nothing goes up behind a breach.
fn odd_server(terms: &Terms, turns: &[&[u8]], answers: &[&[u8]]) {
    let mut session = Session::new(terms);
    for number in 0..turns.len().max(answers.len()) {
        session.says(turns.get(number).copied().unwrap_or_default());
        session
            .guard
            .down(answers.get(number).copied().unwrap_or_default());
        session.says(b"");
    }
}

// ---- a server that answers each command once

/// What went up and what was refused.
type Seen = (Vec<u8>, Option<Breach>);

fn sound_server(terms: &Terms, mut said: &[u8], mut cuts: Cuts<'_>) -> Seen {
    let mut session = Session::new(terms);
    let mut servers = [Ends::CrLf, Ends::Lf, Ends::Any].map(Server::new);
    while !said.is_empty() {
        let (now, later) = said.split_at(cuts.take(said.len()));
        said = later;
        session.says(now);
        session.is_answered(terms, &mut servers);
    }
    let [strict, others @ ..] = &servers;
    for line in &strict.commands {
        is_permitted(terms, line);
    }
    for other in others {
        assert_eq!(strict.commands, other.commands, "servers disagree");
    }
    session.is_complete(strict);
    let breach = session.guard.breach().cloned();
    if let Some(Breach::Sender(address)) = &breach {
        assert!(!terms.allow(address), "{address:?} is in the list");
    }
    (session.passed, breach)
}

/// The device's side of the guard.
struct Session {
    guard: SenderGuard,
    said: Vec<u8>,
    /// What the guard has not yet taken.
    waiting: Vec<u8>,
    passed: Vec<u8>,
}

impl Session {
    fn new(terms: &Terms) -> Self {
        Self {
            guard: terms.guard(),
            said: Vec::new(),
            waiting: Vec::new(),
            passed: Vec::new(),
        }
    }

    fn says(&mut self, said: &[u8]) {
        let was_refused = self.guard.breach().is_some();
        let before = self.passed.len();
        self.said.extend_from_slice(said);
        self.waiting.extend_from_slice(said);
        let taken = self.guard.up(&self.waiting, &mut self.passed);
        self.waiting.drain(..taken);
        assert!(self.said.starts_with(&self.passed), "made up or changed");
        assert!(
            !was_refused || self.passed.len() == before,
            "behind a breach"
        );
        let is_idle = self.waiting.is_empty() || !self.guard.has_appetite();
        assert!(is_idle, "it takes nothing and waits for nothing");
    }

    /// Goes on until the server has nothing more to answer.
    fn is_answered(&mut self, terms: &Terms, servers: &mut [Server; 3]) {
        loop {
            let [strict, others @ ..] = &mut *servers;
            let answers = strict.hears(terms, &self.passed);
            for other in others {
                other.hears(terms, &self.passed);
            }
            if answers.is_empty() {
                return;
            }
            self.guard.down(&answers);
            self.says(b"");
        }
    }

    /// While nothing is refused, nothing is held back but the beginning of a line.
    fn is_complete(&self, server: &Server) {
        let is_breach_of_server = self.guard.breach() == Some(&Breach::Answer);
        assert!(!is_breach_of_server, "a sound server is out of step");
        if self.guard.breach().is_some() || server.place == Place::Over {
            return;
        }
        let held = &self.said[self.passed.len()..];
        match server.place {
            Place::Data => assert!(held.is_empty() || held == b"\r"),
            Place::Chunk(_) => assert!(held.is_empty()),
            _ => assert!(held.len() <= LINE && !held.contains(&b'\n')),
        }
        // A chunk is answered when it is whole.
        let is_in_chunk = matches!(server.place, Place::Chunk(_));
        assert!(self.guard.is_answered() || is_in_chunk);
    }
}

/// A command, read in the plainest way.
fn is_permitted(terms: &Terms, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let upper = text.to_ascii_uppercase();
    let verb = upper.split(|c: char| !c.is_ascii_alphabetic()).next();
    let verb = verb.unwrap_or_default();
    assert!(HARMLESS.contains(&verb), "{verb:?} went up");
    assert!(line.len() < LINE && !line.iter().any(|b| b"\0\r\n".contains(b)));
    if verb == "BDAT" {
        assert!(terms.takes_chunks, "a chunk that is read as commands");
    }
    if verb == "MAIL" {
        let path = upper.strip_prefix("MAIL FROM:").map(str::trim_start);
        let path = path.and_then(|path| path.strip_prefix('<'));
        let (address, behind) = path.and_then(|path| path.split_once('>')).expect("a path");
        assert!(terms.allow(address), "{address:?} went up");
        assert!(behind.is_empty() || behind.starts_with(' '), "{behind:?}");
        let is_plain = |c: char| !c.is_control() && !" \"\\<>()[],:;".contains(c);
        assert!(
            address.chars().all(is_plain),
            "{address:?} has two readings"
        );
    }
}

// ---- servers

/// What ends a line, for a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// CRLF, as it should be.
    CrLf,
    /// LF, with a CR before it or none.
    Lf,
    /// CR, with an LF behind it or none, or LF.
    Any,
}

/// What comes next, for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Command,
    Data,
    Chunk(usize),
    Over,
}

struct Server {
    ends: Ends,
    heard: usize,
    line: Vec<u8>,
    is_behind_cr: bool,
    place: Place,
    /// Whether it took MAIL, and then RCPT, of the message that is under way.
    has_sender: bool,
    has_recipient: bool,
    /// Whether the chunk that is coming is the last one.
    is_last: bool,
    commands: Vec<Vec<u8>>,
}

impl Server {
    fn new(ends: Ends) -> Self {
        Self {
            ends,
            heard: 0,
            line: Vec::new(),
            is_behind_cr: false,
            place: Place::Command,
            has_sender: false,
            has_recipient: false,
            is_last: false,
            commands: Vec::new(),
        }
    }

    /// Hears what is new in all that went up, and answers.
    fn hears(&mut self, terms: &Terms, passed: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for octet in &passed[self.heard..] {
            let is_behind_cr = self.is_behind_cr && self.ends == Ends::Any;
            let is_of_chunk = matches!(self.place, Place::Chunk(_));
            self.is_behind_cr = *octet == b'\r' && !is_of_chunk;
            if is_behind_cr && *octet == b'\n' {
                continue;
            }
            if let Place::Chunk(left) = self.place {
                self.place = Place::Chunk(left - 1);
                self.ends_chunk(terms, &mut answers);
                continue;
            }
            self.line.push(*octet);
            if let Some(line) = self.whole_line() {
                self.line.clear();
                self.obeys(terms, line, &mut answers);
            }
        }
        self.heard = passed.len();
        answers
    }

    /// The line without its end, if it has one.
    fn whole_line(&self) -> Option<Vec<u8>> {
        let line = &self.line[..];
        let line = match self.ends {
            Ends::CrLf => line.strip_suffix(b"\r\n"),
            Ends::Lf => line
                .strip_suffix(b"\n")
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line)),
            Ends::Any => line.strip_suffix(b"\n").or(line.strip_suffix(b"\r")),
        };
        line.map(<[u8]>::to_vec)
    }

    fn obeys(&mut self, terms: &Terms, line: Vec<u8>, answers: &mut Vec<u8>) {
        match self.place {
            Place::Over => {}
            Place::Data if line == b"." => {
                self.place = Place::Command;
                self.ends_message();
                answers.extend_from_slice(b"250 2.0.0 Queued\r\n");
            }
            Place::Data => {}
            _ => self.command(terms, line, answers),
        }
    }

    fn command(&mut self, terms: &Terms, line: Vec<u8>, answers: &mut Vec<u8>) {
        let digit = char::from(terms.digit(self.commands.len()));
        let words = String::from_utf8_lossy(&line).to_ascii_uppercase();
        let mut words = words.split(' ');
        self.follows(words.clone().next().unwrap_or_default(), digit == '2');
        let answer = match (words.next().unwrap_or_default(), digit) {
            ("EHLO", '2') => "250-x\r\n250-CHUNKING\r\n250 SIZE 1000\r\n".to_owned(),
            ("DATA", '2') => {
                self.place = Place::Data;
                "354-go\r\n354 on\r\n".to_owned()
            }
            ("QUIT", _) => {
                self.place = Place::Over;
                "221 2.0.0 Bye\r\n".to_owned()
            }
            ("BDAT", _) => {
                assert!(self.has_recipient, "a chunk that may be read as commands");
                let size = words.next().and_then(|size| size.parse().ok());
                self.is_last = words.next() == Some("LAST");
                self.place = Place::Chunk(size.expect("a size"));
                String::new()
            }
            (_, digit) => format!("{digit}50-one\r\n{digit}50 two\r\n"),
        };
        self.commands.push(line);
        answers.extend_from_slice(answer.as_bytes());
        self.ends_chunk(terms, answers);
    }

    /// What a command that is taken or refused does to the message that is under way.
    fn follows(&mut self, verb: &str, is_taken: bool) {
        match verb {
            "MAIL" => (self.has_sender, self.has_recipient) = (is_taken, false),
            "RCPT" => self.has_recipient |= is_taken && self.has_sender,
            "EHLO" | "HELO" | "RSET" => self.ends_message(),
            _ => {}
        }
    }

    fn ends_message(&mut self) {
        (self.has_sender, self.has_recipient) = (false, false);
    }

    /// A chunk is answered when it is whole.
    fn ends_chunk(&mut self, terms: &Terms, answers: &mut Vec<u8>) {
        if self.place == Place::Chunk(0) {
            self.place = Place::Command;
            let digit = char::from(terms.digit(self.commands.len()));
            answers.extend_from_slice(format!("{digit}50 chunk\r\n").as_bytes());
            self.has_recipient &= digit == '2';
            if self.is_last {
                self.ends_message();
            }
        }
    }
}
