//! What a machine says and does depends on the octets that come, never on how they are cut into segments.
//!
//! The options begin with the protocol: `i`, `p` or `s`. The octets behind a `/` are the lengths of the segments.

use mailwicket::dialogue::{Ending, LocalEvent, LoggedIn, Step, local};
use mailwicket::failure::{Cause, Failure};
use mailwicket::protocol::Protocol;
use mailwicket::stage::Stage;
use secrecy::ExposeSecret;

use super::script::{Local, Script};
use super::setting::{ALICE, BOUNDS, PASSWORD, secret};
use super::visit::{Cuts, Outcome, Visit};

/// What a conversation looked like from outside: what was said, and what happened when how much of it had been said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    said: Vec<u8>,
    happened: Vec<(usize, String)>,
}

/// A script, of which each side is played by itself.
pub fn run(data: &[u8]) {
    let script = Script::read(data);
    let protocol = match script.options.first() {
        Some(b'p') => Protocol::Pop3,
        Some(b's') => Protocol::Smtp,
        _ => Protocol::Imap,
    };
    mail_program(protocol, &script);
    mail_server(&secret(data), protocol, &script);
}

fn mail_program(protocol: Protocol, script: &Script<'_>) {
    let says = |turn: &Local<'_>| match turn {
        Local::Says(said) => said.to_vec(),
        Local::IsInterrupted(_) => Vec::new(),
    };
    let input = script.local.iter().map(says).collect::<Vec<_>>().concat();
    let whole = serve(protocol, script, &input, Cuts::none());
    for cuts in [Cuts::new(&[1]), Cuts::new(script.cuts())] {
        let cut = serve(protocol, script, &input, cuts);
        assert!(agree(&whole, &cut), "{whole:?}\n{cut:?}");
    }
}

/// Runs our server over `input`, with the program's one right password; a device that sends without one is let in at its second try.
fn serve(protocol: Protocol, script: &Script<'_>, mut input: &[u8], mut cuts: Cuts<'_>) -> Seen {
    let mut machine = local(protocol, BOUNDS, script.privacy(), None);
    if script.is_waived() {
        machine.waive_login();
    }
    let mut seen = Seen::default();
    let profile = Default::default();
    loop {
        match machine.step() {
            Step::Send(bytes) => seen.said.extend_from_slice(&bytes),
            Step::NeedInput if input.is_empty() => return seen,
            Step::NeedInput => {
                let count = cuts.take(input.len().min(machine.room()));
                assert!(count > 0, "{machine:?} wants input without room");
                machine.receive(&input[..count]);
                input = &input[count..];
            }
            Step::Event(LocalEvent::NeedProfile) => {
                seen.happens("NeedProfile".to_owned());
                machine.profile(Ok(&profile));
            }
            Step::Event(LocalEvent::StartTls(reply)) => {
                seen.said.extend_from_slice(&reply);
                seen.happens("StartTls".to_owned());
                machine.tls_started();
            }
            Step::Event(event @ (LocalEvent::Credentials(_) | LocalEvent::Mail)) => {
                let trouble = seen.judges(&event);
                // What has come by the time of the answer is what counts, so here it is everything that can.
                let count = input.len().min(machine.room());
                machine.receive(&input[..count]);
                input = &input[count..];
                let Some(cause) = trouble else {
                    match machine.accept(&logged_in(protocol)) {
                        Ok(opening) => {
                            seen.said.extend_from_slice(&opening.reply);
                            seen.happens(format!("accepted {:?}", &opening.leftovers[..]));
                        }
                        Err(ending) => seen.happens(format!("{ending:?}")),
                    }
                    return seen;
                };
                machine.refuse(&Failure::new(Stage::Password, cause, ""));
            }
            Step::Event(LocalEvent::Close(ending)) => {
                seen.happens(format!("{ending:?}"));
                return seen;
            }
        }
    }
}

/// What a good mail server makes.
fn logged_in(protocol: Protocol) -> LoggedIn {
    let turns: [&[u8]; 4] = match protocol {
        Protocol::Imap => [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] x\r\n",
            b"+ \r\n",
            b"mw4444444444444444 OK in\r\n",
            b"",
        ],
        Protocol::Pop3 => [
            b"+OK x\r\n",
            b"+OK\r\nSASL XOAUTH2\r\n.\r\n",
            b"+ \r\n",
            b"+OK in\r\n",
        ],
        Protocol::Smtp => [
            b"220 x\r\n",
            b"250-x\r\n250 AUTH XOAUTH2\r\n",
            b"235 in\r\n",
            b"",
        ],
    };
    let script = Script::read(b"");
    let mut visit = Visit::new(
        &secret(b""),
        protocol,
        script.tls(),
        None,
        turns.into(),
        Cuts::none(),
    );
    assert!(matches!(visit.go(), Outcome::Ready(_)));
    match visit.log_in(script.mechanism()) {
        Outcome::LoggedIn(logged_in) => logged_in,
        _ => unreachable!("a good server lets us in"),
    }
}

fn mail_server(secret: &str, protocol: Protocol, script: &Script<'_>) {
    let whole = call(secret, protocol, script, Cuts::none());
    for cuts in [Cuts::new(&[1]), Cuts::new(script.cuts())] {
        let cut = call(secret, protocol, script, cuts);
        assert!(agree(&whole, &cut), "{whole:?}\n{cut:?}");
    }
}

/// Runs our client over what the server says on its first connection.
fn call(secret: &str, protocol: Protocol, script: &Script<'_>, cuts: Cuts<'_>) -> Seen {
    let turns = script.visits.front().cloned().unwrap_or_default();
    let mut visit = Visit::new(secret, protocol, script.tls(), Some("vm"), turns, cuts);
    if let Outcome::Ready(_) = visit.go() {
        // The rest is in what happened.
        let _ = visit.log_in(script.mechanism());
    }
    Seen {
        said: visit.said,
        happened: visit.happened,
    }
}

/// An early answer, or words in clear behind STARTTLS, may go unnoticed when they are cut from what came before them; up to there
/// everything must be the same.
fn agree(whole: &Seen, cut: &Seen) -> bool {
    let (short, long) = match (whole.came_early(), cut.came_early()) {
        (false, false) => return whole == cut,
        (true, _) => (whole, cut),
        (false, true) => (cut, whole),
    };
    let events = short.happened.len() - 1;
    long.said.starts_with(&short.said) && long.happened.starts_with(&short.happened[..events])
}

impl Seen {
    fn happens(&mut self, event: String) {
        self.happened.push((self.said.len(), event));
    }

    /// What a login or a mail without one is refused for, if it is.
    fn judges(&mut self, event: &LocalEvent) -> Option<Cause> {
        if let LocalEvent::Credentials(credentials) = event {
            let password = credentials.password.expose_secret();
            self.happens(format!("{:?} {password:?}", credentials.login));
            let is_right = credentials.login.eq_ignore_ascii_case(ALICE) && password == PASSWORD;
            return (!is_right).then_some(Cause::Password);
        }
        let is_first = !self.happened.iter().any(|(_, event)| event == "Mail");
        self.happens("Mail".to_owned());
        is_first.then_some(Cause::Upstream)
    }

    /// Whether it ended because something came before its time, which shows only when both come together.
    fn came_early(&self) -> bool {
        let signs = ["answered before it was asked", "sent bytes in clear behind"];
        let last = self.happened.last();
        last.is_some_and(|(_, event)| {
            *event == format!("{:?}", Ending::Injected)
                || signs.iter().any(|sign| event.contains(sign))
        })
    }
}
