//! Looking for a message by POP3, which has one folder and no search.

use super::{Found, Lost, Patience, Place, Seeking};
use crate::doctor::Walk;
use crate::doctor::letter::Letter;
use crate::doctor::mail::{COMMAND, Session, leave};
use crate::protocol::Protocol;
use crate::talk::{self, TalkError};

/// Messages that are looked at by POP3, the newest first.
const NEWEST: u32 = 20;

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
            if let Some((number, octets)) = talk::in_time(COMMAND, looking).await? {
                let place = Place::Pop3 { number };
                return Ok(Some(Found {
                    session,
                    octets,
                    place,
                }));
            }
            leave(Protocol::Pop3, session).await;
            if !patience.waits().await {
                return Ok(None);
            }
        }
    }
}

/// The message, if it is one of the newest.
async fn newest(
    session: &mut Session,
    letter: &Letter,
) -> Result<Option<(u32, Vec<u8>)>, TalkError> {
    let count = session.count().await?;
    for number in (1..=count).rev().take(NEWEST as usize) {
        let head = session.retrieve("TOP", &format!("TOP {number} 0")).await;
        let head = match head {
            // TOP is optional (RFC 1939 §7).
            Err(TalkError::Refused { .. }) => {
                session.retrieve("RETR", &format!("RETR {number}")).await?
            }
            other => other?,
        };
        if memchr::memmem::find(&head, letter.mark.as_bytes()).is_some() {
            let octets = session.retrieve("RETR", &format!("RETR {number}")).await?;
            return Ok(Some((number, octets)));
        }
    }
    Ok(None)
}
