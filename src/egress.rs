//! The way through a proxy: from a connection with the proxy to one with the host behind it, for tokens and mail alike.
//!
//! The CONNECT of the HTTP library takes more from the socket than the proxy's answer and drops it. A mail server that speaks first
//! would lose its greeting to that, so here not one octet beyond the answer is read. Nothing here knows who speaks afterwards; TLS
//! is checked against the host behind the proxy by whoever asked.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::Error as Socks;
use tokio_socks::tcp::Socks5Stream;
use zeroize::Zeroizing;

use crate::config::egress::{Proxy, ProxyKind, authority};

/// Octets of a proxy's answer to CONNECT, with the headers that come before it.
const MAX_ANSWER: usize = 16 * 1024;
/// Lines of such an answer.
const MAX_HEADERS: usize = 64;
/// The ways to log in that a proxy may ask for (RFC 9110 §11.7.1, IANA's registry), so that none of its own words are repeated.
const SCHEMES: [&str; 6] = ["Basic", "Bearer", "Digest", "Kerberos", "Negotiate", "NTLM"];

/// Why a proxy does not lead to the host. The texts follow the name of the proxy; none holds a word of the proxy or of the login.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The password cannot be had.
    #[error("its password cannot be read: {0}")]
    Secret(String),
    /// No connection with the proxy.
    #[error("it cannot be reached: {0}; check its address and port, and whether it runs")]
    Unreachable(io::Error),
    /// The connection with the proxy failed.
    #[error("the connection with it broke off: {0}")]
    Broken(io::Error),
    /// The proxy closed the connection instead of an answer.
    #[error("it closed the connection without an answer; {}", hint(*.0))]
    Closed(ProxyKind),
    /// What came is not what such a proxy says.
    #[error("it does not answer as {} proxy does; {}", article(*.0), hint(*.0))]
    Foreign(ProxyKind),
    /// The answer is longer than any that makes sense.
    #[error("its answer is longer than {} KiB", MAX_ANSWER / 1024)]
    TooLong,
    /// It wants to know who we are, and we have nothing to say.
    #[error("it wants a user name and a password: give `egress` as {{ url, user, password }}{}", offered(.0))]
    WantsLogin(Vec<&'static str>),
    /// It does not believe who we are.
    #[error("it does not accept our user name and password{}", offered(.0))]
    LoginRefused(Vec<&'static str>),
    /// It could, but will not.
    #[error(
        "it refuses to connect to {target} ({code}); whoever runs it must allow this host and port"
    )]
    Refused {
        /// Where it should have connected to.
        target: String,
        /// What the protocol calls it.
        code: String,
    },
    /// It takes requests, but no tunnels.
    #[error(
        "it does not make connections for others ({0}); check its address and port, and whether it allows CONNECT"
    )]
    NoTunnels(u16),
    /// It would, but cannot.
    #[error(
        "it cannot reach {target} ({code}); names are resolved by the proxy, so check the host's name there"
    )]
    CannotReach {
        /// Where it should have connected to.
        target: String,
        /// What the protocol calls it.
        code: String,
    },
    /// The name cannot be told to it.
    #[error("it cannot be told the host {0:?}")]
    BadTarget(String),
    /// Any other status.
    #[error("it answered with the status {0}")]
    Status(u16),
}

fn article(kind: ProxyKind) -> &'static str {
    match kind {
        ProxyKind::Http => "an HTTP",
        ProxyKind::Socks5 => "a SOCKS5",
    }
}

fn hint(kind: ProxyKind) -> &'static str {
    match kind {
        ProxyKind::Http => "check its address and port, and whether it is a socks5:// one",
        ProxyKind::Socks5 => "check its address and port, and whether it is an http:// one",
    }
}

fn offered(schemes: &[&str]) -> String {
    match schemes {
        [] => String::new(),
        schemes if schemes.contains(&"Basic") => String::new(),
        schemes => format!(
            "; it takes only {}, and mailwicket has Basic, so whoever runs it must allow that, or this machine without a login",
            schemes.join(", ")
        ),
    }
}

impl EgressError {
    /// Whether somebody must change something; else trying again is right.
    pub fn is_config(&self) -> bool {
        match self {
            Self::Secret(_)
            | Self::Foreign(_)
            | Self::WantsLogin(_)
            | Self::LoginRefused(_)
            | Self::Refused { .. }
            | Self::NoTunnels(_)
            | Self::BadTarget(_) => true,
            Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Closed(_)
            | Self::TooLong
            | Self::CannotReach { .. }
            | Self::Status(_) => false,
        }
    }
}

impl From<io::Error> for EgressError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// User and password, as they were when the connection was made.
struct Login {
    user: String,
    password: SecretString,
}

/// Makes a connection with `proxy` one with `host`, which the proxy resolves. It sets no limit of time: the caller has one.
///
/// # Errors
/// [`EgressError`]; the connection is of no use then.
pub async fn open(
    proxy: &Proxy,
    stream: TcpStream,
    host: &str,
    port: u16,
) -> Result<TcpStream, EgressError> {
    let login = login(proxy).await?;
    match proxy.kind {
        ProxyKind::Http => connect(stream, &authority(host, port), login.as_ref()).await,
        ProxyKind::Socks5 => socks5(stream, host, port, login.as_ref()).await,
    }
}

/// Reads the password anew each time, so that a renewed file is seen; a command may take its time.
async fn login(proxy: &Proxy) -> Result<Option<Login>, EgressError> {
    let Some(login) = &proxy.login else {
        return Ok(None);
    };
    let password = match login.password.clone() {
        None => SecretString::default(),
        Some(source) => tokio::task::spawn_blocking(move || source.read())
            .await
            .map_err(|error| EgressError::Secret(error.to_string()))?
            .map_err(|error| EgressError::Secret(error.to_string()))?,
    };
    let user = login.user.clone();
    Ok(Some(Login { user, password }))
}

/// CONNECT (RFC 9110 §9.3.6).
async fn connect(
    mut stream: TcpStream,
    target: &str,
    login: Option<&Login>,
) -> Result<TcpStream, EgressError> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EgressError::BadTarget(target.to_owned()));
    }
    stream.write_all(request(target, login).as_bytes()).await?;
    let answer = answer(&mut stream).await?;
    match answer.status {
        200..=299 => Ok(stream),
        // 401 is what tinyproxy says to a wrong login.
        401 | 407 if login.is_some() => Err(EgressError::LoginRefused(answer.schemes)),
        401 | 407 => Err(EgressError::WantsLogin(answer.schemes)),
        403 => Err(EgressError::Refused {
            target: target.to_owned(),
            code: "403".to_owned(),
        }),
        status @ (400 | 404 | 405 | 501) => Err(EgressError::NoTunnels(status)),
        // Proxies differ in which of these a name means that they cannot resolve.
        status @ (500 | 502..=504) => Err(EgressError::CannotReach {
            target: target.to_owned(),
            code: status.to_string(),
        }),
        status => Err(EgressError::Status(status)),
    }
}

fn request(target: &str, login: Option<&Login>) -> Zeroizing<String> {
    let mut request = Zeroizing::new(format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: mailwicket/{}\r\n",
        env!("CARGO_PKG_VERSION")
    ));
    if let Some(Login { user, password }) = login {
        // RFC 7617 §2; UTF-8, as nearly all proxies have it.
        let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let header = Zeroizing::new(BASE64.encode(pair.as_bytes()));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// What a proxy said to CONNECT.
struct Answer {
    status: u16,
    /// The known ways to log in that it offers.
    schemes: Vec<&'static str>,
}

/// Reads the header of the answer to its end and not beyond: what follows a 2xx belongs to the host behind the proxy.
async fn answer(stream: &mut TcpStream) -> Result<Answer, EgressError> {
    let mut total = 0;
    loop {
        let header = header(stream, MAX_ANSWER - total).await?;
        total += header.len();
        let answer = parsed(&header).ok_or(EgressError::Foreign(ProxyKind::Http))?;
        // Interim answers may come before the one that counts (RFC 9110 §15.2).
        if !matches!(answer.status, 100 | 102..=199) {
            return Ok(answer);
        }
    }
}

/// The octets of one header with the empty line at its end, at most `limit`. They are looked at before they are taken from the
/// socket.
async fn header(stream: &mut TcpStream, limit: usize) -> Result<Vec<u8>, EgressError> {
    let mut header = Vec::new();
    let mut seen = [0; 1024];
    loop {
        let room = seen.len().min(limit - header.len());
        if room == 0 {
            return Err(EgressError::TooLong);
        }
        let count = stream.peek(&mut seen[..room]).await?;
        if count == 0 {
            return Err(EgressError::Closed(ProxyKind::Http));
        }
        let taken = header.len();
        header.extend_from_slice(&seen[..count]);
        let end = end_of(&header)?;
        header.truncate(end.unwrap_or(header.len()));
        stream.read_exact(&mut seen[..header.len() - taken]).await?;
        if end.is_some() {
            return Ok(header);
        }
    }
}

/// Where the header ends, if its end is there.
fn end_of(octets: &[u8]) -> Result<Option<usize>, EgressError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(octets) {
        Ok(httparse::Status::Complete(end)) => Ok(Some(end)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(EgressError::TooLong),
        Err(_) => Err(EgressError::Foreign(ProxyKind::Http)),
    }
}

fn parsed(header: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(header).ok()?;
    let status = response.code?;
    let asked = response.headers.iter();
    let asked: Vec<_> = asked
        .filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"))
        .map(|header| String::from_utf8_lossy(header.value))
        .collect();
    let is_offered = |scheme: &&str| {
        let words = asked.iter().flat_map(|value| value.split([' ', ',']));
        words
            .into_iter()
            .any(|word| word.eq_ignore_ascii_case(scheme))
    };
    let schemes = SCHEMES.into_iter().filter(is_offered).collect();
    Some(Answer { status, schemes })
}

/// SOCKS5 (RFC 1928) with a user and password (RFC 1929) where there is one.
async fn socks5(
    stream: TcpStream,
    host: &str,
    port: u16,
    login: Option<&Login>,
) -> Result<TcpStream, EgressError> {
    // An address goes as one, and a name as it is, for the proxy to resolve.
    let opened = match login {
        None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
        Some(Login { user, password }) => {
            let password = password.expose_secret();
            Socks5Stream::connect_with_password_and_socket(stream, (host, port), user, password)
                .await
        }
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| {
        match in_words(error, &authority(host, port)) {
            EgressError::WantsLogin(schemes) if login.is_some() => {
                EgressError::LoginRefused(schemes)
            }
            error => error,
        }
    })
}

fn in_words(error: Socks, target: &str) -> EgressError {
    let cannot = |code: &str| EgressError::CannotReach {
        target: target.to_owned(),
        code: code.to_owned(),
    };
    match error {
        Socks::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            EgressError::Closed(ProxyKind::Socks5)
        }
        Socks::Io(error) => EgressError::Broken(error),
        // It wants a way to log in that we did not offer: we always offer to do without, and a password if there is one.
        Socks::AuthorizationRequired | Socks::NoAcceptableAuthMethods => {
            EgressError::WantsLogin(Vec::new())
        }
        Socks::PasswordAuthFailure(_) => EgressError::LoginRefused(Vec::new()),
        Socks::InvalidAuthValues(_) => {
            EgressError::Secret("SOCKS5 takes 1 to 255 octets each of user and password".into())
        }
        Socks::ConnectionNotAllowedByRuleset => EgressError::Refused {
            target: target.to_owned(),
            code: "not allowed by its rules".to_owned(),
        },
        Socks::GeneralSocksServerFailure => cannot("general failure"),
        Socks::NetworkUnreachable => cannot("network unreachable"),
        Socks::HostUnreachable => cannot("host unreachable"),
        Socks::ConnectionRefused => cannot("connection refused"),
        Socks::TtlExpired => cannot("time to live expired"),
        Socks::AddressTypeNotSupported => cannot("it does not take this kind of address"),
        Socks::InvalidTargetAddress(_) => EgressError::BadTarget(target.to_owned()),
        _ => EgressError::Foreign(ProxyKind::Socks5),
    }
}

#[cfg(test)]
mod tests;
