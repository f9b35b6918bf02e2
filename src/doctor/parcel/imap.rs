//! Looking for a message by IMAP: in INBOX, then where servers put what they take for spam.

use super::{Found, Lost, Patience, Place, Seeking};
use crate::doctor::Walk;
use crate::doctor::letter::Letter;
use crate::doctor::mail::{COMMAND, Session, leave};
use crate::protocol::Protocol;
use crate::talk::{self, TalkError};

/// Folders in which a message may be taken for spam, where the server does not say which one that is (RFC 6154).
const JUNK: [&str; 5] = ["junk", "spam", "junk email", "junk e-mail", "bulk mail"];
/// Junk folders that are looked into.
const MOST_JUNK: usize = 3;

/// A folder of an IMAP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// The name as the server writes it, quotes included, so that it can be said again.
    pub(super) name: String,
    pub(super) is_junk: bool,
}

impl Walk<'_> {
    pub(super) async fn find_by_imap(&self, seeking: &Seeking<'_>) -> Result<Option<Found>, Lost> {
        let Seeking {
            endpoint,
            token,
            letter,
            ..
        } = seeking;
        let mut session = self.quiet_session(Protocol::Imap, endpoint, token).await?;
        let said = talk::in_time(COMMAND, session.imap("CAPABILITY", "CAPABILITY")).await?;
        let can_expunge_one = said.lines.iter().any(|line| has_uidplus(line));
        let said = talk::in_time(COMMAND, session.imap("LIST", "LIST \"\" \"*\"")).await?;
        let mut folders = vec![Folder {
            name: "INBOX".to_owned(),
            is_junk: false,
        }];
        let junk = said.lines.iter().filter_map(|line| junk_folder(line));
        folders.extend(junk.take(MOST_JUNK));
        let mut patience = Patience::begin();
        loop {
            for folder in &folders {
                let looking = look_into(&mut session, folder, letter);
                if let Some((uid, octets)) = talk::in_time(COMMAND, looking).await? {
                    let folder = folder.clone();
                    let place = Place::Imap {
                        folder,
                        uid,
                        can_expunge_one,
                    };
                    return Ok(Some(Found {
                        session,
                        octets,
                        place,
                    }));
                }
            }
            if !patience.waits().await {
                leave(Protocol::Imap, session).await;
                return Ok(None);
            }
        }
    }
}

/// The message, if it is in this folder. The subject is asked for as well, because some servers give messages another id.
async fn look_into(
    session: &mut Session,
    folder: &Folder,
    letter: &Letter,
) -> Result<Option<(u32, Vec<u8>)>, TalkError> {
    let select = format!("SELECT {}", folder.name);
    match session.imap("SELECT", &select).await {
        Ok(_) => {}
        // A name that cannot be opened is no place to look.
        Err(TalkError::Refused { .. }) if folder.is_junk => return Ok(None),
        Err(error) => return Err(error),
    }
    let search = format!(
        "UID SEARCH OR HEADER Message-ID \"{}\" SUBJECT \"{}\"",
        letter.id, letter.mark
    );
    let said = session.imap("SEARCH", &search).await?;
    let Some(uid) = said.lines.iter().find_map(|line| found_uid(line)) else {
        return Ok(None);
    };
    let fetch = format!("UID FETCH {uid} (UID BODY.PEEK[])");
    let said = session.imap("FETCH", &fetch).await?;
    Ok(said.literals.into_iter().next().map(|octets| (uid, octets)))
}

/// The last of `* SEARCH 4 7`.
fn found_uid(line: &str) -> Option<u32> {
    let uids = line.strip_prefix("* SEARCH ")?;
    uids.split_ascii_whitespace().last()?.parse().ok()
}

fn has_uidplus(line: &str) -> bool {
    let words = line.strip_prefix("* CAPABILITY ").unwrap_or_default();
    words
        .split(' ')
        .any(|word| word.eq_ignore_ascii_case("UIDPLUS"))
}

/// A folder for spam, from a line as `* LIST (\HasNoChildren \Junk) "/" "Bulk Mail"`.
fn junk_folder(line: &str) -> Option<Folder> {
    let (attributes, rest) = line.strip_prefix("* LIST (")?.split_once(") ")?;
    let mut attributes = attributes.split(' ');
    let (separator, name) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\" ")?,
        None => ("", rest.strip_prefix("NIL ")?),
    };
    let inner = name.trim_matches('"').to_ascii_lowercase();
    let last = match separator {
        "" => inner.as_str(),
        separator => inner.rsplit(separator).next()?,
    };
    let is_junk =
        attributes.any(|word| word.eq_ignore_ascii_case("\\Junk")) || JUNK.contains(&last);
    // A literal would stand behind the line.
    let is_plain = !name.is_empty() && !name.ends_with('}');
    (is_junk && is_plain).then(|| Folder {
        name: name.to_owned(),
        is_junk: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_for_spam_are_found_by_what_the_server_says_or_by_their_names() {
        for (line, name) in [
            (
                r#"* LIST (\HasNoChildren \Junk) "/" "Bulk""#,
                Some("\"Bulk\""),
            ),
            (
                r#"* LIST (\HasNoChildren) "/" "[Gmail]/Spam""#,
                Some("\"[Gmail]/Spam\""),
            ),
            (
                r#"* LIST (\HasNoChildren) "/" "Junk Email""#,
                Some("\"Junk Email\""),
            ),
            (r#"* LIST () "." INBOX.Junk"#, Some("INBOX.Junk")),
            ("* LIST () NIL Spam", Some("Spam")),
            (r#"* LIST () "/" Junkyard"#, None),
            (r#"* LIST (\Junk) "/" {4}"#, None),
            ("* LIST nonsense", None),
            ("* OK (\\Junk) \"/\" x", None),
        ] {
            let found = junk_folder(line).map(|folder| folder.name);
            assert_eq!(found.as_deref(), name, "{line}");
        }
    }

    #[test]
    fn the_newest_of_what_a_search_found_is_taken() {
        assert_eq!(found_uid("* SEARCH 4 17"), Some(17));
        assert_eq!(found_uid("* SEARCH"), None);
        assert_eq!(found_uid("* 4 EXISTS"), None);
        assert!(has_uidplus("* CAPABILITY IMAP4rev1 UidPlus IDLE"));
        assert!(!has_uidplus("* CAPABILITY IMAP4rev1 UIDPLUSPLUS"));
    }
}
