//! A token endpoint that knows no OAuth: it answers what the test says, octet for octet, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::config::{Flow, MechanismChoice, Provider};

/// What the endpoint does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These octets, then the end.
    Raw(Vec<u8>),
    /// The end, without a word.
    Drop,
    /// Silence for this long, then the octets.
    Slow(Duration, Vec<u8>),
}

impl Reply {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with(status, "Content-Type: application/json\r\n", body)
    }

    pub(crate) fn with(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        Self::Raw((head + body).into_bytes())
    }

    pub(crate) fn slow(self, delay: Duration) -> Self {
        match self {
            Self::Raw(octets) => Self::Slow(delay, octets),
            other => other,
        }
    }
}

type Script = dyn Fn(usize, &str) -> Reply + Send + Sync;

/// A running endpoint; it ends with the test's runtime.
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    /// Starts one whose `script` gets the number of the request (from 0) and the whole request.
    pub(crate) async fn start(
        script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (log, script): (_, Arc<Script>) = (requests.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, log.clone(), script.clone()));
            }
        });
        let url = Url::parse(&format!("http://{address}/token")).expect("url");
        Self { url, requests }
    }

    /// Starts one that answers these in turn, and the last one for ever.
    pub(crate) async fn replying(replies: Vec<Reply>) -> Self {
        Self::start(move |n, _| replies[n.min(replies.len() - 1)].clone()).await
    }

    pub(crate) fn hits(&self) -> usize {
        self.requests.lock().expect("log").len()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("log").clone()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>, script: Arc<Script>) {
    let request = read_request(&mut stream).await;
    let number = {
        let mut log = log.lock().expect("log");
        log.push(request.clone());
        log.len() - 1
    };
    let octets = match script(number, &request) {
        Reply::Raw(octets) => octets,
        Reply::Drop => return,
        Reply::Slow(delay, octets) => {
            tokio::time::sleep(delay).await;
            octets
        }
    };
    let _ = stream.write_all(&octets).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let wanted = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= wanted {
                return text;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
            _ => return text,
        }
    }
}

/// A registration whose token endpoint is `token_url`.
pub(crate) fn provider(token_url: &Url) -> Provider {
    Provider {
        name: "test".into(),
        preset: None,
        client_id: "test-client".into(),
        client_secret: None,
        client_secret_expires: None,
        certificate: None,
        assertion: None,
        service_account: None,
        device_url: None,
        flow: Flow::AuthorizationCode,
        issuer: None,
        authorize_url: Some(token_url.join("/auth").expect("url")),
        token_url: Some(token_url.clone()),
        revoke_url: None,
        redirect_url: Url::parse("http://127.0.0.1/callback").expect("url"),
        scopes: vec!["mail".into(), "offline_access".into()],
        authorize_params: vec![("prompt".into(), "consent".into())],
        imap: None,
        pop3: None,
        smtp: None,
        mechanism: MechanismChoice::Auto,
        ca_file: None,
        egress: Default::default(),
    }
}
