//! What the file says: servers, accounts with what they inherit, and switches. What it means for us is decided elsewhere.

use std::net::IpAddr;

use super::super::ini::{Entry, Ini, Section};
use crate::config::UpstreamTls;
use crate::protocol::Protocol;

/// The sections that hold text for people, and the switches.
pub const TEXT_SECTIONS: [&str; 4] = [
    "Email OAuth 2.0 Proxy configuration file",
    "Server setup",
    "Account setup",
    "Advanced proxy configuration",
];

/// The section of the switches.
pub const SWITCHES: &str = "emailproxy";

/// The whole file.
pub struct Source {
    pub servers: Vec<Server>,
    pub accounts: Vec<Account>,
    /// Whether sections such as `[@example.com]` stand for whole domains.
    pub has_catch_all: bool,
}

/// `[IMAP-1993]`
pub struct Server {
    pub section: String,
    pub line: usize,
    pub protocol: Protocol,
    pub port: u16,
    pub address: LocalAddress,
    pub tls: Option<LocalTls>,
    pub host: String,
    pub upstream_port: u16,
    pub upstream_tls: UpstreamTls,
}

/// Where mail programs connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// Nothing was said, which means different things in different releases: both loopback addresses, and a word about it.
    Unsaid,
    /// A name for this machine: both loopback addresses.
    Loopback,
    /// An address.
    Ip(IpAddr),
    /// Another name.
    Name(String),
}

/// TLS for mail programs.
pub struct LocalTls {
    pub is_starttls: bool,
    pub certificate: String,
    pub key: String,
}

/// `[alice@example.com]`, or `[@example.com]`
pub struct Account {
    pub section: String,
    pub settings: Settings,
}

/// How an account's tokens are got, with what it inherits from the sections for its domain and for all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub permission_url: Option<String>,
    pub token_url: Option<String>,
    pub scope: Option<String>,
    pub redirect_uri: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub is_secret_sealed: bool,
    pub is_secret_the_password: bool,
    pub flow: Option<String>,
    pub resource: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

impl Source {
    pub fn read(ini: &Ini) -> Self {
        let switch = |key: &str| {
            let switches = ini.section(SWITCHES);
            switches
                .and_then(|section| section.entry(key))
                .is_some_and(is_true)
        };
        let has_catch_all = switch("allow_catch_all_accounts");
        let is_password = switch("use_login_password_as_client_credentials_secret");
        let accounts = ini.sections.iter().filter(|section| {
            is_account(&section.name) && (has_catch_all || !section.name.starts_with('@'))
        });
        Self {
            servers: ini
                .sections
                .iter()
                .filter_map(|section| server(ini, section))
                .collect(),
            accounts: accounts
                .map(|section| Account {
                    section: section.name.clone(),
                    settings: settings(ini, section, has_catch_all, is_password),
                })
                .collect(),
            has_catch_all,
        }
    }
}

impl Server {
    /// Whether others can reach it, and passwords crossed the network in clear.
    pub fn is_open(&self) -> bool {
        let is_for_others = matches!(&self.address, LocalAddress::Ip(ip) if !ip.is_loopback());
        is_for_others && self.tls.is_none()
    }
}

impl Account {
    /// Whether it stands for a whole domain, or for all.
    pub fn is_catch_all(&self) -> bool {
        self.section.starts_with('@')
    }

    /// Whether it can stand for mailboxes here, too: for its own one, or for those of one domain, where nobody has to sign in for each.
    pub fn is_kept(&self) -> bool {
        let is_domain = |domain: &str| {
            let is_odd = |c: char| c.is_whitespace() || c.is_control() || "@*".contains(c);
            !domain.is_empty() && !domain.contains(is_odd)
        };
        match self.section.strip_prefix('@') {
            None => true,
            Some(domain) => is_domain(domain) && self.settings.flow().is_unattended(),
        }
    }
}

/// Whether a section is an account's.
pub fn is_account(name: &str) -> bool {
    name.contains('@')
}

/// `[IMAP-1993]`: protocol and port.
pub fn server_name(name: &str) -> Option<(Protocol, u16)> {
    let (word, rest) = name.split_once('-')?;
    let protocol = match word {
        "IMAP" => Protocol::Imap,
        "POP" => Protocol::Pop3,
        "SMTP" => Protocol::Smtp,
        _ => return None,
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let port = rest[..digits].parse().ok().filter(|port| *port != 0)?;
    Some((protocol, port))
}

/// A server, if the section is a whole one.
fn server(ini: &Ini, section: &Section) -> Option<Server> {
    let (protocol, port) = server_name(&section.name)?;
    let text = |key: &str| filled(ini, section, key);
    let is_on = |key: &str| lookup(ini, section, key).is_some_and(is_true);
    let tls = match (text("local_certificate_path"), text("local_key_path")) {
        (Some(certificate), Some(key)) => Some(LocalTls {
            is_starttls: is_on("local_starttls"),
            certificate,
            key,
        }),
        _ => None,
    };
    Some(Server {
        section: section.name.clone(),
        line: section.line,
        protocol,
        port,
        address: local_address(text("local_address")),
        tls,
        host: text("server_address")?,
        upstream_port: text("server_port")?
            .parse()
            .ok()
            .filter(|port| *port != 0)?,
        // The first of these is the newer name.
        upstream_tls: match is_on("server_starttls") || is_on("starttls") {
            true => UpstreamTls::StartTls,
            false => UpstreamTls::Implicit,
        },
    })
}

fn local_address(text: Option<String>) -> LocalAddress {
    match text {
        None => LocalAddress::Unsaid,
        Some(name) if name.eq_ignore_ascii_case("localhost") => LocalAddress::Loopback,
        Some(text) => match text.trim_matches(['[', ']']).parse() {
            Ok(address) => LocalAddress::Ip(address),
            Err(_) => LocalAddress::Name(text),
        },
    }
}

fn settings(ini: &Ini, own: &Section, has_catch_all: bool, is_password: bool) -> Settings {
    let domain = own
        .name
        .rsplit_once('@')
        .map(|(_, domain)| format!("@{domain}"));
    let heirs = [domain.as_deref(), Some("@")].into_iter().flatten();
    let above = heirs
        .filter(|_| has_catch_all)
        .filter_map(|name| ini.section(name));
    let chain: Vec<_> = std::iter::once(own).chain(above).collect();
    let text = |key: &str| {
        let mut found = chain.iter().filter_map(|section| section.entry(key));
        found.find_map(value).or_else(|| filled(ini, own, key))
    };
    let flow = text("oauth2_flow");
    Settings {
        permission_url: text("permission_url"),
        token_url: text("token_url"),
        scope: text("oauth2_scope"),
        redirect_uri: text("redirect_uri"),
        client_id: text("client_id"),
        client_secret: text("client_secret"),
        is_secret_sealed: text("client_secret_encrypted").is_some(),
        is_secret_the_password: is_password && flow.as_deref() == Some("client_credentials"),
        flow,
        resource: text("oauth2_resource"),
        certificate: text("jwt_certificate_path"),
        key: text("jwt_key_path"),
    }
}

/// A key of a section, or what stands for all sections.
fn lookup<'i>(ini: &'i Ini, section: &'i Section, key: &str) -> Option<&'i Entry> {
    let default = || ini.default_section().and_then(|default| default.entry(key));
    section.entry(key).or_else(default)
}

fn filled(ini: &Ini, section: &Section, key: &str) -> Option<String> {
    lookup(ini, section, key).and_then(value)
}

fn value(entry: &Entry) -> Option<String> {
    (!entry.value.is_empty()).then(|| entry.value.clone())
}

/// What Python takes for true.
pub fn is_true(entry: &Entry) -> bool {
    let word = entry.value.to_ascii_lowercase();
    matches!(word.as_str(), "1" | "yes" | "true" | "on")
}
