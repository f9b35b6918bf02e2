//! "Authorize now": a sign-in at the provider from the page of an account, and what became of it.
//!
//! `ongoing` remembers the sign-ins, `redirect` is the browser's way back, `qr` the picture for a telephone. What asks the provider, checks
//! and stores is [`crate::authorize`], as for the terminal.

mod ongoing;
mod qr;
pub mod redirect;

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::HOST;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::account::path_of;
use super::gate::{self, Door, Form, Nothing, Session};
use super::live::{self, Part};
use super::page::{self, Fault, Flash, Page};
use super::{Console, InForce};
use crate::authorize::{
    Authorization, AuthorizeError, Granted, STORE_PATIENCE, Way, redirect_to_paste,
};
use crate::config::{Account, Flow};
use crate::oauth::SignIn;
use crate::oauth::redirect::{RedirectListener, SIGN_IN_LIMIT};
use crate::vault::VaultError;
use ongoing::{Arrived, Back, Begun, Seen, Standing};
use redirect::Return;

pub use ongoing::Ongoing;

/// Where the sign-ins' own pages are.
const PATH: &str = "/sign-in/";

pub fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/account/{address}/authorize", post(begin))
        .route("/sign-in/{id}", get(show))
        .route("/sign-in/{id}/paste", post(paste))
        .route("/sign-in/{id}/cancel", post(cancel))
}

// ---- the beginning ----

/// What the button says.
#[derive(Deserialize)]
struct Wanted {
    /// How somebody signs in; empty for the usual way.
    #[serde(default)]
    way: String,
    /// The mailbox's own password, where the flow has that.
    #[serde(default, deserialize_with = "gate::secret")]
    password: SecretString,
}

async fn begin(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
    Extension(door): Extension<Arc<Door>>,
    headers: HeaderMap,
    Form(wanted): Form<Wanted>,
) -> Result<Redirect, Fault> {
    let look = move |in_force: &InForce| {
        let account = in_force.config.account(&address).ok()?;
        let limit = in_force.config.timeouts.token;
        Some(Authorization::new(
            account.clone(),
            in_force.vault.clone(),
            limit,
        ))
    };
    let authorization = console.blocking(look).await.ok_or_else(Fault::internal)?;
    let authorization = Arc::new(authorization.ok_or_else(Fault::not_found)?.map_err(fault)?);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let beginning = Beginning {
        session: session.number(),
        ended: session.ended().clone(),
        origin: door.origin(host.unwrap_or_default()),
        id: name().map_err(|_| Fault::internal())?,
        authorization,
    };
    let id = beginning.id.clone();
    beginning.go(&console, wanted).await?;
    Ok(Redirect::to(&format!("{PATH}{id}")))
}

fn fault(error: AuthorizeError) -> Fault {
    Fault::bad(error.to_string())
}

/// A name that nobody guesses.
fn name() -> std::io::Result<String> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(std::io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

struct Beginning {
    session: u64,
    /// Set when that session is over; what it began ends with it.
    ended: CancellationToken,
    origin: String,
    id: String,
    authorization: Arc<Authorization>,
}

impl Beginning {
    async fn go(self, console: &Arc<Console>, wanted: Wanted) -> Result<(), Fault> {
        let account = self.authorization.account();
        let flow = account.provider.flow;
        if flow.is_unattended() {
            return self.at_once(console, None);
        }
        if flow == Flow::Password {
            return self.at_once(console, Some(wanted.password));
        }
        let way = match wanted.way.as_str() {
            "browser" => Way::Browser,
            "device" => Way::Device,
            "paste" => Way::Paste,
            _ => Way::of(account),
        };
        match way {
            Way::Device => self.device(console).await,
            way => self.browser(console, way).await,
        }
    }

    /// Nobody has to go anywhere.
    fn at_once(self, console: &Arc<Console>, password: Option<SecretString>) -> Result<(), Fault> {
        let working = Standing::Working {
            words: String::new(),
        };
        let (id, authorization) = (self.id.clone(), Arc::clone(&self.authorization));
        self.remember(console, None, working)?;
        let console = Arc::clone(console);
        tokio::spawn(async move {
            let granted = match password {
                Some(password) => authorization.by_password(&password).await,
                None => authorization.by_application().await,
            };
            conclude(&console, &id, &authorization, granted).await;
        });
        Ok(())
    }

    async fn device(self, console: &Arc<Console>) -> Result<(), Fault> {
        let sign_in = self.authorization.begin_device().await.map_err(fault)?;
        let life = SignedDuration::try_from(sign_in.life).unwrap_or_default();
        let standing = Standing::Device {
            code: sign_in.user_code.clone(),
            url: sign_in.url.clone(),
            complete: sign_in.complete_url.clone(),
            until: Timestamp::now()
                .saturating_add(life)
                .unwrap_or(Timestamp::MAX),
        };
        let (id, authorization) = (self.id.clone(), Arc::clone(&self.authorization));
        let ended = self.ended.clone();
        let given_up = self.remember(console, None, standing)?;
        let console = Arc::clone(console);
        tokio::spawn(async move {
            let granted = tokio::select! {
                granted = authorization.finish_device(sign_in) => granted,
                () = given_up.cancelled() => return,
                () = ended.cancelled() => return,
                () = console.stop.cancelled() => return,
            };
            conclude(&console, &id, &authorization, granted).await;
        });
        Ok(())
    }

    async fn browser(self, console: &Arc<Console>, way: Way) -> Result<(), Fault> {
        let configured = &self.authorization.account().provider.redirect_url;
        let comes_back = match way {
            Way::Paste => Return::Pasted(redirect_to_paste(configured)),
            _ => Return::of(configured, console.own_address().as_ref()),
        };
        let (redirect, listener, back) = match comes_back {
            Return::Here(url) => (url, None, Back::Here),
            Return::Pasted(url) => (url, None, Back::Pasted),
            Return::Elsewhere(url) => match RedirectListener::bind(&url).await {
                Ok(listener) => (listener.url().clone(), Some(listener), Back::Elsewhere),
                // Another program has the port, such as another sign-in.
                Err(_) => (redirect_to_paste(&url), None, Back::Pasted),
            },
        };
        let sign_in = self.authorization.begin(&redirect).await.map_err(fault)?;
        let standing = Standing::Browser {
            url: sign_in.url.clone(),
            back,
        };
        let (id, expected) = (self.id.clone(), sign_in.expected.clone());
        let ended = self.ended.clone();
        let given_up = self.remember(console, Some(sign_in), standing)?;
        let Some(listener) = listener else {
            return Ok(());
        };
        let console = Arc::clone(console);
        tokio::spawn(async move {
            let code = tokio::select! {
                code = listener.wait(expected, SIGN_IN_LIMIT) => code,
                () = given_up.cancelled() => return,
                () = ended.cancelled() => return,
                () = console.stop.cancelled() => return,
            };
            if let Some(arrived) = console.sign_ins.returned(&id, code) {
                end(&console, arrived);
            }
        });
        Ok(())
    }

    fn remember(
        self,
        console: &Console,
        sign_in: Option<SignIn>,
        standing: Standing,
    ) -> Result<CancellationToken, Fault> {
        let begun = Begun {
            session: self.session,
            origin: self.origin,
            authorization: self.authorization,
            sign_in,
            standing,
        };
        let begun = console.sign_ins.begin(self.id, begun);
        begun.map_err(|ongoing::Full| {
            Fault::busy("Too many sign-ins are under way. End one of them, or wait ten minutes.")
        })
    }
}

// ---- the end ----

/// Exchanges what came back, and keeps it if it is of use. Nobody waits for it: the sign-in's page shows what became of it.
fn end(console: &Arc<Console>, arrived: Arrived) {
    let console = Arc::clone(console);
    tokio::spawn(async move {
        let Arrived {
            id,
            authorization,
            sign_in,
            code,
            ..
        } = arrived;
        let granted = match code {
            Ok(code) => authorization.finish(sign_in, code).await,
            Err(error) => Err(error.into()),
        };
        conclude(&console, &id, &authorization, granted).await;
    });
}

async fn conclude(
    console: &Console,
    id: &str,
    authorization: &Authorization,
    granted: Result<Granted, AuthorizeError>,
) {
    let address = &authorization.account().address;
    let granted = match granted {
        Ok(granted) => granted,
        Err(error) => return fail_for(console, id, address, &error),
    };
    let (by, warnings) = (granted.signed_in_as.clone(), granted.warnings.clone());
    let on_busy = |error: &VaultError| {
        if let VaultError::Busy { holder, .. } = error {
            let minutes = STORE_PATIENCE.as_secs() / 60;
            let words = format!(
                "The sign-in is done. Waiting up to {minutes} minutes for {holder}, to store it."
            );
            console.sign_ins.note(id, Standing::Working { words });
        }
    };
    match authorization.keep(granted, on_busy).await {
        Ok(()) => {
            tracing::info!(account = address, "authorised in the console");
            console.sign_ins.note(id, Standing::Done { by, warnings });
        }
        Err(error) => fail_for(console, id, address, &error),
    }
}

fn fail_for(console: &Console, id: &str, address: &str, error: &AuthorizeError) {
    let words = error.to_string().replace("ACCOUNT", address);
    tracing::info!(
        account = address,
        error = words,
        "not authorised in the console"
    );
    fail(console, id, error);
}

/// Notes why a sign-in failed.
fn fail(console: &Console, id: &str, error: &AuthorizeError) {
    let words = error.to_string();
    console.sign_ins.note(id, Standing::Failed { words });
}

async fn paste(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(id): Path<String>,
    Form(Pasted { address }): Form<Pasted>,
) -> Redirect {
    let pasted = address.expose_secret();
    match console.sign_ins.pasted(&id, session.number(), pasted) {
        Ok(arrived) => end(&console, arrived),
        Err(reason) => session.flash(Flash::fault(format!(
            "This is not the address that the sign-in ended at: {reason}. Paste the whole of it."
        ))),
    }
    Redirect::to(&format!("{PATH}{id}"))
}

/// The last address of a sign-in. It holds the code, so it is never shown again.
#[derive(Deserialize)]
struct Pasted {
    #[serde(deserialize_with = "gate::secret")]
    address: SecretString,
}

async fn cancel(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Redirect {
    let seen = console.sign_ins.see(&id, session.number());
    console.sign_ins.give_up(&id, session.number());
    Redirect::to(&seen.map_or_else(|| "/".into(), |seen| path_of(&seen.account, "")))
}

// ---- the page ----

async fn show(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(id): Path<String>,
) -> Response {
    let Some(seen) = console.sign_ins.see(&id, session.number()) else {
        return Fault::bad("This sign-in is not known here, or no longer. Begin it again on the page of the account.")
            .into_response();
    };
    let refreshes = matches!(
        seen.standing,
        Standing::Working { .. } | Standing::Device { .. }
    );
    let content = html! {
        @if refreshes { noscript { meta http-equiv="refresh" content="3"; } }
        (panel(&session, &seen))
        p { a href=(path_of(&seen.account, "")) { "Back to " (seen.account) } }
    };
    let title = format!("Sign-in for {}", seen.account);
    let page = Page::new(&title, "/").live(format!("{}?page=sign-in&id={id}", live::PATH));
    page.show(&session, &content).into_response()
}

/// The part that changes.
pub fn parts(console: &Console, session: &Session, id: &str) -> Vec<Part> {
    let seen = console.sign_ins.see(id, session.number());
    seen.map(|seen| ("sign-in", panel(session, &seen).into_string()))
        .into_iter()
        .collect()
}

fn panel(session: &Session, seen: &Seen) -> Markup {
    html! {
        section #sign-in aria-live="polite" {
            @match &seen.standing {
                Standing::Browser { url, back } => { (browser(session, seen, url, *back)) }
                Standing::Device { code, url, complete, until } => {
                    (device(seen, code, url, complete.as_ref(), *until))
                    (give_up(session, seen))
                }
                Standing::Working { words } => {
                    p.summary { "Asking the provider for tokens…" }
                    @if !words.is_empty() { p { (words) } }
                }
                Standing::Done { by, warnings } => { (done(seen, by.as_deref(), warnings)) }
                Standing::Failed { words } => {
                    p.summary { span.state.config-error { "not authorised" } }
                    p.flash.fault { (words.replace("ACCOUNT", &seen.account)) }
                    (again(session, seen))
                }
                Standing::Late => {
                    p.summary { span.state.config-error { "too late" } }
                    p { "Nobody signed in within " (SIGN_IN_LIMIT.as_secs() / 60) " minutes." }
                    (again(session, seen))
                }
            }
        }
    }
}

fn browser(session: &Session, seen: &Seen, url: &Url, back: Back) -> Markup {
    // Where the way leads back here by itself, one tab will do.
    let target = (back != Back::Here).then_some("_blank");
    let field = page::Field::secret("address", "The whole last address")
        .hint(
            "It begins with http and has code= and state= in it. It is good once, and never shown.",
        )
        .required();
    html! {
        p.summary { "Sign in as " strong { (seen.who) } "." }
        p {
            a.button #provider href=(url) rel="noreferrer noopener" target=[target] {
                "Sign in at " (url.host_str().unwrap_or("the provider"))
            }
        }
        p.hint {
            @match back {
                Back::Here => {
                    "The provider asks for the password and for consent, and leads back here."
                }
                Back::Elsewhere => {
                    "The provider asks for the password and for consent. It leads back to another port of mailwicket's machine: that takes a "
                    "browser there. This page shows the result."
                }
                Back::Pasted => {
                    "After the sign-in the browser ends at an address that it cannot load. Copy the whole of it, and paste it here."
                }
            }
        }
        details open[back != Back::Here] {
            summary { "Paste the address that the browser ended at" }
            (page::form(session, &format!("{PATH}{}/paste", seen.id), &field.show(), "Finish the sign-in"))
        }
        (give_up(session, seen))
    }
}

fn device(seen: &Seen, code: &str, url: &Url, complete: Option<&Url>, until: Timestamp) -> Markup {
    let address = complete.unwrap_or(url);
    html! {
        p.summary { "Sign in as " strong { (seen.who) } " on any device." }
        ol {
            li { "Open " a href=(address) rel="noreferrer noopener" target="_blank" { (url) } }
            li { "Type this code: " strong.code { (code) } }
        }
        @if let Some(picture) = qr::picture(address) { (picture) }
        p.hint {
            "The code is good " (page::when(until, Timestamp::now())) " at most. Whoever gets it from you could have your mail: give it to nobody."
        }
    }
}

fn done(seen: &Seen, by: Option<&str>, warnings: &[String]) -> Markup {
    html! {
        p.summary {
            span.state.ok { "authorised" } " " (seen.account) " is authorised"
            @if let Some(by) = by { " by " (by) }
            "."
        }
        @for warning in warnings { p.reason { "Warning: " (warning) } }
        p { a.button href=(path_of(&seen.account, "")) { "Go on" } }
    }
}

fn give_up(session: &Session, seen: &Seen) -> Markup {
    html! {
        form method="post" action=(format!("{PATH}{}/cancel", seen.id)) {
            (session.csrf())
            button.quiet type="submit" { "Give up" }
        }
    }
}

fn again(session: &Session, seen: &Seen) -> Markup {
    page::form(
        session,
        &path_of(&seen.account, "/authorize"),
        &html! {},
        "Begin again",
    )
}

/// The buttons on the page of an account.
pub fn buttons(session: &Session, account: &Account, word: &str) -> Markup {
    let provider = &account.provider;
    let path = path_of(&account.address, "/authorize");
    if provider.flow.is_unattended() {
        return page::form(session, &path, &html! {}, "Get a token now");
    }
    if provider.flow == Flow::Password {
        let field = page::Field::secret("password", "The mailbox's password at the provider")
            .hint("Not a local one. It is sent to the provider once, and kept nowhere.")
            .required();
        return page::form(session, &path, &field.show(), word);
    }
    let usual = Way::of(account);
    let has_device = provider.device_url.is_some() || provider.issuer.is_some();
    html! {
        div.buttons {
            (page::form(session, &path, &html! {}, word))
            @if usual != Way::Device && has_device {
                (other(session, &path, "device", "With a code on another device"))
            }
            @if usual == Way::Device && (provider.authorize_url.is_some() || provider.issuer.is_some()) {
                (other(session, &path, "browser", "With this browser"))
            }
        }
    }
}

/// Another way than the usual one.
fn other(session: &Session, path: &str, way: &str, word: &str) -> Markup {
    html! {
        form method="post" action=(path) {
            (session.csrf())
            input type="hidden" name="way" value=(way);
            button.quiet type="submit" { (word) }
        }
    }
}
