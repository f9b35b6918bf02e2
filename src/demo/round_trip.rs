//! An old mail program in miniature: plain passwords, no TLS, nothing that was invented after 2000. It speaks to the proxy, and does
//! not know that there is one.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;

use super::mail::date;
use super::register::random;
use crate::talk::{self, Talk, TalkError};

/// How long one protocol may take, from connect to goodbye.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum TripError {
    /// The conversation.
    #[error(transparent)]
    Talk(#[from] TalkError),
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
        let mut talk = open(server).await?;
        talk.smtp("the greeting", "", "220").await?;
        talk.smtp("EHLO", "EHLO old-program", "250").await?;
        talk.smtp("AUTH LOGIN", "AUTH LOGIN", "334").await?;
        let name = STANDARD.encode(&person.address);
        talk.smtp("the user name", &name, "334").await?;
        let password = STANDARD.encode(person.password.expose_secret());
        talk.smtp("the password", &password, "235").await?;
        talk.submit(&person.address, letter.text.as_bytes()).await?;
        talk.smtp("QUIT", "QUIT", "221").await?;
        talk.close().await;
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
        let mut talk = open(server).await?;
        talk.imap_greeting().await?;
        let (user, password) = (&person.address, person.password.expose_secret());
        let login = format!("LOGIN \"{user}\" \"{password}\"");
        talk.imap("LOGIN", &login).await?;
        talk.imap("SELECT", "SELECT INBOX").await?;
        let search = format!("UID SEARCH SUBJECT {}", letter.mark);
        let found = talk.imap("SEARCH", &search).await?;
        let mut lines = found.lines.iter();
        let line = lines.find_map(|l| l.strip_prefix("* SEARCH "));
        let uid = line.and_then(|uids| uids.split(' ').next()?.parse::<u32>().ok());
        let uid = uid.ok_or(TripError::Missing)?;
        let fetch = format!("UID FETCH {uid} BODY.PEEK[]");
        let fetched = talk.imap("FETCH", &fetch).await?;
        let is_same = fetched.literals.iter().any(|text| letter.is_in(text));
        talk.imap("LOGOUT", "LOGOUT").await?;
        talk.close().await;
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
        let mut talk = open(server).await?;
        talk.pop3("the greeting", "").await?;
        talk.pop3("USER", &format!("USER {}", person.address))
            .await?;
        let pass = format!("PASS {}", person.password.expose_secret());
        talk.pop3("PASS", &pass).await?;
        let count = talk.count().await?;
        let mut found = None;
        // The newest first.
        for number in (1..=count).rev() {
            let message = talk.retrieve("RETR", &format!("RETR {number}")).await?;
            if memchr::memmem::find(&message, letter.mark.as_bytes()).is_some() {
                found = Some(message);
                break;
            }
        }
        talk.pop3("QUIT", "QUIT").await?;
        talk.close().await;
        match found {
            None => Err(TripError::Missing),
            Some(message) if letter.is_in(&message) => Ok(()),
            Some(_) => Err(TripError::Changed),
        }
    })
    .await
}

async fn in_time<T>(work: impl Future<Output = Result<T, TripError>>) -> Result<T, TripError> {
    talk::in_time(PATIENCE, work).await
}

async fn open(server: SocketAddr) -> Result<Talk<TcpStream>, TripError> {
    let stream = TcpStream::connect(server).await.map_err(TalkError::from)?;
    stream.set_nodelay(true).map_err(TalkError::from)?;
    Ok(Talk::new(stream))
}
