//! Stands for the person with a browser: opens the sign-in page, allows, and follows the redirect. Speaks to loopback only.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Host, Url};

/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a page that are read.
const MAX_PAGE: u64 = 64 * 1024;

/// Why the sign-in did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The page could not be had.
    #[error("cannot open {host}: {source}")]
    Page {
        /// Whose page.
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The page was not there in time.
    #[error("{0} did not answer in time")]
    Slow(String),
    /// The sandbox's provider did not send the browser on.
    #[error("the sandbox's provider answered {0:?} in place of a redirect")]
    NoRedirect(String),
    /// Only this machine is spoken to.
    #[error("{0} is not an address of this machine")]
    Elsewhere(String),
}

/// Opens the sign-in page with the word that stands for "Allow", and brings the redirect where it belongs.
pub(super) async fn consent(sign_in: &Url, key: &str) -> Result<(), BrowserError> {
    let mut url = sign_in.clone();
    url.query_pairs_mut().append_pair("consent", key);
    let page = get(&url).await?;
    let target = location(&page).and_then(|target| Url::parse(target).ok());
    let Some(target) = target else {
        let status = page.lines().next().unwrap_or_default();
        return Err(BrowserError::NoRedirect(status.to_owned()));
    };
    get(&target).await.map(drop)
}

fn location(page: &str) -> Option<&str> {
    let head = page.lines().take_while(|line| !line.is_empty());
    let fields = head.filter_map(|line| line.split_once(':'));
    let mut found = fields.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
    found.next().map(|(_, value)| value.trim())
}

async fn get(url: &Url) -> Result<String, BrowserError> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) if address.is_loopback() => IpAddr::V4(address),
        Some(Host::Ipv6(address)) if address.is_loopback() => IpAddr::V6(address),
        _ => {
            let host = url.host_str().unwrap_or_default();
            return Err(BrowserError::Elsewhere(host.to_owned()));
        }
    };
    let port = url.port_or_known_default().unwrap_or(80);
    let host = format!("{address}:{port}");
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let exchange = async {
        let mut stream = TcpStream::connect((address, port)).await?;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut page = Vec::new();
        stream.take(MAX_PAGE).read_to_end(&mut page).await?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(page) => page.map_err(|source| BrowserError::Page { host, source }),
        Err(_) => Err(BrowserError::Slow(host)),
    }
}
