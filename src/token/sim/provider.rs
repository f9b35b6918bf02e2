//! A provider that follows its own rules to the letter, and sees every mistake of its client.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::json;

use super::chance::Dice;
use super::faults::{Fault, Mishap, RETRY_AFTER_MAX, Window, mishap};
use super::sky::{DAY, HOUR, MINUTE, Ms, SECOND, Sky, date};
use super::{Findings, LIMIT};
use crate::oauth::http::{Carried, Carrier, HttpError};

/// Who asks in the name of an application.
const APPLICATION: &str = "application";

/// What becomes of a refresh token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// It stays the only one (Google).
    Never,
    /// There is a new one, and the old ones stay good (Entra).
    Lenient,
    /// It is dead, and so is everything if it comes back later than this.
    Strict { grace: Ms },
}

/// How long an access token lives, as the provider tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Number,
    Text,
    Fraction,
    Nothing,
    /// Not at all, but it is a JWT.
    Jwt,
    Zero,
    /// A year or more, which is true.
    Huge,
}

/// How long a sign-in lives, as the provider tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignIn {
    /// Nothing is told.
    Untold,
    /// So long from each renewal.
    Rolling(Ms),
    /// So long in all.
    Fixed(Ms),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) rotation: Rotation,
    /// An access token lives so long.
    pub(super) life: (Ms, Ms),
    pub(super) told: Told,
    /// A sign-in that is not used for so long is dead.
    pub(super) idle: Ms,
    pub(super) sign_in: SignIn,
}

/// Why a sign-in is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    Revoked,
    Reused,
    Lapsed,
    Ended,
}

/// One sign-in of one account.
struct Family {
    number: u64,
    /// How all its refresh tokens begin.
    stem: String,
    current: String,
    /// The one before, and until when it may come back.
    former: Option<(String, Ms)>,
    used_at: Ms,
    ends: Option<Ms>,
    death: Option<Death>,
    /// Living access tokens with their ends.
    access: VecDeque<(String, Ms)>,
    /// The newest refresh token that reached the client, and when.
    delivered: (String, Ms),
    /// When the newest access token came to the client, and its end.
    served: (Ms, Ms),
    /// When a request met a mishap last.
    mishap_at: Ms,
}

/// What the provider issues.
pub(super) struct Issued {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) life: Ms,
    pub(super) sign_in_life: Option<Ms>,
}

#[derive(Default)]
struct State {
    families: HashMap<String, Family>,
    /// Requests of the last hour.
    recent: VecDeque<(Ms, String)>,
    /// Until when no request may come, as far as the present process was told.
    quiet_until: Ms,
    requests: u64,
    met: HashMap<Fault, u64>,
}

pub(super) struct Provider {
    pub(super) name: String,
    habits: HashMap<String, Habits>,
    windows: Vec<Window>,
    seed: u64,
    sky: Arc<Sky>,
    findings: Arc<Findings>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Provider {
    pub(super) fn new(
        name: &str,
        habits: HashMap<String, Habits>,
        windows: Vec<Window>,
        seed: u64,
        sky: Arc<Sky>,
        findings: Arc<Findings>,
    ) -> Self {
        Self {
            name: name.into(),
            habits,
            windows,
            seed,
            sky,
            findings,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the provider")
    }

    /// A person signs in.
    pub(super) fn consent(&self, account: &str) -> Issued {
        let (now, habits) = (self.sky.now(), self.habits[account]);
        let mut state = self.state();
        let number = state
            .families
            .get(account)
            .map_or(0, |family| family.number)
            + 1;
        let refresh = format!("{account}/{number}");
        let ends = match habits.sign_in {
            SignIn::Fixed(life) => Some(now + life),
            _ => None,
        };
        let family = Family {
            number,
            stem: refresh.clone(),
            current: refresh.clone(),
            former: None,
            used_at: now,
            ends,
            death: None,
            access: VecDeque::new(),
            delivered: (refresh, now),
            served: (now, now),
            mishap_at: Ms::MIN / 2,
        };
        state.families.insert(account.into(), family);
        let issued = self.issue(&mut state, account, habits, now);
        let family = state.families.get_mut(account).expect("just made");
        family.delivered = (issued.refresh.clone(), now);
        family.served = (now, now + issued.life);
        issued
    }

    /// Somebody ends an account's sign-in.
    pub(super) fn revoke(&self, account: &str) {
        if let Some(family) = self.state().families.get_mut(account) {
            family.end(Death::Revoked);
        }
    }

    /// Why the account's sign-in is over, if it is.
    pub(super) fn death(&self, account: &str) -> Option<Death> {
        self.state().families.get(account)?.death
    }

    /// Whether mail servers take the token.
    pub(super) fn takes(&self, account: &str, token: &str) -> bool {
        let (now, state) = (self.sky.now(), self.state());
        let family = &state.families[self.who(account)];
        let mut living = family.access.iter();
        family.death.is_none() && living.any(|(known, until)| known == token && *until > now)
    }

    /// When the newest access token came, and its end.
    pub(super) fn served(&self, account: &str) -> (Ms, Ms) {
        self.state().families[self.who(account)].served
    }

    /// The newest refresh token that reached the client, and when.
    pub(super) fn delivered(&self, account: &str) -> (String, Ms) {
        self.state().families[self.who(account)].delivered.clone()
    }

    /// After a sudden death of the process: this is what it had written of what it had heard.
    pub(super) fn forget_delivery(&self, account: &str, refresh: String) {
        if let Some(family) = self.state().families.get_mut(account) {
            family.delivered.0 = refresh;
        }
    }

    /// A new process knows nothing of what the former was told; and one whose clock was set cannot tell how long it waits.
    pub(super) fn nobody_was_told(&self) {
        self.state().quiet_until = 0;
    }

    /// Whether a renewal may fail now, because of what goes wrong here or has just gone wrong.
    pub(super) fn may_fail(&self, account: &str) -> bool {
        let now = self.sky.now();
        let is_near =
            |window: &Window| now >= window.from && now < window.until + window.fault.echo();
        let mishap_at = self.state().families[self.who(account)].mishap_at;
        self.windows.iter().any(is_near) || now - mishap_at < 100 * SECOND
    }

    /// When the fault that is there, or echoes, began; and all was well for `before` until then.
    pub(super) fn first_fault(&self, before: Ms) -> Option<Ms> {
        let now = self.sky.now();
        let mut near = self.windows.iter().filter(|window| {
            now >= window.from && now < window.until + window.fault.echo() + before
        });
        match (near.next(), near.next()) {
            (Some(only), None) => Some(only.from),
            _ => None,
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.state().requests
    }

    /// How often each fault was met.
    pub(super) fn met(&self) -> HashMap<Fault, u64> {
        self.state().met.clone()
    }

    fn is_application(&self) -> bool {
        self.habits.contains_key(APPLICATION)
    }

    fn who<'a>(&self, account: &'a str) -> &'a str {
        if self.is_application() {
            APPLICATION
        } else {
            account
        }
    }

    fn issue(&self, state: &mut State, account: &str, habits: Habits, now: Ms) -> Issued {
        let mut dice = Dice::of(self.seed, (account, "life", now));
        let life = dice.between(habits.life.0, habits.life.1 + 1);
        let count = state.requests;
        let access = match habits.told {
            Told::Jwt => {
                let claims = json!({"exp": date(now + life).as_second(), "iat": date(now).as_second(), "n": count});
                let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
                format!(
                    "{}.{}.c2ln",
                    part(r#"{"alg":"RS256"}"#.into()),
                    part(claims.to_string())
                )
            }
            _ => format!("{}.{now}.{count}", account.replace('@', "-")),
        };
        let family = state.families.get_mut(account).expect("signed in");
        family.access.retain(|(_, until)| *until > now);
        family.access.push_back((access.clone(), now + life));
        let sign_in_life = match habits.sign_in {
            SignIn::Untold => None,
            SignIn::Rolling(life) => Some(life),
            SignIn::Fixed(_) => family.ends.map(|ends| ends - now),
        };
        Issued {
            access,
            refresh: family.current.clone(),
            life,
            sign_in_life,
        }
    }

    /// Takes note of a request and sees whether it may come now.
    fn note(&self, state: &mut State, account: &str, now: Ms) {
        state.requests += 1;
        if now < state.quiet_until {
            let left = (state.quiet_until - now) / SECOND;
            self.findings.add(format!(
                "{account} asked {} although it was told to wait {left} s more",
                self.name
            ));
        }
        state.recent.push_back((now, account.into()));
        while state.recent.front().is_some_and(|(at, _)| now - at > HOUR) {
            state.recent.pop_front();
        }
        let accounts = self.habits.len();
        let in_a_minute = |(at, _): &&(Ms, String)| now - at <= MINUTE;
        let minute = state.recent.iter().rev().take_while(in_a_minute);
        let (mut all, mut own) = (0, 0);
        for (_, who) in minute {
            all += 1;
            own += usize::from(who == account);
        }
        let bounds = [
            (own, 14, "of an account in a minute"),
            (all, 12 + 4 * accounts, "of a registration in a minute"),
            (
                state.recent.len(),
                // Two may have trouble of their own, for which they ask twice a minute; three are one.
                300 + 8 * accounts,
                "of a registration in an hour",
            ),
        ];
        for (requests, most, what) in bounds {
            if requests > most && !self.is_application() {
                self.findings
                    .add(format!("{requests} requests {what} at {}", self.name));
                state.recent.clear(); // one finding for each storm
            }
        }
    }

    async fn answer(&self, form: HashMap<String, String>) -> Result<Response<Vec<u8>>, HttpError> {
        let now = self.sky.now();
        let refresh = form.get("refresh_token").cloned();
        let account = match &refresh {
            Some(token) => token.split('/').next().unwrap_or_default().to_owned(),
            None => APPLICATION.to_owned(),
        };
        let (fault, mishap, latency) = {
            let mut state = self.state();
            self.note(&mut state, &account, now);
            if let Some(token) = &refresh {
                self.see_that_it_is_the_newest(&state, &account, token);
            }
            let here = |window: &&Window| (window.from..window.until).contains(&now);
            let fault = self.windows.iter().find(here).map(|window| window.fault);
            let mut dice = Dice::of(self.seed, (&account, now));
            let may_lose = self.habits[&account].rotation != Rotation::Strict { grace: 0 };
            let mishap = match fault {
                None => mishap(&mut dice, may_lose),
                Some(fault) => {
                    *state.met.entry(fault).or_default() += 1;
                    Mishap::None
                }
            };
            if mishap != Mishap::None
                && let Some(family) = state.families.get_mut(&account)
            {
                family.mishap_at = now;
            }
            (fault, mishap, dice.scale(20, 900))
        };
        if let Some(fault) = fault {
            return self.fault(fault, latency).await;
        }
        match mishap {
            Mishap::LostBefore => {
                pause(latency).await;
                return Err(lost());
            }
            Mishap::Page => {
                pause(latency).await;
                return Ok(self.page(500, "text/html", "<h1>oops</h1>"));
            }
            _ => {}
        }
        let (response, issued) = self.act(&account, refresh.as_deref(), mishap);
        match mishap {
            Mishap::LostAfter => {
                pause(latency).await;
                return Err(lost());
            }
            Mishap::TooLate => pause(LIMIT.as_millis() as Ms + latency).await,
            Mishap::Slow => pause(3 * SECOND + latency * 6).await,
            _ => pause(latency).await,
        }
        if let Some(issued) = issued {
            let mut state = self.state();
            let family = state.families.get_mut(&account).expect("issued");
            let now = self.sky.now();
            // An answer that was overtaken is no news.
            if family.current == issued.refresh {
                family.delivered = (issued.refresh, now);
                if mishap != Mishap::Unreadable {
                    family.served = (now, now + issued.life);
                }
            }
        }
        Ok(response)
    }

    fn see_that_it_is_the_newest(&self, state: &State, account: &str, token: &str) {
        let Some(family) = state.families.get(account) else {
            return;
        };
        if family.delivered.0 != token {
            self.findings.add(format!(
                "{account} presented {token} although {} had reached it",
                family.delivered.0
            ));
        }
    }

    async fn fault(&self, fault: Fault, latency: Ms) -> Result<Response<Vec<u8>>, HttpError> {
        pause(latency).await;
        match fault {
            Fault::Unreachable => Err(HttpError::Unreachable {
                host: self.name.clone(),
                reason: "connection refused".into(),
            }),
            Fault::Silent => {
                pause(10 * DAY).await;
                Err(lost())
            }
            Fault::Page(status) => Ok(self.page(status, "text/html", "<h1>trouble</h1>")),
            Fault::Portal => Ok(self.page(200, "text/html", "<h1>Log in first</h1>")),
            Fault::Busy {
                status,
                after,
                dated,
            } => {
                self.tell_to_wait(after.min(RETRY_AFTER_MAX));
                let mut response = self.page(status, "application/json", "{}");
                let after = match dated {
                    true => http_date(self.sky.date() + jiff::SignedDuration::from_millis(after)),
                    false => (after / SECOND).to_string(),
                };
                let after = after.parse().expect("a header");
                response.headers_mut().insert("Retry-After", after);
                Ok(response)
            }
            Fault::Unavailable => Ok(self.error("temporarily_unavailable", "")),
            Fault::Secret => Ok(self.error("invalid_client", "AADSTS7000222: expired")),
            Fault::Loop => {
                self.tell_to_wait(HOUR);
                Ok(self.error("invalid_grant", "AADSTS50196: a loop"))
            }
        }
    }

    fn tell_to_wait(&self, time: Ms) {
        // HTTP dates have no fractions.
        let until = self.sky.now() + time - SECOND;
        let mut state = self.state();
        state.quiet_until = state.quiet_until.max(until);
    }

    /// Does what the request asks for.
    fn act(
        &self,
        account: &str,
        refresh: Option<&str>,
        mishap: Mishap,
    ) -> (Response<Vec<u8>>, Option<Issued>) {
        let (now, habits) = (self.sky.now(), self.habits[account]);
        let mut state = self.state();
        let number = state.requests;
        let family = state.families.get_mut(account).expect("signed in");
        if let Some(token) = refresh
            && let Err(death) = family.take(token, habits, now, number)
        {
            let words = match death {
                Death::Lapsed => {
                    self.findings
                        .add(format!("{account} lapsed for want of use"));
                    "AADSTS700082: not used"
                }
                _ => "no longer good",
            };
            return (self.error("invalid_grant", words), None);
        }
        let issued = self.issue(&mut state, account, habits, now);
        let mut body = json!({"access_token": issued.access, "token_type": "Bearer"});
        let seconds = issued.life / SECOND;
        let mut dice = Dice::of(self.seed, (account, "told", now));
        let told = match habits.told {
            Told::Number => Some(json!(seconds)),
            Told::Text => Some(json!(seconds.to_string())),
            Told::Fraction => Some(json!(seconds as f64 + 0.7)),
            Told::Nothing | Told::Jwt => None,
            Told::Zero => Some(json!(dice.pick(&[0, -1]))),
            Told::Huge => Some(json!(1e15)),
        };
        if let Some(told) = told {
            body["expires_in"] = told;
        }
        if refresh.is_some() && habits.rotation != Rotation::Never {
            body["refresh_token"] = json!(issued.refresh);
        }
        if let Some(life) = issued.sign_in_life {
            body["refresh_expires_in"] = json!(life / SECOND);
        }
        if mishap == Mishap::Unreadable {
            body["access_token"] = json!(["what is this"]);
        }
        let response = self.page(200, "application/json", &body.to_string());
        (response, Some(issued))
    }

    fn error(&self, error: &str, description: &str) -> Response<Vec<u8>> {
        let body = json!({"error": error, "error_description": description});
        self.page(400, "application/json", &body.to_string())
    }

    fn page(&self, status: u16, kind: &str, body: &str) -> Response<Vec<u8>> {
        Response::builder()
            .status(status)
            .header("Content-Type", kind)
            .header("Date", http_date(self.sky.date()))
            .body(body.as_bytes().to_vec())
            .expect("a response")
    }
}

impl Family {
    fn end(&mut self, death: Death) {
        self.death.get_or_insert(death);
    }

    /// Takes a refresh token, and makes its successor.
    fn take(&mut self, token: &str, habits: Habits, now: Ms, number: u64) -> Result<(), Death> {
        if now - self.used_at > habits.idle {
            self.end(Death::Lapsed);
        }
        if let SignIn::Rolling(life) = habits.sign_in
            && now - self.used_at > life
        {
            self.end(Death::Lapsed);
        }
        if self.ends.is_some_and(|ends| now >= ends) {
            self.end(Death::Ended);
        }
        if let Some(death) = self.death {
            return Err(death);
        }
        let next = format!("{}/{number}", self.stem);
        match (&self.former, habits.rotation) {
            (_, Rotation::Never) => {}
            (_, Rotation::Lenient) => self.current = next,
            (_, Rotation::Strict { grace }) if token == self.current => {
                let former = std::mem::replace(&mut self.current, next);
                self.former = Some((former, now + grace));
            }
            // The answer was lost: the same once more.
            (Some((former, until)), _) if former == token && now <= *until => {}
            _ => {
                self.end(Death::Reused);
                return Err(Death::Reused);
            }
        }
        self.used_at = now;
        Ok(())
    }
}

impl Carrier for Provider {
    fn carry<'c>(&'c self, request: Request<Vec<u8>>, _: &'c str) -> Carried<'c> {
        let form = url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        Box::pin(self.answer(form))
    }

    fn now(&self) -> Timestamp {
        self.sky.wall()
    }
}

async fn pause(time: Ms) {
    tokio::time::sleep(Duration::from_millis(time.unsigned_abs())).await;
}

fn lost() -> HttpError {
    HttpError::Lost {
        host: "provider".into(),
        reason: "connection reset".into(),
    }
}

fn http_date(time: Timestamp) -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .expect("a date")
}
