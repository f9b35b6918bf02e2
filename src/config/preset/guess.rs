//! Which provider an address is probably at: from its domain, or from the hosts that take its domain's mail (MX).
//!
//! Asks nobody: the hosts come from outside. What follows from a guess is decided by whoever asked for it.

use super::Preset;

/// What an address says about its provider.
#[derive(Clone, Copy, Debug)]
pub enum Guess {
    /// This preset; where it has regions, in this one.
    Preset(&'static Preset, Option<&'static str>),
    /// One that takes no tokens for mail, and what its users do instead.
    NoOAuth(&'static str),
}

/// How a row recognises a domain or host.
enum Sign {
    /// This one.
    Is(&'static str),
    /// Everything below this one.
    Under(&'static str),
    /// This first label, whatever follows: `hotmail.co.uk`.
    First(&'static str),
}

use Sign::{First, Is, Under};

impl Sign {
    fn fits(&self, name: &str) -> bool {
        match *self {
            Is(whole) => name == whole,
            Under(parent) => name
                .strip_suffix(parent)
                .is_some_and(|rest| rest.ends_with('.')),
            First(label) => name
                .strip_prefix(label)
                .is_some_and(|rest| rest.starts_with('.') && is_public_suffix(&rest[1..])),
        }
    }
}

/// Whether what follows a brand in a domain is a country or the like: `hotmail.example.com` is somebody's own.
fn is_public_suffix(text: &str) -> bool {
    let labels: Vec<_> = text.split('.').collect();
    match labels[..] {
        [top] => !top.is_empty(),
        ["co" | "com" | "net" | "org", top] => top.len() == 2,
        _ => false,
    }
}

type Row = (Sign, Outcome);

enum Outcome {
    At(&'static str),
    In(&'static str, &'static str),
    None(&'static str),
}

use Outcome::{At, In};

const GMX: &str = "GMX, WEB.DE and 1&1 take no tokens for mail: use the password of the mailbox directly, without mailwicket";
const ICLOUD: &str = "iCloud takes no tokens for mail: make an app-specific password and use it directly, without mailwicket";
const PROTON: &str = "Proton takes no tokens for mail: its Bridge runs on this machine and has a password of its own";

const YAHOO_JAPAN: &str = "Yahoo! JAPAN is a company of its own, of which no tokens for mail are known: ask it, or use the password of the mailbox directly, without mailwicket";

/// The domains of addresses. The first row that fits is taken.
#[rustfmt::skip]
const DOMAINS: &[Row] = &[
    (Is("gmail.com"), At("google")),
    (Is("googlemail.com"), At("google")),
    (First("outlook"), At("microsoft-personal")),
    (First("hotmail"), At("microsoft-personal")),
    (First("live"), At("microsoft-personal")),
    (First("msn"), At("microsoft-personal")),
    (Is("passport.com"), At("microsoft-personal")),
    (Under("onmicrosoft.com"), At("microsoft")),
    (Under("onmicrosoft.us"), At("microsoft-gcc-high")),
    (Under("partner.onmschina.cn"), At("microsoft-china")),
    (Is("yahoo.co.jp"), Outcome::None(YAHOO_JAPAN)),
    (First("yahoo"), At("yahoo")),
    (Is("ymail.com"), At("yahoo")),
    (Is("rocketmail.com"), At("yahoo")),
    (Is("att.net"), At("att")),
    (First("aol"), At("aol")),
    (Is("aim.com"), At("aol")),
    (Is("netscape.net"), At("aol")),
    (Is("compuserve.com"), At("aol")),
    (Is("verizon.net"), At("aol")),
    (First("fastmail"), At("fastmail")),
    (Is("comcast.net"), At("comcast")),
    (First("yandex"), At("yandex")),
    (Is("ya.ru"), At("yandex")),
    (Is("mail.ru"), At("mailru")),
    (Is("inbox.ru"), At("mailru")),
    (Is("list.ru"), At("mailru")),
    (Is("bk.ru"), At("mailru")),
    (Is("zohomail.eu"), In("zoho", "eu")),
    (Is("zohomail.in"), In("zoho", "in")),
    (Is("zohomail.com.au"), In("zoho", "com.au")),
    (Is("zohomail.jp"), In("zoho", "jp")),
    (Is("zoho.com"), In("zoho", "com")),
    (Is("zohomail.com"), In("zoho", "com")),
    (Is("seznam.cz"), At("seznam")),
    (First("gmx"), Outcome::None(GMX)),
    (Is("web.de"), Outcome::None(GMX)),
    (Is("icloud.com"), Outcome::None(ICLOUD)),
    (Is("me.com"), Outcome::None(ICLOUD)),
    (Is("mac.com"), Outcome::None(ICLOUD)),
    (Is("proton.me"), Outcome::None(PROTON)),
    (Is("protonmail.com"), Outcome::None(PROTON)),
    (Is("pm.me"), Outcome::None(PROTON)),
];

/// The hosts that take a domain's mail.
#[rustfmt::skip]
const HOSTS: &[Row] = &[
    (Under("olc.protection.outlook.com"), At("microsoft-personal")),
    (Under("mail.protection.outlook.com"), At("microsoft")),
    (Under("mx.microsoft"), At("microsoft")),
    (Under("mail.protection.office365.us"), At("microsoft-gcc-high")),
    (Under("protection.apps.mil"), At("microsoft-dod")),
    (Under("mail.protection.partner.outlook.cn"), At("microsoft-china")),
    (Is("aspmx.l.google.com"), At("google")),
    (Under("aspmx.l.google.com"), At("google")),
    (Is("smtp.google.com"), At("google")),
    (Under("googlemail.com"), At("google")),
    (Under("yahoodns.net"), At("yahoo")),
    (Under("messagingengine.com"), At("fastmail")),
    (Is("mx.yandex.net"), At("yandex")),
    (Is("mx.yandex.ru"), At("yandex")),
    (Is("emx.mail.ru"), At("mailru")),
    (Is("mxs.mail.ru"), At("mailru")),
    (Under("zoho.com"), In("zoho", "com")),
    (Under("zoho.eu"), In("zoho", "eu")),
    (Under("zoho.in"), In("zoho", "in")),
    (Under("zoho.com.au"), In("zoho", "com.au")),
    (Under("zoho.jp"), In("zoho", "jp")),
    (Under("gmx.net"), Outcome::None(GMX)),
    (Under("mail.icloud.com"), Outcome::None(ICLOUD)),
    (Under("protonmail.ch"), Outcome::None(PROTON)),
];

/// What an address or its domain says. `None`: nothing, as with every organisation's own domain.
pub fn guess(address: &str) -> Option<Guess> {
    let domain = address.rsplit('@').next().unwrap_or_default();
    look_up(DOMAINS, domain)
}

/// What the host that takes a domain's mail says.
pub fn guess_by_mx(host: &str) -> Option<Guess> {
    look_up(HOSTS, host)
}

fn look_up(rows: &'static [Row], name: &str) -> Option<Guess> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let (_, outcome) = rows.iter().find(|(sign, _)| sign.fits(&name))?;
    Some(match outcome {
        At(preset) => Guess::Preset(Preset::named(preset)?, None),
        In(preset, region) => Guess::Preset(Preset::named(preset)?, Some(region)),
        Outcome::None(words) => Guess::NoOAuth(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(guess: Option<Guess>) -> String {
        match guess {
            Some(Guess::Preset(preset, None)) => preset.name.to_owned(),
            Some(Guess::Preset(preset, Some(region))) => format!("{} {region}", preset.name),
            Some(Guess::NoOAuth(words)) => words.split(' ').next().unwrap_or_default().to_owned(),
            None => String::new(),
        }
    }

    #[test]
    fn a_domain_says_who_has_the_mailbox() {
        for (address, want) in [
            ("a@gmail.com", "google"),
            ("A@GoogleMail.com", "google"),
            ("a@hotmail.co.uk", "microsoft-personal"),
            ("a@live.com.au", "microsoft-personal"),
            ("a@outlook.de", "microsoft-personal"),
            ("a@contoso.onmicrosoft.com", "microsoft"),
            ("a@yahoo.co.uk", "yahoo"),
            ("a@yahoo.co.jp", "Yahoo!"),
            ("a@aol.com", "aol"),
            ("a@zohomail.eu", "zoho eu"),
            ("a@gmx.at", "GMX,"),
            ("a@me.com", "iCloud"),
            ("\"x@gmail.com\"@proton.me", "Proton"),
            ("a@contoso.com", ""),
            ("a@live.example.com", ""),
            ("a@hotmail.evil.example", ""),
            ("a@notgmail.com", ""),
            ("a@onmicrosoft.com", ""),
            ("a@hotmail.", ""),
            ("", ""),
        ] {
            assert_eq!(words(guess(address)), want, "{address}");
        }
    }

    #[test]
    fn the_host_that_takes_the_mail_says_it_too() {
        for (host, want) in [
            ("contoso-com.mail.protection.outlook.com.", "microsoft"),
            (
                "outlook-com.olc.protection.outlook.com",
                "microsoft-personal",
            ),
            (
                "contoso-us.mail.protection.office365.us",
                "microsoft-gcc-high",
            ),
            ("ALT1.ASPMX.L.GOOGLE.COM", "google"),
            ("smtp.google.com", "google"),
            ("mta5.am0.yahoodns.net", "yahoo"),
            ("in1-smtp.messagingengine.com", "fastmail"),
            ("mx2.zoho.com.au", "zoho com.au"),
            ("mx00.gmx.net", "GMX,"),
            ("mailsec.protonmail.ch", "Proton"),
            ("mx.example.com", ""),
            ("evilgoogle.com", ""),
        ] {
            assert_eq!(words(guess_by_mx(host)), want, "{host}");
        }
    }

    #[test]
    fn every_row_names_a_preset_and_a_region_that_it_has() {
        for (_, outcome) in DOMAINS.iter().chain(HOSTS) {
            match outcome {
                At(name) => assert!(Preset::named(name).is_some(), "{name}"),
                In(name, region) => {
                    let preset = Preset::named(name).expect(name);
                    assert!(preset.regions.contains(region), "{name} {region}");
                }
                Outcome::None(words) => assert!(words.contains("no tokens")),
            }
        }
    }
}
