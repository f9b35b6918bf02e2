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

/// The part of a request's time that a proxy may take, so that a silent one is named while the request can still say that nobody
/// saw it.
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
