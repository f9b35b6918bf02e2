//! Years in the life of many accounts, in seconds: the keeper, the renewals and the upkeep as they are, with a real vault, against
//! providers that follow their rules to the letter and have their bad days.
//!
//! Time is tokio's paused time; a process is a runtime, and its sudden death is the runtime's end. A seed determines everything,
//! with one version of Rust.

mod chance;
mod faults;
mod household;
mod plan;
mod provider;
mod sky;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use self::chance::Dice;
use self::faults::Fault;
use self::household::Household;
use self::sky::{DAY, Ms, Sky};
use super::world::World;
use crate::config;
use crate::oauth::OAuth;
use crate::oauth::http::HttpClient;
use crate::tls::TlsError;

/// Of one request.
const LIMIT: Duration = Duration::from_secs(10);
const YEARS: Ms = 3;
/// At the end nothing bad happens any more.
const CALM: Ms = 12 * DAY;
/// Ten minutes in the real world. Longer, to make years affordable.
const LONGEST_SLEEP: Duration = Duration::from_secs(12 * 3600);

/// What should not have happened.
#[derive(Debug)]
struct Findings {
    sky: Arc<Sky>,
    found: Mutex<Vec<String>>,
}

impl Findings {
    fn add(&self, what: impl AsRef<str>) {
        let what = format!("{:.0} {}", self.sky.date(), what.as_ref());
        self.found.lock().expect("findings").push(what);
    }
}

/// The world around the tokens, as [`Real`](super::world::Real) is for users.
struct Played {
    sky: Arc<Sky>,
    seed: u64,
    providers: HashMap<String, Arc<provider::Provider>>,
}

impl World for Played {
    fn now(&self) -> Timestamp {
        self.sky.wall()
    }

    fn luck(&self) -> f64 {
        // Whoever draws first among threads at the same instant must not matter.
        Dice::of(self.seed, ("luck", self.sky.now())).share()
    }

    fn client(&self, provider: Arc<config::Provider>) -> Result<OAuth, TlsError> {
        let carrier = self.providers[&provider.name].clone();
        Ok(OAuth::over(provider, HttpClient::over(carrier, LIMIT)))
    }

    fn longest_sleep(&self) -> Duration {
        LONGEST_SLEEP
    }
}

/// What a seed came to.
#[derive(Debug, Default)]
struct Report {
    found: Vec<String>,
    logins: u64,
    requests: u64,
    renewed_for_refused: u64,
    consents: u64,
    notices: u64,
    met: HashMap<Fault, u64>,
}

fn play(seed: u64) -> Report {
    let end = YEARS * 365 * DAY;
    let household = Household::new(seed, end);
    let mut events = plan::events(seed, household.size(), end, CALM).into();
    while household.live(&mut events) {}
    household.report()
}

#[track_caller]
fn nothing_goes_wrong(seed: u64) {
    let began = std::time::Instant::now();
    let report = play(seed);
    let shown: Vec<_> = report.found.iter().take(30).cloned().collect();
    eprintln!(
        "seed {seed}: {} logins, {} requests, {} renewed for refused, {} consents, {} notices, {} findings, {:?}, {:?}",
        report.logins,
        report.requests,
        report.renewed_for_refused,
        report.consents,
        report.notices,
        report.found.len(),
        report.met,
        began.elapsed()
    );
    assert!(
        report.found.is_empty(),
        "seed {seed}: {} findings, first:\n{}",
        report.found.len(),
        shown.join("\n")
    );
}

#[test]
fn years_with_bad_days_lose_no_token_and_make_no_storm() {
    let seeds = match std::env::var("MAILWICKET_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => vec![1, 2],
    };
    for seed in seeds {
        nothing_goes_wrong(seed);
    }
}
