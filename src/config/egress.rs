//! The way out: through which proxy, if any, connections to a provider leave this machine.
//!
//! What the file says is done. Where it says nothing, the environment is read as curl reads it: tokens follow `HTTPS_PROXY`, else
//! `ALL_PROXY`; mail follows `ALL_PROXY` alone, because most proxies that are meant for HTTPS refuse its ports. Nothing here
//! connects; that is `crate::egress`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{Provider, SecretSource};

/// The port of a SOCKS proxy that is named without one, as everywhere. HTTP proxies have no such port that all agree upon.
const SOCKS_PORT: u16 = 1080;
/// Octets of a user name or password that fit into the message of RFC 1929 §2.
const MOST_SOCKS: usize = 255;

/// How connections of one provider leave this machine.
#[derive(Clone, Debug, Default)]
pub enum Egress {
    /// Directly: `egress = "none"`.
    #[default]
    Direct,
    /// Through this one, whatever the host: `egress = "http://…"` and its like.
    Proxy(Arc<Proxy>),
    /// As the environment says, host by host: `egress` is not written.
    Environment(Arc<Environment>),
}

/// What is spoken with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP CONNECT (RFC 9110 §9.3.6).
    Http,
    /// SOCKS5 (RFC 1928); the proxy resolves names.
    Socks5,
}

/// A proxy, and who says so.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What is spoken with it.
    pub kind: ProxyKind,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Who we are to it.
    pub login: Option<ProxyLogin>,
    /// Where it is written.
    pub origin: Origin,
}

/// A user of a proxy.
#[derive(Clone, Debug)]
pub struct ProxyLogin {
    /// The user's name.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<SecretSource>,
}

/// Where a proxy is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `egress` in the configuration.
    File,
    /// This variable of the environment.
    Variable(String),
}

impl fmt::Display for Proxy {
    /// As a person would write it, without its user and password, and with the place where it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{} (", authority(&self.host, self.port))?;
        match &self.origin {
            Origin::File => write!(f, "egress)"),
            Origin::Variable(name) => write!(f, "${name})"),
        }
    }
}

/// A host and a port as they stand in URLs and in CONNECT: IPv6 addresses in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

impl Egress {
    /// The proxy for a mail server.
    pub fn for_mail(&self, host: &str) -> Option<&Arc<Proxy>> {
        match self {
            Self::Direct => None,
            Self::Proxy(proxy) => Some(proxy),
            Self::Environment(environment) => environment.for_mail(host),
        }
    }

    /// The proxy for an https endpoint of OAuth.
    pub fn for_tokens(&self, host: &str) -> Option<&Arc<Proxy>> {
        match self {
            Self::Direct => None,
            Self::Proxy(proxy) => Some(proxy),
            Self::Environment(environment) => environment.for_tokens(host),
        }
    }

    /// A proxy that tokens could take while mail to `host` goes directly: whoever cannot reach `host` may have meant it for mail, too.
    pub fn for_tokens_only(&self, host: &str) -> Option<&Arc<Proxy>> {
        match self.for_mail(host) {
            None => self.for_tokens(host),
            Some(_) => None,
        }
    }
}

impl Provider {
    /// Which way tokens and mail leave this machine, in words; `None` if no proxy has a part in it.
    pub fn way_out(&self) -> Option<String> {
        let way = |proxy: Option<&Arc<Proxy>>| match proxy {
            Some(proxy) => format!("through the proxy {proxy}"),
            None => "directly".to_owned(),
        };
        let tokens = self.token_host();
        let tokens = tokens.map(|host| way(self.egress.for_tokens(&host)));
        let servers = [&self.imap, &self.pop3, &self.smtp].into_iter().flatten();
        let each = |host: &str| (host.to_owned(), way(self.egress.for_mail(host)));
        let mail: Vec<_> = servers.map(|server| each(&server.host)).collect();
        let mut ways = tokens.iter().chain(mail.iter().map(|(_, way)| way));
        if ways.all(|way| way == "directly") {
            return None;
        }
        Some(match (tokens, mail_way(mail)) {
            (Some(tokens), mail) if mail == format!("mail goes {tokens}") => {
                format!("tokens and mail go {tokens}")
            }
            (Some(tokens), mail) => format!("tokens go {tokens}, {mail}"),
            (None, mail) => mail,
        })
    }

    /// The host of the token endpoint, as far as it is known without asking; none if it is on this machine and in clear.
    fn token_host(&self) -> Option<String> {
        let issuer = || Url::parse(self.issuer.as_deref()?).ok();
        let url = self.token_url.clone().or_else(issuer)?;
        let host = url.host_str().filter(|_| url.scheme() == "https")?;
        Some(host.to_owned())
    }
}

/// The way of mail, host by host where hosts differ.
fn mail_way(mut mail: Vec<(String, String)>) -> String {
    match mail.first().cloned() {
        Some((_, way)) if mail.iter().all(|(_, other)| *other == way) => format!("mail goes {way}"),
        _ => {
            mail.dedup();
            let each = mail.iter().map(|(host, way)| format!("{host} goes {way}"));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// What the environment says about proxies.
#[derive(Debug, Default)]
pub struct Environment {
    all: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    /// Set if there is a `NO_PROXY`.
    direct: Option<Matcher>,
    faults: Vec<String>,
}

impl Environment {
    /// That of a process whose variables `get` knows. Lower case comes first, as with curl; an empty variable counts as absent.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let named = |name: &str| {
            let names = [name.to_owned(), name.to_uppercase()];
            let set = names.map(|name| get(&name).map(|value| (name, value)));
            set.into_iter()
                .flatten()
                .find(|(_, value)| !value.trim().is_empty())
        };
        let mut faults = Vec::new();
        let mut proxy = |(name, value): (String, String)| {
            let value = SecretString::from(value);
            match parse(&value, Origin::Variable(name.clone())) {
                Ok(proxy) => Some(Arc::new(proxy)),
                Err(fault) => {
                    faults.push(format!("the proxy in ${name} cannot be used: it {fault}"));
                    None
                }
            }
        };
        let all = named("all_proxy").and_then(&mut proxy);
        let https = named("https_proxy").and_then(&mut proxy);
        Self {
            all,
            https,
            direct: named("no_proxy").map(|(_, hosts)| exceptions(&hosts)),
            faults,
        }
    }

    /// What is wrong with it, in words.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn for_mail(&self, host: &str) -> Option<&Arc<Proxy>> {
        self.all.as_ref().filter(|_| !self.is_direct(host))
    }

    fn for_tokens(&self, host: &str) -> Option<&Arc<Proxy>> {
        let proxy = self.https.as_ref().or(self.all.as_ref());
        proxy.filter(|_| !self.is_direct(host))
    }

    /// This machine is never reached by way of another, and `NO_PROXY` names what else is not.
    fn is_direct(&self, host: &str) -> bool {
        let Some(exceptions) = &self.direct else {
            return is_this_machine(host);
        };
        let url = format!("https://{}/", authority(bare(host), 443)).parse();
        is_this_machine(host) || url.is_ok_and(|url| exceptions.intercept(&url).is_none())
    }
}

/// A matcher that lets everything pass but what `NO_PROXY` names. curl takes spaces between hosts, too.
fn exceptions(hosts: &str) -> Matcher {
    let hosts: Vec<_> = hosts.split_whitespace().collect();
    Matcher::builder()
        .https("http://proxy")
        .no(hosts.join(","))
        .build()
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_this_machine(host: &str) -> bool {
    let host = bare(host).trim_end_matches('.');
    let name = host.to_ascii_lowercase();
    let address = |address: IpAddr| address.to_canonical().is_loopback();
    name == "localhost" || name.ends_with(".localhost") || host.parse().is_ok_and(address)
}

/// Reads `http://user:password@host:port` or `socks5://…`; without a scheme it is `http://`.
///
/// # Errors
/// What is wrong, to follow "it": none of the text is in it.
pub(super) fn parse(text: &SecretString, origin: Origin) -> Result<Proxy, String> {
    let text = text.expose_secret().trim();
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&with_scheme).map_err(|error| format!("is not a URL: {error}"))?;
    let kind = kind(url.scheme())?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "has a path; write the proxy itself, not the address of a PAC file or a page".into(),
        );
    }
    let host = match url.host() {
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(name)) if is_plain(name) => name.to_owned(),
        _ => return Err("has no host name that could be resolved".into()),
    };
    let proxy = Proxy {
        kind,
        host,
        port: port(&url, &with_scheme, kind)?,
        login: login(&url)?,
        origin,
    };
    match proxy.login.as_ref().and_then(|login| login.fault(kind)) {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(proxy),
    }
}

fn kind(scheme: &str) -> Result<ProxyKind, String> {
    match scheme {
        "http" => Ok(ProxyKind::Http),
        // curl's socks5h is what we always do: the proxy resolves names.
        "socks5" | "socks5h" => Ok(ProxyKind::Socks5),
        "https" => Err(
            "begins with https://, and this version does not speak TLS with the proxy itself; use http:// if the proxy takes that, too: \
             what goes through it is encrypted from end to end anyway"
                .into(),
        ),
        _ => Err("must begin with http:// or socks5://".into()),
    }
}

fn is_plain(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

/// The port as it is written: `Url` hides the 80 of `http://proxy:80`.
fn port(url: &Url, text: &str, kind: ProxyKind) -> Result<u16, String> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let is_written = |(_, port): (&str, &str)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let written = authority.rsplit_once(':').is_some_and(is_written);
    match (url.port_or_known_default(), kind) {
        (Some(port), _) if written && port > 0 => Ok(port),
        (_, ProxyKind::Socks5) if !written => Ok(SOCKS_PORT),
        _ => Err("has no port; write it, as in http://proxy.example:3128".into()),
    }
}

fn login(url: &Url) -> Result<Option<ProxyLogin>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |part: &str| {
        let text = percent_decode_str(part).decode_utf8();
        text.map(String::from)
            .map_err(|_| "has a user name or password that is not UTF-8".to_owned())
    };
    let password = url.password().map(decoded).transpose()?;
    let password = password.filter(|password| !password.is_empty());
    Ok(Some(ProxyLogin {
        user: decoded(url.username())?,
        password: password.map(|password| SecretSource::Inline(password.into())),
    }))
}

impl ProxyLogin {
    /// What the protocol of the proxy cannot carry.
    pub(super) fn fault(&self, kind: ProxyKind) -> Option<&'static str> {
        let inline = match &self.password {
            Some(SecretSource::Inline(password)) => password.expose_secret(),
            _ => "",
        };
        let is_controlled = |text: &str| text.chars().any(char::is_control);
        match kind {
            _ if self.user.is_empty() => Some("has a password, but no user name"),
            _ if is_controlled(&self.user) || is_controlled(inline) => {
                Some("has control characters in its user name or password")
            }
            // RFC 7617 §2.
            ProxyKind::Http if self.user.contains(':') => {
                Some("has a user name with a colon, which HTTP cannot carry")
            }
            ProxyKind::Socks5 if self.user.len() > MOST_SOCKS || inline.len() > MOST_SOCKS => {
                Some("has a user name or password that is longer than the 255 octets of SOCKS5")
            }
            ProxyKind::Socks5 if self.password.is_none() => {
                Some("has a user name, but no password, which SOCKS5 cannot carry")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
