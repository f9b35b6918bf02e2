//! `mailwicket authorize`: gets the provider's consent for a mailbox and keeps the grant, with or without the daemon running.
//!
//! The sign-in URL is the only thing on stdout, on a line of its own; words go to stderr.

pub(super) mod browser;
mod device;
mod password;

use std::io::{self, BufRead, IsTerminal, Write};

use clap::ValueEnum;
use secrecy::SecretString;
use tokio::sync::mpsc;
use url::Url;

use super::{Exit, Global, say};
use crate::authorize::{
    self as library, Authorization, Granted, STORE_PATIENCE, Way, redirect_to_paste,
};
use crate::config::{Account, Config, Flow, NoSuchAccount};
use crate::oauth::redirect::{Expected, RedirectError, RedirectListener, SIGN_IN_LIMIT};
use crate::vault::{Vault, VaultError};

/// Octets of pasted lines that are tried together.
const MAX_PASTE: usize = 64 * 1024;

/// The arguments of `authorize`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The mailbox, as in NAME@DOMAIN
    account: String,
    /// How somebody signs in; without it, as the provider's flow says
    #[arg(long, value_name = "METHOD")]
    method: Option<Method>,
    /// Start no browser, only print the address
    #[arg(long)]
    no_open: bool,
}

impl Args {
    /// For `account`, with the method that its flow has, and no browser started.
    pub fn for_account(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            method: None,
            no_open: true,
        }
    }
}

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// The browser is on this machine, or its port is forwarded here
    Browser,
    /// Copy the last address from the browser and paste it here
    Paste,
    /// Type a code on any device, such as a telephone
    Device,
}

impl Method {
    /// The one that was asked for, or the one that the account's provider is set up for.
    fn of(args: &Args, account: &Account) -> Self {
        args.method.unwrap_or(match Way::of(account) {
            Way::Browser => Self::Browser,
            Way::Paste => Self::Paste,
            Way::Device => Self::Device,
        })
    }
}

/// Why an account was not authorised.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// No such account.
    #[error(transparent)]
    NoAccount(#[from] NoSuchAccount),
    /// There is a method, but nobody signs in.
    #[error(
        "provider {provider} has flow = \"{flow}\", in which nobody signs in by a browser or another device; leave --method out"
    )]
    NoMethod {
        /// The provider's name.
        provider: String,
        /// Its flow.
        flow: &'static str,
    },
    /// The password did not come.
    #[error("cannot read the mailbox's password: {0}")]
    Password(io::Error),
    /// There was no sign-in, or no use of it.
    #[error(transparent)]
    Library(Box<library::AuthorizeError>),
    /// The input ended before the address was pasted.
    #[error("nothing was pasted")]
    NothingPasted,
    /// The address could not be printed.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl AuthorizeError {
    /// The exit code that stands for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoAccount(_) | Self::NoMethod { .. } => Exit::Usage,
            Self::Library(error) if error.is_of_configuration() => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

impl From<library::AuthorizeError> for AuthorizeError {
    fn from(error: library::AuthorizeError) -> Self {
        Self::Library(Box::new(error))
    }
}

impl From<RedirectError> for AuthorizeError {
    fn from(error: RedirectError) -> Self {
        library::AuthorizeError::from(error).into()
    }
}

impl From<VaultError> for AuthorizeError {
    fn from(error: VaultError) -> Self {
        library::AuthorizeError::from(error).into()
    }
}

/// Where the command reads and writes.
pub struct Terminal<'t> {
    /// For the sign-in URL.
    pub out: &'t mut (dyn Write + Send),
    /// For words.
    pub err: &'t mut (dyn Write + Send),
    /// Lines that a person pastes; `None` if nobody can.
    pub lines: Option<mpsc::Receiver<String>>,
    /// Reads the mailbox's password, without showing it.
    pub password: fn() -> io::Result<SecretString>,
    /// Whether `err` is a screen on which a picture of characters makes sense.
    pub shows_pictures: bool,
    /// Starts a browser; false if there is none.
    pub open: fn(&Url) -> bool,
}

impl Terminal<'_> {
    fn say(&mut self, words: &str) {
        // If nobody reads the words, there is nobody to tell.
        let _ = writeln!(self.err, "{words}");
    }

    fn print(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}").and_then(|()| self.out.flush())
    }

    /// The next pasted line; never, if nobody can paste; `None` at the end of the input.
    async fn line(&mut self) -> Option<String> {
        match &mut self.lines {
            Some(lines) => lines.recv().await,
            None => std::future::pending().await,
        }
    }
}

/// Runs it on the process's own terminal.
pub fn run(args: Args, global: &Global) -> Exit {
    let outcome = global.load().map(|config| on_terminal(&args, &config));
    match outcome {
        Ok(Ok(())) => Exit::Done,
        Ok(Err(error)) => {
            say(&format!("error: {error}").replace("ACCOUNT", &args.account));
            error.exit()
        }
        Err(exit) => exit,
    }
}

fn on_terminal(args: &Args, config: &Config) -> Result<(), AuthorizeError> {
    let vault = Vault::open(&config.state_dir, &config.vault_key)?;
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let account = config.account(&args.account)?;
    let is_pasted = Method::of(args, &account) == Method::Paste || io::stdin().is_terminal();
    // The password is read elsewhere, and only one may read.
    let may_paste = is_pasted && account.provider.flow != Flow::Password;
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        lines: may_paste.then(stdin_lines),
        password: password::read,
        shows_pictures: io::stderr().is_terminal(),
        open: if args.no_open {
            |_| false
        } else {
            browser::open
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(authorize(args, config, &vault, &mut terminal))
}

/// Lines of stdin, read by a thread that may stay behind in a read when the process ends.
fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Gets consent for the account that `args` name and stores the grant in `vault`.
///
/// # Errors
/// See [`AuthorizeError`]; whatever it is, what the vault held before is still there.
pub async fn authorize(
    args: &Args,
    config: &Config,
    vault: &Vault,
    terminal: &mut Terminal<'_>,
) -> Result<(), AuthorizeError> {
    let account = config.account(&args.account)?;
    let provider = &account.provider;
    let is_by_person = matches!(provider.flow, Flow::AuthorizationCode | Flow::DeviceCode);
    if args.method.is_some() && !is_by_person {
        return Err(AuthorizeError::NoMethod {
            provider: provider.name.clone(),
            flow: provider.flow.word(),
        });
    }
    let authorization = Authorization::new(account.clone(), vault.clone(), config.timeouts.token)?;
    if provider.flow.is_unattended() {
        return application(&authorization, terminal).await;
    }
    let granted = match (provider.flow, Method::of(args, &account)) {
        (Flow::Password, _) => password::sign_in(&authorization, terminal).await?,
        (_, Method::Device) => device::sign_in(&authorization, terminal).await?,
        (_, method) => by_browser(method, &authorization, terminal).await?,
    };
    keep(granted, &authorization, terminal).await
}

/// A person signs in with a browser (RFC 6749 §4.1).
async fn by_browser(
    method: Method,
    authorization: &Authorization,
    terminal: &mut Terminal<'_>,
) -> Result<Granted, AuthorizeError> {
    let configured = &authorization.account().provider.redirect_url;
    let listener = match method {
        Method::Paste => None,
        _ => Some(RedirectListener::bind(configured).await?),
    };
    let redirect = match &listener {
        Some(listener) => listener.url().clone(),
        None => redirect_to_paste(configured),
    };
    let sign_in = authorization.begin(&redirect).await?;
    let who = authorization.who();
    terminal.say(&format!("Sign in as {who} at this address:"));
    terminal.print(sign_in.url.as_str())?;
    explain(&sign_in.url, listener.as_ref(), terminal);

    let code = wait(listener, &sign_in.expected, terminal).await?;
    Ok(authorization.finish(sign_in, code).await?)
}

/// Says what is doubtful, and keeps the rest.
async fn keep(
    granted: Granted,
    authorization: &Authorization,
    terminal: &mut Terminal<'_>,
) -> Result<(), AuthorizeError> {
    for warning in &granted.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    let by = match &granted.signed_in_as {
        Some(name) => format!(" by {name}"),
        None => String::new(),
    };
    store(granted, authorization, terminal).await?;
    let address = &authorization.account().address;
    terminal.say(&format!("{address} is authorised{by}."));
    Ok(())
}

/// The application signs in by itself: nobody is needed, so this tries it and keeps the token.
async fn application(
    authorization: &Authorization,
    terminal: &mut Terminal<'_>,
) -> Result<(), AuthorizeError> {
    let granted = authorization.by_application().await?;
    store(granted, authorization, terminal).await?;
    terminal.say(&format!(
        "The application signed in by itself; nobody has to. Whether it may open {0} is shown by: mailwicket doctor {0}",
        authorization.account().address
    ));
    Ok(())
}

fn explain(url: &Url, listener: Option<&RedirectListener>, terminal: &mut Terminal<'_>) {
    let Some(listener) = listener else {
        terminal.say(
            "After the sign-in the browser shows an address that it cannot load. Copy that whole address, paste it here \
             and press Enter:",
        );
        return;
    };
    let opened = (terminal.open)(url);
    let port = listener.url().port().unwrap_or_default();
    let also = if terminal.lines.is_some() {
        ", or paste the address that the browser ends at here"
    } else {
        ""
    };
    if opened {
        terminal.say("A browser was started.");
    }
    terminal.say(&format!(
        "Waiting for the browser on this machine. From another one, forward the port (ssh -L {port}:127.0.0.1:{port} THIS-MACHINE){also}, or use --method paste."
    ));
}

/// Waits for the redirect, however it comes.
async fn wait(
    listener: Option<RedirectListener>,
    expected: &Expected,
    terminal: &mut Terminal<'_>,
) -> Result<SecretString, AuthorizeError> {
    match listener {
        None => pasted(expected, terminal)
            .await?
            .ok_or(AuthorizeError::NothingPasted),
        Some(listener) => {
            let redirected = listener.wait(expected.clone(), SIGN_IN_LIMIT);
            tokio::pin!(redirected);
            tokio::select! {
                outcome = &mut redirected => return Ok(outcome?),
                outcome = pasted(expected, terminal) => if let Some(code) = outcome? { return Ok(code) }
            }
            // The end of the input is no reason to stop listening.
            Ok(redirected.await?)
        }
    }
}

/// Reads lines until they make the redirect of this sign-in; `None` at the end of the input.
async fn pasted(
    expected: &Expected,
    terminal: &mut Terminal<'_>,
) -> Result<Option<SecretString>, AuthorizeError> {
    let mut so_far = String::new();
    while let Some(line) = terminal.line().await {
        if line.trim().is_empty() {
            continue;
        }
        so_far.push_str(&line);
        // A terminal may have cut the address into lines.
        let outcome = match expected.read_pasted(&line) {
            Err(RedirectError::Stray(_)) if so_far.len() > line.len() => {
                expected.read_pasted(&so_far)
            }
            outcome => outcome,
        };
        match outcome {
            Err(RedirectError::Stray(reason)) => {
                terminal.say(&format!("This is not the address that the sign-in ended at ({reason}). Paste the whole of it:"));
            }
            outcome => return Ok(Some(outcome?)),
        }
        if so_far.len() > MAX_PASTE {
            so_far.clear();
        }
    }
    Ok(None)
}

/// Keeps the grant, and says so if that has to wait.
async fn store(
    granted: Granted,
    authorization: &Authorization,
    terminal: &mut Terminal<'_>,
) -> Result<(), AuthorizeError> {
    let on_busy = |error: &VaultError| {
        if let VaultError::Busy { path, holder, .. } = error {
            terminal.say(&format!(
                "The sign-in is done. Waiting up to {} minutes for {holder}, which holds {}, to store it. Do not end this command.",
                STORE_PATIENCE.as_secs() / 60,
                path.display()
            ));
        }
    };
    Ok(authorization.keep(granted, on_busy).await?)
}

#[cfg(test)]
mod tests;
