//! A provider that costs little: TLS, just enough IMAP to let everybody in, then bytes on demand; and a token endpoint.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The running provider; its files go with it.
pub struct Upstream {
    pub port: u16,
    pub token_port: u16,
    pub ca: PathBuf,
    pub folder: tempfile::TempDir,
}

pub fn start() -> Upstream {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    let config = tls(&ca);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tokens = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let token_port = tokens.local_addr().expect("bound").port();
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            let serving = move || match serve(tcp, config) {
                Err(error) if !is_usual(&error) => eprintln!("upstream: {error}"),
                _ => {}
            };
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(serving)
                .expect("a thread");
        }
    });
    thread::spawn(move || {
        tokens
            .incoming()
            .flatten()
            .for_each(|tcp| token(tcp).expect("a request"))
    });
    Upstream {
        port,
        token_port,
        ca,
        folder,
    }
}

fn tls(ca_file: &std::path::Path) -> Arc<ServerConfig> {
    let ca_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = params.self_signed(&ca_key).expect("a CA");
    std::fs::write(ca_file, ca.pem()).expect("written");
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    // A subject that is the issuer's too would look self-signed to OpenSSL.
    leaf.distinguished_name
        .push(DnType::CommonName, "localhost");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        );
    Arc::new(config.expect("a configuration"))
}

/// Most conversations here end with a peer that just goes away.
fn is_usual(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn serve(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = BufReader::with_capacity(256 * 1024, StreamOwned::new(connection, tcp));
    tls.get_mut()
        .write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n")?;
    let zeros = vec![0; 1 << 20];
    let mut line = String::new();
    while tls.read_line(&mut line)? > 0 {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["DOWN", count] => tls
                .get_mut()
                .write_all(&zeros[..count.parse().expect("a number")])?,
            ["UP", count] => {
                let count = count.parse().expect("a number");
                io::copy(&mut tls.by_ref().take(count), &mut io::sink())?;
                tls.get_mut().write_all(b"OK\r\n")?;
            }
            [tag, ..] => tls
                .get_mut()
                .write_all(format!("{tag} OK done\r\n").as_bytes())?,
            [] => {}
        }
        line.clear();
    }
    Ok(())
}

fn token(mut tcp: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(tcp.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    let body = r#"{"access_token":"bench-token","token_type":"Bearer","expires_in":3600}"#;
    write!(
        tcp,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
