//! What hosts say about whose they are. Only data.

use crate::config::UpstreamTls;
use crate::protocol::Protocol;

/// Whose servers and endpoints these are: servers and endpoints of one site belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Microsoft's worldwide cloud.
    Microsoft,
    /// Its cloud in China.
    China,
    /// Google.
    Google,
    /// Whoever has this domain.
    Other(String),
}

/// Parents of hosts whose other hosts stand below other parents.
const SITES: [(&str, Site); 15] = [
    ("login.microsoftonline.com", Site::Microsoft),
    ("login.windows.net", Site::Microsoft),
    ("login.live.com", Site::Microsoft),
    ("office365.com", Site::Microsoft),
    ("office.com", Site::Microsoft),
    ("outlook.com", Site::Microsoft),
    ("hotmail.com", Site::Microsoft),
    ("live.com", Site::Microsoft),
    ("gmail.com", Site::Google),
    ("googlemail.com", Site::Google),
    ("google.com", Site::Google),
    ("googleapis.com", Site::Google),
    ("partner.outlook.cn", Site::China),
    ("partner.microsoftonline.cn", Site::China),
    ("office365.cn", Site::China),
];

/// The mail servers of a site that its preset knows.
const USUAL: [(Site, Protocol, &str, u16, UpstreamTls); 6] = {
    use Protocol::{Imap, Pop3, Smtp};
    use UpstreamTls::{Implicit, StartTls};
    [
        (
            Site::Microsoft,
            Imap,
            "outlook.office365.com",
            993,
            Implicit,
        ),
        (
            Site::Microsoft,
            Pop3,
            "outlook.office365.com",
            995,
            Implicit,
        ),
        (Site::Microsoft, Smtp, "smtp.office365.com", 587, StartTls),
        (Site::Google, Imap, "imap.gmail.com", 993, Implicit),
        (Site::Google, Pop3, "pop.gmail.com", 995, Implicit),
        (Site::Google, Smtp, "smtp.gmail.com", 465, Implicit),
    ]
};

impl Site {
    /// Whose this host is.
    pub fn of(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let is_below = |parent: &str| {
            host.strip_suffix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let known = SITES.iter().find(|(parent, _)| is_below(parent));
        known.map_or_else(|| Self::Other(domain(&host)), |(_, site)| site.clone())
    }

    /// The preset that stands for it.
    pub const fn preset(&self) -> Option<&'static str> {
        match self {
            Self::Microsoft => Some("microsoft"),
            Self::Google => Some("google"),
            Self::China | Self::Other(_) => None,
        }
    }

    /// A name for a provider of it.
    pub fn name(&self) -> String {
        match self {
            Self::Microsoft => "microsoft".into(),
            Self::China => "china".into(),
            Self::Google => "google".into(),
            Self::Other(domain) => {
                let label = domain.split('.').next().unwrap_or_default();
                let plain: String = label
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .collect();
                if plain.is_empty() {
                    "provider".into()
                } else {
                    plain
                }
            }
        }
    }

    /// Whether the preset of this site has exactly this server.
    pub fn is_usual(&self, protocol: Protocol, host: &str, port: u16, tls: UpstreamTls) -> bool {
        USUAL.iter().any(|usual| {
            (&usual.0, usual.1, usual.3, usual.4) == (self, protocol, port, tls)
                && usual.2.eq_ignore_ascii_case(host)
        })
    }
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
    }
}
