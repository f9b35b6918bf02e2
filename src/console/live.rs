//! Keeps what is shown up to date: server-sent events with the parts of a page that have changed.
//!
//! A stream is bounded by the places there are, and ends with its session and with mailwicket. Without it a page shows the same
//! after a reload.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::gate::Session;
use super::page::Fault;
use super::{Console, account, events, overview, sign_in};

/// Where the streams are.
pub const PATH: &str = "/live";
/// Streams at a time, over all sessions.
pub const MOST_STREAMS: usize = 16;
/// How often it is looked whether something has changed.
const LOOK: Duration = Duration::from_secs(1);
/// A look at many accounts takes time; looking is never more than a tenth of all work.
const REST: u32 = 10;
/// How often a stream that has nothing to tell says so, and finds out that nobody listens any more.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// A part of a page: its `id`, and the element that has it.
pub type Part = (&'static str, String);

/// What is to be kept up to date.
#[derive(Clone, Deserialize)]
#[serde(tag = "page", rename_all = "kebab-case")]
enum View {
    Overview,
    Events {
        #[serde(default)]
        account: String,
    },
    SignIn {
        id: String,
    },
    Test {
        account: String,
    },
}

pub fn routes() -> Router<Arc<Console>> {
    Router::new().route(PATH, get(live))
}

async fn live(
    State(console): State<Arc<Console>>,
    session: Session,
    Query(view): Query<View>,
) -> Response {
    let Ok(place) = Arc::clone(&console.streams).try_acquire_owned() else {
        return Fault::busy("Too many pages are open; this one stays as it is.").into_response();
    };
    let stream = Stream {
        console,
        session,
        view,
        shown: HashMap::new(),
        waiting: Vec::new(),
        rest: Duration::ZERO,
        _place: place,
    };
    let stream = stream::unfold(Some(stream), |stream| async {
        let mut stream = stream?;
        match stream.next().await {
            Next::Changed(event) => Some((Ok::<_, Infallible>(event), Some(stream))),
            // A browser passes an event without data over (HTML §9.2.6).
            Next::Last(word) => Some((Ok(Event::default().event(word).data(word)), None)),
        }
    });
    let keep_alive = KeepAlive::new().interval(SIGN_OF_LIFE);
    Sse::new(stream).keep_alive(keep_alive).into_response()
}

struct Stream {
    console: Arc<Console>,
    session: Session,
    view: View,
    /// What the page shows, by part.
    shown: HashMap<&'static str, String>,
    /// What it does not show yet.
    waiting: Vec<Part>,
    rest: Duration,
    _place: OwnedSemaphorePermit,
}

enum Next {
    Changed(Event),
    Last(&'static str),
}

impl Stream {
    async fn next(&mut self) -> Next {
        loop {
            if let Some((id, html)) = self.waiting.pop() {
                let data = serde_json::json!({ "id": id, "html": self.session.with_path(&html) })
                    .to_string();
                return Next::Changed(Event::default().event("part").data(data));
            }
            tokio::select! {
                () = self.session.ended().cancelled() => return Next::Last("over"),
                () = self.console.stop.cancelled() => return Next::Last("gone"),
                () = sleep(self.rest) => {}
            }
            if !self.session.is_open() {
                return Next::Last("over");
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let start = Instant::now();
        let parts = match &self.view {
            View::Overview => overview::parts(&self.console).await,
            View::Events { account } => events::parts(&self.console, account),
            View::SignIn { id } => sign_in::parts(&self.console, &self.session, id),
            View::Test { account } => account::test::parts(&self.console, account),
        };
        for (id, html) in parts {
            if self.shown.get(id) != Some(&html) {
                self.shown.insert(id, html.clone());
                self.waiting.push((id, html));
            }
        }
        self.rest = LOOK.max(start.elapsed() * REST);
    }
}
