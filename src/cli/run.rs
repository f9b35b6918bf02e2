//! `mailwicket run`: the proxy, in the foreground.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::time::sleep;

use super::{Exit, Global, say};
use crate::config::{self, Config, LoadError};
use crate::daemon::Daemon;
use crate::observe;
use crate::process;
use crate::signals::{Signal, Signals};

/// How often the console's address is tried while it cannot be had.
const TRY_CONSOLE: Duration = Duration::from_secs(3);

/// The arguments of `run`: only the global ones.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {}

/// Runs it until a signal ends it.
pub fn run(_: Args, global: &Global) -> Exit {
    let result = global.load().and_then(|config| {
        let log = global.log(&config);
        observe::init(&log, global.colored()).map_err(|error| {
            say(&format!("error: {error}"));
            Exit::Usage
        })?;
        process::make_room(config.limits.sessions);
        warn(&config);
        super::block_on(serve(config, global))?
    });
    result.err().unwrap_or(Exit::Done)
}

async fn serve(config: Config, global: &Global) -> Result<(), Exit> {
    let failed = |error: &dyn std::error::Error| {
        global.say_error(error);
        Exit::Failed
    };
    let path = config.path.clone();
    // Before anything is bound, so that a signal during the start is not lost.
    let mut signals = Signals::listen().map_err(|error| failed(&error))?;
    let mut daemon = Daemon::start(config)
        .await
        .map_err(|error| failed(&error))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "started");
    announce(&daemon);
    notify_ready();
    let mut wishes = daemon.wishes();
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => drop(reload(&mut daemon, &path, global)),
                Signal::Stop => break,
            },
            () = sleep(TRY_CONSOLE), if daemon.lacks_console() => daemon.serve_console(),
            wish = wishes.next() => wish.answer(reload(&mut daemon, &path, global)),
        }
    }
    tracing::info!("stopping");
    daemon.stop().await;
    Ok(())
}

/// Says at the start, too, what `check` finds strange.
fn warn(config: &Config) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    for warning in config::warnings(config, today) {
        tracing::warn!("{warning}");
    }
}

/// Says where mail programs are to be pointed; scripts read it too.
fn announce(daemon: &Daemon) {
    for (listener, address) in daemon.bound() {
        say(&format!(
            "listening {} {address} provider={} tls={}",
            listener.protocol, listener.provider.name, listener.tls
        ));
    }
}

/// Takes the file up again; a bad one leaves the old configuration in force, and the reason is told.
fn reload(daemon: &mut Daemon, path: &Path, global: &Global) -> Result<(), String> {
    let outcome = take_up(daemon, path, global);
    daemon.note_reload(&outcome);
    outcome
}

fn take_up(daemon: &mut Daemon, path: &Path, global: &Global) -> Result<(), String> {
    let loaded = Config::load_in(path, &global.surroundings());
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            global.refuse(&error);
            tracing::error!("the configuration was not taken up; the old one stays in force");
            return Err(match &error {
                LoadError::Invalid(problems) => problems.render(false),
                other => other.to_string(),
            });
        }
    };
    match daemon.reload(config) {
        Ok(()) => {
            tracing::info!("configuration taken up");
            announce(daemon);
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "the configuration was not taken up; the old one stays in force");
            Err(error.to_string())
        }
    }
}

/// Tells systemd that mailwicket is ready, where it asks.
fn notify_ready() {
    #[cfg(target_os = "linux")]
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "cannot tell the service manager that mailwicket is ready");
    }
}
