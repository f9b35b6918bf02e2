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
use tokio_util::sync::CancellationToken;

use super::Recent;
use crate::config::{CertificateFiles, Provider};
use crate::failure::Cause;
use crate::status::{AccountLine, Sources, Status};
use crate::tls;
use crate::token::life::State;

pub use deliver::{DeliveryError, Messenger};
pub use watch::{Ending, Event, Notice, Trouble, Watch};

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long after a delivery that failed it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// What the state folder's file is called.
const KEPT: &str = "notices.json";
/// What the provider or the network may mend by itself.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Looks at the accounts until it is stopped, and tells people what is news.
pub struct Notifier {
    watch: Watch,
    kept: PathBuf,
    recent: Recent,
}

impl Notifier {
    /// Goes on where the last run stopped. A file that cannot be read costs no more than a notice that people have heard already.
    pub fn new(state_dir: &Path, recent: Recent) -> Self {
        let kept = state_dir.join(KEPT);
        let watch = match std::fs::read(&kept) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %kept.display(), %error, "what people have heard already cannot be read; they may hear it again");
                Watch::default()
            }),
            Err(_) => Watch::default(), // nothing was told yet
        };
        Self {
            watch,
            kept,
            recent,
        }
    }

    /// Watches `sources` and tells by `messenger`, which changes with the configuration.
    pub async fn run(
        mut self,
        sources: Receiver<Arc<Sources>>,
        messenger: Receiver<Arc<Messenger>>,
        stop: CancellationToken,
    ) {
        let mut rest = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
            let (sources, messenger) = (sources.borrow().clone(), messenger.borrow().clone());
            // Looks into the vault.
            let looking = tokio::task::spawn_blocking(move || {
                let status = sources.status();
                let endings = all_endings(&sources, &status);
                (status, endings)
            });
            let Ok((status, endings)) = looking.await else {
                continue; // a panic there is told by its own message
            };
            rest = match self.tell(&status, &endings, &messenger).await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::warn!(%error, "a notice was not delivered; it is tried again in a minute");
                    TRY_AGAIN
                }
            };
        }
    }

    async fn tell(
        &mut self,
        status: &Status,
        endings: &[Ending],
        messenger: &Messenger,
    ) -> Result<(), DeliveryError> {
        let mut watch = self.watch.clone();
        let news = watch.look(Timestamp::now(), &troubles(status), endings);
        if watch == self.watch {
            return Ok(());
        }
        if !news.is_empty() {
            messenger.deliver(&news).await?;
        }
        for notice in &news {
            self.recent.notice(notice);
            match notice.event {
                Event::Over => tracing::info!(subject = notice.subject, "{}", notice.text()),
                _ => tracing::warn!(subject = notice.subject, "{}", notice.text()),
            }
        }
        self.watch = watch;
        if let Err(error) = self.keep() {
            tracing::warn!(file = %self.kept.display(), %error, "cannot keep what people were told; after a restart they may hear it again");
        }
        Ok(())
    }

    /// A small file of no secrets, replaced whole.
    fn keep(&self) -> io::Result<()> {
        let folder = self.kept.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, &self.watch)?;
        file.persist(&self.kept)?;
        Ok(())
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
    let providers = providers(sources);
    let of_providers = providers.iter().flat_map(|provider| endings(provider));
    let of_listeners = shown_endings(sources);
    of_providers
        .chain(of_listeners)
        .chain(sign_in_endings(status))
        .collect()
}

/// What is wrong with the accounts.
fn troubles(status: &Status) -> Vec<Trouble> {
    status.accounts.iter().filter_map(trouble).collect()
}

fn trouble(line: &AccountLine) -> Option<Trouble> {
    let token = &line.token;
    let told = |text: &Option<String>| text.clone().unwrap_or_default();
    if token.state != State::Ok {
        return Some(Trouble {
            subject: line.account.clone(),
            kind: token.state.word().to_owned(),
            since: token.since,
            patience: match token.state {
                State::Retrying => PATIENCE,
                _ => SignedDuration::ZERO,
            },
            reason: told(&token.reason),
            remedy: told(&token.remedy).replace("ACCOUNT", &line.account),
        });
    }
    // The token is good, and the mail server does not take it: no mail moves either.
    let lasting = [Cause::Refused, Cause::Config].map(Cause::code);
    let failure = line.figures.last_failure.as_ref()?;
    let is_lasting = lasting.contains(&failure.code.as_str());
    is_lasting.then(|| Trouble {
        subject: line.account.clone(),
        kind: "login-failing".to_owned(),
        since: failure.at,
        patience: SignedDuration::ZERO,
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

/// Which sign-ins will end, where the provider says so.
fn sign_in_endings(status: &Status) -> Vec<Ending> {
    let ending = |line: &AccountLine| {
        Some(Ending {
            subject: format!("sign-in of {}", line.account),
            at: line.token.sign_in_expires_at?,
            remedy: format!("Sign in again: mailwicket authorize {}", line.account),
        })
    };
    status.accounts.iter().filter_map(ending).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::provider;

    #[test]
    fn what_a_registration_proves_itself_with_is_announced_with_its_own_end() {
        let mut provider = provider(&"http://127.0.0.1/t".parse().expect("a URL"));
        assert_eq!(endings(&provider).count(), 0);
        provider.client_secret_expires = Some(jiff::civil::date(2027, 3, 1));
        let endings: Vec<_> = endings(&provider).collect();
        assert_eq!(endings.len(), 1);
        assert!(endings[0].subject.starts_with("client-secret of provider "));
        assert_eq!(endings[0].at.to_string(), "2027-03-01T00:00:00Z");
    }
}
