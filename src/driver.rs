//! The one loop that joins a machine to a stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::dialogue::{Machine, Outgoing, Step};

/// Octets that are read from a socket at once, before login.
const CHUNK: usize = 4096;

/// Drives `machine` over `stream` until it reports an event; `None` if the peer closed the stream before that.
///
/// The caller bounds the time. Dropping the future loses nothing: bytes are handed to the machine in the same step in which they
/// are read, and half-written bytes are of use to nobody because the conversation ends then.
pub async fn advance<M, S>(machine: &mut M, stream: &mut S) -> io::Result<Option<M::Event>>
where
    M: Machine + ?Sized,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Outgoing::default();
    loop {
        match machine.step() {
            Step::Send(bytes) => out.push(&bytes),
            Step::Event(event) => {
                send(stream, &mut out).await?;
                return Ok(Some(event));
            }
            Step::NeedInput => {
                send(stream, &mut out).await?;
                if !read(machine, stream).await? {
                    return Ok(None);
                }
            }
        }
    }
}

/// Reads once; `false` at the end of the stream.
pub async fn read<M, S>(machine: &mut M, stream: &mut S) -> io::Result<bool>
where
    M: Machine + ?Sized,
    S: AsyncRead + Unpin,
{
    let mut chunk = zeroize::Zeroizing::new([0; CHUNK]);
    let room = machine.room().min(CHUNK);
    if room == 0 {
        // A machine says so itself when a message is too long for it; this only keeps the loop from spinning.
        return Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            "no room for more input",
        ));
    }
    let count = stream.read(&mut chunk[..room]).await?;
    machine.receive(&chunk[..count]);
    Ok(count > 0)
}

/// Writes what was gathered, in one piece where possible.
async fn send<S: AsyncWrite + Unpin>(stream: &mut S, out: &mut Outgoing) -> io::Result<()> {
    if !out.is_empty() {
        stream.write_all(out).await?;
        stream.flush().await?;
        *out = Outgoing::default();
    }
    Ok(())
}
