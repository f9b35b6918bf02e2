//! Which provider of the configuration a new mailbox belongs to, when nobody said.

use crate::config::{Config, Guess};
use crate::setup::{Ask, guessed, mx};

/// The provider's name, if the address leaves one choice; else what to do, in words. The DNS is asked only if that is allowed.
pub(super) fn of_address(address: &str, config: &Config, may_ask: bool) -> Result<String, String> {
    by(address, config, may_ask.then_some(mx::hosts))
}

fn by(address: &str, config: &Config, ask: Option<Ask>) -> Result<String, String> {
    let guess = guessed(address, ask).map_err(|words| format!("{words}; add --provider NAME"))?;
    let preset = match guess {
        Some(Guess::Preset(preset, _)) => preset,
        Some(Guess::NoOAuth(words)) => return Err(format!("{address}: {words}")),
        None => {
            let hint = match ask {
                None => ", or --ask-dns to look at who takes its mail",
                Some(_) => "",
            };
            return Err(format!(
                "the domain of {address} does not say who its provider is; add --provider NAME, {}{hint}",
                known(
                    config
                        .providers
                        .iter()
                        .map(|provider| provider.name.as_str())
                )
            ));
        }
    };
    let is_it = |name: &Option<String>| name.as_deref() == Some(preset.name);
    let fitting: Vec<_> = config
        .providers
        .iter()
        .filter(|provider| is_it(&provider.preset))
        .map(|provider| provider.name.as_str())
        .collect();
    match fitting[..] {
        [name] => Ok(name.to_owned()),
        [] => Err(format!(
            "{address} is probably at {}, and the configuration has no provider for it: write a table [provider.NAME] with preset = \"{}\" \
             first (docs/providers.md says how), or add --provider NAME",
            preset.title, preset.name
        )),
        _ => Err(format!(
            "{address} is probably at {}; add --provider NAME, {}",
            preset.title,
            known(fitting.iter().copied())
        )),
    }
}

fn known<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.collect();
    match names[..] {
        [] => "once the configuration has one".to_owned(),
        _ => format!("one of: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;

    fn config() -> Config {
        let text = "state-dir = '/state'\n[provider.work]\npreset = 'microsoft'\nclient-id = 'x'\n";
        Config::parse(text, Path::new("/nowhere/x.toml"))
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn an_own_domain_is_known_by_who_takes_its_mail() {
        let outlook: Ask = |domain| {
            assert_eq!(domain, "contoso.com");
            Ok(vec!["contoso-com.mail.protection.outlook.com".into()])
        };
        let found = by("alice@contoso.com", &config(), Some(outlook));
        assert_eq!(found.as_deref(), Ok("work"));
        let own: Ask = |_| Ok(vec!["mx.contoso.com".into()]);
        let told = by("alice@contoso.com", &config(), Some(own)).expect_err("unknown");
        assert!(
            told.contains("one of: work") && !told.contains("--ask-dns"),
            "{told}"
        );
        let silent: Ask = |_| Err(io::ErrorKind::TimedOut.into());
        let told = by("alice@contoso.com", &config(), Some(silent)).expect_err("unknown");
        assert!(
            told.contains("contoso.com") && told.contains("--provider"),
            "{told}"
        );
    }

    #[test]
    fn nobody_is_asked_without_leave_or_without_need() {
        let told = by("alice@contoso.com", &config(), None).expect_err("unknown");
        assert!(told.contains("--ask-dns"), "{told}");
        let never: Ask = |_| panic!("the domain says it all");
        let told = by("alice@gmail.com", &config(), Some(never)).expect_err("no such provider");
        assert!(told.contains("preset = \"google\""), "{told}");
    }
}
