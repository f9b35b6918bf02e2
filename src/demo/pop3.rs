//! The sandbox's POP3 server (RFC 1939, 2449, 5034), over implicit TLS.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use super::bearer;
use super::mail::{Desk, Secure};
use super::store::Message;
use super::wire::Line;
use crate::protocol::Protocol;

/// Octets of a command (RFC 2449 §4 asks for 255), or of a SASL response.
const MAX_LINE: usize = bearer::MAX_RESPONSE;
const CAPABILITIES: &str = "+OK Capability list follows\r\nSASL XOAUTH2 OAUTHBEARER\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nIMPLEMENTATION mailwicket-sandbox\r\n.\r\n";

/// The inbox as it was at the login; a session sees no change but its own.
struct Drop {
    messages: Vec<Letter>,
    uid_validity: u32,
}

struct Letter {
    uid: u32,
    message: Arc<Message>,
    is_deleted: bool,
}

pub(super) async fn serve(desk: &Desk, mut wire: Secure, tls: &'static str) -> io::Result<()> {
    wire.send("+OK Sandbox POP3 ready\r\n").await?;
    if log_in(desk, &mut wire, tls).await? {
        let mut drop = Drop::open(desk);
        if drop.serve(&mut wire).await? {
            drop.update(desk);
            wire.send("+OK Goodbye\r\n").await?;
        }
    }
    wire.close().await;
    Ok(())
}

/// The next command: its word in upper case, and its argument.
async fn command(wire: &mut Secure) -> io::Result<Option<(String, String)>> {
    match wire.line(MAX_LINE).await? {
        Line::Whole(line) => {
            let line = String::from_utf8_lossy(&line).into_owned();
            let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
            Ok(Some((
                word.to_ascii_uppercase(),
                argument.trim().to_owned(),
            )))
        }
        Line::TooLong => {
            wire.send("-ERR Line too long\r\n").await?;
            Ok(None)
        }
        Line::End => Ok(None),
    }
}

/// Whether somebody logged in before the connection ended.
async fn log_in(desk: &Desk, wire: &mut Secure, tls: &'static str) -> io::Result<bool> {
    while let Some((word, argument)) = command(wire).await? {
        match &*word {
            "CAPA" => wire.send(CAPABILITIES).await?,
            "QUIT" => {
                wire.send("+OK Goodbye\r\n").await?;
                return Ok(false);
            }
            "AUTH" if argument.is_empty() => {
                wire.send("+OK\r\nXOAUTH2\r\nOAUTHBEARER\r\n.\r\n").await?;
            }
            "AUTH" => match authenticate(desk, wire, tls, &argument).await? {
                Some(true) => {
                    wire.send("+OK Logged in\r\n").await?;
                    return Ok(true);
                }
                Some(false) => {}
                None => return Ok(false),
            },
            "USER" | "PASS" | "APOP" => {
                wire.send("-ERR [AUTH] Passwords are not taken here; use AUTH XOAUTH2\r\n")
                    .await?;
            }
            _ => wire.send("-ERR Log in first\r\n").await?,
        }
    }
    Ok(false)
}

/// RFC 5034 §4; `None` if the client went away.
async fn authenticate(
    desk: &Desk,
    wire: &mut Secure,
    tls: &'static str,
    argument: &str,
) -> io::Result<Option<bool>> {
    let (name, initial) = argument.split_once(' ').unwrap_or((argument, ""));
    let Some(mechanism) = bearer::mechanism(name) else {
        wire.send("-ERR Unknown mechanism\r\n").await?;
        return Ok(Some(false));
    };
    let mut response = initial.as_bytes().to_vec();
    if response.is_empty() {
        wire.send("+ \r\n").await?;
        match wire.line(MAX_LINE).await? {
            Line::Whole(line) => response = line,
            _ => return Ok(None),
        }
    }
    if desk.admits(Protocol::Pop3, tls, mechanism, &response) {
        return Ok(Some(true));
    }
    let challenge = bearer::challenge(mechanism);
    wire.send(format!("+ {challenge}\r\n")).await?;
    if !matches!(wire.line(MAX_LINE).await?, Line::Whole(_)) {
        return Ok(None);
    }
    wire.send("-ERR [AUTH] The token was refused\r\n").await?;
    Ok(Some(false))
}

impl Drop {
    fn open(desk: &Desk) -> Self {
        let inbox = desk.store.inbox();
        let letter = |entry: super::store::Entry| Letter {
            uid: entry.uid,
            message: entry.message,
            is_deleted: false,
        };
        Self {
            messages: inbox.entries().into_iter().map(letter).collect(),
            uid_validity: inbox.uid_validity,
        }
    }

    /// Until QUIT (true) or the end of the connection, after which nothing is deleted (RFC 1939 §6).
    async fn serve(&mut self, wire: &mut Secure) -> io::Result<bool> {
        while let Some((word, argument)) = command(wire).await? {
            if word == "QUIT" {
                return Ok(true);
            }
            let reply = self.answer(&word, &argument);
            wire.send(reply).await?;
        }
        Ok(false)
    }

    fn answer(&mut self, word: &str, argument: &str) -> Vec<u8> {
        let mut arguments = argument.split_ascii_whitespace();
        let number = arguments.next();
        match (word, number) {
            ("CAPA", _) => CAPABILITIES.into(),
            ("NOOP", _) => "+OK\r\n".into(),
            ("STAT", _) => {
                let sizes = self.there().map(|(_, letter)| letter.size());
                let (count, octets) = sizes.fold((0, 0), |(n, sum), size| (n + 1, sum + size));
                format!("+OK {count} {octets}\r\n").into()
            }
            ("RSET", _) => {
                self.messages.iter_mut().for_each(|l| l.is_deleted = false);
                "+OK\r\n".into()
            }
            ("LIST", None) => self.list(|letter| letter.size().to_string()),
            ("UIDL", None) => self.list(|letter| self.unique(letter)),
            ("LIST" | "UIDL" | "RETR" | "TOP" | "DELE", number) => {
                let lines = arguments.next().and_then(|lines| lines.parse().ok());
                self.about(word, number.unwrap_or_default(), lines)
            }
            _ => "-ERR Unknown command\r\n".into(),
        }
    }

    /// What concerns one message.
    fn about(&mut self, word: &str, number: &str, lines: Option<usize>) -> Vec<u8> {
        let at = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let there = |letter: &&Letter| !letter.is_deleted;
        let letter = at.and_then(|at| self.messages.get(at)).filter(there);
        let (Some(at), Some(letter)) = (at, letter) else {
            return "-ERR No such message\r\n".into();
        };
        match word {
            "LIST" => format!("+OK {number} {}\r\n", letter.size()).into(),
            "UIDL" => format!("+OK {number} {}\r\n", self.unique(letter)).into(),
            "RETR" => letter.lines(None),
            "TOP" if lines.is_some() => letter.lines(lines),
            "TOP" => "-ERR TOP needs a message and a number of lines\r\n".into(),
            _ => {
                self.messages[at].is_deleted = true; // `at` was found just now
                "+OK\r\n".into()
            }
        }
    }

    fn list(&self, what: impl Fn(&Letter) -> String) -> Vec<u8> {
        let mut reply = "+OK\r\n".to_owned();
        for (number, letter) in self.there() {
            let _ = write!(reply, "{number} {}\r\n", what(letter)); // writing into memory does not fail
        }
        reply.push_str(".\r\n");
        reply.into()
    }

    fn there(&self) -> impl Iterator<Item = (usize, &Letter)> {
        let numbered = self.messages.iter().enumerate();
        numbered
            .filter(|(_, letter)| !letter.is_deleted)
            .map(|(at, letter)| (at + 1, letter))
    }

    fn unique(&self, letter: &Letter) -> String {
        format!("{:08x}{:08x}", self.uid_validity, letter.uid)
    }

    fn update(&self, desk: &Desk) {
        let deleted = self.messages.iter().filter(|letter| letter.is_deleted);
        let uids: Vec<u32> = deleted.map(|letter| letter.uid).collect();
        if !uids.is_empty() {
            desk.store.inbox().remove(|e| uids.contains(&e.uid));
        }
    }
}

impl Letter {
    fn size(&self) -> usize {
        self.message.content.len()
    }

    /// The message, or its head and that many lines of its body, with dots stuffed (RFC 1939 §3, §7).
    fn lines(&self, body: Option<usize>) -> Vec<u8> {
        let content = &self.message.content;
        let mut reply = b"+OK\r\n".to_vec();
        reply.reserve(content.len() + 64);
        let mut left = None;
        for line in content.split_inclusive(|octet| *octet == b'\n') {
            if left == Some(0) {
                break;
            }
            if line.starts_with(b".") {
                reply.push(b'.');
            }
            reply.extend_from_slice(line);
            match left {
                Some(lines) => left = Some(lines - 1), // it is not 0, see above
                None if line == b"\r\n" => left = body,
                None => {}
            }
        }
        if !reply.ends_with(b"\r\n") {
            reply.extend_from_slice(b"\r\n");
        }
        reply.extend_from_slice(b".\r\n");
        reply
    }
}
