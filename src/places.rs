//! How many connections may be there at once, before and after login.
//!
//! Who has logged in keeps its place. Who has not may lose it: when a source, or all of them together, have taken every place, the
//! oldest stranger has to go, of the source that has most of them. So somebody who opens connections and says nothing keeps nobody
//! out, and himself only.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::source::Source;

/// Connections without a place that hear so at once; each may take seconds for it, and a descriptor.
const FAREWELLS: usize = 64;

/// The places of all listeners.
#[derive(Clone)]
pub struct Places {
    limits: Arc<Limits>,
    taken: Arc<Mutex<Taken>>,
    farewells: Arc<Semaphore>,
}

#[derive(Default)]
struct Taken {
    /// Connections in all.
    all: usize,
    /// The same by source; nobody is listed with none.
    by_source: HashMap<Source, usize>,
    strangers: usize,
    /// Who has not logged in, by source, the oldest first; no source is listed without any. Those without a source come through a
    /// proxy that has not told it yet.
    waiting: HashMap<Option<Source>, BTreeMap<u64, CancellationToken>>,
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
    source: Option<Source>,
    taken: Arc<Mutex<Taken>>,
}

/// The place of a connection that has not logged in; it is free again when this is dropped.
pub struct Stranger {
    source: Option<Source>,
    number: u64,
    evicted: CancellationToken,
    taken: Arc<Mutex<Taken>>,
}

/// The places of a connection whose source is yet to be told. It counts among all, and for no source: a proxy carries many.
pub struct Unknown {
    stranger: Stranger,
    place: Place,
}

impl Unknown {
    /// Returns when this one has to go, so that another may come.
    pub async fn evicted(&self) {
        self.stranger.evicted.cancelled().await;
    }
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
            farewells: Arc::new(Semaphore::new(FAREWELLS)),
        }
    }

    /// The time to tell somebody that there is no place, until it is dropped; `None` if too many are being told so.
    pub fn farewell(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.farewells).try_acquire_owned().ok()
    }

    /// Places for somebody who has just come.
    ///
    /// # Errors
    /// [`Full`], if nobody has to go for it.
    pub fn take(&self) -> Result<Unknown, Full> {
        let mut taken = lock(&self.taken);
        if taken.all >= self.limits.sessions {
            return Err(Full { limit: "sessions" });
        }
        if taken.strangers >= self.limits.before_login {
            taken.evict_oldest_of_most();
        }
        let (number, evicted) = taken.admit();
        Ok(Unknown {
            stranger: Stranger {
                source: None,
                number,
                evicted,
                taken: Arc::clone(&self.taken),
            },
            place: Place {
                source: None,
                taken: Arc::clone(&self.taken),
            },
        })
    }

    /// The places of somebody whose source is known now.
    ///
    /// # Errors
    /// [`Full`], if that source has too many.
    pub fn settle(&self, unknown: Unknown, source: IpAddr) -> Result<(Stranger, Place), Full> {
        let source = Source::from(source);
        let limits = &self.limits;
        let Unknown {
            mut stranger,
            mut place,
        } = unknown;
        let mut taken = lock(&self.taken);
        let here = taken.by_source.get(&source).copied().unwrap_or_default();
        if limits.sessions_per_source.is_some_and(|most| here >= most) {
            drop(taken); // giving the places back takes it as well
            let limit = "sessions-per-source";
            return Err(Full { limit });
        }
        if taken.strangers_of(source) >= limits.before_login_per_source {
            taken.evict_oldest_of(Some(source));
        }
        taken.name(&stranger, source);
        drop(taken);
        (stranger.source, place.source) = (Some(source), Some(source));
        Ok((stranger, place))
    }
}

impl Taken {
    fn strangers_of(&self, source: Source) -> usize {
        self.waiting.get(&Some(source)).map_or(0, BTreeMap::len)
    }

    fn admit(&mut self) -> (u64, CancellationToken) {
        let number = self.next;
        self.next += 1;
        self.all += 1;
        self.strangers += 1;
        let evicted = CancellationToken::new();
        let waiting = self.waiting.entry(None).or_default();
        waiting.insert(number, evicted.clone());
        (number, evicted)
    }

    /// From now on it counts for its source. If it was evicted meanwhile it is no stranger any more, and only ends.
    fn name(&mut self, stranger: &Stranger, source: Source) {
        *self.by_source.entry(source).or_default() += 1;
        let before = self.strangers;
        self.forget_stranger(None, stranger.number);
        if self.strangers < before {
            self.strangers = before;
            let waiting = self.waiting.entry(Some(source)).or_default();
            waiting.insert(stranger.number, stranger.evicted.clone());
        }
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
    fn evict_oldest_of(&mut self, source: Option<Source>) {
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
    fn forget_stranger(&mut self, source: Option<Source>, number: u64) {
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
        let Some(source) = self.source else { return };
        if let Some(count) = taken.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&source);
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
        match come(places, source) {
            Ok(taken) => taken,
            Err(full) => panic!("{full:?}"),
        }
    }

    fn come(places: &Places, source: &str) -> Result<(Stranger, Place), Full> {
        places.settle(places.take()?, source.parse().unwrap())
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
        let refused = |source: &str| come(&places, source).err();
        let first = take(&places, "192.0.2.1");
        let _second = take(&places, "192.0.2.1");
        let limit = "sessions-per-source";
        assert_eq!(refused("192.0.2.1"), Some(Full { limit }));
        let _third = take(&places, "192.0.2.2");
        assert_eq!(refused("192.0.2.3"), Some(Full { limit: "sessions" }));
        drop(first);
        take(&places, "192.0.2.1");
    }
    #[test]
    fn whoever_comes_through_a_proxy_counts_among_all_and_then_for_its_source() {
        let places = places(|limits| {
            limits.before_login = 2;
            limits.before_login_per_source = 1;
        });
        let silent = places.take().ok().unwrap();
        let unknown = places.take().ok().unwrap();
        let (named, _place) = places
            .settle(unknown, "192.0.2.1".parse().unwrap())
            .ok()
            .unwrap();
        let next = take(&places, "192.0.2.2");
        assert!(silent.stranger.evicted.is_cancelled());
        assert!(!named.evicted.is_cancelled());
        // Evicted before it was named: it counts as a stranger no more.
        let late = places.settle(silent, "192.0.2.3".parse().unwrap());
        assert_eq!(lock(&places.taken).strangers, 2);
        drop((late, named, next));
        assert_eq!(lock(&places.taken).strangers, 0);
    }
}
