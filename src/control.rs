//! Where the commands of this machine ask the running daemon: HTTP on loopback, with a secret that only the owner of the state
//! folder can read.
//!
//! It is the same on every system, and what can be asked reveals no secret.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::status::{Sources, Status};

/// The file in the state folder that says where to ask and with what secret.
const FILE: &str = "control.json";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of the largest answer.
const ANSWER: usize = 16 * 1024 * 1024;

/// Why the place to ask could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} for `mailwicket status`: {source}")]
pub struct ControlError {
    what: String,
    source: io::Error,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Address {
    address: SocketAddr,
    secret: String,
}

/// The daemon's side.
pub struct Control {
    listener: TcpListener,
    file: PathBuf,
    desk: Arc<Desk>,
}

struct Desk {
    secret: Zeroizing<String>,
    sources: watch::Receiver<Arc<Sources>>,
}

impl Control {
    /// Binds a free port of the loopback address and writes down where it is, for the owner's eyes only.
    ///
    /// # Errors
    /// If there is no port, or the file cannot be written.
    pub async fn open(
        state_dir: &Path,
        sources: watch::Receiver<Arc<Sources>>,
    ) -> Result<Self, ControlError> {
        let failed = |what: String| move |source: io::Error| ControlError { what, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed("listen on loopback".into()))?;
        let address = listener
            .local_addr()
            .map_err(failed("listen on loopback".into()))?;
        let secret = secret().map_err(failed("make a secret".into()))?;
        let file = state_dir.join(FILE);
        write(
            &file,
            &Address {
                address,
                secret: secret.to_string(),
            },
        )
        .map_err(failed(format!("write {}", file.display())))?;
        Ok(Self {
            listener,
            file,
            desk: Arc::new(Desk { secret, sources }),
        })
    }

    /// Answers until mailwicket stops, then takes the file away.
    pub async fn serve(self, stop: CancellationToken) {
        let routes = axum::Router::new()
            .route("/status", get(status))
            .with_state(self.desk);
        let served = axum::serve(self.listener, routes)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::warn!(%error, "`mailwicket status` can no longer ask this daemon");
        }
        // A file that stays behind only makes `status` find nobody.
        let _ = std::fs::remove_file(self.file);
    }
}

async fn status(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
) -> Result<Json<Status>, StatusCode> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if !given.is_some_and(|given| bool::from(given.ct_eq(desk.secret.as_bytes()))) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let sources = Arc::clone(&desk.sources.borrow());
    let status = tokio::task::spawn_blocking(move || sources.status()).await;
    status
        .map(Json)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Asks the daemon that uses this state folder; `None` if there is none.
///
/// # Errors
/// If there is one, but it does not answer as it should.
pub async fn ask(state_dir: &Path) -> io::Result<Option<Status>> {
    let file = match std::fs::read(state_dir.join(FILE)) {
        Ok(file) => Zeroizing::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let address: Address = serde_json::from_slice(&file)?;
    let Ok(stream) = TcpStream::connect(address.address).await else {
        return Ok(None); // it ended without taking its file away
    };
    match tokio::time::timeout(PATIENCE, request(stream, &address.secret)).await {
        Ok(answer) => answer.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn request(
    stream: TcpStream,
    secret: &str,
) -> Result<Option<Status>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let request = http::Request::get("/status")
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .body(Empty::<bytes::Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Ok(None); // another program has the port now
    }
    let body = Limited::new(answer.into_body(), ANSWER)
        .collect()
        .await?
        .to_bytes();
    driving.abort();
    Ok(Some(serde_json::from_slice(&body)?))
}

fn secret() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// Replaces the file in one step; temporary files are made for the owner only.
fn write(path: &Path, address: &Address) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, address)?;
    file.persist(path)?;
    Ok(())
}
