//! What is probably not meant, though it is valid: said by `mailwicket check`, in words.

use std::path::Path;

use jiff::civil::Date;

use super::preset::{Preset, Registration, Secret};
use super::{Account, Config, Flow, Listener, Provider, SecretSource};

/// How many days before its end a client secret or certificate is announced for the first time.
const NOTICE_DAYS: i32 = 30;

/// Everything worth a look. It reads the files that hold secrets, to say now what would fail at night.
pub fn warnings(config: &Config, today: Date) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(idle(config));
    warnings.extend(exposed(config));
    for provider in &config.providers {
        warnings.extend(of_provider(provider, today));
        if !config
            .accounts
            .iter()
            .any(|account| account.provider.name == provider.name)
        {
            warnings.push(format!("provider `{}` has no account", provider.name));
        }
    }
    for account in &config.accounts {
        warnings.extend(unreachable(account, config));
    }
    warnings
}

fn idle(config: &Config) -> Option<String> {
    match (config.accounts.is_empty(), config.listeners.is_empty()) {
        (true, _) => Some(
            "there is no account yet; add one with: mailwicket account add ADDRESS --provider NAME"
                .into(),
        ),
        (_, true) => {
            Some("there is no listener, so no mail program can connect; add a [[listener]]".into())
        }
        _ => None,
    }
}

fn unreachable(account: &Account, config: &Config) -> Option<String> {
    let serves = |listener: &Listener| listener.provider.name == account.provider.name;
    let reached =
        config.listeners.is_empty() || config.listeners.iter().any(|listener| serves(listener));
    (!reached).then(|| {
        format!(
            "account {} cannot be used: no listener has provider = \"{}\"",
            account.address, account.provider.name
        )
    })
}

fn of_provider(provider: &Provider, today: Date) -> Vec<String> {
    let name = &provider.name;
    let mut warnings = Vec::new();
    let person = !provider.flow.is_unattended();
    let preset = provider.preset.as_deref().and_then(Preset::named);
    if let Some(preset) = preset {
        warnings.extend(of_registration(provider, preset));
    }
    if person
        && preset.is_some_and(Preset::is_microsoft)
        && !provider
            .scopes
            .iter()
            .any(|scope| scope == "offline_access")
    {
        warnings.push(format!(
            "provider `{name}` does not ask for offline_access, so somebody must sign in again every hour"
        ));
    }
    warnings.extend(expiry(
        "client-secret",
        provider.client_secret_expires,
        provider,
        today,
    ));
    warnings.extend(expiry(
        "certificate",
        provider.certificate_ends(),
        provider,
        today,
    ));
    if provider.has_only_files() {
        warnings.extend(
            provider
                .look_at_credentials()
                .err()
                .map(|error| format!("provider `{name}`: {error}")),
        );
    }
    warnings
}

/// What is known about registrations at a provider.
fn of_registration(provider: &Provider, preset: &Preset) -> Vec<String> {
    let (name, title) = (&provider.name, preset.title);
    let mut warnings = Vec::new();
    if let Registration::OnRequest(words) = preset.registration {
        warnings.push(format!("provider `{name}` ({title}): {words}"));
    }
    let person = !provider.flow.is_unattended();
    match (preset.secret, &provider.client_secret) {
        (Secret::Wanted, None) if person => warnings.push(format!(
            "provider `{name}` has no client-secret; a registration for {title} has one, and its token endpoint wants it"
        )),
        (Secret::Refused, Some(_)) => warnings.push(format!(
            "provider `{name}` has a client-secret, but registrations for {title} have none: remove it"
        )),
        (_, Some(_)) if person && preset.is_microsoft() => warnings.push(format!(
            "provider `{name}` has a client-secret; Microsoft refuses it (AADSTS700025) if the registration is a public client \
             (\"Mobile and desktop applications\"): then remove it"
        )),
        _ => {}
    }
    if provider.flow == Flow::Password {
        warnings.push(format!(
            "provider `{name}` uses the password grant, which fails with a second factor and for federated users, and which is deprecated"
        ));
    }
    warnings
}

fn expiry(what: &str, end: Option<Date>, provider: &Provider, today: Date) -> Option<String> {
    let end = end?;
    let days = today.until(end).ok()?.get_days();
    let name = &provider.name;
    match days {
        ..=-1 => Some(format!(
            "the {what} of provider `{name}` ended on {end}; make a new one at the provider"
        )),
        0..=NOTICE_DAYS => Some(format!(
            "the {what} of provider `{name}` ends on {end}; make a new one at the provider"
        )),
        _ => None,
    }
}

/// A secret in a file that everybody can read.
fn exposed(config: &Config) -> Option<String> {
    let inline = |provider: &Provider| {
        let key = provider.certificate.as_ref().map(|c| &c.key);
        let secrets = [
            provider.client_secret.as_ref(),
            key,
            provider.assertion.as_ref(),
            provider.service_account.as_ref(),
        ];
        let mut secrets = secrets.into_iter().flatten();
        secrets.any(|source| matches!(source, SecretSource::Inline(_)))
    };
    let holds = config.providers.iter().any(|provider| inline(provider));
    (holds && is_open_to_all(&config.path)).then(|| {
        let path = config.path.display();
        format!("{path} holds a secret and every user of this machine can read it; run: chmod 600 {path}")
    })
}

#[cfg(unix)]
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_: &Path) -> bool {
    false
}
