//! `tls`: from a bare socket to a conversation that is as private as it has to be.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Counter;
use super::conversation::End;
use crate::dialogue::{self, Ending, Interruption, Privacy};
use crate::tls::{Beginning, LocalStream};

/// How long somebody whom we turn away has to take our words.
const FAREWELL: Duration = Duration::from_secs(2);

/// Does what must be done before the first word: a handshake, or nothing, or good-bye.
pub(super) async fn enter(
    counter: &Counter,
    local: &mut LocalStream,
    source: SocketAddr,
) -> Result<Privacy, End> {
    match counter.terms.beginning(local, source.ip()).await {
        Beginning::Clear(privacy) => Ok(privacy),
        Beginning::Handshake => {
            local.secure(&counter.terms).await.map_err(End::Insecure)?;
            Ok(Privacy::Secured)
        }
        Beginning::Refused(_) if local.begins_with_proxy_header().await => {
            Err(End::Ended(Ending::ProxyHeader))
        }
        Beginning::Refused(interruption) => {
            let words = dialogue::farewell(counter.listener.protocol, interruption);
            say(local, words).await;
            Err(End::Ended(Ending::Interrupted(interruption)))
        }
    }
}

/// Tells a mail program that there is no room for it now, where it can hear that without a handshake, which would cost too much.
pub(super) async fn turn_away(counter: &Counter, socket: TcpStream) {
    let mut local = LocalStream::from(socket);
    if counter.terms.may_speak_clear() {
        let words = dialogue::farewell(counter.listener.protocol, Interruption::Limit);
        say(&mut local, words).await;
        super::conversation::linger(&mut local).await;
    }
}

async fn say(local: &mut LocalStream, words: &str) {
    // Whether it was heard changes nothing.
    let _ = timeout(FAREWELL, local.write_all(words.as_bytes())).await;
}
