//! Who is at a connection of the console, and for how long.
//!
//! Everybody may connect who can reach the address; only who shows a session may stay. The others get a short time, and the oldest of
//! them makes room when there are many. Nobody may have an answer and not take it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::places::{Places, Stranger};

/// Connections at a time that have not shown a session.
pub const MOST_STRANGERS: usize = 32;
/// Connections at a time in all: a handful of browsers, and those.
pub const MOST_CONNECTIONS: usize = 64 + MOST_STRANGERS;
/// How long one may last that shows no session: time for a link, a redirect, the style and the script.
pub const STRANGER_LIFE: Duration = Duration::from_secs(15);
/// How long any may last; a browser makes another.
const CONNECTION_LIFE: Duration = Duration::from_secs(60 * 60);
/// How long somebody may take no octet of an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// The places of the console.
pub fn places() -> Places {
    Places::new(&Limits {
        sessions: MOST_CONNECTIONS,
        sessions_per_source: None,
        before_login: MOST_STRANGERS,
        before_login_per_source: MOST_STRANGERS,
        ..Limits::default()
    })
}

/// A session was shown at the connection of a request with these extensions.
pub fn let_in(extensions: &Extensions) {
    if let Some(guest) = extensions.get::<Arc<Guest>>() {
        guest.let_in();
    }
}

/// Who is at one connection.
pub struct Guest {
    came: Instant,
    /// Until a session is shown.
    stranger: Mutex<Option<Stranger>>,
    evicted: CancellationToken,
}

impl Guest {
    /// Somebody who has just come.
    pub fn new(stranger: Stranger) -> Self {
        Self {
            came: Instant::now(),
            evicted: stranger.evicted(),
            stranger: Mutex::new(Some(stranger)),
        }
    }

    /// From now on nobody takes its place.
    fn let_in(&self) {
        self.lock().take();
    }

    /// Returns when this one has to go at once, so that another may come.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Returns when the time is up.
    pub async fn outstayed(&self) {
        sleep_until(self.came + STRANGER_LIFE).await;
        if self.lock().is_none() {
            sleep_until(self.came + CONNECTION_LIFE).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stranger>> {
        self.stranger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that breaks when the other side takes nothing for too long.
pub struct Impatient<S> {
    inner: S,
    /// Runs while an octet waits to be taken.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub fn new(inner: S) -> Self {
        let waiting = None;
        Self { inner, waiting }
    }

    fn limit<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        let elapsed = waiting.as_mut().poll(cx);
        elapsed.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, octets);
        self.limit(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.limit(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.limit(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_breaks_the_connection() {
        let (ours, theirs) = duplex(4);
        let mut ours = Impatient::new(ours);
        let began = Instant::now();
        let error = ours.write_all(b"answer").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= WRITE_TIME);
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_arrives() {
        let (ours, mut theirs) = duplex(1);
        let mut ours = Impatient::new(ours);
        let reading = async {
            for _ in 0..6 {
                sleep(WRITE_TIME - Duration::from_secs(1)).await;
                theirs.read_u8().await.expect("an octet");
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(b"answer"), reading);
        written.expect("it was taken");
    }
}
