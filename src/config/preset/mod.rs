//! Providers that are known by name: what a user would otherwise have to look up.
//!
//! Only data: the table is in `table`, what an address says about its provider in [`guess`]. What a key of the file overrides is
//! decided in `check`.

pub mod guess;
mod table;

pub use self::table::PRESETS;
use super::{Endpoint, Flow, MaxUpstream, MechanismChoice, UpstreamTls};
use crate::protocol::Protocol;
use url::Url;

/// What is known about a provider. `{tenant}` and `{region}` in a text stand for the tenant and the region.
#[derive(Debug)]
pub struct Preset {
    /// The name, as in `preset = "…"`.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// Which tenants there are.
    pub tenants: Tenants,
    /// The regions, of which each has its own hosts; the first is the default. Empty: there is one for all.
    pub regions: &'static [&'static str],
    /// How a registration is had.
    pub registration: Registration,
    /// Whether the registration has a secret that the token endpoint wants.
    pub secret: Secret,
    /// The authorization endpoint.
    pub authorize_url: &'static str,
    /// The token endpoint.
    pub token_url: &'static str,
    /// The device authorization endpoint, if it gives tokens for mail (RFC 8628).
    pub device_url: Option<&'static str>,
    /// The revocation endpoint, if there is one (RFC 7009).
    pub revoke_url: Option<&'static str>,
    /// The issuer identifier; with a tenant in it, it is known only if the tenant is given by its id.
    pub issuer: Option<&'static str>,
    /// The redirect URL in the form that the provider registers for programs on a desktop.
    pub redirect_url: &'static str,
    /// What is asked for when a person signs in.
    pub scopes: &'static [&'static str],
    /// What is asked for when the application signs in by itself, if the provider has that for mail.
    pub app_scopes: Option<&'static [&'static str]>,
    /// What a service account asks for, if the provider has them for mail.
    pub service_scopes: Option<&'static [&'static str]>,
    /// The service that scopes are of, by the host in them, where others would give tokens that its mail servers refuse.
    pub audience: &'static [&'static str],
    /// Further parameters of the authorization request.
    pub authorize_params: &'static [(&'static str, &'static str)],
    /// The mail servers that take tokens.
    pub imap: Option<Server>,
    /// See [`Preset::imap`].
    pub pop3: Option<Server>,
    /// See [`Preset::imap`].
    pub smtp: Option<Server>,
    /// How many sessions of one mailbox the provider takes at once, where that is known.
    pub max_upstream: MaxUpstream,
    /// The mechanism, where the servers' own lists must not decide.
    pub mechanism: MechanismChoice,
}

/// Host, port and TLS of a mail server.
pub type Server = (&'static str, u16, UpstreamTls);

/// Which tenants a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// None.
    None,
    /// One for each organisation; without `tenant`, everybody's.
    Own,
    /// Only this one.
    Only(&'static str),
}

/// How a registration is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// In a console, by oneself.
    Open,
    /// Only from the provider: in these words.
    OnRequest(&'static str),
}

/// What a registration for a program on a desktop has to do with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// It has one, which the token endpoint wants.
    Wanted,
    /// It has none, and must not send one.
    Refused,
    /// It depends on the registration.
    Possible,
}

/// The tenants of Microsoft that mean "whoever comes", with which no application can sign in by itself.
pub const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// The tenant when none is given and a person signs in.
pub const DEFAULT_TENANT: &str = "common";

/// Names that people write for a preset.
const OTHER_NAMES: [(&str, &str); 16] = [
    ("microsoft365", "microsoft"),
    ("office365", "microsoft"),
    ("m365", "microsoft"),
    ("entra", "microsoft"),
    ("outlook", "microsoft-personal"),
    ("hotmail", "microsoft-personal"),
    ("live", "microsoft-personal"),
    ("microsoft-gov", "microsoft-gcc-high"),
    ("microsoft-us", "microsoft-gcc-high"),
    ("21vianet", "microsoft-china"),
    ("microsoft-21vianet", "microsoft-china"),
    ("gmail", "google"),
    ("workspace", "google"),
    ("google-workspace", "google"),
    ("xfinity", "comcast"),
    ("mail.ru", "mailru"),
];

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The name of the preset that somebody means with a name that is none.
    pub fn meant_by(name: &str) -> Option<&'static str> {
        let name = name.to_ascii_lowercase();
        let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
        other.map(|(_, name)| *name)
    }

    /// Whether it is one of Microsoft's clouds.
    pub fn is_microsoft(&self) -> bool {
        self.tenants != Tenants::None
    }

    /// Whether it has this flow for mail, as far as is known.
    pub fn has_flow(&self, flow: Flow) -> bool {
        match flow {
            Flow::AuthorizationCode => true,
            Flow::DeviceCode => self.device_url.is_some(),
            Flow::ClientCredentials | Flow::ManagedIdentity => self.app_scopes.is_some(),
            Flow::ServiceAccount => self.service_scopes.is_some(),
            // The one provider that still has it; personal accounts are refused there.
            Flow::Password => self.is_microsoft() && self.app_scopes.is_some(),
        }
    }

    /// Its mail server for a protocol.
    pub fn server(&self, protocol: Protocol) -> Option<Server> {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
            Protocol::Smtp => self.smtp,
        }
    }

    /// The tenant that its texts are filled with.
    pub fn tenant<'t>(&self, given: Option<&'t str>) -> &'t str {
        match self.tenants {
            Tenants::Only(tenant) => tenant,
            Tenants::Own | Tenants::None => given.unwrap_or(DEFAULT_TENANT),
        }
    }

    /// The region that its texts are filled with.
    pub fn region<'t>(&self, given: Option<&'t str>) -> &'t str {
        given.unwrap_or_else(|| self.regions.first().copied().unwrap_or_default())
    }

    /// The issuer, if it is known exactly: responses are compared with it, so a guess would refuse good ones.
    pub fn issuer(&self, tenant: Option<&str>) -> Option<String> {
        let issuer = self.issuer?;
        match tenant {
            _ if !self.is_microsoft() => Some(issuer.to_owned()),
            Some(tenant) if is_guid(tenant) => Some(issuer.replace("{tenant}", tenant)),
            _ => None,
        }
    }
}

/// Whether a tenant of Microsoft is one of those for everybody.
pub fn is_shared_tenant(tenant: &str) -> bool {
    SHARED_TENANTS
        .iter()
        .any(|shared| tenant.eq_ignore_ascii_case(shared))
}

/// Whether a token URL of Microsoft is the one for all tenants.
pub fn is_shared_url(url: &Url) -> bool {
    let hosts = [
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
    ];
    let tenant = url.path_segments().and_then(|mut segments| segments.next());
    url.host_str().is_some_and(|host| hosts.contains(&host)) && tenant.is_some_and(is_shared_tenant)
}

/// A preset's server as an endpoint in a region.
pub fn endpoint((host, port, tls): Server, region: &str) -> Endpoint {
    Endpoint {
        host: host.replace("{region}", region),
        port,
        tls,
    }
}

/// Whether a text has the form of a GUID (8-4-4-4-12 hexadecimal digits).
pub fn is_guid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
