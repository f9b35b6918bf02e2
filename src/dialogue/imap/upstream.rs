//! Our IMAP client before login.

use std::fmt;

use zeroize::Zeroizing;

use super::super::sasl::{Mechanism, Trial};
use super::super::wire::{self, Agent, Next, Wire};
use super::super::{
    Login, Machine, Nonce, Profile, Step, Upstream, UpstreamEvent, UpstreamFailureKind, text,
};
use super::grammar::{self, Condition, Response};
use crate::config::UpstreamTls;
use crate::protocol::Protocol;

/// The client side of IMAP until the provider says yes.
pub struct ImapUpstream {
    wire: Wire,
    state: State,
    /// Unguessable tags, used from the end: an early or replayed reply cannot match.
    tags: Vec<String>,
    /// What the server said it can do, before login.
    said: Vec<Vec<u8>>,
}

/// What comes next.
enum State {
    ExpectGreeting {
        tls: UpstreamTls,
    },
    ExpectCapability {
        tag: String,
        next: Next,
    },
    ExpectStartTls {
        tag: String,
    },
    ExpectHandshake,
    /// [`Upstream::login`] or [`Upstream::quit`].
    ExpectLogin,
    /// A continuation, to send the message that did not fit the command.
    ExpectInvitation {
        tag: String,
        mechanism: Mechanism,
        message: Zeroizing<String>,
    },
    ExpectResult {
        tag: String,
        trial: Trial,
    },
    Done,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ExpectGreeting { .. } => "ExpectGreeting",
            Self::ExpectCapability { .. } => "ExpectCapability",
            Self::ExpectStartTls { .. } => "ExpectStartTls",
            Self::ExpectHandshake => "ExpectHandshake",
            Self::ExpectLogin => "ExpectLogin",
            Self::ExpectInvitation { .. } => "ExpectInvitation",
            Self::ExpectResult { .. } => "ExpectResult",
            Self::Done => "Done",
        }
    }
}

impl ImapUpstream {
    /// A client that waits for the greeting; with implicit TLS the handshake is already over.
    pub fn new(tls: UpstreamTls, nonce: &Nonce) -> Self {
        Self {
            wire: Wire::new(),
            state: State::ExpectGreeting { tls },
            tags: nonce.chunks_exact(8).map(tag).collect(),
            said: Vec::new(),
        }
    }

    /// Sends a command under a fresh tag.
    fn command(&mut self, command: &[&[u8]]) -> Option<String> {
        let tag = self.tags.pop()?;
        let mut parts = vec![tag.as_bytes()];
        parts.extend_from_slice(command);
        self.wire.send(&parts).then_some(tag)
    }

    fn ask_capability(&mut self, next: Next) {
        self.said.clear();
        if let Some(tag) = self.command(&[b" CAPABILITY"]) {
            self.state = State::ExpectCapability { tag, next };
        }
    }

    fn remember(&mut self, words: Vec<&[u8]>) {
        self.said = words.into_iter().map(<[u8]>::to_vec).collect();
    }

    fn offers(&self, word: &[u8]) -> bool {
        self.said.iter().any(|said| said.eq_ignore_ascii_case(word))
    }

    fn mechanisms(&self) -> Vec<String> {
        let is_auth = |word: &&Vec<u8>| word.len() > 5 && word[..5].eq_ignore_ascii_case(b"AUTH=");
        let name = |word: &Vec<u8>| String::from_utf8_lossy(&word[5..]).into_owned();
        self.said.iter().filter(is_auth).map(name).collect()
    }

    fn greeting(&mut self, tls: UpstreamTls, response: &Response<'_>, line: &[u8]) {
        match response {
            Response::Untagged(word, text) if word == "OK" => {
                match (tls, grammar::capability_code(text)) {
                    // What is said in clear is asked again after the handshake.
                    (UpstreamTls::StartTls, _) => self.ask_capability(Next::StartTls),
                    (UpstreamTls::Implicit, Some(words)) => {
                        self.remember(words);
                        self.ready();
                    }
                    (UpstreamTls::Implicit, None) => self.ask_capability(Next::Login),
                }
            }
            Response::Untagged(word, _) if word == "PREAUTH" => {
                self.wire.unavailable(
                    "the server says that we are already logged in, as somebody",
                    line,
                );
            }
            _ => self.wire.unavailable("the server greeted with", line),
        }
    }

    fn capability(&mut self, tag: String, next: Next, response: &Response<'_>, line: &[u8]) {
        match response {
            Response::Untagged(word, _) if word == "BYE" => {
                self.wire.unavailable("the server closes", line)
            }
            Response::Untagged(word, text) => {
                if word == "CAPABILITY" {
                    self.remember(grammar::words(text));
                }
                self.state = State::ExpectCapability { tag, next };
            }
            Response::Tagged(answered, Condition::Ok, _) if *answered == tag.as_bytes() => {
                match next {
                    Next::Login => self.ready(),
                    Next::StartTls if self.offers(b"STARTTLS") => {
                        if let Some(tag) = self.command(&[b" STARTTLS"]) {
                            self.state = State::ExpectStartTls { tag };
                        }
                    }
                    Next::StartTls => self
                        .wire
                        .unavailable("the server does not offer STARTTLS", &[]),
                }
            }
            _ => self
                .wire
                .unavailable("the server answered CAPABILITY with", line),
        }
    }

    fn start_tls(&mut self, tag: String, response: &Response<'_>, line: &[u8]) {
        match response {
            Response::Tagged(answered, Condition::Ok, _) if *answered == tag.as_bytes() => {
                if self.wire.start_tls() {
                    self.state = State::ExpectHandshake;
                }
            }
            _ => self
                .wire
                .unavailable("the server answered STARTTLS with", line),
        }
    }

    fn ready(&mut self) {
        let profile = Profile::new(Protocol::Imap, self.said.iter().map(Vec::as_slice));
        self.state = State::ExpectLogin;
        self.wire.report(UpstreamEvent::Ready(profile));
    }

    fn invitation(
        &mut self,
        tag: String,
        mechanism: Mechanism,
        message: Zeroizing<String>,
        response: &Response<'_>,
        line: &[u8],
    ) {
        match response {
            Response::Continuation(_) => {
                if self.wire.send(&[message.as_bytes()]) {
                    self.state = State::ExpectResult {
                        tag,
                        trial: Trial::new(mechanism),
                    };
                }
            }
            Response::Untagged(word, _) if word != "BYE" => {
                self.state = State::ExpectInvitation {
                    tag,
                    mechanism,
                    message,
                }
            }
            _ => self.refused(&tag, "", response, line),
        }
    }

    fn result(&mut self, tag: String, mut trial: Trial, response: &Response<'_>, line: &[u8]) {
        match response {
            Response::Tagged(answered, Condition::Ok, said)
                if *answered == tag.as_bytes() && text::is_reply_text(said) =>
            {
                self.wire.logged_in(said);
            }
            Response::Continuation(challenge) => match trial.dismissal(challenge) {
                Some(dismissal) if self.wire.send(&[dismissal.as_bytes()]) => {
                    self.state = State::ExpectResult { tag, trial };
                }
                Some(_) => {} // the wire has said why
                None => self.refused(&tag, &trial.status(), response, line),
            },
            // Mailbox news, alerts and capabilities before success are nobody's yet.
            Response::Untagged(word, _) if word != "BYE" => {
                self.state = State::ExpectResult { tag, trial };
            }
            _ => self.refused(&tag, &trial.status(), response, line),
        }
    }

    fn refused(&mut self, tag: &str, status: &str, response: &Response<'_>, line: &[u8]) {
        let kind = match response {
            Response::Tagged(answered, Condition::No | Condition::Bad, said)
                if *answered == tag.as_bytes() =>
            {
                refusal_kind(said)
            }
            _ => UpstreamFailureKind::Unavailable,
        };
        let said = match response {
            Response::Tagged(_, _, said) => *said,
            _ => line,
        };
        self.wire.refused(kind, status, said);
    }
}

/// What the code of a `NO` to a login means (RFC 5530).
fn refusal_kind(said: &[u8]) -> UpstreamFailureKind {
    match grammar::response_code(said).as_deref() {
        Some(b"LIMIT" | b"INUSE") => UpstreamFailureKind::Busy,
        Some(b"UNAVAILABLE" | b"SERVERBUG") => UpstreamFailureKind::Unavailable,
        _ => UpstreamFailureKind::TokenRefused,
    }
}

fn tag(random: &[u8]) -> String {
    let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
    format!("mw{hex}")
}

impl Agent for ImapUpstream {
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
        let state = std::mem::replace(&mut self.state, State::Done);
        let Some(response) = grammar::response(line) else {
            return self
                .wire
                .unavailable("the server does not speak IMAP", line);
        };
        match state {
            State::ExpectGreeting { tls } => self.greeting(tls, &response, line),
            State::ExpectCapability { tag, next } => self.capability(tag, next, &response, line),
            State::ExpectStartTls { tag } => self.start_tls(tag, &response, line),
            State::ExpectInvitation {
                tag,
                mechanism,
                message,
            } => self.invitation(tag, mechanism, message, &response, line),
            State::ExpectResult { tag, trial } => self.result(tag, trial, &response, line),
            State::ExpectHandshake | State::ExpectLogin | State::Done => {
                self.wire
                    .unavailable("the server spoke when nobody asked", line);
            }
        }
    }
}

impl Machine for ImapUpstream {
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

impl Upstream for ImapUpstream {
    fn tls_started(&mut self) {
        if matches!(self.state, State::ExpectHandshake) {
            self.ask_capability(Next::Login);
        }
    }

    fn login(&mut self, login: &Login<'_>) {
        if !matches!(self.state, State::ExpectLogin) {
            return; // never before the list is in hand, never twice
        }
        let mechanism = match Mechanism::choose(login.mechanism, &self.mechanisms()) {
            Ok(mechanism) => mechanism,
            Err(failure) => {
                self.state = State::Done;
                return self.wire.fail(failure);
            }
        };
        let message = mechanism.message(login);
        self.wire.keep_secret(&message, login.token);
        let name = mechanism.name().as_bytes();
        // IMAP4rev2 has the initial response built in (RFC 9051 §6.2.2).
        if self.offers(b"SASL-IR") || self.offers(b"IMAP4REV2") {
            if let Some(tag) = self.command(&[b" AUTHENTICATE ", name, b" ", message.as_bytes()]) {
                self.state = State::ExpectResult {
                    tag,
                    trial: Trial::new(mechanism),
                };
            }
        } else if let Some(tag) = self.command(&[b" AUTHENTICATE ", name]) {
            self.state = State::ExpectInvitation {
                tag,
                mechanism,
                message,
            };
        }
    }

    fn quit(&mut self) {
        self.command(&[b" LOGOUT"]);
        self.state = State::Done;
    }
}

impl fmt::Debug for ImapUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUpstream")
            .field("state", &self.state.name())
            .field("input", &self.wire.input)
            .finish_non_exhaustive()
    }
}
