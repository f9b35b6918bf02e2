//! From a form to a change, which is shown, saved, taken up, and taken back.

use std::collections::HashMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use secrecy::SecretString;
use tokio::sync::Mutex;
use toml_edit::{InlineTable, Value};

use super::draft::{Draft, NewSecret, State as Outcome};
use super::field::{changes, field_of};
use super::{Refusal, Seen, Served, Target, form, look, unreadable};
use crate::config::edit::{
    DiffLine, Edit, EditError, Place, Proposal, Sign, digest, propose, value_at,
};
use crate::console::gate::{Form, Nothing, Session};
use crate::console::page::{self, Fault, Flash, Page};
use crate::console::{Console, InForce};

/// Names of those who need something, before the rest is only counted.
const NAMED: usize = 10;

/// What is told of a fault of our own.
const PANICKED: &str = "Something went wrong in mailwicket itself; the log has more. Look at the file before you go on.";

/// What becomes of a form.
enum Read {
    Draft(Box<Draft>),
    Refused(Refusal),
    /// The form was made from another text.
    Stale,
    Nothing,
    Unreadable(String),
}

/// Takes a form: on to the review, or back to the form with what is wrong.
pub async fn begin(
    console: &Console,
    session: &Session,
    target: Target,
    typed: Vec<(String, String)>,
) -> Served {
    let typed: HashMap<String, String> = typed.into_iter().collect();
    let about = target.clone();
    let read = move |in_force: &InForce| match look(in_force) {
        Ok(seen) => read(&seen, &about, typed),
        Err(words) => Read::Unreadable(words),
    };
    let read = console.blocking(read).await.ok_or_else(Fault::internal)?;
    go_on(console, session, target, read).await
}

async fn go_on(console: &Console, session: &Session, target: Target, read: Read) -> Served {
    let back = |flash: Flash| {
        session.flash(flash);
        Ok(Redirect::to(&target.path()).into_response())
    };
    match read {
        Read::Draft(draft) => match console.drafts.keep(*draft, Instant::now()) {
            Ok(name) => Ok(Redirect::to(&format!("/changes/{name}")).into_response()),
            Err(error) => {
                tracing::error!(%error, "the system gives no randomness");
                Err(Fault::internal())
            }
        },
        Read::Refused(refusal) => form(console, session, target, Some(refusal)).await,
        Read::Stale => back(Flash::fault(
            "The file was changed since this form was opened, so nothing was done. This is what it says now; make your change again.",
        )),
        Read::Nothing => back(Flash::done(
            "Nothing was changed, so there is nothing to save.",
        )),
        Read::Unreadable(words) => {
            let title = target.title();
            let page = Page::new(&title, target.section());
            Ok(page.show(session, &unreadable(&words)).into_response())
        }
    }
}

/// What a form wants, checked. Blocks.
fn read(seen: &Seen, target: &Target, mut typed: HashMap<String, String>) -> Read {
    if typed.get("of") != Some(&digest(&seen.text)) {
        return Read::Stale;
    }
    let secret = typed
        .remove("client-secret")
        .map(|text| text.trim().to_owned());
    let secret = secret
        .filter(|text| !text.is_empty())
        .map(SecretString::from);
    if secret.is_some() {
        typed.remove("client-secret-off");
    }
    let place = match target {
        Target::NewProvider => Place::Provider(name_of(&typed).to_owned()),
        Target::NewListener => Place::Listener(seen.listeners().len()),
        Target::Provider(name) => Place::Provider(name.clone()),
        Target::Listener(at) => Place::Listener(*at),
    };
    let refuse = |faults: HashMap<String, String>, rest: Vec<String>| {
        let typed = typed.clone();
        Read::Refused(Refusal {
            typed,
            faults,
            rest,
        })
    };
    if matches!(target, Target::NewProvider) && name_of(&typed).is_empty() {
        let fault = "give it a name".to_owned();
        return refuse(HashMap::from([("name".into(), fault)]), Vec::new());
    }
    let table = target
        .place()
        .and_then(|place| value_at(&seen.text, &place, &[]).ok()?);
    if target.place().is_some() && table.is_none() {
        return Read::Stale;
    }
    let mut edits = changes(target.sections(), &place, table.as_ref(), &typed);
    let secret = secret.map(|secret| keep_secret(seen, &place, secret, &mut edits));
    if edits.is_empty() && secret.is_none() && table.is_some() {
        return Read::Nothing;
    }
    if table.is_none() {
        edits = as_new(&place, edits);
    }
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let proposal = match propose(&seen.text, &edits, &seen.path, &seen.around, today) {
        Ok(proposal) => proposal,
        Err(error @ EditError::Taken { .. }) => {
            return refuse(
                HashMap::from([("name".into(), error.to_string())]),
                Vec::new(),
            );
        }
        Err(error) => return refuse(HashMap::new(), vec![error.to_string()]),
    };
    if !proposal.problems.is_empty() {
        let (faults, rest) = sorted(&proposal, target, &place);
        return refuse(faults, rest);
    }
    if proposal.before == proposal.after && secret.is_none() {
        return Read::Nothing;
    }
    let title = match target {
        Target::NewProvider => format!("Add provider {}", name_of(&typed)),
        Target::NewListener => "Add a listener".into(),
        other => format!("Change {}", other.title().to_lowercase()),
    };
    Read::Draft(Box::new(Draft::new(
        title,
        target.section(),
        proposal,
        secret,
    )))
}

fn name_of(typed: &HashMap<String, String>) -> &str {
    typed.get("name").map_or("", |name| name.trim())
}

/// The edits of a table that is not there yet: it begins with its own keys, tables within it follow.
fn as_new(place: &Place, edits: Vec<Edit>) -> Vec<Edit> {
    let mut own = Vec::new();
    let mut rest = Vec::new();
    for edit in edits {
        match edit {
            Edit::Set(_, mut key, value) if key.len() == 1 => own.push((key.remove(0), value)),
            other => rest.push(other),
        }
    }
    let first = match place {
        Place::Provider(name) => Edit::AddProvider(name.clone(), own),
        Place::Listener(_) => Edit::AddListener(own),
    };
    [first].into_iter().chain(rest).collect()
}

/// A secret goes to the file that the configuration names for it, or to a new one beside the configuration.
fn keep_secret(
    seen: &Seen,
    place: &Place,
    secret: SecretString,
    edits: &mut Vec<Edit>,
) -> NewSecret {
    let folder = seen.path.parent().unwrap_or(FilePath::new("/"));
    let named = value_at(&seen.text, place, &["client-secret", "file"]);
    if let Ok(Some(toml::Value::String(file))) = named {
        return NewSecret::new(folder.join(file), secret);
    }
    let name = match place {
        Place::Provider(name) => name.as_str(),
        Place::Listener(_) => "listener",
    };
    let names = (1..).map(|number: u32| match number {
        1 => format!("{name}.secret"),
        _ => format!("{name}-{number}.secret"),
    });
    let mut free = names.filter(|file| !folder.join(file).exists());
    let file = free.next().unwrap_or_default();
    let source = InlineTable::from_iter([("file", Value::from(file.as_str()))]);
    let key = vec!["client-secret".to_owned()];
    edits.push(Edit::Set(place.clone(), key, Value::InlineTable(source)));
    NewSecret::new(folder.join(file), secret)
}

/// What is wrong, by the fields; and what no field is there for.
fn sorted(
    proposal: &Proposal,
    target: &Target,
    place: &Place,
) -> (HashMap<String, String>, Vec<String>) {
    let mut faults: HashMap<String, String> = HashMap::new();
    let mut rest = Vec::new();
    for remark in &proposal.problems {
        let own = remark.about.as_ref().filter(|(about, _)| about == place);
        let field = own.and_then(|(_, key)| field_of(target.sections(), key, &remark.message));
        let Some(field) = field else {
            rest.push(remark.shown.clone());
            continue;
        };
        let words = match &remark.hint {
            Some(hint) => format!("{}: {hint}. ", remark.message),
            None => format!("{}. ", remark.message),
        };
        faults.entry(field).or_default().push_str(&words);
    }
    (faults, rest)
}

/// Takes the wish to remove a table: on to the review, or back with why not.
pub async fn begin_removal(
    console: &Console,
    session: &Session,
    target: Target,
    of: String,
) -> Served {
    let about = target.clone();
    let read = move |in_force: &InForce| match look(in_force) {
        // A listener has no name but its number, which may be another's by now.
        Ok(seen) if of != digest(&seen.text) => Ok(Read::Stale),
        Ok(seen) => removal(&seen, &about),
        Err(words) => Ok(Read::Unreadable(words)),
    };
    match console.blocking(read).await.ok_or_else(Fault::internal)? {
        Ok(read) => go_on(console, session, target, read).await,
        Err(words) => {
            session.flash(Flash::fault(words));
            Ok(Redirect::to(&target.path()).into_response())
        }
    }
}

fn removal(seen: &Seen, target: &Target) -> Result<Read, String> {
    let Some(place) = target.place() else {
        return Ok(Read::Nothing);
    };
    is_free(seen, target)?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let edits = [Edit::Remove(place)];
    let proposal = propose(&seen.text, &edits, &seen.path, &seen.around, today);
    let proposal = proposal.map_err(|error| error.to_string())?;
    if let Some(first) = proposal.problems.first() {
        return Err(format!(
            "Without it, the file would have problems:\n{}",
            first.shown
        ));
    }
    let title = format!("Remove {}", target.title().to_lowercase());
    Ok(Read::Draft(Box::new(Draft::new(
        title,
        target.section(),
        proposal,
        None,
    ))))
}

/// Whether nobody needs it.
fn is_free(seen: &Seen, target: &Target) -> Result<(), String> {
    match target {
        Target::Provider(name) => {
            let (accounts, listeners) = seen.users_of(name);
            let users: Vec<&str> = accounts
                .into_iter()
                .chain(listeners.iter().map(String::as_str))
                .collect();
            match users.len() {
                0 => Ok(()),
                count => {
                    let named = users[..count.min(NAMED)].join(", ");
                    let more = match count.saturating_sub(NAMED) {
                        0 => String::new(),
                        more => format!(" and {more} more"),
                    };
                    Err(format!(
                        "Provider {name} is in use, so it stays: {named}{more}. Remove those first, or give them another provider."
                    ))
                }
            }
        }
        Target::Listener(_) if seen.listeners().len() == 1 => Err(
            "This is the only listener, and without one mailwicket has nothing to do. Add another one first.".into(),
        ),
        _ => Ok(()),
    }
}

// ---- the page of a change ----

/// Shows a change, and what became of it.
pub async fn show(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(name): Path<String>,
) -> Result<Markup, Fault> {
    let found = console
        .drafts
        .find(&name, Instant::now())
        .ok_or_else(gone)?;
    let draft = found.lock().await;
    let path = format!("/changes/{name}");
    let content = html! {
        @match &draft.state {
            Outcome::Waiting => {
                p { "This is what would change in " code { (console.now().config.path.display()) } ". Nothing is written yet." }
                (difference(&draft))
                (page::form(&session, &path, &html! {}, "Save and reload"))
                p { a href=(draft.section) { "Leave it as it is" } }
            }
            Outcome::Saving => {
                p { "The file is being written and taken up. Reload this page in a moment." }
                (difference(&draft))
            }
            Outcome::InForce => {
                p { strong { "The change is saved and in force." } " Sessions that were logged in go on." }
                (listening(&console))
                (difference(&draft))
                (back(&session, &path))
            }
            Outcome::NotTakenUp(reason) => {
                div.flash.fault role="alert" {
                    p { "The change is in the file, but it was not taken up. The old configuration stays in force, until the file is mended or restored:" }
                    pre.problem { (reason) }
                }
                (back(&session, &path))
                (difference(&draft))
            }
            Outcome::TakenBack => {
                p { "The file says again what it said before this change." }
                (listening(&console))
            }
        }
    };
    Ok(Page::new(&draft.title, draft.section).show(&session, &content))
}

fn gone() -> Fault {
    Fault::bad("This change has waited too long, or mailwicket was restarted. Make it again.")
}

fn back(session: &Session, path: &str) -> Markup {
    html! {
        form method="post" action=(format!("{path}/back")) {
            (session.csrf())
            button.quiet type="submit" { "Restore the file as it was before, and reload" }
        }
    }
}

fn difference(draft: &Draft) -> Markup {
    html! {
        @if let Some(secret) = &draft.secret {
            p { "The new client secret goes to " code { (secret.path.display()) } ", which " (secret.readers()) " can read." }
        }
        @if !draft.diff.is_empty() { (lines(&draft.diff)) }
        @if !draft.warnings.is_empty() {
            section aria-labelledby="warnings-title" {
                h2 #warnings-title { "Worth a look" }
                ul { @for warning in &draft.warnings { li { (warning) } } }
            }
        }
    }
}

/// Lines that go and come are told by their sign and as what they are, not by colours alone.
fn lines(diff: &[DiffLine]) -> Markup {
    html! {
        pre.diff role="group" aria-label="What changes in the file" tabindex="0" {
            @for line in diff {
                @let text = format!("{} {}\n", line.sign.mark(), line.text);
                @if line.sign != Sign::Gap { span.number aria-hidden="true" { (format!("{:>4} ", line.number)) } }
                @match line.sign {
                    Sign::Same => { span { (text) } }
                    Sign::Less => { del { (text) } }
                    Sign::More => { ins { (text) } }
                    Sign::Gap => { span.gap { "…\n" } }
                }
            }
        }
    }
}

fn listening(console: &Console) -> Markup {
    let in_force = console.now();
    html! {
        p { "Now listening:" }
        ul {
            @for (listener, bound, _) in &in_force.sources.listeners {
                li {
                    (listener.protocol) " on " code { (bound) } ", TLS " (listener.tls) ", for provider " (listener.provider.name)
                }
            }
        }
    }
}

/// Saves a change and has it taken up.
pub async fn save(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(name): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Served {
    let found = console
        .drafts
        .find(&name, Instant::now())
        .ok_or_else(gone)?;
    // Whoever presses the button twice saves once.
    let begun = found.lock().await.begin(|it| *it == Outcome::Waiting);
    if begun.is_some() {
        Console::whole(saved(console, session, found)).await?;
    }
    Ok(Redirect::to(&format!("/changes/{name}")).into_response())
}

async fn saved(console: Arc<Console>, session: Session, found: Arc<Mutex<Draft>>) {
    let writing = Arc::clone(&found);
    let written = console
        .blocking(move |in_force| writing.blocking_lock().write(&in_force.config.path))
        .await;
    if let Err(words) = written.unwrap_or_else(|| Err(PANICKED.into())) {
        found.lock().await.state = Outcome::Waiting;
        session.flash(Flash::fault(words));
        return;
    }
    let title = found.lock().await.title.clone();
    tracing::info!(change = title, "the console has changed the configuration");
    let taken_up = console.reload().await;
    found.lock().await.state = match taken_up {
        Ok(()) => Outcome::InForce,
        Err(reason) => Outcome::NotTakenUp(reason),
    };
}

/// Restores the text from before a change and has it taken up.
pub async fn take_back(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(name): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Served {
    let found = console
        .drafts
        .find(&name, Instant::now())
        .ok_or_else(gone)?;
    let is_there = |state: &Outcome| matches!(state, Outcome::InForce | Outcome::NotTakenUp(_));
    let begun = found.lock().await.begin(is_there);
    if let Some(former) = begun {
        Console::whole(taken_back(console, session, found, former)).await?;
    }
    Ok(Redirect::to(&format!("/changes/{name}")).into_response())
}

async fn taken_back(
    console: Arc<Console>,
    session: Session,
    found: Arc<Mutex<Draft>>,
    former: Outcome,
) {
    let undoing = Arc::clone(&found);
    let undone = console
        .blocking(move |in_force| undoing.blocking_lock().take_back(&in_force.config.path))
        .await;
    if let Err(words) = undone.unwrap_or_else(|| Err(PANICKED.into())) {
        found.lock().await.state = former;
        session.flash(Flash::fault(words));
        return;
    }
    found.lock().await.state = Outcome::TakenBack;
    tracing::info!("the console has restored the configuration");
    match console.reload().await {
        Ok(()) => session.flash(Flash::done("The file is restored and in force.")),
        Err(reason) => session.flash(Flash::fault(format!(
            "The file is restored, but was not taken up:\n{reason}"
        ))),
    }
}
