//! The page of an account: how it stands and what is left to do, what to type into the mail program, its passwords, its last logins.
//!
//! `passwords`, `test` and `leave` have what can be done there; the sign-in is [`super::sign_in`]'s.

mod leave;
pub mod made;
mod passwords;
mod program;
pub mod test;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use jiff::Timestamp;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::gate::Session;
use super::page::{Fault, Page};
use super::{Console, InForce, events, overview, sign_in};
use crate::config::Account;
use crate::status::AccountLine;
use crate::token::life::State as Standing;
use passwords::Listed;

/// Events that the page shows.
const MOST_EVENTS: usize = 20;

pub fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/account/{address}", get(show))
        .merge(passwords::routes())
        .merge(test::routes())
        .merge(leave::routes())
}

/// The address of an account's page, or of one below it.
pub fn path_of(address: &str, below: &str) -> String {
    let address = utf8_percent_encode(address, NON_ALPHANUMERIC);
    format!("/account/{address}{below}")
}

/// The account of that name.
fn find(in_force: &InForce, address: &str) -> Result<Arc<Account>, Fault> {
    let account = in_force.config.account(address);
    account.map_err(|_| Fault::not_found())
}

/// What the page is made of.
struct Seen {
    account: Arc<Account>,
    line: Option<AccountLine>,
    passwords: Listed,
    now: Timestamp,
}

async fn see(console: &Console, address: &str) -> Result<Seen, Fault> {
    let account = find(&console.now(), address)?;
    let look = move |in_force: &InForce| Seen {
        line: in_force.sources.account(&account),
        passwords: Listed::read(&in_force.vault, &account),
        now: Timestamp::now(),
        account,
    };
    console.blocking(look).await.ok_or_else(Fault::internal)
}

async fn show(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
) -> Result<Markup, Fault> {
    let seen = see(&console, &address).await?;
    let account = &seen.account;
    let is_tested = console.tests.has_passed(&account.address);
    let happened = console.recent().of_account(&account.address);
    let content = html! {
        (steps(&session, &seen, is_tested))
        section aria-labelledby="state-title" {
            h2 #state-title { "At the provider" }
            @if let Some(line) = &seen.line {
                (overview::state(line, seen.now))
                (overview::life(&line.token, seen.now))
                @if let Some(by) = &line.token.signed_in_as { p.note { "Signed in by " (by) } }
            }
            p.note { "Provider " strong { (account.provider.name) } ", " (account.provider.flow.word()) }
            @if seen.is_authorised() {
                (sign_in::buttons(&session, account, "Authorize again"))
                p { a href=(path_of(&account.address, "/revoke")) { "Revoke the sign-in…" } }
            }
        }
        (program::card(&console.now(), account, seen.passwords.has_any(account)))
        (passwords::section(&session, &seen))
        (test::section(&session, account))
        section aria-labelledby="events-title" {
            h2 #events-title { "Lately" }
            @if happened.is_empty() {
                p { "Nothing has happened since the start." }
            } @else {
                (events::table(&happened[..happened.len().min(MOST_EVENTS)], seen.now))
            }
        }
        @if console.now().config.roster.covered(&account.address).is_none() {
            p { a href=(path_of(&account.address, "/remove")) { "Remove this account from the configuration…" } }
        }
    };
    Ok(Page::new(&account.address, "/").show(&session, &content))
}

impl Seen {
    fn is_authorised(&self) -> bool {
        let line = self.line.as_ref();
        line.is_some_and(|line| {
            let state = line.token.state;
            !matches!(state, Standing::Unauthorized | Standing::NeedsConsent)
        })
    }
}

/// What is left to do until mail flows, in its order.
fn steps(session: &Session, seen: &Seen, is_tested: bool) -> Markup {
    let account = &seen.account;
    let (is_authorised, has_password) = (seen.is_authorised(), seen.passwords.has_any(account));
    if is_authorised && has_password {
        return html! {};
    }
    let mark = |done: bool| {
        let (class, word) = if done {
            ("state ok", "done")
        } else {
            ("state", "to do")
        };
        html! { span class=(class) { (word) } " " }
    };
    html! {
        section aria-labelledby="steps-title" {
            h2 #steps-title { "What is left to do" }
            ol.steps {
                li {
                    (mark(is_authorised)) "Let mailwicket open the mailbox at the provider."
                    @if !is_authorised { (sign_in::buttons(session, account, "Authorize now")) }
                }
                li {
                    (mark(has_password)) "Give the mail program a password of its own."
                    @if !has_password { (passwords::quick(session, account)) }
                }
                li { (mark(is_tested)) "Test it, below." }
                li { "Set the mail program up, as the card below says." }
            }
        }
    }
}
