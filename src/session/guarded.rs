//! The local stream of a session whose senders are limited: what the guard does not permit never reaches the relay.
//!
//! The relay stays what it is. It reads from here what may go up, and writes here what the provider says, which the guard hears. After a
//! breach it finds the mail program's end, and the mail program hears why behind the last answer that it is owed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conversation::linger;
use crate::config::Account;
use crate::dialogue::smtp::SenderGuard;
use crate::dialogue::{Opening, Outgoing};
use crate::stage::Stage;
use crate::tls::LocalStream;

/// Octets that are read at once.
const CHUNK: usize = 8 * 1024;

/// A local stream with a guard before it.
pub(super) struct Guarded<S> {
    local: S,
    guard: SenderGuard,
    /// What the guard has not taken yet.
    input: Vec<u8>,
    /// What it has let through.
    passed: Vec<u8>,
    /// What the mail program hears of a breach, until it is said.
    last_words: Option<&'static [u8]>,
    /// Whether nothing more is said behind the last words.
    is_silent: bool,
    /// Whoever waits for an answer of the provider before more may go up.
    waiting: Option<Waker>,
}

impl<S> Guarded<S> {
    /// A stream that begins with what the mail program has sent already, and an opening without it.
    pub(super) fn new(local: S, guard: SenderGuard, opening: Opening) -> (Self, Opening) {
        let Opening { reply, leftovers } = opening;
        let guarded = Self {
            local,
            guard,
            input: leftovers.to_vec(),
            passed: Vec::new(),
            last_words: None,
            is_silent: false,
            waiting: None,
        };
        let leftovers = Outgoing::default();
        (guarded, Opening { reply, leftovers })
    }

    /// Has the guard look at what there is.
    fn look(&mut self) {
        let taken = self.guard.up(&self.input, &mut self.passed);
        self.input.drain(..taken);
    }

    /// Puts the last words up, once.
    fn break_off(&mut self) {
        if let Some(breach) = self.guard.breach().filter(|_| !self.is_silent) {
            self.last_words = Some(breach.reply().as_bytes());
            self.is_silent = true;
        }
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Says the last words, if there are any.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(words) = self.last_words.filter(|words| !words.is_empty()) {
            let count = ready!(Pin::new(&mut self.local).poll_write(cx, words))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.last_words = words.get(count..);
        }
        if self.last_words.is_some() {
            ready!(Pin::new(&mut self.local).poll_flush(cx))?;
            self.last_words = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Guarded<&mut LocalStream> {
    /// Says in the log what was not permitted, if anything was, and lets the mail program read the last words.
    pub(super) async fn part(self, account: &Account) {
        if let Some(breach) = self.guard.breach() {
            tracing::warn!(stage = %Stage::Relay, code = "MW-SENDER", account = account.address, reason = %breach, "session ended by the list of senders in without-login");
            linger(self.local).await;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.look();
            if !this.passed.is_empty() {
                let count = this.passed.len().min(buffer.remaining());
                buffer.put_slice(&this.passed[..count]);
                this.passed.drain(..count);
                return Poll::Ready(Ok(()));
            }
            let has_breach = this.guard.breach().is_some();
            if has_breach && this.guard.is_answered() {
                this.break_off();
                ready!(this.poll_last_words(cx))?;
                return Poll::Ready(Ok(())); // the end, for the relay
            }
            if has_breach || !this.guard.has_appetite() {
                this.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.local).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.input.extend_from_slice(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        said: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_silent {
            ready!(this.poll_last_words(cx))?;
            return Poll::Ready(Ok(said.len()));
        }
        let count = ready!(Pin::new(&mut this.local).poll_write(cx, said))?;
        this.guard.down(&said[..count]);
        if let Some(waiting) = this.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_last_words(cx))?;
        Pin::new(&mut self.local).poll_flush(cx)
    }

    /// The provider has closed; a breach that waited for its answers waits no longer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.break_off();
        ready!(self.poll_last_words(cx))?;
        Pin::new(&mut self.local).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
