//! Which provider of the configuration a new mailbox belongs to, when nobody said.

use crate::config::{Config, Guess, guess};

/// The provider's name, if the address leaves one choice; else what to do, in words.
pub(super) fn of_address(address: &str, config: &Config) -> Result<String, String> {
    let preset = match guess(address) {
        Some(Guess::Preset(preset, _)) => preset,
        Some(Guess::NoOAuth(words)) => return Err(format!("{address}: {words}")),
        None => {
            return Err(format!(
                "the domain of {address} does not say who its provider is; add --provider NAME, {}",
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
