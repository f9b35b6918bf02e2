//! What an account's settings are in our words: preset or URLs, flow, scopes, secret.

use std::collections::BTreeSet;

use url::Url;

use super::known::{Fit, Site};
use super::source::Settings;
use crate::config::Flow;
use crate::config::preset::is_shared_url;

/// Whether a person signs in with a browser.
pub const fn has_browser(flow: Flow) -> bool {
    matches!(flow, Flow::AuthorizationCode | Flow::DeviceCode)
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
    /// The certificate stands in its place.
    Certificate,
}

/// What becomes of the scopes.
#[derive(Clone, PartialEq, Eq)]
pub enum Scopes {
    /// As in the preset, or none were given.
    Default,
    /// These.
    Keep(Vec<String>),
    /// Mail servers would refuse tokens for them, so the preset's are taken.
    Refused,
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
    pub fn fit(&self) -> Option<Fit<'_>> {
        Fit::of(
            self.permission_url.as_deref(),
            self.token_url.as_deref()?,
            self.scope.as_deref().unwrap_or_default(),
        )
    }

    /// Whether the mailboxes are personal ones of Microsoft.
    pub fn is_personal(&self) -> bool {
        let is_live = |url: &str| url.starts_with("https://login.live.com/");
        self.fit()
            .is_some_and(|fit| fit.preset.name == "microsoft-personal")
            || self.token_url.as_deref().is_some_and(is_live)
    }

    /// Whether somebody would sign in at the endpoint for everybody who can do so in one tenant only.
    pub fn is_in_shared_tenant(&self) -> bool {
        let token = self
            .token_url
            .as_deref()
            .and_then(|url| Url::parse(url).ok());
        matches!(self.flow(), Flow::ClientCredentials | Flow::Password)
            && token.is_some_and(|url| is_shared_url(&url))
    }

    /// What becomes of the scopes.
    pub fn scopes(&self) -> Scopes {
        let given: Vec<_> = self
            .scope
            .iter()
            .flat_map(|text| text.split_whitespace())
            .collect();
        let preset = self.fit().map(|fit| fit.preset);
        let own = preset.and_then(|preset| match self.flow() {
            Flow::ServiceAccount => preset.service_scopes,
            Flow::ClientCredentials | Flow::ManagedIdentity => preset.app_scopes,
            Flow::AuthorizationCode | Flow::DeviceCode | Flow::Password => Some(preset.scopes),
        });
        let is_own = own.is_some_and(|own| about_mail(own) == about_mail(&given));
        let microsoft = preset.filter(|preset| preset.is_microsoft());
        match microsoft {
            _ if given.is_empty() || is_own => Scopes::Default,
            None => Scopes::Keep(given.iter().map(|&scope| scope.to_owned()).collect()),
            Some(preset) => {
                let is_app = self.flow() == Flow::ClientCredentials;
                let kept = given
                    .iter()
                    .map(|scope| of_exchange(scope, preset.audience, is_app));
                kept.collect::<Option<_>>()
                    .map_or(Scopes::Refused, Scopes::Keep)
            }
        }
    }

    /// What becomes of the client secret.
    pub fn secret(&self) -> Secret<'_> {
        if self.flow() == Flow::ServiceAccount {
            return Secret::None;
        }
        let has_certificate = self.certificate.is_some() && self.key.is_some();
        match &self.client_secret {
            Some(_) if has_certificate => Secret::Certificate,
            Some(text) if is_sample(text) => Secret::Sample,
            Some(text) => Secret::Text(text),
            None if has_certificate => Secret::None,
            None if self.is_secret_sealed || self.is_secret_the_password => Secret::ByHand,
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
            () if self.fit().is_some_and(|fit| {
                Url::parse(fit.preset.redirect_url).is_ok_and(|own| own == url)
            }) =>
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

/// The words of OpenID Connect, which are for every service.
const WHO: [&str; 3] = ["openid", "profile", "email"];

/// Exchange has two names.
fn one_name(scope: &str) -> String {
    scope.replace(
        "https://outlook.office365.com/",
        "https://outlook.office.com/",
    )
}

/// Scopes as a set that can be compared: words about who signs in do not count.
fn about_mail(scopes: &[&str]) -> BTreeSet<String> {
    let scopes = scopes.iter().filter(|scope| !WHO.contains(scope));
    scopes.map(|scope| one_name(scope)).collect()
}

/// The scope in a name that the preset's cloud has; `None` if it is for another service, or not for an application.
fn of_exchange(scope: &str, audience: &[&str], is_app: bool) -> Option<String> {
    if is_app && !scope.ends_with("/.default") {
        return None;
    }
    if WHO.contains(&scope) || scope == "offline_access" {
        return Some(scope.to_owned());
    }
    let is_here = |scope: &String| {
        let url = Url::parse(scope).ok();
        let host = url.as_ref().and_then(Url::host_str);
        host.is_some_and(|host| audience.contains(&host))
    };
    [scope.to_owned(), one_name(scope)]
        .into_iter()
        .find(is_here)
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

/// Whether a value is the text of an example.
pub fn is_sample(text: &str) -> bool {
    text.contains("***")
}
