//! The composition root: a configuration in, listeners and their helpers out; reload and polite stop.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::accept::{self, BindError, Door};
use crate::caps::Caps;
use crate::config::{Config, Listener};
use crate::console::reload::{self, Wishes};
use crate::console::server::{Entrance, Sockets};
use crate::console::{self, Console, InForce};
use crate::control::Control;
use crate::dial::Dialler;
use crate::dialogue::Bounds;
use crate::observe::notify::{Messenger, Notifier};
use crate::observe::{Counters, Recent};
use crate::password::Passwords;
use crate::places::Places;
use crate::profiles::Profiles;
use crate::protocol::Protocol;
use crate::session::Counter;
use crate::stage::Stage;
use crate::status::Sources;
use crate::tls::ca::{self, CaError};
use crate::tls::{self, CertificateError, Terms, TlsError};
use crate::token::Tokens;
use crate::vault::{Vault, VaultError};

/// Octets that a mail program may send before it is logged in, in all: a hundred times what it needs. It ends those who keep a
/// connection busy and never come to the point.
const OCTETS_BEFORE_LOGIN: usize = 64 * 1024;

/// How long sessions get to notice that they were closed.
const LAST: Duration = Duration::from_secs(1);

/// Why mailwicket could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What notices are sent over.
    #[error("[notify]: {0}")]
    Notify(TlsError),
    /// The TLS configuration of a provider.
    #[error("provider {provider}: {source}")]
    Tls {
        /// Which provider.
        provider: String,
        /// What is wrong.
        source: TlsError,
    },
    /// The certificate of a listener.
    #[error("listener {protocol} {addresses:?}: {source}")]
    Certificate {
        /// What the listener speaks.
        protocol: Protocol,
        /// Where it listens.
        addresses: Vec<SocketAddr>,
        /// What is wrong.
        source: Box<CertificateError>,
    },
    /// The certificate of the console.
    #[error("[console]: {0}")]
    ConsoleCertificate(Box<CertificateError>),
    /// The local CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener whose provider has no such server; the check of the configuration finds it earlier.
    #[error("provider {provider} has no {protocol} server")]
    NoServer {
        /// Which provider.
        provider: String,
        /// What the listener speaks.
        protocol: Protocol,
    },
    /// The state folder is not ours to use.
    #[error("cannot use the state folder {}: {source}; it must belong to the user that runs mailwicket, and no other mailwicket may use it", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to listen on.
    #[error(
        "the configuration has no [[listener]], and the console is off; there is nothing to do"
    )]
    NoListener,
}

/// A running mailwicket.
pub struct Daemon {
    house: House,
    open: Vec<Open>,
    places: Places,
    caps: Arc<Caps>,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
    sources: watch::Sender<Arc<Sources>>,
    messenger: watch::Sender<Arc<Messenger>>,
    recent: Recent,
    console: Arc<Console>,
    in_force: watch::Sender<Arc<InForce>>,
    /// Where the console is served, if it is.
    served: Option<Served>,
    /// Whether it was told that it is not.
    is_console_missed: bool,
    /// Reloads that the console wants, until somebody takes them.
    wishes: Option<Wishes>,
    /// Held as long as this daemon lives: two with one state folder would get into each other's way.
    _state: File,
}

/// Everything that is made anew when the configuration changes.
struct House {
    config: Arc<Config>,
    vault: Vault,
    passwords: Arc<Passwords>,
    tokens: Tokens,
    profiles: Arc<Profiles>,
    /// By the name of the provider.
    tls: HashMap<String, Arc<rustls::ClientConfig>>,
    /// How people are told.
    messenger: Arc<Messenger>,
    /// In the order of the configuration's listeners.
    terms: Vec<Arc<Terms>>,
    /// How the console is entered.
    entrance: Entrance,
    /// Ends what runs in the background for this configuration.
    done: CancellationToken,
}

/// The console's address.
struct Served {
    /// As it stands in the configuration, where the port may be 0.
    configured: SocketAddr,
    bound: SocketAddr,
    has_localhost: bool,
    entrance: watch::Sender<Entrance>,
    /// Ends its accept loop when this is dropped.
    _close: DropGuard,
}

/// A bound address.
struct Open {
    /// As it stands in the configuration, where the port may be 0.
    configured: SocketAddr,
    bound: SocketAddr,
    counter: watch::Sender<Arc<Counter>>,
    counters: Arc<Counters>,
    /// Ends its accept loop when this is dropped.
    _close: DropGuard,
}

impl Daemon {
    /// Binds every address, or none, and begins to serve. Waits for no provider.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let places = Places::new(&config.limits);
        let caps = Arc::new(Caps::new(config.limits.sessions_per_account));
        let recent = Recent::default();
        let house = House::build(config, None, &recent)?;
        let state = claim(&house.config.state_dir)?;
        let in_force = watch::Sender::new(Arc::new(house.in_force(Arc::default())));
        let (reload, wishes) = reload::channel();
        let stop = CancellationToken::new();
        let console = Console::new(in_force.subscribe(), recent.clone(), reload, stop.clone());
        let mut daemon = Self {
            recent,
            console: Arc::new(console),
            in_force,
            served: None,
            is_console_missed: false,
            wishes: Some(wishes),
            messenger: watch::Sender::new(Arc::clone(&house.messenger)),
            house,
            open: Vec::new(),
            places,
            caps,
            tasks: TaskTracker::new(),
            stop,
            kill: CancellationToken::new(),
            sources: watch::Sender::default(),
            _state: state,
        };
        daemon.open_listeners()?;
        daemon.serve_console();
        let state_dir = &daemon.house.config.state_dir;
        let console = Arc::clone(&daemon.console);
        match Control::open(state_dir, daemon.sources.subscribe(), console).await {
            Ok(control) => drop(daemon.tasks.spawn(control.serve(daemon.stop.clone()))),
            // Mail goes on without it.
            Err(error) => tracing::warn!(%error, "`mailwicket status` will not find this daemon"),
        }
        let notifier = Notifier::new(state_dir, daemon.recent.clone()).run(
            daemon.sources.subscribe(),
            daemon.messenger.subscribe(),
            daemon.stop.clone(),
        );
        daemon.tasks.spawn(notifier);
        daemon.settle();
        Ok(daemon)
    }

    /// What is bound, with the ports that the system gave for port 0.
    pub fn bound(&self) -> Vec<(Arc<Listener>, SocketAddr)> {
        let each = |open: &Open| (Arc::clone(&open.counter.borrow().listener), open.bound);
        self.open.iter().map(each).collect()
    }

    /// The console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Keeps in mind what became of a reload, for the console.
    pub fn note_reload(&self, outcome: &Result<(), String>) {
        self.recent.reload(outcome.as_ref().err().cloned());
    }

    /// Reloads that the console wants; whoever runs the daemon takes them, once, and answers.
    pub fn wishes(&mut self) -> Wishes {
        // Without anybody who could have one, there is none.
        self.wishes.take().unwrap_or_else(|| reload::channel().1)
    }

    /// Takes a new configuration up. Sessions that are logged in go on, and a listener that stays is not closed for a moment.
    ///
    /// # Errors
    /// [`StartError`]; the old configuration stays in force then.
    pub fn reload(&mut self, config: Config) -> Result<(), StartError> {
        let house = House::build(config, Some(&self.house), &self.recent)?;
        let former = std::mem::replace(&mut self.house, house);
        match self.open_listeners() {
            Ok(()) => {
                former.done.cancel();
                // An answer of a token endpoint that is under way may hold a rotated token.
                self.tasks.spawn(async move {
                    former.passwords.uses().settle().await;
                    former.tokens.settle().await;
                });
                self.serve_console();
                self.settle();
                Ok(())
            }
            Err(error) => {
                self.house = former;
                Err(error)
            }
        }
    }

    /// Lets nobody new in, gives sessions the configured time to finish, and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        self.house.done.cancel();
        self.tasks.close();
        let drain = self.house.config.timeouts.drain;
        if timeout(drain, self.tasks.wait()).await.is_err() {
            tracing::info!(tasks = self.tasks.len(), "closing what is left");
            self.kill.cancel();
            // What does not end now ends with the process.
            let _ = timeout(LAST, self.tasks.wait()).await;
        }
        self.house.passwords.uses().settle().await;
        // An answer of a token endpoint that is under way may hold a rotated token; its request has a time limit of its own.
        self.house.tokens.settle().await;
    }

    /// Brings what is open in line with the configuration. Everything that can fail comes before anything is closed or changed.
    fn open_listeners(&mut self) -> Result<(), StartError> {
        let mut stay: Vec<(usize, Arc<Counter>)> = Vec::new();
        let mut fresh = Vec::new();
        for (listener, terms) in self.house.listeners() {
            for address in &listener.addresses {
                let same = |at: &usize| {
                    self.open[*at].is(listener.protocol, *address)
                        && !stay.iter().any(|(other, _)| other == at)
                };
                match (0..self.open.len()).find(same) {
                    Some(at) => stay.push((
                        at,
                        Arc::new(self.counter(
                            listener,
                            self.open[at].bound,
                            terms,
                            Arc::clone(&self.open[at].counters),
                        )?),
                    )),
                    None => fresh.push(((listener, terms), *address, accept::bind(*address)?)),
                }
            }
        }
        let fresh = fresh
            .into_iter()
            .map(|(listener, address, socket)| self.serve(listener, address, socket))
            .collect::<Result<Vec<_>, _>>()?;
        let mut former: Vec<Option<Open>> = std::mem::take(&mut self.open)
            .into_iter()
            .map(Some)
            .collect();
        for (at, counter) in stay {
            self.open.extend(
                former[at]
                    .take()
                    .inspect(|open| drop(open.counter.send_replace(counter))),
            );
        }
        self.open.extend(fresh);
        Ok(())
    }

    /// Whether the console should be served and is not.
    pub fn lacks_console(&self) -> bool {
        self.served.is_none() && self.house.config.console.is_some()
    }

    /// Serves the console where the configuration says. Mail does not stop for it: an address that cannot be had is told once, and
    /// whoever runs the daemon tries again. It may be our own, of the configuration before, for a moment yet.
    pub fn serve_console(&mut self) {
        let wanted = self.house.config.console.as_ref();
        let wanted = wanted.map(|console| console.listen);
        let entrance = self.house.entrance.clone();
        if let Some(served) = &self.served
            && Some(served.configured) == wanted
        {
            let own = entrance.own(served.bound, served.has_localhost);
            self.console.moved(own);
            served.entrance.send_replace(entrance);
            return;
        }
        let socket = wanted.map(|at| {
            accept::bind(at).and_then(|socket| match socket.local_addr() {
                Ok(bound) => Ok((at, bound, socket)),
                Err(source) => Err(BindError {
                    address: at,
                    source,
                }),
            })
        });
        self.served = match socket.transpose() {
            Ok(socket) => socket.map(|(configured, bound, socket)| {
                let close = self.stop.child_token();
                let console = Arc::clone(&self.console);
                let sockets = Sockets::beside(socket, bound);
                let has_localhost = sockets.has_localhost;
                self.console.moved(entrance.own(bound, has_localhost));
                let (entrance, receiver) = watch::channel(entrance);
                let serving = console::server::serve(console, sockets, receiver, close.clone());
                self.tasks.spawn(serving);
                tracing::info!(address = %bound, "the console is open to whoever has a link; get one with: mailwicket console");
                Served {
                    configured,
                    bound,
                    has_localhost,
                    entrance,
                    _close: close.drop_guard(),
                }
            }),
            Err(error) => {
                if !self.is_console_missed {
                    tracing::warn!(%error, "there is no console; its address is tried again every few seconds");
                }
                None
            }
        };
        self.is_console_missed = self.lacks_console();
        if self.served.is_none() {
            self.console.moved(None);
        }
    }

    fn serve(
        &self,
        (listener, terms): (&Arc<Listener>, &Arc<Terms>),
        configured: SocketAddr,
        socket: TcpListener,
    ) -> Result<Open, StartError> {
        let bound = socket.local_addr().map_err(|source| BindError {
            address: configured,
            source,
        })?;
        let counters = Arc::new(Counters::new(self.recent.clone()));
        let counter = self.counter(listener, bound, terms, Arc::clone(&counters))?;
        let counter = watch::Sender::new(Arc::new(counter));
        let close = self.stop.child_token();
        let door = Door {
            counter: counter.subscribe(),
            places: self.places.clone(),
            tasks: self.tasks.clone(),
            close: close.clone(),
        };
        self.tasks.spawn(door.accept(socket));
        Ok(Open {
            configured,
            bound,
            counter,
            counters,
            _close: close.drop_guard(),
        })
    }

    fn counter(
        &self,
        listener: &Arc<Listener>,
        bound: SocketAddr,
        terms: &Arc<Terms>,
        counters: Arc<Counters>,
    ) -> Result<Counter, StartError> {
        let House { config, .. } = &self.house;
        Ok(Counter {
            listener: Arc::clone(listener),
            bound,
            terms: Arc::clone(terms),
            dialler: self.house.dialler(listener)?,
            passwords: Arc::clone(&self.house.passwords),
            tokens: self.house.tokens.clone(),
            profiles: Arc::clone(&self.house.profiles),
            timeouts: config.timeouts.clone(),
            bounds: Bounds {
                line: config.limits.line_before_login,
                failed_logins: config.limits.failed_logins,
                octets: OCTETS_BEFORE_LOGIN,
            },
            counters,
            caps: Arc::clone(&self.caps),
            stop: self.stop.clone(),
            kill: self.kill.clone(),
        })
    }

    /// Starts what runs in the background for the configuration in force, and shows it to `status`.
    fn settle(&self) {
        let House {
            config,
            passwords,
            tokens,
            done,
            ..
        } = &self.house;
        self.caps.adopt(&config.roster);
        self.tasks
            .spawn(passwords.uses().clone().keep(done.clone()));
        self.tasks
            .spawn(tokens.clone().upkeep(config.roster.clone(), done.clone()));
        for open in &self.open {
            self.tasks.spawn(learn_profile(
                Arc::clone(&open.counter.borrow()),
                done.clone(),
            ));
        }
        let listener = |open: &Open| {
            (
                Arc::clone(&open.counter.borrow().listener),
                open.bound,
                Arc::clone(&open.counters),
            )
        };
        self.messenger
            .send_replace(Arc::clone(&self.house.messenger));
        let sources = Arc::new(Sources {
            tokens: Some(tokens.clone()),
            roster: config.roster.clone(),
            listeners: self.open.iter().map(listener).collect(),
            console_certificate: config
                .console
                .as_ref()
                .and_then(|console| console.remote.as_ref()?.certificate.clone()),
        });
        let in_force = self.house.in_force(Arc::clone(&sources));
        self.in_force.send_replace(Arc::new(in_force));
        self.sources.send_replace(sources);
    }
}

/// Takes the state folder for this process. The system gives it back when the process ends, however it ends.
fn claim(state_dir: &Path) -> Result<File, StartError> {
    let claimed = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(state_dir.join("daemon.lock"))
        .and_then(|file| match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another mailwicket uses it")),
            Err(TryLockError::Error(error)) => Err(error),
        });
    claimed.map_err(|source| StartError::State {
        folder: state_dir.to_owned(),
        source,
    })
}

impl Open {
    fn is(&self, protocol: Protocol, configured: SocketAddr) -> bool {
        self.configured == configured && self.counter.borrow().listener.protocol == protocol
    }
}

impl House {
    fn build(config: Config, former: Option<&Self>, recent: &Recent) -> Result<Self, StartError> {
        // With a console there is a way to the first one.
        if config.listeners.is_empty() && config.console.is_none() {
            return Err(StartError::NoListener);
        }
        let vault = Vault::open(&config.state_dir, &config.vault_key)?;
        // What is known of tokens lives on with the vault they are kept in: a rotated one that could not be written yet, and what
        // the provider said about asking again.
        let same_vault = former.filter(|former| former.keeps_in(&vault, &config));
        let tokens = same_vault.map_or_else(
            || Tokens::telling(vault.clone(), config.timeouts.token, recent.clone()),
            |former| former.tokens.clone(),
        );
        let passwords = match former {
            Some(former) => former.passwords.renewed(&config.roster, vault.clone()),
            None => {
                let failures = config.limits.failed_logins_per_minute;
                Passwords::new(&config.roster, vault.clone(), failures)
            }
        };
        let passwords = match same_vault {
            Some(former) => passwords.after(&former.passwords),
            None => passwords,
        };
        let mut tls = HashMap::new();
        for provider in &config.providers {
            let config =
                tls::upstream(provider.ca_file.as_deref()).map_err(|source| StartError::Tls {
                    provider: provider.name.clone(),
                    source,
                })?;
            tls.insert(provider.name.clone(), config);
        }
        let keeper = keeper(&config, &vault)?;
        Ok(Self {
            terms: terms(&config, keeper.as_ref())?,
            entrance: entrance(&config, keeper.as_ref())?,
            passwords: Arc::new(passwords),
            tokens,
            profiles: Arc::default(),
            tls,
            messenger: Arc::new(Messenger::new(&config.notify).map_err(StartError::Notify)?),
            done: CancellationToken::new(),
            vault,
            config: Arc::new(config),
        })
    }

    /// What the console sees of it.
    fn in_force(&self, sources: Arc<Sources>) -> InForce {
        InForce {
            config: Arc::clone(&self.config),
            vault: self.vault.clone(),
            tokens: self.tokens.clone(),
            sources,
        }
    }

    fn listeners(&self) -> impl Iterator<Item = (&Arc<Listener>, &Arc<Terms>)> {
        self.config.listeners.iter().zip(&self.terms)
    }

    /// Whether records are kept in this vault, sealed with the same key, and `config` asks token endpoints in the same way.
    fn keeps_in(&self, vault: &Vault, config: &Config) -> bool {
        self.vault.is_same_as(vault) && self.config.timeouts.token == config.timeouts.token
    }

    fn dialler(&self, listener: &Listener) -> Result<Dialler, StartError> {
        let Listener {
            protocol, provider, ..
        } = listener;
        match (provider.endpoint(*protocol), self.tls.get(&provider.name)) {
            (Some(endpoint), Some(tls)) => Ok(Dialler {
                protocol: *protocol,
                endpoint: endpoint.clone(),
                egress: provider.egress.clone(),
                tls: Arc::clone(tls),
                timeouts: self.config.timeouts.clone(),
                known: Arc::default(),
            }),
            _ => Err(StartError::NoServer {
                provider: provider.name.clone(),
                protocol: *protocol,
            }),
        }
    }
}

/// The local CA, made at the first start that needs it.
fn keeper(config: &Config, vault: &Vault) -> Result<Option<Arc<ca::Keeper>>, StartError> {
    if !ca::is_wanted(config) {
        return Ok(None);
    }
    let keeper = ca::Keeper::open(vault.clone(), ca::names(config), tls::provider())?;
    Ok(Some(Arc::new(keeper)))
}

/// How the console is entered.
fn entrance(config: &Config, keeper: Option<&Arc<ca::Keeper>>) -> Result<Entrance, StartError> {
    let console = config.console.as_ref();
    let Some(remote) = console.and_then(|console| console.remote.as_ref()) else {
        return Ok(Entrance::default());
    };
    let terms = Terms::of_console(remote, config.timeouts.tls, keeper);
    let terms = terms.map_err(|source| StartError::ConsoleCertificate(Box::new(source)))?;
    Ok(Entrance::remote(remote.clone(), terms, ca::names(config)))
}

/// The TLS of every listener.
fn terms(config: &Config, keeper: Option<&Arc<ca::Keeper>>) -> Result<Vec<Arc<Terms>>, StartError> {
    let of = |listener: &Arc<Listener>| {
        let terms = Terms::new(listener, config.timeouts.tls, keeper);
        terms
            .map(Arc::new)
            .map_err(|source| StartError::Certificate {
                protocol: listener.protocol,
                addresses: listener.addresses.clone(),
                source: Box::new(source),
            })
    };
    config.listeners.iter().map(of).collect()
}

/// Asks a mail server for its capabilities ahead of the first mail program, which then gets them in its greeting.
async fn learn_profile(counter: Arc<Counter>, done: CancellationToken) {
    let asking = counter.profiles.get(&counter.dialler);
    let answer = tokio::select! {
        answer = asking => answer,
        () = done.cancelled() => return,
    };
    match answer {
        Ok(_) => {
            tracing::debug!(stage = %Stage::Dial, endpoint = %counter.dialler.endpoint, "a mail server's capabilities are known")
        }
        Err(failure) => {
            tracing::warn!(stage = %failure.stage, code = failure.cause.code(), detail = failure.detail, "a mail server could not be asked for its capabilities; the next mail program asks again");
        }
    }
}
