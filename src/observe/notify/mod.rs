//! Tells people what they have to know: an account that needs somebody, and what will end. Nobody should find out from missing mail.
//!
//! `watch` decides what is news, `deliver` brings it to people; here the two meet what is wrong now. Every notice is in the log too,
//! whether `[notify]` is configured or not.

mod deliver;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Recent;
use crate::config::{CertificateFiles, Provider};
use crate::failure::Cause;
use crate::status::{AccountLine, Sources, Status};
use crate::tls;
use crate::token::life::State;

pub use deliver::{DeliveryError, Messenger, Tell};
pub use watch::{Ending, Event, Notice, Sight, Trouble, Watch};

/// How often the accounts are looked at: whoever has to act hears of it within five seconds.
const LOOK: Duration = Duration::from_secs(2);
/// The time between two looks, as a multiple of what one takes: with very many accounts it is not done all the time. Within bounds.
const LOOK_SHARE: u32 = 20;
const LOOK_AT_LAST: Duration = Duration::from_secs(4);
/// How often files are read to see when they end, which is a matter of days.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// How long after a delivery that failed it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// What the state folder's file is called.
const KEPT: &str = "notices.json";
/// What the provider or the network may mend by itself.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Looks at the accounts until it is stopped, and tells people what is news.
pub struct Notifier {
    /// What people have heard.
    told: Watch,
    /// What is in the log and on the console, which need no delivery.
    logged: Watch,
    kept: PathBuf,
    recent: Recent,
    files: Option<Files>,
    /// After a delivery that failed.
    try_again: Option<Instant>,
    clock: Clock,
}

type Clock = Box<dyn Fn() -> Timestamp + Send>;

/// The ends that stand in files and in the configuration, at the last look at them.
struct Files {
    of: Arc<Sources>,
    read: Instant,
    endings: Vec<Ending>,
}

impl Notifier {
    /// Goes on where the last run stopped. A file that cannot be read costs no more than a notice that people have heard already.
    pub fn new(state_dir: &Path, recent: Recent) -> Self {
        Self::at(state_dir, recent, Box::new(Timestamp::now))
    }

    fn at(state_dir: &Path, recent: Recent, clock: Clock) -> Self {
        let kept = state_dir.join(KEPT);
        let told = match std::fs::read(&kept) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %kept.display(), %error, "what people have heard already cannot be read; they may hear it again");
                Watch::default()
            }),
            Err(_) => Watch::default(), // nothing was told yet
        };
        Self {
            logged: told.clone(),
            told,
            kept,
            recent,
            files: None,
            try_again: None,
            clock,
        }
    }

    /// Watches `sources` and tells by `messenger`, which changes with the configuration.
    pub async fn run<M: Tell>(
        mut self,
        sources: Receiver<Arc<Sources>>,
        messenger: Receiver<Arc<M>>,
        stop: CancellationToken,
    ) {
        let mut rest = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
            let (sources, messenger) = (sources.borrow().clone(), messenger.borrow().clone());
            let begun = Instant::now();
            let sight = self.look(&sources).await;
            rest = (begun.elapsed() * LOOK_SHARE).clamp(LOOK, LOOK_AT_LAST);
            if let Some(sight) = sight {
                self.log(&sight);
                self.tell(&sight, &*messenger).await;
            }
        }
    }

    /// `None` if nothing can be seen yet.
    async fn look(&mut self, sources: &Arc<Sources>) -> Option<Sight> {
        sources.tokens.as_ref()?;
        let is_new =
            |files: &Files| Arc::ptr_eq(&files.of, sources) && files.read.elapsed() < READ_AGAIN;
        let files = self.files.take().filter(is_new);
        let of = Arc::clone(sources);
        // Looks into the vault.
        let looking = tokio::task::spawn_blocking(move || {
            let files = files.unwrap_or_else(|| Files::read(of.clone()));
            (of.status(), files)
        });
        let (status, files) = looking.await.ok()?; // a panic there is told by its own message
        let sign_ins = sign_in_endings(&status, (self.clock)());
        let endings = files.endings.iter().cloned().chain(sign_ins).collect();
        self.files = Some(files);
        Some(Sight::of(&status, endings))
    }

    fn log(&mut self, sight: &Sight) {
        for notice in self.logged.look((self.clock)(), sight) {
            self.recent.notice(&notice);
            match notice.event {
                Event::Over => tracing::info!(subject = notice.subject, "{}", notice.text()),
                _ => tracing::warn!(subject = notice.subject, "{}", notice.text()),
            }
        }
    }

    async fn tell(&mut self, sight: &Sight, messenger: &impl Tell) {
        let mut told = self.told.clone();
        let news = told.look((self.clock)(), sight);
        if told == self.told {
            return;
        }
        if !news.is_empty() {
            if self.try_again.is_some_and(|at| Instant::now() < at) {
                return;
            }
            if let Err(error) = messenger.tell(&news).await {
                tracing::warn!(%error, "a notice was not delivered; it is tried again in a minute");
                self.try_again = Some(Instant::now() + TRY_AGAIN);
                return;
            }
            self.try_again = None;
        }
        self.told = told;
        if let Err(error) = self.keep() {
            tracing::warn!(file = %self.kept.display(), %error, "cannot keep what people were told; after a restart they may hear it again");
        }
    }

    /// A small file of no secrets, replaced whole.
    fn keep(&self) -> io::Result<()> {
        let folder = self.kept.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, &self.told)?;
        file.persist(&self.kept)?;
        Ok(())
    }
}

impl Files {
    fn read(of: Arc<Sources>) -> Self {
        Self {
            endings: file_endings(&of),
            read: Instant::now(),
            of,
        }
    }
}

fn providers(sources: &Sources) -> Vec<Arc<Provider>> {
    let mut providers: Vec<Arc<Provider>> = Vec::new();
    for provider in sources.roster.providers() {
        if providers.iter().all(|known| known.name != provider.name) {
            providers.push(Arc::clone(provider));
        }
    }
    providers
}

/// What will end on a known day: secrets, certificates, sign-ins. Reads certificates, so it may block for a moment.
pub fn all_endings(sources: &Sources, status: &Status) -> Vec<Ending> {
    let mut endings = file_endings(sources);
    endings.extend(sign_in_endings(status, Timestamp::now()));
    endings
}

/// Those of them that stand in files and in the configuration.
fn file_endings(sources: &Sources) -> Vec<Ending> {
    let providers = providers(sources);
    let of_providers = providers.iter().flat_map(|provider| endings(provider));
    of_providers.chain(shown_endings(sources)).collect()
}

impl Sight {
    /// What `status` shows, and what will end.
    pub(crate) fn of(status: &Status, endings: Vec<Ending>) -> Self {
        let accounts = || status.accounts.iter();
        Self {
            accounts: accounts().map(|line| line.account.clone()).collect(),
            troubles: accounts().filter_map(trouble).collect(),
            endings,
        }
    }
}

/// What is wrong with an account.
fn trouble(line: &AccountLine) -> Option<Trouble> {
    let token = &line.token;
    let told = |text: &Option<String>| text.clone().unwrap_or_default();
    if token.state != State::Ok {
        return Some(Trouble {
            subject: line.account.clone(),
            kind: token.state.word().to_owned(),
            since: token.since,
            patience: Some(match token.state {
                State::Retrying => PATIENCE,
                _ => SignedDuration::ZERO,
            }),
            reason: told(&token.reason),
            remedy: told(&token.remedy).replace("ACCOUNT", &line.account),
        });
    }
    // The token is good, and the mail server does not take it: no mail moves either.
    let failure = line.figures.last_failure.as_ref()?;
    let is_code = |cause: &Cause| cause.code() == failure.code;
    let patience = match Cause::ALL.into_iter().find(is_code)? {
        Cause::Refused | Cause::Config => Some(SignedDuration::ZERO),
        Cause::Upstream | Cause::Busy => Some(PATIENCE),
        // The mail server had no part in it.
        Cause::Changed | Cause::Limit => None,
        // The token's state tells.
        Cause::Password | Cause::Consent | Cause::Token => return None,
    };
    Some(Trouble {
        subject: line.account.clone(),
        kind: "login-failing".to_owned(),
        since: failure.since,
        patience,
        reason: format!("{} {}", failure.code, failure.detail),
        remedy: format!("Run: mailwicket doctor {}", line.account),
    })
}

/// What of a registration will end. Reads its certificate.
fn endings(provider: &Provider) -> impl Iterator<Item = Ending> {
    let ending = |what: &str, day: Date, remedy: &str| {
        Some(Ending {
            subject: format!("{what} of provider {}", provider.name),
            at: day.to_zoned(TimeZone::UTC).ok()?.timestamp(),
            remedy: remedy.to_owned(),
        })
    };
    let secret = provider.client_secret_expires.and_then(|day| {
        let remedy =
            "Make a new one at the provider, put it in its place, and set client-secret-expires";
        ending("client-secret", day, remedy)
    });
    let certificate = provider.certificate_ends().and_then(|day| {
        let remedy = "Make a new one, register it at the provider, and put it in its place";
        ending("certificate", day, remedy)
    });
    secret.into_iter().chain(certificate)
}

/// Which certificates that mail programs are shown will end. Those of the local CA are renewed before that. Reads them; what cannot be
/// read is told where it is used.
fn shown_endings(sources: &Sources) -> Vec<Ending> {
    let files: BTreeMap<_, _> = sources
        .listeners
        .iter()
        .filter_map(|(listener, ..)| listener.certificate.as_ref())
        .chain(&sources.console_certificate)
        .map(|files| (files.chain.clone(), files))
        .collect();
    let provider = tls::provider();
    let ending = |files: &CertificateFiles| {
        let content = tls::own::load(files, &provider).ok()?;
        Some(Ending {
            subject: format!("certificate {}", files.chain.display()),
            at: content.ends?,
            remedy: "Renew it; the files are read again when they change".to_owned(),
        })
    };
    files.into_values().filter_map(ending).collect()
}

/// Which sign-ins will end, where the provider says so. An end that every renewal pushes ahead is none, as long as there are renewals.
pub(crate) fn sign_in_endings(status: &Status, now: Timestamp) -> Vec<Ending> {
    let ending = |line: &AccountLine| {
        let token = &line.token;
        let is_end = match token.state {
            State::Ok => token.sign_in_end_stays,
            State::Retrying | State::ConfigError => {
                token.sign_in_end_stays || now.duration_since(token.since) >= PATIENCE
            }
            // It has ended already.
            State::NeedsConsent | State::Unauthorized => false,
        };
        is_end.then_some(())?;
        Some(Ending {
            subject: format!("sign-in of {}", line.account),
            at: token.sign_in_expires_at?,
            remedy: format!("Sign in again: mailwicket authorize {}", line.account),
        })
    };
    let accounts = status.accounts.iter();
    accounts.filter_map(ending).collect()
}

#[cfg(test)]
mod tests;
