//! Token answers and errors, read as leniently as real providers demand and checked before anything uses them.
//!
//! Knows no HTTP and no provider.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use oauth2::{RefreshToken, Scope};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::jwt;
use super::secrets::Secrets;
use crate::token::AccessToken;

/// Octets of the longest refresh token or id token that is accepted.
const MAX_SECRET: usize = 16 * 1024;
/// No access token is believed to live longer than a year, the longest life that a mail provider documents.
const MAX_LIFE: f64 = 366.0 * 24.0 * 3600.0;
/// Seconds of life that a token may claim for itself.
const HINTS: RangeInclusive<f64> = 60.0..=24.0 * 3600.0;
/// Characters kept of a provider's description.
const MAX_DESCRIPTION: usize = 400;
/// Characters kept of a provider's words for machines.
const MAX_WORD: usize = 80;

/// A token answer as it came (RFC 6749 §5.1), with the deviations that providers are known for.
#[derive(Debug, Deserialize, Serialize)]
pub struct TokenAnswer {
    access_token: oauth2::AccessToken,
    #[serde(default)]
    token_type: TokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
    #[serde(default, deserialize_with = "scopes")]
    scope: Option<Vec<Scope>>,
    #[serde(default)]
    id_token: Option<oauth2::AccessToken>, // any of oauth2's redacted secrets would do
    #[serde(default, deserialize_with = "seconds")]
    refresh_token_expires_in: Option<u64>,
    /// Keycloak's name for it.
    #[serde(default, deserialize_with = "seconds")]
    refresh_expires_in: Option<u64>,
}

impl oauth2::TokenResponse for TokenAnswer {
    type TokenType = TokenType;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &TokenType {
        &self.token_type
    }
    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scope.as_ref()
    }
}

/// `token_type` (RFC 6749 §7.1). Mail servers take bearer tokens only; a missing type means that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Option<String>", into = "Option<String>")]
pub enum TokenType {
    /// RFC 6750.
    #[default]
    Bearer,
    /// Something that no mail server takes.
    Other,
}

impl oauth2::TokenType for TokenType {}

impl From<Option<String>> for TokenType {
    fn from(word: Option<String>) -> Self {
        match word {
            Some(word) if !word.eq_ignore_ascii_case("bearer") => Self::Other,
            _ => Self::Bearer,
        }
    }
}

impl From<TokenType> for Option<String> {
    fn from(kind: TokenType) -> Self {
        (kind == TokenType::Bearer).then(|| "Bearer".into())
    }
}

/// A token answer that passed every check.
#[derive(Debug)]
pub struct Answer {
    /// The access token.
    pub access_token: AccessToken,
    /// How long it lives, counted from the sending of the request; not every provider says.
    pub expires_in: Option<Duration>,
    /// A refresh token: the first one, or the successor of the one that was used.
    pub refresh_token: Option<SecretString>,
    /// How long the refresh token lives, where the provider says so.
    pub refresh_expires_in: Option<Duration>,
    /// What was granted; `None` means: what was asked for (RFC 6749 §5.1).
    pub scopes: Option<Vec<String>>,
    /// Who signed in (OpenID Connect), as a JWT.
    pub id_token: Option<SecretString>,
}

/// An answer that cannot be used. It may still have brought a refresh token, which must not be lost.
#[derive(Debug)]
pub struct Unusable {
    /// What is wrong with it; holds nothing of the answer's content.
    pub reason: String,
    /// The refresh token that came with it.
    pub refresh_token: Option<SecretString>,
}

impl Unusable {
    /// What is left of an answer that could not be read at `at`, if a refresh token is.
    pub(super) fn salvaged(at: &str, body: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let token = answer.get("refresh_token")?.as_str()?;
        is_vschar(token).then(|| Self {
            reason: format!("it cannot be read at `{at}`"),
            refresh_token: Some(token.into()),
        })
    }
}

impl Answer {
    /// How long the access token lives, if it was asked for at `asked`. Where the provider does not say, a token that is a JWT may: that
    /// is no more than a hint, since tokens are nobody's to read but the mail server's.
    pub fn life(&self, asked: Timestamp) -> Option<Duration> {
        self.expires_in.or_else(|| self.hinted_life(asked))
    }

    fn hinted_life(&self, asked: Timestamp) -> Option<Duration> {
        let claims = jwt::claims(self.access_token.expose())?;
        let number = |name: &str| claims.get(name).and_then(Value::as_f64);
        // By the issuer's own clock, where it is told.
        let from = number("iat").unwrap_or(asked.as_second() as f64);
        let life = number("exp")? - from;
        HINTS.contains(&life).then(|| Duration::from_secs_f64(life))
    }
}

impl TokenAnswer {
    /// Refuses tokens that could become protocol structure, are oversized, or are not bearer tokens.
    pub fn check(self) -> Result<Answer, Unusable> {
        let refresh_token = match self.refresh_token {
            Some(token) if token.secret().is_empty() => None,
            Some(token) if !is_vschar(token.secret()) => {
                return Err(Unusable {
                    reason:
                        "its refresh token is too long or has characters that no token may have"
                            .into(),
                    refresh_token: None,
                });
            }
            other => other.map(|token| SecretString::from(token.into_secret())),
        };
        if self.token_type != TokenType::Bearer {
            return Err(Unusable {
                reason: "its token_type is not Bearer".into(),
                refresh_token,
            });
        }
        let Some(access_token) = AccessToken::new(self.access_token.into_secret().into()) else {
            return Err(Unusable {
                reason: "its access token is too long or has characters that no token may have"
                    .into(),
                refresh_token,
            });
        };
        Ok(Answer {
            access_token,
            expires_in: self.expires_in.map(Duration::from_secs),
            refresh_token,
            refresh_expires_in: self
                .refresh_token_expires_in
                .or(self.refresh_expires_in)
                .map(Duration::from_secs),
            scopes: self
                .scope
                .map(|scopes| scopes.iter().map(|s| s.to_string()).collect()),
            id_token: self
                .id_token
                .filter(|token| is_vschar(token.secret()))
                .map(|token| token.into_secret().into()),
        })
    }
}

/// `refresh-token = 1*VSCHAR` (RFC 6749 appendix A.17), bounded.
fn is_vschar(token: &str) -> bool {
    (1..=MAX_SECRET).contains(&token.len()) && token.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

/// Seconds as a number, a string or a float. What is not positive says nothing useful and counts as absent.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = match Option::<Value>::deserialize(deserializer)? {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    // The range check makes the cast exact enough; NaN is in no range.
    Ok(number.filter(|n| *n >= 1.0).map(|n| n.min(MAX_LIFE) as u64))
}

/// Scopes as RFC 6749 §3.3 wants them, or as the array that some servers send.
fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Scope>>, D::Error> {
    let words: Vec<String> = match Option::<Value>::deserialize(deserializer)? {
        Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => return Ok(None),
    };
    Ok((!words.is_empty()).then(|| words.into_iter().map(Scope::new).collect()))
}

/// An error answer as it came: foreign text that may repeat the request, so nobody sees it before it is [cleaned](Self::cleaned).
#[derive(Deserialize, Serialize)]
#[serde(try_from = "Value")]
pub(super) struct RawError {
    error: String,
    description: Option<String>,
    codes: Vec<u32>,
    suberror: Option<String>,
    trace_id: Option<String>,
    /// Tokens that stand beside the error.
    #[serde(skip)]
    tokens: Vec<Zeroizing<String>>,
}

impl RawError {
    /// What people may read of it. The secrets go before anything is cut, since a piece of one might not be known again.
    pub(super) fn cleaned(&self, secrets: &Secrets) -> ErrorAnswer {
        let secrets = secrets.and(self.tokens.iter().map(|token| token.as_str()));
        let clean = |text: &String, max| printable(&secrets.redacted(text), max);
        ErrorAnswer {
            error: clean(&self.error, MAX_WORD),
            description: self
                .description
                .as_ref()
                .map(|text| clean(text, MAX_DESCRIPTION)),
            codes: self.codes.clone(),
            suberror: self.suberror.as_ref().map(|text| clean(text, MAX_WORD)),
            trace_id: self.trace_id.as_ref().map(|text| clean(text, MAX_WORD)),
        }
    }
}

impl fmt::Debug for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawError").finish_non_exhaustive()
    }
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error answer")
    }
}

impl oauth2::ErrorResponse for RawError {}

/// An error answer (RFC 6749 §5.2) with the extensions of Entra and Google. Texts are bounded and free of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// `error`, the word for machines.
    pub error: String,
    /// `error_description`, the words for developers.
    pub description: Option<String>,
    /// Entra's `error_codes`.
    pub codes: Vec<u32>,
    /// Entra's `suberror` or Google's `error_subtype`.
    pub suberror: Option<String>,
    /// Entra's `trace_id` or, lacking that, `correlation_id`: what its support asks for.
    pub trace_id: Option<String>,
}

impl ErrorAnswer {
    /// An error without extensions, as redirects carry it (RFC 6749 §4.1.2.1).
    pub fn plain(error: &str, description: Option<&str>) -> Self {
        Self {
            error: printable(error, MAX_WORD),
            description: description.map(|text| printable(text, MAX_DESCRIPTION)),
            codes: Vec::new(),
            suberror: None,
            trace_id: None,
        }
    }

    /// Whether Entra named this number, in `error_codes` or as `AADSTS<number>` in the description.
    pub fn has_number(&self, number: u32) -> bool {
        self.codes.contains(&number) || self.numbers_in_text().any(|found| found == number)
    }

    fn numbers_in_text(&self) -> impl Iterator<Item = u32> {
        self.description
            .as_deref()
            .unwrap_or_default()
            .split("AADSTS")
            .skip(1)
            .filter_map(|rest| {
                let end = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                rest[..end].parse().ok()
            })
    }
}

impl TryFrom<Value> for RawError {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let (error, nested) = match value.get("error") {
            Some(Value::String(error)) => (error.as_str(), None),
            // Google's APIs nest: {"error": {"status": "…", "message": "…"}}
            Some(Value::Object(inner)) => (
                inner
                    .get("status")
                    .and_then(Value::as_str)
                    .unwrap_or("error"),
                inner.get("message").and_then(Value::as_str),
            ),
            _ => return Err("no error in the error answer"),
        };
        let codes = value.get("error_codes").and_then(Value::as_array);
        let sub = text("suberror").or_else(|| text("error_subtype"));
        let trace = text("trace_id").or_else(|| text("correlation_id"));
        let tokens = ["access_token", "refresh_token", "id_token"].map(text);
        let owned = |text: &str| text.to_owned();
        Ok(Self {
            error: error.to_owned(),
            description: text("error_description").or(nested).map(owned),
            codes: codes.into_iter().flatten().filter_map(number).collect(),
            suberror: sub.map(owned),
            trace_id: trace.map(owned),
            tokens: tokens
                .into_iter()
                .flatten()
                .map(|token| Zeroizing::new(token.to_owned()))
                .collect(),
        })
    }
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|n| n.try_into().ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if let Some(sub) = &self.suberror {
            write!(f, "/{sub}")?;
        }
        if let Some(description) = &self.description {
            write!(f, ": {description}")?;
        }
        match &self.trace_id {
            // Entra's descriptions end with it already.
            Some(id) if !self.description.as_deref().unwrap_or_default().contains(id) => {
                write!(f, " (trace {id})")
            }
            _ => Ok(()),
        }
    }
}

/// The first `max` characters of foreign text, with white space folded and every other control character shown as `?`.
///
/// Bidirectional overrides count as control characters: they could make a terminal show something else than was said.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(|c| if is_control(c) { '?' } else { c }));
        if out.len() > max * 4 {
            break;
        }
    }
    match out.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use secrecy::ExposeSecret;

    fn read(json: &str) -> Result<Answer, Unusable> {
        serde_json::from_str::<TokenAnswer>(json)
            .expect("readable")
            .check()
    }

    #[test]
    fn expires_in_is_read_in_every_form_that_providers_send() {
        let table = [
            ("3599", Some(3599)),
            ("\"3599\"", Some(3599)),
            ("3599.7", Some(3599)),
            ("\" 60 \"", Some(60)),
            ("null", None),
            ("-5", None),
            ("0", None),
            ("\"soon\"", None),
            ("[1]", None),
            ("1e300", Some(MAX_LIFE as u64)),
        ];
        for (sent, want) in table {
            let answer =
                read(&format!(r#"{{"access_token":"a","expires_in":{sent}}}"#)).expect("usable");
            assert_eq!(answer.expires_in, want.map(Duration::from_secs), "{sent}");
        }
        assert_eq!(
            read(r#"{"access_token":"a"}"#).expect("usable").expires_in,
            None
        );
    }

    #[test]
    fn scopes_come_as_a_string_or_an_array() {
        for scope in [r#""a b""#, r#"["a","b"]"#] {
            let answer =
                read(&format!(r#"{{"access_token":"t","scope":{scope}}}"#)).expect("usable");
            assert_eq!(answer.scopes, Some(vec!["a".into(), "b".into()]));
        }
    }

    #[test]
    fn a_missing_or_lower_case_type_is_bearer_and_no_other_is_taken() {
        assert!(read(r#"{"access_token":"t","token_type":"bearer"}"#).is_ok());
        assert!(read(r#"{"access_token":"t","token_type":null}"#).is_ok());
        assert!(read(r#"{"access_token":"t","token_type":"mac"}"#).is_err());
    }

    #[test]
    fn a_token_that_could_become_structure_is_refused_but_its_refresh_token_is_kept() {
        let long = "a".repeat(AccessToken::MAX_LEN + 1);
        for token in [r"a\r\nb", r"a\u0001b", "a b", "", "é", &long] {
            let refused = read(&format!(
                r#"{{"access_token":"{token}","refresh_token":"keep"}}"#
            ))
            .expect_err(token);
            assert_eq!(refused.refresh_token.expect("kept").expose_secret(), "keep");
        }
    }

    #[test]
    fn a_doubled_key_is_refused() {
        assert!(
            serde_json::from_str::<TokenAnswer>(r#"{"access_token":"a","access_token":"b"}"#)
                .is_err()
        );
    }

    #[test]
    fn entra_numbers_are_found_in_the_list_and_in_the_text() {
        let answer = ErrorAnswer::plain(
            "invalid_grant",
            Some("AADSTS700082: The refresh token has expired."),
        );
        assert!(answer.has_number(700_082) && !answer.has_number(70_008));
    }

    #[test]
    fn foreign_text_is_bounded_and_printable() {
        let answer = ErrorAnswer::plain("x", Some("a\u{1b}[2J\r\n\u{202e}b"));
        assert_eq!(answer.description.as_deref(), Some("a?[2J ?b"));
        assert_eq!(printable(&"é".repeat(1000), 10).chars().count(), 11);
    }

    #[test]
    fn a_token_may_hint_at_its_life_where_the_provider_does_not_tell() {
        let asked = Timestamp::from_second(1_800_000_000).expect("a time");
        let life = |claims: Value, expires_in: Value| {
            let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
            let token = format!("e30.{payload}.c2ln");
            let json = serde_json::json!({"access_token": token, "expires_in": expires_in});
            let answer: TokenAnswer = serde_json::from_value(json).expect("readable");
            let life = answer.check().expect("good").life(asked);
            life.map(|life| life.as_secs())
        };
        let claims = serde_json::json!({"iat": 1_800_009_000, "exp": 1_800_009_900});
        assert_eq!(
            life(claims.clone(), Value::Null),
            Some(900),
            "by its own clock"
        );
        assert_eq!(life(claims, 3600.into()), Some(3600), "what is told counts");
        let by_ours = serde_json::json!({"exp": 1_800_001_800});
        assert_eq!(life(by_ours, Value::Null), Some(1800));
        for odd in [0, 1_799_999_999, 1_800_000_059, 1_900_000_000] {
            assert_eq!(
                life(serde_json::json!({ "exp": odd }), Value::Null),
                None,
                "{odd}"
            );
        }
        assert_eq!(life(serde_json::json!({"exp": "soon"}), Value::Null), None);
    }

    #[test]
    fn no_secret_is_printed() {
        let json = r#"{"access_token":"s3cretA","refresh_token":"s3cretR","id_token":"s3cretI"}"#;
        let raw: TokenAnswer = serde_json::from_str(json).expect("readable");
        assert!(!format!("{raw:?}").contains("s3cret"));
        assert!(!format!("{:?}", raw.check()).contains("s3cret"));
    }

    fn cleaned(json: &Value, secrets: &[&str]) -> ErrorAnswer {
        let raw: RawError = serde_json::from_value(json.clone()).expect("an error");
        assert!(!format!("{raw:?} {raw}").contains("s3cret"));
        raw.cleaned(&Secrets::new(secrets.iter().copied()))
    }

    #[test]
    fn a_secret_across_the_end_of_what_is_kept_leaves_no_beginning() {
        for before in MAX_DESCRIPTION - 30..=MAX_DESCRIPTION {
            let description = format!("{} s3cret-refresh-token", "x".repeat(before));
            let json =
                serde_json::json!({"error": "invalid_grant", "error_description": description});
            let shown = cleaned(&json, &["s3cret-refresh-token"]).to_string();
            assert!(!shown.contains("s3c"), "{shown}");
        }
    }

    #[test]
    fn tokens_beside_an_error_are_secrets_too() {
        let json = serde_json::json!({
            "error": "server_error",
            "error_description": "could not store s3cretA-access and s3cretR-refresh",
            "access_token": "s3cretA-access",
            "refresh_token": "s3cretR-refresh",
            "trace_id": "s3cretA-access",
        });
        let shown = cleaned(&json, &[]).to_string();
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
