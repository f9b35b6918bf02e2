//! The HTTP client for token endpoints and metadata.
//!
//! Every answer is bounded in time and size, no redirect is followed, and what is not a plain JSON answer becomes an error
//! that still knows its status and `Retry-After`, which the OAuth library would drop.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tracing::warn;
use url::Url;

use super::connector::{Connector, ProxyError};
use super::response::{RawError, printable};
use super::secrets::Secrets;
use crate::config::Egress;

/// Octets of the largest answer that is read.
pub const MAX_BODY: usize = 256 * 1024;
/// Characters quoted from a page that is not JSON.
const EXCERPT: usize = 120;
/// A clock this far from the provider's is worth a warning: signed assertions will soon fail.
const SKEW_WORTH_A_WARNING: i64 = 60;

/// The metadata service of a machine in a cloud. It speaks http only, over a link that ends in the host below the machine; and no
/// proxy could reach it.
pub const METADATA_SERVICE: &str = "169.254.169.254";

/// An HTTP client that speaks to one provider. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct HttpClient {
    carrier: Arc<dyn Carrier>,
    limit: Duration,
    skew: Arc<AtomicI64>,
}

/// Carries a request to its host and brings the whole answer back.
pub(crate) trait Carrier: std::fmt::Debug + Send + Sync {
    /// Without a time limit.
    fn carry<'c>(&'c self, request: Request<Vec<u8>>, host: &'c str) -> Carried<'c>;

    /// The clock on the wall at this end.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// What becomes of a request.
pub(crate) type Carried<'c> =
    Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send + 'c>>;

/// The network.
type Network = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// Why there is no answer that could be read as OAuth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The URL would carry secrets in clear.
    #[error("{host} is neither https nor on this machine, so no secret is sent there")]
    Insecure {
        /// The host of the URL.
        host: String,
    },
    /// No connection, so the request was not seen by anybody.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// The host of the URL.
        host: String,
        /// What the network or TLS said.
        reason: String,
    },
    /// A proxy on the way makes no connection, so the request was not seen by anybody.
    #[error("cannot reach {host}: {reason}")]
    Proxy {
        /// The host of the URL.
        host: String,
        /// Which proxy, and what it did.
        reason: String,
        /// Whether somebody must change something; else trying again is right.
        is_config: bool,
    },
    /// The request was sent, the answer did not come. The provider may have acted on it.
    #[error("{host} did not answer: {reason}")]
    Lost {
        /// The host of the URL.
        host: String,
        /// What happened to the answer.
        reason: String,
    },
    /// The answer was larger than [`MAX_BODY`].
    #[error("{host} sent more than {} KiB", MAX_BODY / 1024)]
    TooLarge {
        /// The host of the URL.
        host: String,
    },
    /// A status that is no OAuth answer, or an answer that is not JSON.
    #[error("{host} answered {status}{}", quoted(excerpt))]
    Status {
        /// The host of the URL.
        host: String,
        /// The status.
        status: StatusCode,
        /// How long the provider wants to be left alone (RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
        /// The beginning of what a person would have read, if anything.
        excerpt: String,
    },
}

fn quoted(excerpt: &str) -> String {
    if excerpt.is_empty() {
        String::new()
    } else {
        format!(": {excerpt:?}")
    }
}

impl HttpError {
    /// For a request that asks a provider to do nothing: an answer that was lost is one that did not come.
    pub(super) fn without_consequences(self) -> Self {
        match self {
            Self::Lost { host, reason } => Self::Unreachable {
                host,
                reason: format!("it did not answer: {reason}"),
            },
            error => error,
        }
    }

    /// Whether the provider may have acted on the request although no answer was read.
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Insecure { .. } | Self::Unreachable { .. } | Self::Proxy { .. } => false,
            Self::Lost { .. } | Self::TooLarge { .. } => true,
            Self::Status { status, .. } => {
                status.is_success() || matches!(status.as_u16(), 408 | 500 | 502 | 504)
            }
        }
    }

    /// How long the provider wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl HttpClient {
    /// A client with the provider's TLS configuration and way out, whose every request ends within `limit`.
    pub fn new(tls: &Arc<rustls::ClientConfig>, egress: Egress, limit: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(rustls::ClientConfig::clone(tls))
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(egress, limit));
        // Requests are an hour apart: a pooled connection would be a half-dead one, whose failure looks like a lost answer.
        let inner: Network = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self::over(Arc::new(inner), limit)
    }

    /// A client whose requests `carrier` carries.
    pub(crate) fn over(carrier: Arc<dyn Carrier>, limit: Duration) -> Self {
        Self {
            carrier,
            limit,
            skew: Arc::default(),
        }
    }

    /// Seconds by which the provider's clock was ahead of ours at the last answer; negative if behind.
    pub fn skew(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    /// Sends one request and reads a whole JSON answer; anything else is an error, which quotes none of `secrets`.
    pub(super) async fn send(
        &self,
        request: Request<Vec<u8>>,
        secrets: &Secrets,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let host = host(request.uri());
        let response = self.ask(request, &host).await?;
        self.note_skew(response.headers(), &host);
        only_json(response, host, secrets, self.now())
    }

    /// The clock on the wall.
    pub(super) fn now(&self) -> Timestamp {
        self.carrier.now()
    }

    /// Tells a JSON text to somebody from whom only a yes is wanted, in the form of any 2xx.
    ///
    /// # Errors
    /// [`HttpError`]; nothing of the answer is quoted.
    pub async fn post_json(&self, url: &Url, json: Vec<u8>) -> Result<(), HttpError> {
        let mut request = Request::new(json);
        *request.method_mut() = Method::POST;
        // A parsed URL is a valid URI, but for the length that hyper sets.
        *request.uri_mut() = url.as_str().parse().map_err(|_| HttpError::Insecure {
            host: "a URL that is no URI".to_owned(),
        })?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let host = host(request.uri());
        let response = self.ask(request, &host).await?;
        let status = response.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(HttpError::Status {
                host,
                status,
                retry_after: None,
                excerpt: String::new(),
            }),
        }
    }

    /// Asks for nothing, to hear what time it is there: the seconds by which that clock is ahead of ours, if it is told.
    ///
    /// # Errors
    /// [`HttpError`]; any status is an answer.
    pub async fn ask_time(&self, url: &Url) -> Result<Option<i64>, HttpError> {
        let mut request = Request::new(Vec::new());
        // A parsed URL is a valid URI, but for the length that hyper sets.
        *request.uri_mut() = url.as_str().parse().map_err(|_| HttpError::Insecure {
            host: "a URL that is no URI".to_owned(),
        })?;
        let host = host(request.uri());
        let response = self.ask(request, &host).await?;
        let theirs = response.headers().get(DATE).and_then(http_date);
        Ok(theirs.map(|theirs| theirs.as_second() - self.now().as_second()))
    }

    /// As [`HttpClient::send`] for a request whose success is the status alone: then the body is anything, or nothing.
    pub(super) async fn send_for_status(
        &self,
        request: Request<Vec<u8>>,
        secrets: &Secrets,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let host = host(request.uri());
        let response = self.ask(request, &host).await?;
        self.note_skew(response.headers(), &host);
        match response.status().is_success() {
            true => Ok(response),
            false => only_json(response, host, secrets, self.now()),
        }
    }

    /// One request within its time, to whom it may be sent.
    async fn ask(
        &self,
        mut request: Request<Vec<u8>>,
        host: &str,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        if !is_safe(request.uri()) {
            return Err(HttpError::Insecure { host: host.into() });
        }
        let agent = HeaderValue::from_static(concat!("mailwicket/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        tokio::time::timeout(self.limit, self.carrier.carry(request, host))
            .await
            .unwrap_or_else(|_| {
                Err(HttpError::Lost {
                    host: host.into(),
                    reason: format!("nothing came within {:?}", self.limit),
                })
            })
    }

    fn note_skew(&self, headers: &HeaderMap, host: &str) {
        let Some(theirs) = headers.get(DATE).and_then(http_date) else {
            return;
        };
        let skew = theirs.as_second() - self.now().as_second();
        let before = self.skew.swap(skew, Ordering::Relaxed);
        if skew.abs() > SKEW_WORTH_A_WARNING && before.abs() <= SKEW_WORTH_A_WARNING {
            warn!(
                host,
                seconds = skew,
                "this machine's clock differs from the provider's; set it right"
            );
        }
    }
}

impl Carrier for Network {
    fn carry<'c>(&'c self, request: Request<Vec<u8>>, host: &'c str) -> Carried<'c> {
        Box::pin(async move {
            let response = self
                .request(request.map(|body| Full::new(body.into())))
                .await
                .map_err(|error| {
                    let (host, reason) = (host.to_owned(), innermost(&error));
                    if let Some(is_config) = of_proxy(&error) {
                        HttpError::Proxy {
                            host,
                            reason,
                            is_config,
                        }
                    } else if error.is_connect() {
                        HttpError::Unreachable { host, reason }
                    } else {
                        HttpError::Lost { host, reason }
                    }
                })?;
            let (head, body) = response.into_parts();
            match Limited::new(body, MAX_BODY).collect().await {
                Ok(body) => Ok(Response::from_parts(head, body.to_bytes().into())),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(HttpError::TooLarge { host: host.into() })
                }
                Err(error) => Err(HttpError::Lost {
                    host: host.into(),
                    reason: innermost(error.as_ref()),
                }),
            }
        })
    }
}

/// A client for one request with these secrets in it.
#[derive(Debug)]
pub(super) struct Confidential<'r> {
    pub(super) http: &'r HttpClient,
    pub(super) secrets: &'r Secrets,
}

impl<'c> oauth2::AsyncHttpClient<'c> for Confidential<'_> {
    type Error = HttpError;
    type Future =
        Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.http.send(request, self.secrets).await?;
            Ok(as_rfc_6749(response))
        })
    }
}

/// Gives a JSON answer the status and type that the OAuth library insists on: some servers answer 201, `text/plain`, or an error with 200.
fn as_rfc_6749(mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
    #[derive(Deserialize)]
    struct Gist {
        access_token: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if response.status().is_success() {
        let failed = serde_json::from_slice(response.body())
            .is_ok_and(|gist: Gist| gist.error.is_some() && gist.access_token.is_none());
        *response.status_mut() = if failed {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::OK
        };
    }
    response
}

fn only_json(
    response: Response<Vec<u8>>,
    host: String,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Response<Vec<u8>>, HttpError> {
    let status = response.status();
    let is_answer = status.is_success()
        || (status.is_client_error() && !matches!(status.as_u16(), 407 | 408 | 429));
    if is_answer && response.body().trim_ascii_start().starts_with(b"{") {
        return Ok(response);
    }
    Err(HttpError::Status {
        host,
        status,
        retry_after: retry_after(response.headers(), now),
        excerpt: excerpt(&response, secrets),
    })
}

/// What a person may read of an answer that is no use otherwise. A body of an unknown kind is not quoted: it might be tokens.
fn excerpt(response: &Response<Vec<u8>>, secrets: &Secrets) -> String {
    let body = String::from_utf8_lossy(response.body());
    if let Ok(error) = serde_json::from_str::<RawError>(&body) {
        return error.cleaned(secrets).to_string();
    }
    let is_page = body.trim_start().starts_with('<');
    if is_page {
        // Before anything is cut, and once more for what the tags had parted.
        let text = without_tags(&secrets.redacted(&body));
        printable(&secrets.redacted(&text), EXCERPT)
    } else {
        String::new()
    }
}

/// The text of a page, roughly: tags, scripts and styles left out.
fn without_tags(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let end = ["script", "style"]
            .into_iter()
            .find(|name| {
                tag.get(..name.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(name))
            })
            .map_or(">", |name| {
                if name == "script" {
                    "</script>"
                } else {
                    "</style>"
                }
            });
        rest = tag.split_once(end).map_or("", |(_, after)| after);
        if text.len() > EXCERPT * 8 {
            return text;
        }
    }
    text + rest
}

/// `Retry-After` in either form (RFC 9110 §10.2.3). A date counts from the answer's own `Date`, so that skew does not matter.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    if let Ok(seconds) = value.to_str().ok()?.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let from = headers.get(DATE).and_then(http_date).unwrap_or(now);
    Some(Duration::try_from(until.duration_since(from)).unwrap_or_default())
}

fn http_date(value: &HeaderValue) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value.to_str().ok()?)
        .ok()
}

fn is_safe(uri: &Uri) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => uri
            .host()
            .is_some_and(|host| is_loopback(host) || host == METADATA_SERVICE),
        _ => false,
    }
}

/// Whether a host name or address means this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Host and port; a user name and a password before them are nobody's business.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map(|port| format!(":{port}"));
    printable(&(host.to_owned() + &port.unwrap_or_default()), 200)
}

/// The cause at the bottom of an error, which is the one that says something.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    printable(&deepest(error).to_string(), 400)
}

fn deepest<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest
}

/// Whether a proxy is to blame, and then whether somebody must change something.
fn of_proxy(error: &(dyn Error + 'static)) -> Option<bool> {
    let error = deepest(error).downcast_ref::<ProxyError>()?;
    Some(error.is_config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("header")))
            .collect()
    }

    #[test]
    fn a_host_is_named_without_the_user_and_password_before_it() {
        let named = |uri: &'static str| host(&Uri::from_static(uri));
        assert_eq!(
            named("https://user:s3cret@a.example:8443/x"),
            "a.example:8443"
        );
        assert_eq!(named("http://s3cret@[::1]:1/"), "[::1]:1");
        assert_eq!(named("https://a.example/x"), "a.example");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            retry_after(&headers(&[(RETRY_AFTER, "120")]), now),
            Some(Duration::from_secs(120))
        );
        let dated = [
            (RETRY_AFTER, "Wed, 21 Oct 2026 07:28:30 GMT"),
            (DATE, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ];
        assert_eq!(
            retry_after(&headers(&dated), now),
            Some(Duration::from_secs(30))
        );
        let past = [
            (RETRY_AFTER, "Wed, 21 Oct 2026 07:27:00 GMT"),
            (DATE, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ];
        assert_eq!(retry_after(&headers(&past), now), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "soon")]), now), None);
    }

    #[test]
    fn only_loopback_hosts_may_go_without_tls() {
        for (url, safe) in [
            ("https://login.example/token", true),
            ("http://127.0.0.1:8080/token", true),
            ("http://[::1]/token", true),
            ("http://localhost/token", true),
            ("http://169.254.169.254/metadata", true),
            ("http://169.254.169.253/metadata", false),
            ("http://login.example/token", false),
            ("http://127.0.0.1.example/token", false),
            ("http://localhost.example/token", false),
        ] {
            assert_eq!(is_safe(&url.parse().expect("url")), safe, "{url}");
        }
    }

    #[test]
    fn a_page_is_quoted_as_its_text_and_unknown_bodies_are_not_quoted() {
        let page =
            "<html><style>b{}</style><script>x<y</script><h1>Proxy login\n needed</h1></html>";
        let answer = |body: &str| Response::new(body.as_bytes().to_vec());
        let excerpt = |body: &str| excerpt(&answer(body), &Secrets::default());
        assert_eq!(excerpt(page), "Proxy login needed");
        assert_eq!(excerpt("access_token=s3cret&x=1"), "");
        assert_eq!(excerpt(r#"{"access_token":"s3cret"}"#), "");
    }

    #[test]
    fn a_page_that_echoes_the_request_shows_nothing_of_its_secrets() {
        let secret = "s3cret/refresh+token";
        let form = "s3cret%2Frefresh%2Btoken";
        let basic = "aWQ6czNjcmV0L3JlZnJlc2grdG9rZW4="; // "id:" and the secret
        for echo in [secret, form, basic, "s3cret/ref<wbr>resh+token"] {
            for before in [0, EXCERPT - 12, EXCERPT * 8 - 9] {
                let page = format!("<p>{}{echo}</p>", "x ".repeat(before / 2));
                let secrets = Secrets::new([secret]);
                let shown = excerpt(&Response::new(page.into_bytes()), &secrets);
                for part in ["s3c", "resh", "czNj"] {
                    assert!(!shown.contains(part), "{shown}");
                }
            }
        }
    }
}
