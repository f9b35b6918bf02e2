//! The server's side of XOAUTH2 and OAUTHBEARER (RFC 7628).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The mechanisms, as they are advertised.
pub(super) const MECHANISMS: [&str; 2] = ["XOAUTH2", "OAUTHBEARER"];

/// Octets of a message in base64.
pub(super) const MAX_RESPONSE: usize = 12 * 1024;

/// What a client presented.
pub(super) struct Bearer {
    pub(super) user: String,
    pub(super) token: String,
}

/// The mechanism of that name.
pub(super) fn mechanism(name: &str) -> Option<&'static str> {
    let mut known = MECHANISMS.into_iter();
    known.find(|known| known.eq_ignore_ascii_case(name))
}

/// Reads a message; `None` if it is malformed.
pub(super) fn read(mechanism: &str, response: &[u8]) -> Option<Bearer> {
    if response.len() > MAX_RESPONSE {
        return None;
    }
    let message = String::from_utf8(STANDARD.decode(response).ok()?).ok()?;
    let fields = message.strip_suffix("\x01\x01")?.split('\x01');
    let mut user = None;
    let mut token = None;
    for (at, field) in fields.enumerate() {
        match (mechanism, at) {
            ("XOAUTH2", 0) => user = Some(field.strip_prefix("user=")?.to_owned()),
            // A GS2 header (RFC 5801 §4): no channel binding, and the user with `,` and `=` escaped.
            ("OAUTHBEARER", 0) => {
                let name = field.strip_prefix("n,a=")?.strip_suffix(',')?;
                user = Some(name.replace("=2C", ",").replace("=3D", "="));
            }
            _ => {
                if let Some(value) = field.strip_prefix("auth=") {
                    let (scheme, value) = value.split_once(' ')?;
                    if !scheme.eq_ignore_ascii_case("bearer") {
                        return None;
                    }
                    token = Some(value.to_owned());
                }
            }
        }
    }
    Some(Bearer {
        user: user?,
        token: token?,
    })
}

/// The challenge that tells why not, in base64; the client answers it before it hears the refusal.
pub(super) fn challenge(mechanism: &str) -> String {
    STANDARD.encode(match mechanism {
        "XOAUTH2" => r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
        _ => r#"{"status":"invalid_token","scope":"mail"}"#,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mechanism: &str, message: &str) -> Option<(String, String)> {
        let bearer = read(mechanism, STANDARD.encode(message).as_bytes())?;
        Some((bearer.user, bearer.token))
    }

    #[test]
    fn both_forms_name_a_user_and_a_token() {
        let xoauth2 = of("XOAUTH2", "user=a=b\x01auth=Bearer t\x01\x01");
        assert_eq!(xoauth2, Some(("a=b".into(), "t".into())));
        let message = "n,a=a=3Db=2C,\x01host=localhost\x01port=1\x01auth=Bearer t\x01\x01";
        let oauthbearer = of("OAUTHBEARER", message);
        assert_eq!(oauthbearer, Some(("a=b,".into(), "t".into())));
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        for odd in [
            "",
            "user=a\x01auth=Bearer t\x01",
            "user=a\x01\x01",
            "a\x01auth=Bearer t\x01\x01",
            "user=a\x01auth=Basic t\x01\x01",
        ] {
            assert!(of("XOAUTH2", odd).is_none(), "{odd:?}");
        }
        assert!(read("XOAUTH2", b"%").is_none());
    }
}
