//! `mailwicket setup`: asks what is needed, shows the configuration, writes it, and goes on to the first sign-in.
//!
//! Words go to stderr. Answers are lines of stdin, so that it works over ssh and from a pipe as well.

mod answers;
mod guess;
mod talk;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::new_file::{self, Readers};
use super::{Exit, Global, perform_words, say};
use crate::config::{Config, LoadError, Problems};
use crate::protocol::Protocol;
use answers::{Answers, SecretPlace, Served};
use guess::{Kind, guess};
use talk::{Talk, TalkError};

/// Where a daemon's configuration is usually, and where its state goes then.
const SYSTEM: (&str, &str) = ("/etc", "/var/lib/mailwicket");

/// The arguments of `setup`: only the global ones.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error(transparent)]
    Talk(#[from] TalkError),
    #[error("cannot make {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What was written, and how to go on.
struct Done {
    path: PathBuf,
    address: String,
    goes_on: bool,
}

/// Runs it.
pub fn run(_: Args, global: &Global) -> Exit {
    let (mut answers, mut words) = (io::stdin().lock(), io::stderr());
    let mut talk = Talk {
        answers: &mut answers,
        words: &mut words,
        is_terminal: io::stdin().is_terminal(),
    };
    let done = setup(&mut talk, global);
    // `authorize` reads pasted lines.
    drop(answers);
    match done {
        Ok(done) => go_on(&done, global),
        Err(error) => {
            global.say_error(&error);
            Exit::Failed
        }
    }
}

fn setup(talk: &mut Talk<'_>, global: &Global) -> Result<Done, SetupError> {
    let mut answers = Answers::default();
    let path = loop {
        questions(talk, &mut answers)?;
        let path = file(talk, global)?;
        let draft = answers.config(SecretPlace::Inline, state_dir(&path));
        talk.say(&format!(
            "\n{}",
            *answers.config(SecretPlace::Hidden, state_dir(&path))
        ))?;
        match Config::parse_in(&draft, &path, &global.surroundings()) {
            Ok(_) if talk.agrees(&format!("Write this to {}?", path.display()))? => break path,
            Ok(_) => talk.say("Once more, then. Enter keeps what stands in brackets.\n")?,
            Err(problems) => refused(talk, problems, global)?,
        }
    };
    write(talk, &answers, &path)?;
    let goes_on = talk.agrees(&format!(
        "Make a password for the mail program, {} and try every step now?",
        if answers.is_unattended {
            "get a token"
        } else {
            "sign in"
        }
    ))?;
    Ok(Done {
        path,
        address: answers.address,
        goes_on,
    })
}

fn refused(talk: &mut Talk<'_>, problems: Problems, global: &Global) -> Result<(), TalkError> {
    global.refuse(&LoadError::Invalid(problems));
    talk.say("Nothing was written. Once more; Enter keeps what stands in brackets.\n")
}

// ---- the questions ----

fn questions(talk: &mut Talk<'_>, answers: &mut Answers) -> Result<(), TalkError> {
    answers.address = ask_again(talk, "The mailbox (NAME@DOMAIN)", &answers.address)?;
    let kind = provider(talk, answers)?;
    answers.kind = Some(kind);
    match kind {
        Kind::Microsoft => microsoft(talk, answers)?,
        Kind::Personal => talk.say("Register an application for personal accounts: entra.microsoft.com, App registrations.")?,
        Kind::Google => talk.say("Google Cloud console, APIs & Services, Credentials, OAuth client ID for a desktop app: both values are there.")?,
        Kind::Other => other(talk, answers)?,
    }
    answers.client_id = ask_again(talk, "Client id of the registration", &answers.client_id)?;
    answers.secret = talk.ask_secret("Client secret, if the registration has one")?;
    answers.listeners = listeners(talk, kind)?;
    Ok(())
}

/// A question whose default is the answer of the last round.
fn ask_again(talk: &mut Talk<'_>, question: &str, before: &str) -> Result<String, TalkError> {
    talk.ask(question, Some(before).filter(|before| !before.is_empty()))
}

fn provider(talk: &mut Talk<'_>, answers: &Answers) -> Result<Kind, TalkError> {
    let words = Kind::ALL.map(Kind::word).join(", ");
    let suggestion = answers.kind.or_else(|| guess(&answers.address));
    let default = suggestion.unwrap_or(Kind::Microsoft).word();
    loop {
        let answer = talk.ask(&format!("The provider: {words}"), Some(default))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.word().eq_ignore_ascii_case(&answer));
        match kind {
            Some(kind) => return Ok(kind),
            None => talk.say(&format!("Please answer one of {words}."))?,
        }
    }
}

fn microsoft(talk: &mut Talk<'_>, answers: &mut Answers) -> Result<(), TalkError> {
    talk.say("entra.microsoft.com, App registrations, your application, Overview: Application (client) ID and Directory (tenant) ID.")?;
    let who = talk.ask(
        "Who signs in: a person once, or the application by itself (person or application)",
        Some("person"),
    )?;
    answers.is_unattended = who.to_ascii_lowercase().starts_with('a');
    let tenant = match (&answers.tenant, answers.is_unattended) {
        (Some(tenant), _) => talk.ask("Tenant: its id or a domain", Some(tenant))?,
        (None, true) => talk.ask("Tenant: its id or a domain", None)?,
        (None, false) => talk.ask(
            "Tenant: its id or a domain, or common for all",
            Some("common"),
        )?,
    };
    answers.tenant = Some(tenant).filter(|tenant| tenant != "common");
    Ok(())
}

fn other(talk: &mut Talk<'_>, answers: &mut Answers) -> Result<(), TalkError> {
    answers.issuer =
        talk.ask_optional("Issuer URL, if the provider publishes its endpoints (OpenID Connect)")?;
    if answers.issuer.is_none() {
        let before = |url: &Option<String>| url.clone().unwrap_or_default();
        answers.authorize_url = Some(ask_again(
            talk,
            "Authorization URL",
            &before(&answers.authorize_url),
        )?);
        answers.token_url = Some(ask_again(talk, "Token URL", &before(&answers.token_url))?);
    }
    let scopes = talk.ask_optional("Scopes for mail, with spaces between them")?;
    answers.scopes = scopes
        .iter()
        .flat_map(|scopes| scopes.split_whitespace())
        .map(str::to_owned)
        .collect();
    Ok(())
}

fn listeners(talk: &mut Talk<'_>, kind: Kind) -> Result<Vec<Served>, TalkError> {
    loop {
        let answer = talk.ask(
            "What mail programs speak: imap, pop3, smtp",
            Some("imap smtp"),
        )?;
        let words: Vec<_> = answer
            .split([' ', ','])
            .filter(|word| !word.is_empty())
            .collect();
        let protocol = |word: &&str| {
            Protocol::ALL
                .into_iter()
                .find(|known| known.word().eq_ignore_ascii_case(word))
        };
        let protocols: Vec<_> = words.iter().filter_map(protocol).collect();
        if protocols.len() != words.len() {
            talk.say("Please answer one or several of imap, pop3 and smtp.")?;
            continue;
        }
        return protocols
            .into_iter()
            .map(|protocol| served(talk, protocol, kind))
            .collect();
    }
}

fn served(talk: &mut Talk<'_>, protocol: Protocol, kind: Kind) -> Result<Served, TalkError> {
    let (usual, name) = match protocol {
        Protocol::Imap => ("1143", "IMAP"),
        Protocol::Pop3 => ("1110", "POP3"),
        Protocol::Smtp => ("1587", "SMTP"),
    };
    let host = match kind {
        Kind::Other => Some(talk.ask(&format!("The provider's {name} server"), None)?),
        _ => None,
    };
    loop {
        let answer = talk.ask(&format!("Port for {name} on this machine"), Some(usual))?;
        match answer.parse().ok().filter(|port| *port != 0) {
            Some(port) => {
                return Ok(Served {
                    protocol,
                    port,
                    host,
                });
            }
            None => talk.say("Please answer a number from 1 to 65535.")?,
        }
    }
}

// ---- the file ----

/// A file that is not there yet.
fn file(talk: &mut Talk<'_>, global: &Global) -> Result<PathBuf, TalkError> {
    let default = default_path(global).display().to_string();
    loop {
        let path = PathBuf::from(talk.ask("The file to write", Some(&default))?);
        if !path.exists() {
            return Ok(path);
        }
        talk.say(&format!(
            "{} is there already and stays as it is; name another file.",
            path.display()
        ))?;
    }
}

fn default_path(global: &Global) -> PathBuf {
    let around = global.surroundings();
    let given = global
        .config
        .clone()
        .filter(|path| !path.as_os_str().is_empty());
    given
        .or(around.config)
        .unwrap_or_else(|| match around.config_home {
            Some(home) => home.join("mailwicket").join("mailwicket.toml"),
            None => Path::new(SYSTEM.0).join("mailwicket/mailwicket.toml"),
        })
}

/// The state folder to write down, where a daemon and the commands of root must use the same one.
fn state_dir(path: &Path) -> Option<&'static str> {
    path.starts_with(SYSTEM.0).then_some(SYSTEM.1)
}

/// The secret first: a configuration that names a file that is not there is worse than a file that nobody names.
fn write(talk: &mut Talk<'_>, answers: &Answers, path: &Path) -> Result<(), SetupError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| SetupError::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(fail(folder))?;
    let name = format!("{}.secret", answers.provider());
    let own = match &answers.secret {
        Some(_) => talk.agrees(&format!(
            "Keep the client secret in a file of its own, {name}, which only you can read?"
        ))?,
        None => false,
    };
    let (place, readers) = match (&answers.secret, own) {
        (Some(secret), true) => {
            let file = folder.join(&name);
            new_file::create(&file, secret.expose_secret(), Readers::Owner).map_err(fail(&file))?;
            (SecretPlace::File(&name), Readers::Everybody)
        }
        (Some(_), false) => (SecretPlace::Inline, Readers::Owner),
        (None, _) => (SecretPlace::Inline, Readers::Everybody),
    };
    let text = answers.config(place, state_dir(path));
    new_file::create(path, &text, readers).map_err(fail(path))?;
    talk.say(&format!("{} is written.", path.display()))?;
    Ok(())
}

// ---- and then ----

fn go_on(done: &Done, global: &Global) -> Exit {
    let address = done.address.as_str();
    let config = done.path.display();
    let steps: [&[&str]; 3] = [
        &["password", "add", address],
        &["authorize", address],
        &["doctor", address],
    ];
    if done.goes_on {
        for words in steps {
            say(&format!("\n$ mailwicket {}", words.join(" ")));
            let exit = perform_words(words, &done.path, global);
            if exit != Exit::Done {
                say(&format!(
                    "\nWhen that is mended: mailwicket --config {config} {}",
                    words.join(" ")
                ));
                return exit;
            }
        }
        say(&format!("\nStart it: mailwicket --config {config} run"));
    } else {
        say("\nNext:");
        for words in steps.iter().chain([&["run"][..]].iter()) {
            say(&format!(
                "  mailwicket --config {config} {}",
                words.join(" ")
            ));
        }
    }
    Exit::Done
}
