//! The test of an account: the steps of `doctor`, shown as they end.
//!
//! A test goes on when its page is left; the last one of an account can be read until the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::get;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded;

use super::super::Console;
use super::super::gate::{Form, Session};
use super::super::live::{self, Part};
use super::super::page::{self, Fault, Page};
use super::{find, path_of};
use crate::config::Account;
use crate::doctor::{self, Finding};

/// Tests that run at a time.
const MOST_AT_A_TIME: usize = 4;
/// Tests that are remembered; each has a few dozen lines.
const MOST: usize = 256;

pub fn routes() -> Router<Arc<Console>> {
    Router::new().route("/account/{address}/test", get(show).post(begin))
}

/// The last test of each account, by its address.
#[derive(Default)]
pub struct Tests {
    list: Mutex<BTreeMap<String, Test>>,
}

#[derive(Clone)]
struct Test {
    begun: Timestamp,
    sends: bool,
    findings: Vec<Finding>,
    is_over: bool,
}

impl Tests {
    /// Whether the last test of an account found nothing wrong.
    pub fn has_passed(&self, address: &str) -> bool {
        let is_well = |test: Test| test.is_over && test.findings.iter().all(|found| found.ok);
        self.of(address).is_some_and(is_well)
    }

    fn of(&self, address: &str) -> Option<Test> {
        self.list().get(address).cloned()
    }

    /// Makes room for a new one; false, if one of this account runs already.
    fn begin(&self, address: &str, sends: bool) -> Result<bool, Fault> {
        let mut list = self.list();
        if list.get(address).is_some_and(|test| !test.is_over) {
            return Ok(false);
        }
        if list.values().filter(|test| !test.is_over).count() >= MOST_AT_A_TIME {
            return Err(Fault::busy(
                "Several tests are running. Begin this one when one of them has ended.",
            ));
        }
        if list.len() >= MOST {
            let over = list.iter().filter(|(_, test)| test.is_over);
            let oldest = over.min_by_key(|(_, test)| test.begun);
            let oldest = oldest.map(|(address, _)| address.clone());
            oldest.and_then(|oldest| list.remove(&oldest));
        }
        let test = Test {
            begun: Timestamp::now(),
            sends,
            findings: Vec::new(),
            is_over: false,
        };
        list.insert(address.to_owned(), test);
        Ok(true)
    }

    fn change(&self, address: &str, change: impl FnOnce(&mut Test)) {
        self.list().get_mut(address).map(change);
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<String, Test>> {
        // A poisoned lock only says that a thread panicked; every change under it is whole.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The form.
#[derive(Deserialize)]
struct Wanted {
    /// Whether a message is sent; empty if not.
    #[serde(default)]
    send: String,
}

async fn begin(
    State(console): State<Arc<Console>>,
    _: Session,
    Path(address): Path<String>,
    Form(Wanted { send }): Form<Wanted>,
) -> Result<Redirect, Fault> {
    let account = find(&console.now(), &address)?;
    let page = Redirect::to(&path_of(&account.address, "/test"));
    let sends = !send.is_empty();
    if console.tests.begin(&account.address, sends)? {
        tokio::spawn(run(Arc::clone(&console), account, sends));
    }
    Ok(page)
}

async fn run(console: Arc<Console>, account: Arc<Account>, sends: bool) {
    let in_force = console.now();
    let (tests, address) = (&console.tests, account.address.as_str());
    // However it ends, its page hears of it.
    let _end = End { tests, address };
    let mut report = |finding: Finding| tests.change(address, |test| test.findings.push(finding));
    let (config, vault, tokens) = (&in_force.config, &in_force.vault, &in_force.tokens);
    let walk = doctor::examine(config, vault, tokens, &account, sends, &mut report);
    tokio::select! {
        () = walk => {}
        () = console.stop.cancelled() => {}
    }
}

struct End<'t> {
    tests: &'t Tests,
    address: &'t str,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.tests.change(self.address, |test| test.is_over = true);
    }
}

// ---- what is shown ----

/// The way to it on the page of an account.
pub fn section(session: &Session, account: &Account) -> Markup {
    html! {
        section aria-labelledby="test-title" {
            h2 #test-title { "Test" }
            p.hint {
                "Every step up to a real login at the mail servers. With a message, the mailbox gets one from itself, which is found, compared "
                "and removed."
            }
            (buttons(session, account))
            p { a href=(path_of(&account.address, "/test")) { "The last test" } }
        }
    }
}

fn buttons(session: &Session, account: &Account) -> Markup {
    let path = path_of(&account.address, "/test");
    let send = html! { input type="hidden" name="send" value="on"; };
    html! {
        div.buttons {
            (page::form(session, &path, &html! {}, "Test"))
            (page::form(session, &path, &send, "Test with a message"))
        }
    }
}

async fn show(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
) -> Result<Markup, Fault> {
    let account = find(&console.now(), &address)?;
    let address = &account.address;
    let test = console.tests.of(address);
    let is_running = test.as_ref().is_some_and(|test| !test.is_over);
    let content = html! {
        @if is_running { noscript { meta http-equiv="refresh" content="2"; } }
        (panel(test.as_ref()))
        (buttons(&session, &account))
        p { a href=(path_of(address, "")) { "Back to " (address) } }
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("page", "test");
    query.append_pair("account", address);
    let title = format!("Test of {address}");
    let page = Page::new(&title, "/").live(format!("{}?{}", live::PATH, query.finish()));
    Ok(page.show(&session, &content))
}

/// The part that changes.
pub fn parts(console: &Console, address: &str) -> Vec<Part> {
    let test = console.tests.of(address);
    vec![("test", panel(test.as_ref()).into_string())]
}

fn panel(test: Option<&Test>) -> Markup {
    html! {
        section #test aria-label="Steps" {
            @match test {
                None => { p { "There was no test since the start." } }
                Some(test) => { (summary(test)) (findings(&test.findings)) }
            }
        }
    }
}

fn summary(test: &Test) -> Markup {
    let failed = test.findings.iter().filter(|finding| !finding.ok).count();
    html! {
        p.summary {
            @match (test.is_over, failed) {
                (false, _) => { span.state.retrying { "running" } " " (test.findings.len()) " steps so far" }
                (true, 0) => { span.state.ok { "all well" } " The way of this account works, up to a real login." }
                (true, 1) => { span.state.config-error { "1 step failed" } }
                (true, failed) => { span.state.config-error { (failed) " steps failed" } }
            }
        }
        p.note { "Begun at " (format!("{:.0}", test.begun)) @if test.sends { ", with a message" } }
    }
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        (page::table("Each step as it ended", &["Step", "Outcome", "What was found", "Time"], &html! { @for finding in findings { (row(finding)) } }))
    }
}

fn row(finding: &Finding) -> Markup {
    let (class, word) = match (finding.ok, finding.warning) {
        (false, _) => ("config-error", "failed"),
        (true, true) => ("retrying", "look"),
        (true, false) => ("ok", "well"),
    };
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (finding.name.word()) " " (finding.stage.word()) }
            td role="cell" data-label="Outcome" {
                span class={ "state " (class) } { (word) }
                @if let Some(code) = finding.code { span.note { (code) } }
            }
            td role="cell" data-label="What was found" {
                (finding.detail)
                @if let Some(remedy) = &finding.remedy { p.remedy { (remedy) } }
            }
            td role="cell" data-label="Time" { (finding.milliseconds) " ms" }
        }
    }
}
