//! Our IMAP server before login.

use std::fmt;

use zeroize::Zeroizing;

use super::super::desk::{self, Clerk, Desk};
use super::super::framing::{self, Line};
use super::super::sasl::{self, Exchange, Turn};
use super::super::{
    Bounds, Credentials, Ending, Interruption, Local, LocalEvent, LoggedIn, Machine, Opening,
    Privacy, Profile, SASL_LINE, Step, held,
};
use super::frame::{Frame, LITERAL, frame};
use super::grammar::{self, Command};
use super::replies;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;

/// Bad commands before the connection is closed.
const BAD_COMMANDS: usize = 3;

/// The server side of IMAP until credentials are in hand.
pub struct ImapLocal {
    desk: Desk,
    state: State,
    /// Octets of the input that were already answered with a continuation.
    invited: usize,
}

/// What comes next.
enum State {
    ExpectCommand,
    ExpectResponse {
        tag: String,
        exchange: Exchange,
    },
    /// The answer to [`LocalEvent::NeedProfile`].
    ExpectProfile {
        tag: String,
    },
    /// The answer to [`LocalEvent::Credentials`].
    ExpectVerdict {
        tag: String,
    },
    /// [`Local::tls_started`].
    ExpectTls,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ExpectCommand => "ExpectCommand",
            Self::ExpectResponse { .. } => "ExpectResponse",
            Self::ExpectProfile { .. } => "ExpectProfile",
            Self::ExpectVerdict { .. } => "ExpectVerdict",
            Self::ExpectTls => "ExpectTls",
        }
    }
}

impl ImapLocal {
    /// A server that has just accepted a connection.
    pub fn new(bounds: Bounds, privacy: Privacy, profile: Option<Profile>) -> Self {
        let mut desk = Desk::new(bounds, privacy, profile, 2 * LITERAL);
        let greeting = replies::greeting(desk.profile.as_ref(), privacy);
        desk.say(&greeting);
        Self {
            desk,
            state: State::ExpectCommand,
            invited: 0,
        }
    }

    /// Refuses a command that makes no sense.
    fn bad(&mut self, tag: Option<&str>, reason: &str) {
        self.desk
            .say(&format!("{} BAD {reason}\r\n", tag.unwrap_or("*")));
        self.desk
            .count_bad(BAD_COMMANDS, "* BYE Too many bad commands.\r\n");
    }

    fn too_long(&mut self) {
        self.desk.part(
            "* BYE [TOOBIG] Line or literal too long.\r\n",
            Ending::TooLong,
        );
    }

    /// Takes one command, if there is a whole one.
    fn command(&mut self) -> Option<LocalEvent> {
        match frame(&self.desk.input, self.desk.bounds.line, self.invited) {
            Frame::Incomplete => {}
            Frame::TooLong => self.too_long(),
            Frame::Waits(octets) => self.invite(octets),
            Frame::LiteralTooLarge(octets) => self.spoil(octets, "[TOOBIG] Literal too large."),
            Frame::Broken(octets) => self.spoil(octets, "NUL or CR inside a line."),
            Frame::Whole(octets) => {
                let command = self.take(octets);
                let command = command.strip_suffix(b"\n").unwrap_or(&command);
                return self.obey(framing::without_cr(command));
            }
        }
        None
    }

    fn take(&mut self, octets: usize) -> Zeroizing<Vec<u8>> {
        self.invited = 0;
        self.desk.input.take(octets)
    }

    /// Takes a command off and refuses it.
    fn spoil(&mut self, octets: usize, reason: &str) {
        let command = self.take(octets);
        self.bad(grammar::tagged(&command).map(|(tag, _)| tag), reason);
    }

    /// Asks for a synchronising literal, where a literal makes sense.
    fn invite(&mut self, octets: usize) {
        let command =
            grammar::tagged(&self.desk.input.bytes()[..octets]).map(|(_, command)| command);
        if !self.desk.privacy.allows_login() && command.is_some_and(grammar::is_login) {
            // Inviting the rest would ask for the password in clear.
            let command = self.take(octets);
            let tag = grammar::tagged(&command).map_or("*", |(tag, _)| tag);
            self.secure_first(tag);
        } else if command.is_some_and(grammar::takes_literals) {
            self.desk.say("+ OK\r\n");
            self.invited = octets;
        } else {
            self.spoil(octets, "No literal is expected here.");
        }
    }

    fn obey(&mut self, frame: &[u8]) -> Option<LocalEvent> {
        let Some((tag, command)) = grammar::tagged(frame) else {
            self.bad(None, "Invalid tag or missing command.");
            return None;
        };
        match grammar::command(command) {
            Command::Capability if self.desk.profile.is_none() => {
                self.state = State::ExpectProfile {
                    tag: tag.to_owned(),
                };
                return Some(LocalEvent::NeedProfile);
            }
            Command::Login { .. } | Command::Authenticate { .. }
                if !self.desk.privacy.allows_login() =>
            {
                self.secure_first(tag);
            }
            Command::Login { user, password } => {
                return Some(self.credentials(tag, sasl::credentials(&user, &password)));
            }
            Command::Authenticate { mechanism, initial } => {
                return self.authenticate(tag, &mechanism, initial);
            }
            Command::Capability => self.capabilities(tag),
            Command::Noop => self.desk.say(&format!("{tag} OK NOOP completed.\r\n")),
            Command::Logout => self.desk.part(
                &format!("* BYE Logging out.\r\n{tag} OK LOGOUT completed.\r\n"),
                Ending::Quit,
            ),
            Command::Id => self.desk.say(&format!(
                "* ID (\"name\" \"mailwicket\")\r\n{tag} OK ID completed.\r\n"
            )),
            // RFC 5161 §3.1 allows it only after login; some clients send it early, which is no reason to count it.
            Command::Enable => self.desk.say(&format!("{tag} BAD Log in first.\r\n")),
            Command::StartTls => return self.start_tls(tag),
            Command::Other => {
                self.desk.missed_login = true;
                self.bad(
                    Some(tag),
                    "Log in first; is authentication switched on in the mail program? (MW-NOAUTH)",
                );
            }
            Command::Malformed => self.bad(Some(tag), "Invalid arguments."),
        }
        None
    }

    /// Refuses a login in clear. What follows it counts as well, so that nobody goes on for long.
    fn secure_first(&mut self, tag: &str) {
        self.desk.missed_tls = true;
        self.desk
            .say(&format!("{tag} {}\r\n", replies::SECURE_FIRST));
        self.desk
            .count_bad(BAD_COMMANDS, "* BYE Too many bad commands.\r\n");
    }

    /// RFC 3501 §6.2.1.
    fn start_tls(&mut self, tag: &str) -> Option<LocalEvent> {
        match self.desk.privacy {
            Privacy::Offered | Privacy::Required => {
                let reply = format!("{tag} OK Begin TLS now.\r\n");
                let event = self.desk.start_tls(&reply)?;
                self.state = State::ExpectTls;
                return Some(event);
            }
            Privacy::Secured => self.bad(Some(tag), "TLS is on already."),
            Privacy::Clear => self.bad(Some(tag), "TLS is not available on this port."),
        }
        None
    }

    fn capabilities(&mut self, tag: &str) {
        let list = replies::capabilities(self.desk.profile.as_ref(), self.desk.privacy);
        self.desk.say(&format!(
            "* CAPABILITY {list}\r\n{tag} OK CAPABILITY completed.\r\n"
        ));
    }

    fn authenticate(
        &mut self,
        tag: &str,
        mechanism: &[u8],
        initial: Option<Zeroizing<Vec<u8>>>,
    ) -> Option<LocalEvent> {
        let Some((exchange, challenge)) = Exchange::begin(mechanism) else {
            self.desk
                .say(&format!("{tag} NO Only PLAIN and LOGIN are supported.\r\n"));
            return None;
        };
        match initial {
            Some(response) => self.exchange(tag.to_owned(), exchange, &response),
            None => {
                self.challenge(tag.to_owned(), exchange, challenge);
                None
            }
        }
    }

    fn challenge(&mut self, tag: String, exchange: Exchange, challenge: &str) {
        self.desk.say(&format!("+ {challenge}\r\n"));
        self.state = State::ExpectResponse { tag, exchange };
    }

    /// Takes one line of a SASL exchange, if there is a whole one.
    fn response(&mut self) -> Option<LocalEvent> {
        let response = match self.desk.input.line(SASL_LINE) {
            Line::Incomplete => return None,
            Line::TooLong => {
                self.too_long();
                return None;
            }
            Line::Broken => Zeroizing::new(vec![0]), // which is not base64
            Line::Whole(line) => line,
        };
        let State::ExpectResponse { tag, exchange } =
            std::mem::replace(&mut self.state, State::ExpectCommand)
        else {
            return None;
        };
        self.exchange(tag, exchange, response.trim_ascii_end())
    }

    fn exchange(&mut self, tag: String, exchange: Exchange, response: &[u8]) -> Option<LocalEvent> {
        match exchange.take(response) {
            Turn::Credentials(credentials) => return Some(self.credentials(&tag, credentials)),
            Turn::Challenge(exchange, challenge) => self.challenge(tag, exchange, challenge),
            Turn::Cancelled => self
                .desk
                .say(&format!("{tag} BAD Authentication cancelled.\r\n")),
            Turn::NotBase64 => self.bad(Some(&tag), "Invalid base64."),
        }
        None
    }

    fn credentials(&mut self, tag: &str, credentials: Credentials) -> LocalEvent {
        self.state = State::ExpectVerdict {
            tag: tag.to_owned(),
        };
        LocalEvent::Credentials(credentials)
    }
}

impl Clerk for ImapLocal {
    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    fn is_parked(&self) -> bool {
        matches!(
            self.state,
            State::ExpectProfile { .. } | State::ExpectVerdict { .. } | State::ExpectTls
        )
    }

    fn too_much(&self) -> &'static str {
        replies::TOO_MUCH
    }

    fn expects_command(&self) -> bool {
        matches!(self.state, State::ExpectCommand)
    }

    fn advance(&mut self) -> Option<LocalEvent> {
        match self.state {
            State::ExpectResponse { .. } => self.response(),
            _ => self.command(),
        }
    }
}

impl Machine for ImapLocal {
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

impl Local for ImapLocal {
    fn profile(&mut self, profile: Result<&Profile, &Failure>) {
        let State::ExpectProfile { tag } = std::mem::replace(&mut self.state, State::ExpectCommand)
        else {
            return;
        };
        match profile {
            Ok(profile) => {
                self.desk.profile = Some(profile.clone());
                self.capabilities(&tag);
            }
            Err(failure) => {
                let cause = failure.cause;
                let farewell = format!(
                    "* BYE [UNAVAILABLE] {} ({})\r\n",
                    cause.words(),
                    cause.code()
                );
                self.desk.part(&farewell, Ending::NoProfile);
            }
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
        let State::ExpectVerdict { tag } = std::mem::replace(&mut self.state, State::ExpectCommand)
        else {
            return;
        };
        self.desk.say(&replies::refusal(&tag, failure));
        match failure.cause {
            Cause::Password => self.desk.count_failed("* BYE Too many failed logins.\r\n"),
            Cause::Changed => self.desk.part("* BYE Connect again.\r\n", Ending::Refused),
            _ => {}
        }
    }

    fn accept(mut self: Box<Self>, login: &LoggedIn) -> Result<Opening, Ending> {
        let leftovers = self.desk.input.take_all();
        if held::holds_login(Protocol::Imap, &leftovers) {
            return Err(Ending::SecondLogin);
        }
        let mut reply = self.desk.out.take();
        if let State::ExpectVerdict { tag } = &self.state {
            let said: &[u8] = match login.reply.trim_ascii().is_empty() {
                true => b" Logged in.", // an OK without text makes some clients wait for ever
                false => &login.reply,
            };
            for part in [tag.as_bytes(), b" OK", said, b"\r\n"] {
                reply.push(part);
            }
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

impl fmt::Debug for ImapLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapLocal")
            .field("state", &self.state.name())
            .field("input", &self.desk.input)
            .finish_non_exhaustive()
    }
}
