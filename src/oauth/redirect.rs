//! The end of a sign-in: the redirect that the browser brings, to our loopback listener or pasted by a person.
//!
//! The listener is open to every program and web page on the machine, so only a request with the right path *and* the right
//! state ends the waiting. Whatever else arrives gets a fixed page that repeats nothing of the request.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;
use url::{Origin, Url};

use super::response::ErrorAnswer;

/// How long a person may take to sign in.
pub const SIGN_IN_LIMIT: Duration = Duration::from_secs(600);
/// How long one connection may take; browsers open connections that never say anything.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// Connections served at a time.
const MAX_CONNECTIONS: usize = 32;
/// Octets of a request's head; codes of Entra have about 2 KiB.
const MAX_HEAD: usize = 32 * 1024;
/// Octets of the longest code that is passed on.
const MAX_CODE: usize = 16 * 1024;
/// How often a port that is free on both address families is looked for.
const PORT_TRIES: usize = 16;

/// What the redirect of one sign-in must carry.
#[derive(Clone)]
pub struct Expected {
    /// The path of the redirect URL.
    pub path: String,
    /// The state that was sent; used once.
    pub state: SecretString,
    /// The issuer that `iss` must name where it is present (RFC 9207 §2.4).
    pub issuer: Option<String>,
    /// Where no issuer is known: the origins of the provider's own URLs, one of which `iss` must have where it is present. Empty if the
    /// provider is known to send something else.
    pub origins: Vec<Origin>,
    /// Whether a redirect without `iss` is refused, because the issuer announced that it always sends it.
    pub issuer_required: bool,
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected")
            .field("path", &self.path)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Why a sign-in brought no code.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// The provider or the person declined (RFC 6749 §4.1.2.1).
    #[error("the sign-in was declined: {0}")]
    Declined(ErrorAnswer),
    /// Nobody came.
    #[error("nobody signed in within {} minutes", .0.as_secs() / 60)]
    TimedOut(Duration),
    /// The redirect URL cannot be listened on.
    #[error(
        "cannot wait at redirect-url {url}: {reason}; use --method paste, or another redirect-url"
    )]
    Bind {
        /// The redirect URL.
        url: String,
        /// Why not.
        reason: String,
    },
    /// What was pasted does not belong to this sign-in.
    #[error("this is not the address that the sign-in ended at: {0}")]
    Stray(&'static str),
}

/// What a redirect turned out to be.
#[derive(Debug)]
enum Verdict {
    /// Not the redirect of this sign-in; the waiting goes on.
    Stray(&'static str),
    /// The end of this sign-in.
    Ours(Result<SecretString, RedirectError>),
}

impl Expected {
    /// Judges the query of a redirect. Nothing but the right state, present once, may end a sign-in, not even an error.
    fn judge(&self, query: &str) -> Verdict {
        let Query {
            state: Once::One(state),
            code,
            iss,
            error,
            description,
        } = Query::read(query)
        else {
            return Verdict::Stray("it has no state");
        };
        if !bool::from(
            state
                .as_bytes()
                .ct_eq(self.state.expose_secret().as_bytes()),
        ) {
            return Verdict::Stray("its state belongs to another sign-in");
        }
        match (&self.issuer, iss) {
            (Some(wanted), Once::One(found)) if *wanted != found => {
                return Verdict::Stray("it comes from another issuer");
            }
            (None, Once::One(found)) if !self.is_at_home(&found) => {
                return Verdict::Stray(
                    "it comes from an issuer elsewhere than the provider's URLs; set issuer if that is the right one",
                );
            }
            (_, Once::Many) => return Verdict::Stray("it names several issuers"),
            (_, Once::None) if self.issuer_required => return Verdict::Stray("it names no issuer"),
            _ => {}
        }
        match (error, code) {
            (Once::One(error), _) => Verdict::Ours(Err(RedirectError::Declined(
                ErrorAnswer::plain(&error, description.as_deref()),
            ))),
            (Once::None, Once::One(code)) if (1..=MAX_CODE).contains(&code.len()) => {
                Verdict::Ours(Ok(code.into()))
            }
            _ => Verdict::Stray("it has no code"),
        }
    }

    fn is_at_home(&self, issuer: &str) -> bool {
        let is_at = |url: Url| self.origins.contains(&url.origin());
        self.origins.is_empty() || Url::parse(issuer).is_ok_and(is_at)
    }

    /// Reads the query of a request for the redirect URL.
    ///
    /// # Errors
    /// [`RedirectError::Stray`] if it is not the end of this sign-in; the waiting goes on then.
    pub fn read_query(&self, query: &str) -> Result<SecretString, RedirectError> {
        match self.judge(query) {
            Verdict::Ours(outcome) => outcome,
            Verdict::Stray(reason) => Err(RedirectError::Stray(reason)),
        }
    }

    /// Reads the address that a person copied from the browser: line breaks, spaces, quotes and angle brackets are forgiven.
    pub fn read_pasted(&self, pasted: &str) -> Result<SecretString, RedirectError> {
        let text: String = pasted.split_whitespace().collect();
        let text = text.trim_matches(['"', '\'', '<', '>', '`']);
        let without_fragment = text.split_once('#').map_or(text, |(address, _)| address);
        let (address, query) = match without_fragment.split_once('?') {
            Some((address, query)) => (Some(address), query),
            None => (None, without_fragment),
        };
        if let Some(url) = address.and_then(|address| Url::parse(address).ok())
            && url.path() != self.path
        {
            return Err(RedirectError::Stray("its path is not that of redirect-url"));
        }
        self.read_query(query)
    }
}

/// A parameter that must not be repeated (RFC 6749 §3.1).
#[derive(Default)]
enum Once {
    #[default]
    None,
    One(String),
    Many,
}

impl Once {
    fn add(&mut self, value: String) {
        *self = match self {
            Self::None => Self::One(value),
            _ => Self::Many,
        }
    }
}

#[derive(Default)]
struct Query {
    state: Once,
    code: Once,
    iss: Once,
    error: Once,
    description: Option<String>,
}

impl Query {
    fn read(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "state" => read.state.add(value),
                "code" => read.code.add(value),
                "iss" => read.iss.add(value),
                "error" => read.error.add(value),
                "error_description" => read.description = Some(value),
                _ => {}
            }
        }
        read
    }
}

/// The sockets at the redirect URL.
#[derive(Debug)]
pub struct RedirectListener {
    first: TcpListener,
    second: Option<TcpListener>,
    url: Url,
}

impl RedirectListener {
    /// Listens where `redirect_url` points: on both loopback addresses for `localhost`, because the browser chooses.
    pub async fn bind(redirect_url: &Url) -> Result<Self, RedirectError> {
        let failed = |reason: String| RedirectError::Bind {
            url: redirect_url.to_string(),
            reason,
        };
        if redirect_url.scheme() != "http" {
            return Err(failed("only http can be listened on".into()));
        }
        let (first, second) = match redirect_url.host() {
            Some(url::Host::Domain(name)) if name.eq_ignore_ascii_case("localhost") => {
                (Ipv4Addr::LOCALHOST.into(), Some(Ipv6Addr::LOCALHOST.into()))
            }
            Some(url::Host::Ipv4(address)) if address.is_loopback() => (IpAddr::V4(address), None),
            Some(url::Host::Ipv6(address)) if address.is_loopback() => (IpAddr::V6(address), None),
            _ => return Err(failed("its host is not this machine".into())),
        };
        // Without a port in the URL any free one will do (RFC 8252 §7.3).
        let port = redirect_url.port().unwrap_or(0);
        let (first, second) = bind_both(first, second, port)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let port = first
            .local_addr()
            .map_err(|error| failed(error.to_string()))?
            .port();
        let mut url = redirect_url.clone();
        url.set_port(Some(port))
            .map_err(|()| failed("it cannot carry a port".into()))?;
        Ok(Self { first, second, url })
    }

    /// The redirect URL with the port that was found.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Waits for the redirect that `expected` describes; at most `limit`.
    pub async fn wait(
        &self,
        expected: Expected,
        limit: Duration,
    ) -> Result<SecretString, RedirectError> {
        let shared = Arc::new(Shared {
            expected,
            outcome: Mutex::new(Outcome::Awaited),
        });
        let mut connections = JoinSet::new();
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                stream = self.accept(), if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(serve(stream, shared.clone()));
                }
                // A connection that has ended has also shown its page, so the process may end now.
                Some(_) = connections.join_next() => {
                    if let Some(outcome) = shared.take() {
                        return outcome;
                    }
                }
                () = &mut deadline => return Err(RedirectError::TimedOut(limit)),
            }
        }
    }

    async fn accept(&self) -> TcpStream {
        loop {
            let accepted = match &self.second {
                Some(second) => tokio::select! {
                    accepted = self.first.accept() => accepted,
                    accepted = second.accept() => accepted,
                },
                None => self.first.accept().await,
            };
            match accepted {
                Ok((stream, _)) => return stream,
                // Out of descriptors or the like: wait a little rather than spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Binds the same port on both addresses; a family that this machine does not have is left out.
async fn bind_both(
    first: IpAddr,
    second: Option<IpAddr>,
    port: u16,
) -> io::Result<(TcpListener, Option<TcpListener>)> {
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind(SocketAddr::new(first, port)).await?;
        let Some(second) = second else {
            return Ok((listener, None));
        };
        match TcpListener::bind(SocketAddr::new(second, listener.local_addr()?.port())).await {
            Ok(other) => return Ok((listener, Some(other))),
            Err(error) if is_missing_family(&error) => return Ok((listener, None)),
            Err(error) if port != 0 || tries == PORT_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// Whether no program of this machine can have such an address.
pub(crate) fn is_missing_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no stable kind of its own.
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(97) && cfg!(target_os = "linux")
}

struct Shared {
    expected: Expected,
    outcome: Mutex<Outcome>,
}

enum Outcome {
    Awaited,
    Arrived(Result<SecretString, RedirectError>),
    Taken,
}

impl Shared {
    fn take(&self) -> Option<Result<SecretString, RedirectError>> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Arrived(arrived) => Some(arrived),
            other => {
                *outcome = other;
                None
            }
        }
    }

    /// Decides about one request; the page says nothing about why.
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET || request.uri().path() != self.expected.path {
            return page(StatusCode::NOT_FOUND, NOTHING_HERE);
        }
        match self
            .expected
            .judge(request.uri().query().unwrap_or_default())
        {
            Verdict::Stray(reason) => {
                debug!(reason, "a request that is not the redirect of this sign-in");
                page(StatusCode::BAD_REQUEST, NOTHING_HERE)
            }
            Verdict::Ours(outcome) => self.keep(outcome),
        }
    }

    fn keep(&self, arrived: Result<SecretString, RedirectError>) -> Response<Full<Bytes>> {
        let text = if arrived.is_ok() { RECEIVED } else { DECLINED };
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*outcome, Outcome::Awaited) {
            *outcome = Outcome::Arrived(arrived);
            page(StatusCode::OK, text)
        } else {
            page(StatusCode::OK, ALREADY)
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        std::future::ready(Ok::<_, Infallible>(shared.answer(&request)))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A broken or slow connection concerns nobody: the next one may bring the redirect.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
}

const RECEIVED: &str = "Sign-in received. You may close this page; mailwicket says in its own window whether all is well.";
const DECLINED: &str = "The sign-in was declined. You may close this page; mailwicket says the reason in its own window.";
const ALREADY: &str = "This sign-in has been received already. You may close this page.";
const NOTHING_HERE: &str = "There is nothing here.";

/// A fixed page that loads nothing, is kept nowhere and tells no other site where it was.
fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>mailwicket</title><p>{text}</p></html>\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, http::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
