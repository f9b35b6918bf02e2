//! What is probably not meant, though it is valid: said by `mailwicket check`, in words.

use std::path::Path;

use jiff::civil::Date;

use super::preset::{Preset, Registration, Secret};
use super::{CertificateFiles, Config, Egress, Flow, Listener, LocalTls, Provider, SecretSource};
use crate::tls;

/// How many days before its end a client secret or certificate is announced for the first time.
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
        let mut used = config.roster.providers();
        if used.all(|used| used.name != provider.name) {
            warnings.push(format!("provider `{}` has no account", provider.name));
        }
    }
    for account in config.roster.accounts() {
        warnings.extend(unreachable(&account.address, &account.provider, config));
    }
    for template in config.roster.templates() {
        warnings.extend(unreachable(&template.pattern, &template.provider, config));
    }
    for listener in &config.listeners {
        warnings.extend(open_to_everybody(listener));
        warnings.extend(turned_away(listener));
        warnings.extend(proxy_without_login(listener));
    }
    let of_listeners = config.listeners.iter().map(|it| it.certificate.as_ref());
    let console = config.console.as_ref().and_then(|it| it.remote.as_ref());
    let of_console = console.and_then(|remote| remote.certificate.as_ref());
    let mut looked_at: Vec<&CertificateFiles> = Vec::new();
    for files in of_listeners.chain([of_console]).flatten() {
        if !looked_at.contains(&files) {
            looked_at.push(files);
            warnings.extend(of_certificate(files, today));
        }
    }
    warnings
}

fn idle(config: &Config) -> Option<String> {
    match (config.roster.is_empty(), config.listeners.is_empty()) {
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

fn unreachable(account: &str, provider: &Provider, config: &Config) -> Option<String> {
    let serves = |listener: &Listener| listener.provider.name == provider.name;
    let reached =
        config.listeners.is_empty() || config.listeners.iter().any(|listener| serves(listener));
    (!reached).then(|| {
        format!(
            "account {account} cannot be used: no listener has provider = \"{}\"",
            provider.name
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
    if let Some(source @ SecretSource::File(_)) = proxy_password(provider) {
        let error = source.read().err();
        warnings.extend(error.map(|error| format!("provider `{name}`: {error}")));
    }
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

/// What the file says that a proxy wants to hear. The environment's is none of its business.
fn proxy_password(provider: &Provider) -> Option<&SecretSource> {
    match &provider.egress {
        Egress::Proxy(proxy) => proxy.login.as_ref()?.password.as_ref(),
        Egress::Direct | Egress::Environment(_) => None,
    }
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

fn open_to_everybody(listener: &Listener) -> Option<String> {
    let everybody = |net: &&ipnet::IpNet| net.prefix_len() == 0;
    let net = listener.allow_plaintext_from.iter().find(everybody)?;
    Some(format!(
        "allow-plaintext-from = [\"{net}\"] lets everybody send passwords to the {} listener in clear; name the devices that need it",
        listener.protocol
    ))
}

/// Whom a listener without TLS is made for and does not take: others' words in clear are taken only from where that is said.
fn turned_away(listener: &Listener) -> Option<String> {
    if listener.tls != LocalTls::None {
        return None;
    }
    let allowed = &listener.allow_plaintext_from;
    let is_taken = |net: &ipnet::IpNet| {
        net.addr().is_loopback() || allowed.iter().any(|allowed| allowed.contains(net))
    };
    let devices = listener.without_login.iter().flat_map(|terms| &terms.from);
    let device = devices.into_iter().find(|net| !is_taken(net));
    let protocol = listener.protocol;
    match device {
        Some(net) => Some(format!(
            "the {protocol} listener turns the devices of without-login away that connect from {net}: add it to allow-plaintext-from"
        )),
        None if !listener.proxy_protocol_from.is_empty() && allowed.is_empty() => Some(format!(
            "the {protocol} listener takes what its proxy passes on only for mail programs on this machine: name the others' networks in allow-plaintext-from"
        )),
        None => None,
    }
}

/// A proxy that counts as a device: it does not name everybody whom it passes on, and who is not named counts as the proxy.
fn proxy_without_login(listener: &Listener) -> Option<String> {
    let overlap = |a: &ipnet::IpNet, b: &ipnet::IpNet| a.contains(b) || b.contains(a);
    let proxies = &listener.proxy_protocol_from;
    let terms = listener.without_login.as_ref()?;
    let is_proxy = |net: &&ipnet::IpNet| proxies.iter().any(|proxy| overlap(proxy, net));
    let net = terms.from.iter().find(is_proxy)?;
    Some(format!(
        "without-login covers {net}, where a proxy of proxy-protocol-from is: whomever the proxy does not name can send mail without a login; name only the devices"
    ))
}

/// A certificate that cannot be shown, or not for long.
fn of_certificate(files: &CertificateFiles, today: Date) -> Vec<String> {
    let mut warnings = Vec::new();
    match tls::own::load(files, &tls::provider()) {
        Err(error) => warnings.push(format!("a certificate cannot be shown: {error}")),
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
        let key = provider.certificate.as_ref().map(|c| &c.key);
        let secrets = [
            provider.client_secret.as_ref(),
            key,
            provider.assertion.as_ref(),
            provider.service_account.as_ref(),
            proxy_password(provider),
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
