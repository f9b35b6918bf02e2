//! Who has failed too often: buckets of failures that fill up again with time.
//!
//! Each source has a bucket for each login that it names. Those who have never logged in to that login share two wider ones besides,
//! one for their source and one for the login, so that neither many logins from one address nor many addresses at one login are a
//! way round. Whoever has logged in to a login from a source before is judged by the failures of that pair alone: nobody elsewhere can
//! lock them out.
//!
//! This knows neither passwords nor accounts nor clocks: a login that does not exist is a login like any other, and time is an
//! argument. It is bounded in memory, and keeps no login but a keyed hash of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::source::Source;

/// How much more the wider buckets hold: programs behind one address share one, and so do addresses at one login.
const WIDE: usize = 6;
/// Refusals that are answered after the usual delay, as many as a connection has; each further one doubles it.
const PATIENT: u32 = 3;
/// How often the delay doubles: one second becomes eight.
const DOUBLINGS: u32 = 3;
/// Buckets of each kind that are kept: some 1 MiB for each.
const MOST: usize = 16 * 1024;
/// The part that is dropped when there are more.
const DROPPED: usize = MOST / 16;
/// How long an empty bucket takes to be full.
const MINUTE: f64 = 60.0;

/// The failures of everybody since the start. It outlives reloads, so that nobody is forgiven by one.
#[derive(Debug)]
pub(super) struct Throttle {
    hasher: RandomState,
    books: Mutex<Books>,
}

/// Somebody and the login that they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    source: Source,
    login: u64,
}

#[derive(Debug)]
struct Books {
    pairs: Buckets<Pair>,
    sources: Buckets<Source>,
    logins: Buckets<u64>,
}

impl Throttle {
    /// Allows `per_minute` failures a minute for each source and login.
    pub(super) fn new(per_minute: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            books: Mutex::new(Books {
                pairs: Buckets::new(per_minute, MOST),
                sources: Buckets::new(per_minute.saturating_mul(WIDE), MOST),
                logins: Buckets::new(per_minute.saturating_mul(WIDE), MOST),
            }),
        }
    }

    /// `login` is as it was presented, folded.
    pub(super) fn pair(&self, source: IpAddr, login: &str) -> Pair {
        Pair {
            source: source.into(),
            login: self.hasher.hash_one(login),
        }
    }

    /// Whether a password that is known to be right may be taken without a hash. It may not where hashing is refused, or it could
    /// be guessed that way, except from where it came before.
    pub(super) fn trusts(&self, pair: Pair, now: Instant) -> bool {
        let mut books = self.books();
        books.pairs.at(pair, now).is_known || books.allow(pair, now)
    }

    /// Whether a password may be looked at. It counts as a failure until the try says something better.
    pub(super) fn begin(&self, pair: Pair, now: Instant) -> Option<Try<'_>> {
        let is_allowed = self.books().allow(pair, now);
        is_allowed.then(|| Try {
            throttle: self,
            pair,
            begun: now,
            is_open: true,
        })
    }

    /// Whether this pair has logged in before.
    pub(super) fn knows(&self, pair: Pair, now: Instant) -> bool {
        self.books().pairs.at(pair, now).is_known
    }

    /// Somebody logged in with a password that needed no hash, or had logged in before the start.
    pub(super) fn welcome(&self, pair: Pair, now: Instant) {
        self.books().pairs.at(pair, now).is_known = true;
    }

    /// How often the delay of this refusal doubles.
    pub(super) fn refuse(&self, pair: Pair, now: Instant) -> u32 {
        let mut books = self.books();
        let bucket = books.pairs.at(pair, now);
        bucket.refusals = bucket.refusals.saturating_add(1);
        bucket.refusals.saturating_sub(PATIENT).min(DOUBLINGS)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Every change is complete when the lock is given back.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn allow(&mut self, pair: Pair, now: Instant) -> bool {
        let own = self.pairs.at(pair, now);
        let (has_own, is_known) = (own.has_some(), own.is_known);
        let mut has_wide = || {
            self.sources.at(pair.source, now).has_some()
                && self.logins.at(pair.login, now).has_some()
        };
        has_own && (is_known || has_wide())
    }

    fn charge(&mut self, pair: Pair, now: Instant) {
        let own = self.pairs.at(pair, now);
        own.left -= 1.0;
        if !own.is_known {
            self.sources.at(pair.source, now).left -= 1.0;
            self.logins.at(pair.login, now).left -= 1.0;
        }
    }
}

/// A password that is being looked at. If nothing is said about it, also because the peer has gone away, it was a failure.
///
/// Tries at once are all allowed, or the first logins of many programs would take each other's places; a bucket may owe what they
/// took together, and they were no more than may wait for a hash.
pub(super) struct Try<'a> {
    throttle: &'a Throttle,
    pair: Pair,
    begun: Instant,
    is_open: bool,
}

impl Try<'_> {
    /// It was right: all is forgiven.
    pub(super) fn succeed(mut self, now: Instant) {
        self.is_open = false;
        let mut books = self.throttle.books();
        let full = books.pairs.full;
        let bucket = books.pairs.at(self.pair, now);
        (bucket.left, bucket.refusals, bucket.is_known) = (full, 0, true);
    }

    /// It was not looked at after all.
    pub(super) fn call_off(mut self) {
        self.is_open = false;
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // The time of the start: what it refilled meanwhile is not lost, and no clock is needed here.
            self.throttle.books().charge(self.pair, self.begun);
        }
    }
}

/// Buckets of the same size.
#[derive(Debug)]
struct Buckets<K> {
    full: f64,
    most: usize,
    by: HashMap<K, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Failures that are still allowed; fewer than none if several failed at once.
    left: f64,
    at: Instant,
    /// Refusals since the bucket was full.
    refusals: u32,
    /// Whether this pair has logged in.
    is_known: bool,
}

impl Bucket {
    fn has_some(&self) -> bool {
        self.left >= 1.0
    }
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    fn new(per_minute: usize, most: usize) -> Self {
        Self {
            full: per_minute as f64,
            most,
            by: HashMap::new(),
        }
    }

    /// The bucket as it is now.
    fn at(&mut self, key: K, now: Instant) -> &mut Bucket {
        if self.by.len() >= self.most && !self.by.contains_key(&key) {
            self.drop_fullest(now);
        }
        let full = self.full;
        let bucket = self.by.entry(key).or_insert(Bucket {
            left: full,
            at: now,
            refusals: 0,
            is_known: false,
        });
        bucket.left = refilled(bucket, full, now);
        bucket.at = bucket.at.max(now);
        if bucket.left >= full {
            bucket.refusals = 0;
        }
        bucket
    }

    /// Makes room. A full bucket says nothing that a new one would not; of the others, those go that would be full first. Whoever
    /// has logged in stays longest.
    fn drop_fullest(&mut self, now: Instant) {
        let full = self.full;
        let mut order: Vec<_> = self
            .by
            .iter()
            .map(|(key, bucket)| (bucket.is_known, -refilled(bucket, full, now), *key))
            .collect();
        let dropped = DROPPED.min(self.most / 16).max(1).min(order.len());
        order.select_nth_unstable_by(dropped - 1, |a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (_, _, key) in &order[..dropped] {
            self.by.remove(key);
        }
    }
}

fn refilled(bucket: &Bucket, full: f64, now: Instant) -> f64 {
    let passed: Duration = now.saturating_duration_since(bucket.at);
    (bucket.left + passed.as_secs_f64() * full / MINUTE).min(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A throttle of ten a minute, and hands on its clock.
    struct Bench {
        throttle: Throttle,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                throttle: Throttle::new(10),
                now: Instant::now(),
            }
        }

        fn pair(&self, source: &str, login: &str) -> Pair {
            self.throttle.pair(source.parse().unwrap(), login)
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// One wrong password; whether it was looked at.
        fn fails(&self, source: &str, login: &str) -> bool {
            let pair = self.pair(source, login);
            let tried = self.throttle.begin(pair, self.now).is_some();
            self.throttle.refuse(pair, self.now);
            tried
        }

        /// One right password; whether it was looked at.
        fn succeeds(&self, source: &str, login: &str) -> bool {
            let tried = self.throttle.begin(self.pair(source, login), self.now);
            tried.is_some_and(|tried| {
                tried.succeed(self.now);
                true
            })
        }
    }

    #[test]
    fn ten_failures_are_allowed_and_then_one_in_six_seconds() {
        let mut bench = Bench::new();
        for number in 0..10 {
            assert!(bench.fails("192.0.2.1", "alice"), "{number}");
        }
        assert!(!bench.fails("192.0.2.1", "alice"));
        assert!(!bench.succeeds("192.0.2.1", "alice"));
        // A guesser who never rests gets ten a minute.
        let mut looked_at = 0;
        for _ in 0..600 {
            bench.pass(1);
            looked_at += u32::from(bench.fails("192.0.2.1", "alice"));
        }
        assert!((99..=101).contains(&looked_at), "{looked_at}");
    }

    #[test]
    fn a_success_resets_the_pair_and_nothing_else() {
        let bench = Bench::new();
        for _ in 0..9 {
            bench.fails("192.0.2.1", "alice");
            bench.fails("192.0.2.1", "bob");
        }
        assert!(bench.succeeds("192.0.2.1", "alice"));
        for number in 0..10 {
            assert!(bench.fails("192.0.2.1", "alice"), "{number}");
        }
        assert!(bench.fails("192.0.2.1", "bob"));
        assert!(!bench.fails("192.0.2.1", "bob"));
    }

    #[test]
    fn failures_at_once_are_all_looked_at_and_paid_for_later() {
        let mut bench = Bench::new();
        let pair = bench.pair("192.0.2.1", "alice");
        let tries: Vec<_> = (0..40)
            .map(|_| bench.throttle.begin(pair, bench.now).expect("allowed"))
            .collect();
        drop(tries);
        bench.pass(60 * 3); // forty cost four minutes, and ten were free
        assert!(!bench.fails("192.0.2.1", "alice"));
        bench.pass(6);
        assert!(bench.fails("192.0.2.1", "alice"));
    }

    #[test]
    fn a_try_that_was_called_off_costs_nothing() {
        let bench = Bench::new();
        let pair = bench.pair("192.0.2.1", "alice");
        for _ in 0..100 {
            bench.throttle.begin(pair, bench.now).unwrap().call_off();
        }
        assert!(bench.fails("192.0.2.1", "alice"));
    }

    #[test]
    fn one_source_cannot_lock_another_out() {
        let mut bench = Bench::new();
        assert!(bench.succeeds("192.0.2.7", "alice"));
        for _ in 0..600 {
            bench.pass(1);
            bench.fails("192.0.2.1", "alice");
        }
        // Neither who was there before, nor who comes for the first time.
        assert!(bench.succeeds("192.0.2.7", "alice"));
        assert!(bench.succeeds("192.0.2.8", "alice"));
    }

    #[test]
    fn many_sources_together_cannot_lock_out_who_was_there_before() {
        let bench = Bench::new();
        assert!(bench.succeeds("192.0.2.7", "alice"));
        let looked_at = (0..200)
            .filter(|number| bench.fails(&format!("198.51.100.{number}"), "alice"))
            .count();
        assert_eq!(looked_at, 60);
        assert!(!bench.succeeds("198.51.100.250", "alice"));
        assert!(bench.succeeds("198.51.100.250", "bob"));
        assert!(bench.succeeds("192.0.2.7", "alice"));
    }

    #[test]
    fn many_logins_from_one_source_cannot_lock_out_the_programs_that_were_there_before() {
        let bench = Bench::new();
        assert!(bench.succeeds("127.0.0.1", "alice"));
        let looked_at = (0..200)
            .filter(|number| bench.fails("127.0.0.1", &format!("user{number}")))
            .count();
        assert_eq!(looked_at, 60);
        assert!(!bench.succeeds("127.0.0.1", "bob"));
        assert!(bench.succeeds("127.0.0.1", "alice"));
        assert!(bench.succeeds("127.0.0.2", "bob"));
    }

    #[test]
    fn one_program_does_not_use_up_what_its_source_may_fail() {
        let mut bench = Bench::new();
        for _ in 0..600 {
            bench.pass(1);
            bench.fails("127.0.0.1", "broken");
        }
        assert!(bench.succeeds("127.0.0.1", "alice"));
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_are_one_source() {
        let bench = Bench::new();
        let looked_at = (1..30)
            .filter(|number| bench.fails(&format!("2001:db8::{number:x}"), "alice"))
            .count();
        assert_eq!(looked_at, 10);
        assert!(bench.succeeds("2001:db8:0:1::1", "alice"));
    }

    #[test]
    fn delays_double_after_three_refusals_up_to_a_bound_and_time_forgives() {
        let mut bench = Bench::new();
        let pair = bench.pair("192.0.2.1", "alice");
        let refuse = |bench: &Bench| {
            drop(bench.throttle.begin(pair, bench.now));
            bench.throttle.refuse(pair, bench.now)
        };
        let doublings: Vec<_> = (0..8).map(|_| refuse(&bench)).collect();
        assert_eq!(doublings, [0, 0, 0, 1, 2, 3, 3, 3]);
        bench.pass(60);
        assert_eq!(refuse(&bench), 0);
    }

    #[test]
    fn a_known_password_is_taken_where_it_came_before_even_if_others_fail_there() {
        let bench = Bench::new();
        let (here, elsewhere) = (
            bench.pair("192.0.2.1", "alice"),
            bench.pair("192.0.2.2", "alice"),
        );
        bench.throttle.welcome(here, bench.now);
        for source in ["192.0.2.1", "192.0.2.2"] {
            while bench.fails(source, "alice") {}
        }
        assert!(bench.throttle.trusts(here, bench.now));
        assert!(!bench.throttle.trusts(elsewhere, bench.now));
        let fresh = bench.pair("192.0.2.3", "alice");
        assert!(bench.throttle.trusts(fresh, bench.now));
    }

    #[test]
    fn memory_is_bounded_and_neither_guessers_nor_the_known_are_forgotten_for_passers_by() {
        let bench = Bench::new();
        assert!(bench.succeeds("192.0.2.7", "alice"));
        while bench.fails("192.0.2.1", "alice") {}
        for number in 0..3 * MOST as u32 {
            let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            bench.fails(&source.to_string(), &format!("user{number}"));
        }
        let books = bench.throttle.books();
        assert!(books.pairs.by.len() <= MOST && books.sources.by.len() <= MOST);
        assert!(books.logins.by.len() <= MOST);
        drop(books);
        assert!(!bench.fails("192.0.2.1", "alice"));
        let known = bench.pair("192.0.2.7", "alice");
        assert!(bench.throttle.trusts(known, bench.now));
        while bench.fails("192.0.2.7", "alice") {}
        assert!(bench.throttle.trusts(known, bench.now));
    }
}
