//! `mailwicket setup`: asks what is needed, shows the configuration, writes it, and goes on to the first sign-in.
//!
//! Words go to stderr. Answers are lines of stdin, so that it works over ssh and from a pipe as well.

mod questions;
mod talk;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::{Exit, Global, perform_words, say};
use crate::config::{Config, LoadError, Problems};
use crate::setup::new_file::{self, Readers};
use crate::setup::{Answers, SecretPlace};
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
    #[error(
        "without a registration there is nothing to set up for {0}; nothing was written (docs/providers.md says more)"
    )]
    Unregistered(&'static str),
    #[error("cannot make {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What was written, and how to go on.
struct Done {
    path: PathBuf,
    address: String,
    goes_on: bool,
    is_for_others: bool,
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
        questions::ask(talk, &mut answers)?;
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
        if answers.way.flow().is_unattended() {
            "get a token"
        } else {
            "sign in"
        }
    ))?;
    Ok(Done {
        path,
        is_for_others: answers.is_for_others,
        address: answers.address,
        goes_on,
    })
}

fn refused(talk: &mut Talk<'_>, problems: Problems, global: &Global) -> Result<(), TalkError> {
    global.refuse(&LoadError::Invalid(problems));
    talk.say("Nothing was written. Once more; Enter keeps what stands in brackets.\n")
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
    if done.is_for_others {
        say(&format!(
            "\nMail programs elsewhere use TLS, and must trust this certificate: mailwicket --config {config} ca export"
        ));
    }
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
