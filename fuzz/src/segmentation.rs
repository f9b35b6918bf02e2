//! What a machine says and does depends on the octets that come, never on how they are cut into segments.
//!
//! The options begin with the protocol: `i`, `p` or `s`. The octets behind a `/` are the lengths of the segments.
//!
//! One thing does depend on it: what comes together with STARTTLS is an injection, on both sides, and what comes behind it is not.

use mailwicket::dialogue::{Ending, Local, LocalEvent, LoggedIn, Opening, Step, local};
use mailwicket::failure::{Cause, Failure};
use mailwicket::protocol::Protocol;
use mailwicket::stage::Stage;
use secrecy::ExposeSecret;

use super::script::{self, Script};
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
    let protocol = script.protocol();
    mail_program(protocol, &script);
    mail_server(&secret(data), protocol, &script);
}

fn mail_program(protocol: Protocol, script: &Script<'_>) {
    let says = |turn: &script::Local<'_>| match turn {
        script::Local::Says(said) | script::Local::SaysInClear(said) => said.to_vec(),
        script::Local::IsInterrupted(_) => Vec::new(),
    };
    let input = script.local.iter().map(says).collect::<Vec<_>>().concat();
    let serve = |cuts| serve(protocol, script, &input, cuts);
    let whole = serve(Cuts::none());
    for cuts in [Cuts::new(&[1]), Cuts::new(script.cuts)] {
        let cut = serve(cuts);
        assert!(agree(&whole, &cut), "{whole:?}\n{cut:?}");
    }
}

/// Runs our server over `input`, with the program's one right password.
fn serve(protocol: Protocol, script: &Script<'_>, mut input: &[u8], mut cuts: Cuts<'_>) -> Seen {
    let mut machine = local(protocol, BOUNDS, script.privacy(), None);
    if script.is_waived() {
        machine.waive_login();
    }
    let mut has_refused = false;
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
            Step::Event(LocalEvent::Mail) => {
                seen.happens("Mail".to_owned());
                hold(&mut *machine, &mut input);
                if has_refused {
                    return seen.accepted(machine.accept(&logged_in(protocol)));
                }
                has_refused = true;
                machine.refuse(&Failure::new(Stage::Token, Cause::Token, ""));
            }
            Step::Event(LocalEvent::Credentials(credentials)) => {
                let password = credentials.password.expose_secret();
                seen.happens(format!("{:?} {password:?}", credentials.login));
                hold(&mut *machine, &mut input);
                if credentials.login.eq_ignore_ascii_case(ALICE) && password == PASSWORD {
                    return seen.accepted(machine.accept(&logged_in(protocol)));
                }
                machine.refuse(&Failure::new(Stage::Password, Cause::Password, ""));
            }
            Step::Event(LocalEvent::Close(ending)) => {
                seen.happens(format!("{ending:?}"));
                return seen;
            }
        }
    }
}

/// What has come by the time of the answer is what counts, so here it is everything that can.
fn hold(machine: &mut dyn Local, input: &mut &[u8]) {
    let (now, later) = input.split_at(input.len().min(machine.room()));
    machine.receive(now);
    *input = later;
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
    for cuts in [Cuts::new(&[1]), Cuts::new(script.cuts)] {
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

/// What came early may go unnoticed when it is cut from what came before it; up to there everything must be the same.
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

    /// A conversation ends with a success, or with a password behind it that may not go on.
    fn accepted(mut self, opening: Result<Opening, Ending>) -> Self {
        match opening {
            Ok(opening) => {
                self.said.extend_from_slice(&opening.reply);
                self.happens(format!("accepted {:?}", &opening.leftovers[..]));
            }
            Err(ending) => self.happens(format!("{ending:?}")),
        }
        self
    }

    /// Whether it ended because something came before its time, which shows only when both come together.
    fn came_early(&self) -> bool {
        let signs = ["answered before it was asked", "sent bytes in clear behind"];
        let last = self.happened.last();
        last.is_some_and(|(_, event)| {
            event == "Injected" || signs.iter().any(|sign| event.contains(sign))
        })
    }
}
