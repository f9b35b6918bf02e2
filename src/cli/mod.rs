//! The command line: one file for each subcommand. Machine output goes to stdout, words to stderr.

pub mod account;
pub mod authorize;
pub mod ca;
pub mod check;
pub mod completions;
pub mod console;
pub mod demo;
pub mod doctor;
pub mod import;
pub mod man;
pub(crate) mod new_file;
pub mod password;
pub mod revoke;
pub mod run;
pub mod setup;
pub mod status;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{self, Config, LoadError, Log, Surroundings};
use crate::process;

/// Lets old mail programs keep their password while the provider gets OAuth 2.0.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    global: Global,
    /// What to do; without it: run
    #[command(subcommand)]
    command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it work: a sandbox provider, the real proxy, and a message that travels; nothing to configure
    Demo(demo::Args),
    /// Ask what is needed, write a configuration, and try it
    Setup(setup::Args),
    /// Check the configuration and show everything that is wrong in it
    Check(check::Args),
    /// List, add and remove the mailboxes of the configuration
    Account(account::Args),
    /// Run the proxy in the foreground
    Run(run::Args),
    /// Try every step of an account's path, with a real login for each protocol
    Doctor(doctor::Args),
    /// Show how every account and listener stands; fails if an account is not ok
    Status(status::Args),
    /// Open the web console: print a link that works once
    Console(console::Args),
    /// Local passwords: what mail programs log in with
    #[command(subcommand)]
    Password(password::Args),
    /// Sign in at the provider for a mailbox
    Authorize(authorize::Args),
    /// Take a sign-in back at the provider, and forget its tokens
    Revoke(revoke::Args),
    /// Turn another program's configuration into one of mailwicket
    Import(import::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print a manual page, for `man -l -`
    Man(man::Args),
    /// The local CA, which mail programs have to trust where they use TLS
    #[command(subcommand)]
    Ca(ca::Args),
}

/// The options of every subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "MAILWICKET_CONFIG", value_parser = path_or_empty())]
    pub config: Option<PathBuf>,
    /// The folder for tokens and passwords, instead of the one in the configuration
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Option<String>,
    /// The form of the log
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Colours in messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// An empty variable counts as absent, so it must not be an error either.
fn path_or_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn log_level(text: &str) -> Result<String, String> {
    match config::is_log_level(text) {
        true => Ok(text.to_owned()),
        false => Err(config::LEVEL_HINT.to_owned()),
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object per line
    Json,
}

/// When messages are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked for.
    Done,
    /// It failed.
    Failed,
    /// It was used wrongly, or the configuration is wrong.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

/// The command line as a whole, for documents and completions.
pub fn command() -> clap::Command {
    use clap::CommandFactory;
    Cli::command()
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help is no error; there is nothing left to do if it cannot be printed.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    // Every command may hold secrets, if only a password that it hashes.
    if let Err(error) = process::close_memory() {
        say(&format!(
            "warning: the memory of this process cannot be kept from core dumps and debuggers: {error}"
        ));
    }
    let command = cli.command.unwrap_or(Command::Run(run::Args::default()));
    perform(command, &cli.global).into()
}

/// Runs a command.
fn perform(command: Command, global: &Global) -> Exit {
    match command {
        Command::Demo(args) => demo::run(args, global),
        Command::Setup(args) => setup::run(args, global),
        Command::Check(args) => check::run(args, global),
        Command::Account(args) => account::run(args, global),
        Command::Run(args) => run::run(args, global),
        Command::Doctor(args) => doctor::run(args, global),
        Command::Status(args) => status::run(args, global),
        Command::Console(args) => console::run(args, global),
        Command::Password(args) => password::command(args, global),
        Command::Authorize(args) => authorize::run(args, global),
        Command::Revoke(args) => revoke::run(args, global),
        Command::Import(args) => import::run(args, global),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Ca(args) => ca::run(args, global),
    }
}

/// Runs the command that these words are, as a person would type them, with the configuration at `path`.
fn perform_words(words: &[&str], path: &Path, global: &Global) -> Exit {
    match Cli::try_parse_from(std::iter::once(&"mailwicket").chain(words)) {
        Ok(Cli {
            command: Some(command),
            ..
        }) => {
            let global = Global {
                config: Some(path.to_owned()),
                ..global.clone()
            };
            perform(command, &global)
        }
        // Only if the words and the commands do not fit each other.
        Ok(_) | Err(_) => Exit::Usage,
    }
}

impl Global {
    /// Where the configuration is; says on stderr if there is none.
    ///
    /// # Errors
    /// With the exit code of the command.
    pub fn path(&self) -> Result<PathBuf, Exit> {
        let given = self.config.as_deref();
        config::find(given.filter(|path| !path.as_os_str().is_empty())).map_err(|error| {
            self.say_error(&error);
            Exit::Usage
        })
    }

    /// The configuration, checked; says on stderr what is wrong.
    ///
    /// # Errors
    /// With the exit code of the command.
    pub fn load(&self) -> Result<Config, Exit> {
        let path = self.path()?;
        Config::load_in(&path, &self.surroundings()).map_err(|error| self.refuse(&error))
    }

    /// A text in place of the configuration at `path`, checked; says on stderr what is wrong.
    ///
    /// # Errors
    /// With the exit code of the command.
    pub fn check_text(&self, text: &str, path: &Path) -> Result<Config, Exit> {
        Config::parse_in(text, path, &self.surroundings())
            .map_err(|problems| self.refuse(&problems.into()))
    }

    /// What the configuration depends on besides its file.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings::of_process().with_state_dir(self.state_dir.as_deref())
    }

    /// How to log: what the command line says, else the configuration.
    pub fn log(&self, config: &Config) -> Log {
        Log {
            level: self
                .log_level
                .clone()
                .unwrap_or_else(|| config.log.level.clone()),
            json: self
                .log_format
                .map_or(config.log.json, |format| format == LogFormat::Json),
        }
    }

    /// Says on stderr why there is no configuration.
    pub fn refuse(&self, error: &LoadError) -> Exit {
        match error {
            LoadError::Invalid(problems) => {
                let count = problems.list().len();
                let plural = if count == 1 { "problem" } else { "problems" };
                say(&format!(
                    "{}\n\n{count} {plural} in the configuration",
                    problems.render(self.colored())
                ));
            }
            other => self.say_error(other),
        }
        Exit::Usage
    }

    /// Says on stderr what went wrong.
    pub fn say_error(&self, error: &dyn std::error::Error) {
        say(&format!("error: {error}"));
    }

    /// Whether words on stderr are coloured.
    pub fn colored(&self) -> bool {
        let wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stderr().is_terminal() && wanted(),
        }
    }
}

/// Runs what a command does on a runtime of its own.
///
/// # Errors
/// With the exit code of the command, if the system has no room for a runtime.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        say(&format!("error: cannot start the runtime: {error}"));
        Exit::Failed
    })?;
    let done = runtime.block_on(work);
    // A name that is being resolved cannot be called back; nobody waits for it any more.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(done)
}

/// A line of words, on stderr. If nobody listens there, there is nobody to tell.
pub fn say(words: &str) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}

/// A line of output, on stdout.
///
/// # Errors
/// With the exit code of the command, if the output cannot be written: whoever reads it would take a part for the whole.
pub fn print(line: &str) -> Result<(), Exit> {
    writeln!(io::stdout().lock(), "{line}").map_err(|error| {
        say(&format!("error: cannot write the output: {error}"));
        Exit::Failed
    })
}
