//! A mail program in miniature, after its login: what `demo` and `doctor` say to a server, and how they hear the answers.
//!
//! It does not know how the connection was made, nor who is at the other end.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::dialogue::printable;
use crate::wire::{Line, Wire};

/// Octets of a reply's line.
const MAX_LINE: usize = 8192;
/// Octets of an answer or a message; ours have a few hundred.
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024;

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The connection.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Silence.
    #[error("no answer within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// A refusal.
    #[error("{command} was answered: {reply}")]
    Refused {
        /// The command, without its secrets.
        command: &'static str,
        /// What came, fit for people.
        reply: String,
    },
    /// An answer without an end.
    #[error("{command} was answered with more than {} KiB", MAX_MESSAGE / 1024)]
    TooLong {
        /// The command.
        command: &'static str,
    },
}

/// Gives a conversation its time.
pub(crate) async fn in_time<T, E: From<TalkError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(TalkError::Slow(limit).into()))
}

/// What an IMAP server said to a command, up to the tagged reply.
#[derive(Debug, Default)]
pub(crate) struct Untagged {
    /// The lines; a literal is left out where it stood.
    pub(crate) lines: Vec<String>,
    /// The literals, in order.
    pub(crate) literals: Vec<Vec<u8>>,
}

/// A conversation.
pub(crate) struct Talk<S> {
    wire: Wire<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// On a fresh connection.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            wire: Wire::new(stream),
        }
    }

    /// On a connection of which something was heard already.
    pub(crate) fn with_early(stream: S, early: &[u8]) -> Self {
        Self {
            wire: Wire::with_early(stream, early),
        }
    }

    /// Ends the connection politely.
    pub(crate) async fn close(self) {
        self.wire.close().await;
    }

    async fn octets(&mut self) -> Result<Vec<u8>, TalkError> {
        match self.wire.line(MAX_LINE).await? {
            Line::Whole(line) => Ok(line),
            Line::TooLong => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
            Line::End => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    async fn say(&mut self, line: &str) -> Result<(), TalkError> {
        if !line.is_empty() {
            self.wire.send(format!("{line}\r\n")).await?;
        }
        Ok(())
    }

    // ---- SMTP ----

    /// A command and its reply, to the last line; an empty one only hears.
    pub(crate) async fn smtp(
        &mut self,
        command: &'static str,
        line: &str,
        code: &str,
    ) -> Result<(), TalkError> {
        self.say(line).await?;
        let mut said = Vec::new();
        loop {
            let line = self.octets().await?;
            let is_last = line.get(3) != Some(&b'-');
            if said.len() < MAX_LINE {
                said.push(line);
            }
            if is_last {
                let reply = said.join(&b' ');
                return expect(command, &reply, code);
            }
        }
    }

    /// Hands over a message from and to `address`.
    pub(crate) async fn submit(&mut self, address: &str, message: &[u8]) -> Result<(), TalkError> {
        self.smtp("MAIL", &format!("MAIL FROM:<{address}>"), "250")
            .await?;
        self.smtp("RCPT", &format!("RCPT TO:<{address}>"), "25")
            .await?;
        self.smtp("DATA", "DATA", "354").await?;
        self.wire.send(dotted(message)).await?;
        self.smtp("the message", "", "250").await
    }

    // ---- IMAP ----

    /// The greeting.
    pub(crate) async fn imap_greeting(&mut self) -> Result<(), TalkError> {
        let line = self.octets().await?;
        expect("the greeting", &line, "* OK")
    }

    /// A command with the tag `a`, and all that is said until it is answered.
    pub(crate) async fn imap(
        &mut self,
        command: &'static str,
        line: &str,
    ) -> Result<Untagged, TalkError> {
        self.say(&format!("a {line}")).await?;
        let mut said = Untagged::default();
        let mut room = MAX_MESSAGE;
        let mut bye: Option<Vec<u8>> = None;
        loop {
            let line = match (self.octets().await, &bye) {
                // It said why it closes the connection.
                (Err(_), Some(bye)) => return Err(refused(command, bye)),
                (line, _) => line?,
            };
            if line.starts_with(b"a ") {
                return expect(command, &line, "a OK").map(|()| said);
            }
            if line.starts_with(b"* BYE") {
                bye = Some(line.clone());
            }
            let literal = literal(&line);
            let taken = line.len() + literal.unwrap_or_default();
            room = room
                .checked_sub(taken)
                .ok_or(TalkError::TooLong { command })?;
            said.lines.push(String::from_utf8_lossy(&line).into_owned());
            if let Some(octets) = literal {
                said.literals.push(self.wire.block(octets).await?);
            }
        }
    }

    // ---- POP3 ----

    /// A command and its reply of one line; an empty one only hears.
    pub(crate) async fn pop3(
        &mut self,
        command: &'static str,
        line: &str,
    ) -> Result<String, TalkError> {
        self.say(line).await?;
        let reply = self.octets().await?;
        expect(command, &reply, "+OK")?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    /// How many messages there are.
    pub(crate) async fn count(&mut self) -> Result<u32, TalkError> {
        let stat = self.pop3("STAT", "STAT").await?;
        let count = stat.split(' ').nth(1).and_then(|n| n.parse().ok());
        count.ok_or_else(|| refused("STAT", stat.as_bytes()))
    }

    /// A command whose reply has many lines, such as `RETR 1`: the lines behind the first, without their dots.
    pub(crate) async fn retrieve(
        &mut self,
        command: &'static str,
        line: &str,
    ) -> Result<Vec<u8>, TalkError> {
        self.pop3(command, line).await?;
        let mut message = Vec::new();
        loop {
            let line = self.octets().await?;
            if line == b"." {
                return Ok(message);
            }
            if message.len() + line.len() > MAX_MESSAGE {
                return Err(TalkError::TooLong { command });
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            message.extend_from_slice(b"\r\n");
        }
    }
}

fn refused(command: &'static str, reply: &[u8]) -> TalkError {
    let reply = printable(reply);
    TalkError::Refused { command, reply }
}

fn expect(command: &'static str, reply: &[u8], start: &str) -> Result<(), TalkError> {
    match reply.starts_with(start.as_bytes()) {
        true => Ok(()),
        false => Err(refused(command, reply)),
    }
}

/// The octets of the literal that a line announces at its end (RFC 3501 §4.3).
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let start = line.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(&line[start + 1..]).ok()?.parse().ok()
}

/// A message as DATA wants it (RFC 5321 §4.5.2), with its end.
fn dotted(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What a server has to say, all at once; what it heard in return.
    pub(crate) async fn hearing<T>(
        said: impl AsRef<[u8]>,
        talk: impl AsyncFnOnce(&mut Talk<tokio::io::DuplexStream>) -> T,
    ) -> (T, String) {
        let (near, mut far) = duplex(64 * 1024);
        far.write_all(said.as_ref()).await.expect("room");
        let mut near = Talk::new(near);
        let result = talk(&mut near).await;
        drop(near);
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.expect("text");
        (result, heard)
    }

    #[tokio::test]
    async fn a_literal_is_taken_whole_even_if_it_looks_like_an_answer() {
        let said = b"* 1 FETCH (BODY[] {7}\r\na OK\r\n!)\r\na OK done\r\n";
        let (answer, heard) = hearing(said, async |talk| {
            talk.imap("FETCH", "FETCH 1 BODY[]").await
        })
        .await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.literals, [b"a OK\r\n!"]);
        assert_eq!(answer.lines, ["* 1 FETCH (BODY[] {7}", ")"]);
        assert_eq!(heard, "a FETCH 1 BODY[]\r\n");
    }

    #[tokio::test]
    async fn a_good_bye_is_an_answer_only_where_nothing_follows() {
        let said = b"* BYE see you\r\na OK done\r\n";
        let (answer, _) = hearing(said, async |talk| talk.imap("LOGOUT", "LOGOUT").await).await;
        answer.expect("an answer");
        let (near, mut far) = duplex(4096);
        far.write_all(b"* BYE too many\r\n").await.expect("room");
        far.shutdown().await.expect("closed");
        let answer = Talk::new(near).imap("STATUS", "STATUS INBOX").await;
        let told = answer.expect_err("closed").to_string();
        assert_eq!(told, "STATUS was answered: * BYE too many");
    }

    #[tokio::test]
    async fn a_literal_beyond_the_bound_is_not_waited_for() {
        let said = b"* 1 FETCH (BODY[] {99999999}\r\n";
        let (answer, _) = hearing(said, async |talk| {
            talk.imap("FETCH", "FETCH 1 BODY[]").await
        })
        .await;
        assert!(
            matches!(answer, Err(TalkError::TooLong { .. })),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn dots_are_doubled_on_the_way_out_and_taken_off_on_the_way_in() {
        let said = b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n";
        let message = b".\r\n..x\r\nend";
        let (sent, heard) = hearing(said, async |talk| talk.submit("a@b.c", message).await).await;
        sent.expect("taken");
        assert!(
            heard.ends_with("DATA\r\n..\r\n...x\r\nend\r\n.\r\n"),
            "{heard:?}"
        );
        let said = b"+OK\r\n..\r\n...x\r\n.\r\n";
        let (message, _) = hearing(said, async |talk| talk.retrieve("RETR", "RETR 1").await).await;
        assert_eq!(message.expect("a message"), b".\r\n..x\r\n");
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_all_of_its_lines() {
        let said = b"550-5.7.60 not\r\n550 yours\r\n";
        let (sent, _) = hearing(said, async |talk| talk.submit("a@b.c", b"x").await).await;
        let told = sent.expect_err("refused").to_string();
        assert_eq!(told, "MAIL was answered: 550-5.7.60 not 550 yours");
    }
}
