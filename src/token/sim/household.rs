//! The accounts, the process that keeps their tokens, and whoever looks at how it does.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chance::Dice;
use super::faults;
use super::plan::Event;
use super::provider::{Habits, Issued, Provider, Rotation, SignIn, Told};
use super::sky::{DAY, HOUR, MINUTE, Ms, SECOND, Sky};
use super::{CALM, Findings, LIMIT, LONGEST_SLEEP, Played, Report};
use crate::config::{Account, Flow, Roster};
use crate::failure::Cause;
use crate::oauth::response::Answer;
use crate::observe::notify::{self, Watch};
use crate::observe::{AccountFigures, Recent};
use crate::status::{AccountLine, Status};
use crate::token::entry::Need;
use crate::token::grant::Grant;
use crate::token::life::State;
use crate::token::testing::{account_of, open};
use crate::token::{AccessToken, Tokens};
use crate::vault::{Kind, Vault};

/// An account in use is renewed at least so long before its token's end.
const AHEAD: Ms = 4 * MINUTE;
/// After this without a login an account may count as idle.
const IN_USE: Ms = 23 * HOUR;

struct Member {
    account: Arc<Account>,
    provider: Arc<Provider>,
    habits: Habits,
    /// When it logged in last.
    used_at: AtomicI64,
    /// When a person signed in last.
    signed_in_at: AtomicI64,
}

impl Member {
    fn address(&self) -> &str {
        &self.account.address
    }

    fn is_application(&self) -> bool {
        self.account.provider.flow.is_unattended()
    }
}

pub(super) struct Household {
    sky: Arc<Sky>,
    findings: Arc<Findings>,
    folder: TempDir,
    vault: Vault,
    world: Arc<Played>,
    members: Vec<Arc<Member>>,
    people: Mutex<Dice>,
    watch: Mutex<Watch>,
    /// When a process began, the machine woke up, or its clock was set.
    disturbed_at: AtomicI64,
    /// When the clock was set back last.
    set_back_at: AtomicI64,
    ahead_by: AtomicI64,
    began_at: AtomicI64,
    logins: AtomicU64,
    renewed_for_refused: AtomicU64,
    consents: AtomicU64,
    notices: AtomicU64,
}

const PLAIN: Habits = Habits {
    rotation: Rotation::Lenient,
    life: (3600 * SECOND, 5400 * SECOND),
    told: Told::Text,
    idle: 90 * DAY,
    sign_in: SignIn::Untold,
};

/// The registrations, with the habits of each account.
fn registrations() -> Vec<(&'static str, Flow, Vec<Habits>)> {
    let graceful = Habits {
        rotation: Rotation::Strict { grace: 60 * SECOND },
        life: (8 * HOUR, 8 * HOUR),
        told: Told::Number,
        idle: 30 * DAY,
        sign_in: SignIn::Rolling(30 * DAY),
    };
    let strict = Habits {
        rotation: Rotation::Strict { grace: 0 },
        life: (5 * HOUR, 12 * HOUR),
        sign_in: SignIn::Rolling(14 * DAY),
        ..graceful
    };
    let unrotated = Habits {
        rotation: Rotation::Never,
        life: (6 * HOUR, 10 * HOUR),
        told: Told::Number,
        idle: 180 * DAY,
        sign_in: SignIn::Untold,
    };
    let ending = Habits {
        sign_in: SignIn::Fixed(200 * DAY),
        ..unrotated
    };
    let long = Habits {
        life: (4 * HOUR, 8 * HOUR),
        ..PLAIN
    };
    let odd = |told, from, to| Habits {
        rotation: Rotation::Strict { grace: 60 * SECOND },
        told,
        life: (from, to),
        ..PLAIN
    };
    let odd = vec![
        odd(Told::Nothing, 2 * HOUR, 4 * HOUR),
        odd(Told::Jwt, 40 * MINUTE, 50 * MINUTE),
        odd(Told::Zero, 2 * HOUR, 4 * HOUR),
        odd(Told::Fraction, 10 * HOUR, 14 * HOUR),
        odd(Told::Huge, 400 * DAY, 500 * DAY),
    ];
    let application = Habits {
        rotation: Rotation::Never,
        life: (DAY, DAY),
        told: Told::Number,
        idle: Ms::MAX,
        sign_in: SignIn::Untold,
    };
    vec![
        (
            "lenient",
            Flow::AuthorizationCode,
            vec![PLAIN, PLAIN, long, long],
        ),
        ("graceful", Flow::AuthorizationCode, vec![graceful; 5]),
        ("strict", Flow::AuthorizationCode, vec![strict; 5]),
        (
            "unrotated",
            Flow::AuthorizationCode,
            vec![unrotated, unrotated, unrotated, ending],
        ),
        ("odd", Flow::AuthorizationCode, odd),
        ("application", Flow::ClientCredentials, vec![application; 3]),
    ]
}

impl Household {
    pub(super) fn new(seed: u64, end: Ms) -> Self {
        let sky = Arc::new(Sky::default());
        let findings = Arc::new(Findings {
            sky: sky.clone(),
            found: Mutex::default(),
        });
        let (mut members, mut providers) = (Vec::new(), HashMap::new());
        for (name, flow, all_habits) in registrations() {
            let mut registration = crate::oauth::testing::provider(
                &format!("https://{name}.example/token")
                    .parse()
                    .expect("a URL"),
            );
            (registration.name, registration.flow) = (name.into(), flow);
            let registration = Arc::new(registration);
            let address = |n: usize| format!("{name}{n}@example.com");
            let habits: HashMap<_, _> = match flow.is_unattended() {
                true => [("application".into(), all_habits[0])].into(),
                false => all_habits
                    .iter()
                    .enumerate()
                    .map(|(n, habits)| (address(n), *habits))
                    .collect(),
            };
            let windows = faults::windows(&mut Dice::of(seed, ("faults", name)), end - CALM);
            let provider =
                Provider::new(name, habits, windows, seed, sky.clone(), findings.clone());
            let provider = Arc::new(provider);
            providers.insert(name.to_owned(), provider.clone());
            for (n, habits) in all_habits.into_iter().enumerate() {
                members.push(Arc::new(Member {
                    account: account_of(&registration, &address(n)),
                    provider: provider.clone(),
                    habits,
                    used_at: AtomicI64::new(Ms::MIN / 2),
                    signed_in_at: AtomicI64::new(0),
                }));
            }
        }
        // In memory if possible: every renewal is synced to the disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a folder");
        let household = Self {
            vault: open(folder.path()),
            folder,
            world: Arc::new(Played {
                sky: sky.clone(),
                seed,
                providers,
            }),
            sky,
            findings,
            members,
            people: Mutex::new(Dice::of(seed, "people")),
            watch: Mutex::default(),
            disturbed_at: AtomicI64::new(0),
            set_back_at: AtomicI64::new(Ms::MIN / 2),
            ahead_by: AtomicI64::new(0),
            began_at: AtomicI64::new(0),
            logins: AtomicU64::new(0),
            renewed_for_refused: AtomicU64::new(0),
            consents: AtomicU64::new(0),
            notices: AtomicU64::new(0),
        };
        for member in &household.members {
            match member.is_application() {
                true => drop(member.provider.consent("application")),
                false => household.sign_in(member),
            }
        }
        household
    }

    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    pub(super) fn report(self) -> Report {
        let mut report = Report {
            logins: self.logins.into_inner(),
            renewed_for_refused: self.renewed_for_refused.into_inner(),
            consents: self.consents.into_inner(),
            notices: self.notices.into_inner(),
            ..Report::default()
        };
        for provider in self.world.providers.values() {
            report.requests += provider.requests();
            for (fault, times) in provider.met() {
                *report.met.entry(fault).or_default() += times;
            }
        }
        report.found = std::mem::take(&mut *self.findings.found.lock().expect("findings"));
        drop(self.folder);
        report
    }

    /// One process, from its start to its end. False if that is the end of everything.
    pub(super) fn live(self: &Household, events: &mut VecDeque<(Ms, Event)>) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .expect("a runtime");
        let goes_on = runtime.block_on(self.process(events));
        drop(runtime);
        self.look_into_the_vault();
        goes_on
    }

    async fn process(&self, events: &mut VecDeque<(Ms, Event)>) -> bool {
        self.sky.begin();
        self.began_at.store(self.sky.now(), Relaxed);
        self.disturbed();
        let world = self.world.clone();
        let tokens = Tokens::in_world(open(self.folder.path()), world, Recent::default());
        let accounts = self.members.iter().map(|member| member.account.clone());
        let stop = CancellationToken::new();
        let roster = Roster::new(accounts.collect(), Vec::new());
        let upkeep = tokens.clone().upkeep(roster, stop.clone());
        let upkeep = tokio::spawn(upkeep);
        let mut logins = JoinSet::new();
        while let Some((at, event)) = events.pop_front() {
            let wait = Duration::from_millis((at - self.sky.now()).max(0).unsigned_abs());
            tokio::time::sleep(wait).await;
            while logins.try_join_next().is_some() {}
            match event {
                // While the machine slept nobody logged in.
                Event::Login(_) if self.sky.now() > at + SECOND => {}
                Event::Login(number) => {
                    self.logins.fetch_add(1, Relaxed);
                    let member = self.members[number].clone();
                    let clock = self.clock();
                    logins.spawn(log_in(
                        member,
                        tokens.clone(),
                        clock,
                        self.sky.clone(),
                        self.findings.clone(),
                    ));
                }
                Event::Look => self.look(&tokens),
                Event::Revoke(number) => self.members[number].revoke(),
                Event::Suspend(time) => {
                    self.sky.pass(time);
                    self.disturbed();
                }
                Event::SetAhead(ahead) => {
                    let before = self.ahead_by.swap(ahead, Relaxed);
                    self.sky.set_ahead(ahead);
                    if ahead < before {
                        self.set_back_at.store(self.sky.now(), Relaxed);
                    }
                    self.disturbed();
                }
                Event::Stop {
                    politely,
                    back_after,
                } => {
                    if politely {
                        stop.cancel();
                        upkeep.await.expect("ended");
                        tokens.settle().await;
                    }
                    self.sky.end();
                    self.sky.pass(back_after);
                    return true;
                }
            }
        }
        self.look(&tokens);
        for member in &self.members {
            let status = tokens.status(&member.account);
            let is_revoked = member.provider.death_of(member).is_some();
            if status.state != State::Ok && !is_revoked {
                self.findings
                    .add(format!("{} ends as {status:?}", member.address()));
            }
        }
        self.sky.end();
        false
    }

    fn clock(&self) -> Clock {
        Clock {
            disturbed_at: self.disturbed_at.load(Relaxed),
            set_back_at: self.set_back_at.load(Relaxed),
            began_at: self.began_at.load(Relaxed),
        }
    }

    fn disturbed(&self) {
        self.disturbed_at.store(self.sky.now(), Relaxed);
        for member in &self.members {
            member.provider.nobody_was_told();
        }
    }

    /// A person signs in, as `authorize` stores it. Not while a renewal is under way.
    fn sign_in(&self, member: &Member) {
        let address = member.address();
        let guard = self.vault.lock_within(Kind::Grant, address, Duration::ZERO);
        let Ok(guard) = guard else { return };
        let issued = member.provider.consent(address);
        let answer = answer(&issued, member.habits);
        let former = self.vault.read(Kind::Grant, address).expect("readable");
        let mut grant = Grant::new(&member.account.provider, &answer, self.sky.wall());
        if let Some(former) = former {
            grant = grant.succeeding(&Grant::from_bytes(&former.bytes).expect("a grant"));
        }
        self.vault
            .write(&guard, &grant.to_bytes())
            .expect("written");
        member.signed_in_at.store(self.sky.now(), Relaxed);
        self.consents.fetch_add(1, Relaxed);
    }

    /// After a process: the vault has the newest that had come.
    fn look_into_the_vault(&self) {
        for member in self
            .members
            .iter()
            .filter(|member| !member.is_application())
        {
            let record = self.vault.read(Kind::Grant, member.address());
            let record = record.expect("readable").expect("there");
            let grant = Grant::from_bytes(&record.bytes).expect("a grant");
            let stored = grant
                .refresh_token()
                .expect("kept")
                .expose_secret()
                .to_owned();
            let (newest, at) = member.provider.delivered(member.address());
            if stored == newest {
                continue;
            }
            // Killed between the answer and its first octet on the disk.
            if at + SECOND < self.sky.now() && at < self.began_at.load(Relaxed) {
                self.findings
                    .add(format!("the vault has {stored}, and {newest} had come"));
            }
            member.provider.forget_delivery(member.address(), stored);
        }
    }

    /// How everything stands, and who has to sign in.
    fn look(&self, tokens: &Tokens) {
        let mut status = Status::default();
        for member in &self.members {
            let account = tokens.status(&member.account);
            self.see_that_the_state_is_true(member, account.state);
            self.see_that_it_was_renewed(member);
            status.accounts.push(AccountLine {
                account: member.address().into(),
                provider: member.provider.name.clone(),
                token: account,
                figures: AccountFigures::default(),
            });
        }
        self.see_that_the_notices_are_true(&status);
        for (member, line) in self.members.iter().zip(&status.accounts) {
            let is_asked = line.token.state == State::NeedsConsent;
            if is_asked && self.people.lock().expect("dice").hits(0.5) {
                self.sign_in(member);
            }
        }
    }

    fn is_settled(&self) -> bool {
        let longest = LONGEST_SLEEP.as_millis() as Ms;
        self.sky.now() - self.disturbed_at.load(Relaxed) > longest + 10 * MINUTE
    }

    fn see_that_the_state_is_true(&self, member: &Member, state: State) {
        let death = member.provider.death_of(member);
        let may_fail = member.provider.may_fail(member.address()) || !self.is_settled();
        let is_true = match state {
            State::Ok => true, // see log_in
            State::NeedsConsent => death.is_some(),
            State::Retrying | State::ConfigError => may_fail,
            State::Unauthorized => false,
        };
        if !is_true {
            self.findings
                .add(format!("{} is {state}", member.address()));
        }
    }

    fn see_that_it_was_renewed(&self, member: &Member) {
        let now = self.sky.now();
        // By a clock that was set since, the last login may seem long ago.
        let used_at = member.used_at.load(Relaxed);
        let is_in_use = now - used_at < IN_USE && used_at > self.disturbed_at.load(Relaxed);
        let may_fail = member.provider.may_fail(member.address()) || !self.is_settled();
        let (_, until) = member.provider.served(member.address());
        let is_over = until < now && member.habits.told != Told::Nothing;
        if is_in_use && !may_fail && is_over && member.provider.death_of(member).is_none() {
            self.findings.add(format!(
                "{} is in use and was not renewed",
                member.address()
            ));
        }
    }

    fn see_that_the_notices_are_true(&self, status: &Status) {
        let now = self.sky.wall();
        let sight = notify::Sight::of(status, notify::sign_in_endings(status, now));
        let is_well = |address| {
            let mut lines = status.accounts.iter();
            lines.any(|line| line.account == address && line.token.state == State::Ok)
        };
        let mut watch = self.watch.lock().expect("watch");
        for notice in watch.look(now, &sight) {
            self.notices.fetch_add(1, Relaxed);
            let is_of = |member: &&Arc<Member>| notice.subject.ends_with(member.address());
            let member = self.members.iter().find(is_of).expect("somebody's");
            let is_true = match notice.event {
                // One that renewals push ahead comes when there are none.
                notify::Event::Ending => {
                    matches!(member.habits.sign_in, SignIn::Fixed(_)) || !is_well(member.address())
                }
                _ => true,
            };
            if !is_true {
                self.findings.add(format!("told: {}", notice.text()));
            }
        }
    }
}

impl Provider {
    fn death_of(&self, member: &Member) -> Option<super::provider::Death> {
        match member.is_application() {
            true => None,
            false => self.death(member.address()),
        }
    }
}

impl Member {
    fn revoke(&self) {
        if !self.is_application() {
            self.provider.revoke(self.address());
        }
    }
}

/// What happened to the machine's clock, as of a login.
#[derive(Clone, Copy)]
struct Clock {
    disturbed_at: Ms,
    set_back_at: Ms,
    began_at: Ms,
}

fn answer(issued: &Issued, habits: Habits) -> Answer {
    let duration = |ms: Ms| Duration::from_millis(ms.unsigned_abs());
    Answer {
        access_token: AccessToken::new(issued.access.clone().into()).expect("a token"),
        expires_in: match habits.told {
            Told::Number | Told::Text | Told::Fraction => Some(duration(issued.life)),
            Told::Huge => Some(duration(366 * DAY)),
            Told::Nothing | Told::Jwt | Told::Zero => None,
        },
        refresh_token: Some(issued.refresh.clone().into()),
        refresh_expires_in: issued.sign_in_life.map(duration),
        scopes: None,
        id_token: None,
    }
}

/// A mail program logs in; if its token is refused, another is asked for, once.
async fn log_in(
    member: Arc<Member>,
    tokens: Tokens,
    clock: Clock,
    sky: Arc<Sky>,
    findings: Arc<Findings>,
) {
    let (began, was_used_at) = (sky.now(), member.used_at.swap(sky.now(), Relaxed));
    let (_, lived_until) = member.provider.served(member.address());
    let first = tokens.obtain(&member.account, Need::Login).await;
    let now = sky.now();
    if now - began > 3 * LIMIT.as_millis() as Ms && clock.disturbed_at < began {
        findings.add(format!(
            "{} waited {} s",
            member.address(),
            (now - began) / SECOND
        ));
    }
    let is_dead = || member.provider.death_of(&member).is_some();
    let was_set_back = clock.set_back_at > clock.began_at - 40 * DAY;
    match first {
        Ok(token) if member.provider.takes(member.address(), token.expose()) => {}
        Ok(token) => {
            let is_told = member.habits.told != Told::Nothing;
            if !is_dead() && !was_set_back && is_told {
                findings.add(format!("{} was given a dead token", member.address()));
            }
            let second = tokens.obtain(&member.account, Need::Instead(token)).await;
            let second_taken = second
                .as_ref()
                .is_ok_and(|token| member.provider.takes(member.address(), token.expose()));
            let just_renewed = second
                .as_ref()
                .is_err_and(|failure| failure.cause == Cause::Refused);
            if !second_taken
                && !just_renewed
                && !is_dead()
                && !member.provider.may_fail(member.address())
            {
                findings.add(format!(
                    "{} has no other token: {second:?}",
                    member.address()
                ));
            }
        }
        Err(failure) => {
            let what = |words: &str| format!("{} {words}: {}", member.address(), failure.detail);
            if is_dead() {
                return;
            }
            if !member.provider.may_fail(member.address())
                && clock.disturbed_at < began - 5 * MINUTE
            {
                findings.add(what("failed for no reason"));
            }
            if lived_until > now + SECOND
                && began - member.signed_in_at.load(Relaxed) > MINUTE
                && !was_set_back
            {
                findings.add(what("failed although its token lives"));
            }
            if tokens.status(&member.account).state == State::Ok {
                findings.add(what("failed and is said to be ok"));
            }
            let was_in_use = began - was_used_at < IN_USE;
            if let Some(fault_at) = member.provider.first_fault(HOUR)
                && was_in_use
                && clock.disturbed_at < fault_at - HOUR
                && began - fault_at < AHEAD
            {
                findings.add(what("failed at the beginning of a fault"));
            }
        }
    }
}
