//! The mailbox's own password, exchanged for tokens: read once, sent once, and kept nowhere.

use std::io::{self, BufRead, IsTerminal};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{AuthorizeError, Terminal};
use crate::authorize::{Authorization, Granted};

/// Octets of the longest password that is taken.
const MAX_LEN: usize = 1024;

/// Signs in by password (RFC 6749 §4.3).
pub(super) async fn sign_in(
    authorization: &Authorization,
    terminal: &mut Terminal<'_>,
) -> Result<Granted, AuthorizeError> {
    let who = authorization.who();
    terminal.say(&format!(
        "The password of {who} at the provider (not a local one). It is sent to the provider once and not stored:"
    ));
    let password = (terminal.password)().map_err(AuthorizeError::Password)?;
    if password.expose_secret().is_empty() {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty");
        return Err(AuthorizeError::Password(error));
    }
    Ok(authorization.by_password(&password).await?)
}

/// From the terminal, without showing it, or the first line of the input.
pub(super) fn read() -> io::Result<SecretString> {
    if io::stdin().is_terminal() {
        return rpassword::read_password().map(SecretString::from);
    }
    // Room from the start, so that growing leaves no copies behind.
    let mut line = Zeroizing::new(String::with_capacity(MAX_LEN + 2));
    let limit = MAX_LEN as u64 + 2;
    io::Read::take(io::stdin().lock(), limit).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.len() > MAX_LEN {
        let why = "it is longer than 1024 octets";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(SecretString::from(password))
}
