//! The stage for the demonstration: a folder with a real configuration, a password, a consent, and the real proxy.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use tokio::sync::mpsc;
use url::Url;

use crate::cli::authorize::{self, AuthorizeError, Terminal, authorize};
use crate::config::{Account, Config, LoadError, Surroundings};
use crate::daemon::{Daemon, StartError};
use crate::demo::{ADDRESS, BrowserError, CLIENT_ID, SCOPE, Sandbox, SandboxError};
use crate::password::{self, HashError, NamedError, NamedPassword};
use crate::protocol::Protocol;
use crate::vault::{Vault, VaultError};

/// Life of the sandbox's access tokens: short enough that a demonstration that stays up shows their renewal.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// Where the proxy listens if nobody else does.
const FRIENDLY: [(Protocol, u16); 3] = [
    (Protocol::Imap, 1143),
    (Protocol::Pop3, 1110),
    (Protocol::Smtp, 1587),
];
/// Where its console is if nobody else is there.
const CONSOLE: u16 = 8047;
/// The files in the folder.
const FILE: &str = "mailwicket.toml";
const CA: &str = "sandbox-ca.pem";
/// How long the sign-in may take; nobody has to click.
const CONSENT: Duration = Duration::from_secs(20);

/// Why the demonstration could not be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot write the demo's files: {0}")]
    Files(#[from] io::Error),
    #[error("the demo's own configuration is refused: {0}")]
    Config(#[from] LoadError),
    #[error("cannot make a password: {0}")]
    Hash(#[from] HashError),
    #[error(transparent)]
    Password(#[from] NamedError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the sign-in failed: {0}")]
    Browser(#[from] BrowserError),
    #[error(transparent)]
    Authorize(Box<AuthorizeError>),
    #[error("the sign-in was not over within {} seconds", CONSENT.as_secs())]
    Slow,
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What was set up. The folder goes when this does.
pub(super) struct Setting {
    pub(super) sandbox: Sandbox,
    pub(super) config: Config,
    pub(super) account: Arc<Account>,
    pub(super) password: SecretString,
    pub(super) vault: Vault,
    /// Friendly ports that somebody else has.
    pub(super) taken: Vec<u16>,
    folder: TempDir,
}

impl Setting {
    /// Everything before the sign-in.
    pub(super) async fn prepare() -> Result<Self, SettingError> {
        let sandbox = Sandbox::start(TOKEN_LIFE).await?;
        let folder = tempfile::Builder::new()
            .prefix("mailwicket-demo-")
            .tempdir()?;
        fs::write(folder.path().join(CA), &sandbox.ca)?;
        let taken = FRIENDLY.iter().map(|(_, port)| *port).chain([CONSOLE]);
        let taken: Vec<u16> = taken.filter(|port| !is_free(*port)).collect();
        let config = configure(&sandbox, folder.path(), &taken)?;
        let vault = Vault::open(&config.state_dir, &config.vault_key)?;
        let account = config.roster.accounts().first().cloned();
        // The file was written above and has one.
        let account = account.ok_or_else(|| io::Error::other("no account"))?;
        let password = add_password(&vault, &account)?;
        Ok(Self {
            taken,
            sandbox,
            config,
            account,
            password,
            vault,
            folder,
        })
    }

    /// Does what `mailwicket authorize` does, with somebody who clicks "Allow".
    pub(super) async fn sign_in(&self) -> Result<(), SettingError> {
        let (sender, mut address) = mpsc::channel(1);
        let mut out = Printed {
            line: Vec::new(),
            sender,
        };
        let mut words = io::sink();
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut words,
            lines: None,
            // The sandbox signs in by a browser only.
            password: || Err(std::io::ErrorKind::Unsupported.into()),
            shows_pictures: false,
            open: |_| false,
        };
        let args = authorize::Args::for_account(ADDRESS);
        let asking = authorize(&args, &self.config, &self.vault, &mut terminal);
        let clicking = async {
            match address.recv().await {
                Some(url) => Ok(self.sandbox.consent(&url).await?),
                // It failed before it printed an address, and says so itself.
                None => std::future::pending().await,
            }
        };
        let both = async {
            let asking = async {
                asking
                    .await
                    .map_err(|error| SettingError::Authorize(Box::new(error)))
            };
            tokio::try_join!(asking, clicking)
        };
        match tokio::time::timeout(CONSENT, both).await {
            Ok(done) => done.map(drop),
            Err(_) => Err(SettingError::Slow),
        }
    }

    /// Starts the proxy. If somebody took a port since it was looked at, free ones are taken for all.
    pub(super) async fn start(&mut self) -> Result<Daemon, SettingError> {
        match Daemon::start(self.config.clone()).await {
            Err(StartError::Bind(_)) => {
                self.taken.extend(FRIENDLY.map(|(_, port)| port));
                self.config = configure(&self.sandbox, self.folder.path(), &self.taken)?;
                Ok(Daemon::start(self.config.clone()).await?)
            }
            started => Ok(started?),
        }
    }

    /// Where the configuration is.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Removes what was written.
    pub(super) fn clear(self) -> io::Result<()> {
        self.folder.close()
    }
}

fn add_password(vault: &Vault, account: &Account) -> Result<SecretString, SettingError> {
    let password = password::generate()?;
    let named = NamedPassword {
        name: "demo".into(),
        hash: password::hash(password.expose_secret().as_bytes())?,
        created: Timestamp::now(),
        from: Vec::new(),
        protocol: None,
        expires: None,
    };
    password::add(vault, account, named)?;
    Ok(password)
}

/// Writes the configuration and reads it as `mailwicket run` would, but for what the environment says about folders.
fn configure(sandbox: &Sandbox, folder: &Path, taken: &[u16]) -> Result<Config, SettingError> {
    let path = folder.join(FILE);
    fs::write(&path, written(sandbox, taken))?;
    let around = Surroundings::of_process().with_state_dir(None);
    Ok(Config::load_in(&path, &around)?)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The configuration, as a person would write it.
fn written(sandbox: &Sandbox, taken: &[u16]) -> String {
    // Port 0 is any free one.
    let free = |port: u16| if taken.contains(&port) { 0 } else { port };
    let console = SocketAddr::from((Ipv4Addr::LOCALHOST, free(CONSOLE)));
    let (issuer, imap, pop3, smtp) = (
        &sandbox.issuer,
        sandbox.imap.port(),
        sandbox.pop3.port(),
        sandbox.smtp.port(),
    );
    let mut text = format!(
        r#"# Written by `mailwicket demo`, and gone when it ends.

state-dir = "."

[console]
listen = "{console}"

[timeouts]
drain = "1s"                          # whoever presses Ctrl-C does not want to wait

# The sandbox: an OAuth provider and a mail server inside the demo itself.
[provider.sandbox]
issuer = "{issuer}"
client-id = "{CLIENT_ID}"
flow = "authorization-code"
scopes = ["openid", "email", "offline_access", "{SCOPE}"]
imap = {{ host = "127.0.0.1", port = {imap}, tls = "implicit" }}
pop3 = {{ host = "127.0.0.1", port = {pop3}, tls = "implicit" }}
smtp = {{ host = "127.0.0.1", port = {smtp}, tls = "starttls" }}
mechanism = "xoauth2"
ca-file = "{CA}"
egress = "none"                       # the sandbox is on this machine

[[account]]
address = "{ADDRESS}"
provider = "sandbox"
"#
    );
    for (protocol, port) in FRIENDLY {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free(port)));
        text.push_str(&format!(
            "\n[[listener]]\nprotocol = \"{protocol}\"\nprovider = \"sandbox\"\nlisten = \"{address}\"\n"
        ));
    }
    text
}

/// The output of `authorize`: the address of the sign-in page, on a line of its own.
struct Printed {
    line: Vec<u8>,
    sender: mpsc::Sender<Url>,
}

impl Write for Printed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = String::from_utf8_lossy(&self.line);
        if let Ok(url) = Url::parse(line.trim()) {
            self.line.clear();
            // One address is printed, and there is room for one.
            let _ = self.sender.try_send(url);
        }
        Ok(())
    }
}

/// The program as it can be typed.
pub(super) fn program() -> String {
    let path = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let shown = path.as_deref().map(|path| {
        let near = here
            .as_deref()
            .and_then(|here| path.strip_prefix(here).ok());
        near.unwrap_or(path)
    });
    shown.map_or_else(|| "mailwicket".into(), quoted)
}

/// A path as a shell reads it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
