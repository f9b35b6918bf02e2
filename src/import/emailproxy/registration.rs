//! What an account's settings are in our words: preset or URLs, flow, scopes, secret.

use std::collections::BTreeSet;

use url::Url;

use super::known::Site;
use super::source::Settings;

/// How tokens are got, in the words of our configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    AuthorizationCode,
    DeviceCode,
    ClientCredentials,
    ServiceAccount,
    Password,
}

impl Flow {
    pub const fn word(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization-code",
            Self::DeviceCode => "device-code",
            Self::ClientCredentials => "client-credentials",
            Self::ServiceAccount => "service-account",
            Self::Password => "password",
        }
    }

    /// Whether a person signs in with a browser.
    pub const fn has_browser(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::DeviceCode)
    }

    /// Whether the application has its tokens by itself.
    pub const fn is_unattended(self) -> bool {
        matches!(self, Self::ClientCredentials | Self::ServiceAccount)
    }
}

/// Where the client secret goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Secret<'s> {
    /// There is none.
    None,
    /// Into the file.
    Text(&'s str),
    /// A person has to write it into a file of its own.
    ByHand,
    /// The value was a text such as "*** your client secret here ***".
    Sample,
}

/// Where the browser comes back to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Redirect<'s> {
    /// As by default.
    Default,
    /// This.
    Keep(&'s str),
    /// Not to this machine, or nothing that is a URL.
    Refused,
}

impl Settings {
    /// Whether this is enough to get tokens with.
    pub fn is_whole(&self) -> bool {
        self.token_url.is_some()
    }

    /// Whose token endpoint it is.
    pub fn site(&self) -> Site {
        let url = self.token_url.as_deref().map(Url::parse);
        let host = url
            .and_then(Result::ok)
            .and_then(|url| url.host_str().map(str::to_owned));
        Site::of(&host.unwrap_or_default())
    }

    /// The flow; a word that is not known means the usual one.
    pub fn flow(&self) -> Flow {
        match self.flow.as_deref() {
            Some("client_credentials") => Flow::ClientCredentials,
            Some("service_account") => Flow::ServiceAccount,
            Some("password") => Flow::Password,
            Some("device") => Flow::DeviceCode,
            _ => Flow::AuthorizationCode,
        }
    }

    /// Whether the word of the flow is known.
    pub fn is_flow_known(&self) -> bool {
        let word = self.flow.as_deref();
        word.is_none_or(|word| {
            [
                "authorization_code",
                "client_credentials",
                "service_account",
                "password",
                "device",
            ]
            .contains(&word)
        })
    }

    /// The preset that gives these very endpoints.
    pub fn preset(&self) -> Option<&'static str> {
        let site = self.site();
        let fits = match site {
            Site::Microsoft => self.tenant().is_some(),
            Site::Google => self.has_google_endpoints(),
            Site::China | Site::Other(_) => false,
        };
        site.preset().filter(|_| fits)
    }

    /// The tenant, if both endpoints are Entra's of the same one.
    pub fn tenant(&self) -> Option<&str> {
        let tenant = entra_tenant(self.token_url.as_deref()?, &["token"])?;
        match &self.permission_url {
            None => Some(tenant),
            Some(url) => entra_tenant(url, &["authorize", "devicecode"])
                .filter(|other| other.eq_ignore_ascii_case(tenant)),
        }
    }

    fn has_google_endpoints(&self) -> bool {
        let token = [
            "https://oauth2.googleapis.com/token",
            "https://accounts.google.com/o/oauth2/token",
            "https://www.googleapis.com/oauth2/v3/token",
            "https://www.googleapis.com/oauth2/v4/token",
        ];
        let permission = |url: &str| url.starts_with("https://accounts.google.com/o/oauth2/");
        self.token_url
            .as_deref()
            .is_some_and(|url| token.contains(&url))
            && self.permission_url.as_deref().is_none_or(permission)
    }

    /// Whether the mailboxes are personal ones of Microsoft.
    pub fn is_personal(&self) -> bool {
        let is_live = |url: &str| url.starts_with("https://login.live.com/");
        self.tenant() == Some("consumers") || self.token_url.as_deref().is_some_and(is_live)
    }

    /// Whether an application would sign in at the endpoint for everybody, which Microsoft refuses.
    pub fn is_app_in_shared_tenant(&self) -> bool {
        let shared = ["common", "organizations", "consumers"];
        self.flow() == Flow::ClientCredentials
            && self.tenant().is_some_and(|tenant| shared.contains(&tenant))
    }

    /// The scopes as they must be written; `None` where the preset asks for the same.
    pub fn scopes(&self) -> Option<Vec<&str>> {
        let scopes: Vec<_> = self.scope.as_deref()?.split_whitespace().collect();
        let same = |wanted: &[&str]| {
            let ours: BTreeSet<_> = wanted.iter().map(|scope| (*scope).to_owned()).collect();
            about_mail(&scopes) == ours
        };
        let is_the_presets = match (self.preset(), self.flow()) {
            (Some("microsoft"), Flow::ClientCredentials) => {
                same(&["https://outlook.office.com/.default"])
            }
            (Some("microsoft"), _) => same(&[
                "https://outlook.office.com/IMAP.AccessAsUser.All",
                "https://outlook.office.com/POP.AccessAsUser.All",
                "https://outlook.office.com/SMTP.Send",
                "offline_access",
            ]),
            (Some("google"), _) => same(&["https://mail.google.com/"]),
            _ => false,
        };
        (!is_the_presets).then_some(scopes)
    }

    /// What becomes of the client secret.
    pub fn secret(&self) -> Secret<'_> {
        if self.flow() == Flow::ServiceAccount {
            return Secret::None;
        }
        match &self.client_secret {
            Some(text) if is_sample(text) => Secret::Sample,
            Some(text) => Secret::Text(text),
            None if self.is_secret_sealed => Secret::ByHand,
            None if self.is_secret_the_password && self.certificate.is_none() => Secret::ByHand,
            None => Secret::None,
        }
    }

    /// What becomes of the redirect URI.
    pub fn redirect(&self) -> Redirect<'_> {
        let Some(text) = self
            .redirect_uri
            .as_deref()
            .filter(|_| self.flow() == Flow::AuthorizationCode)
        else {
            return Redirect::Default;
        };
        let Ok(url) = Url::parse(text) else {
            return Redirect::Refused;
        };
        let is_here = match url.host() {
            Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match () {
            () if !is_here || !["http", "https"].contains(&url.scheme()) => Redirect::Refused,
            () if self
                .preset()
                .is_some_and(|preset| is_presets_redirect(preset, &url)) =>
            {
                Redirect::Default
            }
            () => Redirect::Keep(text),
        }
    }

    /// Where a service account's key is: a file, or the text itself.
    pub fn service_account_file(&self) -> Option<&str> {
        match self.client_id.as_deref() {
            Some("file") => self
                .client_secret
                .as_deref()
                .filter(|text| !is_sample(text)),
            _ => None,
        }
    }

    /// Whether two accounts can share a provider: all but the port that the browser comes back to is the same.
    pub fn is_same_registration(&self, other: &Self) -> bool {
        let rest = |settings: &Self| Self {
            redirect_uri: settings.redirect_uri.as_deref().map(without_port),
            ..settings.clone()
        };
        rest(self) == rest(other)
    }
}

/// Scopes as a set that can be compared: Exchange has two names, and words about who signs in do not count.
fn about_mail(scopes: &[&str]) -> BTreeSet<String> {
    let scopes = scopes
        .iter()
        .filter(|scope| !["openid", "profile", "email"].contains(scope));
    scopes
        .map(|scope| {
            scope.replace(
                "https://outlook.office365.com/",
                "https://outlook.office.com/",
            )
        })
        .collect()
}

/// Whether a preset has this redirect URL by itself: without a port, which means any.
fn is_presets_redirect(preset: &str, url: &Url) -> bool {
    let host = match preset {
        "google" => "127.0.0.1",
        _ => "localhost",
    };
    let is_bare = url.scheme() == "http" && url.port().is_none() && url.path() == "/";
    is_bare && url.host_str() == Some(host)
}

/// A redirect URI for any free port.
pub fn without_port(uri: &str) -> String {
    let Ok(mut url) = Url::parse(uri) else {
        return uri.to_owned();
    };
    // It fails for URLs without a host, which have no port.
    let _ = url.set_port(None);
    url.into()
}

/// `https://login.microsoftonline.com/TENANT/oauth2/v2.0/WORD`
fn entra_tenant<'u>(url: &'u str, words: &[&str]) -> Option<&'u str> {
    let rest = url.strip_prefix("https://login.microsoftonline.com/")?;
    let (tenant, rest) = rest.split_once('/')?;
    let word = rest.strip_prefix("oauth2/v2.0/")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    (words.contains(&word) && !tenant.is_empty() && tenant.bytes().all(is_plain)).then_some(tenant)
}

/// Whether a value is the text of an example.
pub fn is_sample(text: &str) -> bool {
    text.contains("***")
}
