//! Our SMTP client before login.

use std::fmt;

use zeroize::Zeroizing;

use super::super::sasl::{Mechanism, Trial};
use super::super::wire::{self, Agent, Next, Wire};
use super::super::{
    Login, Machine, Profile, Step, Upstream, UpstreamEvent, UpstreamFailureKind, text,
};
use super::grammar::{self, ReplyLine};
use crate::config::UpstreamTls;
use crate::protocol::Protocol;

/// Lines of the longest reply.
const REPLY_LINES: usize = 128;
/// Lines of the longest success reply, which is passed on.
const SUCCESS_LINES: usize = 16;
/// Octets of a command line without its end (RFC 5321 §4.5.3.1.4).
const COMMAND: usize = 510;
/// What is said in EHLO when the mail program said nothing that could be repeated.
const NAMELESS: &str = "[127.0.0.1]";

/// The client side of SMTP until the provider says yes.
pub struct SmtpUpstream {
    wire: Wire,
    state: State,
    name: String,
    /// The lines of the reply that is coming in, without their codes.
    reply: Vec<Vec<u8>>,
    code: Option<u16>,
    /// The lines of the last EHLO reply, without the greeting.
    said: Vec<Vec<u8>>,
}

/// What comes next.
enum State {
    ExpectGreeting {
        tls: UpstreamTls,
    },
    ExpectEhlo {
        next: Next,
    },
    ExpectStartTls,
    ExpectHandshake,
    /// [`Upstream::login`] or [`Upstream::quit`].
    ExpectLogin,
    /// 334, to send the message that did not fit the command.
    ExpectInvitation {
        mechanism: Mechanism,
        message: Zeroizing<String>,
    },
    ExpectResult {
        trial: Trial,
    },
    Done,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ExpectGreeting { .. } => "ExpectGreeting",
            Self::ExpectEhlo { .. } => "ExpectEhlo",
            Self::ExpectStartTls => "ExpectStartTls",
            Self::ExpectHandshake => "ExpectHandshake",
            Self::ExpectLogin => "ExpectLogin",
            Self::ExpectInvitation { .. } => "ExpectInvitation",
            Self::ExpectResult { .. } => "ExpectResult",
            Self::Done => "Done",
        }
    }
}

impl SmtpUpstream {
    /// A client that waits for the greeting; with implicit TLS the handshake is already over.
    pub fn new(tls: UpstreamTls, name: Option<&str>) -> Self {
        Self {
            wire: Wire::new(),
            state: State::ExpectGreeting { tls },
            name: name.unwrap_or(NAMELESS).to_owned(),
            reply: Vec::new(),
            code: None,
            said: Vec::new(),
        }
    }

    fn ehlo(&mut self, next: Next) {
        if self.wire.send(&[b"EHLO ", self.name.as_bytes()]) {
            self.state = State::ExpectEhlo { next };
        }
    }

    fn mechanisms(&self) -> Vec<String> {
        let mut mechanisms = Vec::new();
        for line in &self.said {
            let (keyword, words) = grammar::keyword(line);
            if keyword == b"AUTH" {
                mechanisms.extend(words.map(|word| String::from_utf8_lossy(word).into_owned()));
            }
        }
        mechanisms
    }

    fn reply(&mut self, code: u16, lines: Vec<Vec<u8>>) {
        let last = lines.last().map(Vec::as_slice).unwrap_or_default();
        match (std::mem::replace(&mut self.state, State::Done), code) {
            (State::ExpectGreeting { tls }, 220) => self.ehlo(tls.into()),
            (State::ExpectEhlo { next }, 250) => self.capabilities(next, lines),
            (State::ExpectStartTls, 220) => {
                if self.wire.start_tls() {
                    self.state = State::ExpectHandshake;
                }
            }
            (State::ExpectInvitation { mechanism, message }, 334) => {
                if self.wire.send(&[message.as_bytes()]) {
                    self.state = State::ExpectResult {
                        trial: Trial::new(mechanism),
                    };
                }
            }
            (State::ExpectResult { .. }, 235) if is_passable(&lines) => self.logged_in(&lines),
            (State::ExpectResult { mut trial }, 334) => match trial.dismissal(last) {
                Some(dismissal) if self.wire.send(&[dismissal.as_bytes()]) => {
                    self.state = State::ExpectResult { trial };
                }
                Some(_) => {} // the wire has said why
                None => self
                    .wire
                    .unavailable("the server challenges without end", last),
            },
            (State::ExpectInvitation { .. }, 400..) => self.refused(code, &lines, ""),
            (State::ExpectResult { trial }, 400..) => self.refused(code, &lines, &trial.status()),
            (state, _) => {
                let reason = format!("unexpected reply {code} in {}", state.name());
                self.wire.unavailable(&reason, last);
            }
        }
    }

    fn capabilities(&mut self, next: Next, lines: Vec<Vec<u8>>) {
        // The first line is the server's name and greeting (RFC 5321 §4.1.1.1).
        self.said = lines.into_iter().skip(1).collect();
        match next {
            Next::Login => {
                let profile = Profile::new(Protocol::Smtp, self.said.iter().map(Vec::as_slice));
                self.state = State::ExpectLogin;
                self.wire.report(UpstreamEvent::Ready(profile));
            }
            Next::StartTls
                if self
                    .said
                    .iter()
                    .any(|line| grammar::keyword(line).0 == b"STARTTLS") =>
            {
                if self.wire.send(&[b"STARTTLS"]) {
                    self.state = State::ExpectStartTls;
                }
            }
            Next::StartTls => self
                .wire
                .unavailable("the server does not offer STARTTLS", &[]),
        }
    }

    /// Passes the success reply on as it came.
    fn logged_in(&mut self, lines: &[Vec<u8>]) {
        let mut reply = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let mark = if at + 1 == lines.len() { b" " } else { b"-" };
            for part in [b"235", &mark[..], line, b"\r\n"] {
                reply.extend_from_slice(part);
            }
        }
        self.wire.logged_in(&reply);
    }

    /// The words that tell why may stand in any line of the reply.
    fn refused(&mut self, code: u16, lines: &[Vec<u8>], status: &str) {
        let kind = match code {
            432 => UpstreamFailureKind::Busy,
            400..500 => UpstreamFailureKind::Unavailable,
            _ => UpstreamFailureKind::TokenRefused,
        };
        let said = lines.join(&b' ');
        self.wire.refused(kind, &format!("{status} {code}"), &said);
    }
}

/// Whether a success reply may be shown to the mail program.
fn is_passable(lines: &[Vec<u8>]) -> bool {
    lines.len() <= SUCCESS_LINES && lines.iter().all(|line| text::is_reply_text(line))
}

impl Agent for SmtpUpstream {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn is_parked(&self) -> bool {
        matches!(
            self.state,
            State::ExpectLogin | State::ExpectHandshake | State::Done
        )
    }

    fn line(&mut self, line: &[u8]) {
        let is_login = matches!(
            self.state,
            State::ExpectInvitation { .. } | State::ExpectResult { .. }
        );
        let old_style = line
            .strip_prefix(b"+ ")
            .filter(|_| is_login && self.reply.is_empty());
        let parsed = match old_style {
            // Some servers invite as IMAP does.
            Some(text) => Some(ReplyLine {
                code: 334,
                is_last: true,
                text,
            }),
            None => grammar::reply_line(line),
        };
        match parsed {
            Some(reply)
                if self.code.is_none_or(|code| code == reply.code)
                    && self.reply.len() < REPLY_LINES =>
            {
                self.reply.push(reply.text.to_vec());
                self.code = Some(reply.code);
                if reply.is_last {
                    self.code = None;
                    let lines = std::mem::take(&mut self.reply);
                    self.reply(reply.code, lines);
                }
            }
            _ => {
                self.state = State::Done;
                self.wire
                    .unavailable("the server does not speak SMTP", line);
            }
        }
    }
}

impl Machine for SmtpUpstream {
    type Event = UpstreamEvent;

    fn room(&self) -> usize {
        self.wire.input.room()
    }

    fn receive(&mut self, input: &[u8]) {
        self.wire.input.receive(input);
    }

    fn step(&mut self) -> Step<UpstreamEvent> {
        wire::step(self)
    }
}

impl Upstream for SmtpUpstream {
    fn tls_started(&mut self) {
        if matches!(self.state, State::ExpectHandshake) {
            self.said.clear();
            self.ehlo(Next::Login);
        }
    }

    fn login(&mut self, login: &Login<'_>) {
        if !matches!(self.state, State::ExpectLogin) {
            return; // never before the list is in hand, never twice
        }
        self.state = State::Done;
        let mechanism = match Mechanism::choose(login.mechanism, &self.mechanisms()) {
            Ok(mechanism) => mechanism,
            Err(failure) => return self.wire.fail(failure),
        };
        let message = mechanism.message(login);
        self.wire.keep_secret(&message, login.token);
        let name = mechanism.name().as_bytes();
        if b"AUTH ".len() + name.len() + 1 + message.len() <= COMMAND {
            if self.wire.send(&[b"AUTH ", name, b" ", message.as_bytes()]) {
                self.state = State::ExpectResult {
                    trial: Trial::new(mechanism),
                };
            }
        } else if self.wire.send(&[b"AUTH ", name]) {
            self.state = State::ExpectInvitation { mechanism, message };
        }
    }

    fn quit(&mut self) {
        self.wire.send(&[b"QUIT"]);
        self.state = State::Done;
    }
}

impl fmt::Debug for SmtpUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpUpstream")
            .field("state", &self.state.name())
            .field("input", &self.wire.input)
            .finish_non_exhaustive()
    }
}
