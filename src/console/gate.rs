//! What stands before every page: the Host, the Origin, the session, and the word that every form carries.
//!
//! Two layers see every request, so no page can be added without them: [`guard`] judges where a request comes from, [`enter`] whose
//! it is, by the path and the cookie of a session together (see `prefix`). Handlers behind them take a [`Session`], and what was posted as a [`Form`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::Console;
use super::guest;
use super::page::{self, Fault, Flash};
use super::prefix;
use super::sessions::{self, Keys, Pass};
use crate::config::CertificateName;

/// Where a link leads.
pub const OPEN: &str = "/open";
/// The field of every form that proves where the form is from.
const CSRF: &str = "csrf";
/// Octets of the largest form.
const MOST_POSTED: usize = 64 * 1024;
/// How long a form may take to arrive.
const POST_TIME: Duration = Duration::from_secs(10);
/// Nothing but our own style, script and events; nobody may frame us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// The type of what forms post.
const FORM: &str = "application/x-www-form-urlencoded";

/// What the address that somebody came to is called by, and what its sessions are kept in.
pub struct Door {
    hosts: Vec<String>,
    scheme: &'static str,
    /// The port in it is for people; sessions are kept apart by their paths.
    cookie: String,
}

impl Door {
    /// A door on loopback: only names of loopback will do.
    pub fn new(local: SocketAddr) -> Self {
        let port = local.port();
        let mut hosts = vec![local.to_string()];
        let names = ["localhost", "127.0.0.1", "[::1]"];
        hosts.extend(names.map(|name| format!("{name}:{port}")));
        Self {
            hosts: with_bare(hosts, 80, port),
            scheme: "http",
            cookie: format!("mailwicket-{port}"),
        }
    }

    /// A door that is reached from elsewhere, over TLS: the address that somebody came to, and the names of this machine.
    pub fn secured(local: SocketAddr, names: &BTreeSet<CertificateName>) -> Self {
        let port = local.port();
        let local = SocketAddr::new(local.ip().to_canonical(), port);
        let name = |name: &CertificateName| match name {
            CertificateName::Host(name) => format!("{name}:{port}"),
            CertificateName::Address(address) => SocketAddr::new(*address, port).to_string(),
        };
        let hosts = names.iter().map(name).chain([local.to_string()]).collect();
        Self {
            hosts: with_bare(hosts, 443, port),
            scheme: "https",
            // `__Host-` would ask for `Path=/`.
            cookie: format!("__Secure-mailwicket-{port}"),
        }
    }

    /// What the pages of somebody who calls us by this name come from.
    pub fn origin(&self, host: &str) -> String {
        format!("{}://{host}", self.scheme)
    }

    /// The cookie of a session. It goes nowhere but below the session's own path: whatever its port, another server is not sent it.
    fn cookie(&self, keys: &Keys) -> String {
        let (name, key) = (&self.cookie, keys.key.expose_secret());
        let path = keys.path.expose_secret();
        let secure = match self.scheme {
            "https" => "; Secure",
            _ => "",
        };
        format!("{name}={key}; Path=/{path}/; HttpOnly; SameSite=Strict{secure}")
    }

    fn is_called(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// Browsers leave the usual port out.
fn with_bare(mut hosts: Vec<String>, usual: u16, port: u16) -> Vec<String> {
    if port == usual {
        let suffix = format!(":{usual}");
        let bare = |host: &String| host.strip_suffix(&suffix).map(str::to_owned);
        let bare: Vec<_> = hosts.iter().filter_map(bare).collect();
        hosts.extend(bare);
    }
    hosts
}

/// Gives every answer the headers that keep it to itself.
pub async fn dress(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &str); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Judges where a request comes from: it must call us by a name of ours (else some other site's name was pointed at us), and what
/// changes anything must come from a page of ours.
pub async fn guard(
    Extension(door): Extension<Arc<Door>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let Some(host) = only(headers, &HOST).filter(|host| door.is_called(host)) else {
        let words = "This address is not one of the console's own. Open it with the link that `mailwicket console` prints.";
        return page::plain(
            StatusCode::MISDIRECTED_REQUEST,
            "Wrong address",
            &html! { p { (words) } },
        );
    };
    let is_harmless = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_harmless && !is_from_us(headers, door.scheme, host) {
        let words = "This request did not come from a page of the console, so nothing was done.";
        return page::plain(StatusCode::FORBIDDEN, "Refused", &html! { p { (words) } });
    }
    next.run(request).await
}

/// Whether a page of ours has sent it. Browsers that keep the origin to themselves, as our policy on referrers asks for, still say
/// whether it is the same site.
fn is_from_us(headers: &HeaderMap, scheme: &str, host: &str) -> bool {
    let site = only(headers, &HeaderName::from_static("sec-fetch-site"));
    let is_same = site == Some("same-origin");
    match headers.get_all(ORIGIN).iter().count() {
        0 => is_same,
        1 => match only(headers, &ORIGIN) {
            Some("null") => is_same,
            Some(origin) => origin
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_prefix("://"))
                .is_some_and(|from| from.eq_ignore_ascii_case(host)),
            None => false,
        },
        _ => false,
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        None => value.to_str().ok(),
        Some(_) => None,
    }
}

/// Lets in who has a session; and of what is posted, what carries its word.
pub async fn enter(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some((pass, below)) = pass(&console, &parts) else {
        return page::outside();
    };
    guest::let_in(&parts.extensions);
    parts.uri = below;
    let session = Session {
        pass,
        console: Arc::clone(&console),
    };
    let answer = answer(parts, body, session.clone(), next).await;
    prefix::put_in(answer, session.pass.path.expose_secret()).await
}

async fn answer(mut parts: Parts, body: Body, session: Session, next: Next) -> Response {
    let mut body = Some(body);
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let body = body.take().unwrap_or_default();
        match posted(&parts, body, &session).await {
            Ok(posted) => drop(parts.extensions.insert(posted)),
            Err(fault) => return fault.into_response(),
        }
    }
    parts.extensions.insert(session);
    let request = Request::from_parts(parts, body.unwrap_or_default());
    next.run(request).await
}

/// What somebody was let in with, and the address without the path of the session.
fn pass(console: &Console, parts: &Parts) -> Option<(Pass, Uri)> {
    let door = parts.extensions.get::<Arc<Door>>()?;
    let (path, below) = prefix::split(&parts.uri)?;
    let key = cookie(&parts.headers, &door.cookie)?;
    let mut sessions = console.sessions();
    let now = Instant::now();
    // What a page fetches by itself must not keep a session alive that nobody uses.
    let pass = match below.path() == super::live::PATH {
        true => sessions.look(path, key, now),
        false => sessions.enter(path, key, now),
    };
    Some((pass?, below))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(found, _)| *found == name);
    found.next().map(|(_, value)| value)
}

async fn posted(parts: &Parts, body: Body, session: &Session) -> Result<Posted, Fault> {
    let kind = only(&parts.headers, &CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        return Err(Fault::bad("Only forms of the console are taken."));
    }
    let Ok(read) = timeout(POST_TIME, to_bytes(body, MOST_POSTED)).await else {
        return Err(Fault::bad("The form did not arrive in time."));
    };
    let body = read.map_err(|_| Fault::bad("The form is too long, or was cut off."))?;
    let mut words = Vec::new();
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(&body) {
        match &*name {
            CSRF => words.push(value.into_owned()),
            _ => drop(rest.append_pair(&name, &value)),
        }
    }
    match &words[..] {
        [word] if sessions::is_same(&session.pass.csrf, word) => Ok(Posted(rest.finish().into())),
        _ => Err(Fault::refused(
            "The form was made for another session. Go back, reload the page, and send it again.",
        )),
    }
}

/// A form that has passed every check.
#[derive(Clone)]
struct Posted(Bytes);

/// Proof that the request is of somebody who was let in.
#[derive(Clone)]
pub struct Session {
    pass: Pass,
    console: Arc<Console>,
}

impl Session {
    /// Its number, by which what it began is known again.
    pub fn number(&self) -> u64 {
        self.pass.number
    }

    /// The field that every form must have.
    pub fn csrf(&self) -> Markup {
        html! { input type="hidden" name=(CSRF) value=(self.pass.csrf.expose_secret()); }
    }

    /// A part of a page of this session that is not sent as an answer of its own; see `prefix`.
    pub fn with_path(&self, html: &str) -> String {
        prefix::put_in_html(html, self.pass.path.expose_secret())
    }

    /// Shows a message on the session's next page; to be used before a redirect.
    pub fn flash(&self, flash: Flash) {
        self.console.sessions().flash(self.pass.number, flash);
    }

    /// The messages to be shown now.
    pub fn take_flashes(&self) -> Vec<Flash> {
        self.console.sessions().take_flashes(self.pass.number)
    }

    /// Set when the session is over.
    pub fn ended(&self) -> &CancellationToken {
        &self.pass.ended
    }

    /// Whether it is not over, by its times either.
    pub fn is_open(&self) -> bool {
        self.console
            .sessions()
            .is_open(self.pass.number, Instant::now())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or_else(page::outside)
    }
}

/// What somebody who was let in has posted from a page of ours. It can only be had when Host, Origin, session and CSRF were right.
///
/// Fields of the same name: take `Form<Vec<(String, String)>>`.
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Form<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let missing = || Fault::bad("Something is missing in the form.");
        let Posted(body) = parts.extensions.get().cloned().ok_or_else(missing)?;
        let request = Request::post("/").header(CONTENT_TYPE, FORM);
        let request = request.body(Body::from(body)).map_err(|_| missing())?;
        let form = axum::extract::Form::from_request(request, &()).await;
        form.map(|form| Self(form.0)).map_err(|_| missing())
    }
}

/// A field that holds a secret: `#[serde(default, deserialize_with = "…::secret")]`.
pub fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

/// What the gate itself answers inside.
pub fn routes() -> Router<Arc<Console>> {
    Router::new().route("/logout", post(logout))
}

async fn logout(
    State(console): State<Arc<Console>>,
    session: Session,
    Form(Nothing {}): Form<Nothing>,
) -> Response {
    console.sessions().close(session.pass.number);
    tracing::info!(session = session.pass.number, "somebody left the console");
    page::goodbye()
}

/// A form without fields.
#[derive(Deserialize)]
pub struct Nothing {}

/// The query of a link.
#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    key: String,
}

/// Uses a link up: a session in a cookie, and a redirect that takes the key out of the address bar.
pub async fn open(
    State(console): State<Arc<Console>>,
    Extension(door): Extension<Arc<Door>>,
    Query(Link { key }): Query<Link>,
    request: Request,
) -> Response {
    let key = SecretString::from(key);
    // A browser that only looks ahead must not use it up.
    let headers = request.headers();
    if request.method() != Method::GET || headers.contains_key("sec-purpose") {
        return page::outside();
    }
    let opened = console
        .sessions()
        .redeem(key.expose_secret(), Instant::now());
    let keys = match opened {
        Ok(Some(keys)) => keys,
        Ok(None) => return page::used(),
        Err(error) => {
            tracing::error!(%error, "the system gives no randomness");
            return Fault::internal().into_response();
        }
    };
    tracing::info!("somebody opened the console");
    let site = only(headers, &HeaderName::from_static("sec-fetch-site"));
    let first = format!("/{}/", keys.path.expose_secret());
    let mut response = match site {
        None | Some("none" | "same-origin") => Redirect::to(&first).into_response(),
        // A strict cookie does not come along on a way that began at another site; a page of ours begins another.
        Some(_) => page::go_on(&first),
    };
    match HeaderValue::from_str(&door.cookie(&keys)) {
        Ok(mut cookie) => {
            cookie.set_sensitive(true);
            response.headers_mut().insert(SET_COOKIE, cookie);
            response
        }
        Err(_) => Fault::internal().into_response(),
    }
}
