//! Adds an account: the address, its provider, what that needs; then lines in the configuration file, after the same check as `check`.
//!
//! What is offered and asked for is [`crate::setup`]'s, as for `setup` in the terminal. A secret goes into a file of its own, which only its
//! owner can read, and never into a page. `form` shows the questions and reads the answers.

mod form;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::form_urlencoded;

use self::form::{Answered, Asked};
use super::account::path_of;
use super::gate::{Form, Session};
use super::page::{self, Fault, Field, Flash, Page};
use super::{Console, InForce};
use crate::config::change::{ChangeError, change};
use crate::config::edit::{self, EditError};
use crate::config::{Config, Guess, Provider};
use crate::protocol::Protocol;
use crate::setup::new_file::{self, Readers};
use crate::setup::{self, Answers, Choice, SecretPlace, mx};

/// Files of one name that are tried for a secret.
const NAME_TRIES: u32 = 100;

pub fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/add", get(first))
        .route("/add/guess", post(guess))
        .route("/add/account", get(ask).post(add))
}

// ---- the address ----

async fn first(session: Session) -> Markup {
    let fields = html! {
        (Field::new("address", "The mailbox").hint("As name@domain.").required().show())
        label.field {
            input type="checkbox" name="dns" value="on" checked; " Ask the DNS who takes the mail of the domain, if the address alone does not say it"
        }
    };
    let content = html! {
        section {
            (page::form(&session, "/add/guess", &fields, "Next"))
        }
    };
    Page::new("Add an account", "/add").show(&session, &content)
}

/// The form.
#[derive(Deserialize)]
struct Mailbox {
    address: String,
    #[serde(default)]
    dns: String,
}

/// Guesses the provider, as far as somebody let us.
async fn guess(
    State(console): State<Arc<Console>>,
    session: Session,
    Form(Mailbox { address, dns }): Form<Mailbox>,
) -> Result<Redirect, Fault> {
    let address = address.trim().to_owned();
    if console.now().config.account(&address).is_ok() {
        session.flash(Flash::done("This account is there already."));
        return Ok(Redirect::to(&path_of(&address, "")));
    }
    let guessing = {
        let address = address.clone();
        move |_: &InForce| {
            let ask: Option<setup::Ask> = match dns.as_str() {
                "" => None,
                _ => Some(mx::hosts),
            };
            setup::guessed(&address, ask)
        }
    };
    let guessed = console
        .blocking(guessing)
        .await
        .ok_or_else(Fault::internal)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("address", &address);
    match guessed {
        Ok(Some(Guess::NoOAuth(words))) => {
            session.flash(Flash::fault(format!("{words}.")));
            return Ok(Redirect::to("/add"));
        }
        Ok(Some(Guess::Preset(preset, region))) => {
            session.flash(Flash::done(format!(
                "{address} is probably at {}.",
                preset.title
            )));
            let in_force = console.now();
            let known = provider_with(&in_force.config, preset.name);
            let provider = known.map_or_else(|| preset.name.to_owned(), form::known);
            query.append_pair("provider", &provider);
            region.map(|region| query.append_pair("region", region));
        }
        Ok(None) => {}
        Err(words) => session.flash(Flash::fault(format!("{words}."))),
    }
    Ok(Redirect::to(&format!("/add/account?{}", query.finish())))
}

/// A provider of the configuration that has this preset.
fn provider_with<'c>(config: &'c Config, preset: &str) -> Option<&'c Provider> {
    let mut providers = config.providers.iter();
    let found = providers.find(|provider| provider.preset.as_deref() == Some(preset));
    found.map(|provider| &**provider)
}

// ---- what the provider needs ----

async fn ask(
    State(console): State<Arc<Console>>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Markup {
    show(&session, &console, &asked, &[], "")
}

/// The page with the questions; `typed` is what was answered, without secrets, and `fault` what is wrong with it.
fn show(
    session: &Session,
    console: &Console,
    asked: &Asked,
    typed: &[(String, String)],
    fault: &str,
) -> Markup {
    let in_force = console.now();
    let content = html! {
        @if !fault.is_empty() { div.flash.fault role="alert" { (fault) } }
        (asked.provider_form(&in_force.config))
        @if let Some(for_it) = asked.question(&in_force.config) {
            section aria-labelledby="needs-title" {
                h2 #needs-title { "What it needs" }
                (for_it.form(session, &in_force.config, typed))
            }
        }
    };
    Page::new("Add an account", "/add").show(session, &content)
}

async fn add(
    State(console): State<Arc<Console>>,
    session: Session,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    let answered = Answered::new(pairs);
    let asked = answered.asked();
    let in_force = console.now();
    let question = asked.question(&in_force.config);
    let question = question.ok_or_else(|| Fault::bad("No provider was chosen."))?;
    let refused = |words: &str| {
        let page = show(&session, &console, &asked, answered.shown(), words);
        (http::StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
    };
    let answers = match question.answers(&answered, &in_force.config) {
        Ok(answers) => answers,
        Err(words) => return Ok(refused(&words)),
    };
    let address = answers.address.clone();
    let is_new = question.is_new();
    let added = Console::whole(write(Arc::clone(&console), answers, is_new)).await??;
    if let Err(words) = added {
        return Ok(refused(&words));
    }
    session.flash(Flash::done(format!("{address} is in the configuration.")));
    Ok(Redirect::to(&path_of(&address, "")).into_response())
}

// ---- the file ----

/// Writes the account and has it taken up; else leaves everything as it was, and says why in words.
async fn write(
    console: Arc<Console>,
    answers: Answers,
    is_new: bool,
) -> Result<Result<(), String>, Fault> {
    let address = answers.address.clone();
    let write = move |in_force: &InForce| Written::write(&in_force.config, &answers, is_new);
    let written = match console.blocking(write).await.ok_or_else(Fault::internal)? {
        Ok(written) => written,
        Err(words) => return Ok(Err(words)),
    };
    let Err(error) = console.reload().await else {
        tracing::info!(account = address, "an account was added in the console");
        return Ok(Ok(()));
    };
    let undone = console.blocking(move |_| written.undo()).await;
    Ok(Err(match undone.ok_or_else(Fault::internal)? {
        Ok(()) => {
            format!("The configuration was not taken up, so it was left as it was:\n{error}")
        }
        Err(undo) => format!("The configuration was written, and not taken up:\n{error}\n{undo}"),
    }))
}

/// What was written, so that it can be taken back.
struct Written {
    path: PathBuf,
    old: String,
    new: String,
    secret: Option<PathBuf>,
}

impl Written {
    /// The secret first: a configuration that names a file that is not there is worse than a file that nobody names. Blocks.
    fn write(config: &Config, answers: &Answers, is_new: bool) -> Result<Self, String> {
        let folder = config.path.parent().unwrap_or(FilePath::new("."));
        let secret = match &answers.secret {
            Some(secret) => Some(keep(folder, answers.provider(), secret.expose_secret())?),
            None => None,
        };
        let name = secret.as_ref().and_then(|path| path.file_name());
        let name = name.map(|name| name.to_string_lossy().into_owned());
        let place = name
            .as_deref()
            .map_or(SecretPlace::Inline, SecretPlace::File);
        let addition = match is_new {
            true => answers.addition(place),
            false => answers.addition_to_known(),
        };
        let (mut old, mut new) = (String::new(), String::new());
        let append = |text: &str| {
            old = text.to_owned();
            new = setup::append(text, &addition)?;
            Ok::<_, EditError>(new.clone())
        };
        let written = change(&config.path, &config.around, append);
        if let Err(error) = written {
            // It is of no use to anybody.
            secret.map(std::fs::remove_file);
            return Err(match error {
                ChangeError::Unfit(problems) => format!("Nothing was written:\n{problems}"),
                error => error.to_string(),
            });
        }
        Ok(Self {
            path: config.path.clone(),
            old,
            new,
            secret,
        })
    }

    /// Blocks.
    fn undo(self) -> Result<(), EditError> {
        edit::save(&self.path, &self.new, &self.old)?;
        self.secret.map(std::fs::remove_file);
        Ok(())
    }
}

/// Puts a secret into a new file beside the configuration.
fn keep(folder: &FilePath, provider: &str, secret: &str) -> Result<PathBuf, String> {
    for number in 1..=NAME_TRIES {
        let name = match number {
            1 => format!("{provider}.secret"),
            number => format!("{provider}-{number}.secret"),
        };
        let path = folder.join(name);
        match new_file::create(&path, secret, Readers::Owner) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(format!(
                    "Nothing was written: cannot make {}: {error}",
                    path.display()
                ));
            }
        }
    }
    Err(format!(
        "Nothing was written: there are too many files like {provider}.secret."
    ))
}

/// A name for the provider's table that is not taken.
fn free_name(config: &Config, choice: Choice) -> String {
    let is_taken = |name: &str| config.providers.iter().any(|known| known.name == name);
    let word = choice.word();
    if !is_taken(word) {
        return word.to_owned();
    }
    let mut names = (2..).map(|number| format!("{word}-{number}"));
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

/// Whether a table of the file is for this provider and protocol.
fn has_listener(config: &Config, provider: &str, protocol: Protocol) -> bool {
    let mut listeners = config.listeners.iter();
    listeners.any(|listener| listener.provider.name == provider && listener.protocol == protocol)
}
