use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::config::Senders;
use crate::dialogue::LoggedIn;
use crate::relay::relay;

/// A mail program and a mail server with the relay and the guard between them.
struct Line {
    device: DuplexStream,
    server: DuplexStream,
}

fn line(senders: &[&str], leftovers: &str) -> Line {
    let (device, mut local) = duplex(64 * 1024);
    let (server, mut upstream) = duplex(64 * 1024);
    let senders = Arc::new(Senders::new(senders.iter().copied()).unwrap());
    let opening = Opening {
        reply: Outgoing::default(),
        leftovers: Outgoing::holding(leftovers.as_bytes()),
    };
    let guard = SenderGuard::new(senders, &Default::default());
    tokio::spawn(async move {
        let (mut guarded, opening) = Guarded::new(&mut local, guard, opening);
        let login = LoggedIn::pretended(b"");
        let ear = Box::new(|_: &[u8]| false);
        let end = std::future::pending();
        relay(&mut guarded, &mut upstream, &opening, &login, ear, end).await
    });
    Line { device, server }
}

async fn hears(stream: &mut DuplexStream, expected: &str) {
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), expected);
}

async fn hears_the_end(stream: &mut DuplexStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test]
async fn a_permitted_message_goes_through_as_it_came() {
    let mut line = line(&["a@x.y"], "MAIL FROM:<A@x.y>\r\n");
    hears(&mut line.server, "MAIL FROM:<A@x.y>\r\n").await;
    line.server.write_all(b"250 ok\r\n").await.unwrap();
    hears(&mut line.device, "250 ok\r\n").await;
    let said = "RCPT TO:<b@x.y>\r\nDATA\r\n";
    // The message comes before its invitation; the server must not get it before that.
    let message = "MAIL FROM:<evil@x.y>\r\n.\r\nQUIT\r\n";
    line.device.write_all(said.as_bytes()).await.unwrap();
    line.device.write_all(message.as_bytes()).await.unwrap();
    hears(&mut line.server, said).await;
    line.server
        .write_all(b"250 ok\r\n354 go\r\n")
        .await
        .unwrap();
    hears(&mut line.server, message).await;
    line.server
        .write_all(b"250 ok\r\n221 bye\r\n")
        .await
        .unwrap();
    drop(line.server);
    hears(
        &mut line.device,
        "250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n",
    )
    .await;
    hears_the_end(&mut line.device).await;
}

#[tokio::test]
async fn a_denied_sender_hears_so_behind_the_answers_before_it() {
    let mut line = line(
        &["a@x.y"],
        "MAIL FROM:<a@x.y>\r\nRSET\r\nMAIL FROM:<b@x.y>\r\n",
    );
    hears(&mut line.server, "MAIL FROM:<a@x.y>\r\nRSET\r\n").await;
    line.server.write_all(b"250 first\r\n250-se").await.unwrap();
    hears(&mut line.device, "250 first\r\n250-se").await;
    line.server.write_all(b"cond\r\n250 end\r\n").await.unwrap();
    hears(&mut line.device, "cond\r\n250 end\r\n").await;
    hears(
        &mut line.device,
        "550 5.7.1 This sender is not allowed here. (MW-SENDER)\r\n",
    )
    .await;
    hears_the_end(&mut line.server).await;
    line.server.write_all(b"421 bye\r\n").await.unwrap();
    drop(line.server);
    hears_the_end(&mut line.device).await;
}

#[tokio::test]
async fn a_server_that_leaves_does_not_keep_the_reason_back() {
    let mut line = line(&["a@x.y"], "NOOP\r\nMAIL FROM:<b@x.y>\r\n");
    hears(&mut line.server, "NOOP\r\n").await;
    drop(line.server);
    hears(
        &mut line.device,
        "550 5.7.1 This sender is not allowed here. (MW-SENDER)\r\n",
    )
    .await;
    hears_the_end(&mut line.device).await;
}

#[tokio::test]
async fn large_messages_pass_unchanged() {
    let mut line = line(
        &["a@x.y"],
        "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n",
    );
    hears(
        &mut line.server,
        "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n",
    )
    .await;
    line.server
        .write_all(b"250 1\r\n250 2\r\n354 3\r\n")
        .await
        .unwrap();
    hears(&mut line.device, "250 1\r\n250 2\r\n354 3\r\n").await;
    let message = "..a line of some length\r\n".repeat(40_000) + ".\r\n";
    let sent = message.clone();
    let (mut hearing, mut saying) = tokio::io::split(line.device);
    let device = tokio::spawn(async move { saying.write_all(sent.as_bytes()).await });
    hears(&mut line.server, &message).await;
    device.await.unwrap().unwrap();
    line.server.write_all(b"250 4\r\n").await.unwrap();
    let mut heard = [0; 7];
    hearing.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"250 4\r\n");
}
