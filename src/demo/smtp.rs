//! The sandbox's submission server (RFC 6409, 5321, 3207, 4954), with STARTTLS.
//!
//! It sends nothing anywhere: whoever a message is for, it lands in the one inbox there is.

use std::collections::BTreeSet;
use std::io;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::mail::{Desk, Secure};
use super::store::MAX_MESSAGE;
use super::wire::{Line, Wire};
use super::{ADDRESS, bearer};
use crate::protocol::Protocol;

/// Octets of a command (RFC 5321 §4.5.3.1.4 asks for 512), or of a SASL response (RFC 4954 §4).
const MAX_LINE: usize = bearer::MAX_RESPONSE;
/// Octets of a line of a message; RFC 5321 §4.5.3.1.6 asks for 1000, and many send more.
const MAX_DATA_LINE: usize = 64 * 1024;
/// Recipients of a message (RFC 5321 §4.5.3.1.8).
const MAX_RECIPIENTS: usize = 100;

/// One session after TLS.
struct Session<'a> {
    desk: &'a Desk,
    wire: Secure,
    tls: &'static str,
    name: String,
    is_logged_in: bool,
    letter: Option<Envelope>,
}

/// A message that is being handed over.
#[derive(Default)]
struct Envelope {
    recipients: usize,
}

/// What a command leads to.
enum Next {
    Reply(String),
    Data,
    Auth(String),
    Quit,
}

fn reply(words: &str) -> Next {
    Next::Reply(format!("{words}\r\n"))
}

pub(super) async fn serve(desk: &Desk, stream: TcpStream) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    wire.send("220 localhost ESMTP sandbox\r\n").await?;
    if !until_tls(&mut wire).await? {
        wire.close().await;
        return Ok(());
    }
    let (stream, has_more) = wire.into_parts();
    if has_more {
        return Ok(()); // something came in clear behind STARTTLS (RFC 3207 §4.2)
    }
    let (wire, tls) = desk.secure(stream).await?;
    let session = Session {
        desk,
        wire,
        tls,
        name: String::new(),
        is_logged_in: false,
        letter: None,
    };
    session.run().await
}

/// The part in clear, where STARTTLS is all there is to do; whether it came.
async fn until_tls(wire: &mut Wire<TcpStream>) -> io::Result<bool> {
    while let Some(line) = command(wire).await? {
        let (word, argument) = split(&line);
        let answer = match &*word {
            "EHLO" if !argument.is_empty() => greet(&["STARTTLS"]),
            "HELO" if !argument.is_empty() => "250 localhost\r\n".into(),
            "EHLO" | "HELO" => "501 5.5.4 Who are you?\r\n".into(),
            "NOOP" | "RSET" => "250 2.0.0 Ok\r\n".into(),
            "STARTTLS" => {
                wire.send("220 2.0.0 Go ahead\r\n").await?;
                return Ok(true);
            }
            "QUIT" => {
                wire.send("221 2.0.0 Goodbye\r\n").await?;
                return Ok(false);
            }
            _ => "530 5.7.0 Say STARTTLS first\r\n".to_owned(),
        };
        wire.send(answer).await?;
    }
    Ok(false)
}

/// The next command; `None` at the end.
async fn command<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
) -> io::Result<Option<String>> {
    match wire.line(MAX_LINE).await? {
        Line::Whole(line) => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
        Line::TooLong => {
            wire.send("500 5.5.2 Line too long\r\n").await?;
            Ok(None)
        }
        Line::End => Ok(None),
    }
}

fn split(line: &str) -> (String, &str) {
    let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
    (word.to_ascii_uppercase(), argument.trim())
}

/// The answer to EHLO.
fn greet(more: &[&str]) -> String {
    let size = format!("SIZE {MAX_MESSAGE}");
    let own = [&*size, "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"];
    let words: Vec<&str> = ["localhost"]
        .into_iter()
        .chain(own)
        .chain(more.iter().copied())
        .collect();
    let last = words.len() - 1; // there are five at least
    let line = |(at, word): (usize, &&str)| match at == last {
        true => format!("250 {word}\r\n"),
        false => format!("250-{word}\r\n"),
    };
    words.iter().enumerate().map(line).collect()
}

impl Session<'_> {
    async fn run(mut self) -> io::Result<()> {
        while let Some(line) = command(&mut self.wire).await? {
            match self.step(&line) {
                Next::Reply(reply) => self.wire.send(reply).await?,
                Next::Data => {
                    if !self.data().await? {
                        break;
                    }
                }
                Next::Auth(argument) => {
                    if !self.authenticate(&argument).await? {
                        break;
                    }
                }
                Next::Quit => {
                    self.wire.send("221 2.0.0 Goodbye\r\n").await?;
                    break;
                }
            }
        }
        self.wire.close().await;
        Ok(())
    }

    fn step(&mut self, line: &str) -> Next {
        let (word, argument) = split(line);
        match &*word {
            "EHLO" | "HELO" if argument.is_empty() => reply("501 5.5.4 Who are you?"),
            "EHLO" => {
                self.name = plain(argument);
                self.letter = None;
                Next::Reply(greet(&["AUTH XOAUTH2 OAUTHBEARER"]))
            }
            "HELO" => {
                self.name = plain(argument);
                self.letter = None;
                reply("250 localhost")
            }
            "NOOP" => reply("250 2.0.0 Ok"),
            "RSET" => {
                self.letter = None;
                reply("250 2.0.0 Ok")
            }
            "QUIT" => Next::Quit,
            "AUTH" if self.is_logged_in => reply("503 5.5.1 Logged in already"),
            "AUTH" if self.name.is_empty() => reply("503 5.5.1 Say EHLO first"),
            "AUTH" => Next::Auth(argument.to_owned()),
            "MAIL" | "RCPT" | "DATA" if !self.is_logged_in => reply("530 5.7.0 Log in first"),
            "MAIL" => self.mail(argument),
            "RCPT" => self.recipient(argument),
            "DATA" => match &self.letter {
                Some(letter) if letter.recipients > 0 => Next::Data,
                _ => reply("503 5.5.1 Say MAIL and RCPT first"),
            },
            "VRFY" => reply("252 2.1.5 Everybody is welcome"),
            "STARTTLS" => reply("503 5.5.1 TLS is on already"),
            _ => reply("500 5.5.1 Unknown command"),
        }
    }

    fn mail(&mut self, argument: &str) -> Next {
        let Some(parameters) = path(argument, "FROM:") else {
            return reply("501 5.5.4 MAIL FROM:<address> is wanted");
        };
        if self.letter.is_some() {
            return reply("503 5.5.1 One message at a time");
        }
        for parameter in parameters.split_ascii_whitespace() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match &*name.to_ascii_uppercase() {
                "SIZE"
                    if value
                        .parse()
                        .is_ok_and(|size: u64| size <= MAX_MESSAGE as u64) => {}
                "SIZE" => return reply("552 5.3.4 The message is too large"),
                "BODY" | "AUTH" => {}
                _ => return reply("555 5.5.4 Unknown parameter"),
            }
        }
        self.letter = Some(Envelope::default());
        reply("250 2.1.0 Ok")
    }

    fn recipient(&mut self, argument: &str) -> Next {
        if path(argument, "TO:").is_none_or(|parameters| !parameters.is_empty()) {
            return reply("501 5.5.4 RCPT TO:<address> is wanted");
        }
        match &mut self.letter {
            None => reply("503 5.5.1 Say MAIL first"),
            Some(letter) if letter.recipients == MAX_RECIPIENTS => {
                reply("452 4.5.3 Too many recipients")
            }
            Some(letter) => {
                letter.recipients += 1;
                reply("250 2.1.5 Ok; it will lie in the sandbox's inbox")
            }
        }
    }

    /// RFC 4954 §4; false if the client went away.
    async fn authenticate(&mut self, argument: &str) -> io::Result<bool> {
        let (name, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let Some(mechanism) = bearer::mechanism(name) else {
            self.wire.send("504 5.5.4 Unknown mechanism\r\n").await?;
            return Ok(true);
        };
        let mut response = initial.as_bytes().to_vec();
        if response.is_empty() {
            self.wire.send("334 \r\n").await?;
            match self.wire.line(MAX_LINE).await? {
                Line::Whole(line) => response = line,
                _ => return Ok(false),
            }
        }
        if self
            .desk
            .admits(Protocol::Smtp, self.tls, mechanism, &response)
        {
            self.is_logged_in = true;
            self.wire.send("235 2.7.0 Logged in\r\n").await?;
            return Ok(true);
        }
        let challenge = bearer::challenge(mechanism);
        self.wire.send(format!("334 {challenge}\r\n")).await?;
        if !matches!(self.wire.line(MAX_LINE).await?, Line::Whole(_)) {
            return Ok(false);
        }
        self.wire
            .send("535 5.7.8 The token was refused\r\n")
            .await?;
        Ok(true)
    }

    /// The message itself; false if the client went away or the rest cannot be understood.
    async fn data(&mut self) -> io::Result<bool> {
        self.wire.send("354 Go ahead\r\n").await?;
        let now = Timestamp::now();
        let mut content = self.trace(now).into_bytes();
        let (mut is_too_large, mut is_after_crlf) = (false, true);
        loop {
            let line = match self.wire.line_with_end(MAX_DATA_LINE).await? {
                Line::Whole(line) => line,
                Line::TooLong => {
                    self.wire.send("500 5.5.2 Line too long\r\n").await?;
                    return Ok(false);
                }
                Line::End => return Ok(false),
            };
            // Nothing but CRLF "." CRLF ends a message (RFC 5321 §4.1.1.4).
            if line == b".\r\n" && is_after_crlf {
                break;
            }
            is_after_crlf = line.ends_with(b"\r\n");
            // Dots are stuffed (RFC 5321 §4.5.2).
            let line = line.strip_prefix(b".").unwrap_or(&line);
            is_too_large |= content.len() + line.len() + 1 > MAX_MESSAGE;
            if !is_too_large {
                // A bare LF becomes CRLF, without which IMAP and POP3 could not hand it out.
                content.extend_from_slice(&line[..line.len() - 1]); // a line ends with LF
                if !is_after_crlf {
                    content.push(b'\r');
                }
                content.push(b'\n');
            }
        }
        self.letter = None;
        if is_too_large {
            self.wire
                .send("552 5.3.4 The message is too large\r\n")
                .await?;
            return Ok(true);
        }
        let inbox = self.desk.store.inbox();
        let uid = inbox.add(content, BTreeSet::new(), now);
        let words = format!("250 2.0.0 Taken; it is message {uid} of the sandbox's inbox\r\n");
        self.wire.send(words).await?;
        Ok(true)
    }

    /// Who brought it (RFC 5321 §4.4).
    fn trace(&self, now: Timestamp) -> String {
        format!(
            "Received: from {} by localhost (mailwicket sandbox)\r\n with ESMTPSA for <{ADDRESS}>; {}\r\n",
            self.name,
            super::mail::date(now)
        )
    }
}

/// What follows `FROM:<…>` or `TO:<…>`; the address itself does not matter to a sandbox.
fn path<'a>(argument: &'a str, word: &str) -> Option<&'a str> {
    let (before, after) = argument.split_at_checked(word.len())?;
    let inner = after.trim_start().strip_prefix('<')?;
    let (_, parameters) = inner.split_once('>')?;
    before
        .eq_ignore_ascii_case(word)
        .then_some(parameters.trim())
}

/// A name that can stand in a header.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_by_parameters() {
        assert_eq!(path("FROM:<a@b> SIZE=1", "FROM:"), Some("SIZE=1"));
        assert_eq!(path("from: <>", "FROM:"), Some(""));
        for odd in ["", "FROM", "FROM:a@b", "TO:<a@b>", "FROM:<a@b"] {
            assert_eq!(path(odd, "FROM:"), None, "{odd}");
        }
    }
}
