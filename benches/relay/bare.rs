//! The least that tokio and rustls can do: what every proxy of this kind pays.

use std::net::Ipv4Addr;
use std::path::Path;

use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Relays every connection to the upstream on `port`; says where it listens on its first line of output.
#[tokio::main]
pub async fn run(port: u16, ca: &str) {
    let tls = mailwicket::tls::upstream(Some(Path::new(ca))).expect("a CA file");
    let connector = TlsConnector::from(tls);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    println!("{}", listener.local_addr().expect("bound").port());
    loop {
        let (mut local, _) = listener.accept().await.expect("a connection");
        let connector = connector.clone();
        let relaying = async move {
            local.set_nodelay(true)?;
            let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").expect("a name");
            let mut upstream = connector.connect(name, tcp).await?;
            copy_bidirectional(&mut local, &mut upstream).await
        };
        // An end without close_notify is an error here, and usual.
        tokio::spawn(async { relaying.await.ok() });
    }
}
