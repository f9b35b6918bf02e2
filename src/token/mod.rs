//! Access tokens for verified accounts.
//!
//! [`life`] decides, without clock or I/O; [`grant`] is what the vault keeps; [`Tokens`] asks the provider and obeys.

mod entry;
pub mod grant;
mod keeper;
pub mod life;
mod renewal;
#[cfg(test)]
mod sim;
mod status;
#[cfg(test)]
mod testing;
mod upkeep;
mod world;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

pub use keeper::Tokens;
pub use status::AccountStatus;

/// An access token that is fit to stand in a SASL message.
#[derive(Clone)]
pub struct AccessToken(SecretString);

impl AccessToken {
    /// Octets of the longest token that is accepted.
    pub const MAX_LEN: usize = 16 * 1024;

    /// Takes a token if it is a `b64token` (RFC 6750 §2.1) of bounded length, so that nothing in it can become SASL structure.
    pub fn new(token: SecretString) -> Option<Self> {
        let text = token.expose_secret();
        let body = text.trim_end_matches('=');
        let fits = !body.is_empty()
            && text.len() <= Self::MAX_LEN
            && body
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        fits.then(|| Self(token))
    }

    /// The token itself, for the SASL message only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessToken({} octets)", self.expose().len())
    }
}

impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
