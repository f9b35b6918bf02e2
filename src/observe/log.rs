//! The log: one line per event on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Begins to log, at a level such as `info` or by a filter such as `info,mailwicket::token=debug`.
///
/// A second call changes nothing: the first caller's log goes on.
///
/// # Errors
/// If the level cannot be understood.
pub fn init(log: &Log, color: bool) -> Result<(), String> {
    let level = &log.level;
    let filter = EnvFilter::try_new(level)
        .map_err(|error| format!("cannot understand the log level {level:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(color)
        .with_target(false);
    let _ = match log.json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.try_init(),
    };
    Ok(())
}
