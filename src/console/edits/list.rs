//! What there is: the providers, the listeners, and the file itself.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::{FILE, LISTENERS, PROVIDERS, Seen, Served, Target, look, text_of, unfit, unreadable};
use crate::config::edit::masked_lines;
use crate::config::{Listener, Preset, Provider, SecretSource, read_text};
use crate::console::gate::Session;
use crate::console::page::{self, Fault, Page};
use crate::console::{Console, InForce};
use crate::protocol::Protocol;

/// Accounts that are named in a line.
const NAMED: usize = 5;

pub async fn providers(State(console): State<Arc<Console>>, session: Session) -> Served {
    page(
        &console,
        &session,
        "Providers",
        PROVIDERS,
        |in_force, seen| {
            html! {
                (page::table("The registrations at providers that the file has", &["Provider", "Flow", "Mail servers", "Proof", "Used by"], &html! {
                        @for name in seen.providers() { (provider_row(in_force, seen, &name)) }
                    }))
                p { a.button href="/new-provider" { "Add a provider" } }
            }
        },
    )
    .await
}

fn provider_row(in_force: &InForce, seen: &Seen, name: &str) -> Markup {
    let known = resolved(in_force, seen, name);
    let known = known.as_deref();
    let (accounts, listeners) = seen.users_of(name);
    let title = known.and_then(|provider| Preset::named(provider.preset.as_deref()?));
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                a href=(Target::Provider(name.to_owned()).path()) { (name) }
                @if let Some(preset) = title { span.note { (preset.title) } }
            }
            td role="cell" data-label="Flow" { @if let Some(provider) = known { (provider.flow.word()) } @else { "–" } }
            td role="cell" data-label="Mail servers" { @if let Some(provider) = known { (servers(provider)) } @else { "–" } }
            td role="cell" data-label="Proof" { @if let Some(provider) = known { (proof(provider)) } @else { "–" } }
            td role="cell" data-label="Used by" {
                @match accounts.len() {
                    0 => { "no account" }
                    count => {
                        (accounts[..count.min(NAMED)].join(", "))
                        @if count > NAMED { " and " (count - NAMED) " more" }
                    }
                }
                @if !listeners.is_empty() { span.note { (listeners.join(", ")) } }
            }
        }
    }
}

/// The provider as it is with everything from its preset: as the file says, or else as it is in force.
fn resolved(in_force: &InForce, seen: &Seen, name: &str) -> Option<Arc<Provider>> {
    let config = seen.config.as_ref().unwrap_or(&in_force.config);
    let mut all = config.providers.iter();
    all.find(|provider| provider.name == name).cloned()
}

fn servers(provider: &Provider) -> Markup {
    let each = Protocol::ALL.map(|protocol| (protocol, provider.endpoint(protocol)));
    html! {
        ul.plain {
            @for (protocol, endpoint) in each {
                @if let Some(endpoint) = endpoint { li { (protocol) " " (endpoint) } }
            }
        }
    }
}

/// What kind of proof there is and when it ends, never what it is.
fn proof(provider: &Provider) -> Markup {
    let secrets = [
        ("client secret", provider.client_secret.as_ref()),
        ("assertion", provider.assertion.as_ref()),
        ("service account", provider.service_account.as_ref()),
    ];
    let mut said: Vec<String> = secrets
        .into_iter()
        .filter_map(|(what, source)| Some(format!("{what} {}", place(source?))))
        .collect();
    if let Some(certificate) = &provider.certificate {
        said.push(format!("certificate {}", certificate.file.display()));
    }
    let ends = [provider.client_secret_expires, provider.certificate_ends()];
    html! {
        @if said.is_empty() { "none" } @else { (said.join(", ")) }
        @for end in ends.into_iter().flatten() { span.note { "ends on " (end) } }
    }
}

fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::Inline(_) => "in the configuration itself".into(),
        SecretSource::File(path) => format!("in the file {}", path.display()),
        SecretSource::Env(name) => format!("in the environment variable {name}"),
        SecretSource::Credential(name) => format!("in the systemd credential {name}"),
        SecretSource::Command(_) => "printed by a command".into(),
    }
}

/// What a provider comes to, with everything from its preset.
pub fn facts(in_force: &InForce, seen: &Seen, name: &str) -> Markup {
    let Some(provider) = resolved(in_force, seen, name) else {
        return html! {};
    };
    let (accounts, listeners) = seen.users_of(name);
    let url = |url: &Option<url::Url>| url.as_ref().map(ToString::to_string);
    let urls = [
        ("Issuer", provider.issuer.clone()),
        ("Authorization URL", url(&provider.authorize_url)),
        ("Token URL", url(&provider.token_url)),
        ("Device URL", url(&provider.device_url)),
        ("Revocation URL", url(&provider.revoke_url)),
    ];
    html! {
        details open {
            summary { "What it comes to, with everything from its preset" }
            dl.facts {
                dt { "Flow" } dd { (provider.flow.word()) }
                dt { "Mail servers" } dd { (servers(&provider)) }
                dt { "Scopes" } dd { (provider.scopes.join(" ")) }
                @for (title, url) in urls {
                    @if let Some(url) = url { dt { (title) } dd { (url) } }
                }
                dt { "Proof" } dd { (proof(&provider)) }
                @if let Some(way) = provider.way_out() { dt { "Way out" } dd { (way) } }
                dt { "Used by" }
                dd {
                    @if accounts.is_empty() && listeners.is_empty() { "nobody" }
                    ul.plain { @for user in accounts { li { (user) } } @for user in listeners { li { (user) } } }
                }
            }
        }
    }
}

pub async fn listeners(State(console): State<Arc<Console>>, session: Session) -> Served {
    page(&console, &session, "Listeners", LISTENERS, |in_force, seen| {
        html! {
            (page::table("Where mail programs log in, as the file says", &["Listener", "Addresses", "Provider", "TLS", "In clear from", "Sessions now"], &html! {
                    @for (at, table) in seen.listeners().iter().enumerate() { (listener_row(in_force, seen, at, table)) }
                }))
            p { a.button href="/new-listener" { "Add a listener" } }
        }
    })
    .await
}

fn listener_row(in_force: &InForce, seen: &Seen, at: usize, table: &toml::Value) -> Markup {
    let known = seen.config.as_ref().ok();
    let sessions = known.and_then(|config| sessions(in_force, config.listeners.get(at)?));
    let list = |key: &str| match table.get(key) {
        Some(toml::Value::String(text)) => text.clone(),
        Some(toml::Value::Array(list)) => {
            let texts = list.iter().filter_map(toml::Value::as_str);
            texts.collect::<Vec<_>>().join(", ")
        }
        _ => "–".into(),
    };
    let tls = match text_of(table, "tls") {
        "" => "none",
        tls => tls,
    };
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                a href=(Target::Listener(at).path()) { (at + 1) ": " (text_of(table, "protocol")) }
            }
            td role="cell" data-label="Addresses" { (list("listen")) }
            td role="cell" data-label="Provider" { (text_of(table, "provider")) }
            td role="cell" data-label="TLS" { (tls) }
            td role="cell" data-label="In clear from" { (list("allow-plaintext-from")) }
            td role="cell" data-label="Sessions now" {
                @match sessions { Some(count) => { (count) } None => { "not in force" } }
            }
        }
    }
}

/// The sessions of a listener of the file, if it is in force.
fn sessions(in_force: &InForce, listener: &Listener) -> Option<u64> {
    let is_it = |other: &Listener| {
        (other.protocol, &other.addresses) == (listener.protocol, &listener.addresses)
    };
    let open = in_force.sources.listeners.iter();
    let mut counts = open
        .filter(|(other, _, _)| is_it(other))
        .map(|(_, _, counters)| counters.listener().sessions)
        .peekable();
    counts.peek()?;
    Some(counts.sum())
}

/// The file, with its lines numbered and without its secrets.
pub async fn file(State(console): State<Arc<Console>>, session: Session) -> Served {
    let read = |in_force: &InForce| {
        let path = in_force.config.path.clone();
        (read_text(&path), path)
    };
    let (text, path) = console.blocking(read).await.ok_or_else(Fault::internal)?;
    let content = match text {
        Ok(text) => html! {
            p { code { (path.display()) } ", as it is on the disk, without its secrets." }
            pre.numbered tabindex="0" role="group" aria-label="The configuration file" {
                @for (line, number) in masked_lines(&text).iter().zip(1..) {
                    span.number aria-hidden="true" { (format!("{number:>4}  ")) } (line) "\n"
                }
            }
        },
        Err(error) => unreadable(&error.to_string()),
    };
    Ok(Page::new("Configuration", FILE)
        .show(&session, &content)
        .into_response())
}

/// A page about what the file says.
async fn page(
    console: &Console,
    session: &Session,
    title: &str,
    here: &str,
    content: impl FnOnce(&InForce, &Seen) -> Markup + Send + 'static,
) -> Result<Response, Fault> {
    let show = move |in_force: &InForce| match look(in_force) {
        Ok(seen) => html! { (unfit(&seen)) (content(in_force, &seen)) },
        Err(words) => unreadable(&words),
    };
    let content = console.blocking(show).await.ok_or_else(Fault::internal)?;
    Ok(Page::new(title, here)
        .show(session, &content)
        .into_response())
}
