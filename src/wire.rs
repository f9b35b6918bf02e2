//! Lines and blocks over a stream, with bounds in size and time. The path does not use it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a client may be silent (RFC 3501 §5.4 asks for 30 minutes at least).
pub(crate) const IDLE: Duration = Duration::from_secs(35 * 60);
/// How long a client may take to read what was written.
const WRITE: Duration = Duration::from_secs(60);
/// Octets read at once.
const CHUNK: usize = 16 * 1024;

/// One connection.
pub(crate) struct Wire<S> {
    stream: S,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
}

/// What came in place of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line.
    Whole(Vec<u8>),
    /// More than the bound without an end; the connection is of no use any more.
    TooLong,
    /// The client closed the connection.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// A connection of which something was read already.
    pub(crate) fn with_early(stream: S, early: &[u8]) -> Self {
        Self {
            stream,
            buffer: early.to_vec(),
        }
    }

    /// The stream, and whether something of it was read already.
    pub(crate) fn into_parts(self) -> (S, bool) {
        (self.stream, !self.buffer.is_empty())
    }

    /// The next line, which ends with CRLF or a bare LF, of `most` octets. Nothing is lost if it is dropped while it waits.
    pub(crate) async fn line(&mut self, most: usize) -> io::Result<Line> {
        Ok(match self.line_with_end(most).await? {
            Line::Whole(mut line) => {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Line::Whole(line)
            }
            other => other,
        })
    }

    /// The same, with its end, which the bound does not count.
    pub(crate) async fn line_with_end(&mut self, most: usize) -> io::Result<Line> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(match line.len() > most + 2 {
                    true => Line::TooLong,
                    false => Line::Whole(line),
                });
            }
            if self.buffer.len() > most + 2 {
                return Ok(Line::TooLong);
            }
            if !self.fill().await? {
                return Ok(Line::End);
            }
        }
    }

    /// Exactly `count` octets.
    pub(crate) async fn block(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        let sending = async {
            self.stream.write_all(octets.as_ref()).await?;
            self.stream.flush().await
        };
        timeout(WRITE, sending)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Ends it politely. The client may be gone already, which is as good.
    pub(crate) async fn close(mut self) {
        let _ = timeout(WRITE, self.stream.shutdown()).await;
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(CHUNK);
        let reading = self.stream.read_buf(&mut self.buffer);
        let read = timeout(IDLE, reading).await;
        Ok(read.map_err(|_| io::ErrorKind::TimedOut)?? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_blocks_come_in_order() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"one\r\ntwo\n12345rest").await.unwrap();
        drop(client);
        let mut wire = Wire::new(server);
        assert_eq!(wire.line(9).await.unwrap(), Line::Whole(b"one".to_vec()));
        assert_eq!(wire.line(9).await.unwrap(), Line::Whole(b"two".to_vec()));
        assert_eq!(wire.block(5).await.unwrap(), b"12345");
        assert_eq!(wire.line(9).await.unwrap(), Line::End);
    }

    #[tokio::test]
    async fn a_line_is_bounded() {
        for octets in [&b"0123456789ab\r\n"[..], b"0123456789ab"] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(octets).await.unwrap();
            assert_eq!(Wire::new(server).line(9).await.unwrap(), Line::TooLong);
        }
    }
}
