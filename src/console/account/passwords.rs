//! The local passwords of an account: made, set, learned from a device, removed.
//!
//! A password that was made is shown in the answer to the form that asked for it, and nowhere else: the page has no address that could be
//! loaded again. The form sent again at once has the same answer ([`made`]); later it makes no second password of that name.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use ipnet::IpNet;
use jiff::Timestamp;
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;

use super::super::gate::{self, Form, Nothing, Session};
use super::super::page::{self, Fault, Field, Flash, Page};
use super::super::{Console, InForce};
use super::made::{self, Asked};
use super::{Seen, find, path_of, program};
use crate::config::Account;
use crate::password::values::{expiry, good_for, network, now, typed, window};
use crate::password::{self, LastUses, NamedPassword, Window};
use crate::protocol::Protocol;
use crate::vault::{self, Vault};

pub fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/account/{address}/passwords", post(add))
        .route("/account/{address}/passwords/remove", post(remove))
        .route("/account/{address}/passwords/unlearn", post(unlearn))
}

/// What the vault has.
pub struct Listed {
    kept: Result<password::Kept, String>,
    uses: Option<LastUses>,
}

impl Listed {
    /// Reads it. Blocks.
    pub fn read(vault: &Vault, account: &Account) -> Self {
        let kept = password::read(vault, &account.address);
        Self {
            kept: kept.map_err(|error| error.to_string()),
            uses: password::last_uses(vault, &account.address).ok(),
        }
    }

    /// Whether a mail program can log in.
    pub fn has_any(&self, account: &Account) -> bool {
        let now = Timestamp::now();
        let named = self.kept.as_ref().map_or(&[][..], |kept| &kept.passwords);
        named.iter().any(|named| !named.is_over(now)) || !account.password_hashes.is_empty()
    }
}

// ---- what is shown ----

pub fn section(session: &Session, seen: &Seen) -> Markup {
    let address = &seen.account.address;
    html! {
        section #passwords aria-labelledby="passwords-title" {
            h2 #passwords-title { "Local passwords" }
            p.hint { "What mail programs log in with. The provider never sees them, and they open nothing there." }
            @match &seen.passwords.kept {
                Err(error) => { p.fault { (error) } }
                Ok(kept) => {
                    (table(session, seen, &kept.passwords))
                    @if let Some(window) = kept.learning.as_ref().filter(|window| window.is_open(seen.now)) {
                        (learning(session, address, window, seen.now))
                    }
                }
            }
            details {
                summary { "Add a password" }
                (form(session, address))
            }
        }
    }
}

fn table(session: &Session, seen: &Seen, named: &[NamedPassword]) -> Markup {
    let account = &seen.account;
    if named.is_empty() && account.password_hashes.is_empty() {
        return html! { p { "There is none yet." } };
    }
    html! {
        (page::table("By name; none is shown", &["Name", "Good for", "Ends", "Last used", "Remove"], &html! {
                @for named in named {
                    tr role="row" {
                        th scope="row" role="rowheader" { (named.name) span.note { "added " (page::when(named.created, seen.now)) } }
                        td role="cell" data-label="Good for" { (good_for(named.protocol, &named.from)) }
                        td role="cell" data-label="Ends" {
                            @match named.expires { Some(end) => { (page::when(end, seen.now)) } None => { "never" } }
                        }
                        td role="cell" data-label="Last used" { (used(seen, &named.hash)) }
                        td role="cell" data-label="Remove" {
                            form method="post" action=(path_of(&account.address, "/passwords/remove")) {
                                (session.csrf())
                                input type="hidden" name="name" value=(named.name);
                                button.quiet type="submit" aria-label={ "Remove " (named.name) } { "Remove" }
                            }
                        }
                    }
                }
                @for (number, hash) in (1..).zip(&account.password_hashes) {
                    tr role="row" {
                        th scope="row" role="rowheader" { "configuration " (number) }
                        td role="cell" data-label="Good for" { "any protocol from anywhere" }
                        td role="cell" data-label="Ends" { "never" }
                        td role="cell" data-label="Last used" { (used(seen, hash)) }
                        td role="cell" data-label="Remove" { span.note { "in the file" } }
                    }
                }
            }))
    }
}

fn used(seen: &Seen, hash: &str) -> Markup {
    let uses = seen.passwords.uses.as_ref();
    html! {
        @match uses.and_then(|uses| uses.of(hash)) {
            Some(last) => {
                (page::when(last.at, seen.now))
                span.note { "from " (last.from) " over " (last.protocol) }
            }
            None => { "not yet" }
        }
    }
}

fn learning(session: &Session, address: &str, window: &Window, now: Timestamp) -> Markup {
    let path = path_of(address, "/passwords/unlearn");
    html! {
        p.flash {
            "Waiting for a device: the first login, " (good_for(window.protocol, &window.from)) ", with a new password is accepted, and its "
            "password kept as " strong { (window.name) } ". This ends " (page::when(window.until, now)) "."
        }
        (page::form(session, &path, &html! {}, "Learn nothing any more"))
    }
}

fn form(session: &Session, address: &str) -> Markup {
    let kinds = [
        ("generate", "one that is made up now, and shown once"),
        ("set", "the one that I type below"),
        (
            "learn",
            "the one that a device has: learn it from its next login",
        ),
    ];
    let fields = html! {
        (own_word())
        (Field::new("name", "What to call it").value("mail program").hint("To remove it by, as scanner or laptop.").required().show())
        fieldset.field {
            legend { "Which password" }
            @for (at, (kind, words)) in kinds.iter().enumerate() {
                label { input type="radio" name="kind" value=(kind) checked[at == 0]; " " (words) }
            }
        }
        (Field::secret("password", "The password, if it is given here").show())
        (Field::new("from", "Only from these networks or addresses")
            .hint("With spaces between them, as 192.168.1.20 or 192.168.1.0/24. Learning needs the device's own address.")
            .show())
        div.field {
            label for="protocol" { "Only for this protocol" }
            select #protocol name="protocol" {
                option value="" { "any" }
                @for protocol in Protocol::ALL { option value=(protocol.word()) { (protocol.word().to_uppercase()) } }
            }
        }
        (Field::new("expires", "When it ends")
            .hint("A last day (2027-01-31) or a time from now (30d); nothing means never. For learning: how long to wait for the device, as 10m.")
            .show())
    };
    page::form(
        session,
        &path_of(address, "/passwords"),
        &fields,
        "Add the password",
    )
}

/// One button for somebody who needs a first password.
pub fn quick(session: &Session, account: &Account) -> Markup {
    let fields = html! {
        (own_word())
        input type="hidden" name="name" value="mail program";
        input type="hidden" name="kind" value="generate";
    };
    let path = path_of(&account.address, "/passwords");
    page::form(session, &path, &fields, "Make a password")
}

/// By which a form is known again, if it is sent twice.
fn own_word() -> Markup {
    html! { input type="hidden" name="form" value=(made::word()); }
}

// ---- what is done ----

/// The form.
#[derive(Deserialize)]
struct New {
    name: String,
    kind: String,
    #[serde(default, deserialize_with = "gate::secret")]
    password: SecretString,
    #[serde(default)]
    from: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    expires: String,
    /// See [`own_word`].
    #[serde(default)]
    form: String,
}

/// What was done.
enum Added {
    Set,
    Learns(Window),
}

impl New {
    /// Does it; else says why not, in words. Blocks.
    fn add(self, vault: &Vault, account: &Account) -> Result<Added, String> {
        match self.kind.as_str() {
            "learn" => self.learn(vault, account),
            "set" => {
                let octets = typed(self.password.expose_secret().as_bytes());
                let octets = octets.map_err(|why| match self.password.expose_secret() {
                    "" => "No password was given.".to_owned(),
                    _ => format!("This cannot be a password: {why}."),
                })?;
                self.keep(&octets, vault, account)?;
                Ok(Added::Set)
            }
            _ => Err("Say which password it is to be.".to_owned()),
        }
    }

    /// Makes one up. Blocks.
    fn make(self, vault: &Vault, account: &Account) -> Result<SecretString, String> {
        let made = password::generate().map_err(|error| error.to_string())?;
        let octets = made.expose_secret().as_bytes().to_vec().into();
        self.keep(&octets, vault, account)?;
        Ok(made)
    }

    fn asked(&self, session: &Session, account: &Account) -> Asked {
        let typed = [&self.name, &self.from, &self.protocol, &self.expires];
        Asked {
            session: session.number(),
            form: self.form.clone(),
            address: account.address.clone(),
            typed: typed.map(Clone::clone),
        }
    }

    fn keep(
        self,
        octets: &SecretSlice<u8>,
        vault: &Vault,
        account: &Account,
    ) -> Result<(), String> {
        let (from, protocol) = (self.networks()?, self.protocol());
        let expires = match self.expires.trim() {
            "" => None,
            time => Some(expiry(time).map_err(|why| format!("When it ends: {why}."))?),
        };
        let hash = password::hash(octets.expose_secret()).map_err(|error| error.to_string())?;
        let named = NamedPassword {
            name: self.name,
            hash,
            created: now(),
            from,
            protocol,
            expires,
        };
        password::add(vault, account, named).map_err(|error| error.to_string())
    }

    fn learn(self, vault: &Vault, account: &Account) -> Result<Added, String> {
        let length = match self.expires.trim() {
            "" => window("10m")?,
            time => window(time)?,
        };
        let opened = now();
        let window = Window {
            from: self.networks()?,
            protocol: self.protocol(),
            name: self.name,
            opened,
            // A day at most, so it is in range.
            until: opened.saturating_add(length).unwrap_or(opened),
        };
        let opened = password::open_learning(vault, account, window.clone());
        opened.map_err(|error| error.to_string())?;
        Ok(Added::Learns(window))
    }

    fn networks(&self) -> Result<Vec<IpNet>, String> {
        let words = self.from.split(|c: char| c.is_whitespace() || c == ',');
        let words = words.filter(|word| !word.is_empty());
        let read = |word| network(word).map_err(|why| format!("{word}: {why}."));
        words.map(read).collect()
    }

    fn protocol(&self) -> Option<Protocol> {
        let mut all = Protocol::ALL.into_iter();
        all.find(|protocol| protocol.word() == self.protocol)
    }
}

async fn add(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
    Form(new): Form<New>,
) -> Result<Response, Fault> {
    let account = find(&console.now(), &address)?;
    if new.kind != "set" && !new.password.expose_secret().is_empty() {
        let words = "A password was typed, and another one asked for, so none was added. Choose \"the one that I type below\", or leave \
                     that field empty.";
        return Ok(back(&session, Flash::fault(words), &account).into_response());
    }
    if new.kind == "generate" {
        return make(console, session, account, new).await;
    }
    let name = new.name.clone();
    let adding = {
        let account = Arc::clone(&account);
        move |in_force: &InForce| new.add(&in_force.vault, &account)
    };
    let added = console.blocking(adding).await.ok_or_else(Fault::internal)?;
    let flash = match added {
        Ok(Added::Set) => {
            tracing::info!(
                account = account.address,
                name,
                "a local password was set in the console"
            );
            Flash::done(format!("The password {name} is added."))
        }
        Ok(Added::Learns(window)) => {
            tracing::info!(
                account = account.address,
                name,
                "a window for learning was opened in the console"
            );
            let logins = account.logins.join(" or ");
            Flash::done(format!(
                "Let the device log in now as {logins}, {}.",
                good_for(window.protocol, &window.from)
            ))
        }
        Err(words) => Flash::fault(words),
    };
    Ok(back(&session, flash, &account).into_response())
}

/// Makes one up and shows it; to a form that is sent again at once, the same.
async fn make(
    console: Arc<Console>,
    session: Session,
    account: Arc<Account>,
    new: New,
) -> Result<Response, Fault> {
    let name = new.name.clone();
    let asked = new.asked(&session, &account);
    let (vault, about) = (console.now().vault.clone(), Arc::clone(&account));
    let making = async move {
        let for_whom = Arc::clone(&about);
        let name = new.name.clone();
        let made = vault::blocking(move || new.make(&vault, &for_whom)).await?;
        tracing::info!(
            account = about.address,
            name,
            "a local password was made in the console"
        );
        Ok(made)
    };
    let (remembered, ended) = (console.made.clone(), session.ended().clone());
    let made = Console::whole(async move { remembered.once(asked, ended, making).await }).await?;
    Ok(match made {
        Ok(made) => once(&session, &console.now(), &account, &name, &made).into_response(),
        Err(words) => back(&session, Flash::fault(words), &account).into_response(),
    })
}

fn back(session: &Session, flash: Flash, account: &Account) -> Redirect {
    session.flash(flash);
    Redirect::to(&path_of(&account.address, ""))
}

/// The only page that ever shows a password.
fn once(
    session: &Session,
    in_force: &InForce,
    account: &Account,
    name: &str,
    made: &SecretString,
) -> Markup {
    let content = html! {
        section aria-labelledby="made-title" {
            h2 #made-title { "The password “" (name) "” of " (account.address) }
            p.once { code #made { (made.expose_secret()) } }
            p { strong { "It is shown only now." } " Type or copy it into the mail program; if it gets lost, make another." }
        }
        (program::card(in_force, account, true))
        p { a.button href=(path_of(&account.address, "")) { "Go on" } }
    };
    Page::new("A new password", "/").show(session, &content)
}

/// The button of a line.
#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn remove(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
    Form(Named { name }): Form<Named>,
) -> Result<Redirect, Fault> {
    let account = find(&console.now(), &address)?;
    let removing = {
        let (account, name) = (Arc::clone(&account), name.clone());
        move |in_force: &InForce| password::remove(&in_force.vault, &account.address, &name)
    };
    console.made.forget_of(&account.address);
    let removed = console
        .blocking(removing)
        .await
        .ok_or_else(Fault::internal)?;
    let flash = match removed {
        Ok(()) => Flash::done(format!(
            "The password {name} is removed. Sessions that are open stay open."
        )),
        Err(error) => Flash::fault(error.to_string()),
    };
    Ok(back(&session, flash, &account))
}

async fn unlearn(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Fault> {
    let account = find(&console.now(), &address)?;
    let cancelling = {
        let account = Arc::clone(&account);
        move |in_force: &InForce| password::cancel_learning(&in_force.vault, &account.address)
    };
    let cancelled = console
        .blocking(cancelling)
        .await
        .ok_or_else(Fault::internal)?;
    let flash = match cancelled {
        Ok(_) => Flash::done("Nothing is learned any more."),
        Err(error) => Flash::fault(error.to_string()),
    };
    Ok(back(&session, flash, &account))
}
