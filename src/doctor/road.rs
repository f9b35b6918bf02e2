//! From a host's name to an encrypted connection: the steps `dns`, `tcp` and `tls`, for mail servers and the token endpoint alike.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::finding::{Step, Subject, Told};
use super::{Walk, chain};
use crate::config::UpstreamTls;
use crate::config::egress::Proxy;
use crate::dial::{self, Dialler, Encrypted};
use crate::egress::EgressError;
use crate::failure::{Cause, Failure};
use crate::tls::witness::Witness;

/// Where a connection leads, and by what way.
pub(super) struct Road {
    pub(super) name: Subject,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) proxy: Option<Arc<Proxy>>,
    /// What to say where nothing is reached and the way might be why.
    pub(super) detour: Option<String>,
    /// One address may take so long.
    pub(super) limit: Duration,
}

/// How a connection is encrypted.
pub(super) enum Gate<'a> {
    /// As the token endpoint has it.
    Tls(Arc<ClientConfig>),
    /// As this mail server has it.
    Mail(&'a Dialler),
}

/// An encrypted connection.
pub(super) struct Opened {
    version: &'static str,
    /// A mail server's, ready for its first words.
    pub(super) mail: Option<Encrypted>,
}

/// Why a connection was not encrypted.
struct Closed {
    reason: String,
    advice: Option<String>,
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self {
            reason: error.to_string(),
            advice: dial::advice(&error).map(str::to_owned),
        }
    }
}

impl From<Failure> for Closed {
    fn from(failure: Failure) -> Self {
        Self {
            reason: failure.happened().to_owned(),
            advice: failure.remedy,
        }
    }
}

impl Gate<'_> {
    async fn pass(&self, host: &str, tcp: TcpStream) -> Result<Opened, Closed> {
        match self {
            Self::Tls(config) => {
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|error| io::Error::other(error.to_string()))?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name, tcp).await?;
                Ok(Opened {
                    version: version(stream.get_ref().1),
                    mail: None,
                })
            }
            Self::Mail(dialler) => {
                let socket = dialler.wrap(tcp).await?;
                let encrypted = dialler.encrypt(socket, None).await?;
                Ok(Opened {
                    version: version(encrypted.tls()),
                    mail: Some(encrypted),
                })
            }
        }
    }

    /// How long it may take: before STARTTLS the server has something to say, and some think about it.
    fn limit(&self, road: &Road) -> Duration {
        match self {
            Self::Mail(dialler) if dialler.endpoint.tls == UpstreamTls::StartTls => {
                dialler.timeouts.upstream_login
            }
            _ => road.limit,
        }
    }

    /// What may be wrong where nothing comes in time.
    fn silence(&self) -> Closed {
        let advice = match self {
            Self::Mail(dialler) if dialler.endpoint.tls == UpstreamTls::StartTls => {
                "If the server waits for TLS from the first byte, as on ports 993, 995 and 465, set tls = \"implicit\""
            }
            Self::Mail(_) => {
                "If the server speaks first, as on ports 143, 110 and 587, set tls = \"starttls\""
            }
            Self::Tls(_) => "Check the address, and the firewall before it",
        };
        Closed {
            reason: "there was no handshake in time".to_owned(),
            advice: Some(advice.to_owned()),
        }
    }
}

fn version(connection: &rustls::ClientConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    }
}

/// A connection, and the addresses that are left to try.
struct Reached<'a> {
    tcp: TcpStream,
    address: SocketAddr,
    rest: &'a [SocketAddr],
}

impl Road {
    async fn resolve(&self) -> Result<(Vec<SocketAddr>, Told), Told> {
        let (host, port) = match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.host, self.port),
        };
        let addresses = dial::resolve(host, port, self.limit)
            .await
            .map_err(|reason| {
                self.unreached(
                    Cause::Upstream,
                    reason,
                    "Check the name, and the DNS of this machine",
                )
            })?;
        let found: Vec<_> = addresses.iter().map(|it| it.ip().to_string()).collect();
        let found = found.join(", ");
        let told = Told::well(match &self.proxy {
            None if found == *host => format!("{host} is an address already"),
            None => format!("{host} is {found}"),
            Some(proxy) => format!(
                "the proxy {} is {found}; it resolves {} itself",
                proxy.host, self.host
            ),
        });
        Ok((addresses, told))
    }

    /// Tries the addresses in turn, as a session does.
    async fn reach<'a>(&self, addresses: &'a [SocketAddr]) -> Result<(Reached<'a>, Told), Told> {
        let mut failed = Vec::new();
        let (mut is_slow, mut cause, mut advice) = (false, Cause::Upstream, None);
        for (at, address) in addresses.iter().enumerate() {
            let connecting = dial::reach(*address, self.proxy.as_deref(), &self.host, self.port);
            let error = match timeout(self.limit, connecting).await {
                Ok(Ok(tcp)) => {
                    let told = self.reached(*address, &failed, is_slow);
                    let rest = &addresses[at + 1..];
                    let address = *address;
                    return Ok((Reached { tcp, address, rest }, told));
                }
                Ok(Err(error)) => {
                    if dial::of_proxy(&error).is_some_and(EgressError::is_config) {
                        cause = Cause::Config;
                    }
                    advice = advice.or(dial::advice(&error));
                    error.to_string()
                }
                Err(_) => {
                    is_slow = true;
                    format!("no answer within {:?}", self.limit)
                }
            };
            failed.push(format!("{address}: {error}"));
        }
        let advice = match (advice, &self.proxy) {
            (Some(advice), _) => advice,
            (None, Some(_)) => "Look at `egress`, and into the proxy's own log",
            (None, None) => "Check the address and port, and the firewall before it",
        };
        Err(self.unreached(cause, failed.join("; "), advice))
    }

    fn reached(&self, address: SocketAddr, failed: &[String], is_slow: bool) -> Told {
        let way = match &self.proxy {
            Some(proxy) => format!(" through the proxy {proxy}"),
            None => format!(" at {address}"),
        };
        let mut detail = format!("{}:{} answers{way}", self.host, self.port);
        if !failed.is_empty() {
            detail = format!("{detail}; before that, {}", failed.join("; "));
        }
        match is_slow {
            true => Told::warning(
                detail,
                "Every login may wait for that; take the dead address out of the DNS, or mend the network (often IPv6)",
            ),
            false => Told::well(detail),
        }
    }

    fn unreached(&self, cause: Cause, reason: String, remedy: &str) -> Told {
        let way = self.proxy.as_ref();
        let way = way.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let whither = format!("{}:{}{way}: ", self.host, self.port);
        // An address in place of a name is in the reason already.
        let detail = match reason.starts_with(&whither) {
            true => reason,
            false => whither + &reason,
        };
        let (cause, remedy) = match (self.name, cause) {
            (Subject::Token, Cause::Upstream) => {
                let keys = "`issuer` or `token-url`";
                (Cause::Token, remedy.replace("`host` and `port`", keys))
            }
            _ => (cause, remedy.to_owned()),
        };
        let remedies = [remedy.as_str(), self.detour.as_deref().unwrap_or_default()];
        let remedies = remedies.into_iter().filter(|text| !text.is_empty());
        Told::failed(cause, detail, remedies.collect::<Vec<_>>().join("; "))
    }
}

impl Walk<'_> {
    /// The addresses, and a connection to one of them.
    async fn reach(&mut self, road: &Road) -> Option<Vec<SocketAddr>> {
        let begun = Instant::now();
        let found = self.keep(Step::Dns, road.name, begun, road.resolve().await);
        let (addresses, told) = found?;
        self.tell(Step::Dns, road.name, begun, told);
        Some(addresses)
    }

    /// Whether a host that is spoken to in clear answers.
    pub(super) async fn clear_road(&mut self, road: &Road) -> bool {
        let Some(addresses) = self.reach(road).await else {
            return false;
        };
        let begun = Instant::now();
        let reached = road.reach(&addresses).await;
        let Some((_, told)) = self.keep(Step::Tcp, road.name, begun, reached) else {
            return false;
        };
        self.tell(Step::Tcp, road.name, begun, told);
        true
    }

    /// An encrypted connection. Where the first address that answers has no good handshake, the others are tried, as a session does.
    pub(super) async fn road(
        &mut self,
        road: &Road,
        gate: &Gate<'_>,
        witness: &Witness,
    ) -> Option<Opened> {
        let addresses = self.reach(road).await?;
        let begun = Instant::now();
        let reached = road.reach(&addresses).await;
        let (mut reached, told) = self.keep(Step::Tcp, road.name, begun, reached)?;
        self.tell(Step::Tcp, road.name, begun, told);

        let begun = Instant::now();
        let mut first_failure = None;
        loop {
            let passing = gate.pass(&road.host, reached.tcp);
            let passed = timeout(gate.limit(road), passing).await;
            let seen = witness.take();
            let now = Timestamp::now();
            match passed.unwrap_or_else(|_| Err(gate.silence())) {
                Ok(opened) => {
                    let told = chain::accepted(&road.host, opened.version, seen.as_ref(), now);
                    let told = after(first_failure, told, reached.address);
                    self.tell(Step::Tls, road.name, begun, told);
                    return Some(opened);
                }
                Err(Closed { reason, advice }) => {
                    let advice = advice.as_deref();
                    let told = chain::refused(&road.host, &reason, advice, seen.as_ref(), now);
                    first_failure.get_or_insert(told);
                }
            }
            match road.reach(reached.rest).await {
                Ok((next, _)) => reached = next,
                Err(_) => {
                    let told = first_failure.take()?; // there was one, or we would not be here
                    self.tell(Step::Tls, road.name, begun, told);
                    return None;
                }
            }
        }
    }
}

/// What is told of a success at `address` behind a failure at another.
fn after(failure: Option<Told>, told: Told, address: SocketAddr) -> Told {
    let (
        Some(Told::Failed { detail, remedy, .. }),
        Told::Well(well) | Told::Warning { detail: well, .. },
    ) = (failure, &told)
    else {
        return told;
    };
    Told::warning(
        format!("only at {address}: {well}; at another address: {detail}"),
        remedy.unwrap_or_else(|| "Have the other address looked at".to_owned()),
    )
}
