//! The log: one line per event on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Begins to log. A level such as `debug` is ours alone: libraries then tell no more than warnings, so that nothing of theirs
/// drowns what happened. A filter such as `info,mailwicket::token=debug,rustls=debug` is taken as it is.
///
/// A second call changes nothing: the first caller's log goes on.
///
/// # Errors
/// If the level cannot be understood.
pub fn init(log: &Log, color: bool) -> Result<(), String> {
    let level = &log.level;
    let filter = match level.as_str() {
        "off" | "error" => level.clone(),
        word if word.chars().all(char::is_alphabetic) => format!("warn,mailwicket={word}"),
        filter => filter.to_owned(),
    };
    let filter = EnvFilter::try_new(filter)
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
