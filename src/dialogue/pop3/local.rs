//! Our POP3 server before login.

use std::fmt;

use zeroize::Zeroizing;

use super::super::desk::{self, Clerk, Desk};
use super::super::framing::Line;
use super::super::sasl::{self, Exchange, Turn};
use super::super::{
    Bounds, Credentials, Ending, Interruption, Local, LocalEvent, LoggedIn, Machine, Opening,
    Privacy, Profile, SASL_LINE, Step, held,
};
use super::grammar::{self, Command};
use super::replies;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;

/// Bad commands before the connection is closed.
const BAD_COMMANDS: usize = 3;

/// The server side of POP3 until credentials are in hand.
pub struct Pop3Local {
    desk: Desk,
    state: State,
}

/// What comes next.
enum State {
    ExpectCommand,
    /// PASS, after USER.
    ExpectPass {
        name: Zeroizing<Vec<u8>>,
    },
    ExpectResponse {
        exchange: Exchange,
    },
    /// The answer to [`LocalEvent::NeedProfile`]; between USER and PASS, CAPA changes nothing.
    ExpectProfile {
        name: Option<Zeroizing<Vec<u8>>>,
    },
    /// The answer to [`LocalEvent::Credentials`].
    ExpectVerdict,
    /// [`Local::tls_started`].
    ExpectTls,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ExpectCommand => "ExpectCommand",
            Self::ExpectPass { .. } => "ExpectPass",
            Self::ExpectResponse { .. } => "ExpectResponse",
            Self::ExpectProfile { .. } => "ExpectProfile",
            Self::ExpectVerdict => "ExpectVerdict",
            Self::ExpectTls => "ExpectTls",
        }
    }

    /// What USER said, where PASS is awaited.
    fn into_name(self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::ExpectPass { name } => Some(name),
            _ => None,
        }
    }
}

impl Pop3Local {
    /// A server that has just accepted a connection. Its greeting has no timestamp, so nobody tries APOP.
    pub fn new(bounds: Bounds, privacy: Privacy, profile: Option<Profile>) -> Self {
        let mut desk = Desk::new(bounds, privacy, profile, 0);
        desk.say("+OK mailwicket ready\r\n");
        Self {
            desk,
            state: State::ExpectCommand,
        }
    }

    /// Refuses a command that makes no sense.
    fn bad(&mut self, reason: &str) {
        self.desk.say(&format!("-ERR {reason}\r\n"));
        self.desk
            .count_bad(BAD_COMMANDS, "-ERR Too many bad commands.\r\n");
    }

    /// Takes a line, if there is a whole sound one.
    fn line(&mut self, limit: usize) -> Option<Zeroizing<Vec<u8>>> {
        match self.desk.input.line(limit) {
            Line::Incomplete => {}
            Line::TooLong => self.desk.part("-ERR Line too long.\r\n", Ending::TooLong),
            Line::Broken => {
                self.state = State::ExpectCommand;
                self.bad("NUL or CR inside a line.");
            }
            Line::Whole(line) => return Some(line),
        }
        None
    }

    fn obey(&mut self, line: &[u8]) -> Option<LocalEvent> {
        let state = std::mem::replace(&mut self.state, State::ExpectCommand);
        match grammar::command(line) {
            Command::User(_) | Command::Pass(_) | Command::Auth { .. }
                if !self.desk.privacy.allows_login() =>
            {
                self.desk.missed_tls = true;
                self.bad(replies::SECURE_FIRST);
            }
            Command::User(name) => {
                self.desk.say("+OK\r\n"); // for every name, so that nobody learns which exist
                self.state = State::ExpectPass {
                    name: Zeroizing::new(name.to_vec()),
                };
            }
            Command::Pass(password) => match state {
                State::ExpectPass { name } => {
                    return Some(self.credentials(sasl::credentials(&name, password)));
                }
                _ => self.desk.say("-ERR No username given.\r\n"),
            },
            Command::Capa => return self.capa(state.into_name()),
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial),
            Command::AuthList if !self.desk.privacy.allows_login() => {
                self.desk.say("+OK\r\n.\r\n");
            }
            Command::AuthList => self.desk.say("+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n"),
            Command::Noop => self.desk.say("+OK\r\n"),
            Command::Quit => self.desk.part("+OK Bye.\r\n", Ending::Quit),
            Command::Apop => self.desk.say("-ERR APOP is not supported.\r\n"),
            Command::Stls => return self.start_tls(),
            Command::Other => {
                self.desk.missed_login = true;
                self.bad(
                    "Not logged in; is authentication switched on in the mail program? (MW-NOAUTH)",
                );
            }
        }
        None
    }

    /// RFC 2595 §4.
    fn start_tls(&mut self) -> Option<LocalEvent> {
        match self.desk.privacy {
            Privacy::Offered | Privacy::Required => {
                let event = self.desk.start_tls("+OK Begin TLS now.\r\n")?;
                self.state = State::ExpectTls;
                return Some(event);
            }
            Privacy::Secured => self.bad("TLS is on already."),
            Privacy::Clear => self.desk.say(
                "-ERR TLS is not available on this port; set the mail program to no encryption.\r\n",
            ),
        }
        None
    }

    fn capa(&mut self, name: Option<Zeroizing<Vec<u8>>>) -> Option<LocalEvent> {
        match self.desk.profile {
            Some(_) => {
                self.capabilities(name);
                None
            }
            None => {
                self.state = State::ExpectProfile { name };
                Some(LocalEvent::NeedProfile)
            }
        }
    }

    fn capabilities(&mut self, name: Option<Zeroizing<Vec<u8>>>) {
        let list = replies::capabilities(self.desk.profile.as_ref(), self.desk.privacy);
        self.desk.say(&list);
        self.state = match name {
            Some(name) => State::ExpectPass { name },
            None => State::ExpectCommand,
        };
    }

    fn auth(&mut self, mechanism: &[u8], initial: Option<&[u8]>) -> Option<LocalEvent> {
        let Some((exchange, challenge)) = Exchange::begin(mechanism) else {
            self.desk
                .say("-ERR Only PLAIN and LOGIN are supported.\r\n");
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
        self.desk.say(&format!("+ {challenge}\r\n"));
        self.state = State::ExpectResponse { exchange };
    }

    fn exchange(&mut self, exchange: Exchange, response: &[u8]) -> Option<LocalEvent> {
        match exchange.take(response) {
            Turn::Credentials(credentials) => return Some(self.credentials(credentials)),
            Turn::Challenge(exchange, challenge) => self.challenge(exchange, challenge),
            Turn::Cancelled => self.desk.say("-ERR Authentication cancelled.\r\n"),
            Turn::NotBase64 => self.bad("Invalid base64."),
        }
        None
    }

    fn credentials(&mut self, credentials: Credentials) -> LocalEvent {
        self.state = State::ExpectVerdict;
        LocalEvent::Credentials(credentials)
    }
}

impl Clerk for Pop3Local {
    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    fn is_parked(&self) -> bool {
        matches!(
            self.state,
            State::ExpectProfile { .. } | State::ExpectVerdict | State::ExpectTls
        )
    }

    fn too_much(&self) -> &'static str {
        replies::TOO_MUCH
    }

    fn expects_command(&self) -> bool {
        matches!(self.state, State::ExpectCommand | State::ExpectPass { .. })
    }

    fn advance(&mut self) -> Option<LocalEvent> {
        if !matches!(self.state, State::ExpectResponse { .. }) {
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

impl Machine for Pop3Local {
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

impl Local for Pop3Local {
    fn profile(&mut self, profile: Result<&Profile, &Failure>) {
        let State::ExpectProfile { name } = &mut self.state else {
            return;
        };
        let name = name.take();
        match profile {
            Ok(profile) => {
                self.desk.profile = Some(profile.clone());
                self.capabilities(name);
            }
            Err(failure) => self
                .desk
                .part(&replies::refusal(failure), Ending::NoProfile),
        }
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
    }

    fn promised(&self) -> Option<&Profile> {
        self.desk.profile.as_ref()
    }

    fn refuse(&mut self, failure: &Failure) {
        if !matches!(self.state, State::ExpectVerdict) {
            return;
        }
        self.state = State::ExpectCommand;
        self.desk.say(&replies::refusal(failure));
        match failure.cause {
            Cause::Password => self.desk.count_failed(""),
            Cause::Changed => self.desk.close(Ending::Refused),
            _ => {}
        }
    }

    fn accept(mut self: Box<Self>, login: &LoggedIn) -> Result<Opening, Ending> {
        let leftovers = self.desk.input.take_all();
        if held::holds_login(Protocol::Pop3, &leftovers) {
            return Err(Ending::SecondLogin);
        }
        let mut reply = self.desk.out.take();
        for part in [b"+OK", &login.reply[..], b"\r\n"] {
            reply.push(part);
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

impl fmt::Debug for Pop3Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pop3Local")
            .field("state", &self.state.name())
            .field("input", &self.desk.input)
            .finish_non_exhaustive()
    }
}
