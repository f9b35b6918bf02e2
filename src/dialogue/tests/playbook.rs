//! A peer that knows no protocol: it feeds bytes to a machine, keeps what the machine does, and checks it word for word.

use std::collections::VecDeque;

use secrecy::{ExposeSecret, SecretString};

use super::super::*;
use crate::failure::Cause;
use crate::stage::Stage;

/// The token of all tests.
pub(super) const TOKEN: &str = "ya29.TESTTOKEN";
/// The SASL user of all tests.
pub(super) const IDENTITY: &str = "alice@example.com";
/// `NUL alice@example.com NUL wicket-1` in base64.
pub(super) const PLAIN: &str = "AGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x";
/// `user=alice@example.com ^A auth=Bearer ya29.TESTTOKEN ^A ^A` in base64.
pub(super) const XOAUTH2: &str =
    "dXNlcj1hbGljZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LlRFU1RUT0tFTgEB";
/// The error challenge of a provider in base64: `{"status":"401","schemes":"bearer","scope":"mail"}`.
pub(super) const CHALLENGE: &str =
    "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=";

pub(super) const BOUNDS: Bounds = Bounds {
    octets: 64 * 1024,
    line: 8192,
    failed_logins: 3,
};

pub(super) fn failure(cause: Cause) -> Failure {
    Failure::new(Stage::Password, cause, "a detail for the log only")
}

pub(super) fn profile(protocol: Protocol, words: &[&str]) -> Profile {
    Profile::new(protocol, words.iter().map(|word| word.as_bytes()))
}

pub(super) fn token(text: &str) -> AccessToken {
    AccessToken::new(SecretString::from(text.to_owned())).expect("a sound token")
}

/// Keeps what a machine does, until a test asks for it.
struct Record<Event> {
    said: Vec<u8>,
    events: VecDeque<Event>,
}

impl<Event: fmt::Debug> Record<Event> {
    fn new() -> Self {
        Self {
            said: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Feeds all of `input`, draining the machine before each piece; stops at an event, because its answer comes first.
    fn feed<M: Machine<Event = Event> + ?Sized>(&mut self, machine: &mut M, mut input: &[u8]) {
        loop {
            match machine.step() {
                Step::Send(bytes) => self.said.extend_from_slice(&bytes),
                Step::Event(event) => {
                    self.events.push_back(event);
                    let count = machine.room().min(input.len());
                    machine.receive(&input[..count]); // what came together stays together
                    return;
                }
                Step::NeedInput if input.is_empty() => return,
                Step::NeedInput => {
                    let count = machine.room().min(input.len());
                    assert!(count > 0, "it wants input and has no room: {machine:?}");
                    machine.receive(&input[..count]);
                    input = &input[count..];
                }
            }
        }
    }

    fn hears(&mut self, expected: &str) {
        let said = std::mem::take(&mut self.said);
        assert_eq!(
            said.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
        assert!(self.events.is_empty(), "unexpected: {:?}", self.events);
    }
}

/// A mail program.
pub(super) struct Client {
    machine: Box<dyn Local>,
    record: Record<LocalEvent>,
}

impl Client {
    pub(super) fn new(protocol: Protocol, profile: Option<Profile>) -> Self {
        Self::with(protocol, Privacy::Clear, profile)
    }

    pub(super) fn with(protocol: Protocol, privacy: Privacy, profile: Option<Profile>) -> Self {
        let mut client = Self {
            machine: local(protocol, BOUNDS, privacy, profile),
            record: Record::new(),
        };
        client.says("");
        client
    }

    /// A client that has read the greeting.
    pub(super) fn greeted(protocol: Protocol, words: &[&str]) -> Self {
        let mut client = Self::new(protocol, Some(profile(protocol, words)));
        client.record.said.clear();
        client
    }

    pub(super) fn says(&mut self, input: impl AsRef<[u8]>) {
        self.record.feed(&mut *self.machine, input.as_ref());
    }

    /// Everything that was said since the last time, and nothing has happened besides.
    #[track_caller]
    pub(super) fn hears(&mut self, expected: &str) {
        self.record.hears(expected);
    }

    /// Says something and hears the answer.
    #[track_caller]
    pub(super) fn asks(&mut self, input: impl AsRef<[u8]>, answer: &str) {
        self.says(input);
        self.hears(answer);
    }

    /// Does not care for what it heard.
    pub(super) fn forgets(&mut self) {
        self.record.said.clear();
    }

    #[track_caller]
    pub(super) fn presents(&mut self, login: &str, password: impl AsRef<[u8]>) {
        match self.record.events.pop_front() {
            Some(LocalEvent::Credentials(credentials)) => {
                assert_eq!(credentials.login, login);
                assert_eq!(
                    credentials
                        .password
                        .expose_secret()
                        .escape_ascii()
                        .to_string(),
                    password.as_ref().escape_ascii().to_string()
                );
            }
            other => panic!("no credentials but {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn presents_alice(&mut self) {
        self.presents("alice@example.com", "wicket-1");
    }

    /// What can be no credentials at all, and goes the way of a wrong password.
    #[track_caller]
    pub(super) fn presents_nobody(&mut self) {
        self.presents("", "");
    }

    /// How the conversation has ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.record.events.front() {
            Some(LocalEvent::Close(ending)) => Some(*ending),
            _ => None,
        }
    }

    /// It need not log in.
    pub(super) fn known(mut self) -> Self {
        self.machine.waive_login();
        self
    }

    /// It has begun to send without a login.
    #[track_caller]
    pub(super) fn sends(&mut self) {
        match self.record.events.pop_front() {
            Some(LocalEvent::Mail) => {}
            other => panic!("no mail but {other:?}"),
        }
    }

    pub(super) fn refused(&mut self, cause: Cause) {
        self.machine.refuse(&failure(cause));
        self.says("");
    }

    #[track_caller]
    pub(super) fn wants_profile(&mut self) {
        match self.record.events.pop_front() {
            Some(LocalEvent::NeedProfile) => {}
            other => panic!("no wish for a profile but {other:?}"),
        }
    }

    pub(super) fn is_told(&mut self, profile: Result<&Profile, Cause>) {
        self.machine
            .profile(profile.map_err(failure).as_ref().copied());
        self.says("");
    }

    #[track_caller]
    pub(super) fn is_closed(&mut self, ending: Ending) {
        match self.record.events.pop_front() {
            Some(LocalEvent::Close(closed)) => assert_eq!(closed, ending),
            other => panic!("not closed but {other:?}"),
        }
        self.says("");
        match self.record.events.pop_front() {
            Some(LocalEvent::Close(closed)) => assert_eq!(closed, ending),
            other => panic!("not closed for good but {other:?}"),
        }
        self.hears("");
    }

    /// Says the last words and is closed.
    #[track_caller]
    pub(super) fn parts(&mut self, words: &str, ending: Ending) {
        let event = self.record.events.pop_front();
        self.hears(words);
        self.record.events.extend(event);
        self.is_closed(ending);
    }

    /// Does not look at the first thing that happened.
    pub(super) fn drops_an_event(&mut self) {
        self.record.events.pop_front();
    }

    /// Is told to shake hands with these words, and does so.
    #[track_caller]
    pub(super) fn shakes_hands(&mut self, reply: &str) {
        match self.record.events.pop_front() {
            Some(LocalEvent::StartTls(announced)) => {
                assert_eq!(
                    announced.escape_ascii().to_string(),
                    reply.as_bytes().escape_ascii().to_string()
                );
            }
            other => panic!("no handshake but {other:?}"),
        }
        self.hears("");
        self.machine.tls_started();
        self.says("");
    }

    pub(super) fn missed_tls(&self) -> bool {
        self.machine.missed_tls()
    }

    pub(super) fn interrupted(&mut self, interruption: Interruption) {
        self.machine.interrupt(interruption);
        self.says("");
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.machine.name()
    }

    /// What the mail program hears, and what goes upstream first.
    pub(super) fn accepted(self, reply: &str) -> Result<(String, String), Ending> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let login = logged_in(reply.as_bytes());
        let opening = self.machine.accept(&login)?;
        Ok((text(&opening.reply), text(&opening.leftovers)))
    }
}

/// The proof as an upstream machine would make it.
pub(super) fn logged_in(reply: &[u8]) -> LoggedIn {
    let mut said = Outgoing::default();
    said.push(reply);
    LoggedIn {
        reply: said,
        leftovers: Outgoing::default(),
    }
}

/// A provider's mail server.
pub(super) struct Server {
    machine: Box<dyn Upstream>,
    record: Record<UpstreamEvent>,
}

/// Tags count down from `mw4…`, because the test's randomness is that even.
const NONCE: Nonce = {
    let mut nonce = [0; 40];
    let mut at = 0;
    while at < nonce.len() {
        nonce[at] = at as u8 / 8 * 0x11;
        at += 1;
    }
    nonce
};

impl Server {
    pub(super) fn new(protocol: Protocol, tls: UpstreamTls) -> Self {
        Self::named(protocol, tls, None)
    }

    pub(super) fn named(protocol: Protocol, tls: UpstreamTls, name: Option<&str>) -> Self {
        Self {
            machine: upstream(protocol, tls, &NONCE, name),
            record: Record::new(),
        }
    }

    pub(super) fn says(&mut self, input: impl AsRef<[u8]>) {
        self.record.feed(&mut *self.machine, input.as_ref());
    }

    #[track_caller]
    pub(super) fn hears(&mut self, expected: &str) {
        self.record.hears(expected);
    }

    /// Says something and hears the answer.
    #[track_caller]
    pub(super) fn asks(&mut self, input: impl AsRef<[u8]>, answer: &str) {
        self.says(input);
        self.hears(answer);
    }

    /// Does not care for what it heard.
    pub(super) fn forgets(&mut self) {
        self.record.said.clear();
    }

    /// Whatever it heard.
    pub(super) fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.record.said)).expect("ASCII")
    }

    #[track_caller]
    pub(super) fn is_ready(&mut self, words: &[&str]) {
        match self.record.events.pop_front() {
            Some(UpstreamEvent::Ready(profile)) => {
                assert_eq!(profile.words().collect::<Vec<_>>(), words);
            }
            other => panic!("not ready but {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn shakes_hands(&mut self) {
        match self.record.events.pop_front() {
            Some(UpstreamEvent::StartTls) => {}
            other => panic!("no handshake but {other:?}"),
        }
        self.machine.tls_started();
        self.says("");
    }

    pub(super) fn login(&mut self) {
        self.login_with(TOKEN, MechanismChoice::Xoauth2);
    }

    pub(super) fn login_with(&mut self, text: &str, mechanism: MechanismChoice) {
        self.machine.login(&Login {
            identity: IDENTITY,
            token: &token(text),
            mechanism,
            host: "mail.example.com",
            port: 993,
        });
        self.says("");
    }

    pub(super) fn quit(&mut self) {
        self.machine.quit();
        self.says("");
    }

    /// The success reply, and what came behind it.
    #[track_caller]
    pub(super) fn lets_in(&mut self, reply: &str, leftovers: &str) {
        match self.record.events.pop_front() {
            Some(UpstreamEvent::LoggedIn(login)) => {
                assert_eq!(
                    login.reply.escape_ascii().to_string(),
                    reply.as_bytes().escape_ascii().to_string()
                );
                assert_eq!(
                    login.leftovers.escape_ascii().to_string(),
                    leftovers.as_bytes().escape_ascii().to_string()
                );
            }
            other => panic!("not logged in but {other:?}"),
        }
    }

    /// The failure's detail, after a look at its kind; nothing more was said.
    #[track_caller]
    pub(super) fn fails(&mut self, kind: UpstreamFailureKind) -> String {
        match self.record.events.pop_front() {
            Some(UpstreamEvent::Failed(failure)) => {
                assert_eq!(failure.kind, kind, "{}", failure.detail);
                self.hears("");
                failure.detail
            }
            other => panic!("not failed but {other:?}"),
        }
    }
}
