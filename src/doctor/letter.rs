//! The message that `doctor --send` sends to the account itself, and what is told of its return. Knows no sockets.

use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_parser::MessageParser;

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
        Ok(Self {
            mark,
            id,
            octets,
            address: address.to_owned(),
            subject,
            body,
        })
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
mod tests {
    use super::*;

    fn letter() -> Letter {
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
