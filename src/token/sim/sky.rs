//! The time as it is, and as the clock on the machine's wall has it.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Milliseconds since the simulation began, or between two moments.
pub(super) type Ms = i64;

pub(super) const SECOND: Ms = 1000;
pub(super) const MINUTE: Ms = 60 * SECOND;
pub(super) const HOUR: Ms = 60 * MINUTE;
pub(super) const DAY: Ms = 24 * HOUR;

/// 1 January 2027.
const EPOCH: i64 = 1_798_761_600;

#[derive(Debug, Default)]
pub(super) struct Sky(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    /// The true time when the process began, and whatever the machine slept since.
    base: Ms,
    /// When the process began, by its timers.
    since: Option<Instant>,
    /// By how much the machine's clock is ahead.
    error: Ms,
}

impl Marks {
    fn now(&self) -> Ms {
        self.base
            + self
                .since
                .map_or(0, |since| since.elapsed().as_millis() as Ms)
    }
}

impl Sky {
    fn marks(&self) -> std::sync::MutexGuard<'_, Marks> {
        self.0.lock().expect("the sky")
    }

    /// The true time.
    pub(super) fn now(&self) -> Ms {
        self.marks().now()
    }

    /// The true time for people.
    pub(super) fn date(&self) -> Timestamp {
        date(self.now())
    }

    /// What the machine's clock shows.
    pub(super) fn wall(&self) -> Timestamp {
        let marks = self.marks();
        date(marks.now() + marks.error)
    }

    /// A process begins; its timers start.
    pub(super) fn begin(&self) {
        self.marks().since = Some(Instant::now());
    }

    /// The process is over.
    pub(super) fn end(&self) {
        let mut marks = self.marks();
        (marks.base, marks.since) = (marks.now(), None);
    }

    /// Time passes that no timer counts.
    pub(super) fn pass(&self, time: Ms) {
        self.marks().base += time;
    }

    /// Somebody sets the machine's clock, so that it is ahead by this.
    pub(super) fn set_ahead(&self, error: Ms) {
        self.marks().error = error;
    }
}

pub(super) fn date(ms: Ms) -> Timestamp {
    let epoch = Timestamp::from_second(EPOCH).expect("a time");
    epoch + SignedDuration::from_millis(ms)
}
