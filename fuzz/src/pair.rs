//! One of our servers, and from its handshake on beside it another that was never spoken to in clear.
//!
//! Nothing that is said before TLS may have a consequence behind it, so the two must be alike; only that a conversation ends for too
//! much that was wrong is allowed to the older one alone, because what was done wrong in clear still counts.

use std::fmt;

use mailwicket::dialogue::{
    Ending, Interruption, Local, LocalEvent, LoggedIn, Machine, Opening, Privacy, Profile, Step,
    local,
};
use mailwicket::failure::Failure;
use mailwicket::protocol::Protocol;
use secrecy::ExposeSecret;

use super::setting::BOUNDS;

/// See the module.
pub struct Pair {
    protocol: Protocol,
    machine: Box<dyn Local>,
    fresh: Option<Box<dyn Local>>,
    is_waived: bool,
    /// What the older one said beyond the other; it must be its last words.
    said_more: bool,
}

impl Pair {
    /// A server that has just accepted a connection.
    pub fn new(protocol: Protocol, privacy: Privacy) -> Self {
        Self {
            protocol,
            machine: local(protocol, BOUNDS, privacy, None),
            fresh: None,
            is_waived: false,
            said_more: false,
        }
    }

    /// What the other one does where the older one does this.
    fn compare(&mut self, step: &Step<LocalEvent>) {
        let Some(fresh) = &mut self.fresh else {
            return;
        };
        let other = fresh.step();
        // Too much was wrong, or something had come in clear.
        let is_spent = matches!(
            step,
            Step::Event(LocalEvent::Close(
                Ending::BadCommands | Ending::FailedLogins | Ending::Injected
            ))
        );
        assert!(
            !self.said_more || is_spent,
            "{step:?} behind the last words"
        );
        match (step, &other) {
            _ if is_spent => self.fresh = None,
            // A header is looked for in the first octets of a connection, which these are not.
            (_, Step::Event(LocalEvent::Close(Ending::ProxyHeader))) => self.fresh = None,
            (Step::Send(said), Step::Send(other)) => {
                assert!(said.starts_with(other), "something survives the handshake");
                self.said_more = said.len() > other.len();
            }
            _ => assert_eq!(
                shown(step),
                shown(&other),
                "something survives the handshake"
            ),
        }
    }
}

/// A step with all that is in it.
fn shown(step: &Step<LocalEvent>) -> String {
    match step {
        Step::Event(LocalEvent::Credentials(credentials)) => {
            let password = credentials.password.expose_secret();
            format!("{:?} {password:?}", credentials.login)
        }
        step => format!("{step:?}"),
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)
    }
}

impl Machine for Pair {
    type Event = LocalEvent;

    fn room(&self) -> usize {
        let room = self.machine.room();
        if let Some(fresh) = &self.fresh {
            assert_eq!(room, fresh.room(), "something survives the handshake");
        }
        room
    }

    fn receive(&mut self, input: &[u8]) {
        self.machine.receive(input);
        if let Some(fresh) = &mut self.fresh {
            fresh.receive(input);
        }
    }

    fn step(&mut self) -> Step<LocalEvent> {
        let step = self.machine.step();
        self.compare(&step);
        step
    }
}

impl Local for Pair {
    fn profile(&mut self, profile: Result<&Profile, &Failure>) {
        self.machine.profile(profile);
        if let Some(fresh) = &mut self.fresh {
            fresh.profile(profile);
        }
    }

    fn promised(&self) -> Option<&Profile> {
        self.machine.promised()
    }

    fn waive_login(&mut self) {
        self.is_waived = true;
        self.machine.waive_login();
    }

    fn missed_login(&self) -> bool {
        self.machine.missed_login()
    }

    fn missed_tls(&self) -> bool {
        self.machine.missed_tls()
    }

    fn tls_started(&mut self) {
        assert!(self.fresh.is_none(), "a second handshake");
        self.machine.tls_started();
        assert_eq!(self.machine.name(), None, "a name survives the handshake");
        let promised = self.machine.promised().cloned();
        let mut fresh = local(self.protocol, BOUNDS, Privacy::Secured, promised);
        if self.is_waived {
            fresh.waive_login();
        }
        // Its greeting is for nobody.
        while let Step::Send(_) = fresh.step() {}
        self.fresh = Some(fresh);
    }

    fn name(&self) -> Option<&str> {
        let name = self.machine.name();
        if let Some(fresh) = &self.fresh {
            assert_eq!(name, fresh.name(), "something survives the handshake");
        }
        name
    }

    fn refuse(&mut self, failure: &Failure) {
        self.machine.refuse(failure);
        if let Some(fresh) = &mut self.fresh {
            fresh.refuse(failure);
        }
    }

    fn accept(self: Box<Self>, login: &LoggedIn) -> Result<Opening, Ending> {
        let opening = self.machine.accept(login);
        let Some(other) = self.fresh.map(|fresh| fresh.accept(login)) else {
            return opening;
        };
        let seen = |opening: &Result<Opening, Ending>| {
            let opening = opening.as_ref();
            opening
                .map(|opening| (opening.reply.to_vec(), opening.leftovers.to_vec()))
                .map_err(|ending| *ending)
        };
        assert_eq!(
            seen(&opening),
            seen(&other),
            "something survives the handshake"
        );
        opening
    }

    fn interrupt(&mut self, interruption: Interruption) {
        self.machine.interrupt(interruption);
        if let Some(fresh) = &mut self.fresh {
            fresh.interrupt(interruption);
        }
    }
}
