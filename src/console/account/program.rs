//! What to type into the mail program, from the listeners that are bound.

use std::net::IpAddr;

use maud::{Markup, html};

use super::super::InForce;
use crate::config::{Account, LocalTls};
use crate::process;
use crate::protocol::Protocol;

/// A place where the mail program may log in.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    protocol: Protocol,
    /// Whether it is for this machine alone.
    is_here: bool,
    port: u16,
    tls: LocalTls,
}

/// The card of an account.
pub fn card(in_force: &InForce, account: &Account, has_password: bool) -> Markup {
    let places = places(in_force, account);
    let logins = account.logins.join(" or ");
    html! {
        section #program aria-labelledby="program-title" {
            h2 #program-title { "Type this into the mail program" }
            @if places.is_empty() {
                p { "No listener is for this provider yet. " a href="/new-listener" { "Add one" } "." }
            }
            @for (place, hosts) in &places {
                h3 { (title(place.protocol)) @if !place.is_here { ", also from other machines" } }
                dl.card {
                    dt { "Server" } dd { code { (hosts.join(" or ")) } }
                    dt { "Port" } dd { code { (place.port) } }
                    dt { "Encryption" } dd { (encryption(place)) }
                    dt { "Authentication" } dd { "normal password" }
                    dt { "User name" } dd { code { (logins) } }
                    dt { "Password" } dd {
                        @if has_password { "a local one, made here; never the provider's" } @else { "make one first, below" }
                    }
                }
            }
            @if places.iter().any(|(place, _)| place.tls != LocalTls::None) {
                p.hint { "With TLS the mail program has to trust our certificate: " code { "mailwicket ca export" } " prints it." }
            }
        }
    }
}

/// The places with the names they are reached by. What only differs in the address is one.
fn places(in_force: &InForce, account: &Account) -> Vec<(Place, Vec<String>)> {
    let mut places: Vec<(Place, Vec<String>)> = Vec::new();
    for (listener, bound, _) in &in_force.sources.listeners {
        if listener.provider.name != account.provider.name {
            continue;
        }
        let ip = bound.ip().to_canonical();
        let place = Place {
            protocol: listener.protocol,
            is_here: ip.is_loopback(),
            port: bound.port(),
            tls: listener.tls,
        };
        let host = host(ip, in_force);
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, hosts)) if hosts.contains(&host) => {}
            Some((_, hosts)) => hosts.push(host),
            None => places.push((place, vec![host])),
        }
    }
    places.sort_by_key(|(place, _)| (place.protocol, place.port));
    places
}

/// What others call an address. For all addresses of the machine that is its name, which the certificate has as well.
fn host(ip: IpAddr, in_force: &InForce) -> String {
    if !ip.is_unspecified() {
        return ip.to_string();
    }
    let named = in_force.config.ca_names.first().map(ToString::to_string);
    let named = named.or_else(process::host_name);
    named.unwrap_or_else(|| "this machine's name or address".into())
}

fn title(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "Incoming mail: IMAP",
        Protocol::Pop3 => "Incoming mail: POP3",
        Protocol::Smtp => "Outgoing mail: SMTP",
    }
}

fn encryption(place: &Place) -> &'static str {
    match (place.tls, place.is_here) {
        (LocalTls::None, true) => "none (it stays on this machine)",
        (LocalTls::None, false) => "none",
        (LocalTls::StartTls, _) => "STARTTLS",
        (LocalTls::Implicit, _) => "SSL/TLS",
        (LocalTls::Auto, true) => "none, STARTTLS or SSL/TLS",
        (LocalTls::Auto, false) => "SSL/TLS or STARTTLS",
    }
}
