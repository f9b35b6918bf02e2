//! The grants that the OAuth library does not know, and the choice among those in which nobody signs in.
//!
//! Each is one request whose answer is read as every other; how often to ask is decided elsewhere.

use jiff::Timestamp;
use oauth2::AsyncHttpClient;
use oauth2::{ResourceOwnerPassword, ResourceOwnerUsername};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::proof::{BACKDATED, LIFE};
use super::response::{Answer, RawError, TokenAnswer, Unusable};
use super::secrets::Secrets;
use super::{OAuth, OAuthError, jwt};
use crate::config::{Account, Flow, ServiceAccount, SigningAlgorithm};

/// RFC 7523 §2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The version of Azure's instance metadata service that every region has.
const METADATA_VERSION: &str = "2018-02-01";

type Request = ::http::Request<Vec<u8>>;

impl OAuth {
    /// Gets an access token for an account whose flow [needs nobody](Flow::is_unattended).
    pub async fn unattended(&self, account: &Account) -> Result<Answer, OAuthError> {
        match self.provider.flow {
            Flow::ServiceAccount => {
                let mailbox = account.authorize_as.as_deref().unwrap_or(&account.address);
                self.service_account(mailbox).await
            }
            Flow::ManagedIdentity => self.managed_identity().await,
            // The flows of people have a refresh token instead.
            _ => self.client_credentials().await,
        }
    }

    /// Exchanges a person's password for tokens (RFC 6749 §4.3).
    pub async fn password(
        &self,
        user: &str,
        password: &SecretString,
    ) -> Result<Answer, OAuthError> {
        let proof = self.proof().await?;
        let client = self.client(&proof).await?;
        let secrets = Secrets::new([password.expose_secret(), proof.exposed()]);
        let (user, password) = (
            ResourceOwnerUsername::new(user.to_owned()),
            ResourceOwnerPassword::new(password.expose_secret().to_owned()),
        );
        let mut request = client
            .exchange_password(&user, &password)
            .add_scopes(self.scopes());
        for (name, value) in proof.assertion() {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&self.confidential(&secrets)).await;
        self.finish(answer, &secrets).await
    }

    /// Gets an access token for `mailbox` with an assertion that the service account signs (RFC 7523 §2.1).
    async fn service_account(&self, mailbox: &str) -> Result<Answer, OAuthError> {
        let url = self.token_url().await?;
        let assertion = self.service_assertion(mailbox, &url).await?;
        let secrets = Secrets::new([assertion.expose_secret()]);
        let mut form = vec![
            ("grant_type", JWT_BEARER),
            ("assertion", assertion.expose_secret()),
        ];
        // Google wants none; others may.
        if !self.provider.client_id.is_empty() {
            form.push(("client_id", &self.provider.client_id));
        }
        self.ask(form_request(&url, &form)?, &secrets).await
    }

    async fn service_assertion(
        &self,
        mailbox: &str,
        audience: &Url,
    ) -> Result<SecretString, OAuthError> {
        let missing = || OAuthError::Secret("`service-account` is not set".into());
        let source = self.provider.service_account.clone().ok_or_else(missing)?;
        let now = self.now().as_second();
        let claims = |issuer: &str| {
            json!({
                "iss": issuer,
                "sub": mailbox,
                "aud": audience.as_str(),
                "scope": self.provider.scopes.join(" "),
                "iat": now - BACKDATED,
                "exp": now + LIFE,
            })
        };
        let account = blocking(move || ServiceAccount::load(&source)).await?;
        let header = match &account.key_id {
            Some(id) => json!({"kid": id}),
            None => json!({}),
        };
        let claims = claims(&account.address);
        let signed = jwt::signed(&*account.key, SigningAlgorithm::Rs256, header, &claims);
        signed.ok_or_else(|| {
            OAuthError::Secret("nothing can be signed with the service account's key".into())
        })
    }

    /// Asks the machine's metadata service for a token of its identity in Azure, or of the one that `client-id` names.
    async fn managed_identity(&self) -> Result<Answer, OAuthError> {
        let mut url = self.token_url().await?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("api-version", METADATA_VERSION);
            for scope in &self.provider.scopes {
                // The service takes the resource that the scope is of.
                query.append_pair("resource", scope.trim_end_matches("/.default"));
            }
            if !self.provider.client_id.is_empty() {
                query.append_pair("client_id", &self.provider.client_id);
            }
        }
        let request = ::http::Request::get(url.as_str())
            // Keeps out requests that a program was tricked into.
            .header("Metadata", "true")
            .body(Vec::new())
            .map_err(|_| unsendable(&url))?;
        self.ask(request, &Secrets::default()).await
    }

    /// The time as the provider sees it, as far as its last answer told.
    pub(super) fn now(&self) -> Timestamp {
        let now = self.http.now();
        let skew = jiff::SignedDuration::from_secs(self.http.skew());
        now.checked_add(skew).unwrap_or(now)
    }

    /// Sends a request whose answer is tokens or an error, as from any token endpoint.
    pub(super) async fn ask(
        &self,
        request: Request,
        secrets: &Secrets,
    ) -> Result<Answer, OAuthError> {
        let response = match self.confidential(secrets).call(request).await {
            Ok(response) => response,
            Err(error) => {
                self.forget_metadata().await;
                return Err(error.into());
            }
        };
        let (status, body) = (response.status(), response.body());
        if !status.is_success() {
            return Err(refused(body, secrets));
        }
        // The parser's own message is dropped: it might quote a token.
        let answer = serde_json::from_slice::<TokenAnswer>(body);
        let answer = answer.map_err(|_| match Unusable::salvaged("", body) {
            Some(unusable) => OAuthError::Unusable(unusable),
            None => OAuthError::Malformed { at: String::new() },
        })?;
        answer.check().map_err(OAuthError::Unusable)
    }
}

/// The error in an answer that says no.
pub(super) fn refused(body: &[u8], secrets: &Secrets) -> OAuthError {
    match serde_json::from_slice::<RawError>(body) {
        Ok(error) => OAuthError::Refused(error.cleaned(secrets)),
        Err(_) => OAuthError::Malformed { at: String::new() },
    }
}

/// A request with these parameters in its body (RFC 6749 appendix B).
pub(super) fn form_request(url: &Url, form: &[(&str, &str)]) -> Result<Request, OAuthError> {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    ::http::Request::post(url.as_str())
        .header(
            ::http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .header(::http::header::ACCEPT, "application/json")
        .body(body.finish().into_bytes())
        .map_err(|_| unsendable(url))
}

fn unsendable(url: &Url) -> OAuthError {
    OAuthError::Malformed {
        at: url.to_string(),
    }
}

/// Reads keys where reading may take its time.
pub(super) async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, OAuthError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(OAuthError::Secret(error.to_string())),
        Err(error) => Err(OAuthError::Secret(error.to_string())),
    }
}
