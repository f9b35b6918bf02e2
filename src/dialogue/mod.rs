//! The dialogues before login, on both sides, as machines without sockets, clocks or randomness.

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};

/// What a mail program presented. `Debug` shows lengths only.
pub struct Credentials {
    /// The login name: UTF-8 without control characters; empty if what came could not be one, which no account matches.
    pub login: String,
    /// The password: any octets but NUL, CR and LF, compared as they came.
    pub password: SecretSlice<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("login_len", &self.login.len())
            .field("password_len", &self.password.expose_secret().len())
            .finish()
    }
}
