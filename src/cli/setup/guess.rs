//! Which provider an address is probably at. Only a suggestion: the person has the last word.

/// A provider that `setup` has questions and hints for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Microsoft 365: organisations.
    Microsoft,
    /// Outlook.com and its like: personal mailboxes.
    Personal,
    /// Gmail and Workspace.
    Google,
    /// Any other, by its issuer or URLs.
    Other,
}

impl Kind {
    /// All of them, as they are offered.
    pub const ALL: [Self; 4] = [Self::Microsoft, Self::Personal, Self::Google, Self::Other];

    /// The word that a person answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Microsoft => "microsoft",
            Self::Personal => "outlook",
            Self::Google => "google",
            Self::Other => "other",
        }
    }
}

/// The domains of providers, each with the beginnings or the whole of its names.
const DOMAINS: [(&str, Kind); 7] = [
    ("gmail.com", Kind::Google),
    ("googlemail.com", Kind::Google),
    ("outlook.", Kind::Personal),
    ("hotmail.", Kind::Personal),
    ("live.", Kind::Personal),
    ("msn.com", Kind::Personal),
    (".onmicrosoft.com", Kind::Microsoft),
];

/// The provider of an address, if its domain says so.
pub fn guess(address: &str) -> Option<Kind> {
    let domain = address.rsplit_once('@')?.1.to_ascii_lowercase();
    let fits = |name: &str| match name {
        name if name.ends_with('.') => domain.starts_with(name) && domain.matches('.').count() <= 2,
        name if name.starts_with('.') => domain.ends_with(name),
        name => domain == name,
    };
    DOMAINS
        .iter()
        .find(|(name, _)| fits(name))
        .map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_suggests_its_provider() {
        for (address, kind) in [
            ("a@gmail.com", Some(Kind::Google)),
            ("a@Hotmail.co.uk", Some(Kind::Personal)),
            ("a@contoso.onmicrosoft.com", Some(Kind::Microsoft)),
            ("a@example.com", None),
            ("a@outlook.mail.example.com", None),
            ("a", None),
        ] {
            assert_eq!(guess(address), kind, "{address}");
        }
    }
}
