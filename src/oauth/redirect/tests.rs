use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn expected() -> Expected {
    Expected {
        path: "/callback".into(),
        state: "right-state".to_owned().into(),
        issuer: Some("https://id.example".into()),
        origins: Vec::new(),
        issuer_required: false,
    }
}

async fn get(port: u16, target: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("connect");
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

async fn listening(url: &str) -> (Arc<RedirectListener>, u16) {
    let listener = RedirectListener::bind(&Url::parse(url).expect("url"))
        .await
        .expect("bind");
    let port = listener.url().port().expect("port");
    (Arc::new(listener), port)
}

fn waiting(
    listener: &Arc<RedirectListener>,
) -> tokio::task::JoinHandle<Result<SecretString, RedirectError>> {
    let listener = listener.clone();
    tokio::spawn(async move { listener.wait(expected(), Duration::from_secs(20)).await })
}

#[tokio::test]
async fn only_the_right_path_and_state_end_the_waiting() {
    let (listener, port) = listening("http://localhost/callback").await;
    let wait = waiting(&listener);
    let _preconnect = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("connect");
    for stray in [
        "/favicon.ico",
        "/",
        "/callback",
        "/callback?code=x&state=wrong",
        "/callback?code=x",
        "/callback?error=access_denied&state=wrong",
        "/callback?code=x&state=right-state&state=right-state",
        "/callback?code=x&state=right-state&iss=https%3A%2F%2Fevil.example",
        "/callback?code=x&code=y&state=right-state",
        "/elsewhere?code=x&state=right-state",
    ] {
        let answer = get(port, stray).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{stray}: {answer}");
        assert!(!answer.contains("right-state"));
        assert!(!wait.is_finished(), "{stray} ended the waiting");
    }
    let answer = get(
        port,
        "/callback?code=c0de&state=right-state&iss=https%3A%2F%2Fid.example",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && !answer.contains("c0de"),
        "{answer}"
    );
    for header in [
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "default-src 'none'",
    ] {
        assert!(answer.contains(header), "{header} missing in {answer}");
    }
    assert_eq!(
        wait.await.expect("task").expect("code").expose_secret(),
        "c0de"
    );
}

#[tokio::test]
async fn an_error_with_the_right_state_ends_the_waiting_and_is_not_echoed() {
    let (listener, port) = listening("http://127.0.0.1/callback").await;
    let wait = waiting(&listener);
    let answer = get(
        port,
        "/callback?error=access_denied&error_description=%3Cscript%3E%0D%0Ax&state=right-state",
    )
    .await;
    assert!(!answer.contains("<script>"));
    let Err(RedirectError::Declined(error)) = wait.await.expect("task") else {
        panic!("not declined")
    };
    assert_eq!(error.to_string(), "access_denied: <script> x");
}

#[test]
fn a_second_hit_gets_a_harmless_page_and_changes_nothing() {
    let shared = Shared {
        expected: expected(),
        outcome: Mutex::new(Outcome::Awaited),
    };
    let request = |code| {
        Request::get(format!(
            "http://localhost/callback?code={code}&state=right-state"
        ))
        .body(())
        .expect("request")
    };
    assert_eq!(shared.answer(&request("first")).status(), StatusCode::OK);
    assert_eq!(shared.answer(&request("second")).status(), StatusCode::OK);
    assert_eq!(
        shared
            .take()
            .expect("arrived")
            .expect("code")
            .expose_secret(),
        "first"
    );
    shared.answer(&request("third"));
    assert!(shared.take().is_none());
}

#[tokio::test]
async fn localhost_is_served_on_both_address_families() {
    let (listener, port) = listening("http://localhost:0/callback").await;
    assert_eq!(
        listener.first.local_addr().expect("address").ip(),
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    );
    if let Some(second) = &listener.second {
        assert_eq!(
            second.local_addr().expect("address"),
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)
        );
    }
    let (other, _) = listening("http://127.0.0.1/callback").await;
    assert!(other.second.is_none());
}

#[tokio::test]
async fn a_redirect_url_that_is_not_ours_is_refused() {
    for url in [
        "https://127.0.0.1/cb",
        "http://example.com/cb",
        "http://192.0.2.1/cb",
    ] {
        let refused = RedirectListener::bind(&Url::parse(url).expect("url")).await;
        assert!(matches!(refused, Err(RedirectError::Bind { .. })), "{url}");
    }
}

#[tokio::test]
async fn nobody_comes() {
    let (listener, _) = listening("http://127.0.0.1/callback").await;
    let outcome = listener.wait(expected(), Duration::from_millis(20)).await;
    assert!(matches!(outcome, Err(RedirectError::TimedOut(_))));
}

#[test]
fn a_pasted_address_is_forgiven_its_shape_but_not_its_state() {
    let expected = expected();
    for pasted in [
        "http://localhost:1234/callback?code=c0de&state=right-state",
        "  \"http://localhost:1234/callback?code=c0\nde&state=right-\n state\"  ",
        "<http://localhost/callback?state=right-state&code=c0de#frag>",
        "code=c0de&state=right-state",
        "?code=c0de&state=right-state",
    ] {
        let code = expected
            .read_pasted(pasted)
            .unwrap_or_else(|error| panic!("{pasted}: {error}"));
        assert_eq!(code.expose_secret(), "c0de");
    }
    for pasted in [
        "",
        "c0de",
        "http://localhost/callback?code=c0de&state=other",
        "http://localhost/other?code=c0de&state=right-state",
        "http://localhost/callback?code=c0de&state=right-state&iss=https://evil.example",
    ] {
        assert!(
            matches!(expected.read_pasted(pasted), Err(RedirectError::Stray(_))),
            "{pasted}"
        );
    }
}

#[test]
fn an_issuer_that_always_sends_iss_is_held_to_it() {
    let strict = Expected {
        issuer_required: true,
        ..expected()
    };
    assert!(strict.read_pasted("code=c&state=right-state").is_err());
    assert!(
        strict
            .read_pasted("code=c&state=right-state&iss=https://id.example")
            .is_ok()
    );
}

#[test]
fn a_redirect_of_another_provider_is_none_of_ours_even_where_no_issuer_is_known() {
    let origin = |url: &str| Url::parse(url).expect("a URL").origin();
    let unknown = Expected {
        issuer: None,
        origins: vec![
            origin("https://id.example/authorize"),
            origin("https://token.example:8443/"),
        ],
        ..expected()
    };
    let read = |expected: &Expected, iss: &str| {
        expected
            .read_pasted(&format!("code=c&state=right-state{iss}"))
            .is_ok()
    };
    for iss in [
        "",
        "&iss=https://id.example/realms/a",
        "&iss=https://token.example:8443",
    ] {
        assert!(read(&unknown, iss), "{iss}");
    }
    for iss in [
        "&iss=https://evil.example",
        "&iss=http://id.example",
        "&iss=https://id.example.evil.example",
        "&iss=id.example",
        "&iss=",
    ] {
        assert!(!read(&unknown, iss), "{iss}");
    }
    let lenient = Expected {
        origins: Vec::new(),
        ..unknown
    };
    assert!(read(&lenient, "&iss=szn"));
}
