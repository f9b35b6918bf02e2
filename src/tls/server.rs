//! TLS of a listener: when it begins, from where it may be missing, and which certificate is shown.
//!
//! Nothing here knows a protocol but its name, which is what ALPN goes by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SignatureScheme};

use super::ca::{CaError, Keeper};
use super::own::{Own, OwnError};
use super::stream::LocalStream;
use super::{TlsError, hello, provider};
use crate::config::{CertificateFiles, Listener, LocalTls, RemoteConsole};
use crate::dialogue::{Interruption, Privacy};

/// How long a mail program may be silent with `tls = "auto"` before it is taken for one that waits for a greeting in clear. A
/// ClientHello comes with the first packet after the connection.
pub const SILENCE: Duration = Duration::from_millis(500);

/// What ALPN calls the HTTP of the console (RFC 7301 §6).
const HTTP: &str = "http/1.1";

/// Why a listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Its own files.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The local CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The library.
    #[error(transparent)]
    Setup(#[from] TlsError),
}

/// What the sessions of a listener must know about TLS.
pub struct Terms {
    mode: LocalTls,
    plaintext_from: Vec<IpNet>,
    /// How long a handshake may take.
    pub(super) handshake: Duration,
    /// `None` only where there is no TLS.
    server: Option<Server>,
}

struct Server {
    /// All but the certificate.
    config: ServerConfig,
    certificate: Certificate,
}

/// Where the certificate comes from.
#[derive(Clone)]
pub enum Certificate {
    /// Files of the listener.
    Own(Arc<Own>),
    /// The local CA.
    Ca(Arc<Keeper>),
}

/// How a connection begins.
pub enum Beginning {
    /// In clear, so private.
    Clear(Privacy),
    /// With a handshake.
    Handshake,
    /// With good-bye.
    Refused(Interruption),
}

impl Terms {
    /// The terms of a listener, with its certificate. Blocks where that is read from files.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn new(
        listener: &Listener,
        handshake: Duration,
        ca: Option<&Arc<Keeper>>,
    ) -> Result<Self, CertificateError> {
        let server = match listener.tls {
            LocalTls::None => None,
            _ => server(listener.certificate.as_ref(), ca, listener.protocol.word())?,
        };
        Ok(Self {
            mode: listener.tls,
            plaintext_from: listener.allow_plaintext_from.clone(),
            handshake,
            server,
        })
    }

    /// The terms of a console that is reached from elsewhere: TLS from the first octet.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn of_console(
        console: &RemoteConsole,
        handshake: Duration,
        ca: Option<&Arc<Keeper>>,
    ) -> Result<Self, CertificateError> {
        Ok(Self {
            mode: LocalTls::Implicit,
            plaintext_from: Vec::new(),
            handshake,
            server: server(console.certificate.as_ref(), ca, HTTP)?,
        })
    }

    /// How a connection from `source` begins; waits for its first octet where that decides.
    pub async fn beginning(&self, local: &LocalStream, source: IpAddr) -> Beginning {
        match self.mode {
            LocalTls::None if self.allows_plaintext(source) => Beginning::Clear(Privacy::Clear),
            LocalTls::None => Beginning::Refused(Interruption::Plaintext),
            LocalTls::StartTls => Beginning::Clear(self.privacy(self.is_listed(source))),
            LocalTls::Implicit => match local.first_within(self.handshake).await {
                Some(first) if hello::is_tls(first) => Beginning::Handshake,
                _ => Beginning::Refused(Interruption::ExpectedTls),
            },
            LocalTls::Auto => match local.first_within(SILENCE).await {
                Some(first) if hello::is_tls(first) => Beginning::Handshake,
                _ => Beginning::Clear(self.privacy(self.allows_plaintext(source))),
            },
        }
    }

    /// Whether words in clear make sense to whoever connects.
    pub fn may_speak_clear(&self) -> bool {
        self.mode != LocalTls::Implicit
    }

    fn privacy(&self, is_free: bool) -> Privacy {
        match is_free {
            true => Privacy::Offered,
            false => Privacy::Required,
        }
    }

    fn allows_plaintext(&self, source: IpAddr) -> bool {
        source.to_canonical().is_loopback() || self.is_listed(source)
    }

    fn is_listed(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.plaintext_from.iter().any(|net| net.contains(&source))
    }

    /// What the handshake with this client at the address `local` is made with.
    pub(super) async fn config(
        &self,
        hello: &ClientHello<'_>,
        local: IpAddr,
    ) -> Result<Arc<ServerConfig>, CaError> {
        // A listener without TLS offers none, so nobody asks.
        let server = self
            .server
            .as_ref()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let certified = server
            .certificate
            .certified(local, wants_rsa(hello))
            .await?;
        let mut config = server.config.clone();
        config.cert_resolver = Arc::new(Only(certified));
        Ok(Arc::new(config))
    }
}

impl Certificate {
    async fn certified(&self, local: IpAddr, rsa: bool) -> Result<Arc<CertifiedKey>, CaError> {
        let now = Instant::now();
        let at_hand = match self {
            Self::Own(own) => own.at_hand(now),
            Self::Ca(keeper) => keeper.at_hand(local, rsa, now),
        };
        if let Some(certified) = at_hand {
            return Ok(certified);
        }
        let this = self.clone();
        let current = move || match this {
            Self::Own(own) => Ok(own.current(now)),
            Self::Ca(keeper) => keeper.current(local, rsa, now),
        };
        match tokio::task::spawn_blocking(current).await {
            Ok(certified) => certified,
            // It panicked or the process ends: this handshake fails, and nothing else.
            Err(_) => Err(rustls::Error::NoCertificatesPresented.into()),
        }
    }
}

/// A server with a certificate from these files, else of the local CA; `None` if there is neither.
fn server(
    files: Option<&CertificateFiles>,
    ca: Option<&Arc<Keeper>>,
    protocol: &str,
) -> Result<Option<Server>, CertificateError> {
    let provider = provider();
    let certificate = match (files, ca) {
        (Some(files), _) => {
            let own = Own::open(files.clone(), Arc::clone(&provider))?;
            Certificate::Own(Arc::new(own))
        }
        (None, Some(ca)) => Certificate::Ca(Arc::clone(ca)),
        (None, None) => return Ok(None),
    };
    let config = config(protocol, provider)?;
    Ok(Some(Server {
        config,
        certificate,
    }))
}

/// One certificate for everybody, whatever name they ask for: old devices ask for none, or for the one of the provider.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn config(protocol: &str, provider: Arc<CryptoProvider>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nobody));
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    // Whoever offers protocols must offer this one: a browser that was sent here does not (ALPACA).
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(config)
}

/// Stands where each handshake puts its own.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Whether a client can do nothing with an ECDSA key.
fn wants_rsa(hello: &ClientHello<'_>) -> bool {
    // With TLS 1.2 the suite must agree (RFC 8422 §5.1); with TLS 1.3 none names a kind of key.
    const SUITES: [CipherSuite; 6] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let signs = hello
        .signature_schemes()
        .contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
    let agrees = hello
        .cipher_suites()
        .iter()
        .any(|suite| SUITES.contains(suite));
    !(signs && agrees)
}
