//! A whole session before the relay, with both sides fed: our small server and our small client of a protocol, and between them
//! what `session` does, with a password check and a token that are always the same.
//!
//! Whatever both sides say: the mail program hears nothing but our own words and the success of the provider; a stranger causes no
//! login upstream; what follows the login on both sides is handed to the relay, all of it and nothing else. Where TLS is required no
//! password is taken or asked for without it, and what was said in clear has no consequence behind the handshake.

use std::collections::VecDeque;

use mailwicket::config::{MechanismChoice, UpstreamTls};
use mailwicket::dialogue::{
    Credentials, Ending, Local, LocalEvent, LoggedIn, Opening, Outgoing, Privacy, Profile, Step,
    UpstreamFailure, UpstreamFailureKind,
};
use mailwicket::failure::{Cause, Failure};
use mailwicket::protocol::Protocol;
use mailwicket::stage::Stage;
use secrecy::ExposeSecret;

use super::pair::Pair;
use super::script::{self, Script};
use super::setting::{ALICE, BOUNDS, PASSWORD, count, lines, secret};
use super::visit::{Cuts, Outcome, Visit};

/// Octets that a server may hold.
const CAPACITY: usize = 20 * 1024;

/// An IMAP session.
pub fn imap(data: &[u8]) {
    play(Protocol::Imap, data);
}

/// A POP3 session.
pub fn pop3(data: &[u8]) {
    play(Protocol::Pop3, data);
}

/// An SMTP session.
pub fn smtp(data: &[u8]) {
    play(Protocol::Smtp, data);
}

/// Plays a script, and says whether the mail program heard of success.
pub fn play(protocol: Protocol, data: &[u8]) -> bool {
    let script = Script::read(data);
    let privacy = script.privacy();
    let mut machine: Box<dyn Local> = Box::new(Pair::new(protocol, privacy));
    if script.is_waived() {
        machine.waive_login();
    }
    assert!(machine.room() <= CAPACITY, "a bound that is none");
    let mut session = Session {
        secret: secret(data),
        protocol,
        privacy,
        is_waived: script.is_waived(),
        tls: script.tls(),
        mechanism: script.mechanism(),
        turns: script.local,
        visits: script.visits,
        rest: &[],
        heard: Vec::new(),
        said: Vec::new(),
        wrong_passwords: 0,
    };
    while let Some(next) = session.go(&mut *machine) {
        match next {
            Next::Profile => {
                let profile = session.profile(machine.name());
                let profile = profile.map_err(|failure| session.marked(failure));
                machine.profile(profile.as_ref());
            }
            Next::Credentials(credentials) => {
                session.pipelines(&mut *machine);
                match session.open(&credentials, machine.name(), machine.promised()) {
                    Ok(opened) => return session.accept(machine, &opened, Claim::Login),
                    Err(failure) => machine.refuse(&session.marked(failure)),
                }
            }
            Next::Mail => {
                session.pipelines(&mut *machine);
                match session.let_in(machine.name(), machine.promised()) {
                    Ok(opened) => return session.accept(machine, &opened, Claim::Address),
                    Err(failure) => machine.refuse(&session.marked(failure)),
                }
            }
        }
    }
    false
}

/// What the mail program's side waits for.
enum Next {
    Profile,
    Credentials(Credentials),
    Mail,
}

/// What somebody is let in with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    Login,
    Address,
}

/// A login that the provider accepted, and what it said on that connection.
struct Opened {
    logged_in: LoggedIn,
    heard: Vec<u8>,
}

struct Session<'s> {
    /// The token, and the mark of everything that no mail program may be told.
    secret: String,
    protocol: Protocol,
    /// How private the mail program's side is by now.
    privacy: Privacy,
    is_waived: bool,
    tls: UpstreamTls,
    mechanism: MechanismChoice,
    turns: VecDeque<script::Local<'s>>,
    visits: VecDeque<VecDeque<&'s [u8]>>,
    /// What the mail program still says in this turn.
    rest: &'s [u8],
    /// What the mail program has said, since the handshake if there was one.
    heard: Vec<u8>,
    /// What it was told.
    said: Vec<u8>,
    wrong_passwords: usize,
}

impl<'s> Session<'s> {
    /// Goes on until something is needed from outside; `None` at the end.
    fn go(&mut self, machine: &mut dyn Local) -> Option<Next> {
        loop {
            match machine.step() {
                Step::Send(bytes) => self.says(&bytes),
                Step::NeedInput => self.hears(machine)?,
                Step::Event(LocalEvent::NeedProfile) => return Some(Next::Profile),
                Step::Event(LocalEvent::StartTls(reply)) => self.starts_tls(machine, &reply)?,
                Step::Event(LocalEvent::Mail) => {
                    assert!(self.is_waived && self.protocol == Protocol::Smtp);
                    assert_ne!(self.privacy, Privacy::Required, "mail in clear");
                    return Some(Next::Mail);
                }
                Step::Event(LocalEvent::Credentials(credentials)) => {
                    assert_ne!(self.privacy, Privacy::Required, "a password in clear");
                    are_sound(&credentials);
                    return Some(Next::Credentials(credentials));
                }
                Step::Event(LocalEvent::Close(ending)) => {
                    self.has_reason(ending);
                    let again = machine.step();
                    assert!(
                        matches!(again, Step::Event(LocalEvent::Close(same)) if same == ending)
                    );
                    return None;
                }
            }
        }
    }

    /// What the driver does: whatever has come by now has come in clear, and ends it.
    fn starts_tls(&mut self, machine: &mut dyn Local, reply: &Outgoing) -> Option<()> {
        assert!(self.offers_tls(), "STARTTLS where it is not offered");
        assert!(self.heard.ends_with(b"\n"), "something stands behind it");
        if !self.rest.is_empty() {
            return None;
        }
        self.says(reply);
        if let Some(script::Local::SaysInClear(said)) = self.turns.front().copied() {
            let count = said.len().min(machine.room());
            machine.receive(&said[..count]);
            machine.tls_started();
            let next = machine.step();
            let is_injected = matches!(next, Step::Event(LocalEvent::Close(Ending::Injected)));
            assert!(is_injected || count == 0, "taken for secured: {next:?}");
            return None;
        }
        machine.tls_started();
        assert_eq!(machine.name(), None, "it remembers what was said in clear");
        self.privacy = Privacy::Secured;
        self.heard.clear();
        Some(())
    }

    fn offers_tls(&self) -> bool {
        matches!(self.privacy, Privacy::Offered | Privacy::Required)
    }

    /// Some endings have one cause only.
    fn has_reason(&self, ending: Ending) {
        match ending {
            Ending::Injected => assert!(self.offers_tls(), "nothing could be injected"),
            Ending::ProxyHeader => {
                let signs: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0"];
                assert!(signs.iter().any(|sign| count(&self.heard, sign) > 0));
            }
            _ => {}
        }
    }

    fn hears(&mut self, machine: &mut dyn Local) -> Option<()> {
        while self.rest.is_empty() {
            match self.turns.pop_front()? {
                script::Local::Says(said) | script::Local::SaysInClear(said) => self.rest = said,
                script::Local::IsInterrupted(interruption) => {
                    machine.interrupt(interruption);
                    self.parts(machine, Ending::Interrupted(interruption));
                    return None;
                }
            }
        }
        assert!(machine.room() > 0, "{machine:?} wants input without room");
        self.receive(machine);
        Some(())
    }

    fn receive(&mut self, machine: &mut dyn Local) {
        let (now, later) = self.rest.split_at(self.rest.len().min(machine.room()));
        machine.receive(now);
        self.heard.extend_from_slice(now);
        self.rest = later;
    }

    /// After an interruption: the last words, and the end.
    fn parts(&mut self, machine: &mut dyn Local, expected: Ending) {
        loop {
            match machine.step() {
                Step::Send(bytes) => self.says(&bytes),
                Step::Event(LocalEvent::Close(ending)) => return assert_eq!(ending, expected),
                other => panic!("after an interruption it wants {other:?}"),
            }
        }
    }

    /// What came with the login waits for the answer.
    fn pipelines(&mut self, machine: &mut dyn Local) {
        self.receive(machine);
        assert!(matches!(machine.step(), Step::NeedInput), "not parked");
    }

    /// Before success, these are the only lines that a mail program hears.
    fn says(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "an empty send would spin the driver");
        for line in lines(bytes) {
            assert!(
                is_a_reply(self.protocol, line),
                "{line:?} is not ours to say"
            );
            self.is_in_place(line);
        }
        self.said.extend_from_slice(bytes);
        let is_told = count(bytes, self.secret.as_bytes()) > 0;
        assert!(!is_told, "what is for the log only was told");
    }

    /// STARTTLS is offered where it can be done, and a login where a password may come.
    fn is_in_place(&self, line: &str) {
        let words = capabilities(self.protocol, line);
        // A word of another protocol means nothing in this one.
        let (tls, login): (_, &[&str]) = match self.protocol {
            Protocol::Imap => ("STARTTLS", &[]),
            Protocol::Pop3 => ("STLS", &["SASL", "USER"]),
            Protocol::Smtp => ("STARTTLS", &["AUTH"]),
        };
        assert!(!words.contains(&tls) || self.offers_tls(), "{line:?}");
        let is_old = |word: &str| self.protocol != Protocol::Pop3 && word.starts_with("AUTH=");
        let is_login = |word: &&str| login.contains(word) || is_old(word);
        let has_login = words.iter().any(is_login) || is_a_question(self.protocol, line);
        // The only literals in clear that are no logins.
        let has_id = self.protocol == Protocol::Imap
            && count(&self.heard.to_ascii_uppercase(), b"ID") > 0
            && line == "+ OK";
        let may_log_in = self.privacy != Privacy::Required || has_id;
        assert!(
            !has_login || may_log_in,
            "{line:?} asks for a password in clear"
        );
    }

    /// With a detail that must not be told.
    fn marked(&self, mut failure: Failure) -> Failure {
        failure.detail.push_str(&self.secret);
        failure
    }

    fn visit(&mut self, name: Option<&str>) -> Visit<'s> {
        if let Some(name) = name {
            let is_repeatable =
                (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
            assert!(is_repeatable, "{name:?} goes upstream");
            assert!(count(&self.heard, name.as_bytes()) > 0, "made up: {name:?}");
        }
        let turns = self.visits.pop_front().unwrap_or_default();
        Visit::new(
            &self.secret,
            self.protocol,
            self.tls,
            name,
            turns,
            Cuts::none(),
        )
    }

    /// What `profiles` does: one dial without credentials.
    fn profile(&mut self, name: Option<&str>) -> Result<Profile, Failure> {
        let mut visit = self.visit(name);
        match visit.go() {
            Outcome::Ready(profile) => {
                visit.quit();
                Ok(profile)
            }
            Outcome::Failed(failure) => Err(unreachable(&failure)),
            Outcome::Gone => Err(gone()),
            Outcome::LoggedIn(_) => panic!("logged in without a login"),
        }
    }

    /// What `session` does with credentials.
    fn open(
        &mut self,
        credentials: &Credentials,
        name: Option<&str>,
        promised: Option<&Profile>,
    ) -> Result<Opened, Failure> {
        let is_right = credentials.login.eq_ignore_ascii_case(ALICE)
            && credentials.password.expose_secret() == PASSWORD;
        if !is_right {
            self.wrong_passwords += 1;
            assert!(self.wrong_passwords <= BOUNDS.failed_logins);
            return Err(failure(Stage::Password, Cause::Password, ""));
        }
        self.let_in(name, promised)
    }

    /// What `session` does for whoever may come in, with one renewal of a refused token.
    fn let_in(
        &mut self,
        name: Option<&str>,
        promised: Option<&Profile>,
    ) -> Result<Opened, Failure> {
        match self.try_login(name, promised) {
            Err(Refusal::Token) => self
                .try_login(name, promised)
                .map_err(Refusal::into_failure),
            result => result.map_err(Refusal::into_failure),
        }
    }

    fn try_login(
        &mut self,
        name: Option<&str>,
        promised: Option<&Profile>,
    ) -> Result<Opened, Refusal> {
        let mut visit = self.visit(name);
        let outcome = match visit.go() {
            Outcome::Ready(profile) if promised.is_some_and(|p| profile.lacks(p).is_some()) => {
                return Err(Refusal::Other(failure(Stage::Login, Cause::Changed, "")));
            }
            Outcome::Ready(_) => visit.log_in(self.mechanism),
            other => other,
        };
        match outcome {
            Outcome::LoggedIn(logged_in) => Ok(Opened {
                logged_in,
                heard: visit.heard,
            }),
            Outcome::Failed(told) => Err(match told.kind {
                UpstreamFailureKind::TokenRefused => Refusal::Token,
                _ => Refusal::Other(unreachable(&told)),
            }),
            Outcome::Gone => Err(Refusal::Other(gone())),
            Outcome::Ready(_) => panic!("ready twice"),
        }
    }

    /// The mail program hears of success in the provider's words, and what came behind it goes on. A second login does not.
    fn accept(&mut self, machine: Box<dyn Local>, opened: &Opened, claim: Claim) -> bool {
        let Opening { reply, leftovers } = match machine.accept(&opened.logged_in) {
            Ok(opening) => opening,
            Err(ending) => {
                assert_eq!(ending, Ending::SecondLogin);
                return false;
            }
        };
        assert!(self.heard.ends_with(&leftovers) && leftovers.len() <= CAPACITY);
        assert!(!is_login(self.protocol, &leftovers), "a password goes on");
        if claim == Claim::Address {
            assert!(reply.is_empty(), "an answer to no question");
            assert!(leftovers.to_ascii_uppercase().starts_with(b"MAIL"));
            assert!(leftovers.contains(&b'\n'), "not a whole line");
            return true;
        }
        let reply = reply.strip_suffix(b"\r\n").expect("a whole line");
        for line in reply.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = success_text(self.protocol, line);
            assert!(text.iter().all(|b| *b == b'\t' || !b.is_ascii_control()));
            let is_theirs = || count(&opened.heard, text) > 0 || text == b" Logged in.";
            assert!(text.is_empty() || is_theirs(), "made up: {text:?}");
        }
        true
    }
}

/// Whether what goes upstream first is another login, with the local password in it.
fn is_login(protocol: Protocol, leftovers: &[u8]) -> bool {
    let text = String::from_utf8_lossy(leftovers).to_ascii_uppercase();
    // Up to what announces octets that are no lines, which are anybody's to write.
    let is_line = |line: &&str| match protocol {
        Protocol::Imap => !line.contains('}') && !line.contains("COMPRESS"),
        Protocol::Pop3 => true,
        Protocol::Smtp => !line.contains("DATA") && !line.contains("BDAT"),
    };
    text.split('\n').take_while(is_line).any(|line| {
        let mut words = line.split_ascii_whitespace();
        match protocol {
            Protocol::Imap => matches!(words.nth(1), Some("LOGIN" | "AUTHENTICATE")),
            Protocol::Pop3 => matches!(words.next(), Some("USER" | "PASS" | "AUTH" | "APOP")),
            Protocol::Smtp => words.next() == Some("AUTH"),
        }
    })
}

/// The text behind the word of success.
fn success_text(protocol: Protocol, line: &[u8]) -> &[u8] {
    let text = match protocol {
        Protocol::Imap => line
            .splitn(2, |b| *b == b' ')
            .nth(1)
            .and_then(|behind_tag| behind_tag.strip_prefix(b"OK")),
        Protocol::Pop3 => line.strip_prefix(b"+OK"),
        Protocol::Smtp => line
            .strip_prefix(b"235 ")
            .or_else(|| line.strip_prefix(b"235-")),
    };
    text.unwrap_or_else(|| panic!("no success: {}", line.escape_ascii()))
}

/// The keywords of the capabilities that are listed in a line.
fn capabilities(protocol: Protocol, line: &str) -> Vec<&str> {
    match protocol {
        Protocol::Imap => {
            let list = line.split_once("CAPABILITY ").map(|(_, list)| list);
            let list = list.map(|list| list.split(']').next().unwrap_or_default());
            list.unwrap_or_default().split(' ').collect()
        }
        Protocol::Pop3 => line.split(' ').take(1).collect(),
        Protocol::Smtp => {
            let list = line.strip_prefix("250").and_then(|list| list.get(1..));
            list.unwrap_or_default().split(' ').take(1).collect()
        }
    }
}

/// Whether a line asks for more of a login.
fn is_a_question(protocol: Protocol, line: &str) -> bool {
    match protocol {
        Protocol::Imap | Protocol::Pop3 => line.starts_with("+ "),
        Protocol::Smtp => line.starts_with("334"),
    }
}

/// What fits the grammar of our replies before success.
fn is_a_reply(protocol: Protocol, line: &str) -> bool {
    match protocol {
        Protocol::Imap => {
            let mut words = line.splitn(3, ' ');
            let (tag, word, text) = (words.next(), words.next(), words.next());
            let is_state = matches!(word, Some("OK" | "NO" | "BAD")) && text.is_some_and(has_text);
            match tag {
                Some("+") => true,
                Some("*") => {
                    is_state || matches!(word, Some("BYE" | "CAPABILITY" | "ID")) && text.is_some()
                }
                Some(tag) => is_state && tag.len() <= 64,
                None => false,
            }
        }
        // A capability stands on a line of its own.
        Protocol::Pop3 => !line.is_empty(),
        Protocol::Smtp => {
            let (code, text) = line.split_at(line.len().min(3));
            let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
            is_code && code != "235" && text.starts_with([' ', '-'])
        }
    }
}

/// Some mail programs wait for ever behind an `OK` without text.
fn has_text(text: &str) -> bool {
    !text.trim().is_empty()
}

/// Names have no control characters, passwords none of the octets that end a line.
fn are_sound(credentials: &Credentials) {
    let password = credentials.password.expose_secret();
    assert!(!credentials.login.contains(char::is_control) && credentials.login.len() <= 1024);
    assert!(!password.iter().any(|b| b"\0\r\n".contains(b)) && password.len() <= 1024);
    assert_eq!(credentials.login.is_empty(), password.is_empty());
}

/// Why an upstream login failed.
enum Refusal {
    Token,
    Other(Failure),
}

impl Refusal {
    fn into_failure(self) -> Failure {
        match self {
            Self::Token => failure(Stage::Login, Cause::Refused, ""),
            Self::Other(failure) => failure,
        }
    }
}

fn unreachable(told: &UpstreamFailure) -> Failure {
    let cause = match told.kind {
        UpstreamFailureKind::TokenRefused => Cause::Refused,
        UpstreamFailureKind::Forbidden => Cause::Config,
        UpstreamFailureKind::Busy => Cause::Busy,
        UpstreamFailureKind::Unavailable => Cause::Upstream,
    };
    failure(Stage::Login, cause, &told.detail)
}

fn gone() -> Failure {
    failure(Stage::Login, Cause::Upstream, "the server went away")
}

fn failure(stage: Stage, cause: Cause, detail: &str) -> Failure {
    Failure::new(stage, cause, detail)
}
