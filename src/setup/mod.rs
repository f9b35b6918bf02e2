//! What a mailbox at a provider needs before anybody signs in: what is offered and asked for, and the lines of the file that it makes.
//!
//! Asks nobody and shows nothing; the terminal and the console do.

mod addition;
pub mod answers;
pub mod choice;
pub mod mx;
pub mod new_file;

use std::io;

pub use self::addition::append;
pub use self::answers::{Answers, Assertion, SecretPlace, Served};
pub use self::choice::{Choice, TenantNeed, Way};
use crate::config::{Guess, guess, guess_by_mx};

/// Asks which hosts take a domain's mail, the preferred first.
pub type Ask = fn(&str) -> io::Result<Vec<String>>;

/// What the address says of its provider, else the hosts that take its domain's mail, if they may be asked for. Blocks then.
///
/// # Errors
/// In words, if the hosts cannot be found out.
pub fn guessed(address: &str, ask: Option<Ask>) -> Result<Option<Guess>, String> {
    let by_domain = guess(address);
    let (None, Some(ask)) = (by_domain, ask) else {
        return Ok(by_domain);
    };
    let domain = address.rsplit('@').next().unwrap_or_default();
    let hosts = ask(domain)
        .map_err(|error| format!("cannot find out who takes the mail of {domain}: {error}"))?;
    Ok(hosts.iter().find_map(|host| guess_by_mx(host)))
}
