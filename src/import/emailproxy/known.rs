//! Which preset gives the URLs of the source, and whose its hosts are.

use super::source::Server;
use crate::config::preset::{DEFAULT_TENANT, PRESETS, Preset, Tenants, endpoint};
use crate::protocol::Protocol;

/// Whose servers and endpoints these are: servers and endpoints of one site belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// One with presets.
    Known(&'static str),
    /// Whoever has this domain.
    Other(String),
}

/// The domains of sites with presets. A test holds them to the table of presets.
#[rustfmt::skip]
const SITES: &[(&str, &str)] = &[
    ("login.microsoftonline.com", "microsoft"),
    ("login.windows.net", "microsoft"),
    ("login.live.com", "microsoft"),
    ("office365.com", "microsoft"),
    ("office.com", "microsoft"),
    ("outlook.com", "microsoft"),
    ("hotmail.com", "microsoft"),
    ("live.com", "microsoft"),
    ("login.microsoftonline.us", "microsoft-us"),
    ("office365.us", "microsoft-us"),
    ("partner.outlook.cn", "microsoft-china"),
    ("partner.microsoftonline.cn", "microsoft-china"),
    ("office365.cn", "microsoft-china"),
    ("gmail.com", "google"),
    ("googlemail.com", "google"),
    ("google.com", "google"),
    ("googleapis.com", "google"),
    ("yahoo.com", "yahoo"),
    ("att.net", "yahoo"),
    ("aol.com", "aol"),
    ("fastmail.com", "fastmail"),
    ("xfinity.com", "comcast"),
    ("comcast.net", "comcast"),
    ("yandex.com", "yandex"),
    ("yandex.ru", "yandex"),
    ("mail.ru", "mailru"),
    ("zoho.com", "zoho"),
    ("zoho.eu", "zoho"),
    ("zoho.in", "zoho"),
    ("zoho.com.au", "zoho"),
    ("zoho.jp", "zoho"),
    ("zoho.com.cn", "zoho"),
    ("seznam.cz", "seznam"),
];

/// URLs of presets that are older, or written otherwise, and still the same.
const SAME: [(&str, &str); 4] = [
    (
        "https://accounts.google.com/o/oauth2/auth",
        "https://accounts.google.com/o/oauth2/v2/auth",
    ),
    (
        "https://accounts.google.com/o/oauth2/token",
        "https://oauth2.googleapis.com/token",
    ),
    (
        "https://www.googleapis.com/oauth2/v3/token",
        "https://oauth2.googleapis.com/token",
    ),
    (
        "https://www.googleapis.com/oauth2/v4/token",
        "https://oauth2.googleapis.com/token",
    ),
];

/// A preset with what has to be said beside it, so that it gives the very URLs of the source.
#[derive(Clone, Copy)]
pub struct Fit<'u> {
    pub preset: &'static Preset,
    /// For presets that have tenants.
    pub tenant: Option<&'u str>,
    /// For presets that have regions.
    pub region: Option<&'static str>,
}

impl<'u> Fit<'u> {
    /// The preset for these URLs. Where several have them, the scopes decide, else the first one is it.
    pub fn of(permission: Option<&'u str>, token: &'u str, scopes: &str) -> Option<Self> {
        let mut fits = PRESETS
            .iter()
            .filter_map(|preset| Self::with(preset, permission, token));
        let first = fits.next()?;
        let is_meant = |fit: &Self| fit.preset.audience.iter().any(|host| scopes.contains(host));
        match is_meant(&first) {
            true => Some(first),
            false => Some(fits.find(is_meant).unwrap_or(first)),
        }
    }

    fn with(preset: &'static Preset, permission: Option<&'u str>, token: &'u str) -> Option<Self> {
        regions(preset).find_map(|region| {
            let tenant = tenant_in(preset.token_url, region, token)?;
            let same = |template: &str, url: &'u str| {
                tenant_in(template, region, url).is_some_and(|other| {
                    other.map(str::to_ascii_lowercase) == tenant.map(str::to_ascii_lowercase)
                })
            };
            let is_permission = |url: &'u str| {
                let device = preset.device_url;
                same(preset.authorize_url, url) || device.is_some_and(|device| same(device, url))
            };
            let is_tenant = match (preset.tenants, tenant) {
                (Tenants::Only(only), Some(tenant)) => tenant.eq_ignore_ascii_case(only),
                // Personal mailboxes have a preset of their own.
                (Tenants::Own, Some(tenant)) => !tenant.eq_ignore_ascii_case("consumers"),
                _ => true,
            };
            (is_tenant && permission.is_none_or(is_permission)).then_some(Self {
                preset,
                tenant: tenant.filter(|_| preset.tenants == Tenants::Own),
                region: preset.regions.contains(&region).then_some(region),
            })
        })
    }

    /// The preset that has this server, or whose site it belongs to.
    pub fn at(server: &Server) -> Option<Self> {
        let fits = || {
            PRESETS.iter().flat_map(|preset| {
                regions(preset).map(move |region| Self {
                    preset,
                    tenant: None,
                    region: preset.regions.contains(&region).then_some(region),
                })
            })
        };
        let is_near = |fit: &Self| {
            let own = Protocol::ALL.into_iter().find_map(|p| fit.preset.server(p));
            let host = own.map(|own| endpoint(own, fit.preset.region(fit.region)).host);
            host.is_some_and(|host| Site::of(&host) == Site::of(&server.host))
        };
        fits()
            .find(|fit| fit.is_usual(server))
            .or_else(|| fits().find(is_near))
    }

    /// Whether the preset has exactly this server.
    pub fn is_usual(&self, server: &Server) -> bool {
        let own = self.preset.server(server.protocol);
        own.is_some_and(|own| {
            let own = endpoint(own, self.preset.region(self.region));
            own.host.eq_ignore_ascii_case(&server.host)
                && (own.port, own.tls) == (server.upstream_port, server.upstream_tls)
        })
    }

    /// The lines for it, but for what is so by default.
    pub fn lines(&self) -> Vec<(&'static str, &'u str)> {
        let tenant = self.tenant.filter(|tenant| *tenant != DEFAULT_TENANT);
        let region = self
            .region
            .filter(|region| *region != self.preset.region(None));
        let lines = [
            ("preset", Some(self.preset.name)),
            ("tenant", tenant),
            ("region", region),
        ];
        lines
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

impl Site {
    /// Whose this host is.
    pub fn of(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let is_below = |parent: &str| {
            host.strip_suffix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let known = SITES.iter().find(|(parent, _)| is_below(parent));
        known.map_or_else(|| Self::Other(domain(&host)), |(_, site)| Self::Known(site))
    }

    /// A name for a provider of it.
    pub fn name(&self) -> String {
        let label = match self {
            Self::Known(name) => name,
            Self::Other(domain) => domain.split('.').next().unwrap_or_default(),
        };
        let plain: String = label
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        match plain.is_empty() {
            true => "provider".into(),
            false => plain,
        }
    }
}

/// The regions of a preset; one without a name if there are none.
fn regions(preset: &'static Preset) -> impl Iterator<Item = &'static str> {
    let none = preset.regions.is_empty().then_some("");
    preset.regions.iter().copied().chain(none)
}

/// What stands for `{tenant}` in a URL that is made from a template; `Some(None)` where there is no such word.
fn tenant_in<'u>(template: &str, region: &str, url: &'u str) -> Option<Option<&'u str>> {
    let same = SAME.iter().find(|(old, _)| *old == url);
    let url = same.map_or(url, |(_, new)| *new);
    let template = template.replace("{region}", region);
    let Some((before, after)) = template.split_once("{tenant}") else {
        return (template == url).then_some(None);
    };
    let tenant = url.strip_prefix(before)?.strip_suffix(after)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    (!tenant.is_empty() && tenant.bytes().all(is_plain)).then_some(Some(tenant))
}

/// The part of a host that its owner registered, roughly: two labels, or three below such as `co.uk`.
fn domain(host: &str) -> String {
    let labels: Vec<_> = host.split('.').collect();
    let is_general = |label: &str| matches!(label, "co" | "com" | "net" | "org" | "ac" | "gov");
    let count = match labels[..] {
        [.., second, top] if top.len() == 2 && is_general(second) => 3,
        _ => 2,
    };
    labels[labels.len().saturating_sub(count)..].join(".")
}

/// Whether a host of Microsoft serves personal mailboxes only.
pub fn is_personal_host(host: &str) -> bool {
    host.to_ascii_lowercase().ends_with("-mail.outlook.com")
}

/// Whether a host of Microsoft serves organisations only.
pub fn is_work_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("smtp.office365.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_owner_are_one_site() {
        for (a, b) in [
            ("outlook.office365.com", "login.microsoftonline.com"),
            ("smtp-mail.outlook.com", "login.live.com"),
            ("imap.gmail.com", "oauth2.googleapis.com"),
            ("imap.mail.yahoo.com", "api.login.yahoo.com"),
            ("partner.outlook.cn", "login.partner.microsoftonline.cn"),
            ("imap.example.co.uk", "id.example.co.uk"),
            ("mail", "mail"),
        ] {
            assert_eq!(Site::of(a), Site::of(b), "{a} {b}");
        }
        for (a, b) in [
            ("imap.gmail.com", "imap.gmail.com.evil.example"),
            ("imap.example.co.uk", "imap.other.co.uk"),
            ("imap.mail.yahoo.com", "imap.aol.com"),
        ] {
            assert_ne!(Site::of(a), Site::of(b), "{a} {b}");
        }
        assert_eq!(Site::of("imap.mail.yahoo.com").name(), "yahoo");
        assert_eq!(Site::of("imap.example.com").name(), "example");
    }

    /// The URLs of a preset, filled.
    fn url(template: &str, preset: &Preset, region: &str) -> String {
        let tenant = match preset.tenants {
            Tenants::Only(only) => only,
            _ => "contoso.example",
        };
        template
            .replace("{tenant}", tenant)
            .replace("{region}", region)
    }

    #[test]
    fn every_preset_is_found_by_its_urls_and_its_hosts_are_one_site() {
        for preset in PRESETS {
            for region in regions(preset) {
                let filled = |template| url(template, preset, region);
                let (authorize, token) = (filled(preset.authorize_url), filled(preset.token_url));
                let fit = Fit::of(Some(&authorize), &token, &preset.scopes.join(" "));
                let fit = fit.unwrap_or_else(|| panic!("{} {region}", preset.name));
                // Two that differ in nothing but their mail servers.
                if preset.name != "att" {
                    assert_eq!(fit.preset.name, preset.name);
                }
                assert_eq!(fit.region.unwrap_or(""), region);
                let host = |url: &str| url::Url::parse(url).expect(url).host_str().map(Site::of);
                let site = host(&token).expect("a host");
                assert_eq!(Some(&site), host(&authorize).as_ref());
                assert!(matches!(site, Site::Known(_)), "{}", preset.name);
                for server in Protocol::ALL.into_iter().filter_map(|p| preset.server(p)) {
                    let host = endpoint(server, region).host;
                    assert_eq!(Site::of(&host), site, "{} {host}", preset.name);
                }
            }
        }
    }

    #[test]
    fn urls_of_two_tenants_or_places_fit_no_preset() {
        let entra = |tenant: &str, word: &str| {
            format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/{word}")
        };
        let none = |permission: &str, token: &str| Fit::of(Some(permission), token, "").is_none();
        assert!(none(
            &entra("a.example", "authorize"),
            &entra("b.example", "token")
        ));
        assert!(none(&entra("a/b", "authorize"), &entra("a/b", "token")));
        assert!(none(
            "https://accounts.zoho.eu/oauth/v2/auth",
            "https://accounts.zoho.com/oauth/v2/token"
        ));
        let (permission, token) = (entra("Contoso", "devicecode"), entra("contoso", "token"));
        let fit = Fit::of(Some(&permission), &token, "").expect("a device code of the same tenant");
        assert_eq!(
            fit.lines(),
            [("preset", "microsoft"), ("tenant", "contoso")]
        );
    }
}
