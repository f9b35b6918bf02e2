//! The first answers of a session that has just logged in, looked at in passing.
//!
//! Some servers accept a token and refuse the mailbox only afterwards, in the answer to the first command; without a word about it the
//! administrator would see a login that succeeds and a mail program that fails. With SMTP it is the sender that is refused, often only
//! behind the message's data; so some answers more are heard there, which are short, while mail goes the other way. Nothing is
//! changed or held back, and after that nothing is looked at any more.

use super::{refusals, text};
use crate::protocol::Protocol;

/// Octets of a line that are looked at.
const LINE: usize = 512;
/// Octets that are looked at in all; a server that says more has no trouble with the mailbox.
const ALL: usize = 64 * 1024;
/// Answers of an SMTP server that are heard: a few messages' worth.
const SMTP_ANSWERS: usize = 32;

/// Listens until the first answers are complete.
#[derive(Debug)]
pub struct FirstReply {
    protocol: Protocol,
    line: Vec<u8>,
    /// Octets that are still heard, and answers.
    rest: usize,
    answers: usize,
}

/// What was heard so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// There may be more to hear.
    More,
    /// Nothing, and there will be no more.
    Nothing,
    /// What the server said, and what it means.
    Trouble(String),
}

impl FirstReply {
    /// Listens to a server that has just said yes to a login.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            line: Vec::new(),
            rest: ALL,
            answers: match protocol {
                Protocol::Smtp => SMTP_ANSWERS,
                Protocol::Imap | Protocol::Pop3 => 1,
            },
        }
    }

    /// Takes what the server said next.
    pub fn hear(&mut self, said: &[u8]) -> Heard {
        for octet in said.iter().take(self.rest) {
            match octet {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    match self.judge(line.trim_ascii_end()) {
                        Heard::More => {}
                        heard => return heard,
                    }
                }
                _ if self.line.len() < LINE => self.line.push(*octet),
                _ => {}
            }
        }
        self.rest = self.rest.saturating_sub(said.len());
        match self.rest {
            0 => Heard::Nothing,
            _ => Heard::More,
        }
    }

    fn judge(&mut self, line: &[u8]) -> Heard {
        let is_end = match self.protocol {
            Protocol::Imap => !line.starts_with(b"* ") && !line.starts_with(b"+"),
            Protocol::Pop3 => true,
            Protocol::Smtp => line.get(3) != Some(&b'-'),
        };
        if let Some(remedy) = self.remedy(line) {
            return Heard::Trouble(format!(
                "the server let us in and then said: {} ({remedy})",
                text::printable(line)
            ));
        }
        self.answers = self.answers.saturating_sub(usize::from(is_end));
        match self.answers {
            0 => Heard::Nothing,
            _ => Heard::More,
        }
    }

    fn remedy(&self, line: &[u8]) -> Option<&'static str> {
        // Among many answers, one that is good may hold the words by chance, in an id.
        let is_good = self.protocol == Protocol::Smtp && matches!(line.first(), Some(b'2' | b'3'));
        match is_good {
            true => None,
            false => refusals::after_login(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(protocol: Protocol, said: &str) -> String {
        let mut whole = FirstReply::new(protocol);
        let at_once = whole.hear(said.as_bytes());
        let mut cut = FirstReply::new(protocol);
        let octets = said.as_bytes().chunks(1);
        let by_octets = octets.map(|octet| cut.hear(octet));
        let by_octets = by_octets.last().expect("something said");
        assert_eq!(at_once, by_octets, "however it is cut");
        match at_once {
            Heard::Trouble(words) => words,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mailbox_that_is_refused_after_the_login_is_explained() {
        let words = trouble(
            Protocol::Imap,
            "* 0 EXISTS\r\na2 BAD User is authenticated but not connected.\r\n",
        );
        assert!(words.contains("may not open this mailbox"), "{words}");
        let words = trouble(
            Protocol::Smtp,
            "550-5.7.60 SMTP; Client does not have permissions to send as this sender\r\n",
        );
        assert!(words.contains("Send As"), "{words}");
    }

    #[test]
    fn a_sender_that_is_refused_behind_its_message_is_explained() {
        let words = trouble(
            Protocol::Smtp,
            "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n354 Start mail input\r\n\
             554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message\r\n",
        );
        assert!(words.contains("554 5.2.0"), "{words}");
        assert!(words.contains("Send As"), "{words}");
    }

    #[test]
    fn an_smtp_server_is_heard_for_some_answers_and_what_is_good_is_no_trouble() {
        let mut first = FirstReply::new(Protocol::Smtp);
        let good = b"250-2.6.0 <5.7.60@example.com>\r\n250 Queued, no SendAsDenied\r\n";
        for _ in 1..SMTP_ANSWERS {
            assert_eq!(first.hear(good), Heard::More);
        }
        assert_eq!(first.hear(good), Heard::Nothing);
    }

    #[test]
    fn only_the_first_answer_of_imap_and_pop3_counts() {
        let later = b"a1 OK done\r\na2 BAD User is authenticated but not connected.\r\n";
        assert_eq!(FirstReply::new(Protocol::Imap).hear(later), Heard::Nothing);
        assert_eq!(
            FirstReply::new(Protocol::Pop3).hear(b"+OK 2 320\r\n"),
            Heard::Nothing
        );
    }

    #[test]
    fn a_server_that_talks_without_end_is_not_listened_to_for_ever() {
        let mut first = FirstReply::new(Protocol::Imap);
        let chunk = b"* 1 FETCH (FLAGS ())\r\n".repeat(100);
        let mut heard = Heard::More;
        let mut octets = 0;
        while heard == Heard::More {
            heard = first.hear(&chunk);
            octets += chunk.len();
        }
        assert_eq!(heard, Heard::Nothing);
        assert!(octets < 2 * ALL);
        let mut endless = FirstReply::new(Protocol::Imap);
        endless.hear(&b"x".repeat(10 * LINE));
        assert!(endless.line.len() <= LINE);
    }
}
