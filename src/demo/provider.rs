//! The sandbox's OAuth provider: metadata, a consent page, and the token endpoint (RFC 6749, 7636, 8414, 9207).
//!
//! There is one client, one person and one mailbox. Nothing of a request is ever shown on a page.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::register::{Asked, Issued, Refusal, Register};
use super::{ADDRESS, CLIENT_ID, SCOPE};

/// Octets of a request's body.
const MAX_BODY: usize = 16 * 1024;
/// The scopes that can be had.
const SCOPES: [&str; 4] = ["openid", "email", "offline_access", SCOPE];

struct Provider {
    issuer: Url,
    register: Arc<Register>,
}

type Shared = State<Arc<Provider>>;

/// Starts it on a free port of 127.0.0.1, until `stop`; the answer is the issuer.
pub(super) async fn start(register: Arc<Register>, stop: CancellationToken) -> io::Result<Url> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let issuer = Url::parse(&format!("http://127.0.0.1:{port}/")).map_err(io::Error::other)?;
    let provider = Provider {
        issuer: issuer.clone(),
        register,
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/authorize", get(ask).post(answer))
        .route("/token", post(token))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(provider));
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::warn!(%error, "the sandbox's provider ended");
        }
    });
    Ok(issuer)
}

/// RFC 8414 §2, OpenID Connect Discovery §3.
async fn metadata(State(provider): Shared) -> Response {
    let at = |path| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
        "scopes_supported": SCOPES,
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

/// The parameters of a request; none may come twice (RFC 6749 §3.1).
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(encoded: &[u8]) -> Result<Self, Refusal> {
        let pairs = url::form_urlencoded::parse(encoded).into_owned();
        let read: Vec<(String, String)> = pairs.collect();
        let twice = |(at, pair): (usize, &(String, String))| {
            read[..at].iter().any(|earlier| earlier.0 == pair.0)
        };
        match read.iter().enumerate().any(twice) {
            true => Err(("invalid_request", "a parameter came twice")),
            false => Ok(Self(read)),
        }
    }

    /// A parameter; without a value it counts as absent.
    fn get(&self, wanted: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(name, _)| name == wanted);
        values
            .next()
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn need(&self, wanted: &str, refusal: &'static str) -> Result<&str, Refusal> {
        self.get(wanted).ok_or(("invalid_request", refusal))
    }
}

/// `GET /authorize` (RFC 6749 §4.1.1): shows the page, or answers at once where the demonstration itself allows.
async fn ask(State(provider): Shared, RawQuery(query): RawQuery) -> Response {
    let Ok(parameters) = Parameters::read(query.unwrap_or_default().as_bytes()) else {
        return problem("A parameter of this address is there twice.");
    };
    if parameters.get("client_id") != Some(CLIENT_ID) {
        return problem("This program is not known here.");
    }
    // Never redirect to what was not checked (RFC 6749 §4.1.2.1).
    let Some(redirect) = parameters.get("redirect_uri").and_then(loopback) else {
        return problem("The way back would lead to another machine.");
    };
    let state = parameters.get("state").map(str::to_owned);
    match checked(&parameters) {
        Err((error, description)) => {
            let more = [("error", error), ("error_description", description)];
            provider.redirect(&redirect, state.as_deref(), &more)
        }
        Ok((challenge, scope)) => {
            let asked = Asked {
                redirect,
                state,
                challenge,
                scope,
            };
            match parameters.get("consent") {
                Some(key) if same(key, provider.register.consent_key()) => provider.allow(asked),
                _ => provider.page(asked),
            }
        }
    }
}

/// The parts of a request whose faults are told to the program by redirect.
fn checked(parameters: &Parameters) -> Result<(String, String), Refusal> {
    if parameters.get("response_type") != Some("code") {
        return Err(("unsupported_response_type", "only code is supported"));
    }
    let challenge = parameters.need("code_challenge", "PKCE is required (RFC 7636)")?;
    if parameters.get("code_challenge_method") != Some("S256") {
        return Err(("invalid_request", "code_challenge_method must be S256"));
    }
    if challenge.len() != 43 {
        return Err(("invalid_request", "code_challenge is not that of S256"));
    }
    let wanted = parameters.get("scope").unwrap_or(SCOPE).split(' ');
    let scope: Vec<&str> = wanted.filter(|word| SCOPES.contains(word)).collect();
    match scope.contains(&SCOPE) {
        true => Ok((challenge.to_owned(), scope.join(" "))),
        false => Err(("invalid_scope", "the scope mail is what there is to have")),
    }
}

/// A redirect URL of a native program: loopback, any port (RFC 8252 §7.3).
fn loopback(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_here = match url.host()? {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "http" && is_here && url.fragment().is_none()).then_some(url)
}

/// `POST /authorize`: what the person chose. Only who was shown a page knows its name, so no other page can answer for a person.
async fn answer(State(provider): Shared, body: Bytes) -> Response {
    let gone = "This page was used already, or is too old. Start again in the terminal.";
    let Ok(parameters) = Parameters::read(&body) else {
        return problem(gone);
    };
    let page = parameters.get("page").unwrap_or_default();
    let Some(asked) = provider.register.answered(page, Timestamp::now()) else {
        return problem(gone);
    };
    match parameters.get("decision") {
        Some("allow") => provider.allow(asked),
        _ => provider.redirect(
            &asked.redirect,
            asked.state.as_deref(),
            &[
                ("error", "access_denied"),
                ("error_description", "the person chose Deny"),
            ],
        ),
    }
}

impl Provider {
    fn page(&self, asked: Asked) -> Response {
        match self.register.show(asked, Timestamp::now()) {
            Ok(page) => html(StatusCode::OK, &CONSENT.replace("{page}", &page)),
            Err(_) => problem("This machine gives no randomness."),
        }
    }

    fn allow(&self, asked: Asked) -> Response {
        let (redirect, state) = (asked.redirect.clone(), asked.state.clone());
        match self.register.allow(asked, Timestamp::now()) {
            Ok(code) => self.redirect(&redirect, state.as_deref(), &[("code", &code)]),
            Err(_) => problem("This machine gives no randomness."),
        }
    }

    /// Back to the program, with `iss` in every case (RFC 9207 §2).
    fn redirect(&self, to: &Url, state: Option<&str>, more: &[(&str, &str)]) -> Response {
        let mut url = to.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(more);
            query.extend_pairs(state.map(|state| ("state", state)));
            query.append_pair("iss", self.issuer.as_str());
        }
        let headers = [
            (LOCATION, url.as_str()),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        (StatusCode::FOUND, headers).into_response()
    }
}

/// `POST /token` (RFC 6749 §3.2).
async fn token(State(provider): Shared, headers: HeaderMap, body: Bytes) -> Response {
    match grant(&provider, &headers, &body) {
        Ok(issued) => tokens(&provider, &issued),
        Err((error, description)) => refusal(error, description),
    }
}

fn grant(provider: &Provider, headers: &HeaderMap, body: &[u8]) -> Result<Issued, Refusal> {
    let parameters = Parameters::read(body)?;
    let proven = client(&provider.register, headers, &parameters)?;
    let now = Timestamp::now();
    let grant_type = parameters.need("grant_type", "grant_type is missing")?;
    match grant_type {
        "authorization_code" => provider.register.exchange(
            parameters.need("code", "code is missing")?,
            parameters.need("redirect_uri", "redirect_uri is missing")?,
            parameters.need("code_verifier", "code_verifier is missing (RFC 7636)")?,
            now,
        ),
        "refresh_token" => {
            let token = parameters.need("refresh_token", "refresh_token is missing")?;
            provider.register.refresh(token, now)
        }
        "client_credentials" if proven => {
            let issued = provider.register.issue(now);
            issued.map_err(|_| ("server_error", "no randomness"))
        }
        "client_credentials" => Err(("invalid_client", "the application must prove itself")),
        _ => Err(("unsupported_grant_type", "this grant_type is not offered")),
    }
}

/// Checks the client (RFC 6749 §2.3.1); whether it proved itself by the secret. Without one it is a public client, which a program on
/// a person's machine is.
fn client(
    register: &Register,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<bool, Refusal> {
    let basic = headers.get(AUTHORIZATION).map(|value| {
        let text = value.to_str().ok()?.strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        Some((id.to_owned(), secret.to_owned()))
    });
    let (id, secret) = match basic {
        Some(None) => return Err(("invalid_client", "the Authorization header is malformed")),
        Some(Some((id, secret))) => (Some(id), Some(secret)),
        None => (
            parameters.get("client_id").map(str::to_owned),
            parameters.get("client_secret").map(str::to_owned),
        ),
    };
    if id.as_deref() != Some(CLIENT_ID) {
        return Err(("invalid_client", "this client is not known"));
    }
    match secret {
        None => Ok(false),
        Some(secret) if same(&secret, register.client_secret()) => Ok(true),
        Some(_) => Err(("invalid_client", "the secret is wrong")),
    }
}

/// RFC 6749 §5.1.
fn tokens(provider: &Provider, issued: &Issued) -> Response {
    let mut answer = json!({
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.life.as_secs(),
        "scope": issued.scope,
    });
    if let Some(token) = &issued.refresh_token {
        answer["refresh_token"] = json!(token);
    }
    if issued.scope.split(' ').any(|word| word == "openid") {
        answer["id_token"] = json!(id_token(provider, issued));
    }
    ([(CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

/// Who signed in (OpenID Connect Core §2). Unsigned, which is allowed where it comes straight from the token endpoint.
fn id_token(provider: &Provider, issued: &Issued) -> String {
    let now = Timestamp::now().as_second();
    let life = i64::try_from(issued.life.as_secs()).unwrap_or(i64::MAX);
    let claims = json!({
        "iss": provider.issuer,
        "sub": "demo",
        "aud": CLIENT_ID,
        "iat": now,
        "exp": now.saturating_add(life),
        "email": ADDRESS,
        "email_verified": true,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims))
}

/// RFC 6749 §5.2.
fn refusal(error: &str, description: &str) -> Response {
    let body = Json(json!({"error": error, "error_description": description}));
    let no_store = [(CACHE_CONTROL, "no-store")];
    match error {
        "invalid_client" => {
            let basic = [(WWW_AUTHENTICATE, "Basic realm=\"sandbox\"")];
            (StatusCode::UNAUTHORIZED, no_store, basic, body).into_response()
        }
        "server_error" => (StatusCode::INTERNAL_SERVER_ERROR, no_store, body).into_response(),
        _ => (StatusCode::BAD_REQUEST, no_store, body).into_response(),
    }
}

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn problem(words: &str) -> Response {
    html(StatusCode::BAD_REQUEST, &PROBLEM.replace("{words}", words))
}

fn html(status: StatusCode, page: &str) -> Response {
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    let page = PAGE.replace("{content}", page);
    (status, headers, Html(page)).into_response()
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sandbox provider</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 30rem; margin: 15vh auto; padding: 0 1.5rem }
  button { font: inherit; padding: .5rem 1.5rem; margin-right: .75rem; border-radius: .4rem; border: 1px solid; cursor: pointer }
  button.allow { background: #0b6b50; border-color: #0b6b50; color: #fff }
  small { color: #777 }
</style>
<main>
{content}
</main>
</html>
"#;

const CONSENT: &str = r#"<h1>Sandbox provider</h1>
<p>Allow <strong>mailwicket</strong> to open the mailbox <strong>demo@example.test</strong>?</p>
<form method="post" action="/authorize">
  <input type="hidden" name="page" value="{page}">
  <button class="allow" name="decision" value="allow">Allow</button>
  <button name="decision" value="deny">Deny</button>
</form>
<p><small>This page is part of a demonstration on your own machine. There is no password, and nothing is stored.</small></p>"#;

const PROBLEM: &str = "<h1>Sandbox provider</h1>\n<p>{words}</p>";
