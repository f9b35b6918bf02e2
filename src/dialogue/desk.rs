//! What our three small servers have in common: input, output, counters, and how a conversation ends.

use super::framing::Input;
use super::{Bounds, Ending, LocalEvent, Outgoing, Privacy, Profile, SASL_LINE, Step};

/// The common part of a local machine.
pub(super) struct Desk {
    pub(super) bounds: Bounds,
    pub(super) input: Input,
    pub(super) out: Outgoing,
    pub(super) privacy: Privacy,
    /// The provider's list, once it is known.
    pub(super) profile: Option<Profile>,
    ending: Option<Ending>,
    bad: usize,
    failed: usize,
    /// Whether a command came that needs a login.
    pub(super) missed_login: bool,
    /// Whether a command came that needs TLS.
    pub(super) missed_tls: bool,
}

impl Desk {
    /// `more` is what one command may hold besides a line.
    pub(super) fn new(
        bounds: Bounds,
        privacy: Privacy,
        profile: Option<Profile>,
        more: usize,
    ) -> Self {
        Self {
            bounds,
            input: Input::new(SASL_LINE.max(bounds.line) + more + 64),
            out: Outgoing::default(),
            privacy,
            profile,
            ending: None,
            bad: 0,
            failed: 0,
            missed_login: false,
            missed_tls: false,
        }
    }

    /// Says something, unless the last words are said.
    pub(super) fn say(&mut self, reply: &str) {
        if self.ending.is_none() {
            self.out.push(reply.as_bytes());
        }
    }

    /// Ends the conversation as soon as everything is said; what ended it first is what counts.
    pub(super) fn close(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// Says the last words and ends the conversation.
    pub(super) fn part(&mut self, farewell: &str, ending: Ending) {
        self.say(farewell);
        self.close(ending);
    }

    /// Asks for the handshake, to be announced with `reply`; unless something stands behind the command already.
    pub(super) fn start_tls(&mut self, reply: &str) -> Option<LocalEvent> {
        if !self.input.is_empty() {
            self.close(Ending::Injected);
            return None;
        }
        let mut announced = Outgoing::default();
        announced.push(reply.as_bytes());
        Some(LocalEvent::StartTls(announced))
    }

    /// What came in clear after all is not taken for secured.
    pub(super) fn tls_started(&mut self) {
        self.privacy = Privacy::Secured;
        if !self.input.is_empty() {
            self.close(Ending::Injected);
        }
    }

    /// Counts a command that makes no sense; at `limit` the conversation ends.
    pub(super) fn count_bad(&mut self, limit: usize, farewell: &str) {
        self.bad += 1;
        if self.bad >= limit {
            self.part(farewell, Ending::BadCommands);
        }
    }

    /// Counts a wrong password; at the bound the conversation ends.
    pub(super) fn count_failed(&mut self, farewell: &str) {
        self.failed += 1;
        if self.failed >= self.bounds.failed_logins {
            self.part(farewell, Ending::FailedLogins);
        }
    }
}

/// A local machine, as far as [`step`] must know it.
pub(super) trait Clerk {
    fn desk(&mut self) -> &mut Desk;

    /// Whether a verdict or a profile is awaited.
    fn is_parked(&self) -> bool;

    /// The last words to somebody who says too much.
    fn too_much(&self) -> &'static str;

    /// Whether the next line begins a command.
    fn expects_command(&self) -> bool;

    /// Uses up one message of the input, if there is a whole one.
    fn advance(&mut self) -> Option<LocalEvent>;
}

/// Drains a local machine until there is something to do for its driver.
///
/// What is said goes out before anything else happens, so no answer waits for the verdict on a login that came behind it.
pub(super) fn step(clerk: &mut impl Clerk) -> Step<LocalEvent> {
    loop {
        let parked = clerk.is_parked();
        let expects_command = clerk.expects_command();
        let desk = clerk.desk();
        if !desk.out.is_empty() {
            return Step::Send(desk.out.take());
        }
        if desk.ending.is_none() && expects_command {
            desk.ending = desk.input.intruder();
        }
        if let Some(ending) = desk.ending {
            return Step::Event(LocalEvent::Close(ending));
        }
        if parked {
            return Step::NeedInput;
        }
        if desk.input.used() > desk.bounds.octets {
            let farewell = clerk.too_much();
            clerk.desk().part(farewell, Ending::TooMuch);
            continue;
        }
        let before = desk.input.bytes().len();
        if let Some(event) = clerk.advance() {
            return Step::Event(event);
        }
        let desk = clerk.desk();
        let is_used = before != desk.input.bytes().len();
        if !is_used && desk.out.is_empty() && desk.ending.is_none() {
            return Step::NeedInput;
        }
    }
}
