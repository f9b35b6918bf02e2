//! A sign-in on another device (RFC 8628): a short code is typed there, and the token endpoint is asked until somebody has.
//!
//! Prints nothing; what the person must see is in [`DeviceSignIn`].

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

use super::catalogue::Class;
use super::grants::{form_request, refused};
use super::proof::Proof;
use super::response::{Answer, ErrorAnswer, printable};
use super::secrets::Secrets;
use super::{OAuth, OAuthError};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How often to ask if the provider does not say (RFC 8628 §3.2), and by how much more seldom after each `slow_down` (§3.5).
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest wait between questions.
const INTERVAL_CAP: Duration = Duration::from_secs(60);
/// How long a code is believed to live if the provider does not say so, and at most.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Characters of the longest code that a person is asked to type.
const MAX_USER_CODE: usize = 40;

/// A sign-in that somebody has to finish elsewhere.
pub struct DeviceSignIn {
    /// What has to be typed there.
    pub user_code: String,
    /// Where.
    pub url: Url,
    /// The same place with the code already typed, where the provider has that.
    pub complete_url: Option<Url>,
    /// How long there is for it.
    pub life: Duration,
    interval: Duration,
    device_code: SecretString,
}

impl fmt::Debug for DeviceSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceSignIn")
            .field("url", &self.url.as_str())
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// RFC 8628 §3.2; Google and Yandex write `url` for `uri`.
#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: Url,
    #[serde(default, alias = "verification_url_complete")]
    verification_uri_complete: Option<Url>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<u64>,
}

/// A number, or the string that some servers make of it.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

impl OAuth {
    /// Asks for a code (RFC 8628 §3.1).
    pub async fn device_sign_in(&self) -> Result<DeviceSignIn, OAuthError> {
        let url = self.device_url().await?;
        let proof = self.proof().await?;
        let secrets = Secrets::new([proof.exposed()]);
        let scopes = self.provider.scopes.join(" ");
        let mut form = self.identified(&proof);
        form.push(("scope", &scopes));
        let request = form_request(&url, &form)?;
        let response = self.http.send(request, &secrets).await?;
        if !response.status().is_success() {
            return Err(refused(response.body(), &secrets));
        }
        let answer = serde_json::from_slice::<DeviceAnswer>(response.body());
        let sign_in = answer.ok().and_then(DeviceAnswer::sign_in);
        sign_in.ok_or_else(|| OAuthError::Malformed { at: url.into() })
    }

    /// Asks for the tokens of `sign_in` until they come, are refused, or the code ends (RFC 8628 §3.4, §3.5). With them comes the time
    /// at which they were asked for, from which their life counts.
    pub async fn device_answer(
        &self,
        sign_in: DeviceSignIn,
    ) -> Result<(Answer, Timestamp), OAuthError> {
        let end = Instant::now() + sign_in.life;
        let mut interval = sign_in.interval;
        loop {
            if Instant::now() + interval >= end {
                let words = "nobody finished the sign-in while the code was good";
                let answer = ErrorAnswer::plain("expired_token", Some(words));
                return Err(OAuthError::Refused(answer));
            }
            sleep(interval).await;
            let sent = Timestamp::now();
            match self.ask_for(&sign_in).await {
                Ok(answer) => return Ok((answer, sent)),
                Err(error) => {
                    interval = next_interval(interval, &error)
                        .ok_or(error)?
                        .min(INTERVAL_CAP);
                }
            }
        }
    }

    async fn ask_for(&self, sign_in: &DeviceSignIn) -> Result<Answer, OAuthError> {
        let url = self.token_url().await?;
        let proof = self.proof().await?;
        let code = sign_in.device_code.expose_secret();
        let secrets = Secrets::new([code, proof.exposed()]);
        let mut form = self.identified(&proof);
        form.extend([("grant_type", DEVICE_CODE), ("device_code", code)]);
        self.ask(form_request(&url, &form)?, &secrets).await
    }

    /// The parameters that say which application asks.
    fn identified<'p>(&'p self, proof: &'p Proof) -> Vec<(&'p str, &'p str)> {
        let mut form = vec![("client_id", self.provider.client_id.as_str())];
        form.extend(proof.parameters());
        form
    }
}

impl DeviceAnswer {
    fn sign_in(self) -> Option<DeviceSignIn> {
        let is_page = |url: &Url| matches!(url.scheme(), "https" | "http");
        let user_code = printable(&self.user_code, MAX_USER_CODE);
        // A code that is shown otherwise than it is cannot be typed.
        let is_fit = !user_code.is_empty() && user_code == self.user_code;
        let life = self.expires_in.map_or(LIFE, Duration::from_secs);
        let interval = self.interval.map_or(INTERVAL, Duration::from_secs);
        (is_fit && is_page(&self.verification_uri)).then(|| DeviceSignIn {
            user_code,
            url: self.verification_uri,
            complete_url: self.verification_uri_complete.filter(is_page),
            life: life.min(LIFE),
            interval: interval.clamp(Duration::from_secs(1), INTERVAL_CAP),
            device_code: self.device_code.into(),
        })
    }
}

/// What a provider says of its own trouble (RFC 6749 §4.1.2.1); every other word ends the sign-in.
const TROUBLE: [&str; 2] = ["temporarily_unavailable", "server_error"];

/// How long to wait before the next question after this answer; `None` if there is nothing to wait for.
fn next_interval(interval: Duration, error: &OAuthError) -> Option<Duration> {
    match error {
        OAuthError::Refused(answer) if answer.error == "authorization_pending" => Some(interval),
        OAuthError::Refused(answer) if answer.error == "slow_down" => Some(interval + INTERVAL),
        // Trouble on the way: more seldom, not never (RFC 8628 §3.5). An answer that cannot be read may have spent the code.
        OAuthError::Http(_) if error.class() == Class::Retry => Some(more_seldom(interval, error)),
        OAuthError::Refused(answer) if TROUBLE.contains(&answer.error.as_str()) => {
            Some(more_seldom(interval, error))
        }
        _ => None,
    }
}

fn more_seldom(interval: Duration, error: &OAuthError) -> Duration {
    (interval * 2).max(error.retry_after().unwrap_or_default())
}
