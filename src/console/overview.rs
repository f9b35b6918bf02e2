//! The first page: how every account and every listener stands.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::account::path_of;
use super::gate::Session;
use super::live::{self, Part};
use super::page::{self, Fault, Page};
use super::{Console, InForce};
use crate::observe::Recent;
use crate::observe::notify::{self, Ending};
use crate::observe::recent::HOURS;
use crate::status::{AccountLine, ListenerLine, Status};
use crate::token::AccountStatus;
use crate::token::life::State as Standing;

/// How far ahead something that ends is shown.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Accounts that are shown; a browser should stay quick, and those that need somebody come first.
const MOST: usize = 500;
/// The width and the height of a chart, in its own units.
const WIDTH: u64 = 120;
const HEIGHT: u64 = 24;

pub fn routes() -> Router<Arc<Console>> {
    Router::new().route("/", get(overview))
}

async fn overview(State(console): State<Arc<Console>>, session: Session) -> Result<Markup, Fault> {
    let seen = see(&console).await.ok_or_else(Fault::internal)?;
    let content = html! {
        (summary(&seen))
        (endings(&seen))
        (accounts(&seen))
        (listeners(&seen))
    };
    let page = Page::new("Overview", "/").live(format!("{}?page=overview", live::PATH));
    Ok(page.show(&session, &content))
}

/// The parts that change. Nothing, if they cannot be seen at the moment.
pub async fn parts(console: &Console) -> Vec<Part> {
    let Some(seen) = see(console).await else {
        return Vec::new();
    };
    vec![
        ("summary", summary(&seen).into_string()),
        ("endings", endings(&seen).into_string()),
        ("accounts", accounts(&seen).into_string()),
        ("listeners", listeners(&seen).into_string()),
    ]
}

/// What the page is made of.
struct Seen {
    now: Timestamp,
    status: Status,
    endings: Vec<Ending>,
    recent: Recent,
}

async fn see(console: &Console) -> Option<Seen> {
    let recent = console.recent().clone();
    let look = |in_force: &InForce| {
        let now = Timestamp::now();
        let mut status = in_force.sources.status();
        // Whoever needs somebody comes first; the order is the file's otherwise.
        status.accounts.sort_by_key(|line| !needs_somebody(line));
        let mut endings = notify::all_endings(&in_force.sources, &status);
        endings.retain(|ending| ending.at.duration_since(now) <= AHEAD);
        endings.sort_by_key(|ending| ending.at);
        Seen {
            now,
            status,
            endings,
            recent,
        }
    };
    console.blocking(look).await
}

fn needs_somebody(line: &AccountLine) -> bool {
    line.token.state != Standing::Ok || line.figures.last_failure.is_some()
}

fn summary(seen: &Seen) -> Markup {
    let all = seen.status.accounts.len();
    let need = seen
        .status
        .accounts
        .iter()
        .filter(|line| needs_somebody(line))
        .count();
    let accounts = if all == 1 { "account" } else { "accounts" };
    html! {
        p #summary .summary aria-live="polite" {
            @match (all, need) {
                (0, _) => { "There is no account yet. " a href="/add" { "Add the first" } }
                (_, 0) => { (all) " " (accounts) ", and all is well." }
                (_, 1) => { (all) " " (accounts) "; " strong { "1 needs somebody." } }
                _ => { (all) " " (accounts) "; " strong { (need) " need somebody." } }
            }
        }
    }
}

fn endings(seen: &Seen) -> Markup {
    html! {
        section #endings aria-labelledby="endings-title" hidden[seen.endings.is_empty()] {
            h2 #endings-title { "Ends soon" }
            ul.endings {
                @for ending in &seen.endings {
                    li {
                        strong { (ending.subject) }
                        @if ending.at > seen.now { " ends " } @else { " ended " }
                        (page::when(ending.at, seen.now)) ". "
                        (ending.remedy) "."
                    }
                }
            }
        }
    }
}

fn accounts(seen: &Seen) -> Markup {
    html! {
        section #accounts aria-labelledby="accounts-title" {
            h2 #accounts-title { "Accounts" }
            (page::table("Every mailbox, those that need somebody first", &["Account", "State", "Token", "Last login", "Sessions", "Mail, last 24 h"], &html! {
                    @for line in seen.status.accounts.iter().take(MOST) { (account(line, seen)) }
                }))
            @if seen.status.accounts.len() > MOST {
                p.note { (seen.status.accounts.len() - MOST) " more are not shown; mailwicket status has them all." }
            }
        }
    }
}

fn account(line: &AccountLine, seen: &Seen) -> Markup {
    let AccountLine {
        account,
        provider,
        token,
        figures,
    } = line;
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                a.address href=(path_of(account, "")) { (account) }
                span.note { (provider) }
            }
            td role="cell" data-label="State" { (state(line, seen.now)) }
            td role="cell" data-label="Token" { (life(token, seen.now)) }
            td role="cell" data-label="Last login" {
                @match figures.last_login {
                    Some(at) => { (page::when(at, seen.now)) }
                    None => { "none since the start" }
                }
            }
            td role="cell" data-label="Sessions" { (figures.sessions) }
            td role="cell" data-label="Mail, last 24 h" { (chart(&seen.recent.hours(account, seen.now))) }
        }
    }
}

/// The state in a word, and why and what to do.
pub fn state(line: &AccountLine, now: Timestamp) -> Markup {
    let token = &line.token;
    let remedy = token.remedy.as_ref();
    let remedy = remedy.map(|remedy| remedy.replace("ACCOUNT", &line.account));
    html! {
        span class={ "state " (token.state.word()) } { (token.state.word()) }
        @if token.state != Standing::Ok {
            span.note { "since " (page::when(token.since, now)) }
        }
        @if let Some(reason) = &token.reason { p.reason { (reason) } }
        @if let Some(remedy) = remedy { p.remedy { (remedy) } }
        @if let Some(at) = token.next_try { p.note { "Next try " (page::when(at, now)) } }
        @if let Some(failure) = &line.figures.last_failure {
            p.reason {
                "The last login failed " (page::when(failure.at, now)) ": "
                (failure.code) " " (failure.detail)
            }
        }
    }
}

/// The access token's life as a bar: how much of it is over.
pub fn life(token: &AccountStatus, now: Timestamp) -> Markup {
    let (Some(from), Some(until)) = (token.refreshed_at, token.expires_at) else {
        return html! { span.note { "none" } };
    };
    let whole = until.duration_since(from).as_secs().max(1);
    let left = until.duration_since(now).as_secs().clamp(0, whole);
    let width = left * WIDTH as i64 / whole;
    html! {
        svg.bar viewBox=(format!("0 0 {WIDTH} 8")) aria-hidden="true" preserveAspectRatio="none" {
            rect.rest width=(WIDTH) height="8" rx="2" {}
            rect.left width=(width) height="8" rx="2" {}
        }
        span.note {
            @if now < until { "ends " } @else { "ended " }
            (page::when(until, now)) ", got " (page::when(from, now))
        }
    }
}

/// Mail carried in each of the last hours.
fn chart(hours: &[(u64, u64); HOURS]) -> Markup {
    let sum = |pick: fn(&(u64, u64)) -> u64| hours.iter().map(pick).fold(0, u64::saturating_add);
    let (up, down) = (sum(|hour| hour.0), sum(|hour| hour.1));
    let most = hours
        .iter()
        .map(|(up, down)| up.saturating_add(*down))
        .max();
    let most = most.unwrap_or_default();
    if most == 0 {
        return html! { span.note { "none" } };
    }
    let step = WIDTH / HOURS as u64;
    let said = format!("{} sent, {} fetched", page::octets(up), page::octets(down));
    // The least mail is a line still.
    let height = |octets: u64| {
        let share = u128::from(octets) * u128::from(HEIGHT) / u128::from(most);
        u64::try_from(share).unwrap_or(HEIGHT).max(1)
    };
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) aria-hidden="true" {
            @for (at, (up, down)) in (0..).zip(hours) {
                @let octets = up.saturating_add(*down);
                @if octets > 0 {
                    @let height = height(octets);
                    rect x=(at * step) y=(HEIGHT - height) width=(step - 1) height=(height) {}
                }
            }
        }
        span.note { (said) }
    }
}

fn listeners(seen: &Seen) -> Markup {
    html! {
        section #listeners aria-labelledby="listeners-title" {
            h2 #listeners-title { "Listeners" }
            (page::table("Where mail programs log in; octets are those of sessions that have ended", &["Listener", "Provider", "TLS", "Sessions", "Logins", "Refused", "Mail"], &html! {
                    @for line in &seen.status.listeners { (listener(line)) }
                }))
        }
    }
}

fn listener(line: &ListenerLine) -> Markup {
    let figures = &line.figures;
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (line.protocol) " " span.address { (line.address) } }
            td role="cell" data-label="Provider" { (line.provider) }
            td role="cell" data-label="TLS" { (line.tls) }
            td role="cell" data-label="Sessions" { (figures.sessions) }
            td role="cell" data-label="Logins" { (figures.logins) }
            td role="cell" data-label="Refused" {
                (figures.refused)
                @if figures.throttled > 0 { span.note { (figures.throttled) " unseen" } }
            }
            td role="cell" data-label="Mail" {
                (page::octets(figures.up)) " sent, " (page::octets(figures.down)) " fetched"
            }
        }
    }
}
