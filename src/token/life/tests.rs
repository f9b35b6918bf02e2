use proptest::prelude::*;
use secrecy::SecretString;

use super::*;
use crate::config::Provider;
use crate::oauth::response::Answer;
use crate::token::AccessToken;
use crate::token::grant::Grant;

const HOUR: u64 = 3600;

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::try_from(second).expect("small")).expect("in range")
}

fn life() -> Life {
    Life::new(State::Ok, at(0))
}

fn hour_long() -> Option<Span> {
    Some(Span::new(at(0), Some(Duration::from_secs(HOUR))))
}

fn trouble(class: Class) -> Trouble {
    Trouble {
        class,
        retry_after: None,
        reason: "it failed".into(),
        remedy: String::new(),
    }
}

fn off() -> Brake {
    Brake::default()
}

fn upkeep(span: Option<Span>) -> Upkeep {
    Upkeep {
        span,
        used_at: at(0),
        refresh_until: None,
        can_lapse: true,
        luck: 0.5,
    }
}

#[test]
fn a_token_is_renewed_five_minutes_or_a_tenth_of_its_life_ahead() {
    let span = |life| Span::new(at(0), Some(Duration::from_secs(life)));
    assert_eq!(span(HOUR).refresh_at(0.5), at(HOUR - 360));
    assert_eq!(span(1800).refresh_at(0.5), at(1800 - 300));
    assert_eq!(span(24 * HOUR).refresh_at(0.5), at(24 * HOUR * 9 / 10));
    assert_eq!(span(HOUR).refresh_at(0.0), at(HOUR - 330));
    assert_eq!(span(HOUR).refresh_at(1.0), at(HOUR - 390));
}

#[test]
fn a_very_short_life_is_used_for_its_first_half() {
    let span = Span::new(at(0), Some(Duration::from_secs(6)));
    assert!(span.refresh_at(1.0) >= after(at(2), Duration::from_millis(500)));
    assert!(span.refresh_at(0.0) < at(4));
    assert!(
        span.is_fit(at(4)) && !span.is_fit(at(5)) && span.is_alive(at(5)) && !span.is_alive(at(6))
    );
}

#[test]
fn a_token_with_less_than_a_minute_is_renewed_for_a_login() {
    assert_eq!(
        life().at_login(hour_long(), at(HOUR - 60), &off()),
        Step::Serve
    );
    assert_eq!(
        life().at_login(hour_long(), at(HOUR - 59), &off()),
        Step::Renew
    );
    assert_eq!(life().at_login(None, at(0), &off()), Step::Renew);
}

#[test]
fn with_the_endpoint_down_the_token_serves_until_its_very_end() {
    let mut life = life();
    life.failed(at(HOUR - 30), &trouble(Class::Retry), 1.0);
    assert_eq!(life.state, State::Retrying);
    assert_eq!(
        life.at_login(hour_long(), at(HOUR - 30), &off()),
        Step::Serve
    );
    life.failed(
        at(HOUR - 20),
        &Trouble {
            retry_after: Some(Duration::from_secs(90)),
            ..trouble(Class::Retry)
        },
        0.0,
    );
    assert_eq!(
        life.at_login(hour_long(), at(HOUR - 1), &off()),
        Step::Serve
    );
    assert_eq!(life.at_login(hour_long(), at(HOUR), &off()), Step::Refuse);
    assert_eq!(
        life.at_login(hour_long(), at(HOUR + 70), &off()),
        Step::Renew
    );
}

#[test]
fn a_lost_consent_is_never_asked_about_again_but_the_token_serves_on() {
    let mut life = life();
    assert!(life.failed(at(10), &trouble(Class::Consent), 0.5));
    assert_eq!((life.state, life.since), (State::NeedsConsent, at(10)));
    assert_eq!(
        life.at_login(hour_long(), at(HOUR - 1), &off()),
        Step::Serve
    );
    assert_eq!(
        life.at_login(hour_long(), at(100 * HOUR), &off()),
        Step::Refuse
    );
    assert_eq!(life.when_refused(at(100 * HOUR), &off()), Step::Refuse);
    assert_eq!(life.due(&upkeep(hour_long()), at(100 * HOUR)), None);
    assert_eq!(life.next_try(at(10)), None);
}

#[test]
fn a_broken_registration_is_asked_about_rarely_so_that_a_renewed_secret_works() {
    let mut life = life();
    life.failed(at(0), &trouble(Class::Config), 0.0);
    assert_eq!(life.state, State::ConfigError);
    assert_eq!(life.at_login(None, at(299), &off()), Step::Refuse);
    assert_eq!(life.at_login(None, at(300), &off()), Step::Renew);
    for _ in 0..20 {
        life.failed(at(300), &trouble(Class::Config), 1.0);
    }
    assert_eq!(life.next_try(at(300)), Some(at(300 + HOUR)));
}

#[test]
fn waits_grow_from_one_second_to_a_minute_and_keep_retry_after() {
    let mut backoff = Backoff::default();
    let mut waits = Vec::new();
    for _ in 0..9 {
        backoff.failed(at(0), &trouble(Class::Retry), 1.0);
        waits.push(gap(at(0), backoff.until(at(0)).expect("waiting")).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    backoff.failed(at(0), &asked_to_wait(300), 0.0);
    assert_eq!(backoff.until(at(0)), Some(at(300)));
    backoff.failed(at(0), &asked_to_wait(u64::MAX), 0.0);
    assert_eq!(backoff.until(at(0)), Some(at(HOUR)));
}

#[test]
fn a_refused_token_is_renewed_once_a_minute_at_most() {
    let mut life = life();
    assert_eq!(life.when_refused(at(0), &off()), Step::Renew);
    life.forced(at(0));
    life.succeeded(at(1));
    assert_eq!(life.when_refused(at(59), &off()), Step::Refuse);
    assert_eq!(life.when_refused(at(60), &off()), Step::Renew);
}

#[test]
fn success_heals_and_says_so_once() {
    let mut life = life();
    assert!(!life.succeeded(at(1)));
    assert!(life.failed(at(2), &trouble(Class::Retry), 0.5));
    assert!(!life.failed(at(3), &trouble(Class::Retry), 0.5));
    assert_eq!(life.since, at(2));
    assert!(life.succeeded(at(4)));
    assert_eq!(
        (life.state, life.reason.as_str(), life.next_try(at(4))),
        (State::Ok, "", None)
    );
}

#[test]
fn an_idle_account_is_kept_alive_weekly_and_a_used_one_is_renewed_ahead() {
    let day = 24 * HOUR;
    let idle = Upkeep {
        luck: 0.0,
        ..upkeep(hour_long())
    };
    assert_eq!(life().due(&idle, at(HOUR)), Some(at(HOUR - 330)));
    assert_eq!(life().due(&idle, at(2 * day)), Some(at(7 * day)));
    let short = Upkeep {
        refresh_until: Some(at(4 * day)),
        ..idle
    };
    assert_eq!(life().due(&short, at(day)), Some(at(2 * day)));
    let application = Upkeep {
        can_lapse: false,
        ..idle
    };
    assert_eq!(life().due(&application, at(2 * day)), None);
}

#[test]
fn after_a_failure_that_concerns_all_one_request_goes_first() {
    let mut brake = off();
    assert!(brake.admit(at(0)) && brake.admit(at(0)));
    brake.failed(at(0), &trouble(Class::Retry), 0.0);
    assert!(!brake.admit(at(0)) && brake.trouble(at(0)).is_some());
    assert!(brake.admit(at(1)) && !brake.admit(at(1)) && !brake.is_off(at(2)));
    assert_eq!(
        life().at_login(hour_long(), at(HOUR), &brake),
        Step::Renew,
        "a probe that never ended is forgotten"
    );
    brake.release();
    assert!(brake.admit(at(2)) && brake.admit(at(2)));
}

#[test]
fn a_reload_ends_waits_but_those_that_the_provider_asked_for() {
    for (trouble, may_ask) in [
        (trouble(Class::Config), true),
        (trouble(Class::Retry), true),
        (asked_to_wait(300), false),
    ] {
        let (mut life, mut brake) = (life(), off());
        life.failed(at(0), &trouble, 1.0);
        brake.failed(at(0), &trouble, 1.0);
        for _ in 0..2 {
            life.reconsidered();
            brake.reconsidered();
            assert_eq!(
                (life.may_ask(at(0)), brake.is_off(at(0))),
                (may_ask, may_ask)
            );
        }
        assert!(life.may_ask(at(330)) && brake.admit(at(330)));
        assert!(!brake.is_off(at(331)), "one request goes first");
    }
}

#[test]
fn a_reload_brings_no_lost_consent_back() {
    let mut life = life();
    life.failed(at(0), &trouble(Class::Consent), 0.5);
    life.reconsidered();
    assert!(!life.may_ask(at(0)));
}

const YEAR: u64 = 365 * 24 * HOUR;

fn asked_to_wait(seconds: u64) -> Trouble {
    Trouble {
        retry_after: Some(Duration::from_secs(seconds)),
        ..trouble(Class::Retry)
    }
}

#[test]
fn a_clock_that_was_set_back_ends_the_waits_that_began_before() {
    for trouble in [
        trouble(Class::Retry),
        trouble(Class::Config),
        asked_to_wait(HOUR),
    ] {
        let (mut life, mut brake) = (life(), off());
        life.failed(at(YEAR), &trouble, 1.0);
        brake.failed(at(YEAR), &trouble, 1.0);
        assert_eq!(life.at_login(None, at(YEAR), &off()), Step::Refuse);
        assert!(life.may_ask(at(0)) && life.next_try(at(0)).is_none());
        assert_eq!(life.due(&upkeep(None), at(0)), Some(at(0)));
        assert!(brake.is_off(at(0)) && brake.until(at(0)).is_none());
        assert!(brake.admit(at(0)), "and a probe begins");
        assert!(!brake.is_off(at(1)));
    }
}

#[test]
fn a_clock_that_is_corrected_a_little_ends_no_wait() {
    let (mut life, mut brake) = (life(), off());
    life.failed(at(100), &asked_to_wait(300), 0.0);
    brake.failed(at(100), &asked_to_wait(300), 0.0);
    for second in [41, 100, 399] {
        assert!(!life.may_ask(at(second)) && !brake.is_off(at(second)));
    }
    assert!(life.may_ask(at(400)) && brake.is_off(at(400)));
}

#[test]
fn a_clock_that_was_set_forward_ends_every_wait() {
    let (mut life, mut brake) = (life(), off());
    life.failed(at(0), &asked_to_wait(HOUR), 1.0);
    brake.failed(at(0), &asked_to_wait(HOUR), 1.0);
    life.forced(at(0));
    assert_eq!(life.at_login(hour_long(), at(YEAR), &brake), Step::Renew);
    assert_eq!(life.when_refused(at(YEAR), &brake), Step::Renew);
    assert!(
        life.due(&upkeep(hour_long()), at(YEAR))
            .is_some_and(|due| due <= at(YEAR))
    );
    assert!(brake.admit(at(YEAR)));
}

#[test]
fn a_renewal_of_the_future_is_none_of_a_moment_ago() {
    let mut life = life();
    life.forced(at(YEAR));
    assert!(life.was_just_forced(at(YEAR + 59)));
    assert_eq!(life.when_refused(at(0), &off()), Step::Renew);
}

#[test]
fn a_token_of_the_future_is_renewed_but_serves_if_there_is_no_other() {
    let span = Some(Span::new(at(YEAR), Some(Duration::from_secs(HOUR))));
    assert_eq!(life().at_login(span, at(0), &off()), Step::Renew);
    let mut failing = life();
    failing.failed(at(0), &trouble(Class::Retry), 1.0);
    assert_eq!(failing.at_login(span, at(0), &off()), Step::Serve);
    let idle = Upkeep {
        used_at: at(0),
        ..upkeep(span)
    };
    assert_eq!(
        life().due(&idle, at(2 * 24 * HOUR)),
        Some(at(2 * 24 * HOUR))
    );
}

fn refresh_token(number: u32) -> SecretString {
    format!("refresh-{number}").into()
}

fn registration() -> Provider {
    crate::oauth::testing::provider(&"https://id.example/token".parse().expect("url"))
}

fn answer(life: u64, rotated: Option<u32>) -> Answer {
    Answer {
        access_token: AccessToken::new("token".to_owned().into()).expect("a token"),
        expires_in: Some(Duration::from_secs(life)),
        refresh_token: rotated.map(refresh_token),
        refresh_expires_in: None,
        scopes: None,
        id_token: None,
    }
}

/// What a simulated endpoint does with one request.
#[derive(Clone, Debug)]
enum Fate {
    Token {
        life: u16,
        rotate: bool,
    },
    Trouble {
        class: Class,
        retry_after: Option<u16>,
    },
}

fn fate() -> impl Strategy<Value = Fate> {
    let class =
        prop_oneof![8 => Just(Class::Retry), 1 => Just(Class::Config), 1 => Just(Class::Consent)];
    prop_oneof![
        (1..7200u16, any::<bool>()).prop_map(|(life, rotate)| Fate::Token { life, rotate }),
        (class, proptest::option::of(0..600u16))
            .prop_map(|(class, retry_after)| Fate::Trouble { class, retry_after }),
    ]
}

/// An event: so many seconds pass, then somebody logs in (or the upkeep looks), with this luck, and this is the answer if one is asked.
fn event() -> impl Strategy<Value = (u16, bool, f64, Fate)> {
    (0..1000u16, any::<bool>(), 0.0..=1.0f64, fate())
}

proptest! {
    #[test]
    fn whatever_the_endpoint_does(events in proptest::collection::vec(event(), 1..200)) {
        let mut life = life();
        let mut span: Option<Span> = None;
        let mut issued = 0u32;
        let mut grant = Grant::new(&registration(), &answer(1, Some(issued)), at(0));
        let mut quiet_until = at(0);
        let mut consent_lost = false;
        let mut now = at(0);
        for (seconds, is_login, luck, fate) in events {
            now = after(now, Duration::from_secs(seconds.into()));
            let asks = if is_login {
                let step = life.at_login(span, now, &off());
                if let Some(span) = span && span.is_alive(now) {
                    prop_assert_ne!(step, Step::Refuse, "a living token was not served");
                }
                step == Step::Renew
            } else {
                life.due(&Upkeep { luck, ..upkeep(span) }, now).is_some_and(|due| due <= now)
            };
            if !asks { continue }
            prop_assert!(now >= quiet_until, "asked within the back-off");
            prop_assert!(!consent_lost, "asked after the consent was lost");
            match fate {
                Fate::Token { life: seconds, rotate } => {
                    span = Some(Span::new(now, Some(Duration::from_secs(seconds.into()))));
                    if rotate { issued += 1; }
                    grant = grant.renewed(&answer(seconds.into(), rotate.then_some(issued)), now);
                    life.succeeded(now);
                    quiet_until = now;
                }
                Fate::Trouble { class, retry_after } => {
                    let retry_after = retry_after.map(|s| Duration::from_secs(s.into()));
                    life.failed(now, &Trouble { class, retry_after, ..trouble(class) }, luck);
                    consent_lost = class == Class::Consent;
                    quiet_until = after(now, retry_after.unwrap_or_default().max(Duration::from_secs(1)));
                    if let Some(next) = life.next_try(now) { prop_assert!(next >= quiet_until) }
                }
            }
            grant = Grant::from_bytes(&grant.in_state(&life).to_bytes()).expect("what was written is read");
            prop_assert!(grant.has_refresh_token(&refresh_token(issued)), "the newest refresh token was lost");
            prop_assert_eq!(grant.life().state, life.state);
        }
    }
}

#[test]
fn an_endpoint_that_is_broken_for_three_accounts_in_a_row_is_broken_for_all() {
    let mut brake = off();
    let broken = trouble(Class::Retry);
    for _ in 0..10 {
        brake.doubted("alice", at(0), &broken, 0.0);
        brake.doubted("bob", at(0), &broken, 0.0);
    }
    assert!(brake.is_off(at(0)), "two accounts may be ill themselves");
    brake.release();
    brake.doubted("carol", at(0), &broken, 0.0);
    assert!(brake.is_off(at(0)), "in a row");
    brake.doubted("alice", at(0), &broken, 0.0);
    brake.doubted("bob", at(0), &broken, 0.0);
    assert!(!brake.is_off(at(0)));
    assert!(brake.admit(at(1)) && !brake.admit(at(1)), "one goes first");
    brake.doubted("alice", at(2), &broken, 1.0);
    assert!(!brake.is_off(at(3)), "and decides for all");
}

#[test]
fn a_refresh_token_is_used_weekly_even_if_the_access_token_lives_for_a_year() {
    let span = Span::new(at(0), Some(Duration::from_secs(365 * 24 * HOUR)));
    let used = Upkeep {
        used_at: at(7 * 24 * HOUR),
        ..upkeep(Some(span))
    };
    let due = life().due(&used, at(7 * 24 * HOUR)).expect("due");
    assert!(due <= at(7 * 24 * HOUR), "{due}");
    let application = Upkeep {
        can_lapse: false,
        ..used
    };
    let due = life().due(&application, at(7 * 24 * HOUR)).expect("due");
    assert!(due > at(300 * 24 * HOUR), "nothing lapses there: {due}");
}
