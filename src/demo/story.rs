//! What the proxy says in its log about each session, gathered so that it can be told stage by stage.
//!
//! It reads what the log reads, so it can tell nothing that the log would not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Sessions that nobody has read about yet; more are dropped.
const UNREAD: usize = 256;
/// The span that a session has.
const SESSION: &str = "session";

/// What happened to a session.
#[derive(Clone, Debug)]
pub enum Told {
    /// A login succeeded, and the relay began.
    LoggedIn(Chapter),
    /// A login failed.
    Refused(Chapter),
    /// It is over.
    Ended(Chapter),
}

/// One session, as far as it got.
#[derive(Clone, Debug, Default)]
pub struct Chapter {
    /// What was spoken.
    pub protocol: String,
    /// Where the mail program is.
    pub source: String,
    /// Whose mailbox it was, once that is known.
    pub account: Option<String>,
    /// How long stages took, by their words.
    pub took: BTreeMap<String, Duration>,
    /// Why the last login failed: the stage, the code and the words.
    pub refusal: Option<(String, String, String)>,
    /// Octets to the provider and back.
    pub traffic: Option<(u64, u64)>,
    relay_since: Option<Instant>,
}

/// Begins to listen to the log of this process; what `level` lets through is printed on stderr too.
///
/// # Errors
/// If the level cannot be understood.
pub fn listen(level: &str, color: bool) -> Result<mpsc::Receiver<Told>, String> {
    let filter = EnvFilter::try_new(level)
        .map_err(|error| format!("cannot understand the log level {level:?}: {error}"))?;
    let (sender, receiver) = mpsc::channel(UNREAD);
    let own = Targets::new().with_target(env!("CARGO_PKG_NAME"), LevelFilter::DEBUG);
    let printed = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false)
        .with_filter(filter);
    // If somebody listens already there is nothing to tell here, and nothing else is lost.
    let _ = Registry::default()
        .with(Teller { sender }.with_filter(own))
        .with(printed)
        .try_init();
    Ok(receiver)
}

struct Teller {
    sender: mpsc::Sender<Told>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Teller {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.name() == SESSION) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Chapter {
            protocol: fields.take("protocol"),
            source: fields.take("source"),
            ..Chapter::default()
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut scope = context.event_scope(event).into_iter().flatten();
        let Some(span) = scope.find(|span| span.name() == SESSION) else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut extensions = span.extensions_mut();
        let Some(chapter) = extensions.get_mut::<Chapter>() else {
            return;
        };
        if let Some(told) = chapter.add(fields) {
            self.tell(told(chapter.clone()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let chapter = context
            .span(&id)
            .and_then(|span| span.extensions_mut().remove::<Chapter>());
        if let Some(chapter) = chapter {
            self.tell(Told::Ended(chapter));
        }
    }
}

impl Teller {
    fn tell(&self, told: Told) {
        // The log must not wait for a reader.
        let _ = self.sender.try_send(told);
    }
}

impl Chapter {
    /// Takes an event up; what there is to tell now, if anything.
    fn add(&mut self, mut fields: Fields) -> Option<fn(Self) -> Told> {
        let (stage, outcome) = (fields.take("stage"), fields.take("outcome"));
        if let Ok(micros) = fields.take("micros").parse() {
            let took = self.took.entry(stage).or_default();
            *took += Duration::from_micros(micros);
            return None;
        }
        if let (Ok(up), Ok(down)) = (fields.take("up").parse(), fields.take("down").parse()) {
            self.traffic = Some((up, down));
            let since = self.relay_since.map(|since| since.elapsed());
            self.took.extend(since.map(|took| (stage.clone(), took)));
        }
        match &*outcome {
            "ok" => {
                self.account = Some(fields.take("account"));
                self.relay_since = Some(Instant::now());
                Some(Told::LoggedIn)
            }
            "refused" | "failed" => {
                self.refusal = Some((stage, fields.take("code"), fields.take("detail")));
                Some(Told::Refused)
            }
            _ => None,
        }
    }
}

/// The fields of an event, as texts.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn take(&mut self, name: &str) -> String {
        self.0.remove(name).unwrap_or_default()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}
