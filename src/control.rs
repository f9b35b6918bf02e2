//! Where the commands of this machine ask the running daemon: HTTP on loopback, with a secret that only the owner of the state
//! folder can read.
//!
//! It is the same on every system, and what can be asked reveals no secret but a link to the console. The secret itself never crosses the socket: the asker
//! proves that it has it, and so does the answer, because after a crash another program may have the port.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::console::Console;
use crate::status::{Sources, Status};

/// The file in the state folder that says where to ask and with what secret.
const FILE: &str = "control.json";
/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions at a time: whoever is on this machine can connect.
const AT_A_TIME: usize = 16;
/// Octets of the largest head of a question.
const HEAD: usize = 8 * 1024;
/// Octets of the largest answer.
const ANSWER: usize = 16 * 1024 * 1024;
/// The header with the asker's random word.
const NONCE: &str = "x-nonce";
/// The header with the proof of the secret, in both directions.
const PROOF: &str = "x-proof";

/// What can be asked for.
const STATUS: &str = "/status";
const CONSOLE: &str = "/console-link";

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

/// A link to the console.
#[derive(Serialize, Deserialize)]
pub struct ConsoleLink {
    /// The link; `None` if the console is not served.
    pub link: Option<Url>,
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
    console: Arc<Console>,
}

impl Control {
    /// Binds a free port of the loopback address and writes down where it is, for the owner's eyes only.
    ///
    /// # Errors
    /// If there is no port, or the file cannot be written.
    pub async fn open(
        state_dir: &Path,
        sources: watch::Receiver<Arc<Sources>>,
        console: Arc<Console>,
    ) -> Result<Self, ControlError> {
        let failed = |what: String| move |source: io::Error| ControlError { what, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed("listen on loopback".into()))?;
        let address = listener
            .local_addr()
            .map_err(failed("listen on loopback".into()))?;
        let secret = random().map_err(failed("make a secret".into()))?;
        let file = state_dir.join(FILE);
        let content = Address {
            address,
            secret: secret.to_string(),
        };
        write(&file, &content).map_err(failed(format!("write {}", file.display())))?;
        Ok(Self {
            listener,
            file,
            desk: Arc::new(Desk {
                secret,
                sources,
                console,
            }),
        })
    }

    /// Answers until mailwicket stops, then takes the file away.
    pub async fn serve(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let place = Arc::clone(&places).try_acquire_owned();
            // Whoever comes when all places are taken, or cannot be accepted, asks again.
            if let (Ok((stream, _)), Ok(place)) = (accepted, place) {
                let answering = answer(stream, Arc::clone(&self.desk));
                tokio::spawn(async move {
                    answering.await;
                    drop(place);
                });
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // A file that stays behind only makes `status` find nobody.
        let _ = std::fs::remove_file(self.file);
    }
}

async fn answer(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(|request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(hear(&desk, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whether the asker hears the answer concerns only the asker.
    let _ = timeout(PATIENCE, connection).await;
}

async fn hear(desk: &Desk, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let nonce = header(NONCE).unwrap_or_default();
    let proof = header(PROOF).and_then(|proof| URL_SAFE_NO_PAD.decode(proof).ok());
    let is_proven = proof.is_some_and(|proof| {
        mac(&desk.secret, "ask", nonce, request.uri().path().as_bytes())
            .verify_slice(&proof)
            .is_ok()
    });
    let told = match request.uri().path() {
        _ if !is_proven => return plain(StatusCode::UNAUTHORIZED),
        STATUS => status(desk).await,
        CONSOLE => link(desk),
        _ => return plain(StatusCode::NOT_FOUND),
    };
    let Some(body) = told else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let proof = mac(&desk.secret, "answer", nonce, &body)
        .finalize()
        .into_bytes();
    let answer = Response::builder().header(PROOF, URL_SAFE_NO_PAD.encode(proof));
    let answer = answer.body(Full::new(Bytes::from(body)));
    answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn status(desk: &Desk) -> Option<Vec<u8>> {
    let sources = Arc::clone(&desk.sources.borrow());
    let told = tokio::task::spawn_blocking(move || serde_json::to_vec(&sources.status()));
    told.await.ok()?.ok()
}

fn link(desk: &Desk) -> Option<Vec<u8>> {
    let link = desk.console.link().ok()?;
    serde_json::to_vec(&ConsoleLink { link }).ok()
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The proof of the secret for one side, one question and one body.
fn mac(secret: &str, side: &str, nonce: &str, body: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of every length, so this cannot fail.
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| unreachable!());
    for part in [side.as_bytes(), nonce.as_bytes(), body] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

/// Asks the daemon that uses this state folder; `None` if there is none.
///
/// # Errors
/// If there is one, but it does not answer as it should.
pub async fn ask(state_dir: &Path) -> io::Result<Option<Status>> {
    ask_for(state_dir, STATUS).await
}

/// Asks it for a link to the console; `None` if there is no daemon.
///
/// # Errors
/// See [`ask`].
pub async fn console_link(state_dir: &Path) -> io::Result<Option<ConsoleLink>> {
    ask_for(state_dir, CONSOLE).await
}

async fn ask_for<T: DeserializeOwned>(state_dir: &Path, what: &str) -> io::Result<Option<T>> {
    let file = match std::fs::read(state_dir.join(FILE)) {
        Ok(file) => Zeroizing::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let address: Address = serde_json::from_slice(&file)?;
    let Ok(stream) = TcpStream::connect(address.address).await else {
        return Ok(None); // it ended without taking its file away
    };
    match timeout(PATIENCE, request(stream, &address.secret, what)).await {
        Ok(answer) => answer.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn request<T: DeserializeOwned>(
    stream: TcpStream,
    secret: &str,
    what: &str,
) -> Result<Option<T>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let nonce = random()?;
    let proof = mac(secret, "ask", &nonce, what.as_bytes())
        .finalize()
        .into_bytes();
    let request = Request::get(what)
        .header(http::header::HOST, "localhost")
        .header(NONCE, nonce.as_str())
        .header(PROOF, URL_SAFE_NO_PAD.encode(proof))
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let proof = answer
        .headers()
        .get(PROOF)
        .map(|proof| URL_SAFE_NO_PAD.decode(proof));
    let body = Limited::new(answer.into_body(), ANSWER)
        .collect()
        .await?
        .to_bytes();
    driving.abort();
    match proof {
        Some(Ok(proof))
            if mac(secret, "answer", &nonce, &body)
                .verify_slice(&proof)
                .is_ok() =>
        {
            Ok(Some(serde_json::from_slice(&body)?))
        }
        _ => Ok(None), // another program has the port now
    }
}

fn random() -> io::Result<Zeroizing<String>> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A control of a daemon without accounts, and its folder.
    async fn bench() -> (tempfile::TempDir, CancellationToken) {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, sources) = watch::channel(Arc::default());
        let console = Arc::new(crate::console::testing::console(folder.path()).0);
        let control = Control::open(folder.path(), sources, console)
            .await
            .expect("a control");
        let stop = CancellationToken::new();
        tokio::spawn(control.serve(stop.clone()));
        (folder, stop)
    }

    fn address(folder: &tempfile::TempDir) -> Address {
        let file = std::fs::read(folder.path().join(FILE)).expect("the file");
        serde_json::from_slice(&file).expect("its content")
    }

    #[tokio::test]
    async fn whoever_can_read_the_state_folder_gets_an_answer() {
        let (folder, _stop) = bench().await;
        let status = ask(folder.path())
            .await
            .expect("an answer")
            .expect("a daemon");
        assert!(status.running && status.accounts.is_empty());
    }

    #[tokio::test]
    async fn whoever_can_read_the_state_folder_gets_a_link_to_a_console_that_is_served() {
        let (folder, _stop) = bench().await;
        let asked = console_link(folder.path()).await.expect("an answer");
        assert!(asked.expect("a daemon").link.is_none(), "it is not served");
    }

    #[tokio::test]
    async fn the_proof_for_one_question_is_none_for_another() {
        let (folder, _stop) = bench().await;
        let Address { address, secret } = address(&folder);
        let proof = mac(&secret, "ask", "1", b"/status").finalize().into_bytes();
        let proof = URL_SAFE_NO_PAD.encode(proof);
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let question = format!(
            "GET /console-link HTTP/1.1\r\nhost: localhost\r\nx-nonce: 1\r\nx-proof: {proof}\r\n\r\n"
        );
        stream.write_all(question.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }

    #[tokio::test]
    async fn whoever_cannot_gets_none() {
        let (folder, _stop) = bench().await;
        let mut stream = TcpStream::connect(address(&folder).address)
            .await
            .expect("connected");
        let question =
            b"GET /status HTTP/1.1\r\nhost: localhost\r\nx-nonce: 1\r\nx-proof: AAAA\r\n\r\n";
        stream.write_all(question).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(!answer.contains("running"));
    }

    #[tokio::test]
    async fn an_impostor_on_the_port_of_a_dead_daemon_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let content = Address {
            address: listener.local_addr().expect("bound"),
            secret: "the secret of the dead".into(),
        };
        write(&folder.path().join(FILE), &content).expect("written");
        let impostor = async {
            let (mut stream, _) = listener.accept().await.expect("a question");
            let mut question = vec![0; 4096];
            let count = stream.read(&mut question).await.expect("read");
            assert!(!String::from_utf8_lossy(&question[..count]).contains(&content.secret));
            let body = r#"{"running":true,"version":"9","accounts":[],"listeners":[]}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nx-proof: AAAA\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.expect("sent");
        };
        let (answer, ()) = tokio::join!(ask(folder.path()), impostor);
        assert!(answer.expect("no fault").is_none());
    }

    #[tokio::test]
    async fn silent_connections_do_not_pile_up() {
        let (folder, _stop) = bench().await;
        let mut silent = Vec::new();
        for _ in 0..AT_A_TIME + 4 {
            silent.push(
                TcpStream::connect(address(&folder).address)
                    .await
                    .expect("connected"),
            );
        }
        // One that found no place is closed at once.
        let mut last = silent.pop().expect("one");
        let closed = timeout(PATIENCE, last.read(&mut [0; 1]))
            .await
            .expect("in time");
        assert!(matches!(closed, Ok(0) | Err(_)));
    }
}
