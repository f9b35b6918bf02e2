//! Where hashing happens: on blocking threads, few at once, with a bounded queue, so that strangers cannot buy much of our processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::hash::{self, Cost, HashError};

/// Hashes at once: 19 MiB and a core each.
const RUNNING: usize = 2;
/// Logins that wait for their turn, in all.
const WAITING: usize = 64;

/// The bounded crew that checks hashes.
pub(super) struct Workers {
    tickets: Semaphore,
    running: Arc<Semaphore>,
    hashed: AtomicU64,
    /// How many run, and how many ever ran at once.
    #[cfg(test)]
    gauge: Arc<(AtomicU64, AtomicU64)>,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self {
            tickets: Semaphore::new(RUNNING + WAITING),
            running: Arc::new(Semaphore::new(RUNNING)),
            hashed: AtomicU64::new(0),
            #[cfg(test)]
            gauge: Arc::default(),
        }
    }

    /// A place in the queue until it is dropped; `None` if the queue is full.
    pub(super) fn ticket(&self) -> Option<Ticket<'_>> {
        let _place = self.tickets.try_acquire().ok()?;
        let workers = self;
        Some(Ticket { workers, _place })
    }

    #[cfg(test)]
    pub(super) fn most_at_once(&self) -> u64 {
        self.gauge.1.load(Ordering::SeqCst)
    }

    /// How many hashes were computed.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }
}

/// The right to have hashes checked, in turn.
pub(super) struct Ticket<'a> {
    workers: &'a Workers,
    _place: SemaphorePermit<'a>,
}

impl Ticket<'_> {
    /// Whether `password` is what was hashed. If this is given up while it runs, its turn still lasts until the hash is done.
    pub(super) async fn verify(&self, hash: Arc<str>, password: Arc<Zeroizing<Vec<u8>>>) -> bool {
        let verify = move || hash::verify(&hash, &password);
        self.in_turn(verify).await.unwrap_or(false)
    }

    /// A new hash of `password`.
    pub(super) async fn make(
        &self,
        cost: &Cost,
        password: Arc<Zeroizing<Vec<u8>>>,
    ) -> Result<String, HashError> {
        let cost = cost.clone();
        let make = move || hash::hash_at(&cost, &password);
        let made = self.in_turn(make).await;
        made.unwrap_or_else(|| Err(HashError("mailwicket is ending".to_owned())))
    }

    /// What `work` gives in its turn; `None` only when the process ends.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let running = self.workers.running.clone();
        // The semaphore is never closed; if it were, nothing would be right.
        let turn = running.acquire_owned().await.ok()?;
        self.workers.hashed.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        let gauge = Arc::clone(&self.workers.gauge);
        let work = move || {
            let _turn = turn;
            #[cfg(test)]
            let running = gauge.0.fetch_add(1, Ordering::SeqCst) + 1;
            #[cfg(test)]
            gauge.1.fetch_max(running, Ordering::SeqCst);
            let done = work();
            #[cfg(test)]
            gauge.0.fetch_sub(1, Ordering::SeqCst);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_and_places_come_back() {
        let workers = Workers::new();
        let tickets: Vec<_> = (0..RUNNING + WAITING).map(|_| workers.ticket()).collect();
        assert!(tickets.iter().all(Option::is_some));
        assert!(workers.ticket().is_none());
        drop(tickets);
        assert!(workers.ticket().is_some());
    }
}
