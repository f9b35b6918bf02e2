//! Which addresses may stand in MAIL FROM.

use std::fmt;

/// The null sender of bounces, as a configuration names it.
const NULL: &str = "<>";

/// A list of allowed senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Senders(Vec<Sender>);

/// One entry of it, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sender {
    Null,
    Address(String),
    /// Every plain address of this domain.
    Domain(String),
}

/// A text is no sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write an address, \"*@DOMAIN\" for every address of a domain, or \"<>\" for the empty sender of bounces"
)]
pub struct NoSender;

impl Senders {
    /// A list of entries, each an address, `*@domain`, or `<>`.
    ///
    /// # Errors
    /// If one is none of these.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, NoSender> {
        let entries = entries.into_iter().map(Sender::parse);
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address, which is `local@domain` or empty, is one of them. ASCII case is ignored on both sides of the `@`: an
    /// address that differs in nothing else is the same mailbox everywhere.
    pub fn allow(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        self.0.iter().any(|sender| sender.is(&address))
    }
}

impl Sender {
    fn parse(text: &str) -> Result<Self, NoSender> {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*@") {
            _ if text == NULL => Ok(Self::Null),
            Some(domain) if is_domain(domain) => Ok(Self::Domain(domain.to_owned())),
            // A `*` elsewhere would be taken for what it is, and meant for what it is not.
            None if is_address(&text) && !text.contains('*') => Ok(Self::Address(text)),
            _ => Err(NoSender),
        }
    }

    fn is(&self, address: &str) -> bool {
        match self {
            Self::Null => address.is_empty(),
            Self::Address(allowed) => address == allowed,
            Self::Domain(domain) => address
                .rsplit_once('@')
                .is_some_and(|(local, of)| of == domain && !routes(local)),
        }
    }
}

/// Whether some mail servers read another domain out of the part before the `@`.
fn routes(local: &str) -> bool {
    local.contains(['%', '!', '@'])
}

/// `Dot-string "@" Domain` (RFC 5321 §4.1.2, RFC 6531 §3.3), without quoted strings, routes and address literals: forms that servers
/// read in different ways, and that no device needs.
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let is_atom =
        |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
    let is_sound = |atom: &str| !atom.is_empty() && atom.chars().all(is_atom);
    text.len() <= 254 && local.split('.').all(is_sound) && is_domain(domain)
}

fn is_domain(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

impl fmt::Display for Senders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, sender) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match sender {
                Sender::Null => write!(f, "{comma}{NULL}")?,
                Sender::Address(address) => write!(f, "{comma}{address}")?,
                Sender::Domain(domain) => write!(f, "{comma}*@{domain}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_ignored_and_nothing_else() {
        let senders = Senders::new(["Scanner@Contoso.com", "*@Print.Contoso.com"]).unwrap();
        for allowed in [
            "scanner@contoso.com",
            "SCANNER@CONTOSO.COM",
            "any.one+x@print.contoso.com",
        ] {
            assert!(senders.allow(allowed), "{allowed}");
        }
        for denied in [
            "",
            "scanner",
            "scanner2@contoso.com",
            "scanner@contoso.com.",
            "scanner@contoso.com.evil.example",
            "x@contoso.com",
            "x@sub.print.contoso.com",
            "x@evil.example@print.contoso.com",
            "x%evil.example@print.contoso.com",
            "evil.example!x@print.contoso.com",
        ] {
            assert!(!senders.allow(denied), "{denied}");
        }
    }

    #[test]
    fn the_empty_sender_is_allowed_only_where_it_is_named() {
        assert!(Senders::new(["<>"]).unwrap().allow(""));
        assert!(!Senders::new(["*@contoso.com"]).unwrap().allow(""));
    }

    #[test]
    fn patterns_that_could_mean_more_than_they_say_are_refused() {
        for text in [
            "",
            "*",
            "*@",
            "@contoso.com",
            "*@*",
            "*@*.contoso.com",
            "scan*@contoso.com",
            "contoso.com",
            "<scanner@contoso.com>",
            "\"scanner\"@contoso.com",
            "a..b@contoso.com",
            "scanner@[192.0.2.1]",
            "@a,@b:c@d",
            "scanner @contoso.com",
            "a@b@contoso.com",
            "scanner@-contoso.com",
        ] {
            assert_eq!(Senders::new([text]), Err(NoSender), "{text}");
        }
    }
}
