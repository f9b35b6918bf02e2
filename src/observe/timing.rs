//! How long the stages take.

use std::future::Future;

use tokio::time::Instant;

use crate::stage::Stage;

/// Does the work of a stage and says in the log, at level debug, how long it took.
///
/// # Errors
/// Those of the work.
pub async fn timed<T, E>(stage: Stage, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let start = Instant::now();
    let result = work.await;
    let outcome = if result.is_ok() { "ok" } else { "failed" };
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(%stage, outcome, micros, "stage done");
    result
}
