//! The plan as a file.

use zeroize::Zeroizing;

use super::hindrance::hindrances;
use super::known::{Fit, Site};
use super::plan::{Listener, Mailbox, Plan, Provider};
use super::registration::{Scopes, Secret, has_browser, is_sample};
use super::source::Server;
use crate::config::line::{key, line, quoted};
use crate::config::{Flow, UpstreamTls};

/// Room for a usual file, so that the buffer need not grow and leave copies of secrets behind.
const ROOM: usize = 256 * 1024;

/// The whole file.
pub fn file(plan: &Plan<'_>, name: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    line(
        &mut text,
        &format!(
            "# Made from {} by `mailwicket import emailproxy`.",
            plain(name)
        ),
    );
    line(
        &mut text,
        "# Its report says what became of each line, and what is left to do: mailwicket check shows what is still wrong.",
    );
    let hindrances: Vec<_> = plan.providers.iter().map(hindrances).collect();
    for (provider, to_do) in plan.providers.iter().zip(&hindrances) {
        line(
            &mut text,
            &format!("\n# The settings of [{}]", plain(&provider.first.section)),
        );
        for words in to_do {
            line(&mut text, &format!("# TO DO: {words}"));
        }
        if !to_do.is_empty() {
            line(
                &mut text,
                "# Until then this provider, its listeners and its accounts stand in comments.",
            );
        }
        table(&mut text, !to_do.is_empty(), |text| {
            provider_table(text, provider);
        });
    }
    // Listeners and accounts are made for providers of the plan.
    let is_hindered = |place: usize| !hindrances[place].is_empty();
    for listener in &plan.listeners {
        listener_words(&mut text, listener);
        table(&mut text, is_hindered(listener.provider), |text| {
            listener_table(text, listener, plan);
        });
    }
    for mailbox in &plan.accounts {
        line(&mut text, "");
        if !mailbox.account.is_kept() {
            let words = whole_domain(mailbox);
            line(
                &mut text,
                &format!("# TO DO: {words}; write a table for each mailbox."),
            );
        } else if mailbox.account.is_catch_all() {
            line(
                &mut text,
                "# Every mailbox of the domain that has a local password.",
            );
        }
        let is_comment = !mailbox.account.is_kept() || is_hindered(mailbox.provider);
        table(&mut text, is_comment, |text| {
            account_table(text, mailbox, plan);
        });
    }
    if !plan.idle.is_empty() {
        idle(&mut text, &plan.idle);
    }
    text
}

/// The file in which a secret is expected that a person has to write.
pub fn secret_file(provider: &Provider<'_>) -> String {
    format!("{}.secret", provider.name)
}

/// The file in which the key of a service account is expected that stood in the source itself.
pub fn key_file(provider: &Provider<'_>) -> String {
    format!("{}.json", provider.name)
}

/// The name of a mailbox in our file: `@example.com` stands for a domain.
pub fn address(section: &str) -> String {
    match section.starts_with('@') {
        true => format!("*{section}"),
        false => section.to_owned(),
    }
}

/// A table, which stands in comments while something is missing.
fn table(text: &mut String, is_comment: bool, write: impl FnOnce(&mut String)) {
    if !is_comment {
        return write(text);
    }
    let mut table = Zeroizing::new(String::with_capacity(ROOM));
    write(&mut table);
    for words in table.lines() {
        line(text, &Zeroizing::new(format!("# {words}")));
    }
}

fn provider_table(text: &mut String, provider: &Provider<'_>) {
    line(text, &format!("[provider.{}]", provider.name));
    endpoints(text, provider);
    client(text, provider);
    let settings = provider.settings;
    if settings.flow() != Flow::AuthorizationCode {
        key(text, "flow", settings.flow().word());
    }
    if settings.flow() == Flow::Password {
        line(
            text,
            "allow-password-grant = true  # the weakest way; a sign-in by a person or the application is better",
        );
    }
    if let Scopes::Keep(scopes) = settings.scopes() {
        let scopes = scopes.iter().map(|scope| quoted(scope)).collect::<Vec<_>>();
        line(text, &format!("scopes = [{}]", scopes.join(", ")));
    }
    if let Some(url) = provider.redirect() {
        key(text, "redirect-url", &url);
    }
    if let Some(resource) = settings
        .resource
        .as_deref()
        .filter(|_| has_browser(settings.flow()))
    {
        line(
            text,
            &format!("authorize-params = {{ resource = {} }}", quoted(resource)),
        );
    }
    let servers = provider
        .servers
        .iter()
        .filter(|server| !provider.is_usual(server));
    servers.for_each(|server| line(text, &endpoint(server)));
}

fn endpoints(text: &mut String, provider: &Provider<'_>) {
    let settings = provider.settings;
    if let Some(fit) = settings.fit() {
        for (name, value) in fit.lines() {
            key(text, name, value);
        }
        return;
    }
    let permission = match settings.flow() {
        Flow::DeviceCode => "device-url",
        _ => "authorize-url",
    };
    if let Some(url) = settings
        .permission_url
        .as_deref()
        .filter(|_| has_browser(settings.flow()))
    {
        key(text, permission, url);
    }
    if let Some(url) = &settings.token_url {
        key(text, "token-url", url);
    }
}

fn client(text: &mut String, provider: &Provider<'_>) {
    let settings = provider.settings;
    if settings.flow() == Flow::ServiceAccount {
        let made_up = key_file(provider);
        let file = settings.service_account_file().unwrap_or(&made_up);
        line(
            text,
            &format!("service-account = {{ file = {} }}", quoted(file)),
        );
        return;
    }
    let id = settings.client_id.as_deref();
    let id = id.filter(|id| !is_sample(id));
    key(
        text,
        "client-id",
        id.unwrap_or("<the id of your registration>"),
    );
    match settings.secret() {
        Secret::Text(secret) => key(text, "client-secret", secret),
        Secret::ByHand => {
            let file = quoted(&secret_file(provider));
            line(text, &format!("client-secret = {{ file = {file} }}"));
        }
        Secret::None | Secret::Sample | Secret::Certificate => {}
    }
    if let (Some(certificate), Some(private)) = (&settings.certificate, &settings.key) {
        line(text, &certificate_line(certificate, private));
    }
}

fn listener_words(text: &mut String, listener: &Listener<'_>) {
    let server = listener.server;
    line(text, &format!("\n# [{}]", plain(&server.section)));
    if listener.port != server.port {
        line(
            text,
            &format!(
                "# Port {} serves another provider, and a listener serves one.",
                server.port
            ),
        );
    }
}

fn listener_table(text: &mut String, listener: &Listener<'_>, plan: &Plan<'_>) {
    let server = listener.server;
    line(text, "[[listener]]");
    key(text, "protocol", server.protocol.word());
    // A listener is made for a provider of the plan.
    key(text, "provider", &plan.providers[listener.provider].name);
    let addresses: Vec<_> = listener
        .addresses()
        .iter()
        .map(|address| quoted(&address.to_string()))
        .collect();
    line(text, &format!("listen = [{}]", addresses.join(", ")));
    if let Some(tls) = &server.tls {
        key(
            text,
            "tls",
            if tls.is_starttls {
                "starttls"
            } else {
                "implicit"
            },
        );
        line(text, &certificate_line(&tls.certificate, &tls.key));
    }
    if server.is_open() {
        // Passwords crossed the network in clear: a person has to say from where that is still meant.
        key(text, "tls", "auto");
        line(
            text,
            "# allow-plaintext-from = [\"192.168.1.20\"]  # for mail programs without TLS: their addresses or networks",
        );
    }
}

/// Why a catch-all cannot be kept.
pub fn whole_domain(mailbox: &Mailbox<'_>) -> &'static str {
    match mailbox.account.settings.flow().is_unattended() {
        true => "a whole domain is written as *@DOMAIN, and stands for that one",
        false => {
            "somebody has to sign in for each mailbox, so a whole domain cannot be opened at once"
        }
    }
}

fn account_table(text: &mut String, mailbox: &Mailbox<'_>, plan: &Plan<'_>) {
    let section = &mailbox.account.section;
    line(text, "[[account]]");
    key(text, "address", &address(section));
    // An account is made for a provider of the plan.
    key(text, "provider", &plan.providers[mailbox.provider].name);
}

/// Servers that nobody would use: they need a registration first, so they stand in comments.
fn idle(text: &mut String, servers: &[&Server]) {
    line(
        text,
        "\n# No account uses these servers. With a registration at their provider, they would be:",
    );
    for server in servers {
        let fit = Fit::at(server);
        let name = fit.map_or_else(
            || Site::of(&server.host).name(),
            |fit| fit.preset.name.to_owned(),
        );
        let listener = Listener {
            server,
            provider: 0,
            port: server.port,
        };
        let addresses: Vec<_> = listener
            .addresses()
            .iter()
            .map(|address| quoted(&address.to_string()))
            .collect();
        line(text, &format!("#\n# [provider.{name}]"));
        match fit {
            Some(fit) => table(text, true, |text| {
                for (name, value) in fit.lines() {
                    key(text, name, value);
                }
            }),
            None => line(text, "# authorize-url = \"…\"\n# token-url = \"…\""),
        }
        line(text, "# client-id = \"…\"");
        if !fit.is_some_and(|fit| fit.is_usual(server)) {
            line(text, &format!("# {}", endpoint(server)));
        }
        line(
            text,
            &format!(
                "#\n# [[listener]]\n# protocol = {}",
                quoted(server.protocol.word())
            ),
        );
        line(
            text,
            &format!(
                "# provider = {}\n# listen = [{}]",
                quoted(&name),
                addresses.join(", ")
            ),
        );
    }
}

/// `imap = { host = "…", … }`
pub fn endpoint(server: &Server) -> String {
    let tls = match server.upstream_tls {
        UpstreamTls::Implicit => "implicit",
        UpstreamTls::StartTls => "starttls",
    };
    let (word, host) = (server.protocol.word(), quoted(&server.host));
    format!(
        "{word} = {{ host = {host}, port = {}, tls = {} }}",
        server.upstream_port,
        quoted(tls)
    )
}

fn certificate_line(certificate: &str, private: &str) -> String {
    format!(
        "certificate = {{ file = {}, key = {{ file = {} }} }}",
        quoted(certificate),
        quoted(private)
    )
}

/// A text for a comment, which ends with its line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
