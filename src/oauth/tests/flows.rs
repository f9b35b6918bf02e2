//! The flows beside the browser against an endpoint that looks at every parameter.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_cert::der::Decode;

use super::super::device::DeviceSignIn;
use super::super::jwt::tests::taken_apart;
use super::*;
use crate::config::testing::{at, made};
use crate::config::{Account, Identity};

/// Whether `signature` is the one that the certificate's key made of `signed`.
fn verified(pem: &str, scheme: SignatureScheme, signed: &str, signature: &[u8]) -> bool {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let certificate = x509_cert::Certificate::from_der(&der).expect("a certificate");
    let info = certificate.tbs_certificate().subject_public_key_info();
    let key = info.subject_public_key.raw_bytes();
    let known = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let (_, algorithms) = known
        .mapping
        .iter()
        .find(|(name, _)| *name == scheme)
        .expect("a scheme that is known");
    algorithms.iter().any(|algorithm| {
        algorithm
            .verify_signature(key, signed.as_bytes(), signature)
            .is_ok()
    })
}

/// The parameters in a request's body.
fn form(request: &str) -> BTreeMap<String, String> {
    let body = request.split_once("\r\n\r\n").expect("a body").1;
    url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

fn account(oauth: &OAuth, address: &str) -> Account {
    let all = || address.to_owned();
    Account {
        address: address.into(),
        provider: oauth.provider().clone(),
        logins: vec![address.into()],
        identity: Identity {
            imap: all(),
            pop3: all(),
            smtp: all(),
        },
        authorize_as: None,
        max_upstream: crate::config::MaxUpstream::default(),
        password_hashes: Vec::new(),
    }
}

async fn unattended(
    endpoint: &Endpoint,
    set: impl FnOnce(&mut Provider),
) -> Result<Answer, OAuthError> {
    let mut registration = provider(&endpoint.url);
    registration.scopes = vec!["https://outlook.office365.com/.default".into()];
    set(&mut registration);
    let oauth = OAuth::new(Arc::new(registration), LIMIT).expect("client");
    oauth
        .unattended(&account(&oauth, "alice@example.com"))
        .await
}

async fn good_endpoint() -> Endpoint {
    Endpoint::replying(vec![Reply::json(200, GOOD)]).await
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_for_one_request() {
    let endpoint = good_endpoint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = made(&rcgen::PKCS_RSA_SHA256);
    let by_certificate = |provider: &mut Provider| {
        provider.flow = Flow::ClientCredentials;
        provider.certificate = Some(at(folder.path(), &certificate, &key));
    };
    let before = Timestamp::now().as_second();
    unattended(&endpoint, by_certificate)
        .await
        .expect("a token");
    unattended(&endpoint, by_certificate)
        .await
        .expect("a token");
    let sent: Vec<_> = endpoint
        .requests()
        .iter()
        .map(|request| form(request))
        .collect();
    assert_eq!(
        sent[0].keys().collect::<Vec<_>>(),
        [
            "client_assertion",
            "client_assertion_type",
            "client_id",
            "grant_type",
            "scope"
        ]
    );
    assert_eq!(
        sent[0]["client_assertion_type"],
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let (header, claims, signed, signature) = taken_apart(&sent[0]["client_assertion"]);
    assert!(verified(
        &certificate,
        SignatureScheme::RSA_PSS_SHA256,
        &signed,
        &signature
    ));
    let der = CertificateDer::from_pem_slice(certificate.as_bytes());
    let thumbprint = Sha256::digest(der.expect("a certificate"));
    assert_eq!(
        header,
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint)})
    );
    for (claim, want) in [
        ("iss", "test-client"),
        ("sub", "test-client"),
        ("aud", endpoint.url.as_str()),
    ] {
        assert_eq!(claims[claim], want, "{claim}");
    }
    let (from, until) = (seconds(&claims, "nbf"), seconds(&claims, "exp"));
    assert!(from <= before && until > before, "{claims}");
    assert!((300..=600).contains(&(until - from)), "{claims}");
    let again = taken_apart(&sent[1]["client_assertion"]).1;
    assert_ne!(claims["jti"], again["jti"], "each is good for one request");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_with_the_next_request() {
    let endpoint = good_endpoint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut registration = provider(&endpoint.url);
    let pairs = [0, 1].map(|_| made(&rcgen::PKCS_RSA_SHA256));
    let key = folder.path().join("app.key");
    let mut certificate = at(folder.path(), &pairs[0].0, "");
    certificate.key = SecretSource::File(key.clone());
    registration.certificate = Some(certificate);
    let oauth = OAuth::new(Arc::new(registration), LIMIT).expect("client");
    for (n, (certificate, private)) in pairs.iter().enumerate() {
        at(folder.path(), certificate, "");
        write_guarded(&key, private);
        oauth.client_credentials().await.expect("a token");
        let sent = form(&endpoint.requests()[n]);
        let (_, _, signed, signature) = taken_apart(&sent["client_assertion"]);
        assert!(verified(
            certificate,
            SignatureScheme::RSA_PSS_SHA256,
            &signed,
            &signature
        ));
    }
}

/// Written so that other users cannot read it, as secrets must be.
fn write_guarded(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("its owner's");
    }
}

/// The key is the old one when it is read first, as while somebody replaces both files.
#[cfg(unix)]
#[tokio::test]
async fn a_pair_that_is_being_replaced_is_looked_at_once_more() {
    let endpoint = good_endpoint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = made(&rcgen::PKCS_RSA_SHA256);
    let (_, old) = made(&rcgen::PKCS_RSA_SHA256);
    write_guarded(&folder.path().join("old"), &old);
    write_guarded(&folder.path().join("new"), &key);
    let script = "cd \"$0\" && cat \"$(cat which 2>/dev/null || echo old)\" && echo new > which";
    let words = ["sh", "-c", script, folder.path().to_str().expect("text")];
    let mut pair = at(folder.path(), &certificate, "");
    pair.key = SecretSource::Command(words.map(str::to_owned).to_vec().into());
    let by_command = |provider: &mut Provider| {
        provider.flow = Flow::ClientCredentials;
        provider.certificate = Some(pair.clone());
    };
    unattended(&endpoint, by_command).await.expect("a token");
    // A pair that is none at the second look either is the configuration's fault.
    std::fs::write(folder.path().join("new"), old).expect("written");
    let error = unattended(&endpoint, by_command)
        .await
        .expect_err("no pair");
    assert!(
        error.to_string().contains("do not belong together"),
        "{error}"
    );
    assert_eq!((error.class(), endpoint.hits()), (Class::Config, 1));
}

fn seconds(claims: &Value, name: &str) -> i64 {
    claims[name].as_i64().expect("a time")
}

#[tokio::test]
async fn an_assertion_is_dated_by_the_clock_of_the_provider() {
    let dated = Reply::with(200, "Date: Wed, 21 Oct 2099 07:28:00 GMT\r\n", GOOD);
    let endpoint = Endpoint::replying(vec![dated]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = made(&rcgen::PKCS_RSA_SHA256);
    let mut registration = provider(&endpoint.url);
    registration.certificate = Some(at(folder.path(), &certificate, &key));
    let oauth = OAuth::new(Arc::new(registration), LIMIT).expect("client");
    for _ in 0..2 {
        oauth.client_credentials().await.expect("a token");
    }
    let ends = |n: usize| {
        let claims = taken_apart(&form(&endpoint.requests()[n])["client_assertion"]).1;
        Timestamp::from_second(seconds(&claims, "exp"))
            .expect("a time")
            .to_string()
    };
    assert!(!ends(0).starts_with("2099"));
    assert!(ends(1).starts_with("2099-10-21T07:3"), "{}", ends(1));
}

#[tokio::test]
async fn a_platforms_assertion_goes_as_it_is_and_is_read_each_time() {
    let endpoint = good_endpoint().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    for assertion in ["first.of.all", "second.of.all"] {
        std::fs::write(&path, format!("{assertion}\n")).expect("written");
        unattended(&endpoint, |provider| {
            provider.flow = Flow::ClientCredentials;
            provider.assertion = Some(SecretSource::File(path.clone()));
        })
        .await
        .expect("a token");
        let sent = form(endpoint.requests().last().expect("a request"));
        assert_eq!(sent["client_assertion"], assertion);
        assert!(!sent.contains_key("client_secret"));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_fault_of_the_configuration_and_asks_nobody() {
    let endpoint = good_endpoint().await;
    let absent = || SecretSource::File(Path::new("/nowhere/key").into());
    let error = unattended(&endpoint, |provider| {
        provider.flow = Flow::ClientCredentials;
        provider.assertion = Some(absent());
    });
    let error = error.await.expect_err("nothing to read");
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("/nowhere/key"), "{error}");
    let error = unattended(&endpoint, |provider| {
        provider.flow = Flow::ServiceAccount;
        provider.service_account = Some(absent());
    });
    assert_eq!(
        error.await.expect_err("nothing to read").class(),
        Class::Config
    );
    assert_eq!(endpoint.hits(), 0);
}

#[tokio::test]
async fn a_service_account_signs_for_the_mailbox() {
    let endpoint = good_endpoint().await;
    let (certificate, key) = made(&rcgen::PKCS_RSA_SHA256);
    let email = "mail@project.iam.gserviceaccount.com";
    let file = json!({"type": "service_account", "client_email": email, "private_key": key, "private_key_id": "k1"});
    let mut registration = provider(&endpoint.url);
    registration.flow = Flow::ServiceAccount;
    registration.client_id = String::new();
    registration.scopes = vec!["https://mail.google.com/".into()];
    registration.service_account = Some(SecretSource::Inline(file.to_string().into()));
    let oauth = OAuth::new(Arc::new(registration), LIMIT).expect("client");
    let mut shared = account(&oauth, "support@example.com");
    oauth.unattended(&shared).await.expect("a token");
    shared.authorize_as = Some("alice@example.com".into());
    oauth.unattended(&shared).await.expect("a token");
    let sent: Vec<_> = endpoint
        .requests()
        .iter()
        .map(|request| form(request))
        .collect();
    assert_eq!(
        sent[0].keys().collect::<Vec<_>>(),
        ["assertion", "grant_type"]
    );
    assert_eq!(
        sent[0]["grant_type"],
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    );
    let (header, claims, signed, signature) = taken_apart(&sent[0]["assertion"]);
    assert!(verified(
        &certificate,
        SignatureScheme::RSA_PKCS1_SHA256,
        &signed,
        &signature
    ));
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    for (claim, want) in [
        ("iss", email),
        ("sub", "support@example.com"),
        ("aud", endpoint.url.as_str()),
        ("scope", "https://mail.google.com/"),
    ] {
        assert_eq!(claims[claim], want, "{claim}");
    }
    assert!(seconds(&claims, "exp") - seconds(&claims, "iat") <= 3600);
    assert_eq!(
        taken_apart(&sent[1]["assertion"]).1["sub"],
        "alice@example.com"
    );
}

#[tokio::test]
async fn a_machine_asks_for_its_own_identity_or_the_one_it_is_told() {
    // As the service answers: all numbers are strings.
    let reply = r#"{"access_token":"at","client_id":"c","expires_in":"86399","expires_on":"1586984735","resource":"r","token_type":"Bearer"}"#;
    let endpoint = Endpoint::replying(vec![Reply::json(200, reply)]).await;
    for (client_id, more) in [("", ""), ("c1d2", "&client_id=c1d2")] {
        let answer = unattended(&endpoint, |provider| {
            provider.flow = Flow::ManagedIdentity;
            provider.client_id = client_id.into();
        });
        let answer = answer.await.expect("a token");
        assert_eq!(answer.expires_in, Some(Duration::from_secs(86399)));
        let request = endpoint.requests().pop().expect("a request");
        let wanted = format!(
            "GET /token?api-version=2018-02-01&resource=https%3A%2F%2Foutlook.office365.com{more} HTTP/1.1\r\n"
        );
        assert!(request.starts_with(&wanted), "{request}");
        assert!(
            request
                .to_ascii_lowercase()
                .contains("\r\nmetadata: true\r\n"),
            "{request}"
        );
    }
    let missing = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let endpoint = Endpoint::replying(vec![Reply::json(400, missing)]).await;
    let error = unattended(&endpoint, |provider| provider.flow = Flow::ManagedIdentity);
    let error = error.await.expect_err("no identity");
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("Identity not found"), "{error}");
}

#[tokio::test]
async fn a_password_goes_in_the_body_and_is_not_told_again() {
    let echo = r#"{"error":"invalid_grant","error_description":"AADSTS50126: bad password m4ilbox s3cret"}"#;
    let endpoint = Endpoint::replying(vec![Reply::json(200, GOOD), Reply::json(400, echo)]).await;
    let mut registration = provider(&endpoint.url);
    registration.flow = Flow::Password;
    let oauth = OAuth::new(Arc::new(registration), LIMIT).expect("client");
    let password = "m4ilbox s3cret".to_owned().into();
    oauth
        .password("alice@example.com", &password)
        .await
        .expect("tokens");
    let sent = form(&endpoint.requests()[0]);
    for (name, want) in [
        ("grant_type", "password"),
        ("username", "alice@example.com"),
        ("password", "m4ilbox s3cret"),
        ("scope", "mail offline_access"),
        ("client_id", "test-client"),
    ] {
        assert_eq!(sent[name], want, "{name}");
    }
    let error = oauth
        .password("alice@example.com", &password)
        .await
        .expect_err("refused");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert!(
        error.remedy().contains("user name or password"),
        "{}",
        error.remedy()
    );
}

const CODE: &str = r#"{"device_code":"d3vice","user_code":"ABCD-EFGH","verification_uri":"https://id.example/d","verification_uri_complete":"https://id.example/d?c=ABCD-EFGH","expires_in":"900","interval":2}"#;

/// A sign-in on another device at an endpoint that answers these questions in turn.
async fn device(
    answers: Vec<Reply>,
    code: &str,
) -> (Endpoint, OAuth, Result<DeviceSignIn, OAuthError>) {
    let replies = [vec![Reply::json(200, code)], answers].concat();
    let endpoint = Endpoint::replying(replies).await;
    let mut registration = provider(&endpoint.url);
    registration.device_url = Some(endpoint.url.join("/device").expect("a URL"));
    registration.client_secret = Some(SecretSource::Inline("cl1ent".to_owned().into()));
    let oauth = OAuth::new(Arc::new(registration), Duration::from_secs(3600)).expect("client");
    let begun = oauth.device_sign_in().await;
    (endpoint, oauth, begun)
}

fn not_yet(error: &str) -> Reply {
    Reply::json(400, &format!(r#"{{"error":"{error}"}}"#))
}

#[tokio::test(start_paused = true)]
async fn a_device_asks_as_seldom_as_it_is_told() {
    let answers = vec![
        not_yet("authorization_pending"),
        not_yet("slow_down"),
        not_yet("authorization_pending"),
        not_yet("temporarily_unavailable"),
        Reply::with(503, "Retry-After: 30\r\n", ""),
        Reply::json(200, GOOD),
    ];
    let (endpoint, oauth, begun) = device(answers, CODE).await;
    let sign_in = begun.expect("a code");
    assert_eq!(sign_in.user_code, "ABCD-EFGH");
    assert_eq!(sign_in.life, Duration::from_secs(900));
    let start = tokio::time::Instant::now();
    oauth.device_answer(sign_in).await.expect("tokens");
    // 2 s each until told to slow down, then 7 s, twice that after trouble, then what the provider wants.
    let waited = start.elapsed().as_secs();
    assert_eq!(waited, 2 + 2 + 7 + 7 + 14 + 30);
    let requests = endpoint.requests();
    assert!(requests[0].starts_with("POST /device "));
    let asked = form(&requests[0]);
    let wanted = [
        ("client_id", "test-client"),
        ("client_secret", "cl1ent"),
        ("scope", "mail offline_access"),
    ];
    assert_eq!(
        asked,
        wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    );
    let asked = form(&requests[1]);
    let wanted = [
        ("client_id", "test-client"),
        ("client_secret", "cl1ent"),
        ("device_code", "d3vice"),
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
    ];
    assert_eq!(
        asked,
        wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    );
}

#[tokio::test]
async fn no_device_begins_where_a_preset_knows_of_no_tokens_for_it() {
    let endpoint = Endpoint::replying(vec![Reply::json(200, CODE)]).await;
    let mut registration = provider(&endpoint.url);
    registration.preset = Some("google".into());
    registration.issuer = Some(endpoint.url.to_string());
    let oauth = OAuth::new(Arc::new(registration), Duration::from_secs(10)).expect("client");
    let error = oauth.device_sign_in().await.expect_err("no such flow");
    assert!(error.to_string().contains("--method browser"), "{error}");
    assert_eq!(endpoint.hits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_stops_when_it_is_refused_and_when_the_code_ends() {
    let (endpoint, oauth, begun) = device(vec![not_yet("access_denied")], CODE).await;
    let error = oauth
        .device_answer(begun.expect("a code"))
        .await
        .expect_err("refused");
    assert_eq!((error.class(), endpoint.hits()), (Class::Consent, 2));
    let (endpoint, oauth, begun) = device(vec![not_yet("new_word")], CODE).await;
    let answer = oauth.device_answer(begun.expect("a code")).await;
    let error = answer.expect_err("no word to wait for");
    assert!(error.to_string().contains("new_word"), "{error}");
    assert_eq!(endpoint.hits(), 2);
    let (_, oauth, begun) = device(vec![not_yet("authorization_pending")], CODE).await;
    let start = tokio::time::Instant::now();
    let error = oauth
        .device_answer(begun.expect("a code"))
        .await
        .expect_err("too late");
    assert!(error.to_string().contains("expired_token"), "{error}");
    assert!(start.elapsed() <= Duration::from_secs(900));
}

#[tokio::test]
async fn a_code_that_could_deceive_the_screen_is_not_shown() {
    for code in [
        CODE.replace("ABCD-EFGH\",", "AB\\u001b[2JCD\","),
        CODE.replace("https://id.example/d\"", "javascript:alert(1)\""),
        CODE.replace("ABCD-EFGH\",", &format!("{}\",", "A".repeat(100))),
        CODE.replace("device_code", "device"),
    ] {
        let (_, _, begun) = device(vec![], &code).await;
        assert!(matches!(begun, Err(OAuthError::Malformed { .. })), "{code}");
    }
    let google = CODE.replace("verification_uri\"", "verification_url\"");
    assert!(device(vec![], &google).await.2.is_ok());
}
