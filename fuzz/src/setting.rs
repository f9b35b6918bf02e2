//! Who and what occurs in every target: one account, one token, one set of bounds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailwicket::config::MechanismChoice;
use mailwicket::dialogue::{Bounds, Login, Nonce};
use mailwicket::token::AccessToken;
use secrecy::SecretString;

/// The login name, and the SASL user upstream.
pub const ALICE: &str = "alice@example.com";
/// Her local password.
pub const PASSWORD: &[u8] = b"wicket-1";
/// The host and port that OAUTHBEARER repeats.
pub const HOST: &str = "mail.example.com";
/// See [`HOST`].
pub const PORT: u16 = 993;

/// Small, so that short inputs reach them.
pub const BOUNDS: Bounds = Bounds {
    line: 256,
    failed_logins: 3,
    octets: 64 * 1024,
};

/// Makes `mw4444444444444444` the first tag of an upstream IMAP conversation, and so on down to `mw0000000000000000`.
pub fn nonce() -> Nonce {
    std::array::from_fn(|at| (at / 8 * 0x11) as u8)
}

/// A token that stands nowhere in `data`, for the fuzzer learns every word that it is compared with.
pub fn secret(data: &[u8]) -> String {
    // FNV-1a, forwards and backwards.
    let mix = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
    let there = data.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    let back = data.iter().rev().fold(there, mix);
    format!("Secret{there:016x}{back:016x}")
}

/// The token as the program holds it.
pub fn token(secret: &str) -> AccessToken {
    AccessToken::new(SecretString::from(secret)).expect("a sound token")
}

/// The upstream login.
pub fn login(token: &AccessToken, mechanism: MechanismChoice) -> Login<'_> {
    Login {
        identity: ALICE,
        token,
        mechanism,
        host: HOST,
        port: PORT,
    }
}

/// The only lines that hold the token, by mechanism (RFC 7628 §3.1, and the providers' pages on XOAUTH2).
pub fn messages(secret: &str) -> [(&'static str, String); 2] {
    let xoauth2 = format!("user={ALICE}\x01auth=Bearer {secret}\x01\x01");
    let oauthbearer =
        format!("n,a={ALICE},\x01host={HOST}\x01port={PORT}\x01auth=Bearer {secret}\x01\x01");
    [
        ("XOAUTH2", STANDARD.encode(xoauth2)),
        ("OAUTHBEARER", STANDARD.encode(oauthbearer)),
    ]
}

/// How often `needle` stands in `hay`.
pub fn count(hay: &[u8], needle: &[u8]) -> usize {
    hay.windows(needle.len()).filter(|w| *w == needle).count()
}

/// The lines of what one of our machines said: each whole, printable ASCII and not too long.
pub fn lines(said: &[u8]) -> Vec<&str> {
    let said = std::str::from_utf8(said).expect("what we say is UTF-8");
    let whole = said.strip_suffix("\r\n").expect("we say whole lines");
    let lines: Vec<&str> = whole.split("\r\n").collect();
    for line in &lines {
        assert!(
            line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
            "{line:?} is not printable"
        );
    }
    lines
}
