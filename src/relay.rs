//! Raw bytes, both ways, after the provider said yes. Nothing is parsed here, ever.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::dialogue::{LoggedIn, Opening};
use crate::pool::Buffer;

/// How long a session that one side has closed may stay without a byte from the other.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Octets from the mail program to the provider.
    pub up: u64,
    /// Octets from the provider to the mail program.
    pub down: u64,
}

/// Passes bytes until both sides have closed, or one has failed.
///
/// First go the success reply and what came behind it, and what the mail program had sent behind its login. A side that closes has
/// its end passed on, and the other may still finish what it says. Memory is bounded: at most one buffer each way, held only while
/// the receiver does not take what is in it.
pub async fn relay<L, U>(
    local: &mut L,
    upstream: &mut U,
    opening: &Opening,
    login: &LoggedIn,
) -> (Traffic, io::Result<()>)
where
    L: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::default();
    let mut down = Direction::default();
    let result = match open(local, upstream, opening, login).await {
        Ok(()) => run(local, upstream, &mut up, &mut down).await,
        Err(error) => Err(error),
    };
    let traffic = Traffic {
        up: up.octets + opening.leftovers.len() as u64,
        down: down.octets + login.leftovers().len() as u64,
    };
    (traffic, result)
}

/// Sends what belongs before the first relayed byte. Both sides are written at once, so that none waits for the other.
async fn open<L, U>(
    local: &mut L,
    upstream: &mut U,
    opening: &Opening,
    login: &LoggedIn,
) -> io::Result<()>
where
    L: AsyncWrite + Unpin,
    U: AsyncWrite + Unpin,
{
    let to_local = async {
        let mut first = opening.reply.to_vec();
        first.extend_from_slice(login.leftovers());
        local.write_all(&first).await?;
        local.flush().await
    };
    let to_upstream = async {
        if !opening.leftovers.is_empty() {
            upstream.write_all(&opening.leftovers).await?;
            upstream.flush().await?;
        }
        Ok(())
    };
    tokio::try_join!(to_local, to_upstream).map(|_| ())
}

async fn run<L, U>(
    local: &mut L,
    upstream: &mut U,
    up: &mut Direction,
    down: &mut Direction,
) -> io::Result<()>
where
    L: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        // Either direction may end first; an error in either ends both.
        let uplink = up.poll(cx, local, upstream)?;
        let downlink = down.poll(cx, upstream, local)?;
        match uplink.is_ready() || downlink.is_ready() {
            true => Poll::Ready(io::Result::Ok(())),
            false => Poll::Pending,
        }
    })
    .await?;
    finish(local, upstream, up, down).await
}

/// One side has closed: the other has until it is silent for too long.
async fn finish<L, U>(
    local: &mut L,
    upstream: &mut U,
    up: &mut Direction,
    down: &mut Direction,
) -> io::Result<()>
where
    L: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let before = up.octets + down.octets;
        let both = poll_fn(|cx| {
            let uplink = up.poll(cx, local, upstream)?;
            let downlink = down.poll(cx, upstream, local)?;
            match uplink.is_ready() && downlink.is_ready() {
                true => Poll::Ready(io::Result::Ok(())),
                false => Poll::Pending,
            }
        });
        match tokio::time::timeout(HALF_OPEN, both).await {
            Ok(result) => return result,
            Err(_) if up.octets + down.octets > before => {}
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// One way of a relay.
#[derive(Default)]
struct Direction {
    held: Option<Buffer>,
    octets: u64,
    must_flush: bool,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Flowing,
    /// The reader has ended; the writer must be told.
    Closing,
    Closed,
}

impl Direction {
    /// Moves what can be moved; ready when the end was passed on.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while self.state == State::Flowing {
            ready!(self.poll_write(cx, to))?;
            if !self.poll_fill(cx, from)? {
                if self.must_flush {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.must_flush = false;
                }
                return Poll::Pending;
            }
        }
        if self.state == State::Closing {
            ready!(self.poll_write(cx, to))?;
            ready!(Pin::new(to).poll_shutdown(cx))?;
            self.state = State::Closed;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is held, and gives the buffer back.
    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(buffer) = &mut self.held {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, buffer.filled()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.used(count);
            self.octets += count as u64;
            self.must_flush = true;
            if buffer.filled().is_empty() {
                self.held = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads as much as is there, so that many small records become one write. Says whether there is anything to do for it.
    fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> io::Result<bool> {
        let mut buffer = Buffer::take();
        while !buffer.spare().is_empty() {
            let mut spare = ReadBuf::new(buffer.spare());
            match Pin::new(&mut *from).poll_read(cx, &mut spare) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {
                    let count = spare.filled().len();
                    if count == 0 {
                        self.state = State::Closing;
                        break;
                    }
                    buffer.put(count);
                }
                // A peer that closes TLS without saying so has closed all the same; what came before is passed on.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.state = State::Closing;
                    break;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if !buffer.filled().is_empty() {
            self.held = Some(buffer);
        }
        Ok(self.held.is_some() || self.state == State::Closing)
    }
}

#[cfg(test)]
mod tests;
