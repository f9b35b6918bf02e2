//! The notifier over a real vault and real counters, with a clock of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::config::Config;
use crate::failure::Failure;
use crate::oauth::response::Answer;
use crate::observe::Counters;
use crate::observe::log::tests::logged;
use crate::stage::Stage;
use crate::token::grant::Grant;
use crate::token::life::Life;
use crate::token::{AccessToken, Tokens};
use crate::vault::{Kind, Vault};

const ALICE: &str = "alice@example.com";

const TEXT: &str = r#"state-dir = "state"
[provider.lab]
client-id = "x1"
token-url = "http://127.0.0.1:9/token"
authorize-url = "http://127.0.0.1:9/auth"
scopes = ["mail"]
imap = { host = "127.0.0.1", port = 9, tls = "implicit" }
[[account]]
address = "alice@example.com"
provider = "lab"
[[listener]]
protocol = "imap"
provider = "lab"
listen = ["127.0.0.1:0", "[::1]:0"]
"#;

/// People.
#[derive(Default)]
struct People {
    heard: Mutex<Vec<Notice>>,
    are_away: AtomicBool,
    calls: AtomicUsize,
}

impl Tell for People {
    async fn tell(&self, notices: &[Notice]) -> Result<(), DeliveryError> {
        self.calls.fetch_add(1, Relaxed);
        if self.are_away.load(Relaxed) {
            return Err(DeliveryError::Address("nobody is there".to_owned()));
        }
        self.heard.lock().expect("heard").extend_from_slice(notices);
        Ok(())
    }
}

/// A house with one account and a listener at two addresses.
struct House {
    _folder: TempDir,
    config: Config,
    vault: Vault,
    counters: [Arc<Counters>; 2],
    sources: watch::Sender<Arc<Sources>>,
    people: Arc<People>,
    _stop: tokio_util::sync::DropGuard,
}

impl House {
    /// Watched by a clock that runs sixty times as fast as the runtime's: one second of that is a minute.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mailwicket.toml");
        let config = Config::parse(TEXT, &path).expect("sound");
        let vault = Vault::open(&config.state_dir, &config.vault_key).expect("a vault");
        let counters: [Arc<Counters>; 2] = Default::default();
        let [first, second] = config.listeners[0].addresses[..] else {
            panic!("two addresses");
        };
        let at = [(first, &counters[0]), (second, &counters[1])];
        let sources = watch::Sender::new(Arc::new(Sources {
            tokens: Some(Tokens::new(vault.clone(), Duration::from_secs(1))),
            roster: config.roster.clone(),
            listeners: at
                .map(|(at, counters)| (config.listeners[0].clone(), at, counters.clone()))
                .into(),
            console_certificate: None,
        }));
        let people = Arc::<People>::default();
        let (begun, wall) = (Instant::now(), Timestamp::now());
        let clock = move || wall + begun.elapsed() * 60;
        let stop = CancellationToken::new();
        let notifier = Notifier::at(&config.state_dir, Recent::default(), Box::new(clock)).run(
            sources.subscribe(),
            watch::Sender::new(Arc::clone(&people)).subscribe(),
            stop.clone(),
        );
        tokio::spawn(notifier);
        Self {
            _folder: folder,
            config,
            vault,
            counters,
            sources,
            people,
            _stop: stop.drop_guard(),
        }
    }

    /// A first grant, whose sign-in ends in half an hour if it is not renewed.
    fn grant(&self) -> Grant {
        let provider = &self.config.roster.accounts()[0].provider;
        Grant::new(provider, &answer(1800), Timestamp::now())
    }

    fn put(&self, grant: &Grant) {
        let guard = self.vault.lock(Kind::Grant, ALICE).expect("lock");
        self.vault
            .write(&guard, &grant.to_bytes())
            .expect("written");
    }

    fn fails(&self, at: usize, cause: Cause) {
        self.counters[at].failed(ALICE, &Failure::new(Stage::Login, cause, "no"));
    }

    fn logs_in(&self, at: usize) {
        drop(self.counters[at].logged_in(ALICE));
    }

    /// What people hear within these seconds.
    async fn told_within(&self, seconds: u64) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let heard = std::mem::take(&mut *self.people.heard.lock().expect("heard"));
        let words = |notice: &Notice| format!("{:?} {}", notice.event, notice.state);
        heard.iter().map(words).collect()
    }
}

fn answer(refresh_expires_in: u64) -> Answer {
    Answer {
        access_token: AccessToken::new("s3cretA".to_owned().into()).expect("a token"),
        expires_in: Some(Duration::from_secs(60)),
        refresh_token: Some("s3cretR".to_owned().into()),
        refresh_expires_in: Some(Duration::from_secs(refresh_expires_in)),
        scopes: None,
        id_token: None,
    }
}

const NOTHING: [&str; 0] = [];

#[tokio::test(start_paused = true)]
async fn people_hear_within_five_seconds_then_daily_and_when_it_is_over() {
    let house = House::new();
    assert_eq!(house.told_within(5).await, ["Began unauthorized"]);
    let two_days = house.told_within(49 * 60).await;
    assert_eq!(two_days, ["Reminder unauthorized", "Reminder unauthorized"]);
    house.put(&house.grant());
    assert_eq!(house.told_within(5).await, ["Over ok"]);
    assert_eq!(house.told_within(25 * 60).await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn a_mail_server_that_stays_away_is_told_after_its_patience() {
    for cause in [Cause::Upstream, Cause::Busy] {
        let house = House::new();
        house.put(&house.grant());
        house.fails(0, cause);
        assert_eq!(house.told_within(3).await, NOTHING, "{cause:?}");
        // That somebody tries again does not begin the time anew.
        house.fails(0, cause);
        let told = house.told_within(5).await;
        assert_eq!(told, ["Began login-failing"], "{cause:?}");
        house.logs_in(0);
        assert_eq!(house.told_within(5).await, ["Over ok"], "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once_and_over_after_a_login_at_another_address() {
    let house = House::new();
    house.put(&house.grant());
    house.fails(0, Cause::Refused);
    assert_eq!(house.told_within(5).await, ["Began login-failing"]);
    // Our own limit says nothing of the mail server.
    house.fails(0, Cause::Limit);
    assert_eq!(house.told_within(60).await, NOTHING);
    house.logs_in(1);
    assert_eq!(house.told_within(5).await, ["Over ok"]);
    assert!(house.sources.borrow().status().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_removed_is_not_called_ok() {
    let house = House::new();
    assert_eq!(house.told_within(5).await, ["Began unauthorized"]);
    house.sources.send_modify(|sources| {
        *sources = Arc::new(Sources {
            tokens: sources.tokens.clone(),
            ..Sources::default()
        });
    });
    assert_eq!(house.told_within(60).await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_renewals_push_ahead_is_told_only_when_they_no_longer_do() {
    let house = House::new();
    let mut grant = house.grant();
    let mut at = Timestamp::now();
    house.put(&grant);
    for _ in 0..4 {
        assert_eq!(house.told_within(30).await, NOTHING);
        at += SignedDuration::from_secs(30);
        grant = grant.renewed(&answer(1800), at);
        house.put(&grant);
    }
    // The provider has an end of its own, which it tells in whole seconds, some of which the answer took.
    for left in [1770, 1739, 1710] {
        at += SignedDuration::from_secs(30);
        grant = grant.renewed(&answer(left), at);
        house.put(&grant);
        let told = house.told_within(3).await;
        assert_eq!(told.len(), usize::from(left == 1770), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_when_nothing_renews_the_sign_in_any_more() {
    let house = House::new();
    let life = Life::new(State::Retrying, Timestamp::now());
    house.put(&house.grant().in_state(&life));
    assert_eq!(house.told_within(3).await, NOTHING);
    let told = house.told_within(5).await;
    assert_eq!(told, ["Began retrying", "Ending ending"]);
}

#[test]
fn what_cannot_be_delivered_is_logged_once_at_once_and_delivered_later() {
    let lines = logged(false, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let house = House::new();
            house.people.are_away.store(true, Relaxed);
            assert_eq!(house.told_within(600).await, NOTHING);
            let calls = house.people.calls.load(Relaxed);
            assert!((8..=11).contains(&calls), "{calls} tries in ten minutes");
            house.people.are_away.store(false, Relaxed);
            assert_eq!(house.told_within(65).await, ["Began unauthorized"]);
        });
    });
    let is_notice = |line: &&String| line.contains("alice@example.com: unauthorized");
    assert_eq!(lines.iter().filter(is_notice).count(), 1, "{lines:#?}");
    assert!(is_notice(&&lines[0]), "{lines:#?}");
}

#[test]
fn what_a_registration_proves_itself_with_is_announced_with_its_own_end() {
    let mut provider =
        crate::oauth::testing::provider(&"http://127.0.0.1/t".parse().expect("a URL"));
    assert_eq!(endings(&provider).count(), 0);
    provider.client_secret_expires = Some(jiff::civil::date(2027, 3, 1));
    let endings: Vec<_> = endings(&provider).collect();
    assert_eq!(endings.len(), 1);
    assert!(endings[0].subject.starts_with("client-secret of provider "));
    assert_eq!(endings[0].at.to_string(), "2027-03-01T00:00:00Z");
}
