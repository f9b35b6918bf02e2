//! OAuth 2.0 towards the providers: sign-in with a browser or another device, refresh, and the application's own credentials.
//!
//! Knows no accounts, no vault and no clock beyond its time limit; what happens to tokens is decided in [`crate::token`].

pub mod catalogue;
mod connector;
pub mod device;
mod discovery;
mod grants;
pub mod http;
pub(crate) mod jwt;
mod proof;
pub mod redirect;
pub mod response;
mod revoke;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::config::Provider;
use crate::tls::TlsError;
use catalogue::Class;
use discovery::Metadata;
use http::{Confidential, HttpClient, HttpError};
use proof::Proof;
use redirect::Expected;
use response::{Answer, ErrorAnswer, RawError, TokenAnswer, Unusable, printable};
pub use revoke::{Revocation, TokenKind};
use secrets::Secrets;

/// Why there are no tokens; sorted by what somebody can do.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The provider said no, in the words of RFC 6749 §5.2.
    #[error("the provider refused: {0}")]
    Refused(ErrorAnswer),
    /// No answer, or one that is not OAuth.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A token answer that cannot be used. The refresh token in it must be kept.
    #[error("the provider's answer cannot be used: {}", .0.reason)]
    Unusable(Unusable),
    /// JSON that is neither tokens nor an error.
    #[error("the provider's answer is neither a token nor an error (at `{at}`)")]
    Malformed {
        /// The path in the JSON where the reading stopped.
        at: String,
    },
    /// The metadata belongs to somebody else (RFC 8414 §3.3).
    #[error(
        "the metadata at {url} name the issuer {found:?}; set issuer to exactly that if it is meant"
    )]
    Issuer {
        /// Where the metadata came from.
        url: String,
        /// The issuer that they name.
        found: String,
    },
    /// Neither the configuration nor the issuer's metadata name an endpoint.
    #[error("no {0} is known for this provider; set it, or issuer")]
    NoEndpoint(&'static str),
    /// The provider gives devices no tokens for mail.
    #[error(
        "this provider gives no tokens for mail to sign-ins on another device; use --method browser or --method paste"
    )]
    NoDeviceFlow,
    /// A client secret, a key or an assertion cannot be had.
    #[error("{0}")]
    Secret(String),
}

impl OAuthError {
    /// What has to happen before the same request may succeed.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused(answer) => catalogue::meaning(answer).class,
            Self::Http(
                HttpError::Insecure { .. }
                | HttpError::Proxy {
                    is_config: true, ..
                },
            ) => Class::Config,
            Self::Http(HttpError::Status { status, .. })
                if matches!(status.as_u16(), 404 | 405 | 407 | 410) =>
            {
                Class::Config
            }
            Self::Http(_) | Self::Unusable(_) | Self::Malformed { .. } => Class::Retry,
            Self::Issuer { .. } | Self::NoEndpoint(_) | Self::NoDeviceFlow | Self::Secret(_) => {
                Class::Config
            }
        }
    }

    /// What to do about it, for the administrator; may be empty.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Refused(answer) => catalogue::meaning(answer).remedy,
            Self::Http(error) => http_remedy(error),
            _ => "",
        }
    }

    /// How long the provider wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.retry_after(),
            Self::Refused(answer) => catalogue::meaning(answer).pause,
            _ => None,
        }
    }

    /// Whether the provider may have acted on the request (and rotated a refresh token) although we do not know its answer.
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Http(error) => error.may_have_acted(),
            Self::Malformed { .. } | Self::Unusable(_) => true,
            _ => false,
        }
    }

    /// Whether every account of the same registration would hear the same. A slow or broken answer need not mean that.
    pub fn concerns_all_accounts(&self) -> bool {
        match self {
            Self::Refused(answer) => {
                let is_of_the_client = matches!(
                    answer.error.as_str(),
                    "invalid_client"
                        | "unauthorized_client"
                        | "deleted_client"
                        | "temporarily_unavailable"
                        | "slow_down"
                );
                is_of_the_client || catalogue::meaning(answer).pause.is_some()
            }
            Self::Http(HttpError::Status { status, .. }) => {
                matches!(status.as_u16(), 404 | 407 | 429 | 503)
            }
            Self::Http(
                HttpError::Unreachable { .. }
                | HttpError::Proxy { .. }
                | HttpError::Insecure { .. },
            ) => true,
            Self::Issuer { .. } | Self::NoEndpoint(_) | Self::NoDeviceFlow | Self::Secret(_) => {
                true
            }
            Self::Http(_) | Self::Unusable(_) | Self::Malformed { .. } => false,
        }
    }

    /// Whether the endpoint itself answered, as OAuth has it, so that it is there and well.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unusable(_))
    }

    /// Whether the request may have been acted on while its answer was lost on the way.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Http(HttpError::Lost { .. }))
    }
}

fn http_remedy(error: &HttpError) -> &'static str {
    match error {
        HttpError::Unreachable { reason, .. } if reason.contains("certificate") => {
            "If a device on the way inspects TLS, give its CA as ca-file; also check this machine's clock."
        }
        HttpError::Unreachable { .. } | HttpError::Lost { .. } => {
            "Check the network, DNS and firewall of this machine."
        }
        HttpError::Proxy { .. } => "", // it says what to do
        HttpError::Insecure { .. } => "Use an https URL.",
        HttpError::TooLarge { .. } => "Check token-url.",
        HttpError::Status { status, .. } => match status.as_u16() {
            300..=399 => {
                "A redirect is never followed: check token-url, and whether a portal wants a login first."
            }
            404 | 405 | 410 => "Check token-url (and issuer, tenant).",
            407 => "A proxy on the way wants a login.",
            _ => "",
        },
    }
}

/// The OAuth client of one registration.
#[derive(Debug)]
pub struct OAuth {
    provider: Arc<Provider>,
    http: HttpClient,
    metadata: Mutex<Known>,
}

/// The library's client with our own answer and error types and a token endpoint that is known.
type TokenClient = oauth2::Client<
    RawError,
    TokenAnswer,
    oauth2::basic::BasicTokenIntrospectionResponse,
    oauth2::StandardRevocableToken,
    oauth2::basic::BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

/// One sign-in that was begun: the URL for the browser and what its answer must carry.
#[derive(Debug)]
pub struct SignIn {
    /// Where the person signs in. Its state and challenge are no secrets on a machine with other users, who can read a browser's
    /// arguments: somebody who knows the state can end this sign-in with a code of an account of their own. So whoever takes the
    /// tokens must check who signed in.
    pub url: Url,
    /// What the redirect must carry.
    pub expected: Expected,
    verifier: PkceCodeVerifier,
    redirect: RedirectUrl,
}

impl OAuth {
    /// A client for `provider` whose requests end within `limit` each.
    pub fn new(provider: Arc<Provider>, limit: Duration) -> Result<Self, TlsError> {
        let tls = crate::tls::upstream(provider.ca_file.as_deref())?;
        let http = HttpClient::new(&tls, provider.egress.clone(), limit);
        Ok(Self::over(provider, http))
    }

    /// A client for `provider` that speaks by `http`.
    pub(crate) fn over(provider: Arc<Provider>, http: HttpClient) -> Self {
        Self {
            provider,
            http,
            metadata: Mutex::default(),
        }
    }

    /// The registration it speaks for.
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// Begins a sign-in (RFC 6749 §4.1.1) with PKCE S256 (RFC 7636) and a random state.
    pub async fn sign_in(&self, redirect: &Url, login_hint: &str) -> Result<SignIn, OAuthError> {
        let client = self
            .client(&Proof::Nothing)
            .await?
            .set_auth_uri(AuthUrl::from_url(self.authorize_url().await?));
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let redirect = RedirectUrl::from_url(redirect.clone());
        let mut request = client
            .authorize_url(CsrfToken::new_random)
            .set_redirect_uri(std::borrow::Cow::Borrowed(&redirect))
            .set_pkce_challenge(challenge)
            .add_scopes(self.scopes())
            .add_extra_param("login_hint", login_hint);
        for (name, value) in &self.provider.authorize_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        let expected = Expected {
            path: redirect.url().path().to_owned(),
            state: state.into_secret().into(),
            issuer: self.provider.issuer.clone(),
            origins: self.origins(),
            issuer_required: self.issuer_is_always_sent().await,
        };
        Ok(SignIn {
            url,
            expected,
            verifier,
            redirect,
        })
    }

    /// Exchanges the code of a redirect (RFC 6749 §4.1.3).
    pub async fn exchange(
        &self,
        sign_in: SignIn,
        code: SecretString,
    ) -> Result<Answer, OAuthError> {
        let proof = self.proof().await?;
        let client = self
            .client(&proof)
            .await?
            .set_redirect_uri(sign_in.redirect);
        let verifier = sign_in.verifier.secret();
        let secrets = Secrets::new([code.expose_secret(), verifier, proof.exposed()]);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_pkce_verifier(sign_in.verifier);
        for (name, value) in proof.assertion() {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&self.confidential(&secrets)).await;
        self.finish(answer, &secrets).await
    }

    /// Gets a new access token for a refresh token (RFC 6749 §6).
    pub async fn refresh(&self, refresh_token: &SecretString) -> Result<Answer, OAuthError> {
        let proof = self.proof().await?;
        let client = self.client(&proof).await?;
        let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let secrets = Secrets::new([refresh_token.expose_secret(), proof.exposed()]);
        let mut request = client.exchange_refresh_token(&token);
        for (name, value) in proof.assertion() {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&self.confidential(&secrets)).await;
        self.finish(answer, &secrets).await
    }

    /// Gets an access token for the application itself (RFC 6749 §4.4).
    pub async fn client_credentials(&self) -> Result<Answer, OAuthError> {
        let proof = self.proof().await?;
        let client = self.client(&proof).await?;
        let secrets = Secrets::new([proof.exposed()]);
        let mut request = client
            .exchange_client_credentials()
            .add_scopes(self.scopes());
        for (name, value) in proof.assertion() {
            request = request.add_extra_param(name, value);
        }
        let answer = request.request_async(&self.confidential(&secrets)).await;
        self.finish(answer, &secrets).await
    }

    fn confidential<'r>(&'r self, secrets: &'r Secrets) -> Confidential<'r> {
        let http = &self.http;
        Confidential { http, secrets }
    }

    /// The library's client. A secret goes into the body, where Microsoft and Google take it (RFC 6749 §2.3.1).
    async fn client(&self, proof: &Proof) -> Result<TokenClient, OAuthError> {
        let token_url = TokenUrl::from_url(self.token_url().await?);
        let client = oauth2::Client::new(ClientId::new(self.provider.client_id.clone()))
            .set_token_uri(token_url)
            .set_auth_type(AuthType::RequestBody);
        Ok(match proof {
            Proof::Secret(secret) => {
                client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            }
            Proof::Nothing | Proof::Assertion(_) => client,
        })
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.provider.scopes.iter().cloned().map(Scope::new)
    }

    /// What proves the application to the token endpoint. Reading it may take its time.
    async fn proof(&self) -> Result<Proof, OAuthError> {
        let audience = self.token_url().await?;
        let (provider, now) = (self.provider.clone(), self.now());
        grants::blocking(move || Proof::read(&provider, audience.as_str(), now)).await
    }

    async fn device_url(&self) -> Result<Url, OAuthError> {
        match &self.provider.device_url {
            Some(url) => Ok(url.clone()),
            // Google publishes an endpoint, and refuses it the scopes of mail.
            None if self.provider.preset.is_some() => Err(OAuthError::NoDeviceFlow),
            None => {
                let metadata = self.metadata().await?;
                metadata
                    .device_authorization_endpoint
                    .clone()
                    .ok_or(OAuthError::NoEndpoint("device-url"))
            }
        }
    }

    async fn token_url(&self) -> Result<Url, OAuthError> {
        match &self.provider.token_url {
            Some(url) => Ok(url.clone()),
            None => self
                .metadata()
                .await?
                .token_endpoint
                .clone()
                .ok_or(OAuthError::NoEndpoint("token-url")),
        }
    }

    async fn authorize_url(&self) -> Result<Url, OAuthError> {
        match &self.provider.authorize_url {
            Some(url) => Ok(url.clone()),
            None => {
                let metadata = self.metadata().await?;
                metadata
                    .authorization_endpoint
                    .clone()
                    .ok_or(OAuthError::NoEndpoint("authorize-url"))
            }
        }
    }

    /// Where `iss` has to be from if no issuer is known. Not for presets: one of their providers sends what no page names.
    fn origins(&self) -> Vec<url::Origin> {
        let provider = &self.provider;
        if provider.issuer.is_some() || provider.preset.is_some() {
            return Vec::new();
        }
        let urls = [&provider.authorize_url, &provider.token_url];
        let known = urls.into_iter().flatten();
        known.map(Url::origin).collect()
    }

    /// Whether the issuer announced RFC 9207; known only where its metadata were needed anyway.
    async fn issuer_is_always_sent(&self) -> bool {
        let known = self.metadata.lock().await;
        let metadata = known.metadata.as_ref();
        metadata.is_some_and(|metadata| metadata.issuer_in_redirect)
    }

    /// Those who ask at once share one request and what comes of it: a silent issuer costs all of them its time once.
    async fn metadata(&self) -> Result<Arc<Metadata>, OAuthError> {
        let asked = Instant::now();
        let mut known = self.metadata.lock().await;
        if let Some(metadata) = &known.metadata {
            return Ok(metadata.clone());
        }
        let failure = known.failure.as_ref();
        if let Some((_, error)) = failure.filter(|(at, _)| *at >= asked) {
            return Err(error.clone().into());
        }
        let issuer = self
            .provider
            .issuer
            .as_deref()
            .ok_or(OAuthError::NoEndpoint("token-url"))?;
        match discovery::fetch(&self.http, issuer).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                known.metadata = Some(metadata.clone());
                Ok(metadata)
            }
            Err(OAuthError::Http(error)) => {
                let error = error.without_consequences();
                known.failure = Some((Instant::now(), error.clone()));
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Checks what came, takes our secrets out of what a person will read, and forgets metadata that lead nowhere.
    async fn finish(&self, answer: TokenResult, secrets: &Secrets) -> Result<Answer, OAuthError> {
        let error = match answer {
            Ok(answer) => return answer.check().map_err(OAuthError::Unusable),
            Err(RequestTokenError::ServerResponse(answer)) => {
                OAuthError::Refused(answer.cleaned(secrets))
            }
            Err(RequestTokenError::Request(error)) => OAuthError::Http(error),
            Err(RequestTokenError::Parse(error, body)) => {
                // Only the path: the parser's own message quotes values.
                let at = printable(&secrets.redacted(&error.path().to_string()), 80);
                match Unusable::salvaged(&at, &body) {
                    Some(unusable) => OAuthError::Unusable(unusable),
                    None => OAuthError::Malformed { at },
                }
            }
            Err(RequestTokenError::Other(_)) => OAuthError::Malformed { at: String::new() },
        };
        if matches!(error, OAuthError::Http(_)) {
            self.forget_metadata().await;
        }
        Err(error)
    }

    async fn forget_metadata(&self) {
        self.metadata.lock().await.metadata = None;
    }
}

/// What an issuer published, and when and how the last request for it failed.
#[derive(Debug, Default)]
struct Known {
    metadata: Option<Arc<Metadata>>,
    failure: Option<(Instant, HttpError)>,
}

type TokenResult = Result<TokenAnswer, RequestTokenError<HttpError, RawError>>;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
