//! Looking for a message by POP3, which has one folder and no search.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Found, Lost, Patience, Place, Seeking};
use crate::doctor::Walk;
use crate::doctor::letter::{Kin, Letter, may_be_bounce};
use crate::doctor::mail::{COMMAND, leave};
use crate::protocol::Protocol;
use crate::talk::{self, Talk, TalkError};

/// Messages that are looked at by POP3, the newest first.
const NEWEST: u32 = 20;
/// Lines of a message's text that are looked at: enough for the reason in a bounce.
const LINES: u32 = 200;

impl Walk<'_> {
    /// A POP3 session shows the mailbox as it was at its login, so each look is a login.
    pub(super) async fn find_by_pop3(&self, seeking: &Seeking<'_>) -> Result<Option<Found>, Lost> {
        let Seeking {
            endpoint,
            token,
            letter,
            ..
        } = seeking;
        let mut patience = Patience::begin();
        loop {
            let mut session = self.quiet_session(Protocol::Pop3, endpoint, token).await?;
            let looking = newest(&mut session, letter);
            let bounced = match talk::in_time(COMMAND, looking).await? {
                Look::Found(number, octets) => {
                    let place = Place::Pop3 { number };
                    return Ok(Some(Found {
                        session,
                        octets,
                        place,
                    }));
                }
                Look::Bounced(reason) => Some(reason),
                Look::Nothing => None,
            };
            leave(Protocol::Pop3, session).await;
            if let Some(reason) = bounced {
                return Err(Lost::Bounced(reason));
            }
            if !patience.waits().await {
                return Ok(None);
            }
        }
    }
}

/// What is in the mailbox.
enum Look {
    Nothing,
    /// The message's number, and the message.
    Found(u32, Vec<u8>),
    /// The message came back, for this reason.
    Bounced(String),
}

/// Looks for the message among the newest, else for its bounce.
async fn newest<S>(session: &mut Talk<S>, letter: &Letter) -> Result<Look, TalkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let count = session.count().await?;
    let mut bounced = None;
    for number in (1..=count).rev().take(NEWEST as usize) {
        let mut octets = top(session, number, 0).await?;
        if may_be_bounce(&octets) {
            octets = top(session, number, LINES).await?;
        }
        match letter.kin(&octets) {
            Kin::Itself => {
                let octets = session.retrieve("RETR", &format!("RETR {number}")).await?;
                return Ok(Look::Found(number, octets));
            }
            Kin::Bounce(reason) => bounced = Some(reason),
            Kin::Stranger => {}
        }
    }
    Ok(bounced.map_or(Look::Nothing, Look::Bounced))
}

/// A message's header and so many lines of its text.
async fn top<S>(session: &mut Talk<S>, number: u32, lines: u32) -> Result<Vec<u8>, TalkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let top = format!("TOP {number} {lines}");
    match session.retrieve("TOP", &top).await {
        // It is optional (RFC 1939 §7).
        Err(TalkError::Refused { .. }) => session.retrieve("RETR", &format!("RETR {number}")).await,
        octets => octets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::letter::tests::{bounce, letter};
    use crate::talk::tests::hearing;

    fn lines(message: impl AsRef<str>) -> String {
        format!("+OK\r\n{}\r\n.\r\n", message.as_ref())
    }

    #[tokio::test]
    async fn the_letter_is_found_among_others_that_quote_it() {
        let letter = letter();
        let text = String::from_utf8_lossy(&letter.octets).replace("\r\n.", "\r\n..");
        let (head, _) = text.split_once("\r\n\r\n").expect("a header");
        let quoting = format!("From: x@example.com\r\nSubject: Re: {}\r\n", letter.mark);
        let said = [
            "+OK 2 900\r\n",
            &lines(quoting),
            &lines(head),
            &lines(&text),
        ]
        .concat();
        let (look, heard) = hearing(said, async |talk| newest(talk, &letter).await).await;
        let Ok(Look::Found(1, octets)) = look else {
            panic!("not found");
        };
        assert_eq!(letter.compare(&octets), Default::default());
        assert_eq!(heard, "STAT\r\nTOP 2 0\r\nTOP 1 0\r\nRETR 1\r\n");
    }

    #[tokio::test]
    async fn a_bounce_is_told_with_its_reason() {
        let letter = letter();
        let bounce = bounce(&letter, "failed");
        let (head, _) = bounce.split_once("\r\n\r\n").expect("a header");
        let said = ["+OK 1 900\r\n", &lines(head), &lines(&bounce)].concat();
        let (look, heard) = hearing(said, async |talk| newest(talk, &letter).await).await;
        let Ok(Look::Bounced(reason)) = look else {
            panic!("no bounce");
        };
        assert!(reason.contains("SendAsDenied"), "{reason}");
        assert_eq!(heard, "STAT\r\nTOP 1 0\r\nTOP 1 200\r\n");
    }
}
