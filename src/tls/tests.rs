//! How connections begin, by where they come from and what they say first; and what is held while nothing happens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{Config, LocalTls};
use crate::dialogue::{Interruption, Privacy};

const LOOPBACK: &str = "127.0.0.1";
const NEIGHBOUR: &str = "192.168.1.17";
const STRANGER: &str = "203.0.113.7";

/// Both ends of a connection.
async fn connected() -> (TcpStream, LocalStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = TcpStream::connect(listener.local_addr().unwrap());
    let program = program.await.unwrap();
    let (local, _) = listener.accept().await.unwrap();
    (program, local.into())
}

/// The terms of a listener for this machine and its neighbour, without a certificate.
fn terms(mode: LocalTls, lists: &str) -> Terms {
    let text = format!(
        "state-dir = 'x'\n[provider.p]\npreset = 'google'\nclient-id = 'x'\n\
         [[listener]]\nprotocol = 'imap'\nprovider = 'p'\nlisten = '127.0.0.1:0'\ntls = '{mode}'\n{lists}"
    );
    let config = Config::parse(&text, Path::new("x.toml")).unwrap();
    Terms::new(&config.listeners[0], Duration::from_millis(300), None).unwrap()
}

async fn begins(terms: &Terms, local: &LocalStream, source: &str) -> String {
    let source: IpAddr = source.parse().unwrap();
    match terms.beginning(local, source).await {
        Beginning::Clear(privacy) => format!("{privacy:?}"),
        Beginning::Handshake => "handshake".into(),
        Beginning::Refused(interruption) => format!("{interruption:?}"),
    }
}

#[tokio::test]
async fn where_a_connection_comes_from_says_what_is_taken_in_clear() {
    let listed = "allow-plaintext-from = ['192.168.1.0/24']";
    let clear = format!("{:?}", Privacy::Clear);
    let offered = format!("{:?}", Privacy::Offered);
    let required = format!("{:?}", Privacy::Required);
    let refused = format!("{:?}", Interruption::Plaintext);
    let (mut program, local) = connected().await;
    program.write_all(b"E").await.unwrap();
    // By mode and list: from this machine, from the neighbour, from somebody else.
    for (mode, list, expected) in [
        (LocalTls::None, "", [&clear, &refused, &refused]),
        (LocalTls::None, listed, [&clear, &clear, &refused]),
        (LocalTls::StartTls, "", [&required, &required, &required]),
        (LocalTls::StartTls, listed, [&required, &offered, &required]),
        (LocalTls::Auto, "", [&offered, &required, &required]),
        (LocalTls::Auto, listed, [&offered, &offered, &required]),
    ] {
        let terms = terms(mode, list);
        for (source, expected) in [LOOPBACK, NEIGHBOUR, STRANGER].iter().zip(expected) {
            let begun = begins(&terms, &local, source).await;
            assert_eq!(&begun, expected, "{mode} {list} {source}");
            let mapped = format!("::ffff:{source}");
            assert_eq!(begins(&terms, &local, &mapped).await, begun, "{mapped}");
        }
    }
}

#[tokio::test]
async fn the_first_octet_decides_and_stays_where_it_is() {
    for (first, auto, implicit) in [
        (0x16, "handshake", "handshake"),
        (0x80, "handshake", "handshake"), // SSL 2, which is answered with an alert
        (b'E', "Offered", "ExpectedTls"),
        (b'\r', "Offered", "ExpectedTls"),
    ] {
        let (mut program, mut local) = connected().await;
        program.write_all(&[first]).await.unwrap();
        assert_eq!(
            begins(&terms(LocalTls::Auto, ""), &local, LOOPBACK).await,
            auto
        );
        assert_eq!(
            begins(&terms(LocalTls::Implicit, ""), &local, LOOPBACK).await,
            implicit
        );
        assert_eq!(local.read_u8().await.unwrap(), first);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_means_a_greeting_in_clear_with_auto_and_good_bye_with_implicit() {
    let (_program, local) = connected().await;
    assert_eq!(
        begins(&terms(LocalTls::Auto, ""), &local, LOOPBACK).await,
        "Offered"
    );
    assert_eq!(
        begins(&terms(LocalTls::Implicit, ""), &local, LOOPBACK).await,
        "ExpectedTls"
    );
}

#[tokio::test]
async fn what_came_in_clear_is_seen_even_before_the_runtime_knows_of_it() {
    let (program, local) = connected().await;
    assert!(!local.has_input());
    let program = program.into_std().unwrap();
    std::io::Write::write_all(&mut &program, b"x").unwrap();
    // Not one turn of the runtime lies between.
    assert!(local.has_input());
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_in_time_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let key = crate::config::SecretSource::File(folder.path().join("vault.key"));
    let vault = crate::vault::Vault::open(folder.path(), &key).unwrap();
    let names = [crate::config::CertificateName::Host("localhost".into())];
    let keeper = ca::Keeper::open(vault, names.into(), provider()).unwrap();
    let text = "state-dir = 'x'\n[provider.p]\npreset = 'google'\nclient-id = 'x'\n\
         [[listener]]\nprotocol = 'imap'\nprovider = 'p'\nlisten = '127.0.0.1:0'\ntls = 'implicit'\n";
    let config = Config::parse(text, Path::new("x.toml")).unwrap();
    let limit = Duration::from_millis(200);
    let terms = Terms::new(&config.listeners[0], limit, Some(&Arc::new(keeper))).unwrap();
    let (mut program, mut local) = connected().await;
    program.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let error = local.secure(&terms).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Timeout), "{error}");
    assert_eq!(program.read(&mut [0; 9]).await.unwrap(), 0, "closed");
}
