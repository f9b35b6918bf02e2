//! Our SMTP server before login.

use std::fmt;

use zeroize::Zeroizing;

use super::super::desk::{self, Clerk, Desk};
use super::super::framing::Line;
use super::super::sasl::{Exchange, Turn};
use super::super::{
    Bounds, Credentials, Ending, Interruption, Local, LocalEvent, LoggedIn, Machine, Opening,
    Privacy, Profile, SASL_LINE, Step, held,
};
use super::grammar::{self, Command};
use super::replies;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;

/// Bad commands before the connection is closed; a client that was told to log in may try a few mechanisms first.
const BAD_COMMANDS: usize = 10;

/// The server side of SMTP until credentials are in hand.
pub struct SmtpLocal {
    desk: Desk,
    state: State,
    /// Whether EHLO or HELO has come.
    is_greeted: bool,
    /// What it said, where that is fit to be repeated.
    name: Option<String>,
    /// Whether the mail program may send without a login.
    is_waived: bool,
}

/// What comes next.
enum State {
    ExpectCommand,
    ExpectResponse {
        exchange: Exchange,
    },
    /// The answer to [`LocalEvent::NeedProfile`].
    ExpectProfile,
    /// The answer to [`LocalEvent::Credentials`].
    ExpectVerdict,
    /// [`Local::tls_started`].
    ExpectTls,
    /// The answer to [`LocalEvent::Mail`]; the input begins with the command.
    ExpectPassage,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ExpectCommand => "ExpectCommand",
            Self::ExpectResponse { .. } => "ExpectResponse",
            Self::ExpectProfile => "ExpectProfile",
            Self::ExpectVerdict => "ExpectVerdict",
            Self::ExpectTls => "ExpectTls",
            Self::ExpectPassage => "ExpectPassage",
        }
    }
}

impl SmtpLocal {
    /// A server that has just accepted a connection.
    pub fn new(bounds: Bounds, privacy: Privacy, profile: Option<Profile>) -> Self {
        let mut desk = Desk::new(bounds, privacy, profile, 0);
        desk.say("220 localhost ESMTP mailwicket\r\n");
        Self {
            desk,
            state: State::ExpectCommand,
            is_greeted: false,
            name: None,
            is_waived: false,
        }
    }

    /// Refuses a command that makes no sense before login.
    fn bad(&mut self, reply: &str) {
        self.desk.say(reply);
        self.desk
            .count_bad(BAD_COMMANDS, "421 4.7.0 Too many bad commands.\r\n");
    }

    /// Takes a line, if there is a whole sound one.
    fn line(&mut self, limit: usize) -> Option<Zeroizing<Vec<u8>>> {
        match self.desk.input.line(limit) {
            Line::Incomplete => {}
            Line::TooLong => self
                .desk
                .part("500 5.5.6 Line too long.\r\n", Ending::TooLong),
            Line::Broken => {
                self.state = State::ExpectCommand;
                self.bad("500 5.5.2 NUL or CR inside a line.\r\n");
            }
            Line::Whole(line) => return Some(line),
        }
        None
    }

    fn obey(&mut self, line: &[u8]) -> Option<LocalEvent> {
        match grammar::command(line) {
            Command::Ehlo(name) => {
                self.greeted(name);
                return self.ehlo();
            }
            Command::Helo(name) => {
                self.greeted(name);
                self.desk.say("250 localhost\r\n");
            }
            Command::Auth { .. } | Command::AuthMalformed if !self.is_greeted => {
                self.bad("503 5.5.1 Send EHLO or HELO first.\r\n");
            }
            Command::Auth { .. } | Command::AuthMalformed if !self.desk.privacy.allows_login() => {
                self.secure_first(replies::SECURE_LOGIN_FIRST);
            }
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial),
            Command::AuthMalformed => {
                self.bad("501 5.5.4 AUTH takes a mechanism and at most one response.\r\n")
            }
            Command::Noop | Command::Rset => self.desk.say("250 2.0.0 Ok\r\n"),
            Command::Quit => self.desk.part("221 2.0.0 Bye\r\n", Ending::Quit),
            Command::StartTls => return self.start_tls(),
            // The chunk is already on its way; it must never be read as commands.
            Command::Bdat => self
                .desk
                .part(replies::LOG_IN_FIRST, Ending::DataBeforeLogin),
            Command::Mail | Command::Later if !self.desk.privacy.allows_login() => {
                self.secure_first(replies::SECURE_FIRST);
            }
            Command::Later if self.is_waived => self.desk.say(replies::MAIL_FIRST),
            Command::Mail | Command::Later => {
                self.desk.missed_login = true;
                self.bad(replies::LOG_IN_FIRST);
            }
            Command::Forward => self.bad("550 5.7.0 Not accepted here.\r\n"),
            Command::Other => self.bad("500 5.5.2 Command not recognised.\r\n"),
        }
        None
    }

    /// Refuses what must not be done in clear.
    fn secure_first(&mut self, reply: &str) {
        self.desk.missed_tls = true;
        self.bad(reply);
    }

    /// RFC 3207 §4.
    fn start_tls(&mut self) -> Option<LocalEvent> {
        match self.desk.privacy {
            Privacy::Offered | Privacy::Required => {
                let event = self.desk.start_tls("220 2.0.0 Ready to start TLS.\r\n")?;
                self.state = State::ExpectTls;
                return Some(event);
            }
            Privacy::Secured => self.bad("503 5.5.1 TLS is on already.\r\n"),
            Privacy::Clear => self.bad("502 5.5.1 TLS is not available on this port.\r\n"),
        }
        None
    }

    /// Whether the input begins with a whole, sound MAIL. It is not used up: the provider's server must get it as it came.
    fn begins_with_mail(&self) -> bool {
        let line = self.desk.input.whole_line(self.desk.bounds.line);
        line.is_some_and(|line| grammar::command(line) == Command::Mail)
    }

    /// Answers a MAIL that was held.
    fn refuse_mail(&mut self, failure: &Failure) {
        self.line(self.desk.bounds.line);
        self.desk.say(&replies::refused_mail(failure));
    }

    fn greeted(&mut self, name: Option<&str>) {
        self.is_greeted = true;
        self.name = name.map(str::to_owned);
    }

    fn ehlo(&mut self) -> Option<LocalEvent> {
        match &self.desk.profile {
            Some(profile) => {
                let reply = replies::ehlo(profile, self.desk.privacy);
                self.desk.say(&reply);
                None
            }
            None => {
                self.state = State::ExpectProfile;
                Some(LocalEvent::NeedProfile)
            }
        }
    }

    fn auth(&mut self, mechanism: &[u8], initial: Option<&[u8]>) -> Option<LocalEvent> {
        let Some((exchange, challenge)) = Exchange::begin(mechanism) else {
            self.bad("504 5.5.4 Only PLAIN and LOGIN are supported.\r\n");
            return None;
        };
        match initial {
            Some(response) => self.exchange(exchange, response),
            None => {
                self.challenge(exchange, challenge);
                None
            }
        }
    }

    fn challenge(&mut self, exchange: Exchange, challenge: &str) {
        self.desk.say(&format!("334 {challenge}\r\n"));
        self.state = State::ExpectResponse { exchange };
    }

    fn exchange(&mut self, exchange: Exchange, response: &[u8]) -> Option<LocalEvent> {
        match exchange.take(response) {
            Turn::Credentials(credentials) => return Some(self.credentials(credentials)),
            Turn::Challenge(exchange, challenge) => self.challenge(exchange, challenge),
            Turn::Cancelled => self.desk.say("501 5.7.0 Authentication cancelled.\r\n"),
            Turn::NotBase64 => self.bad("501 5.5.2 Invalid base64.\r\n"),
        }
        None
    }

    fn credentials(&mut self, credentials: Credentials) -> LocalEvent {
        self.state = State::ExpectVerdict;
        LocalEvent::Credentials(credentials)
    }
}

impl Clerk for SmtpLocal {
    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    fn is_parked(&self) -> bool {
        matches!(
            self.state,
            State::ExpectProfile | State::ExpectVerdict | State::ExpectPassage | State::ExpectTls
        )
    }

    fn too_much(&self) -> &'static str {
        replies::TOO_MUCH
    }

    fn expects_command(&self) -> bool {
        matches!(self.state, State::ExpectCommand)
    }

    fn advance(&mut self) -> Option<LocalEvent> {
        let may_send = self.is_waived && self.desk.privacy.allows_login();
        if self.expects_command() && may_send && self.begins_with_mail() {
            self.state = State::ExpectPassage;
            return Some(LocalEvent::Mail);
        }
        if self.expects_command() {
            let line = self.line(self.desk.bounds.line)?;
            return self.obey(&line);
        }
        let line = self.line(SASL_LINE)?;
        match std::mem::replace(&mut self.state, State::ExpectCommand) {
            State::ExpectResponse { exchange } => self.exchange(exchange, line.trim_ascii_end()),
            _ => None,
        }
    }
}

impl Machine for SmtpLocal {
    type Event = LocalEvent;

    fn room(&self) -> usize {
        self.desk.input.room()
    }

    fn receive(&mut self, input: &[u8]) {
        self.desk.input.receive(input);
    }

    fn step(&mut self) -> Step<LocalEvent> {
        desk::step(self)
    }
}

impl Local for SmtpLocal {
    fn profile(&mut self, profile: Result<&Profile, &Failure>) {
        if !matches!(self.state, State::ExpectProfile) {
            return;
        }
        self.state = State::ExpectCommand;
        match profile {
            Ok(profile) => {
                self.desk.say(&replies::ehlo(profile, self.desk.privacy));
                self.desk.profile = Some(profile.clone());
            }
            Err(failure) => self
                .desk
                .part(&replies::no_profile(failure), Ending::NoProfile),
        }
    }

    fn waive_login(&mut self) {
        self.is_waived = true;
    }

    fn missed_login(&self) -> bool {
        self.desk.missed_login
    }

    fn missed_tls(&self) -> bool {
        self.desk.missed_tls
    }

    fn tls_started(&mut self) {
        self.desk.tls_started();
        self.state = State::ExpectCommand;
        self.is_greeted = false;
        self.name = None;
    }

    fn promised(&self) -> Option<&Profile> {
        self.desk.profile.as_ref()
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn refuse(&mut self, failure: &Failure) {
        match std::mem::replace(&mut self.state, State::ExpectCommand) {
            State::ExpectVerdict => self.desk.say(&replies::refusal(failure)),
            State::ExpectPassage => self.refuse_mail(failure),
            other => {
                self.state = other;
                return;
            }
        }
        match failure.cause {
            Cause::Password => self
                .desk
                .count_failed("421 4.7.0 Too many failed logins, closing.\r\n"),
            Cause::Changed | Cause::Limit => self.desk.close(Ending::Refused), // 421 promises it
            _ => {}
        }
    }

    fn accept(mut self: Box<Self>, login: &LoggedIn) -> Result<Opening, Ending> {
        let leftovers = self.desk.input.take_all();
        if held::holds_login(Protocol::Smtp, &leftovers) {
            return Err(Ending::SecondLogin);
        }
        let mut reply = self.desk.out.take();
        if !matches!(self.state, State::ExpectPassage) {
            reply.push(&login.reply); // nobody asked for it otherwise
        }
        Ok(Opening { reply, leftovers })
    }

    fn interrupt(&mut self, interruption: Interruption) {
        self.desk.part(
            replies::farewell(interruption),
            Ending::Interrupted(interruption),
        );
    }
}

impl fmt::Debug for SmtpLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpLocal")
            .field("state", &self.state.name())
            .field("input", &self.desk.input)
            .finish_non_exhaustive()
    }
}
