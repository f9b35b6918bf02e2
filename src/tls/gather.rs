//! Large reads under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pool::Buffer;

/// A stream whose reads are served from large ones. The TLS library reads 4 KiB at a time; one system call for each would be most
/// of the cost of a relay. No buffer is held while there is nothing to read.
pub struct Gather<S> {
    inner: S,
    held: Option<Buffer>,
}

impl<S> Gather<S> {
    /// Wraps a stream from which nothing was read ahead.
    pub fn new(inner: S) -> Self {
        Self { inner, held: None }
    }

    /// Gives the stream back; what was read ahead is lost.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_none() {
            let mut buffer = Buffer::take();
            let mut spare = ReadBuf::new(buffer.spare());
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut spare))?;
            let count = spare.filled().len();
            buffer.put(count);
            this.held = Some(buffer);
        }
        if let Some(buffer) = &mut this.held {
            let count = buffer.filled().len().min(out.remaining());
            out.put_slice(&buffer.filled()[..count]);
            buffer.used(count);
            if buffer.filled().is_empty() {
                this.held = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
