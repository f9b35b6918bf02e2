//! The configuration, checked: what the rest of the program works with.
//!
//! The file belongs to its human. This module and its children read it; only commands and pages that say so write to it (`change`,
//! `edit`), on request.

mod certificate;
pub mod change;
mod check;
mod credential;
pub mod edit;
pub mod egress;
pub(crate) mod line;
mod load;
mod mask;
pub mod preset;
mod problem;
mod program;
mod roster;
mod secret;
pub mod senders;
mod service_account;
mod shape;
mod sift;
mod surroundings;
mod warning;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::certificate::{CertificateError, ClientCertificate, KeyPair, SigningAlgorithm};
pub use self::check::{LEVEL_HINT, MOST_SESSIONS, is_log_level, webhook_fault};
pub use self::egress::Egress;
pub use self::load::{LoadError, read_text};
pub use self::preset::Preset;
pub use self::preset::guess::{Guess, guess, guess_by_mx};
pub use self::problem::{Problem, Problems};
pub use self::program::{Hidden, Program};
pub use self::roster::{NoSuchAccount, Roster, Template, WHOLE_DOMAIN};
pub use self::secret::{SecretError, SecretSource};
pub use self::senders::Senders;
pub use self::service_account::{ServiceAccount, ServiceAccountError};
pub use self::surroundings::{NotFound, Surroundings, find};
pub use self::warning::warnings;
use crate::protocol::Protocol;

pub(crate) use self::certificate::signing_key;
#[cfg(test)]
pub(crate) use self::certificate::tests as testing;

/// The console's address: loopback, on a port that no mail program looks for.
const DEFAULT_CONSOLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8047);

/// The file in the state directory that holds the vault's key, unless the configuration names another source.
const VAULT_KEY: &str = "vault.key";

/// The redirect URL without a preset: an IP address, since a name could be resolved to something else (RFC 8252 §8.3).
const DEFAULT_REDIRECT_URL: &str = "http://127.0.0.1";

/// The scopes without a preset: who signed in, and a refresh token (OpenID Connect Core §11).
const DEFAULT_SCOPES: [&str; 3] = ["openid", "email", "offline_access"];

/// The log tells of logins and failures; more is for finding errors.
const DEFAULT_LEVEL: &str = "info";

/// A whole configuration that passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; relative paths in it were resolved against its folder.
    pub path: PathBuf,
    /// Where the vault, its key and run-time files live.
    pub state_dir: PathBuf,
    /// Where the key that seals the vault comes from.
    pub vault_key: SecretSource,
    /// The web console; `None` if it is switched off.
    pub console: Option<Console>,
    /// Names and addresses that the certificates of the local CA carry besides those that are known anyway.
    pub ca_names: Vec<CertificateName>,
    /// The registrations at providers, by name.
    pub providers: Vec<Arc<Provider>>,
    /// The local addresses and what they speak.
    pub listeners: Vec<Arc<Listener>>,
    /// The mailboxes, and the domains whose mailboxes are opened as a whole.
    pub roster: Roster,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// How much a stranger may ask of us.
    pub limits: Limits,
    /// How and how much is logged.
    pub log: Log,
    /// How people are told what they have to know.
    pub notify: Notify,
    /// What it was read in: whoever checks a change of the file does so in the same.
    pub around: Surroundings,
}

/// The web console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who reaches it from elsewhere, and how; `None` on loopback.
    pub remote: Option<RemoteConsole>,
}

/// What a console beyond loopback needs. It always has TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConsole {
    /// The networks that may reach it, besides this machine.
    pub allow_from: Vec<IpNet>,
    /// The certificate that browsers are shown; one of the local CA if there is none.
    pub certificate: Option<CertificateFiles>,
}

impl RemoteConsole {
    /// Whether a browser at this address may reach it.
    pub fn allows(&self, source: IpAddr) -> bool {
        source.to_canonical().is_loopback() || holds(&self.allow_from, source)
    }
}

/// One application registration at a provider: how tokens are got, and where mail is.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in the configuration (`[provider.NAME]`).
    pub name: String,
    /// The preset that filled the blanks, if one was named.
    pub preset: Option<String>,
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret, where the registration has one.
    pub client_secret: Option<SecretSource>,
    /// The day on which the client secret ends, as far as the file says.
    pub client_secret_expires: Option<jiff::civil::Date>,
    /// The certificate that stands for the secret, where the registration has one (RFC 7523).
    pub certificate: Option<ClientCertificate>,
    /// Where somebody else's assertion about this program comes from, which stands for the secret (workload identity federation).
    pub assertion: Option<SecretSource>,
    /// The key file of a service account, in JSON.
    pub service_account: Option<SecretSource>,
    /// How tokens are got the first time.
    pub flow: Flow,
    /// The issuer identifier: checked against `iss` in redirects (RFC 9207); the source of missing URLs (RFC 8414).
    pub issuer: Option<String>,
    /// The authorization endpoint (RFC 6749 §3.1).
    pub authorize_url: Option<Url>,
    /// The token endpoint (RFC 6749 §3.2).
    pub token_url: Option<Url>,
    /// The device authorization endpoint (RFC 8628).
    pub device_url: Option<Url>,
    /// The revocation endpoint (RFC 7009).
    pub revoke_url: Option<Url>,
    /// The redirect URL that is sent; its host must be loopback. A port 0 or none means: any free port.
    pub redirect_url: Url,
    /// The scopes asked for.
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request.
    pub authorize_params: Vec<(String, String)>,
    /// Where the provider's mail servers are.
    pub imap: Option<Endpoint>,
    /// See [`Provider::imap`].
    pub pop3: Option<Endpoint>,
    /// See [`Provider::imap`].
    pub smtp: Option<Endpoint>,
    /// Which SASL mechanism to use upstream.
    pub mechanism: MechanismChoice,
    /// Certificates (PEM) trusted besides the system's roots, for this provider's tokens and mail.
    pub ca_file: Option<PathBuf>,
    /// How connections to this provider leave this machine, for tokens and mail.
    pub egress: Egress,
}

impl Provider {
    /// Where this provider speaks `protocol`, if it does.
    pub fn endpoint(&self, protocol: Protocol) -> Option<&Endpoint> {
        match protocol {
            Protocol::Imap => self.imap.as_ref(),
            Protocol::Pop3 => self.pop3.as_ref(),
            Protocol::Smtp => self.smtp.as_ref(),
        }
    }
}

/// How tokens are got the first time (RFC 6749 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// A person signs in with a browser (RFC 6749 §4.1 with RFC 7636).
    AuthorizationCode,
    /// A person signs in on another device (RFC 8628).
    DeviceCode,
    /// A person's password is exchanged for tokens, once (RFC 6749 §4.3).
    Password,
    /// The application signs in by itself (RFC 6749 §4.4).
    ClientCredentials,
    /// The application signs an assertion for each mailbox (RFC 7523 §2.1).
    ServiceAccount,
    /// The machine's own identity in Azure is asked for.
    ManagedIdentity,
}

impl Flow {
    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization-code",
            Self::DeviceCode => "device-code",
            Self::Password => "password",
            Self::ClientCredentials => "client-credentials",
            Self::ServiceAccount => "service-account",
            Self::ManagedIdentity => "managed-identity",
        }
    }

    /// Whether nobody signs in: the application gets its tokens by itself, and no refresh token.
    pub const fn is_unattended(self) -> bool {
        match self {
            Self::AuthorizationCode | Self::DeviceCode | Self::Password => false,
            Self::ClientCredentials | Self::ServiceAccount | Self::ManagedIdentity => true,
        }
    }
}

/// A mail server of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host name, which the certificate must carry.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// When TLS begins; there is no connection without it.
    pub tls: UpstreamTls,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// When TLS begins on the upstream side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamTls {
    /// With the first byte (RFC 8314 §3).
    Implicit,
    /// After STARTTLS or STLS, which must be offered.
    StartTls,
}

/// The choice of the SASL mechanism used upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MechanismChoice {
    /// OAUTHBEARER if the server offers it, else XOAUTH2.
    Auto,
    /// Only XOAUTH2.
    Xoauth2,
    /// Only OAUTHBEARER (RFC 7628).
    Oauthbearer,
}

/// A local address and what is spoken there.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What is spoken.
    pub protocol: Protocol,
    /// Whose mail servers stand behind it.
    pub provider: Arc<Provider>,
    /// Where to bind; all of them, or the start fails.
    pub addresses: Vec<SocketAddr>,
    /// When TLS begins.
    pub tls: LocalTls,
    /// The certificate to show; without one, it is made by the local CA.
    pub certificate: Option<CertificateFiles>,
    /// From where passwords are taken in clear, besides what `tls` allows.
    pub allow_plaintext_from: Vec<IpNet>,
    /// What a mail program hears when the provider cannot be reached or used.
    pub on_unavailable: OnUnavailable,
    /// The proxies whose connections begin with a PROXY protocol header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Who may send without logging in (SMTP).
    pub without_login: Option<WithoutLogin>,
}

impl Listener {
    /// Whether a peer's connections begin with a PROXY protocol header.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        holds(&self.proxy_protocol_from, peer)
    }
}

/// Devices that send mail without logging in, known by their addresses.
#[derive(Clone, Debug)]
pub struct WithoutLogin {
    /// The mailbox that they send as.
    pub account: Arc<Account>,
    /// Their addresses.
    pub from: Vec<IpNet>,
    /// What they may put in MAIL FROM; without it, all that the mail server takes from the mailbox.
    pub senders: Option<Arc<Senders>>,
}

impl WithoutLogin {
    /// Whether whoever connects from `source` is one of them.
    pub fn covers(&self, source: IpAddr) -> bool {
        holds(&self.from, source)
    }
}

fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// When TLS begins on the local side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalTls {
    /// Never.
    #[default]
    None,
    /// After STARTTLS or STLS.
    StartTls,
    /// With the first byte.
    Implicit,
    /// With the first byte if that is TLS, else after STARTTLS or STLS.
    Auto,
}

impl LocalTls {
    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for LocalTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A certificate with its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by those that lead to its authority.
    pub chain: PathBuf,
    /// The private key; it may be the same file.
    pub key: PathBuf,
}

/// What a certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateName {
    /// A host name, in lower case.
    Host(String),
    /// An address.
    Address(IpAddr),
}

impl CertificateName {
    /// Reads an address or a host name; a name with wildcards is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_label = |label: &str| {
            let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(is_part) && !label.starts_with('-')
        };
        match text.parse::<IpAddr>() {
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => (text.len() <= 253 && text.split('.').all(is_label))
                .then(|| Self::Host(text.to_ascii_lowercase())),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// What a mail program hears when a login cannot be completed for reasons that are not its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnavailable {
    /// The protocol's temporary refusal.
    #[default]
    Reply,
    /// A closed connection, for programs that take every refusal for a wrong password.
    Close,
}

/// A mailbox.
#[derive(Clone, Debug)]
pub struct Account {
    /// The mailbox address; the account's name everywhere.
    pub address: String,
    /// The registration that opens it.
    pub provider: Arc<Provider>,
    /// The names that mail programs may log in with; ASCII case is ignored.
    pub logins: Vec<String>,
    /// The SASL user sent upstream, per protocol.
    pub identity: Identity,
    /// Who signs in at the provider, if not the mailbox itself.
    pub authorize_as: Option<String>,
    /// How many sessions it may have with its provider.
    pub max_upstream: MaxUpstream,
    /// Password hashes (PHC strings) of the configuration; more are in the vault.
    pub password_hashes: Vec<String>,
}

/// Sessions of one account with its provider at once; none stands for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxUpstream {
    /// Over IMAP.
    pub imap: Option<usize>,
    /// Over POP3.
    pub pop3: Option<usize>,
    /// Over SMTP.
    pub smtp: Option<usize>,
}

impl MaxUpstream {
    /// The number for `protocol`.
    pub fn of(&self, protocol: Protocol) -> Option<usize> {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
            Protocol::Smtp => self.smtp,
        }
    }
}

/// The SASL user sent upstream, per protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// For IMAP.
    pub imap: String,
    /// For POP3.
    pub pop3: String,
    /// For SMTP.
    pub smtp: String,
}

impl Identity {
    /// The same for every protocol.
    pub fn all(name: &str) -> Self {
        Self {
            imap: name.to_owned(),
            pop3: name.to_owned(),
            smtp: name.to_owned(),
        }
    }

    /// The SASL user for `protocol`.
    pub fn of(&self, protocol: Protocol) -> &str {
        match protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
            Protocol::Smtp => &self.smtp,
        }
    }
}

/// How long each stage may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept until credentials are accepted, in all.
    pub before_login: Duration,
    /// A TLS handshake with a mail program.
    pub tls: Duration,
    /// One TCP connect and TLS handshake to one address.
    pub connect: Duration,
    /// All addresses of a host together.
    pub connect_total: Duration,
    /// Greeting to success on the upstream side.
    pub upstream_login: Duration,
    /// One request to the token endpoint.
    pub token: Duration,
    /// What sessions get to finish after TERM.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            before_login: Duration::from_secs(3 * 60), // a person types a password; RFC 3501 asks for 30 minutes only after login
            tls: Duration::from_secs(10),              // slow devices need seconds for it
            connect: Duration::from_secs(10), // one lost SYN is sent again after 1, 3 and 7 seconds
            connect_total: Duration::from_secs(30), // three addresses, before a mail program gives up
            upstream_login: Duration::from_secs(60), // providers delay the answer to logins that they suspect
            token: Duration::from_secs(10), // token endpoints answer within one second or not at all
            drain: Duration::from_secs(10), // well below the 90 s after which systemd kills
        }
    }
}

/// How much a stranger may ask of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one source, if that is limited.
    pub sessions_per_source: Option<usize>,
    /// Sessions of one account over all protocols, if that is limited.
    pub sessions_per_account: Option<usize>,
    /// Connections that have not logged in.
    pub before_login: usize,
    /// Connections that have not logged in, per source address.
    pub before_login_per_source: usize,
    /// Failed logins per connection.
    pub failed_logins: usize,
    /// Failed logins per source and login name, each minute.
    pub failed_logins_per_minute: usize,
    /// Octets of a line before login.
    pub line_before_login: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000, // two descriptors each; what a small server is asked for at most
            sessions_per_source: None, // all of them may come through one address
            sessions_per_account: None, // the provider has its own idea of that
            before_login: 256, // each may cost a password hash of 19 MiB
            before_login_per_source: 64, // a mail program opens up to ten at once, and several share an address
            failed_logins: 3,            // a person mistypes twice
            failed_logins_per_minute: 10, // hopeless for a guesser, and never reached by a person
            line_before_login: 8192,     // RFC 7162 §4 for IMAP; the others need less
        }
    }
}

/// How people are told what they have to know; the log has it in any case.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// A program that reads a JSON object on its standard input.
    pub command: Option<Program>,
    /// Where the same object is sent by HTTP POST.
    pub webhook: Option<SecretSource>,
    /// The way out for the webhook, which is the environment's.
    pub egress: Egress,
}

/// How and how much is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter in the syntax of `tracing_subscriber::EnvFilter`; usually one word.
    pub level: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}
