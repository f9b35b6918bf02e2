//! What tokens depend on from outside, besides the vault: time, chance, and the way to a provider.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Provider;
use crate::oauth::OAuth;
use crate::tls::TlsError;

/// The longest sleep of the upkeep. After it the vault is looked at for what other processes wrote, and the clock for time that the
/// machine spent asleep, which timers do not count.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// The world around tokens; years of it can be played in seconds.
pub(super) trait World: Send + Sync {
    /// The clock on the wall.
    fn now(&self) -> Timestamp;

    /// A number from 0 to 1, drawn anew for each use.
    fn luck(&self) -> f64;

    /// A client for a registration.
    fn client(&self, provider: Arc<Provider>) -> Result<OAuth, TlsError>;

    /// How long the upkeep sleeps at most.
    fn longest_sleep(&self) -> Duration {
        LONGEST_SLEEP
    }
}

/// The world as it is.
pub(super) struct Real {
    /// A request to a token endpoint may take this long.
    pub(super) limit: Duration,
}

impl World for Real {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Without randomness everybody gets the middle, which only means less spread.
    fn luck(&self) -> f64 {
        getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
    }

    fn client(&self, provider: Arc<Provider>) -> Result<OAuth, TlsError> {
        OAuth::new(provider, self.limit)
    }
}
