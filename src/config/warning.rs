//! What is probably not meant, though it is valid: said by `mailwicket check`, in words.

use std::path::Path;

use jiff::civil::Date;

use super::{Account, CertificateFiles, Config, Egress, Flow, Listener, Provider, SecretSource};
use crate::tls;

/// How many days before its end a client secret is announced for the first time.
const NOTICE_DAYS: i32 = 30;

/// The same for a listener's certificate. Those that renew themselves do so earlier.
const CERTIFICATE_NOTICE_DAYS: i32 = 14;

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
    for listener in &config.listeners {
        warnings.extend(open_to_everybody(listener));
    }
    let mut files: Vec<&CertificateFiles> = Vec::new();
    for listener in &config.listeners {
        files.extend(listener.certificate.as_ref());
    }
    files.dedup();
    for files in files {
        warnings.extend(of_certificate(files, today));
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
    let person = provider.flow == Flow::AuthorizationCode;
    let preset = provider.preset.as_deref().unwrap_or_default();
    match (preset, &provider.client_secret) {
        ("google", None) => warnings.push(format!(
            "provider `{name}` has no client-secret; Google wants the one of a desktop registration as well"
        )),
        ("microsoft", Some(_)) if person => warnings.push(format!(
            "provider `{name}` has a client-secret; Microsoft refuses it (AADSTS700025) if the registration is a public client \
             (\"Mobile and desktop applications\"): then remove it"
        )),
        _ => {}
    }
    if person
        && preset == "microsoft"
        && !provider
            .scopes
            .iter()
            .any(|scope| scope == "offline_access")
    {
        warnings.push(format!(
            "provider `{name}` does not ask for offline_access, so somebody must sign in again every hour"
        ));
    }
    warnings.extend(expiry(provider, today));
    for source in secrets(provider).filter(|source| matches!(source, SecretSource::File(_))) {
        warnings.extend(
            source
                .read()
                .err()
                .map(|error| format!("provider `{name}`: {error}")),
        );
    }
    warnings
}

/// The secrets that the file names for a provider. The environment's are none of its business.
fn secrets(provider: &Provider) -> impl Iterator<Item = &SecretSource> {
    let password = match &provider.egress {
        Egress::Proxy(proxy) => proxy.login.as_ref(),
        Egress::Direct | Egress::Environment(_) => None,
    };
    let password = password.and_then(|login| login.password.as_ref());
    provider.client_secret.iter().chain(password)
}

fn expiry(provider: &Provider, today: Date) -> Option<String> {
    let end = provider.client_secret_expires?;
    let days = today.until(end).ok()?.get_days();
    let name = &provider.name;
    match days {
        ..=-1 => Some(format!(
            "the client-secret of provider `{name}` ended on {end}; make a new one at the provider"
        )),
        0..=NOTICE_DAYS => Some(format!(
            "the client-secret of provider `{name}` ends on {end}; make a new one at the provider"
        )),
        _ => None,
    }
}

fn open_to_everybody(listener: &Listener) -> Option<String> {
    let everybody = |net: &&ipnet::IpNet| net.prefix_len() == 0;
    let net = listener.allow_plaintext_from.iter().find(everybody)?;
    Some(format!(
        "allow-plaintext-from = [\"{net}\"] lets everybody send passwords to the {} listener in clear; name the devices that need it",
        listener.protocol
    ))
}

/// A certificate that cannot be shown, or not for long.
fn of_certificate(files: &CertificateFiles, today: Date) -> Vec<String> {
    let mut warnings = Vec::new();
    match tls::own::load(files, &tls::provider()) {
        Err(error) => warnings.push(format!("the certificate of a listener: {error}")),
        Ok(content) => warnings.extend(content.ends.and_then(|ends| {
            let end = ends.to_zoned(jiff::tz::TimeZone::UTC).date();
            let days = today.until(end).ok()?.get_days();
            let ended = if days < 0 { "ended" } else { "ends" };
            let path = files.chain.display();
            (days <= CERTIFICATE_NOTICE_DAYS)
                .then(|| format!("the certificate in {path} {ended} on {end}; renew it"))
        })),
    }
    if is_open_to_all(&files.key) {
        let path = files.key.display();
        warnings.push(format!(
            "{path} holds a private key and every user of this machine can read it; run: chmod 600 {path}"
        ));
    }
    warnings
}

/// A secret in a file that everybody can read.
fn exposed(config: &Config) -> Option<String> {
    let inline = |provider: &Provider| {
        secrets(provider).any(|source| matches!(source, SecretSource::Inline(_)))
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
