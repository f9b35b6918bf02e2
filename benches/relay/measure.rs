//! CPU time and memory of processes, from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

/// CPU time spent so far, user and system.
#[derive(Clone, Copy)]
pub struct Usage(Duration);

impl Usage {
    /// Of all threads of these processes, in nanoseconds (`schedstat`), so that short rounds count too.
    pub fn of(pids: &[u32]) -> Self {
        let threads = pids.iter().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
            tasks.flatten().map(|task| task.path().join("schedstat"))
        });
        let spent = threads.filter_map(|path| {
            let text = fs::read_to_string(path).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Self(Duration::from_nanos(spent.sum()))
    }

    pub fn since(self, before: Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
}

/// Proportional set size in KiB.
pub fn pss(pids: &[u32]) -> u64 {
    let of = |pid: &u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    pids.iter().filter_map(of).sum()
}

/// A figure once it stays the same, or after `limit`.
pub fn settled(figure: impl Fn() -> u64, limit: Duration) -> u64 {
    let begun = Instant::now();
    let mut last = figure();
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = figure();
        if now == last || begun.elapsed() > limit {
            return now;
        }
        last = now;
    }
}
