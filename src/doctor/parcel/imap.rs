//! Looking for a message by IMAP: in INBOX, then where servers put what they take for spam.
//!
//! What a search finds is no more than a place to look: servers search in ways of their own, and others' messages may quote ours.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Found, Lost, Patience, Place, Seeking};
use crate::doctor::Walk;
use crate::doctor::letter::{Kin, Letter};
use crate::doctor::mail::{COMMAND, leave};
use crate::protocol::Protocol;
use crate::talk::{self, Talk, TalkError};

/// Folders in which a message may be taken for spam, where the server does not say which one that is (RFC 6154).
const JUNK: [&str; 5] = ["junk", "spam", "junk email", "junk e-mail", "bulk mail"];
/// Junk folders that are looked into.
const MOST_JUNK: usize = 3;
/// Messages of what a search found that are looked at, the newest first.
const MOST_FOUND: usize = 20;

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
                match talk::in_time(COMMAND, looking).await? {
                    Look::Nothing => {}
                    Look::Bounced(reason) => {
                        leave(Protocol::Imap, session).await;
                        return Err(Lost::Bounced(reason));
                    }
                    Look::Found(uid, octets) => {
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
            }
            if !patience.waits().await {
                leave(Protocol::Imap, session).await;
                return Ok(None);
            }
        }
    }
}

/// What is in a folder.
enum Look {
    Nothing,
    /// The message's UID, and the message.
    Found(u32, Vec<u8>),
    /// The message came back, for this reason.
    Bounced(String),
}

/// Looks for the message in this folder, else for its bounce.
async fn look_into<S>(
    session: &mut Talk<S>,
    folder: &Folder,
    letter: &Letter,
) -> Result<Look, TalkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let select = format!("SELECT {}", folder.name);
    match session.imap("SELECT", &select).await {
        Ok(_) => {}
        // A name that cannot be opened is no place to look.
        Err(TalkError::Refused { .. }) if folder.is_junk => return Ok(Look::Nothing),
        Err(error) => return Err(error),
    }
    let mut uids = search(session, letter).await?;
    uids.sort_unstable_by(|one, other| other.cmp(one));
    let mut bounced = None;
    for uid in uids.into_iter().take(MOST_FOUND) {
        // Others' messages may be of any length; of a bounce, the beginning is enough.
        let Some(octets) = fetch(session, uid, "<0.65536>").await? else {
            continue;
        };
        match letter.kin(&octets) {
            Kin::Itself => {
                let whole = fetch(session, uid, "").await?;
                return Ok(Look::Found(uid, whole.unwrap_or(octets)));
            }
            Kin::Bounce(reason) => bounced = Some(reason),
            Kin::Stranger => {}
        }
    }
    Ok(bounced.map_or(Look::Nothing, Look::Bounced))
}

/// What may be the message or about it. The subject is asked for as well, because some servers give messages another id, and the text
/// of the last days, because a bounce may quote the message only there.
async fn search<S>(session: &mut Talk<S>, letter: &Letter) -> Result<Vec<u32>, TalkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Letter {
        id, mark, since, ..
    } = letter;
    let itself = format!("OR HEADER Message-ID \"{id}\" SUBJECT \"{mark}\"");
    let wide = format!("UID SEARCH OR (SINCE {since} TEXT \"{mark}\") {itself}");
    let said = match session.imap("SEARCH", &wide).await {
        Err(TalkError::Refused { .. }) => {
            let narrow = format!("UID SEARCH {itself}");
            session.imap("SEARCH", &narrow).await?
        }
        said => said?,
    };
    let mut lines = said.lines.iter();
    Ok(lines.find_map(|line| found_uids(line)).unwrap_or_default())
}

/// A message, or a `part` of it as `<0.100>`, if the server gives this one and no other.
async fn fetch<S>(session: &mut Talk<S>, uid: u32, part: &str) -> Result<Option<Vec<u8>>, TalkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let fetch = format!("UID FETCH {uid} (UID BODY.PEEK[]{part})");
    let said = session.imap("FETCH", &fetch).await?;
    let is_this_one = said.lines.iter().any(|line| has_uid(line, uid));
    let mut literals = said.literals.into_iter();
    let only = (literals.next(), literals.next());
    Ok(match only {
        (Some(octets), None) if is_this_one => Some(octets),
        _ => None,
    })
}

/// Whether a line of a FETCH answer has this `UID 7`, before or behind a literal.
fn has_uid(line: &str, uid: u32) -> bool {
    let words: Vec<&str> = line.split([' ', '(', ')']).collect();
    let mut pairs = words.windows(2);
    pairs.any(|pair| pair[0].eq_ignore_ascii_case("UID") && pair[1].parse() == Ok(uid))
}

/// Those of `* SEARCH 4 7`.
fn found_uids(line: &str) -> Option<Vec<u32>> {
    let uids = line.strip_prefix("* SEARCH")?;
    let uids = uids.split_ascii_whitespace();
    Some(uids.filter_map(|uid| uid.parse().ok()).collect())
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
    use crate::doctor::letter::tests::{bounce, letter};
    use crate::talk::tests::hearing;

    fn inbox() -> Folder {
        Folder {
            name: "INBOX".to_owned(),
            is_junk: false,
        }
    }

    fn fetched(uid: u32, message: impl AsRef<[u8]>) -> String {
        let message = String::from_utf8_lossy(message.as_ref());
        let length = message.len();
        format!("* 1 FETCH (UID {uid} BODY[] {{{length}}}\r\n{message})\r\na OK\r\n")
    }

    #[tokio::test]
    async fn what_a_sloppy_search_finds_is_not_taken_for_the_letter() {
        let letter = letter();
        let stranger = "From: x@example.com\r\nSubject: hello\r\n\r\nx\r\n";
        let itself = &letter.octets;
        let said = [
            "a OK selected\r\n* SEARCH 4 17 9\r\na OK\r\n",
            &fetched(17, bounce(&letter, "failed")),
            &fetched(9, stranger),
            &fetched(4, itself),
            &fetched(4, itself),
        ];
        let said = said.concat();
        let (look, heard) =
            hearing(said, async |talk| look_into(talk, &inbox(), &letter).await).await;
        assert!(matches!(look, Ok(Look::Found(4, octets)) if octets == *itself));
        let peeked = "a UID FETCH 9 (UID BODY.PEEK[]<0.65536>)\r\n";
        assert!(heard.contains(peeked), "{heard}");
        // The answer to a question about one message may be about another.
        let said = "a OK selected\r\n* SEARCH 4\r\na OK\r\n".to_owned() + &fetched(5, itself);
        let (look, _) = hearing(said, async |talk| look_into(talk, &inbox(), &letter).await).await;
        assert!(matches!(look, Ok(Look::Nothing)));
    }

    #[tokio::test]
    async fn a_bounce_is_told_with_its_reason_also_where_only_a_simple_search_works() {
        let letter = letter();
        let said = [
            "a OK selected\r\na BAD too much\r\n* SEARCH 17\r\na OK\r\n",
            &fetched(17, bounce(&letter, "failed")),
        ];
        let said = said.concat();
        let (look, heard) =
            hearing(said, async |talk| look_into(talk, &inbox(), &letter).await).await;
        let Ok(Look::Bounced(reason)) = look else {
            panic!("no bounce");
        };
        assert!(reason.contains("SendAsDenied"), "{reason}");
        assert_eq!(heard.matches("UID SEARCH").count(), 2, "{heard}");
    }

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
    fn what_a_search_found_and_which_message_came_is_read() {
        assert_eq!(found_uids("* SEARCH 4 17"), Some(vec![4, 17]));
        assert_eq!(found_uids("* SEARCH"), Some(vec![]));
        assert_eq!(found_uids("* 4 EXISTS"), None);
        assert!(has_uid("* 4 FETCH (UID 17 BODY[]<0> {5}", 17));
        assert!(has_uid(" UID 17)", 17));
        assert!(!has_uid("* 17 FETCH (UID 4 BODY[] {5}", 17));
    }

    #[test]
    fn uidplus_is_a_word_of_its_own() {
        assert!(has_uidplus("* CAPABILITY IMAP4rev1 UidPlus IDLE"));
        assert!(!has_uidplus("* CAPABILITY IMAP4rev1 UIDPLUSPLUS"));
    }
}
