//! What our three small clients have in common: input, output, and how a conversation fails.

use zeroize::Zeroizing;

use super::framing::{Input, Line};
use super::{
    AccessToken, LoggedIn, Outgoing, Step, UpstreamEvent, UpstreamFailure, UpstreamFailureKind,
    refusals, text,
};
use crate::config::UpstreamTls;

/// Octets of a server's line.
const LINE: usize = 8192;
/// Lines of a server before login; one that talks more is not going to let us in.
const LINES: usize = 256;

/// What is done with a server's capability list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    StartTls,
    Login,
}

impl From<UpstreamTls> for Next {
    fn from(tls: UpstreamTls) -> Self {
        match tls {
            UpstreamTls::StartTls => Self::StartTls,
            UpstreamTls::Implicit => Self::Login,
        }
    }
}

/// An upstream machine, as far as [`step`] must know it.
pub(super) trait Agent {
    fn wire(&mut self) -> &mut Wire;

    /// Whether the driver has to act before the server is heard again.
    fn is_parked(&self) -> bool;

    /// Uses one line of the server.
    fn line(&mut self, line: &[u8]);
}

/// Drains an upstream machine until there is something to do for its driver.
pub(super) fn step(agent: &mut impl Agent) -> Step<UpstreamEvent> {
    loop {
        let parked = agent.is_parked();
        match agent.wire().next(parked) {
            Ok(line) => agent.line(&line),
            Err(step) => return step,
        }
    }
}

/// The common part of an upstream machine.
pub(super) struct Wire {
    pub(super) input: Input,
    pub(super) out: Outgoing,
    pending: Option<UpstreamEvent>,
    lines: usize,
    /// What must not be quoted: the login's message and the token in it.
    secrets: Vec<Zeroizing<String>>,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            input: Input::new(LINE + 1024),
            out: Outgoing::default(),
            pending: None,
            lines: 0,
            secrets: Vec::new(),
        }
    }

    /// Keeps in mind what a server that repeats our words would give away.
    pub(super) fn keep_secret(&mut self, message: &str, token: &AccessToken) {
        self.secrets = [message, token.expose()]
            .map(|secret| Zeroizing::new(secret.to_owned()))
            .into();
    }

    /// What the server said, fit for the log. Some repeat the line that they do not understand, which may be our login.
    pub(super) fn quote(&self, said: &[u8]) -> String {
        let said = said.trim_ascii();
        let is_echo = |secret: &Zeroizing<String>| repeats(said, secret.as_bytes());
        match self.secrets.iter().any(is_echo) {
            true => "(left out, because it repeats our login)".to_owned(),
            false => text::printable(said),
        }
    }

    /// Puts an event up for the driver.
    pub(super) fn report(&mut self, event: UpstreamEvent) {
        self.pending = Some(event);
    }

    pub(super) fn fail(&mut self, failure: UpstreamFailure) {
        self.report(UpstreamEvent::Failed(failure));
    }

    /// Fails because of what the server said to the login; `status` is what its error challenges had told, `kind` what its code says.
    pub(super) fn refused(&mut self, kind: UpstreamFailureKind, status: &str, said: &[u8]) {
        let quoted = self.quote(said);
        let told = format!("the server answered the login with:{status} {quoted}");
        let pause = refusals::pause(said);
        self.fail(match refusals::meaning(said) {
            Some(meaning) => UpstreamFailure {
                kind: meaning.kind.unwrap_or(kind),
                detail: format!("{told} ({})", meaning.remedy),
                remedy: Some(meaning.remedy),
                pause,
            },
            None => UpstreamFailure {
                kind,
                detail: told,
                remedy: None,
                pause,
            },
        });
    }

    /// Fails for `reason`, quoting what the server said.
    pub(super) fn unavailable(&mut self, reason: &str, said: &[u8]) {
        let detail = match said.is_empty() {
            true => reason.to_owned(),
            false => format!("{reason}: {}", self.quote(said)),
        };
        self.fail(UpstreamFailure::unavailable(detail));
    }

    /// Sends a line, unless the server has said something that nobody asked for: an answer that comes before its question is
    /// an attack or a defect. Says whether the line was sent.
    pub(super) fn send(&mut self, parts: &[&[u8]]) -> bool {
        if !self.input.is_empty() {
            self.unavailable("the server answered before it was asked", &[]);
            return false;
        }
        parts.iter().for_each(|part| self.out.push(part));
        self.out.push(b"\r\n");
        true
    }

    /// Asks for the handshake, unless bytes in clear are waiting behind the answer: they would be taken for secured ones.
    pub(super) fn start_tls(&mut self) -> bool {
        if !self.input.is_empty() {
            self.unavailable(
                "the server sent bytes in clear behind its answer to STARTTLS",
                &[],
            );
            return false;
        }
        self.report(UpstreamEvent::StartTls);
        true
    }

    /// Reports success with everything that came behind it.
    pub(super) fn logged_in(&mut self, reply: &[u8]) {
        let mut said = Outgoing::default();
        said.push(reply);
        let leftovers = self.input.take_all();
        self.report(UpstreamEvent::LoggedIn(LoggedIn {
            reply: said,
            leftovers,
        }));
    }

    /// What is due for the driver, or else the server's next line. A `parked` machine looks at no line.
    fn next(&mut self, parked: bool) -> Result<Zeroizing<Vec<u8>>, Step<UpstreamEvent>> {
        if !self.out.is_empty() {
            return Err(Step::Send(self.out.take()));
        }
        if let Some(event) = self.pending.take() {
            return Err(Step::Event(event));
        }
        if parked {
            return Err(Step::NeedInput);
        }
        self.lines += 1;
        match self.input.line(LINE) {
            Line::Whole(line) if self.lines <= LINES => return Ok(line),
            Line::Incomplete => {
                self.lines -= 1;
                return Err(Step::NeedInput);
            }
            Line::Whole(_) => self.unavailable("the server talks without letting us in", &[]),
            Line::TooLong => self.unavailable("the server sent a line beyond the limit", &[]),
            Line::Broken => {
                self.unavailable("the server sent a line with a NUL or a stray CR", &[])
            }
        }
        self.next(true)
    }
}

/// Whether a piece of `secret` stands in the part of `said` that could be quoted.
fn repeats(said: &[u8], secret: &[u8]) -> bool {
    const PIECE: usize = 16;
    /// More than any number of characters that are quoted.
    const QUOTED: usize = 1024;
    let said = &said[..said.len().min(QUOTED)];
    let piece = PIECE.min(secret.len()).max(1);
    said.windows(piece)
        .any(|window| memchr::memmem::find(secret, window).is_some())
}
