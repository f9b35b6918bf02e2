//! What has happened lately: logins, renewals, states, and what people were told.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded;

use super::gate::Session;
use super::live::{self, Part};
use super::page::{self, Fault, Page};
use super::{Console, InForce};
use crate::observe::recent::{Happened, Login, Outcome, What};
use crate::token::life::State as Standing;

/// Lines of the page.
const MOST: usize = 200;

pub fn routes() -> Router<Arc<Console>> {
    Router::new().route("/events", get(events))
}

/// What is asked for.
#[derive(Deserialize)]
struct Filter {
    /// Only this mailbox; all, if it is empty.
    #[serde(default)]
    account: String,
}

async fn events(
    State(console): State<Arc<Console>>,
    session: Session,
    Query(Filter { account }): Query<Filter>,
) -> Result<Markup, Fault> {
    // A look into the vault's folder.
    let look = |in_force: &InForce| in_force.tokens.mailboxes(&in_force.config.roster);
    let known = console.blocking(look).await.ok_or_else(Fault::internal)?;
    let known: Vec<_> = known.iter().map(|it| it.address.as_str()).collect();
    let content = html! {
        form.filter method="get" action="/events" {
            label for="account" { "Account" }
            select #account name="account" {
                option value="" { "All" }
                @for address in known {
                    option value=(address) selected[address.eq_ignore_ascii_case(&account)] { (address) }
                }
            }
            button type="submit" { "Show" }
        }
        (list(&console, &account))
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("page", "events");
    query.append_pair("account", &account);
    let page = Page::new("Recent events", "/events");
    let page = page.live(format!("{}?{}", live::PATH, query.finish()));
    Ok(page.show(&session, &content))
}

/// The part that changes.
pub fn parts(console: &Console, account: &str) -> Vec<Part> {
    vec![("events", list(console, account).into_string())]
}

fn list(console: &Console, account: &str) -> Markup {
    let recent = console.recent();
    let happened = match account {
        "" => recent.all(),
        account => recent.of_account(account),
    };
    let now = Timestamp::now();
    html! {
        section #events aria-label="Events" {
            @if happened.is_empty() {
                p { "Nothing has happened since the start." }
            } @else {
                (table(&happened[..happened.len().min(MOST)], now))
                @if happened.len() > MOST { p.note { "Older ones are in the log." } }
            }
        }
    }
}

/// Events as a table, the newest first.
pub fn table(happened: &[Happened], now: Timestamp) -> Markup {
    html! {
        (page::table("The newest first; a restart forgets them, the log does not", &["When", "What", "Account", "More"], &html! {
                @for event in happened { (row(event, now)) }
            }))
    }
}

fn row(event: &Happened, now: Timestamp) -> Markup {
    let said = said(&event.what);
    html! {
        tr role="row" {
            td.when role="cell" data-label="When" { (page::when(event.at, now)) }
            td role="cell" data-label="What" { span class={ "state " (said.class) } { (said.what) } }
            td role="cell" data-label="Account" {
                @match &event.account {
                    Some(account) => { span.address { (account) } }
                    None => { span.note { "–" } }
                }
            }
            td role="cell" data-label="More" { (said.more) }
        }
    }
}

/// An event in words.
struct Said {
    what: String,
    /// How it looks: a state's word.
    class: &'static str,
    more: Markup,
}

fn said(what: &What) -> Said {
    let ok = Standing::Ok.word();
    let bad = Standing::ConfigError.word();
    match what {
        What::Login(login) => Said {
            what: format!("login {}", login.outcome.word()),
            class: if login.outcome == Outcome::Ok {
                ok
            } else {
                bad
            },
            more: about_login(login),
        },
        What::Renewed { until } => Said {
            what: "new token".into(),
            class: ok,
            more: html! { @if let Some(until) = until { "good until " (format!("{until:.0}")) } },
        },
        What::State {
            state,
            reason,
            remedy,
        } => Said {
            what: state.word().into(),
            class: state.word(),
            more: html! { p.reason { (reason) } p.remedy { (remedy) } },
        },
        What::Notice(notice) => Said {
            what: "told people".into(),
            class: "",
            more: html! { (notice.text()) },
        },
        What::Reload { fault: None } => Said {
            what: "configuration taken up".into(),
            class: ok,
            more: html! {},
        },
        What::Reload { fault: Some(fault) } => Said {
            what: "configuration refused".into(),
            class: bad,
            more: html! { pre { (fault) } },
        },
    }
}

/// What a stranger wrote is escaped as in the log, so that it can turn nothing round.
fn about_login(login: &Login) -> Markup {
    html! {
        (login.protocol) " from " (login.source) " as " code { (login.login.escape_debug()) }
        @if let Some(code) = login.code { " – " (code) " at " (login.stage.word()) }
        @if let Some(detail) = &login.detail { ": " (detail) }
    }
}
