//! SASL messages: PLAIN and LOGIN as a server, XOAUTH2 and OAUTHBEARER as a client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use super::{Credentials, Login, UpstreamFailure, text};
use crate::config::MechanismChoice;

/// Octets that a name or a password may have; RFC 4616 asks for 255 at least.
const FIELD: usize = 1024;

/// `Username:` in base64, exactly as old devices compare it (draft-murchison-sasl-login).
const ASK_NAME: &str = "VXNlcm5hbWU6";
/// `Password:` in base64.
const ASK_PASSWORD: &str = "UGFzc3dvcmQ6";

/// A server's side of a SASL exchange, named by what it waits for. Its framing belongs to the protocol.
pub(super) enum Exchange {
    ExpectPlain,
    ExpectName,
    ExpectPassword { name: Zeroizing<Vec<u8>> },
}

/// What a response leads to.
pub(super) enum Turn {
    /// Send this challenge, which is in base64 already, and go on.
    Challenge(Exchange, &'static str),
    Credentials(Credentials),
    /// `*`, the client's way to stop.
    Cancelled,
    /// Not canonical base64 (RFC 4648 §4, RFC 4954 §4).
    NotBase64,
}

impl Exchange {
    /// Begins an exchange and gives its first challenge; `None` for a mechanism that is not ours.
    pub(super) fn begin(mechanism: &[u8]) -> Option<(Self, &'static str)> {
        match &mechanism.to_ascii_uppercase()[..] {
            b"PLAIN" => Some((Self::ExpectPlain, "")),
            b"LOGIN" => Some((Self::ExpectName, ASK_NAME)),
            _ => None,
        }
    }

    /// Takes one response in base64. `=` alone is the empty initial response (RFC 4954 §4).
    pub(super) fn take(self, response: &[u8]) -> Turn {
        let message = match response {
            b"*" => return Turn::Cancelled,
            b"=" => Zeroizing::default(),
            _ => {
                let mut message = Zeroizing::new(Vec::with_capacity(response.len()));
                match STANDARD.decode_vec(response, &mut message) {
                    Ok(()) => message,
                    Err(_) => return Turn::NotBase64,
                }
            }
        };
        match self {
            Self::ExpectPlain => Turn::Credentials(plain(&message)),
            Self::ExpectName => {
                Turn::Challenge(Self::ExpectPassword { name: message }, ASK_PASSWORD)
            }
            Self::ExpectPassword { name } => Turn::Credentials(credentials(&name, &message)),
        }
    }
}

/// Reads a PLAIN message (RFC 4616 §2): `[authzid] NUL authcid NUL passwd`.
///
/// Many clients repeat the name as authorization identity; a different one is refused.
fn plain(message: &[u8]) -> Credentials {
    let fields: Vec<&[u8]> = message.split(|b| *b == 0).collect();
    match fields[..] {
        [authzid, authcid, password] if authzid.is_empty() || authzid == authcid => {
            credentials(authcid, password)
        }
        _ => Credentials::unusable(),
    }
}

/// Checks a name and a password as they came from any form of login.
pub(super) fn credentials(login: &[u8], password: &[u8]) -> Credentials {
    let fits = |field: &[u8]| !field.is_empty() && field.len() <= FIELD;
    let is_password = fits(password) && memchr::memchr3(0, b'\r', b'\n', password).is_none();
    match std::str::from_utf8(login) {
        Ok(login) if fits(login.as_bytes()) && !login.contains(char::is_control) && is_password => {
            Credentials {
                login: login.to_owned(),
                password: SecretSlice::from(password.to_vec()),
            }
        }
        _ => Credentials::unusable(),
    }
}

/// A client mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Xoauth2,
    Oauthbearer,
}

impl Mechanism {
    /// The mechanism to use: RFC 7628's where it is offered, else XOAUTH2; never anything else.
    pub(super) fn choose(
        choice: MechanismChoice,
        offered: &[String],
    ) -> Result<Self, UpstreamFailure> {
        let offers = |name: &str| offered.iter().any(|o| o.eq_ignore_ascii_case(name));
        let wants = |wanted| choice == MechanismChoice::Auto || choice == wanted;
        if wants(MechanismChoice::Oauthbearer) && offers("OAUTHBEARER") {
            Ok(Self::Oauthbearer)
        } else if wants(MechanismChoice::Xoauth2) && offers("XOAUTH2") {
            Ok(Self::Xoauth2)
        } else {
            Err(UpstreamFailure::unavailable(format!(
                "the mail server offers no OAuth mechanism that may be used here; it offers: {}",
                text::printable(offered.join(" ").as_bytes())
            )))
        }
    }

    /// The name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
        }
    }

    /// The client's message in base64 (Google's and Microsoft's XOAUTH2 pages; RFC 7628 §3.1).
    pub(super) fn message(self, login: &Login<'_>) -> Zeroizing<String> {
        let token = login.token.expose();
        let message = Zeroizing::new(match self {
            Self::Xoauth2 => format!("user={}\x01auth=Bearer {token}\x01\x01", login.identity),
            Self::Oauthbearer => format!(
                "n,a={},\x01host={}\x01port={}\x01auth=Bearer {token}\x01\x01",
                saslname(login.identity),
                login.host,
                login.port
            ),
        });
        let mut encoded = Zeroizing::new(String::with_capacity(message.len().div_ceil(3) * 4));
        STANDARD.encode_string(message.as_bytes(), &mut encoded);
        encoded
    }

    /// What answers an error challenge, so that the server goes on to its refusal.
    fn dismissal(self) -> &'static str {
        match self {
            Self::Xoauth2 => "",
            Self::Oauthbearer => "AQ==",
        }
    }
}

/// A name in a GS2 header (RFC 5801 §4).
fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// The `status` of an error challenge (RFC 7628 §3.2.2), for the log. Everything else in it is somebody else's text; in
/// particular no URL in it is ever followed.
fn challenge_status(challenge: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Challenge {
        status: String,
    }
    const LONGEST: usize = 4096;
    if challenge.len() > LONGEST {
        return None;
    }
    let json = STANDARD.decode(challenge).ok()?;
    let challenge: Challenge = serde_json::from_slice(&json).ok()?;
    Some(challenge.status).filter(|status| is_status(status))
}

/// Whether a status is a number or a word like `invalid_token`, and no room for anything else.
fn is_status(status: &str) -> bool {
    status.len() <= 24
        && status
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Error challenges that are answered before giving up.
const CHALLENGES: usize = 2;

/// A message that was sent, until the server says what it thinks of it.
pub(super) struct Trial {
    mechanism: Mechanism,
    challenges: usize,
    status: Option<String>,
}

impl Trial {
    pub(super) fn new(mechanism: Mechanism) -> Self {
        Self {
            mechanism,
            challenges: 0,
            status: None,
        }
    }

    /// What answers an error challenge; `None` if there were too many.
    pub(super) fn dismissal(&mut self, challenge: &[u8]) -> Option<&'static str> {
        self.challenges += 1;
        self.status = challenge_status(challenge).or(self.status.take());
        (self.challenges <= CHALLENGES).then(|| self.mechanism.dismissal())
    }

    /// The status that the error challenges told, for the log.
    pub(super) fn status(&self) -> String {
        let status = self.status.as_ref();
        status
            .map(|status| format!(" (status {status})"))
            .unwrap_or_default()
    }
}
