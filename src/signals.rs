//! What the system tells a service: stop, or read the configuration again.

use std::io;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT (Ctrl-C elsewhere).
    Stop,
    /// HUP; only on Unix.
    Reload,
}

#[cfg(unix)]
mod system {
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    use super::{Signal, io};

    /// The signals of a Unix process.
    pub struct Signals {
        term: Stream,
        int: Stream,
        hup: Stream,
    }

    impl Signals {
        /// From now on, these signals no longer end the process by themselves.
        ///
        /// # Errors
        /// What the system says.
        pub fn listen() -> io::Result<Self> {
            Ok(Self {
                term: signal(SignalKind::terminate())?,
                int: signal(SignalKind::interrupt())?,
                hup: signal(SignalKind::hangup())?,
            })
        }

        /// The next signal.
        pub async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.term.recv() => Signal::Stop,
                _ = self.int.recv() => Signal::Stop,
                _ = self.hup.recv() => Signal::Reload,
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use super::{Signal, io};

    /// Ctrl-C.
    pub struct Signals;

    impl Signals {
        /// Nothing has to be prepared.
        ///
        /// # Errors
        /// Never.
        pub fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        /// The next Ctrl-C; where that cannot be had, the process must be ended from outside.
        pub async fn next(&mut self) -> Signal {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Signal::Stop
        }
    }
}

pub use system::Signals;
