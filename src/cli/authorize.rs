//! `mailwicket authorize`: gets the provider's consent for a mailbox and keeps the grant, with or without the daemon running.
//!
//! The sign-in URL is the only thing on stdout, on a line of its own; words go to stderr.

pub(super) mod browser;
mod check;
mod device;
mod password;

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::mpsc;
use url::Url;

use super::{Exit, Global, say};
use crate::config::{Account, Config, Flow, NoSuchAccount};
use crate::oauth::catalogue;
use crate::oauth::redirect::{Expected, RedirectError, RedirectListener, SIGN_IN_LIMIT};
use crate::oauth::response::Answer;
use crate::oauth::{OAuth, OAuthError};
use crate::tls::TlsError;
use crate::token::grant::Grant;
use crate::vault::{Guard, Kind, Vault, VaultError};

/// How long a grant that was just made waits for the right to be stored: a person would have to sign in again.
const STORE_PATIENCE: Duration = Duration::from_secs(600);
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
        let provider = &account.provider;
        args.method.unwrap_or(match provider.flow {
            Flow::DeviceCode => Self::Device,
            // Nothing can be listened on there.
            _ if provider.redirect_url.scheme() != "http" => Self::Paste,
            _ => Self::Browser,
        })
    }
}

/// Why an account was not authorised.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// No such account.
    #[error(transparent)]
    NoAccount(#[from] NoSuchAccount),
    /// The provider's `ca-file` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What proves the application cannot be read.
    #[error("{0}")]
    Credential(String),
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
    /// The provider gave no tokens.
    #[error("{error}{}", on_a_new_line(error.remedy()))]
    OAuth {
        /// Why not.
        #[from]
        error: OAuthError,
    },
    /// The sign-in did not come to its end.
    #[error("{error}{}", on_a_new_line(remedy_of(error)))]
    Redirect {
        /// Why not.
        #[from]
        error: RedirectError,
    },
    /// The input ended before the address was pasted.
    #[error("nothing was pasted")]
    NothingPasted,
    /// What was granted is of no use; nothing was stored.
    #[error("{0}; nothing was stored")]
    Unfit(#[from] check::Unfit),
    /// The vault did not take the grant.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The address could not be printed.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl AuthorizeError {
    /// The exit code that stands for it.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NoAccount(_) | Self::Tls(_) | Self::NoMethod { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

fn on_a_new_line(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!("\n{words}")
    }
}

fn remedy_of(error: &RedirectError) -> &'static str {
    match error {
        RedirectError::Declined(answer) => catalogue::meaning(answer).remedy,
        _ => "",
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
    // A record that cannot be replaced is better known before somebody signs in than after.
    vault.read(Kind::Grant, &account.address)?;
    let oauth = OAuth::new(account.provider.clone(), config.timeouts.token)?;
    let provider = &account.provider;
    let is_by_person = matches!(provider.flow, Flow::AuthorizationCode | Flow::DeviceCode);
    if args.method.is_some() && !is_by_person {
        return Err(AuthorizeError::NoMethod {
            provider: provider.name.clone(),
            flow: provider.flow.word(),
        });
    }
    // What cannot be read is told before somebody has signed in for nothing.
    let looked_at = provider.look_at_credentials();
    looked_at.map_err(AuthorizeError::Credential)?;
    if provider.flow.is_unattended() {
        return application(&account, &oauth, vault, terminal).await;
    }
    let who = account.authorize_as.as_deref().unwrap_or(&account.address);
    let method = Method::of(args, &account);
    let (answer, sent) = match (provider.flow, method) {
        (Flow::Password, _) => password::sign_in(&oauth, who, terminal).await?,
        (_, Method::Device) => device::sign_in(&oauth, who, terminal).await?,
        (_, method) => by_browser(method, &account, &oauth, who, terminal).await?,
    };
    keep(&answer, sent, &account, vault, terminal).await
}

/// A person signs in with a browser (RFC 6749 §4.1).
async fn by_browser(
    method: Method,
    account: &Account,
    oauth: &OAuth,
    who: &str,
    terminal: &mut Terminal<'_>,
) -> Result<(Answer, Timestamp), AuthorizeError> {
    let listener = match method {
        Method::Paste => None,
        _ => Some(RedirectListener::bind(&account.provider.redirect_url).await?),
    };
    let redirect = match &listener {
        Some(listener) => listener.url().clone(),
        None => without_port_zero(&account.provider.redirect_url),
    };
    let sign_in = oauth.sign_in(&redirect, who).await?;
    terminal.say(&format!("Sign in as {who} at this address:"));
    terminal.print(sign_in.url.as_str())?;
    explain(&sign_in.url, listener.as_ref(), terminal);

    let code = wait(listener, &sign_in.expected, terminal).await?;
    let sent = Timestamp::now();
    Ok((oauth.exchange(sign_in, code).await?, sent))
}

/// Checks what was granted, and stores it if it is of use.
async fn keep(
    answer: &Answer,
    sent: Timestamp,
    account: &Account,
    vault: &Vault,
    terminal: &mut Terminal<'_>,
) -> Result<(), AuthorizeError> {
    let checked = check::check(answer, account)?;
    for warning in &checked.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    let grant = Grant::new(&account.provider, answer, sent).signed_in(checked.signed_in_as.clone());
    store(vault, account, grant, terminal).await?;
    let by = checked
        .signed_in_as
        .map(|name| format!(" by {name}"))
        .unwrap_or_default();
    terminal.say(&format!("{} is authorised{by}.", account.address));
    Ok(())
}

/// The application signs in by itself: nobody is needed, so this tries it and keeps the token.
async fn application(
    account: &Account,
    oauth: &OAuth,
    vault: &Vault,
    terminal: &mut Terminal<'_>,
) -> Result<(), AuthorizeError> {
    let sent = Timestamp::now();
    let answer = oauth.unattended(account).await?;
    let grant = Grant::new(&account.provider, &answer, sent);
    store(vault, account, grant, terminal).await?;
    terminal.say(&format!(
        "The application signed in by itself; nobody has to. Whether it may open {0} is shown by: mailwicket doctor {0}",
        account.address
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

/// A redirect URL for pasting needs no listener; "any free port" means none.
fn without_port_zero(url: &Url) -> Url {
    let mut url = url.clone();
    if url.port() == Some(0) {
        // Only URLs without a host refuse this, and the check of the configuration refuses those.
        let _ = url.set_port(None);
    }
    url
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

/// Puts the grant in the place of the former one, under the lock that the daemon's renewals take as well.
async fn store(
    vault: &Vault,
    account: &Account,
    grant: Grant,
    terminal: &mut Terminal<'_>,
) -> Result<(), VaultError> {
    let guard = match lock(vault, account, Duration::ZERO).await {
        Err(VaultError::Busy { path, holder, .. }) => {
            terminal.say(&format!(
                "The sign-in is done. Waiting up to {} minutes for {holder}, which holds {}, to store it. Do not end this command.",
                STORE_PATIENCE.as_secs() / 60,
                path.display()
            ));
            lock(vault, account, STORE_PATIENCE).await
        }
        outcome => outcome,
    }?;
    let (vault, address, provider) = (
        vault.clone(),
        account.address.clone(),
        account.provider.clone(),
    );
    blocking(move || {
        let former = vault.read(Kind::Grant, &address)?;
        let former = former.and_then(|record| Grant::from_bytes(&record.bytes).ok());
        let grant = match former.filter(|former| former.belongs_to(&provider)) {
            Some(former) => grant.succeeding(&former),
            None => grant,
        };
        vault.write(&guard, &grant.to_bytes()).map(drop)
    })
    .await
}

async fn lock(vault: &Vault, account: &Account, patience: Duration) -> Result<Guard, VaultError> {
    let (vault, address) = (vault.clone(), account.address.clone());
    blocking(move || vault.lock_within(Kind::Grant, &address, patience)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
