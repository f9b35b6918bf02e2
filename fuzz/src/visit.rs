//! One connection to a mail server: our small client, fed with what a script says, and everything that must hold for it.
//!
//! Whatever the server says: the client says nothing but the few lines that it has; the token goes out once, after the capability
//! list is in hand, and nowhere else; success is only what came after it.

use std::collections::VecDeque;

use mailwicket::config::{MechanismChoice, UpstreamTls};
use mailwicket::dialogue::{
    LoggedIn, Profile, Step, Upstream, UpstreamEvent, UpstreamFailure, upstream,
};
use mailwicket::protocol::Protocol;

use super::setting::{self, count, lines, messages};

/// The name in EHLO where a mail program gave none.
const NAMELESS: &str = "[127.0.0.1]";
/// Octets that a client may hold.
const CAPACITY: usize = 16 * 1024;
/// Octets that a failure may tell.
const DETAIL: usize = 8 * 1024;

/// The lengths in which something comes.
#[derive(Clone, Debug)]
pub struct Cuts<'s> {
    sizes: &'s [u8],
    next: usize,
}

impl<'s> Cuts<'s> {
    /// Every octet is a length; they are used in turn.
    pub fn new(sizes: &'s [u8]) -> Self {
        Self { sizes, next: 0 }
    }

    /// Everything in one piece.
    pub fn none() -> Self {
        Self::new(&[])
    }

    /// How many octets come next, of at most `most`.
    pub fn take(&mut self, most: usize) -> usize {
        if self.sizes.is_empty() {
            return most;
        }
        let size = usize::from(self.sizes[self.next % self.sizes.len()].max(1));
        self.next += 1;
        size.min(most)
    }
}

/// A connection to a mail server.
pub struct Visit<'s> {
    machine: Box<dyn Upstream>,
    secret: String,
    protocol: Protocol,
    tls: UpstreamTls,
    name: String,
    cuts: Cuts<'s>,
    turns: VecDeque<&'s [u8]>,
    rest: &'s [u8],
    /// What the server was told.
    pub said: Vec<u8>,
    /// What it has said.
    pub heard: Vec<u8>,
    /// What happened, and how much had been said by then.
    pub happened: Vec<(usize, String)>,
    is_secured: bool,
    is_ready: bool,
    is_leaving: bool,
    /// How much was heard before the token went out.
    asked_at: Option<usize>,
}

/// Where a connection has come to.
pub enum Outcome {
    Ready(Profile),
    LoggedIn(LoggedIn),
    Failed(UpstreamFailure),
    /// The server has nothing more to say.
    Gone,
}

impl<'s> Visit<'s> {
    /// `secret` is the token that would be sent.
    pub fn new(
        secret: &str,
        protocol: Protocol,
        tls: UpstreamTls,
        name: Option<&str>,
        turns: VecDeque<&'s [u8]>,
        cuts: Cuts<'s>,
    ) -> Self {
        let machine = upstream(protocol, tls, &setting::nonce(), name);
        assert!(machine.room() <= CAPACITY, "a bound that is none");
        Self {
            machine,
            secret: secret.to_owned(),
            protocol,
            tls,
            name: name.unwrap_or(NAMELESS).to_owned(),
            cuts,
            turns,
            rest: &[],
            said: Vec::new(),
            heard: Vec::new(),
            happened: Vec::new(),
            is_secured: false,
            is_ready: false,
            is_leaving: false,
            asked_at: None,
        }
    }

    /// Goes on until something happens that needs an answer.
    pub fn go(&mut self) -> Outcome {
        loop {
            match self.machine.step() {
                Step::Send(bytes) => self.says(&bytes),
                Step::NeedInput => {
                    if !self.hears() {
                        return Outcome::Gone;
                    }
                }
                Step::Event(UpstreamEvent::StartTls) => {
                    assert_eq!(self.tls, UpstreamTls::StartTls);
                    assert!(!self.is_secured, "a second handshake");
                    self.is_secured = true;
                    self.happens("StartTls".to_owned());
                    self.machine.tls_started();
                }
                Step::Event(UpstreamEvent::Ready(profile)) => {
                    assert!(!self.is_ready, "ready twice");
                    assert_eq!(self.is_secured, self.tls == UpstreamTls::StartTls);
                    self.is_ready = true;
                    self.is_sound(&profile);
                    self.happens(format!("{profile:?}"));
                    return Outcome::Ready(profile);
                }
                Step::Event(UpstreamEvent::LoggedIn(logged_in)) => {
                    self.was_told_so(&logged_in);
                    return Outcome::LoggedIn(logged_in);
                }
                Step::Event(UpstreamEvent::Failed(failure)) => {
                    self.tells_no_secret(&failure.detail);
                    self.happens(format!("{:?} {}", failure.kind, failure.detail));
                    return Outcome::Failed(failure);
                }
            }
        }
    }

    /// Answers [`Outcome::Ready`] with the credentials.
    pub fn log_in(&mut self, mechanism: MechanismChoice) -> Outcome {
        let token = setting::token(&self.secret);
        self.machine.login(&setting::login(&token, mechanism));
        self.go()
    }

    /// Answers [`Outcome::Ready`] with a good-bye, which is all that may still be said.
    pub fn quit(&mut self) {
        self.is_leaving = true;
        self.machine.quit();
        let _ = self.go(); // whatever the server makes of it
        assert!(self.asked_at.is_none(), "the token was sent for a list");
    }

    /// What the server had not yet said.
    pub fn unsaid(&self) -> Vec<u8> {
        let turns: Vec<&[u8]> = self.turns.iter().copied().collect();
        [self.rest, &turns.concat()].concat()
    }

    /// The next octets of the server; each turn comes when there is nothing more to say to it.
    fn hears(&mut self) -> bool {
        while self.rest.is_empty() {
            match self.turns.pop_front() {
                Some(turn) => self.rest = turn,
                None => return false,
            }
        }
        let room = self.machine.room();
        if room == 0 && self.is_leaving {
            return false; // after the good-bye nobody listens, and the driver closes
        }
        assert!(room > 0, "it wants input and has no room");
        let count = self.cuts.take(self.rest.len().min(room));
        let (now, later) = self.rest.split_at(count);
        self.machine.receive(now);
        self.heard.extend_from_slice(now);
        self.rest = later;
        true
    }

    fn happens(&mut self, event: String) {
        self.happened.push((self.said.len(), event));
    }

    /// Whatever it hears, these are the only lines that it says.
    fn says(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "an empty send would spin the driver");
        self.said.extend_from_slice(bytes);
        let messages = messages(&self.secret);
        let times: usize = messages
            .iter()
            .map(|(_, message)| count(&self.said, message.as_bytes()))
            .sum();
        assert!(
            times <= usize::from(self.is_ready),
            "the token was sent too early or twice"
        );
        assert_eq!(
            count(&self.said, self.secret.as_bytes()),
            0,
            "the token in clear"
        );
        if times > 0 {
            self.asked_at.get_or_insert(self.heard.len());
        }
        for line in lines(&self.said) {
            assert!(self.is_ours(line, &messages), "{line:?} is not ours to say");
        }
    }

    fn is_ours(&self, line: &str, messages: &[(&str, String); 2]) -> bool {
        let command = match self.protocol {
            Protocol::Imap => untagged(line),
            Protocol::Pop3 | Protocol::Smtp => line,
        };
        let known: &[&str] = match self.protocol {
            Protocol::Imap => &["", "AQ==", "CAPABILITY", "STARTTLS", "LOGOUT"],
            Protocol::Pop3 => &["", "AQ==", "CAPA", "STLS", "QUIT"],
            Protocol::Smtp => &["", "AQ==", "STARTTLS", "QUIT"],
        };
        let verb = match self.protocol {
            Protocol::Imap => "AUTHENTICATE",
            Protocol::Pop3 | Protocol::Smtp => "AUTH",
        };
        let is_greeting =
            self.protocol == Protocol::Smtp && command == format!("EHLO {}", self.name);
        let is_login = messages.iter().any(|(mechanism, message)| {
            command == message
                || command == format!("{verb} {mechanism}")
                || command == format!("{verb} {mechanism} {message}")
        });
        known.contains(&command) || is_greeting || is_login
    }

    /// What goes to the log is printable and bounded, and the token is not in it, even if the server repeats it.
    fn tells_no_secret(&self, detail: &str) {
        assert!(!detail.contains(char::is_control), "{detail:?}");
        assert!(detail.len() <= DETAIL);
        assert!(!detail.contains(&self.secret));
        for (_, message) in messages(&self.secret) {
            assert!(!detail.contains(&message));
        }
    }

    /// A list that mail programs may be shown: printable words, and none about authentication or TLS.
    fn is_sound(&self, profile: &Profile) {
        for word in profile.words() {
            assert!(!word.is_empty() && word.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            let word = word.to_ascii_uppercase();
            let keyword = word.split(' ').next().unwrap_or_default();
            let is_foreign = match self.protocol {
                Protocol::Imap => {
                    matches!(keyword, "STARTTLS" | "LOGINDISABLED") || keyword.starts_with("AUTH=")
                }
                Protocol::Pop3 => matches!(keyword, "SASL" | "STLS"),
                Protocol::Smtp => {
                    matches!(keyword, "AUTH" | "STARTTLS") || keyword.starts_with("AUTH=")
                }
            };
            assert!(!is_foreign, "{word:?} is not the provider's to say");
        }
        assert_eq!(profile.lacks(profile), None);
    }

    /// Success needs the server's yes, in one piece with its line end, after the token went out.
    fn was_told_so(&mut self, logged_in: &LoggedIn) {
        let asked_at = self.asked_at.expect("success without a token");
        let answers = &self.heard[asked_at..];
        let tag = format!("{} ok", last_tag(&self.said));
        let yes = match self.protocol {
            Protocol::Imap => tag.as_bytes(),
            Protocol::Pop3 => b"+ok",
            Protocol::Smtp => b"235",
        };
        let is_yes = |line: &[u8]| line.to_ascii_lowercase().starts_with(yes);
        assert!(
            answers
                .split_inclusive(|b| *b == b'\n')
                .any(|line| line.ends_with(b"\n") && is_yes(line)),
            "success that nobody told"
        );
        assert!(answers.ends_with(logged_in.leftovers()));
        assert!(logged_in.leftovers().len() <= CAPACITY);
        // What had not yet come is relayed as well, so it belongs to the same picture.
        let relayed = [logged_in.leftovers(), &self.unsaid()].concat();
        self.happens(format!("LoggedIn {relayed:?}"));
    }
}

/// An upstream command without its tag.
fn untagged(line: &str) -> &str {
    let is_tag = |word: &str| word.len() == 18 && word.starts_with("mw");
    match line.split_once(' ') {
        Some((tag, command)) if is_tag(tag) => command,
        _ => line,
    }
}

/// The tag of the last command that has one.
fn last_tag(said: &[u8]) -> String {
    let mut lines = said.rsplit(|b| *b == b'\n');
    let last = lines.find(|line| line.starts_with(b"mw"));
    let tag = last.and_then(|line| line.get(..18)).unwrap_or_default();
    String::from_utf8_lossy(tag).into_owned()
}
