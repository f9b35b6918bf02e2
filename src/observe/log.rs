//! The log: one line per event on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// When to colour output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// Where a person looks at it.
    #[default]
    Auto,
    /// Also in files and pipes.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// Whether output on `stream` is to be coloured.
    pub fn applies(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Auto => stream.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Begins to log. `level` is a word such as `info`, or a filter such as `info,mailwicket::token=debug`.
///
/// A second call changes nothing: the first caller's log goes on.
pub fn init(level: &str, json: bool, color: Color) -> Result<(), String> {
    let filter = EnvFilter::try_new(level)
        .map_err(|error| format!("cannot understand the log level {level:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(color.applies(&io::stderr()))
        .with_target(false);
    let _ = match json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.try_init(),
    };
    Ok(())
}
