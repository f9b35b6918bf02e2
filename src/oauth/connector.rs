//! How the HTTP client gets a connection: directly, or through the provider's proxy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::Egress;
use crate::config::egress::{Proxy, authority};
use crate::egress::{self, EgressError};

/// The part of a request's time that a connection may take, so that a silent host or proxy is named while the request can still say
/// that nobody saw it.
const SHARE: u32 = 2;

/// Connects for one provider.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    egress: Egress,
    limit: Duration,
}

/// Why a proxy gave no connection.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy}: {reason}")]
pub(super) struct ProxyError {
    proxy: String,
    /// In words: the innermost error is the one that is told.
    reason: String,
    /// Whether somebody must change something.
    pub(super) is_config: bool,
}

impl ProxyError {
    fn new(proxy: &Proxy, error: &EgressError) -> Self {
        Self {
            proxy: proxy.to_string(),
            reason: error.to_string(),
            is_config: error.is_config(),
        }
    }

    fn slow(proxy: &Proxy, limit: Duration) -> Self {
        Self {
            proxy: proxy.to_string(),
            reason: format!("it made no connection within {limit:?}"),
            is_config: false,
        }
    }
}

type Connected = Result<TokioIo<TcpStream>, Box<dyn std::error::Error + Send + Sync>>;

impl Connector {
    /// For requests that may take `limit`.
    pub(super) fn new(egress: Egress, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false); // what TLS needs
        let limit = limit / SHARE;
        tcp.set_connect_timeout(Some(limit)); // shared by the addresses of a host
        Self { tcp, egress, limit }
    }

    /// Requests in clear are for this machine, so they never go through another.
    fn proxy(&self, url: &Uri) -> Option<Arc<Proxy>> {
        let is_secured = url.scheme_str() == Some("https");
        let host = url.host().filter(|_| is_secured)?;
        self.egress.for_tokens(host).cloned()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Connected> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        match self.proxy(&url) {
            None => {
                let connecting = self.tcp.call(url);
                Box::pin(async move { Ok(connecting.await?) })
            }
            Some(proxy) => {
                let (tcp, limit) = (self.tcp.clone(), self.limit);
                Box::pin(async move {
                    let through = tokio::time::timeout(limit, through(tcp, &proxy, &url));
                    match through.await {
                        Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
                        Ok(Err(error)) => Err(ProxyError::new(&proxy, &error).into()),
                        Err(_) => Err(ProxyError::slow(&proxy, limit).into()),
                    }
                })
            }
        }
    }
}

async fn through(
    mut tcp: HttpConnector,
    proxy: &Proxy,
    url: &Uri,
) -> Result<TcpStream, EgressError> {
    let unreachable = |error: String| EgressError::Unreachable(std::io::Error::other(error));
    let address: Uri = format!("http://{}", authority(&proxy.host, proxy.port))
        .parse()
        .map_err(|_| EgressError::BadTarget(proxy.host.clone()))?;
    let stream = tcp
        .call(address)
        .await
        .map_err(|error| unreachable(super::http::innermost(&error)))?;
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(443);
    egress::open(proxy, stream.into_inner(), bare, port).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use url::Url;

    use crate::config::Egress;
    use crate::config::egress::{Origin, Proxy, ProxyKind};
    use crate::oauth::catalogue::Class;
    use crate::oauth::http::HttpError;
    use crate::oauth::testing::{Endpoint, Reply, provider};
    use crate::oauth::{OAuth, OAuthError};

    /// A client whose way out is the proxy at `port`.
    fn through(port: u16, token_url: &Url, limit: Duration) -> OAuth {
        let mut provider = provider(token_url);
        provider.egress = Egress::Proxy(Arc::new(Proxy {
            kind: ProxyKind::Http,
            host: "127.0.0.1".into(),
            port,
            login: None,
            origin: Origin::File,
        }));
        OAuth::new(Arc::new(provider), limit).expect("client")
    }

    async fn refused(oauth: &OAuth) -> OAuthError {
        let refresh_token = "rt".to_owned().into();
        oauth.refresh(&refresh_token).await.expect_err("no tunnel")
    }

    fn hidden() -> Url {
        Url::parse("https://login.hidden.invalid/token").expect("url")
    }

    #[tokio::test]
    async fn what_a_proxy_says_is_told_as_its_own_and_nothing_was_sent_to_the_provider() {
        for (answer, class, said) in [
            ("407 x", Class::Config, "wants a user name"),
            (
                "403 x",
                Class::Config,
                "refuses to connect to login.hidden.invalid:443",
            ),
            (
                "502 x",
                Class::Retry,
                "cannot reach login.hidden.invalid:443",
            ),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let port = listener.local_addr().expect("address").port();
            let playing = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a visitor");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.expect("a request"));
                }
                let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("said");
                String::from_utf8(request).expect("text")
            });
            let error = refused(&through(port, &hidden(), Duration::from_secs(20))).await;
            assert!(
                matches!(error, OAuthError::Http(HttpError::Proxy { .. })),
                "{error:?}"
            );
            assert_eq!(error.class(), class, "{error}");
            assert!(!error.may_have_acted() && error.concerns_all_accounts());
            let proxy = format!("the proxy http://127.0.0.1:{port} (egress)");
            let told = error.to_string();
            assert!(told.contains(&proxy) && told.contains(said), "{told}");
            let request = playing.await.expect("played");
            assert!(request.starts_with("CONNECT login.hidden.invalid:443 HTTP/1.1\r\n"));
        }
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let error = refused(&through(port, &hidden(), Duration::from_secs(20))).await;
        assert_eq!(error.class(), Class::Retry);
        assert!(
            error.to_string().contains("(egress): it cannot be reached"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_proxy_is_named_in_half_of_the_time_and_the_provider_did_not_act() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let begun = tokio::time::Instant::now();
        let error = refused(&through(port, &hidden(), Duration::from_secs(20))).await;
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert!(
            error.to_string().contains("no connection within 10s"),
            "{error}"
        );
        assert!(!error.may_have_acted());
    }

    #[tokio::test]
    async fn requests_in_clear_stay_on_this_machine_whatever_the_file_says() {
        let endpoint = Endpoint::replying(vec![Reply::json(200, r#"{"access_token":"at"}"#)]).await;
        // Nobody listens on port 1: whoever goes there fails.
        let oauth = through(1, &endpoint.url, Duration::from_secs(20));
        let refresh_token = "rt".to_owned().into();
        oauth.refresh(&refresh_token).await.expect("a token");
    }
}
