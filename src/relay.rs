//! Raw bytes, both ways, after the provider said yes. Nothing is parsed here, ever; whoever wants to hear the provider's first words
//! hears them in passing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::dialogue::{LoggedIn, Opening};
use crate::pool::Buffer;

/// How long a session that one side has closed may stay without a byte from the other.
const HALF_OPEN: Duration = Duration::from_secs(60);
/// Buffers that one direction passes on before the other has its turn. The runtime gives a task a budget of socket operations;
/// a direction that used it up alone would starve the other.
const TURNS: usize = 8;
/// How long the end of what was written may take to be read.
const LINGER: Duration = Duration::from_secs(2);

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Octets from the mail program to the provider.
    pub up: u64,
    /// Octets from the provider to the mail program.
    pub down: u64,
}

/// Hears what the provider says, without a chance to change it, until it returns `false`.
pub type Ear<'a> = Box<dyn FnMut(&[u8]) -> bool + Send + 'a>;

/// Passes bytes until both sides have closed, one has failed, or `end` comes.
///
/// First go the success reply and what came behind it, and what the mail program had sent behind its login. A side that closes has
/// its end passed on, and the other may still finish what it says. Memory is bounded: at most one buffer each way, held only while
/// the receiver does not take what is in it.
pub async fn relay<L, U>(
    local: &mut L,
    upstream: &mut U,
    opening: &Opening,
    login: &LoggedIn,
    ear: Ear<'_>,
    end: impl Future<Output = ()>,
) -> (Traffic, io::Result<()>)
where
    L: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::beginning_with(opening.leftovers.to_vec());
    let mut down = Direction::beginning_with([&opening.reply, login.leftovers()].concat());
    down.ear = Some(ear);
    down.tell(login.leftovers());
    let result = tokio::select! {
        result = run(local, upstream, &mut up, &mut down) => result,
        () = end => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let traffic = Traffic {
        up: up.octets,
        // The success reply is our own.
        down: down.octets.saturating_sub(opening.reply.len() as u64),
    };
    (traffic, result)
}

async fn run<L, U>(
    local: &mut L,
    upstream: &mut U,
    up: &mut Direction<'_>,
    down: &mut Direction<'_>,
) -> io::Result<()>
where
    L: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pass(local, upstream, up, down, |up, down| {
        up.is_ending() || down.is_ending()
    })
    .await;
    // One side has ended: what is left may take its time, but not stand still.
    loop {
        let before = up.octets + down.octets;
        let both = pass(local, upstream, up, down, |up, down| {
            up.is_over() && down.is_over()
        });
        if timeout(HALF_OPEN, both).await.is_ok() {
            break;
        }
        if before == up.octets + down.octets {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    // A socket that is closed with unread bytes in it resets the connection, and the peer may lose the end of what we wrote.
    let closed = pass(local, upstream, up, down, |up, down| {
        up.is_closed() && down.is_closed()
    });
    timeout(LINGER, closed).await.ok();
    up.error.take().or(down.error.take()).map_or(Ok(()), Err)
}

/// Moves bytes both ways until `is_done`.
async fn pass<L, U>(
    local: &mut L,
    upstream: &mut U,
    up: &mut Direction<'_>,
    down: &mut Direction<'_>,
    is_done: impl Fn(&Direction<'_>, &Direction<'_>) -> bool,
) where
    L: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        // What they return says only whether they wait; both have to be asked.
        let _ = up.poll(cx, local, upstream);
        let _ = down.poll(cx, upstream, local);
        match is_done(up, down) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// One way of a relay.
#[derive(Default)]
struct Direction<'a> {
    held: Option<Buffer>,
    /// Who hears what is read, until it has heard enough.
    ear: Option<Ear<'a>>,
    octets: u64,
    must_flush: bool,
    state: State,
    /// Why it did not end well.
    error: Option<io::Error>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Flowing,
    /// The reader has ended; the writer must be told.
    Closing,
    /// The writer takes nothing more; what the reader still says is thrown away.
    Deaf,
    Closed,
}

impl Direction<'_> {
    /// A direction that says these bytes before it passes any on.
    fn beginning_with(bytes: Vec<u8>) -> Self {
        Self {
            held: (!bytes.is_empty()).then(|| Buffer::holding(bytes)),
            ..Self::default()
        }
    }

    /// Lets the ear hear.
    fn tell(&mut self, said: &[u8]) {
        if let Some(ear) = &mut self.ear
            && !said.is_empty()
            && !ear(said)
        {
            self.ear = None;
        }
    }

    /// Whether its reader or its writer has ended.
    fn is_ending(&self) -> bool {
        self.state != State::Flowing
    }

    /// Whether nothing more is passed on.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Deaf | State::Closed)
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Moves what can be moved; ready at its end.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut turns = 0;
        while self.state == State::Flowing {
            ready!(self.poll_write(cx, to));
            if self.state != State::Flowing {
                break;
            }
            turns += 1;
            if turns > TURNS {
                cx.waker().wake_by_ref(); // there is more, but the other direction has a right to move too
                return Poll::Pending;
            }
            self.fill(cx, from);
            if self.held.is_none() && self.state == State::Flowing {
                return self.poll_flush(cx, to);
            }
        }
        if self.state == State::Closing {
            ready!(self.poll_write(cx, to));
        }
        if self.state == State::Closing {
            let closed = ready!(Pin::new(to).poll_shutdown(cx));
            self.settle(closed);
            self.state = State::Closed;
        }
        while self.state == State::Deaf {
            self.fill(cx, from);
            if self.held.take().is_none() && self.state == State::Deaf {
                return Poll::Pending;
            }
            if self.state == State::Closing {
                self.state = State::Closed;
            }
        }
        Poll::Ready(())
    }

    /// Keeps the first error, which is the cause of the others.
    fn settle(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    /// The writer has failed. The other direction goes on: what it holds may be the reason for the failure.
    fn fail_to_write(&mut self, error: io::Error) {
        self.settle(Err(error));
        self.held = None;
        self.state = State::Deaf;
    }

    /// Writes what is held, and gives the buffer back.
    fn poll_write<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<()> {
        while let Some(buffer) = &mut self.held {
            match ready!(Pin::new(&mut *to).poll_write(cx, buffer.filled())) {
                Ok(0) => self.fail_to_write(io::ErrorKind::WriteZero.into()),
                Err(error) => self.fail_to_write(error),
                Ok(count) => {
                    buffer.used(count);
                    self.octets += count as u64;
                    self.must_flush = true;
                    if buffer.filled().is_empty() {
                        self.held = None;
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Sees that written bytes leave before we wait for more.
    fn poll_flush<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<()> {
        if self.must_flush {
            match ready!(Pin::new(to).poll_flush(cx)) {
                Ok(()) => self.must_flush = false,
                Err(error) => {
                    self.fail_to_write(error);
                    cx.waker().wake_by_ref(); // to go on in the new state
                }
            }
        }
        Poll::Pending
    }

    /// Reads as much as is there, so that many small records become one write.
    fn fill<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, from: &mut R) {
        let mut buffer = Buffer::take();
        while !buffer.spare().is_empty() {
            let mut spare = ReadBuf::new(buffer.spare());
            match Pin::new(&mut *from).poll_read(cx, &mut spare) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !spare.filled().is_empty() => {
                    let count = spare.filled().len();
                    buffer.put(count);
                }
                // A peer that closes TLS without saying so, or resets, has closed all the same; what came before is passed on.
                Poll::Ready(ended) => {
                    let usual = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
                    if !ended.as_ref().is_err_and(usual) {
                        self.settle(ended);
                    }
                    self.state = State::Closing;
                    break;
                }
            }
        }
        if !buffer.filled().is_empty() {
            self.tell(buffer.filled());
            self.held = Some(buffer);
        }
    }
}

#[cfg(test)]
mod tests;
