//! What is offered: providers, ways to sign in, and where the provider shows what is asked for. Only data.

use crate::config::Flow;
use crate::config::preset::{PRESETS, Preset};
use crate::protocol::Protocol;

/// A provider.
#[derive(Clone, Copy)]
pub enum Choice {
    /// One that is known.
    Preset(&'static Preset),
    /// Any other, by its issuer or URLs.
    Other,
}

/// How tokens are got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// A person, in a browser.
    #[default]
    Browser,
    /// A person, with a code on another device.
    Device,
    /// The application itself, with a secret.
    Secret,
    /// The application itself, with a certificate.
    Certificate,
    /// The application itself, with a token that its platform gives it (workload identity federation).
    Federation,
    /// A machine in Azure, by its own identity.
    ManagedIdentity,
    /// A service account.
    ServiceAccount,
    /// A person, by the mailbox's password: only with leave.
    Password,
}

/// What a way has to do with a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantNeed {
    /// It knows its own.
    None,
    /// Without one, it is that of whoever signs in.
    Possible,
    /// It must be said which.
    One,
}

impl Choice {
    /// The word for a provider that is not known.
    pub const OTHER: &str = "other";

    /// The provider of that name, or that somebody means with it.
    pub fn of(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let name = Preset::meant_by(&word).unwrap_or(&word);
        match name {
            Self::OTHER => Some(Self::Other),
            name => Preset::named(name).map(Self::Preset),
        }
    }

    /// All of them, a line each.
    pub fn list() -> String {
        let presets = PRESETS.iter().map(|preset| (preset.name, preset.title));
        let other = (Self::OTHER, "any other, by its issuer or URLs");
        let lines = presets
            .chain([other])
            .map(|(name, title)| format!("\n  {name:<20} {title}"));
        format!("The providers:{}", lines.collect::<String>())
    }

    /// The word that a person answers, and the name of the provider's table.
    pub fn word(self) -> &'static str {
        self.preset().map_or(Self::OTHER, |preset| preset.name)
    }

    /// What is known about it.
    pub fn preset(self) -> Option<&'static Preset> {
        match self {
            Self::Preset(preset) => Some(preset),
            Self::Other => None,
        }
    }

    /// What its mail servers speak.
    pub fn protocols(self) -> Vec<Protocol> {
        let has = |protocol: &Protocol| {
            self.preset()
                .is_none_or(|preset| preset.server(*protocol).is_some())
        };
        Protocol::ALL.into_iter().filter(has).collect()
    }

    /// The ways that it has; the first is the usual one.
    pub fn ways(self) -> Vec<Way> {
        let has = |way: &Way| match self.preset() {
            Some(preset) => preset.has_flow(way.flow()),
            // Both are of one provider each.
            None => !matches!(way, Way::ServiceAccount | Way::ManagedIdentity),
        };
        Way::ALL.into_iter().filter(has).collect()
    }

    /// Where the provider shows what is asked for.
    pub fn place(self, way: Way) -> &'static str {
        match (self.word(), way) {
            ("microsoft-personal", _) => {
                "entra.microsoft.com (a free directory will do), App registrations, your application, Overview: Application (client) ID. \
                 Supported account types: personal accounts"
            }
            (name, Way::ManagedIdentity) if name.starts_with("microsoft") => {
                "Azure portal of your cloud, the machine, Identity: switch the system-assigned one on, or see under User assigned, your identity, \
                 for its Client ID. It needs the application permissions for mail, and New-ServicePrincipal in Exchange"
            }
            (name, Way::Federation) if name.starts_with("microsoft") => {
                "Entra admin center of your cloud (entra.microsoft.com), App registrations, your application, Overview: Application (client) ID \
                 and Directory (tenant) ID. Certificates & secrets, Federated credentials: add one with issuer and subject of the platform's token, \
                 and the audience that is suggested (worldwide: api://AzureADTokenExchange). The platform says where its token lies: on Azure's Kubernetes, \
                 in AZURE_FEDERATED_TOKEN_FILE"
            }
            (name, Way::Password) if name.starts_with("microsoft") => {
                "Entra admin center of your cloud (entra.microsoft.com), App registrations, your application, Overview: Application (client) ID \
                 and Directory (tenant) ID; Authentication: Allow public client flows, unless it has a secret"
            }
            (name, _) if name.starts_with("microsoft") => {
                "Entra admin center of your cloud (entra.microsoft.com), App registrations, your application, Overview: Application (client) ID \
                 and Directory (tenant) ID"
            }
            ("google", Way::ServiceAccount) => {
                "Google Cloud console, Service accounts, Keys, Add key, JSON; the admin console has to delegate https://mail.google.com/ to it"
            }
            ("google", _) => {
                "Google Cloud console, APIs & Services, Credentials, OAuth client ID for a desktop app: both values are there"
            }
            ("yahoo" | "att" | "aol" | "fastmail" | "comcast" | "seznam", _) => {
                "The provider gives these with the registration"
            }
            ("yandex", _) => "oauth.yandex.com, your application: ClientID and Client secret",
            ("mailru", _) => "o2.mail.ru, your application: ID and secret",
            ("zoho", _) => {
                "The API console of your region (api-console.zoho.com, .eu, …), your client: Client ID and Client Secret"
            }
            _ => "Your provider's page for registered clients or applications shows these",
        }
    }
}

impl Way {
    /// The last resort is the last.
    const ALL: [Self; 8] = [
        Self::Browser,
        Self::Device,
        Self::Secret,
        Self::Certificate,
        Self::Federation,
        Self::ManagedIdentity,
        Self::ServiceAccount,
        Self::Password,
    ];

    /// The word that a person answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Device => "device",
            Self::Secret => "secret",
            Self::Certificate => "certificate",
            Self::Federation => "federation",
            Self::ManagedIdentity => "managed-identity",
            Self::ServiceAccount => "service-account",
            Self::Password => "password",
        }
    }

    /// What it means.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Browser => "a person, once, in a browser",
            Self::Device => "a person, once, with a code that is typed on any device",
            Self::Secret => "nobody: the application itself, with a client secret",
            Self::Certificate => "nobody: the application itself, with a certificate",
            Self::Federation => "nobody: the application itself, with a token of its platform",
            Self::ManagedIdentity => "nobody: a machine in Azure, by its own identity",
            Self::ServiceAccount => "nobody: a service account for the whole Workspace",
            Self::Password => {
                "a person, once, by the mailbox's password at the provider; a last resort"
            }
        }
    }

    /// The flow of the configuration.
    pub const fn flow(self) -> Flow {
        match self {
            Self::Browser => Flow::AuthorizationCode,
            Self::Device => Flow::DeviceCode,
            Self::Secret | Self::Certificate | Self::Federation => Flow::ClientCredentials,
            Self::ManagedIdentity => Flow::ManagedIdentity,
            Self::ServiceAccount => Flow::ServiceAccount,
            Self::Password => Flow::Password,
        }
    }

    /// What somebody has to agree to before it is used.
    pub const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Password => Some(
                "The password grant is a last resort: mailwicket sees the mailbox's password once and sends it to the provider. It fails for users \
                 with a second factor (MFA) and for federated users, and providers are ending it; a code on another device needs no browser either.",
            ),
            _ => None,
        }
    }

    /// Whether it belongs to one tenant of a provider that has them.
    pub const fn tenant(self) -> TenantNeed {
        match self {
            Self::Browser | Self::Device => TenantNeed::Possible,
            Self::Secret | Self::Certificate | Self::Federation | Self::Password => TenantNeed::One,
            Self::ManagedIdentity | Self::ServiceAccount => TenantNeed::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_offered_and_known_by_its_names() {
        let list = Choice::list();
        for preset in PRESETS {
            assert!(list.contains(preset.title), "{}", preset.name);
            let choice = Choice::of(preset.name).expect(preset.name);
            assert_eq!(choice.word(), preset.name);
            assert_eq!(choice.ways()[0], Way::Browser);
        }
        assert_eq!(Choice::of("Gmail").map(Choice::word), Some("google"));
        assert_eq!(Choice::of("other").map(Choice::word), Some("other"));
        assert!(Choice::of("nobody").is_none());
    }

    #[test]
    fn only_what_a_provider_has_is_offered() {
        let of = |name: &str| Choice::of(name).expect(name);
        let ways = |name: &str| of(name).ways();
        assert_eq!(ways("fastmail"), [Way::Browser]);
        assert_eq!(ways("google"), [Way::Browser, Way::ServiceAccount]);
        assert_eq!(ways("yandex"), [Way::Browser, Way::Device]);
        assert!(ways("microsoft").contains(&Way::Certificate));
        let ours = [Way::Federation, Way::ManagedIdentity, Way::Password];
        for way in ours {
            assert!(ways("microsoft").contains(&way), "{way:?}");
            assert!(ways("microsoft-china").contains(&way), "{way:?}");
            assert!(!ways("microsoft-personal").contains(&way), "{way:?}");
        }
        assert!(!ways("microsoft-personal").contains(&Way::Secret));
        assert!(!ways("other").contains(&Way::ManagedIdentity));
        assert_eq!(ways("other").last(), Some(&Way::Password));
        assert_eq!(of("mailru").protocols(), [Protocol::Imap]);
    }
}
