//! How many connections may be there at once, before and after login.
//!
//! Who has logged in keeps its place. Who has not may lose it: when a source, or all of them together, have taken every place, the
//! oldest stranger has to go, of the source that has most of them. So somebody who opens connections and says nothing keeps nobody
//! out, and himself only.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::source::Source;

/// The places of all listeners.
#[derive(Clone)]
pub struct Places {
    limits: Arc<Limits>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    /// Connections in all.
    all: usize,
    /// The same by source; nobody is listed with none.
    by_source: HashMap<Source, usize>,
    strangers: usize,
    /// Who has not logged in, by source, the oldest first; no source is listed without any.
    waiting: HashMap<Source, BTreeMap<u64, CancellationToken>>,
    next: u64,
}

/// No place is left, and nobody can be asked to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The key of `[limits]` that says so.
    pub limit: &'static str,
}

/// The place of a connection; it is free again when this is dropped.
pub struct Place {
    source: Source,
    taken: Arc<Mutex<Taken>>,
}

/// The place of a connection that has not logged in; it is free again when this is dropped.
pub struct Stranger {
    source: Source,
    number: u64,
    evicted: CancellationToken,
    taken: Arc<Mutex<Taken>>,
}

impl Stranger {
    /// Set when this one has to go, so that another may come.
    pub fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Places {
    /// Places as the configuration allows them.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: Arc::new(limits.clone()),
            taken: Arc::default(),
        }
    }

    /// Places for somebody who has just come.
    ///
    /// # Errors
    /// [`Full`], if nobody has to go for it.
    pub fn take(&self, source: IpAddr) -> Result<(Stranger, Place), Full> {
        let source = Source::from(source);
        let limits = &self.limits;
        let mut taken = lock(&self.taken);
        if taken.all >= limits.sessions {
            return Err(Full { limit: "sessions" });
        }
        let here = taken.by_source.get(&source).copied().unwrap_or_default();
        if limits.sessions_per_source.is_some_and(|most| here >= most) {
            let limit = "sessions-per-source";
            return Err(Full { limit });
        }
        if taken.strangers_of(source) >= limits.before_login_per_source {
            taken.evict_oldest_of(source);
        } else if taken.strangers >= limits.before_login {
            taken.evict_oldest_of_most();
        }
        let (number, evicted) = taken.admit(source);
        drop(taken);
        let stranger = Stranger {
            source,
            number,
            evicted,
            taken: Arc::clone(&self.taken),
        };
        let place = Place {
            source,
            taken: Arc::clone(&self.taken),
        };
        Ok((stranger, place))
    }
}

impl Taken {
    fn strangers_of(&self, source: Source) -> usize {
        self.waiting.get(&source).map_or(0, BTreeMap::len)
    }

    fn admit(&mut self, source: Source) -> (u64, CancellationToken) {
        let number = self.next;
        self.next += 1;
        self.all += 1;
        *self.by_source.entry(source).or_default() += 1;
        self.strangers += 1;
        let evicted = CancellationToken::new();
        let waiting = self.waiting.entry(source).or_default();
        waiting.insert(number, evicted.clone());
        (number, evicted)
    }

    fn evict_oldest_of_most(&mut self) {
        let oldest = |waiting: &BTreeMap<u64, _>| waiting.keys().next().copied();
        // There are no more sources than strangers, which are few.
        let most = self
            .waiting
            .iter()
            .max_by_key(|(_, waiting)| (waiting.len(), std::cmp::Reverse(oldest(waiting))));
        if let Some(source) = most.map(|(source, _)| *source) {
            self.evict_oldest_of(source);
        }
    }

    /// The place is free at once; whoever had it says a last word and ends.
    fn evict_oldest_of(&mut self, source: Source) {
        let oldest = self.waiting.get(&source).and_then(|waiting| {
            let (number, evicted) = waiting.first_key_value()?;
            evicted.cancel();
            Some(*number)
        });
        if let Some(number) = oldest {
            self.forget_stranger(source, number);
        }
    }

    /// Does nothing if it was evicted before.
    fn forget_stranger(&mut self, source: Source, number: u64) {
        let Some(waiting) = self.waiting.get_mut(&source) else {
            return;
        };
        if waiting.remove(&number).is_some() {
            self.strangers -= 1;
        }
        if waiting.is_empty() {
            self.waiting.remove(&source);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.taken).forget_stranger(self.source, self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(count) = taken.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

/// Every change is complete when the lock is given back.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(change: impl FnOnce(&mut Limits)) -> Places {
        let mut limits = Limits::default();
        change(&mut limits);
        Places::new(&limits)
    }

    fn take(places: &Places, source: &str) -> (Stranger, Place) {
        match places.take(source.parse().unwrap()) {
            Ok(taken) => taken,
            Err(full) => panic!("{full:?}"),
        }
    }

    #[test]
    fn the_oldest_stranger_of_a_source_makes_room_for_its_newest() {
        let places = places(|limits| limits.before_login_per_source = 2);
        let here: Vec<_> = (0..4).map(|_| take(&places, "192.0.2.1")).collect();
        let elsewhere = take(&places, "192.0.2.2");
        let evicted: Vec<_> = here.iter().map(|(s, _)| s.evicted.is_cancelled()).collect();
        assert_eq!(evicted, [true, true, false, false]);
        assert!(!elsewhere.0.evicted.is_cancelled());
    }

    #[test]
    fn a_flood_from_one_source_makes_room_for_everybody_else() {
        let places = places(|limits| {
            limits.before_login = 8;
            limits.before_login_per_source = 6;
        });
        let flood: Vec<_> = (0..300).map(|_| take(&places, "192.0.2.1")).collect();
        let good: Vec<_> = (2..6)
            .map(|n| take(&places, &format!("192.0.2.{n}")))
            .collect();
        assert!(good.iter().all(|(s, _)| !s.evicted.is_cancelled()));
        let left = flood.iter().filter(|(s, _)| !s.evicted.is_cancelled());
        assert_eq!(left.count(), 4);
        assert_eq!(lock(&places.taken).strangers, 8);
    }

    #[test]
    fn who_has_logged_in_is_not_asked_to_go_and_every_place_comes_back() {
        let places = places(|limits| limits.before_login_per_source = 1);
        let (stranger, place) = take(&places, "::1");
        let evicted = stranger.evicted();
        drop(stranger);
        let next = take(&places, "::2"); // of the same network
        assert!(!evicted.is_cancelled());
        assert_eq!(lock(&places.taken).all, 2);
        drop((next, place));
        let taken = lock(&places.taken);
        assert_eq!((taken.all, taken.strangers), (0, 0));
        assert!(taken.by_source.is_empty() && taken.waiting.is_empty());
    }

    #[test]
    fn beyond_the_sessions_of_all_or_of_a_source_nobody_is_let_in() {
        let places = places(|limits| {
            limits.sessions = 3;
            limits.sessions_per_source = Some(2);
        });
        let refused = |source: &str| places.take(source.parse().unwrap()).err();
        let first = take(&places, "192.0.2.1");
        let _second = take(&places, "192.0.2.1");
        let limit = "sessions-per-source";
        assert_eq!(refused("192.0.2.1"), Some(Full { limit }));
        let _third = take(&places, "192.0.2.2");
        assert_eq!(refused("192.0.2.3"), Some(Full { limit: "sessions" }));
        drop(first);
        take(&places, "192.0.2.1");
    }
}
