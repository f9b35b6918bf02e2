use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::SecretSource;
use crate::config::egress::{Origin, ProxyLogin};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that a proxy does.
#[derive(Clone)]
enum Step {
    /// Hears exactly these octets.
    Hear(Vec<u8>),
    /// Hears a request up to its empty line, whatever it is.
    HearRequest,
    /// Says this in one segment.
    Say(Vec<u8>),
    /// Says this once the one before was read by the other side, as far as can be seen from here.
    Apart(Vec<u8>),
}

fn say(text: impl AsRef<[u8]>) -> Step {
    Step::Say(text.as_ref().to_vec())
}

/// A proxy that plays its steps with one visitor; what it heard.
async fn proxy(kind: ProxyKind, steps: Vec<Step>) -> (Proxy, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy {
        kind,
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        login: None,
        origin: Origin::File,
    };
    let playing = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut heard = Vec::new();
        for step in steps {
            play(&mut stream, step, &mut heard).await;
        }
        heard
    });
    (proxy, playing)
}

async fn play(stream: &mut TcpStream, step: Step, heard: &mut Vec<u8>) {
    match step {
        Step::Hear(expected) => {
            let mut octets = vec![0; expected.len()];
            stream.read_exact(&mut octets).await.unwrap();
            assert_eq!(octets, expected);
        }
        Step::HearRequest => {
            while !heard.ends_with(b"\r\n\r\n") {
                heard.push(stream.read_u8().await.unwrap());
            }
        }
        // The other side may have gone after half of it.
        Step::Say(octets) => drop(stream.write_all(&octets).await),
        Step::Apart(octets) => {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            drop(stream.write_all(&octets).await);
        }
    }
}

async fn opened(proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, EgressError> {
    let stream = TcpStream::connect((proxy.host.as_str(), proxy.port))
        .await
        .unwrap();
    timeout(PATIENCE, open(proxy, stream, host, port))
        .await
        .expect("an end")
}

async fn after(kind: ProxyKind, steps: Vec<Step>) -> Result<TcpStream, EgressError> {
    let (proxy, _playing) = proxy(kind, steps).await;
    opened(&proxy, "imap.example.com", 993).await
}

async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    rest
}

fn with_login(mut proxy: Proxy, user: &str, password: &str) -> Proxy {
    proxy.login = Some(ProxyLogin {
        user: user.into(),
        password: Some(SecretSource::Inline(password.into())),
    });
    proxy
}

async fn connect_answered(answer: &[u8]) -> Result<TcpStream, EgressError> {
    after(ProxyKind::Http, vec![Step::HearRequest, say(answer)]).await
}

// ---- CONNECT ----

#[tokio::test]
async fn connect_names_the_host_and_says_who_we_are() {
    for (host, login, expected) in [
        (
            "imap.example.com",
            None,
            "CONNECT imap.example.com:993 HTTP/1.1\r\nHost: imap.example.com:993\r\n",
        ),
        (
            "2001:db8::1",
            None,
            "CONNECT [2001:db8::1]:993 HTTP/1.1\r\nHost: [2001:db8::1]:993\r\n",
        ),
        // RFC 7617 §2.1
        (
            "x",
            Some(("test", "123£")),
            "\r\nProxy-Authorization: Basic dGVzdDoxMjPCow==\r\n",
        ),
    ] {
        let steps = vec![
            Step::HearRequest,
            say("HTTP/1.1 200 Connection established\r\n\r\n"),
        ];
        let (mut proxy, playing) = proxy(ProxyKind::Http, steps).await;
        if let Some((user, password)) = login {
            proxy = with_login(proxy, user, password);
        }
        opened(&proxy, host, 993).await.unwrap();
        let heard = String::from_utf8(playing.await.unwrap()).unwrap();
        assert!(heard.contains(expected), "{heard}");
        assert_eq!(heard.contains("Proxy-Authorization"), login.is_some());
    }
}

#[tokio::test]
async fn any_success_opens_the_tunnel_and_what_follows_belongs_to_the_host() {
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nVia: 1.1 a\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 204 \r\n\r\n",
        "HTTP/1.1 299 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n",
        "HTTP/1.0 200 OK\n\n",
    ] {
        let greeting = "220 mail\r\n\r\nHTTP/1.1 407 x\r\n\r\n";
        let stream = connect_answered(format!("{answer}{greeting}").as_bytes()).await;
        assert_eq!(
            rest(stream.expect(answer)).await,
            greeting.as_bytes(),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_answer_means_the_same_wherever_it_is_cut() {
    let answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n* OK ready\r\n";
    for cut in 1..answer.len() {
        let (first, second) = answer.split_at(cut);
        let steps = vec![Step::HearRequest, say(first), Step::Apart(second.to_vec())];
        let stream = after(ProxyKind::Http, steps).await.expect("a tunnel");
        assert_eq!(rest(stream).await, b"* OK ready\r\n", "cut at {cut}");
    }
    let mut steps = vec![Step::HearRequest];
    steps.extend(answer.chunks(1).map(|octet| Step::Apart(octet.to_vec())));
    let stream = after(ProxyKind::Http, steps).await.expect("a tunnel");
    assert_eq!(rest(stream).await, b"* OK ready\r\n");
}

#[tokio::test]
async fn a_refusal_is_told_in_words_with_what_to_do() {
    for (answer, is_config, said) in [
        (
            "407 x\r\nProxy-Authenticate: Basic realm=\"hunter2\"",
            true,
            "wants a user name and a password: give `egress` as { url, user, password }",
        ),
        (
            "407 x\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM",
            true,
            "takes only Negotiate, NTLM",
        ),
        (
            "403 hunter2",
            true,
            "refuses to connect to imap.example.com:993 (403)",
        ),
        (
            "405 hunter2",
            true,
            "does not make connections for others (405)",
        ),
        (
            "500 Unable",
            false,
            "cannot reach imap.example.com:993 (500)",
        ),
        ("503 x", false, "cannot reach imap.example.com:993 (503)"),
        ("302 x\r\nLocation: http://hunter2", false, "the status 302"),
        ("101 hunter2", false, "the status 101"),
    ] {
        let error = connect_answered(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes())
            .await
            .unwrap_err();
        assert_eq!(error.is_config(), is_config, "{error}");
        let told = error.to_string();
        assert!(told.contains(said) && !told.contains("hunter"), "{told}");
    }
}

#[tokio::test]
async fn a_wrong_login_is_not_called_a_missing_one_and_stands_nowhere() {
    for status in [401, 407] {
        told_of_a_wrong_login(status).await;
    }
}

async fn told_of_a_wrong_login(status: u16) {
    let steps = vec![
        Step::HearRequest,
        say(format!(
            "HTTP/1.1 {status} bWU6aHVudGVyMg==\r\nX: me:hunter2\r\n\r\n"
        )),
    ];
    let (proxy, _playing) = proxy(ProxyKind::Http, steps).await;
    let proxy = with_login(proxy, "me", "hunter2");
    let error = opened(&proxy, "x", 1).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("does not accept"), "{told}");
    assert!(
        !told.contains("hunter2") && !told.contains("bWU6"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_no_proxy_is_recognised_at_once() {
    for answer in [
        "* OK IMAP4rev1 ready\r\n",
        "220 mail.example.com ESMTP\r\n",
        "SSH-2.0-OpenSSH_9\r\n",
        "\x05\0",
        "HTTP/1.1 2000 x\r\n\r\n",
        "HTTP/1.1 ok\r\n\r\n",
    ] {
        let error = connect_answered(answer.as_bytes()).await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("not answer as an HTTP proxy"),
            "{answer}: {told}"
        );
    }
}

#[tokio::test]
async fn half_an_answer_and_none_are_told() {
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r"] {
        let error = connect_answered(answer.as_bytes()).await.unwrap_err();
        assert!(
            error.to_string().contains("closed the connection"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let line = "A: 0123456789\r\n";
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", line.repeat(MAX_HEADERS + 1));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(2 * MAX_ANSWER));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_ANSWER / 25 + 2);
    for answer in [many, long, interim] {
        let error = connect_answered(answer.as_bytes()).await.unwrap_err();
        assert!(error.to_string().contains("longer than 16 KiB"), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_would_be_a_header_is_not_sent() {
    let (proxy, _playing) = proxy(ProxyKind::Http, vec![]).await;
    let error = opened(&proxy, "a\r\nX: y", 1).await.unwrap_err();
    assert!(matches!(error, EgressError::BadTarget(_)), "{error}");
}

// ---- SOCKS5 ----

const NO_LOGIN: [u8; 3] = [5, 1, 0];
const NAME: &[u8] = b"\x05\x01\x00\x03\x10imap.example.com\x03\xe1";
const GRANTED: [u8; 10] = [5, 0, 0, 1, 127, 0, 0, 1, 3, 225];

#[tokio::test]
async fn socks_is_told_the_name_and_keeps_what_the_host_says_first() {
    for granted in [
        &GRANTED[..],
        b"\x05\0\0\x03\x04host\x03\xe1",
        &[&[5, 0, 0, 4][..], &[0; 18]].concat(),
    ] {
        let greeting = b"220 mail\r\n";
        let octets = [granted, greeting].concat();
        for cut in 1..octets.len() {
            let steps = vec![
                Step::Hear(NO_LOGIN.to_vec()),
                say([5, 0]),
                Step::Hear(NAME.to_vec()),
                say(&octets[..cut]),
                Step::Apart(octets[cut..].to_vec()),
            ];
            let stream = after(ProxyKind::Socks5, steps).await.expect("a tunnel");
            assert_eq!(rest(stream).await, greeting, "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn socks_is_told_addresses_as_addresses_and_who_we_are() {
    let steps = vec![
        Step::Hear(vec![5, 2, 0, 2]),
        say([5, 2]),
        Step::Hear(b"\x01\x02me\x07hunter2".to_vec()),
        say([1, 0]),
        Step::Hear([&[5, 1, 0, 4][..], &[0; 15], &[1, 3, 225]].concat()),
        say(GRANTED),
    ];
    let (proxy, playing) = proxy(ProxyKind::Socks5, steps).await;
    let proxy = with_login(proxy, "me", "hunter2");
    opened(&proxy, "::1", 993).await.unwrap();
    playing.await.unwrap();
}

#[tokio::test]
async fn a_refusal_of_socks_is_told_in_words() {
    for (code, is_config, said) in [
        (
            1,
            false,
            "cannot reach imap.example.com:993 (general failure)",
        ),
        (
            2,
            true,
            "refuses to connect to imap.example.com:993 (not allowed",
        ),
        (
            4,
            false,
            "(host unreachable); names are resolved by the proxy",
        ),
        (5, false, "(connection refused)"),
        (99, true, "not answer as a SOCKS5 proxy"),
    ] {
        let answer = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let steps = vec![
            Step::Hear(NO_LOGIN.to_vec()),
            say([5, 0]),
            Step::Hear(NAME.to_vec()),
            say(answer),
        ];
        let error = after(ProxyKind::Socks5, steps).await.unwrap_err();
        assert_eq!(error.is_config(), is_config, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_socks_proxy_that_wants_a_login_says_so() {
    for answer in [[5, 0xff], [5, 2]] {
        let steps = vec![Step::Hear(NO_LOGIN.to_vec()), say(answer)];
        let error = after(ProxyKind::Socks5, steps).await.unwrap_err();
        assert!(error.to_string().contains("wants a user name"), "{error}");
    }
    let steps = vec![
        Step::Hear(vec![5, 2, 0, 2]),
        say([5, 2]),
        Step::Hear(b"\x01\x02me\x07hunter2".to_vec()),
        say([1, 1]),
    ];
    let (proxy, _playing) = proxy(ProxyKind::Socks5, steps).await;
    let proxy = with_login(proxy, "me", "hunter2");
    let error = opened(&proxy, "x", 1).await.unwrap_err();
    assert!(
        error.to_string().contains("does not accept our user name"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_socks_proxy_that_falls_silent_or_is_none_is_told() {
    for (answer, said) in [
        (&b""[..], "closed the connection"),
        (b"\x05", "closed the connection"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "whether it is an http:// one",
        ),
        (b"\x05\x07", "not answer as a SOCKS5 proxy"),
    ] {
        let steps = vec![Step::Hear(NO_LOGIN.to_vec()), say(answer)];
        let error = after(ProxyKind::Socks5, steps).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_password_that_cannot_be_read_is_told_before_anything_is_sent() {
    let (mut proxy, playing) = proxy(ProxyKind::Http, vec![]).await;
    proxy.login = Some(ProxyLogin {
        user: "me".into(),
        password: Some(SecretSource::File("/nonexistent/secret".into())),
    });
    let error = opened(&proxy, "x", 1).await.unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("/nonexistent/secret"),
        "{error}"
    );
    assert!(playing.await.unwrap().is_empty());
}
