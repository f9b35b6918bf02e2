//! Providers and listeners: looked at, changed in a form, shown as a difference of the file, and only then saved and taken up.
//!
//! The pages read the file, not what is in force: it belongs to its human, who may have written in it since. `field` knows the keys,
//! `draft` what becomes of a change; how the text is edited is for [`crate::config::edit`].

mod draft;
mod field;
mod list;
mod listener;
mod provider;
mod review;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

pub use self::draft::Drafts;
use self::field::{Section, Shown};
use super::gate::{Form, Session};
use super::page::{Fault, Page};
use super::{Console, InForce};
use crate::config::edit::{Place, digest, value_at};
use crate::config::{Config, Surroundings, read_text};

/// The addresses of the pages, as they stand in the navigation.
const PROVIDERS: &str = "/providers";
const LISTENERS: &str = "/listeners";
const FILE: &str = "/configuration";

pub fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route(PROVIDERS, get(list::providers))
        .route(LISTENERS, get(list::listeners))
        .route(FILE, get(list::file))
        .route("/new-provider", get(new_provider).post(add_provider))
        .route("/new-listener", get(new_listener).post(add_listener))
        .route("/providers/{name}", get(provider).post(edit_provider))
        .route("/listeners/{number}", get(listener).post(edit_listener))
        .route("/providers/{name}/remove", post(remove_provider))
        .route("/listeners/{number}/remove", post(remove_listener))
        .route("/changes/{name}", get(review::show).post(review::save))
        .route("/changes/{name}/back", post(review::take_back))
}

/// The file as it is now.
struct Seen {
    path: PathBuf,
    around: Surroundings,
    text: String,
    table: toml::Value,
    /// What it says; or everything that is wrong with it.
    config: Result<Config, String>,
}

/// Reads the file. Blocks.
///
/// # Errors
/// Why it cannot be read or edited, for people.
fn look(in_force: &InForce) -> Result<Seen, String> {
    let path = in_force.config.path.clone();
    let around = in_force.config.around.clone();
    let text = read_text(&path).map_err(|error| error.to_string())?;
    let config = Config::parse_in(&text, &path, &around).map_err(|error| error.render(false));
    match (text.parse::<toml::Table>(), &config) {
        (Ok(table), _) => Ok(Seen {
            table: toml::Value::Table(table),
            path,
            around,
            text,
            config,
        }),
        (Err(_), Err(words)) => Err(words.clone()),
        (Err(error), Ok(_)) => Err(error.message().to_owned()),
    }
}

impl Seen {
    /// The names of the providers.
    fn providers(&self) -> Vec<String> {
        let table = self.table.get("provider").and_then(toml::Value::as_table);
        table.map_or_else(Vec::new, |table| table.keys().cloned().collect())
    }

    fn listeners(&self) -> &[toml::Value] {
        let list = self.table.get("listener").and_then(toml::Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    /// What a provider is used by: the addresses of its accounts, and its listeners.
    fn users_of(&self, provider: &str) -> (Vec<&str>, Vec<String>) {
        let is_its = |table: &&toml::Value| text_of(table, "provider") == provider;
        let accounts = self.table.get("account").and_then(toml::Value::as_array);
        let accounts = accounts.into_iter().flatten().filter(is_its);
        let numbers = self.listeners().iter().enumerate();
        let its = numbers.filter(|(_, table)| is_its(table));
        let named =
            its.map(|(at, table)| format!("listener {} ({})", at + 1, text_of(table, "protocol")));
        (
            accounts.map(|table| text_of(table, "address")).collect(),
            named.collect(),
        )
    }
}

fn text_of<'t>(table: &'t toml::Value, key: &str) -> &'t str {
    let text = table.get(key).and_then(toml::Value::as_str);
    text.unwrap_or_default()
}

/// What a form is about.
#[derive(Clone, Debug)]
enum Target {
    Provider(String),
    Listener(usize),
    NewProvider,
    NewListener,
}

impl Target {
    fn sections(&self) -> &'static [Section] {
        match self {
            Self::Provider(_) | Self::NewProvider => provider::SECTIONS,
            Self::Listener(_) | Self::NewListener => listener::SECTIONS,
        }
    }

    /// The entry of the navigation.
    fn section(&self) -> &'static str {
        match self {
            Self::Provider(_) | Self::NewProvider => PROVIDERS,
            Self::Listener(_) | Self::NewListener => LISTENERS,
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Provider(name) => format!("{PROVIDERS}/{}", encoded(name)),
            Self::Listener(at) => format!("{LISTENERS}/{}", at + 1),
            Self::NewProvider => "/new-provider".into(),
            Self::NewListener => "/new-listener".into(),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Provider(name) => format!("Provider {name}"),
            Self::Listener(at) => format!("Listener {}", at + 1),
            Self::NewProvider => "New provider".into(),
            Self::NewListener => "New listener".into(),
        }
    }

    /// The table, if there is one already.
    fn place(&self) -> Option<Place> {
        match self {
            Self::Provider(name) => Some(Place::Provider(name.clone())),
            Self::Listener(at) => Some(Place::Listener(*at)),
            Self::NewProvider | Self::NewListener => None,
        }
    }

    /// The listener of a number that people use.
    fn numbered(number: usize) -> Result<Self, Fault> {
        let at = number.checked_sub(1).ok_or_else(Fault::not_found)?;
        Ok(Self::Listener(at))
    }
}

/// A name as a part of an address.
fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What came of a form that was sent and not taken.
#[derive(Default)]
struct Refusal {
    typed: HashMap<String, String>,
    /// By the names of the fields.
    faults: HashMap<String, String>,
    /// What no field is there for.
    rest: Vec<String>,
}

/// The page with the form.
async fn form(
    console: &Console,
    session: &Session,
    target: Target,
    refusal: Option<Refusal>,
) -> Result<Response, Fault> {
    let about = target.clone();
    let looking = move |in_force: &InForce| {
        let seen = look(in_force)?;
        let facts = match &about {
            Target::Provider(name) => list::facts(in_force, &seen, name),
            _ => html! {},
        };
        Ok::<_, String>((seen, facts))
    };
    let looked = console.blocking(looking).await;
    let looked = looked.ok_or_else(Fault::internal)?;
    let page = target.title();
    let page = Page::new(&page, target.section());
    let (seen, facts) = match looked {
        Ok(looked) => looked,
        Err(words) => return Ok(page.show(session, &unreadable(&words)).into_response()),
    };
    let table = match target.place() {
        Some(place) => {
            let table = value_at(&seen.text, &place, &[]).ok().flatten();
            Some(table.ok_or_else(Fault::not_found)?)
        }
        None => None,
    };
    let is_refused = refusal.is_some();
    let refusal = refusal.unwrap_or_default();
    let shown = Shown {
        table: table.as_ref(),
        providers: &seen.providers(),
        typed: is_refused.then_some(&refusal.typed),
        faults: &refusal.faults,
    };
    let content = html! {
        @if is_refused { (refused(&refusal)) } @else { (unfit(&seen)) }
        (facts)
        form method="post" action=(target.path()) {
            (session.csrf())
            input type="hidden" name="of" value=(digest(&seen.text));
            @if let Target::NewProvider = target { (name_field(&refusal)) }
            (field::show(target.sections(), &shown))
            button type="submit" { "Review the change" }
            p.hint { "Nothing is written before you have seen what changes in the file." }
        }
        @if target.place().is_some() {
            form.removal method="post" action=(format!("{}/remove", target.path())) {
                (session.csrf())
                input type="hidden" name="of" value=(digest(&seen.text));
                button.danger type="submit" { "Remove this " (kind(&target)) "…" }
            }
        }
    };
    let status = match is_refused {
        true => StatusCode::UNPROCESSABLE_ENTITY,
        false => StatusCode::OK,
    };
    Ok((status, page.show(session, &content)).into_response())
}

fn kind(target: &Target) -> &'static str {
    match target.section() {
        PROVIDERS => "provider",
        _ => "listener",
    }
}

fn name_field(refusal: &Refusal) -> Markup {
    let typed = refusal.typed.get("name").map_or("", String::as_str);
    let fault = refusal.faults.get("name").map_or("", String::as_str);
    let field = super::page::Field::new("name", "Name").value(typed);
    let field =
        field.hint("Yours to choose: letters, digits, - and _. It becomes [provider.NAME].");
    field.fault(fault).required().show()
}

fn refused(refusal: &Refusal) -> Markup {
    let count = refusal.faults.len() + refusal.rest.len();
    html! {
        div.flash.fault role="alert" {
            p {
                "Nothing was written. "
                @match count { 1 => { "One thing is wrong." } _ => { (count) " things are wrong." } }
                @if !refusal.faults.is_empty() { " Look at the fields below that say so." }
            }
            @for words in &refusal.rest { pre.problem { (words) } }
        }
    }
}

/// A file that nothing can be changed in.
fn unreadable(words: &str) -> Markup {
    html! {
        div.flash.fault role="alert" {
            p { "The configuration file cannot be changed here before this is mended. What was read last stays in force." }
            pre.problem { (words) }
        }
    }
}

/// What is wrong with the file, if it is another than the one in force.
fn unfit(seen: &Seen) -> Markup {
    html! {
        @if let Err(words) = &seen.config {
            div.flash.fault role="alert" {
                p { "The configuration file as it is now would not be taken up. What was read last stays in force." }
                pre.problem { (words) }
            }
        }
    }
}

// ---- handlers ----

type Typed = Form<Vec<(String, String)>>;
type Served = Result<Response, Fault>;

/// The form of a removal.
#[derive(Deserialize)]
struct Unwanted {
    /// The text that it was made from, as a digest.
    #[serde(default)]
    of: String,
}

async fn new_provider(State(console): State<Arc<Console>>, session: Session) -> Served {
    form(&console, &session, Target::NewProvider, None).await
}

async fn new_listener(State(console): State<Arc<Console>>, session: Session) -> Served {
    form(&console, &session, Target::NewListener, None).await
}

async fn provider(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(name): Path<String>,
) -> Served {
    form(&console, &session, Target::Provider(name), None).await
}

async fn listener(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(number): Path<usize>,
) -> Served {
    form(&console, &session, Target::numbered(number)?, None).await
}

async fn add_provider(
    State(console): State<Arc<Console>>,
    session: Session,
    Form(typed): Typed,
) -> Served {
    review::begin(&console, &session, Target::NewProvider, typed).await
}

async fn add_listener(
    State(console): State<Arc<Console>>,
    session: Session,
    Form(typed): Typed,
) -> Served {
    review::begin(&console, &session, Target::NewListener, typed).await
}

async fn edit_provider(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(name): Path<String>,
    Form(typed): Typed,
) -> Served {
    review::begin(&console, &session, Target::Provider(name), typed).await
}

async fn edit_listener(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(number): Path<usize>,
    Form(typed): Typed,
) -> Served {
    let target = Target::numbered(number)?;
    review::begin(&console, &session, target, typed).await
}

async fn remove_provider(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(name): Path<String>,
    Form(Unwanted { of }): Form<Unwanted>,
) -> Served {
    review::begin_removal(&console, &session, Target::Provider(name), of).await
}

async fn remove_listener(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(number): Path<usize>,
    Form(Unwanted { of }): Form<Unwanted>,
) -> Served {
    let target = Target::numbered(number)?;
    review::begin_removal(&console, &session, target, of).await
}

#[cfg(test)]
mod tests;
