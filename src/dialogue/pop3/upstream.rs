//! Our POP3 client before login.

use std::fmt;

use zeroize::Zeroizing;

use super::super::sasl::{Mechanism, Trial};
use super::super::wire::{self, Agent, Next, Wire};
use super::super::{
    Login, Machine, Profile, Step, Upstream, UpstreamEvent, UpstreamFailure, UpstreamFailureKind,
    text,
};
use super::grammar::{self, Response};
use crate::config::UpstreamTls;
use crate::protocol::Protocol;

/// Lines of the longest capability list.
const CAPABILITIES: usize = 128;

/// The client side of POP3 until the provider says yes.
pub struct Pop3Upstream {
    wire: Wire,
    state: State,
    /// The lines of CAPA.
    said: Vec<Vec<u8>>,
}

/// What comes next.
enum State {
    ExpectGreeting {
        tls: UpstreamTls,
    },
    ExpectCapa {
        next: Next,
    },
    /// A line of the list, or its end.
    ExpectCapability {
        next: Next,
    },
    ExpectStls,
    ExpectHandshake,
    /// [`Upstream::login`] or [`Upstream::quit`].
    ExpectLogin,
    /// A continuation. The message always takes a line of its own: a command has 255 octets at most (RFC 2449 §4), and
    /// Exchange closes the connection on an initial response.
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
            Self::ExpectCapa { .. } => "ExpectCapa",
            Self::ExpectCapability { .. } => "ExpectCapability",
            Self::ExpectStls => "ExpectStls",
            Self::ExpectHandshake => "ExpectHandshake",
            Self::ExpectLogin => "ExpectLogin",
            Self::ExpectInvitation { .. } => "ExpectInvitation",
            Self::ExpectResult { .. } => "ExpectResult",
            Self::Done => "Done",
        }
    }
}

impl Pop3Upstream {
    /// A client that waits for the greeting; with implicit TLS the handshake is already over.
    pub fn new(tls: UpstreamTls) -> Self {
        Self {
            wire: Wire::new(),
            state: State::ExpectGreeting { tls },
            said: Vec::new(),
        }
    }

    fn ask_capa(&mut self, next: Next) {
        self.said.clear();
        if self.wire.send(&[b"CAPA"]) {
            self.state = State::ExpectCapa { next };
        }
    }

    /// The mechanisms of `SASL` (RFC 5034 §3).
    fn mechanisms(&self) -> Vec<String> {
        let is_sasl = |line: &&Vec<u8>| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"SASL ");
        let name = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        self.said
            .iter()
            .filter(is_sasl)
            .flat_map(|line| grammar::words(&line[5..]).map(name))
            .collect()
    }

    fn response(&mut self, state: State, response: &Response<'_>, line: &[u8]) {
        match (state, response) {
            (State::ExpectGreeting { tls }, Response::Ok(_)) => self.ask_capa(tls.into()),
            (State::ExpectGreeting { .. }, Response::Err(said)) => {
                let kind = refusal_kind(said, UpstreamFailureKind::Unavailable);
                let detail = format!("the server greeted with {}", self.wire.quote(said));
                self.wire.fail(UpstreamFailure {
                    kind,
                    detail,
                    remedy: None,
                    pause: None,
                });
            }
            (State::ExpectCapa { next }, Response::Ok(_)) => {
                self.state = State::ExpectCapability { next }
            }
            (State::ExpectStls, Response::Ok(_)) => {
                if self.wire.start_tls() {
                    self.state = State::ExpectHandshake;
                }
            }
            (State::ExpectInvitation { mechanism, message }, Response::Continuation(_)) => {
                if self.wire.send(&[message.as_bytes()]) {
                    self.state = State::ExpectResult {
                        trial: Trial::new(mechanism),
                    };
                }
            }
            (State::ExpectResult { .. }, Response::Ok(said)) if text::is_reply_text(said) => {
                self.wire.logged_in(said)
            }
            (State::ExpectResult { mut trial }, Response::Continuation(challenge)) => {
                match trial.dismissal(challenge) {
                    Some(dismissal) if self.wire.send(&[dismissal.as_bytes()]) => {
                        self.state = State::ExpectResult { trial };
                    }
                    Some(_) => {} // the wire has said why
                    None => self
                        .wire
                        .unavailable("the server challenges without end", line),
                }
            }
            (State::ExpectInvitation { .. }, Response::Err(said)) => self.refused("", said),
            (State::ExpectResult { trial }, Response::Err(said)) => {
                self.refused(&trial.status(), said);
            }
            (state, _) => self
                .wire
                .unavailable(&format!("unexpected answer in {}", state.name()), line),
        }
    }

    fn capability(&mut self, next: Next, line: &[u8]) {
        if line != b"." {
            self.said.push(line.trim_ascii_end().to_vec());
            self.state = State::ExpectCapability { next };
            if self.said.len() > CAPABILITIES {
                self.state = State::Done;
                self.wire
                    .unavailable("the server's capability list has no end", &[]);
            }
            return;
        }
        match next {
            Next::Login => {
                let profile = Profile::new(Protocol::Pop3, self.said.iter().map(Vec::as_slice));
                self.state = State::ExpectLogin;
                self.wire.report(UpstreamEvent::Ready(profile));
            }
            Next::StartTls
                if self
                    .said
                    .iter()
                    .any(|line| line.eq_ignore_ascii_case(b"STLS")) =>
            {
                if self.wire.send(&[b"STLS"]) {
                    self.state = State::ExpectStls;
                }
            }
            Next::StartTls => self.wire.unavailable("the server does not offer STLS", &[]),
        }
    }

    fn refused(&mut self, status: &str, said: &[u8]) {
        let kind = refusal_kind(said, UpstreamFailureKind::TokenRefused);
        self.wire.refused(kind, status, said);
    }
}

/// What an `-ERR` means by its response code (RFC 2449 §8.1, RFC 3206); without one that tells, it is `otherwise`.
fn refusal_kind(said: &[u8], otherwise: UpstreamFailureKind) -> UpstreamFailureKind {
    let said = said.trim_ascii().to_ascii_uppercase();
    let begins = |code: &str| said.starts_with(code.as_bytes());
    if begins("[IN-USE]") || begins("[LOGIN-DELAY]") {
        UpstreamFailureKind::Busy
    } else if begins("[SYS/") {
        UpstreamFailureKind::Unavailable
    } else {
        otherwise
    }
}

impl Agent for Pop3Upstream {
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
        match std::mem::replace(&mut self.state, State::Done) {
            State::ExpectCapability { next } => self.capability(next, line),
            state => match grammar::response(line) {
                Some(response) => self.response(state, &response, line),
                None => self
                    .wire
                    .unavailable("the server does not speak POP3", line),
            },
        }
    }
}

impl Machine for Pop3Upstream {
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

impl Upstream for Pop3Upstream {
    fn tls_started(&mut self) {
        if matches!(self.state, State::ExpectHandshake) {
            self.ask_capa(Next::Login);
        }
    }

    fn login(&mut self, login: &Login<'_>) {
        if !matches!(self.state, State::ExpectLogin) {
            return; // never before the list is in hand, never twice
        }
        self.state = State::Done;
        match Mechanism::choose(login.mechanism, &self.mechanisms()) {
            Ok(mechanism) => {
                let message = mechanism.message(login);
                self.wire.keep_secret(&message, login.token);
                if self.wire.send(&[b"AUTH ", mechanism.name().as_bytes()]) {
                    self.state = State::ExpectInvitation { mechanism, message };
                }
            }
            Err(failure) => self.wire.fail(failure),
        }
    }

    fn quit(&mut self) {
        self.wire.send(&[b"QUIT"]);
        self.state = State::Done;
    }
}

impl fmt::Debug for Pop3Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pop3Upstream")
            .field("state", &self.state.name())
            .field("input", &self.wire.input)
            .finish_non_exhaustive()
    }
}
