//! The message that `doctor --send` sends to the account itself, and what is told of its return. Knows no sockets.

use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_parser::{Message, MessageParser, MimeHeaders};

use crate::oauth::response::printable;

/// Octets of the mark; 24 hexadecimal digits.
const MARK: usize = 12;
/// What likes to be damaged on the way: dots at the start of lines, letters beyond ASCII, a long line.
const BODY: [&str; 5] = [
    "mailwicket sent this message to find out whether sending and reading work. It may be deleted.",
    ".a line that begins with a dot",
    ".",
    "Äpfel, naïve, 手紙, 🐦",
    "the end",
];
/// How often `long ` stands in the long line.
const LONG: usize = 150;
/// The methods whose results are told (RFC 8601 §2.7).
const METHODS: [&str; 3] = ["spf", "dkim", "dmarc"];

/// A message, and by what it is found again.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Stands in the subject and the id, and in nobody else's message.
    pub(super) mark: String,
    /// The `Message-ID`, without its brackets.
    pub(super) id: String,
    /// A day before it was written, as IMAP writes days: no time zone is so far off.
    pub(super) since: String,
    /// The whole message, in ASCII, with CRLF.
    pub(super) octets: Vec<u8>,
    address: String,
    subject: String,
    body: String,
}

/// Why a message could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LetterError {
    /// No randomness.
    #[error("no randomness from the system: {0}")]
    Random(#[from] getrandom::Error),
    /// The library did not write it.
    #[error("the message could not be written: {0}")]
    Write(#[from] std::io::Error),
}

/// What a message in the mailbox is to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// The letter itself.
    Itself,
    /// The report that it could not be delivered, with the reason in it.
    Bounce(String),
    /// Anything else, be it about the letter: an automatic answer, a notice of delay.
    Stranger,
}

/// What a message became on its way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Return {
    /// What is not as it was sent.
    pub(super) changed: Vec<String>,
    /// What stands there besides.
    pub(super) added: Vec<String>,
    /// What the receiving server found about the sender: `spf=pass` and so on.
    pub(super) authentication: Vec<String>,
}

impl Letter {
    /// A message from and to `address`, written at `now`.
    pub(super) fn write(address: &str, now: Timestamp) -> Result<Self, LetterError> {
        let mut random = [0; MARK];
        getrandom::fill(&mut random)?;
        let mark: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
        let domain = address.rsplit_once('@').map_or("localhost", |(_, at)| at);
        let id = format!("{mark}.doctor@{domain}");
        let subject = format!("mailwicket doctor {mark} – Prüfung");
        let mut lines = BODY.map(str::to_owned).to_vec();
        lines.insert(4, "long ".repeat(LONG).trim_end().to_owned());
        let body = lines.join("\r\n") + "\r\n";
        let octets = MessageBuilder::new()
            .from(address)
            .to(address)
            .date(now.as_second())
            .message_id(id.as_str())
            .subject(subject.as_str())
            .header(
                "Auto-Submitted",
                mail_builder::headers::raw::Raw::new("auto-generated"),
            )
            .text_body(body.as_str())
            .write_to_vec()?;
        let day_before = now - jiff::SignedDuration::from_hours(36);
        Ok(Self {
            mark,
            id,
            since: day_before.strftime("%-d-%b-%Y").to_string(),
            octets,
            address: address.to_owned(),
            subject,
            body,
        })
    }

    /// What a message is to this letter, by its header and, for a bounce, the beginning of its text.
    pub(super) fn kin(&self, received: &[u8]) -> Kin {
        let Some(message) = MessageParser::default().parse(received) else {
            return Kin::Stranger;
        };
        let from = writer(&message);
        let has_id = message
            .message_id()
            .is_some_and(|id| id.eq_ignore_ascii_case(&self.id));
        // Some servers give messages another id.
        let is_like_it = message.subject() == Some(self.subject.as_str())
            && from.eq_ignore_ascii_case(&self.address);
        if has_id || is_like_it {
            return Kin::Itself;
        }
        let is_about_it = memchr::memmem::find(received, self.mark.as_bytes()).is_some();
        match is_about_it && is_report(&message, from) && !is_notice(received) {
            true => Kin::Bounce(reason(&message, received)),
            false => Kin::Stranger,
        }
    }

    /// Compares with what came back. Servers may write above a message; all else is told.
    pub(super) fn compare(&self, received: &[u8]) -> Return {
        let mut back = Return::default();
        let Some(message) = MessageParser::default().parse(received) else {
            back.changed.push("what came back is no message".to_owned());
            return back;
        };
        let from = message.from().and_then(|from| from.first());
        let from = from.and_then(|from| from.address()).unwrap_or_default();
        back.differs(
            "the sender",
            &self.address.to_ascii_lowercase(),
            &from.to_ascii_lowercase(),
        );
        let subject = message.subject().unwrap_or_default();
        back.differs("the subject", &self.subject, subject);
        let body = message.body_text(0).unwrap_or_default();
        back.body(&plain(&self.body), &plain(&body));
        let results = message
            .headers()
            .iter()
            .find(|header| header.name() == "Authentication-Results")
            .and_then(|header| {
                received.get(header.offset_start() as usize..header.offset_end() as usize)
            });
        back.authentication = results.map(authentication).unwrap_or_default();
        back
    }
}

impl Return {
    fn differs(&mut self, what: &str, sent: &str, came: &str) {
        if sent != came {
            let (sent, came) = (printable(sent, 100), printable(came, 100));
            self.changed
                .push(format!("{what} was {sent:?} and came as {came:?}"));
        }
    }

    fn body(&mut self, sent: &str, came: &str) {
        if sent == came {
            return;
        }
        match came.split_once(sent) {
            Some((before, after)) => {
                let text = printable(before.trim(), 60) + &printable(after.trim(), 60);
                self.added
                    .push(format!("somebody on the way added to the text: {text:?}"));
            }
            None => {
                let mut lines = sent.lines().zip(came.lines().chain(std::iter::repeat("")));
                let line = lines.find(|(sent, came)| sent != came);
                let (sent, came) = line.unwrap_or((sent, came));
                self.differs("a line of the text", sent, came);
            }
        }
    }

    /// Whether the receiving server found something wrong with the sender.
    pub(super) fn is_doubted(&self) -> bool {
        let is_bad = |result: &String| {
            let word = result.split('=').nth(1).unwrap_or_default();
            matches!(word, "fail" | "softfail" | "permerror")
        };
        self.authentication.iter().any(is_bad)
    }
}

/// Whether a message with this header may be a bounce, of whatever message.
pub(super) fn may_be_bounce(head: &[u8]) -> bool {
    MessageParser::default()
        .parse(head)
        .is_some_and(|message| is_report(&message, writer(&message)))
}

/// The address of who wrote it; empty if there is none.
fn writer<'m>(message: &'m Message<'_>) -> &'m str {
    let from = message.from().and_then(|from| from.first());
    from.and_then(|from| from.address()).unwrap_or_default()
}

/// Whether a message reports what became of another (RFC 3464), in one of the forms that servers give it.
fn is_report(message: &Message<'_>, from: &str) -> bool {
    let is_of_the_standard = message.content_type().is_some_and(|kind| {
        kind.subtype() == Some("report")
            && kind
                .attribute("report-type")
                .is_none_or(|kind| kind.eq_ignore_ascii_case("delivery-status"))
    });
    let writer = from.split('@').next().unwrap_or_default();
    let writers = ["mailer-daemon", "postmaster"];
    is_of_the_standard
        || writers.iter().any(|name| writer.eq_ignore_ascii_case(name))
        || message.header("X-Failed-Recipients").is_some()
}

/// Whether a report tells of a delay or a delivery: its `Action` is another than `failed` (RFC 3464 §2.3.3).
fn is_notice(report: &[u8]) -> bool {
    field(report, "action").is_some_and(|action| !action.eq_ignore_ascii_case("failed"))
}

/// Why a letter came back, in the words of the server that refused it.
fn reason(report: &Message<'_>, octets: &[u8]) -> String {
    let told = field(octets, "diagnostic-code").or_else(|| field(octets, "status"));
    let told = told.or_else(|| {
        let text = report.body_text(0)?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    printable(&told.unwrap_or_default(), 300)
}

/// A field of a report, wherever it stands in it, unfolded.
fn field(report: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(report);
    let mut lines = text.lines();
    let value = lines.find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })?;
    let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
    let words = std::iter::once(value).chain(folded);
    let words = words.flat_map(str::split_whitespace).collect::<Vec<_>>();
    Some(words.join(" "))
}

/// The text without what no server has to keep: line ends, and blanks at the end.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").trim_end().to_owned()
}

/// The results in an Authentication-Results header (RFC 8601 §2.2): method and word, in the order of the methods.
fn authentication(header: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(header).to_ascii_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| c.is_ascii_whitespace() || c == ';')
        .collect();
    let result = |method: &&str| {
        let found = words.iter().find_map(|word| {
            let result = word.strip_prefix(*method)?.strip_prefix('=')?;
            let end = result.find(|c: char| !c.is_ascii_alphanumeric());
            Some(&result[..end.unwrap_or(result.len())])
        })?;
        (!found.is_empty()).then(|| format!("{method}={found}"))
    };
    METHODS.iter().filter_map(result).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::doctor) fn letter() -> Letter {
        Letter::write("alice@example.com", Timestamp::UNIX_EPOCH).expect("a letter")
    }

    fn text(letter: &Letter) -> String {
        String::from_utf8(letter.octets.clone()).expect("ASCII")
    }

    #[test]
    fn a_letter_is_ascii_with_crlf_and_short_lines_so_that_every_server_takes_it() {
        let text = text(&letter());
        assert!(text.is_ascii());
        for line in text.split_inclusive('\n') {
            assert!(line.ends_with("\r\n") && line.len() <= 1000, "{line:?}");
            assert!(!line[..line.len() - 2].contains('\r'), "{line:?}");
        }
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains("Subject: =?utf-8?"), "{head}");
        assert!(body.contains("dot"), "{body}");
    }

    #[test]
    fn no_two_letters_are_alike() {
        assert_ne!(letter().mark, letter().mark);
        assert!(text(&letter()).contains("doctor@example.com>"));
        assert_eq!(letter().since, "30-Dec-1969");
    }

    #[test]
    fn what_comes_back_as_it_was_sent_is_the_same_below_what_servers_write() {
        let letter = letter();
        let above = "Received: from x\r\n by y\r\nAuthentication-Results: mx.example.com;\r\n dkim=none (no signature);\r\n \
                     spf=pass smtp.mailfrom=alice@example.com; DMARC=pass\r\nAuthentication-Results: forged; spf=fail\r\n";
        let back = letter.compare((above.to_owned() + &text(&letter)).as_bytes());
        assert_eq!((&back.changed, &back.added), (&vec![], &vec![]));
        assert_eq!(back.authentication, ["spf=pass", "dkim=none", "dmarc=pass"]);
        assert!(!back.is_doubted());
    }

    /// What Postfix and Exchange send back, with the letter's header in it.
    pub(in crate::doctor) fn bounce(letter: &Letter, action: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example.com\r\nSubject: Undeliverable: mailwicket doctor {mark}\r\nMessage-ID: <other@mx>\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n\
             Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\nAction: {action}\r\nStatus: 5.7.60\r\n\
             Diagnostic-Code: smtp; 554 5.2.0 SendAsDenied;\r\n not allowed\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n\
             Message-ID: <{id}>\r\n--b--\r\n",
            mark = letter.mark,
            id = letter.id,
        )
    }

    #[test]
    fn a_letter_is_known_by_its_id_or_by_subject_and_sender_together() {
        let letter = letter();
        let text = text(&letter);
        assert_eq!(letter.kin(&letter.octets), Kin::Itself);
        let (head, _) = text.split_once("\r\n\r\n").expect("a header");
        assert_eq!(
            letter.kin(format!("{head}\r\n\r\n").as_bytes()),
            Kin::Itself
        );
        let renamed = text.replace(&letter.id, "rewritten@mx");
        assert_eq!(letter.kin(renamed.as_bytes()), Kin::Itself);
        // With another id, neither the subject nor the sender is enough.
        for (from, to) in [
            ("From: <alice@", "From: <bob@"),
            ("Subject: =?utf-8?", "Subject: Re: =?utf-8?"),
        ] {
            assert!(renamed.contains(from), "{renamed}");
            let other = renamed.replacen(from, to, 1);
            assert_eq!(letter.kin(other.as_bytes()), Kin::Stranger, "{other}");
        }
    }

    #[test]
    fn a_bounce_is_no_letter_and_tells_its_reason() {
        let letter = letter();
        let bounced = letter.kin(bounce(&letter, "failed").as_bytes());
        let reason = "smtp; 554 5.2.0 SendAsDenied; not allowed";
        assert_eq!(bounced, Kin::Bounce(reason.to_owned()));
        // A notice of delay is none, nor is the bounce of somebody else's message, nor an automatic answer.
        let delayed = bounce(&letter, "delayed");
        assert_eq!(letter.kin(delayed.as_bytes()), Kin::Stranger);
        let other = bounce(&self::letter(), "failed");
        assert_eq!(letter.kin(other.as_bytes()), Kin::Stranger);
        let answer = format!(
            "From: alice@example.com\r\nAuto-Submitted: auto-replied\r\nIn-Reply-To: <{}>\r\nSubject: Away: {}\r\n\r\nAway\r\n",
            letter.id, letter.mark
        );
        assert_eq!(letter.kin(answer.as_bytes()), Kin::Stranger);
    }

    #[test]
    fn a_bounce_in_words_of_its_own_is_quoted() {
        let letter = letter();
        let text = format!(
            "From: Postmaster@example.com\r\nSubject: failure\r\n\r\nYour message\r\n{} was not wanted.\r\n",
            letter.mark
        );
        let Kin::Bounce(reason) = letter.kin(text.as_bytes()) else {
            panic!("no bounce");
        };
        assert!(
            reason.starts_with("Your message") && reason.contains("not wanted"),
            "{reason}"
        );
    }

    #[test]
    fn bare_line_ends_are_no_change() {
        let letter = letter();
        let back = letter.compare(text(&letter).replace("\r\n", "\n").as_bytes());
        assert_eq!(back, Return::default());
    }

    #[test]
    fn what_was_changed_is_named() {
        let letter = letter();
        for (from, to, what) in [
            ("From: <alice@", "From: <bob@", "the sender"),
            ("Subject: =?utf-8?", "Subject: x =?utf-8?", "the subject"),
            ("the end", "the and", "a line of the text"),
        ] {
            let text = text(&letter);
            assert!(text.contains(from), "{text}");
            let back = letter.compare(text.replacen(from, to, 1).as_bytes());
            assert_eq!(back.changed.len(), 1, "{back:?}");
            assert!(back.changed[0].starts_with(what), "{back:?}");
        }
    }

    #[test]
    fn a_disclaimer_is_an_addition() {
        let letter = letter();
        let back = letter.compare((text(&letter) + "-- \r\nCONFIDENTIAL").as_bytes());
        assert!(back.changed.is_empty(), "{back:?}");
        assert!(back.added[0].contains("CONFIDENTIAL"), "{back:?}");
    }

    #[test]
    fn a_sender_that_fails_is_doubted() {
        let results =
            b"Authentication-Results: mx; spf=softfail; dkim=; x-spf=pass; dmarc=fail(p=none)\r\n";
        let back = Return {
            authentication: authentication(results),
            ..Return::default()
        };
        assert_eq!(back.authentication, ["spf=softfail", "dmarc=fail"]);
        assert!(back.is_doubted());
    }
}
