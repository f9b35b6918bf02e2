//! A message from the account to itself: sent by SMTP, found by IMAP, else by POP3, compared, and removed.
//!
//! Removed is only what was sent, known by its id or by subject and sender together: by IMAP with UID EXPUNGE (RFC 4315), by POP3 with
//! DELE in the session that found it. A server that can only expunge a whole folder keeps the message, because the folder may hold
//! others that somebody marked and still wants.

mod imap;
mod pop3;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::sleep;

use super::Walk;
use super::finding::{Step, Subject, Told};
use super::letter::{Letter, Return};
use super::mail::{COMMAND, Session, leave};
use crate::config::Endpoint;
use crate::dialogue;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::talk::{self, TalkError};
use crate::token::AccessToken;
use imap::Folder;

/// How long a message may take to arrive. Providers deliver to themselves within seconds; greylisting has no part in it.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a server may take to accept a message; some look for viruses first.
const SUBMIT: Duration = Duration::from_secs(60);
/// Between two looks: soon at first, then seldom enough for servers that count.
const PAUSES: [u64; 4] = [1, 2, 3, 5];
/// Why a message was not found.
#[derive(Debug)]
enum Lost {
    Login(Failure),
    Talk(TalkError),
    /// It came back; in the words of the server that did not want it.
    Bounced(String),
}

impl From<TalkError> for Lost {
    fn from(error: TalkError) -> Self {
        Self::Talk(error)
    }
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self::Login(failure)
    }
}

impl From<Lost> for Told {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Login(failure) => failure.into(),
            Lost::Bounced(reason) => {
                let remedy = dialogue::after_login(reason.as_bytes());
                Told::failed(
                    Cause::Refused,
                    format!("the server took the message, and it came back: {reason}"),
                    remedy.unwrap_or(
                        "The report stays in the mailbox; it says which server did not want the message, and why",
                    ),
                )
            }
            Lost::Talk(error) => Told::failed(
                Cause::Upstream,
                format!("while the message was looked for, {error}"),
                "The message may be there all the same: look for \"mailwicket doctor\" in the subject",
            ),
        }
    }
}

/// What is looked for, and with what.
struct Seeking<'a> {
    endpoint: &'a Endpoint,
    token: &'a AccessToken,
    letter: &'a Letter,
    sent_at: Instant,
}

/// A message in a mailbox, and the session that found it.
struct Found {
    session: Session,
    octets: Vec<u8>,
    place: Place,
}

/// Where a message lies.
enum Place {
    Imap {
        folder: Folder,
        uid: u32,
        can_expunge_one: bool,
    },
    Pop3 {
        number: u32,
    },
}

impl Walk<'_> {
    /// Sends a message if SMTP works, and looks for it where a login works.
    pub(super) async fn parcel(&mut self, token: &AccessToken, logged_in: &[Protocol]) {
        let served = self.served();
        let endpoint = |protocol| {
            let mut served = served.iter();
            served.find_map(|(it, endpoint)| (*it == protocol).then_some(*endpoint))
        };
        let Some(smtp) = endpoint(Protocol::Smtp) else {
            let told = Told::failed(
                Cause::Config,
                "nothing is sent, because no listener speaks SMTP for this account's provider",
                "Add one, or leave --send out",
            );
            return self.tell(Step::Send, Subject::Smtp, Instant::now(), told);
        };
        if !logged_in.contains(&Protocol::Smtp) {
            return; // why was told
        }
        let begun = Instant::now();
        let sent = self.send(smtp, token).await;
        let Some((letter, sent_at)) = self.keep(Step::Send, Subject::Smtp, begun, sent) else {
            return;
        };
        let told = Told::well(format!(
            "the server took a message to {} ({} octets)",
            self.account.address,
            letter.octets.len()
        ));
        self.tell(Step::Send, Subject::Smtp, begun, told);
        let reading = [Protocol::Imap, Protocol::Pop3].into_iter();
        let mut reading = reading.filter(|protocol| logged_in.contains(protocol));
        match reading.find_map(|protocol| Some((protocol, endpoint(protocol)?))) {
            Some((protocol, endpoint)) => {
                let seeking = Seeking {
                    endpoint,
                    token,
                    letter: &letter,
                    sent_at,
                };
                self.fetch(protocol, &seeking).await;
            }
            None => self.nobody_reads(&letter),
        }
    }

    fn nobody_reads(&mut self, letter: &Letter) {
        let told = Told::warning(
            "whether it arrived is not known: neither IMAP nor POP3 works here, or has a listener",
            format!("Look into the mailbox for {}, and delete it", letter.mark),
        );
        self.tell(Step::Find, Subject::Account, Instant::now(), told);
    }

    /// The message, and when the server took it.
    async fn send(
        &self,
        endpoint: &Endpoint,
        token: &AccessToken,
    ) -> Result<(Letter, Instant), Told> {
        let address = &self.account.address;
        let letter = Letter::write(address, Timestamp::now())
            .map_err(|error| Told::failed(Cause::Upstream, error.to_string(), ""))?;
        let mut session = self.quiet_session(Protocol::Smtp, endpoint, token).await?;
        let submitting = session.submit(address, &letter.octets);
        let submitted = talk::in_time(SUBMIT, submitting).await;
        let sent_at = Instant::now();
        leave(Protocol::Smtp, session).await;
        match submitted {
            Ok(()) => Ok((letter, sent_at)),
            Err(error) => Err(self.not_sent(&error)),
        }
    }

    async fn fetch(&mut self, protocol: Protocol, seeking: &Seeking<'_>) {
        let letter = seeking.letter;
        let name = Subject::from(protocol);
        let begun = Instant::now();
        let found = match protocol {
            Protocol::Pop3 => self.find_by_pop3(seeking).await,
            _ => self.find_by_imap(seeking).await,
        };
        let found = found.map_err(Told::from);
        let found = found.and_then(|found| found.ok_or_else(|| lost(protocol, letter)));
        let Some(found) = self.keep(Step::Find, name, begun, found) else {
            return;
        };
        let told = arrived(&found.place, seeking.sent_at.elapsed());
        self.tell(Step::Find, name, begun, told);

        let begun = Instant::now();
        let told = compared(&letter.compare(&found.octets));
        self.tell(Step::Compare, name, begun, told);

        let begun = Instant::now();
        let told = remove(protocol, found).await;
        self.tell(Step::Remove, name, begun, told);
    }
}

/// The time that a message may take, and the pauses between two looks.
struct Patience {
    begun: Instant,
    pauses: std::slice::Iter<'static, u64>,
}

impl Patience {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            pauses: PAUSES.iter(),
        }
    }

    /// Waits a moment; says whether another look is worth it.
    async fn waits(&mut self) -> bool {
        let pause = self.pauses.next().unwrap_or(&PAUSES[PAUSES.len() - 1]);
        let pause = Duration::from_secs(*pause);
        if self.begun.elapsed() + pause > PATIENCE {
            return false;
        }
        sleep(pause).await;
        true
    }
}

async fn remove(protocol: Protocol, found: Found) -> Told {
    let Found {
        mut session, place, ..
    } = found;
    let (removed, quits) = match place {
        Place::Imap {
            can_expunge_one: false,
            ..
        } => {
            leave(protocol, session).await;
            return Told::well(
                "the message stays: this server has no UIDPLUS, so others could be removed with it",
            );
        }
        Place::Imap { uid, .. } => {
            let removing = async {
                let store = format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)");
                session.imap("STORE", &store).await?;
                let expunge = format!("UID EXPUNGE {uid}");
                session.imap("EXPUNGE", &expunge).await
            };
            (talk::in_time(COMMAND, removing).await.map(drop), false)
        }
        Place::Pop3 { number } => {
            let removing = async {
                session.pop3("DELE", &format!("DELE {number}")).await?;
                // The server removes it when it hears this.
                session.pop3("QUIT", "QUIT").await
            };
            (talk::in_time(COMMAND, removing).await.map(drop), true)
        }
    };
    match quits {
        true => session.close().await,
        false => leave(protocol, session).await,
    }
    match removed {
        Ok(()) => Told::well("the message is removed again"),
        Err(error) => Told::warning(
            format!("the message stays: {error}"),
            "Delete it by hand: \"mailwicket doctor\" stands in its subject",
        ),
    }
}

// ---- words ----

fn lost(protocol: Protocol, letter: &Letter) -> Told {
    let where_to = match protocol {
        Protocol::Imap => "neither in INBOX nor in a folder for spam",
        _ => "not among the newest messages",
    };
    Told::failed(
        Cause::Upstream,
        format!(
            "the server took the message, and after {} s it is {where_to}",
            PATIENCE.as_secs()
        ),
        format!(
            "It may be late, or a rule moved or dropped it: look for {} at the provider (message trace), and whether {protocol} shows all messages",
            letter.mark
        ),
    )
}

fn arrived(place: &Place, after: Duration) -> Told {
    let after = format!("{:.1} s after it was sent", after.as_secs_f64());
    match place {
        Place::Imap { folder, .. } if folder.is_junk => Told::warning(
            format!("arrived in {}, {after}", folder.name.trim_matches('"')),
            "The provider takes it for spam, as it may take the rest: see what the next line says about SPF, DKIM and DMARC",
        ),
        Place::Imap { .. } => Told::well(format!("arrived in INBOX, {after}")),
        Place::Pop3 { .. } => Told::well(format!("arrived, {after}")),
    }
}

fn compared(back: &Return) -> Told {
    let results = match back.authentication.is_empty() {
        true => "the server wrote no Authentication-Results".to_owned(),
        false => format!("Authentication-Results: {}", back.authentication.join(" ")),
    };
    if !back.changed.is_empty() {
        return Told::failed(
            Cause::Upstream,
            format!("{}; {results}", back.changed.join("; ")),
            "mailwicket changes nothing of a message, so a server on the way did; ask the provider about rules and gateways",
        );
    }
    let same = "sender, subject and text came back as they were sent";
    if !back.added.is_empty() {
        return Told::warning(
            format!("{}; {results}", back.added.join("; ")),
            "That is a rule of the provider or the organisation, such as a disclaimer; nothing has to be done",
        );
    }
    match back.is_doubted() {
        true => Told::warning(
            format!("{same}; {results}"),
            "Others may take such mail for spam: whoever keeps the domain's DNS compares its SPF, DKIM and DMARC records with what the provider asks for",
        ),
        false => Told::well(format!("{same}; {results}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounce_is_a_failure_with_its_reason_and_what_it_means() {
        let told = Told::from(Lost::Bounced("554 5.2.0 SendAsDenied".to_owned()));
        let Told::Failed { detail, remedy, .. } = told else {
            panic!("{told:?}");
        };
        assert!(
            detail.ends_with("it came back: 554 5.2.0 SendAsDenied"),
            "{detail}"
        );
        assert!(remedy.is_some_and(|remedy| remedy.contains("Send As")));
    }

    #[test]
    fn spam_changes_and_doubts_are_told_apart() {
        let junk = Place::Imap {
            folder: Folder {
                name: "\"Junk\"".into(),
                is_junk: true,
            },
            uid: 1,
            can_expunge_one: true,
        };
        let told = arrived(&junk, Duration::from_millis(2500));
        assert!(
            matches!(&told, Told::Warning { detail, .. } if detail == "arrived in Junk, 2.5 s after it was sent"),
            "{told:?}"
        );
        let one = || vec!["x".to_owned()];
        let changed = Return {
            changed: one(),
            added: one(),
            ..Return::default()
        };
        assert!(matches!(compared(&changed), Told::Failed { .. }));
        let doubted = Return {
            authentication: vec!["spf=fail".to_owned()],
            ..Return::default()
        };
        assert!(matches!(compared(&doubted), Told::Warning { .. }));
        assert!(matches!(compared(&Return::default()), Told::Well(_)));
    }
}
