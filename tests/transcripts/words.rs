//! The names, passwords and tokens of all tests, and every form in which they could be given away.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

pub const ALICE: &str = "alice@example.com";
pub const PASSWORD: &str = "plainWicketPassword7";
pub const WRONG_PASSWORD: &str = "wrongWicketPassword9";
pub const PROXY_PASSWORD: &str = "proxyWicketPassword5";
pub const CLIENT_SECRET: &str = "theClientSecretOfTheTests";

/// The token that the sign-in service gives out at its `number`th answer.
pub fn token(number: usize) -> String {
    format!("wicketToken{number}.ThisMustNeverBeSeenAnywhere{number}")
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// SASL PLAIN as mail programs send it.
pub fn plain(password: &str) -> String {
    base64(format!("\0{ALICE}\0{password}"))
}

/// What a mail server must hear as its login with this token.
pub fn xoauth2(number: usize) -> String {
    base64(format!(
        "user={ALICE}\x01auth=Bearer {}\x01\x01",
        token(number)
    ))
}

/// Everything whose appearance would give a secret away: as it is, and in base64 wherever it stands in a longer text.
pub fn traces(secret: &str) -> Vec<String> {
    let mut traces = vec![secret.to_owned()];
    for shift in 0..3 {
        let shifted = format!("{}{secret}", "\0".repeat(shift));
        for text in [STANDARD.encode(&shifted), URL_SAFE.encode(&shifted)] {
            // The edges depend on what stands around the secret; what lies between does not.
            let inside = text.trim_end_matches('=');
            traces.push(inside[4..inside.len() - 3].to_owned());
        }
    }
    traces
}

/// The secrets of a run in which at most nine tokens are given out.
pub fn secrets() -> Vec<String> {
    let mut secrets: Vec<String> = (1..10).map(token).collect();
    secrets.extend([PASSWORD, WRONG_PASSWORD, PROXY_PASSWORD, CLIENT_SECRET].map(str::to_owned));
    secrets
}

pub fn contains(haystack: &[u8], needle: impl AsRef<[u8]>) -> bool {
    memchr::memmem::find(haystack, needle.as_ref()).is_some()
}
