//! An old mail program in miniature: plain passwords, no TLS, nothing that was invented after 2000. It speaks to the proxy, and does
//! not know that there is one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::mail::date;
use super::register::random;
use super::wire::{Line, Wire};

/// How long one protocol may take, from connect to goodbye.
const PATIENCE: Duration = Duration::from_secs(20);
/// Octets of a reply's line.
const MAX_LINE: usize = 8192;
/// Octets of a message that is fetched; ours has a few hundred.
const MAX_MESSAGE: usize = 64 * 1024;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum TripError {
    /// The connection.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Silence.
    #[error("no answer within {} seconds", PATIENCE.as_secs())]
    Slow,
    /// A refusal.
    #[error("{command} was answered: {reply}")]
    Refused {
        /// The command, without its secrets.
        command: &'static str,
        /// What came.
        reply: String,
    },
    /// The message is not in the mailbox.
    #[error("the message is not in the mailbox")]
    Missing,
    /// The message is not what was sent.
    #[error("the message came back changed")]
    Changed,
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The address, which is also the user name.
    pub address: String,
    /// The local password.
    pub password: SecretString,
}

/// A message with a mark by which it is found again.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Nobody else's message has it.
    pub mark: String,
    /// The whole message.
    pub text: String,
}

impl Letter {
    /// A message from and to `address`, with what likes to be damaged on the way: a line that begins with a dot, a long one, and
    /// letters beyond ASCII.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn write(address: &str) -> Result<Self, getrandom::Error> {
        let mark: String = random()?
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(12)
            .collect();
        let now = date(Timestamp::now());
        let long = "long ".repeat(150);
        let text = format!(
            "From: <{address}>\r\nTo: <{address}>\r\nDate: {now}\r\n\
             Message-ID: <{mark}@demo.mailwicket.invalid>\r\nSubject: mailwicket demo {mark}\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             This message was sent with a plain password by SMTP and arrived by XOAUTH2.\r\n\
             .a line that begins with a dot\r\nÄpfel, naïve, 手紙\r\n{long}\r\n",
        );
        Ok(Self { mark, text })
    }

    /// Mail servers write above a message, and nowhere else.
    fn is_in(&self, received: &[u8]) -> bool {
        received.ends_with(self.text.as_bytes())
    }
}

/// Sends a letter by SMTP with AUTH LOGIN.
///
/// # Errors
/// [`TripError`]
pub async fn send(server: SocketAddr, person: &Person, letter: &Letter) -> Result<(), TripError> {
    in_time(async {
        let mut talk = Talk::open(server).await?;
        talk.smtp("the greeting", "", "220").await?;
        talk.smtp("EHLO", "EHLO old-program", "250").await?;
        talk.smtp("AUTH LOGIN", "AUTH LOGIN", "334").await?;
        let name = STANDARD.encode(&person.address);
        talk.smtp("the user name", &name, "334").await?;
        let password = STANDARD.encode(person.password.expose_secret());
        talk.smtp("the password", &password, "235").await?;
        let from = format!("MAIL FROM:<{}>", person.address);
        talk.smtp("MAIL", &from, "250").await?;
        let to = format!("RCPT TO:<{}>", person.address);
        talk.smtp("RCPT", &to, "250").await?;
        talk.smtp("DATA", "DATA", "354").await?;
        let stuffed = letter.text.replace("\r\n.", "\r\n..");
        talk.smtp("the message", &format!("{stuffed}."), "250")
            .await?;
        talk.smtp("QUIT", "QUIT", "221").await?;
        talk.wire.close().await;
        Ok(())
    })
    .await
}

/// Finds a letter by IMAP with LOGIN and compares it.
///
/// # Errors
/// [`TripError`]
pub async fn read_by_imap(
    server: SocketAddr,
    person: &Person,
    letter: &Letter,
) -> Result<(), TripError> {
    in_time(async {
        let mut talk = Talk::open(server).await?;
        expect("the greeting", &talk.line().await?, "* OK")?;
        let (user, password) = (&person.address, person.password.expose_secret());
        let login = format!("a LOGIN \"{user}\" \"{password}\"");
        talk.imap("LOGIN", &login).await?;
        talk.imap("SELECT", "a SELECT INBOX").await?;
        let search = format!("a UID SEARCH SUBJECT {}", letter.mark);
        let found = talk.imap("SEARCH", &search).await?;
        let found = String::from_utf8_lossy(&found).into_owned();
        let line = found.lines().find_map(|l| l.strip_prefix("* SEARCH "));
        let uid = line.and_then(|uids| uids.split(' ').next()?.parse::<u32>().ok());
        let uid = uid.ok_or(TripError::Missing)?;
        let fetch = format!("a UID FETCH {uid} BODY.PEEK[]");
        let fetched = talk.imap("FETCH", &fetch).await?;
        // The message is followed by the end of the FETCH answer and the tagged reply, and nothing else.
        let end = fetched.iter().rposition(|octet| *octet == b')');
        let is_same = end.is_some_and(|end| letter.is_in(&fetched[..end]));
        talk.imap("LOGOUT", "a LOGOUT").await?;
        talk.wire.close().await;
        is_same.then_some(()).ok_or(TripError::Changed)
    })
    .await
}

/// Finds a letter by POP3 with USER and PASS and compares it.
///
/// # Errors
/// [`TripError`]
pub async fn read_by_pop3(
    server: SocketAddr,
    person: &Person,
    letter: &Letter,
) -> Result<(), TripError> {
    in_time(async {
        let mut talk = Talk::open(server).await?;
        talk.pop3("the greeting", "").await?;
        talk.pop3("USER", &format!("USER {}", person.address))
            .await?;
        let pass = format!("PASS {}", person.password.expose_secret());
        talk.pop3("PASS", &pass).await?;
        let stat = talk.pop3("STAT", "STAT").await?;
        let count = stat.split(' ').nth(1).and_then(|n| n.parse::<u32>().ok());
        let mut found = None;
        // The newest first.
        for number in (1..=count.unwrap_or_default()).rev() {
            let message = talk.retrieve(number).await?;
            if memchr::memmem::find(&message, letter.mark.as_bytes()).is_some() {
                found = Some(message);
                break;
            }
        }
        talk.pop3("QUIT", "QUIT").await?;
        talk.wire.close().await;
        match found {
            None => Err(TripError::Missing),
            Some(message) if letter.is_in(&message) => Ok(()),
            Some(_) => Err(TripError::Changed),
        }
    })
    .await
}

async fn in_time<T>(work: impl Future<Output = Result<T, TripError>>) -> Result<T, TripError> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or(Err(TripError::Slow))
}

fn expect(command: &'static str, reply: &str, start: &str) -> Result<(), TripError> {
    match reply.starts_with(start) {
        true => Ok(()),
        false => Err(TripError::Refused {
            command,
            reply: reply.chars().take(200).collect(),
        }),
    }
}

/// A connection in clear.
struct Talk {
    wire: Wire<TcpStream>,
}

impl Talk {
    async fn open(server: SocketAddr) -> Result<Self, TripError> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            wire: Wire::new(stream),
        })
    }

    async fn octets(&mut self) -> Result<Vec<u8>, TripError> {
        match self.wire.line(MAX_LINE).await? {
            Line::Whole(line) => Ok(line),
            Line::TooLong => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
            Line::End => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    async fn line(&mut self) -> Result<String, TripError> {
        let line = self.octets().await?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    async fn say(&mut self, line: &str) -> Result<(), TripError> {
        if !line.is_empty() {
            self.wire.send(format!("{line}\r\n")).await?;
        }
        Ok(())
    }

    /// A command and its reply, to the last line.
    async fn smtp(
        &mut self,
        command: &'static str,
        line: &str,
        code: &str,
    ) -> Result<(), TripError> {
        self.say(line).await?;
        loop {
            let reply = self.line().await?;
            if reply.as_bytes().get(3) != Some(&b'-') {
                return expect(command, &reply, code);
            }
        }
    }

    /// A command with the tag `a`, and all that is said until it is answered.
    async fn imap(&mut self, command: &'static str, line: &str) -> Result<Vec<u8>, TripError> {
        self.say(line).await?;
        let mut said = Vec::new();
        while said.len() < MAX_MESSAGE {
            let line = self.octets().await?;
            if line.starts_with(b"a ") {
                let reply = String::from_utf8_lossy(&line);
                return expect(command, &reply, "a OK").map(|()| said);
            }
            said.extend(line);
            said.extend_from_slice(b"\r\n");
        }
        Err(TripError::Changed)
    }

    async fn pop3(&mut self, command: &'static str, line: &str) -> Result<String, TripError> {
        self.say(line).await?;
        let reply = self.line().await?;
        expect(command, &reply, "+OK").map(|()| reply)
    }

    async fn retrieve(&mut self, number: u32) -> Result<Vec<u8>, TripError> {
        self.pop3("RETR", &format!("RETR {number}")).await?;
        let mut message = Vec::new();
        loop {
            let line = self.octets().await?;
            if line == b"." {
                return Ok(message);
            }
            if message.len() < MAX_MESSAGE {
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                message.extend_from_slice(b"\r\n");
            }
        }
    }
}
