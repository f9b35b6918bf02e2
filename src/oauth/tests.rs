mod flows;

use std::collections::HashMap;

use super::testing::{Endpoint, Reply, provider};
use super::*;
use crate::config::{Flow, SecretSource};

const LIMIT: Duration = Duration::from_millis(500);
const GOOD: &str =
    r#"{"access_token":"at","token_type":"Bearer","expires_in":3599,"refresh_token":"rt2"}"#;

async fn refresh_against(reply: Reply) -> Result<Answer, OAuthError> {
    let endpoint = Endpoint::replying(vec![reply]).await;
    let oauth = OAuth::new(Arc::new(provider(&endpoint.url)), LIMIT).expect("client");
    let outcome = oauth.refresh(&"s3cret-refresh".to_owned().into()).await;
    assert_eq!(endpoint.hits(), 1, "every call is one request");
    outcome
}

#[tokio::test]
async fn lenient_answers_are_taken() {
    for reply in [
        Reply::json(200, GOOD),
        Reply::json(200, r#"{"access_token":"at","expires_in":"3599"}"#),
        Reply::json(201, GOOD),
        Reply::with(200, "Content-Type: text/plain\r\n", GOOD),
        Reply::with(200, "", GOOD),
        Reply::json(
            200,
            r#"{"access_token":"at","token_type":"bearer","scope":["mail"],"refresh_token":null}"#,
        ),
    ] {
        let answer = refresh_against(reply.clone())
            .await
            .unwrap_or_else(|error| panic!("{reply:?}: {error}"));
        assert_eq!(answer.access_token.expose(), "at");
    }
}

#[tokio::test]
async fn every_fault_has_its_class_and_none_repeats_a_secret() {
    let echo =
        r#"{"error":"invalid_grant","error_description":"bad token s3cret-refresh\u001b[1m"}"#;
    let big = format!("{{\"x\":\"{}\"}}", "a".repeat(1024 * 1024));
    let html = "<html><title>Bad gateway</title></html>";
    let crlf = r#"{"access_token":"a\r\nb","refresh_token":"rt2"}"#;
    let table = [
        (
            Reply::with(429, "Retry-After: 7\r\n", "{}"),
            Class::Retry,
            "429",
        ),
        (
            Reply::with(503, "Content-Type: text/html\r\n", html),
            Class::Retry,
            "Bad gateway",
        ),
        (
            Reply::json(503, r#"{"error":"temporarily_unavailable"}"#),
            Class::Retry,
            "temporarily_unavailable",
        ),
        (
            Reply::with(302, "Location: http://127.0.0.1:1/\r\n", ""),
            Class::Retry,
            "302",
        ),
        (
            Reply::with(404, "", "<p>nothing</p>"),
            Class::Config,
            "nothing",
        ),
        (Reply::json(200, &big), Class::Retry, "256 KiB"),
        (
            Reply::with(200, "Content-Type: text/html\r\n", html),
            Class::Retry,
            "Bad gateway",
        ),
        (Reply::json(200, crlf), Class::Retry, "access token"),
        (
            Reply::json(200, r#"{"access_token":"t","token_type":"mac"}"#),
            Class::Retry,
            "Bearer",
        ),
        (Reply::json(200, r#"{"hello":1}"#), Class::Retry, "neither"),
        (
            Reply::json(200, r#"{"access_token":{"s3cret":1}}"#),
            Class::Retry,
            "access_token",
        ),
        (
            Reply::json(200, r#"{"error":"invalid_code"}"#),
            Class::Consent,
            "invalid_code",
        ),
        (Reply::json(400, echo), Class::Consent, "[redacted]"),
        (Reply::json(400, ""), Class::Retry, "400"),
        (
            Reply::json(401, r#"{"error":"invalid_client"}"#),
            Class::Config,
            "invalid_client",
        ),
        (
            Reply::json(400, r#"{"message":"no"}"#),
            Class::Retry,
            "neither",
        ),
        (Reply::Drop, Class::Retry, "did not answer"),
        (
            Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()),
            Class::Retry,
            "did not answer",
        ),
        (
            Reply::json(200, GOOD).slow(LIMIT * 2),
            Class::Retry,
            "nothing came",
        ),
    ];
    for (reply, class, words) in table {
        let error = refresh_against(reply).await.expect_err(words);
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        assert_eq!(error.class(), class, "{text}");
        assert!(text.contains(words), "{words:?} not in {text:?}");
        assert!(
            !text.contains("s3cret") && !debug.contains("s3cret"),
            "{debug}"
        );
        assert!(!text.contains('\u{1b}'));
    }
}

/// A listener whose queue is full answers nobody; so does a firewall.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_host_that_takes_no_connection_has_seen_no_request() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    socket.listen(0).expect("a queue");
    let address = socket.local_addr().ok().and_then(|a| a.as_socket());
    let address = address.expect("an address");
    let mut queued = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(2 * LIMIT, tokio::net::TcpStream::connect(address)).await
    {
        queued.push(connected.expect("a place in the queue"));
    }
    let url = Url::parse(&format!("http://{address}/token")).expect("url");
    let oauth = OAuth::new(Arc::new(provider(&url)), LIMIT).expect("client");
    let error = oauth.refresh(&"s3cret-refresh".to_owned().into()).await;
    let error = error.expect_err("nobody answers");
    assert!(!error.may_have_acted(), "{error}");
    assert!(error.to_string().contains("cannot reach"), "{error}");
}

#[tokio::test]
async fn what_the_request_said_is_told_to_nobody_in_any_form() {
    let mut provider = provider(&Url::parse("http://127.0.0.1:1/token").expect("url"));
    provider.client_secret = Some(SecretSource::Inline("cl1ent s3cret/+".to_owned().into()));
    for status in [400, 503] {
        for is_page in [false, true] {
            // The request itself comes back, cut at another place each time.
            let endpoint = Endpoint::start(move |number, request| {
                let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
                let echo = &body[..body.len().min(40 + number)];
                let text = if is_page {
                    format!("<p>{}{echo}</p>", "x".repeat(number))
                } else {
                    let said =
                        serde_json::json!({"error": "invalid_grant", "error_description": echo});
                    said.to_string()
                };
                Reply::with(status, "Content-Type: text/html\r\n", &text)
            })
            .await;
            provider.token_url = Some(endpoint.url.clone());
            let oauth = OAuth::new(Arc::new(provider.clone()), LIMIT).expect("client");
            for _ in 0..60 {
                let outcome = oauth
                    .refresh(&"r3fresh/s3cret+token".to_owned().into())
                    .await;
                let error = outcome.expect_err("refused");
                let shown = format!("{error} {error:?}");
                for part in ["r3fres", "s3cret", "3cret%2", "cl1ent"] {
                    assert!(!shown.contains(part), "{part} in {shown}");
                }
            }
        }
    }
}

#[tokio::test]
async fn retry_after_reaches_the_caller() {
    let error = refresh_against(Reply::with(429, "Retry-After: 7\r\n", "{}"))
        .await
        .expect_err("429");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert!(!error.may_have_acted());
}

#[tokio::test]
async fn a_rotated_refresh_token_survives_an_unusable_answer() {
    for rest in [
        r#""access_token":"a b""#,
        r#""access_token":["at"]"#,
        r#""access_token":null"#,
        r#""expires_in":1"#,
        r#""access_token":"at","token_type":7"#,
        r#""access_token":"at","id_token":{}"#,
        r#""access_token":"at","access_token":"at""#,
    ] {
        let reply = Reply::json(200, &format!(r#"{{{rest},"refresh_token":"rt2"}}"#));
        let Err(OAuthError::Unusable(unusable)) = refresh_against(reply).await else {
            panic!("{rest} was taken, or the refresh token was lost")
        };
        assert_eq!(unusable.refresh_token.expect("kept").expose_secret(), "rt2");
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_nothing_was_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = Url::parse(&format!(
        "http://{}/token",
        listener.local_addr().expect("address")
    ))
    .expect("url");
    drop(listener);
    let oauth = OAuth::new(Arc::new(provider(&url)), LIMIT).expect("client");
    let error = oauth
        .refresh(&"rt".to_owned().into())
        .await
        .expect_err("nobody");
    assert!(
        matches!(error, OAuthError::Http(HttpError::Unreachable { .. })),
        "{error:?}"
    );
    assert!(!error.may_have_acted());
}

#[tokio::test]
async fn secrets_are_never_sent_in_clear_beyond_this_machine() {
    let url = Url::parse("http://login.example/token").expect("url");
    let oauth = OAuth::new(Arc::new(provider(&url)), LIMIT).expect("client");
    let error = oauth
        .refresh(&"rt".to_owned().into())
        .await
        .expect_err("insecure");
    assert!(
        matches!(error, OAuthError::Http(HttpError::Insecure { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_sign_in_has_pkce_state_and_hint_and_its_exchange_proves_them() {
    let endpoint = Endpoint::replying(vec![Reply::json(200, GOOD)]).await;
    let mut provider = provider(&endpoint.url);
    provider.client_secret = Some(SecretSource::Inline("cl1ent secret".to_owned().into()));
    let oauth = OAuth::new(Arc::new(provider), LIMIT).expect("client");
    let redirect = Url::parse("http://127.0.0.1:4711/callback").expect("url");
    let sign_in = oauth
        .sign_in(&redirect, "alice@example.com")
        .await
        .expect("begun");

    let query: HashMap<_, _> = sign_in.url.query_pairs().into_owned().collect();
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["redirect_uri"], redirect.as_str());
    assert_eq!(query["scope"], "mail offline_access");
    assert_eq!(query["login_hint"], "alice@example.com");
    assert_eq!(query["prompt"], "consent");
    assert_eq!(query["state"], sign_in.expected.state.expose_secret());
    assert!(query["state"].len() >= 22, "128 bits");

    let verifier = sign_in.verifier.secret().clone();
    oauth
        .exchange(sign_in, "c0de".to_owned().into())
        .await
        .expect("tokens");
    let request = &endpoint.requests()[0];
    for part in [
        "grant_type=authorization_code",
        "code=c0de",
        &format!("code_verifier={verifier}"),
        "redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback",
        "client_id=test-client",
        "client_secret=cl1ent+secret",
    ] {
        assert!(request.contains(part), "{part} not in {request}");
    }
    assert!(!request.to_ascii_lowercase().contains("authorization:"));
}

#[tokio::test]
async fn client_credentials_ask_for_the_scopes_in_the_body() {
    let endpoint = Endpoint::replying(vec![Reply::json(200, GOOD)]).await;
    let mut provider = provider(&endpoint.url);
    provider.flow = Flow::ClientCredentials;
    provider.client_secret = Some(SecretSource::Inline("daemon".to_owned().into()));
    let oauth = OAuth::new(Arc::new(provider), LIMIT).expect("client");
    oauth.client_credentials().await.expect("token");
    let request = &endpoint.requests()[0];
    assert!(
        request.contains("grant_type=client_credentials&scope=mail+offline_access"),
        "{request}"
    );
    assert!(request.contains("client_secret=daemon"));
}

/// An issuer whose metadata are made by `metadata` from its own base URL.
async fn discovered(
    metadata: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
) -> (Endpoint, OAuth) {
    let base = Arc::new(std::sync::Mutex::new(String::new()));
    let known = base.clone();
    let endpoint = Endpoint::start(move |_, request| {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        if path == "/token" {
            Reply::json(200, GOOD)
        } else {
            metadata(&known.lock().expect("base"), &path)
        }
    })
    .await;
    let issuer = endpoint.url.as_str().trim_end_matches("/token").to_owned();
    *base.lock().expect("base") = issuer.clone();
    let mut provider = provider(&endpoint.url);
    (provider.token_url, provider.authorize_url, provider.issuer) = (None, None, Some(issuer));
    let oauth = OAuth::new(Arc::new(provider), LIMIT).expect("client");
    (endpoint, oauth)
}

#[tokio::test]
async fn endpoints_come_from_the_issuer_and_are_fetched_once() {
    let (endpoint, oauth) = discovered(|base, path| match path {
        "/.well-known/oauth-authorization-server" => Reply::json(
            200,
            &format!(
                r#"{{"issuer":"{base}","token_endpoint":"{base}/token","authorization_endpoint":"{base}/auth",
                    "authorization_response_iss_parameter_supported":true}}"#
            ),
        ),
        _ => Reply::with(404, "", "<p>no</p>"),
    })
    .await;
    for _ in 0..2 {
        oauth.refresh(&"rt".to_owned().into()).await.expect("token");
    }
    assert_eq!(
        endpoint.hits(),
        4,
        "two places asked once, then two refreshes"
    );
    let redirect = Url::parse("http://127.0.0.1:1/callback").expect("url");
    let sign_in = oauth.sign_in(&redirect, "alice").await.expect("begun");
    assert!(sign_in.expected.issuer_required);
    assert!(sign_in.url.as_str().contains("/auth?"));
}

#[tokio::test]
async fn a_silent_issuer_costs_all_accounts_its_time_once() {
    let (endpoint, oauth) = discovered(|_, _| Reply::json(200, "{}").slow(LIMIT * 2)).await;
    let oauth = Arc::new(oauth);
    let refreshing = (0..8).map(|_| {
        let oauth = Arc::clone(&oauth);
        tokio::spawn(async move { oauth.refresh(&"rt".to_owned().into()).await })
    });
    for refreshed in refreshing.collect::<Vec<_>>() {
        let error = refreshed.await.expect("no panic").expect_err("silence");
        assert!(error.to_string().contains("did not answer"), "{error}");
        // No refresh token went anywhere.
        assert!(!error.may_have_acted());
    }
    assert_eq!(endpoint.hits(), 1);
}

#[tokio::test]
async fn the_issuer_says_where_other_devices_begin() {
    let (endpoint, oauth) = discovered(|base, path| match path {
        "/device" => Reply::json(
            200,
            r#"{"device_code":"d","user_code":"AB-CD","verification_uri":"https://id.example/d"}"#,
        ),
        _ => Reply::json(
            200,
            &format!(
                r#"{{"issuer":"{base}","token_endpoint":"{base}/token","device_authorization_endpoint":"{base}/device"}}"#
            ),
        ),
    })
    .await;
    let begun = oauth.device_sign_in().await.expect("a code");
    assert_eq!((begun.user_code.as_str(), endpoint.hits()), ("AB-CD", 2));
    let (_endpoint, oauth) = discovered(|base, _| {
        let body = format!(r#"{{"issuer":"{base}","token_endpoint":"{base}/token"}}"#);
        Reply::json(200, &body)
    })
    .await;
    let error = oauth.device_sign_in().await.expect_err("nowhere");
    assert!(error.to_string().contains("device-url"), "{error}");
}

#[tokio::test]
async fn metadata_of_another_issuer_or_with_clear_endpoints_are_refused() {
    let (_endpoint, oauth) = discovered(|_, _| {
        Reply::json(
            200,
            r#"{"issuer":"https://evil.example","token_endpoint":"https://evil.example/token"}"#,
        )
    })
    .await;
    let error = oauth
        .refresh(&"rt".to_owned().into())
        .await
        .expect_err("another issuer");
    assert!(matches!(error, OAuthError::Issuer { .. }), "{error:?}");

    let (_endpoint, oauth) = discovered(|base, _| {
        Reply::json(
            200,
            &format!(r#"{{"issuer":"{base}","token_endpoint":"http://evil.example/token"}}"#),
        )
    })
    .await;
    let error = oauth
        .refresh(&"rt".to_owned().into())
        .await
        .expect_err("in clear");
    assert!(
        matches!(error, OAuthError::Http(HttpError::Insecure { .. })),
        "{error:?}"
    );
}
