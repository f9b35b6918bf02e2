//! Providers that are known by name: what a user would otherwise have to look up.
//!
//! Only data. What a key of the file overrides is decided in `check`.

use super::{Endpoint, MaxUpstream, UpstreamTls};

/// What is known about a provider. `{tenant}` in a text stands for the tenant.
#[derive(Debug)]
pub struct Preset {
    /// The name, as in `preset = "…"`.
    pub name: &'static str,
    /// Whether the URLs hold `{tenant}`.
    pub tenants: bool,
    /// The authorization endpoint.
    pub authorize_url: &'static str,
    /// The token endpoint.
    pub token_url: &'static str,
    /// The revocation endpoint, if there is one (RFC 7009).
    pub revoke_url: Option<&'static str>,
    /// The issuer identifier; with a tenant in it, it is known only if the tenant is given by its id.
    pub issuer: &'static str,
    /// The redirect URL in the form that the provider registers for programs on a desktop.
    pub redirect_url: &'static str,
    /// What is asked for when a person signs in.
    pub scopes: &'static [&'static str],
    /// What is asked for when the application signs in by itself, if the provider has that for mail.
    pub app_scopes: Option<&'static [&'static str]>,
    /// Further parameters of the authorization request.
    pub authorize_params: &'static [(&'static str, &'static str)],
    /// The mail servers.
    pub imap: Server,
    /// See [`Preset::imap`].
    pub pop3: Server,
    /// See [`Preset::imap`].
    pub smtp: Server,
    /// How many sessions of one mailbox the provider takes at once, where that is known.
    pub max_upstream: MaxUpstream,
}

/// Host, port and TLS of a mail server.
pub type Server = (&'static str, u16, UpstreamTls);

/// The presets of this version.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "microsoft",
        tenants: true,
        authorize_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
        token_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        revoke_url: None, // Microsoft has none
        issuer: "https://login.microsoftonline.com/{tenant}/v2.0",
        // The port is ignored when this is matched; 127.0.0.1 could be registered only by editing the manifest.
        redirect_url: "http://localhost",
        // All of one resource: a request for two is refused, and the short names without a host mean Graph.
        scopes: &[
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/POP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
            "offline_access",
            "openid",
            "profile",
            "email",
        ],
        app_scopes: Some(&["https://outlook.office365.com/.default"]),
        authorize_params: &[],
        imap: ("outlook.office365.com", 993, UpstreamTls::Implicit),
        pop3: ("outlook.office365.com", 995, UpstreamTls::Implicit),
        smtp: ("smtp.office365.com", 587, UpstreamTls::StartTls),
        // Exchange answers a fourth one with `432 4.3.2`, after which many programs lose the message.
        max_upstream: MaxUpstream {
            imap: None,
            pop3: None,
            smtp: Some(3),
        },
    },
    Preset {
        name: "google",
        tenants: false,
        authorize_url: "https://accounts.google.com/o/oauth2/v2/auth",
        token_url: "https://oauth2.googleapis.com/token",
        revoke_url: Some("https://oauth2.googleapis.com/revoke"),
        issuer: "https://accounts.google.com",
        redirect_url: "http://127.0.0.1",
        // The last two are not for mail: they make the provider say who signed in.
        scopes: &["https://mail.google.com/", "openid", "email"],
        app_scopes: None,
        // Without both, a second consent yields no refresh token.
        authorize_params: &[("access_type", "offline"), ("prompt", "consent")],
        imap: ("imap.gmail.com", 993, UpstreamTls::Implicit),
        pop3: ("pop.gmail.com", 995, UpstreamTls::Implicit),
        smtp: ("smtp.gmail.com", 465, UpstreamTls::Implicit),
        // Gmail answers a sixteenth one with an alert.
        max_upstream: MaxUpstream {
            imap: Some(15),
            pop3: None,
            smtp: None,
        },
    },
];

/// The tenants of Microsoft that mean "whoever comes", with which no application can sign in by itself.
pub const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// The tenant when none is given and a person signs in.
pub const DEFAULT_TENANT: &str = "common";

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The issuer, if it is known exactly: responses are compared with it, so a guess would refuse good ones.
    pub fn issuer(&self, tenant: Option<&str>) -> Option<String> {
        match tenant {
            _ if !self.tenants => Some(self.issuer.to_owned()),
            Some(tenant) if is_guid(tenant) => Some(fill(self.issuer, Some(tenant))),
            _ => None,
        }
    }
}

/// A preset's text with the tenant put in.
pub fn fill(text: &str, tenant: Option<&str>) -> String {
    text.replace("{tenant}", tenant.unwrap_or(DEFAULT_TENANT))
}

/// A preset's server as an endpoint.
pub fn endpoint((host, port, tls): Server) -> Endpoint {
    Endpoint {
        host: host.to_owned(),
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
mod tests {
    use super::*;

    #[test]
    fn every_preset_asks_who_signs_in() {
        for preset in PRESETS {
            for scope in ["openid", "email"] {
                assert!(preset.scopes.contains(&scope), "{}", preset.name);
            }
        }
    }

    #[test]
    fn an_account_has_the_presets_numbers_of_sessions_unless_it_says_others() {
        let numbers = |preset: &str, written: &str| {
            let text = format!(
                "[provider.p]\npreset = '{preset}'\nclient-id = 'x'\nclient-secret = 'y'\n\
                 [[account]]\naddress = 'a@b'\nprovider = 'p'\n{written}"
            );
            let around = crate::config::Surroundings::default();
            let text = format!("state-dir = '/x'\n{text}");
            let config = crate::config::Config::parse_in(&text, "x.toml".as_ref(), &around);
            let MaxUpstream { imap, pop3, smtp } = config.unwrap().accounts[0].max_upstream;
            [imap, pop3, smtp]
        };
        assert_eq!(numbers("microsoft", ""), [None, None, Some(3)]);
        assert_eq!(numbers("google", ""), [Some(15), None, None]);
        let more = "max-upstream = { imap = 20, pop3 = 1 }";
        assert_eq!(numbers("microsoft", more), [Some(20), Some(1), Some(3)]);
        assert_eq!(numbers("google", "max-upstream = 5"), [Some(5); 3]);
    }

    #[test]
    fn an_issuer_is_only_known_for_a_tenant_id() {
        let microsoft = Preset::named("microsoft").unwrap();
        let id = "11111111-2222-3333-4444-55555555abcd";
        assert_eq!(
            microsoft.issuer(Some(id)).unwrap(),
            format!("https://login.microsoftonline.com/{id}/v2.0")
        );
        assert_eq!(microsoft.issuer(Some("contoso.onmicrosoft.com")), None);
        assert_eq!(microsoft.issuer(None), None);
        assert!(Preset::named("google").unwrap().issuer(None).is_some());
        assert!(Preset::named("gogle").is_none());
    }
}
