//! `mailwicket demo`: the whole product on one machine with nothing to configure.

mod setting;
mod words;

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Exit, Global, print, say};
use crate::daemon::Daemon;
use crate::demo::round_trip::{self, Letter, Person, TripError};
use crate::demo::story::{self, Chapter, Told};
use crate::demo::{ADDRESS, Seen};
use crate::protocol::Protocol;
use crate::signals::{Signal, Signals};
use setting::Setting;
use words::{Style, Trip};

/// How long the proxy may take to notice that a session is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// End after the message has travelled; the exit code says whether it arrived
    #[arg(long)]
    once: bool,
}

/// Runs it; without `--once`, until it is stopped.
pub fn run(args: Args, global: &Global) -> Exit {
    let done = super::block_on(show(&args, global));
    match done.and_then(|done| done) {
        Ok(()) => Exit::Done,
        Err(exit) => exit,
    }
}

async fn show(args: &Args, global: &Global) -> Result<(), Exit> {
    let style = Style::new(global);
    let level = global.log_level.as_deref().unwrap_or("off");
    let mut stories = story::listen(level, global.colored()).map_err(|error| {
        say(&format!("error: {error}"));
        Exit::Usage
    })?;
    let mut signals = Signals::listen().map_err(|error| failed(global, &error))?;
    let showing = async {
        let start = Instant::now();
        print(&words::title(&style))?;
        let mut setting = Setting::prepare()
            .await
            .map_err(|error| failed(global, &error))?;
        setting
            .sign_in()
            .await
            .map_err(|error| failed(global, &error))?;
        let daemon = setting
            .start()
            .await
            .map_err(|error| failed(global, &error))?;
        let places = Places::of(&daemon);
        print(&words::ready(&style, &setting, &places, start.elapsed()))?;
        let mut seen = setting.sandbox.events();
        let travelled = travel(&style, &setting, &places, &mut stories, seen.as_mut()).await;
        Ok((setting, daemon, places, travelled, start.elapsed()))
    };
    let (setting, daemon, places, travelled, elapsed) = tokio::select! {
        shown = showing => shown?,
        () = stopped(&mut signals) => return Err(Exit::Failed),
    };
    let arrived = travelled.and_then(|()| print(&words::arrived(&style, elapsed)));
    if arrived.is_ok() && !args.once {
        // Without randomness there is no link, and the demonstration goes on.
        let console = daemon.console().link().ok().flatten();
        print(&words::invitation(
            &style,
            &setting,
            &places,
            console.as_ref(),
        ))?;
        watch(&style, &mut stories, &mut signals).await?;
        say("Stopping.");
    }
    daemon.stop().await;
    setting.clear().map_err(|error| failed(global, &error))?;
    arrived
}

fn failed(global: &Global, error: &dyn std::error::Error) -> Exit {
    global.say_error(error);
    Exit::Failed
}

async fn stopped(signals: &mut Signals) {
    while signals.next().await != Signal::Stop {}
}

/// Where the proxy listens.
struct Places {
    imap: std::net::SocketAddr,
    pop3: std::net::SocketAddr,
    smtp: std::net::SocketAddr,
}

impl Places {
    fn of(daemon: &Daemon) -> Self {
        let bound = daemon.bound();
        let of = |protocol| {
            let found = bound
                .iter()
                .find(|(listener, _)| listener.protocol == protocol);
            // The demo's configuration has a listener for each, and the daemon binds all or none.
            found.map_or(([127, 0, 0, 1], 0).into(), |(_, address)| *address)
        };
        Self {
            imap: of(Protocol::Imap),
            pop3: of(Protocol::Pop3),
            smtp: of(Protocol::Smtp),
        }
    }

    fn of_protocol(&self, protocol: Protocol) -> std::net::SocketAddr {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
            Protocol::Smtp => self.smtp,
        }
    }
}

/// Sends a message through the proxy and reads it back, and tells of each part.
async fn travel(
    style: &Style,
    setting: &Setting,
    places: &Places,
    stories: &mut mpsc::Receiver<Told>,
    mut seen: Option<&mut mpsc::Receiver<Seen>>,
) -> Result<(), Exit> {
    let person = Person {
        address: ADDRESS.to_owned(),
        password: setting.password.clone(),
    };
    let letter = Letter::write(ADDRESS).map_err(|error| {
        say(&format!("error: the system gives no randomness: {error}"));
        Exit::Failed
    })?;
    for (number, protocol) in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3]
        .into_iter()
        .enumerate()
    {
        let place = places.of_protocol(protocol);
        let outcome: Result<(), TripError> = match protocol {
            Protocol::Smtp => round_trip::send(place, &person, &letter).await,
            Protocol::Imap => round_trip::read_by_imap(place, &person, &letter).await,
            Protocol::Pop3 => round_trip::read_by_pop3(place, &person, &letter).await,
        };
        let chapter = ended(stories).await;
        let trip = Trip {
            number: number + 1,
            protocol,
            endpoint: setting.account.provider.endpoint(protocol),
            chapter,
            seen: seen.as_mut().and_then(|seen| seen.try_recv().ok()),
            mark: &letter.mark,
            outcome: &outcome,
        };
        print(&words::trip(style, &trip))?;
        if outcome.is_err() {
            return Err(Exit::Failed);
        }
    }
    Ok(())
}

/// The story of the session that has just ended.
async fn ended(stories: &mut mpsc::Receiver<Told>) -> Option<Chapter> {
    let waiting = async {
        loop {
            match stories.recv().await? {
                Told::Ended(chapter) => return Some(chapter),
                Told::LoggedIn(_) | Told::Refused(_) => {}
            }
        }
    };
    timeout(LAST_WORDS, waiting).await.ok().flatten()
}

/// Tells of the user's own sessions, until somebody stops it.
async fn watch(
    style: &Style,
    stories: &mut mpsc::Receiver<Told>,
    signals: &mut Signals,
) -> Result<(), Exit> {
    loop {
        tokio::select! {
            () = stopped(signals) => return Ok(()),
            told = stories.recv() => match told {
                Some(told) => if let Some(line) = words::session(style, &told) {
                    print(&line)?;
                },
                None => {
                    stopped(signals).await;
                    return Ok(());
                }
            },
        }
    }
}
