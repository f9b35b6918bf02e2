use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::SecretSource;
use crate::oauth::testing::{Endpoint, Reply};
use crate::token::Tokens;
use crate::token::grant::Grant;
use crate::token::life::State;
use crate::vault::Kind;

const ALICE: &str = "alice@example.com";

/// What the command printed so far.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("paper").extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("paper").clone()).expect("text")
    }

    async fn url(&self) -> Url {
        loop {
            if let Some((line, "")) = self.text().split_once('\n') {
                return Url::parse(line).expect("a URL on a line of its own");
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

struct Bench {
    _folder: TempDir,
    config: Config,
    vault: Vault,
    endpoint: Endpoint,
    out: Paper,
    err: Paper,
}

fn id_token(claims: &str) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn tokens(more: &str) -> Reply {
    Reply::json(
        200,
        &format!(
            r#"{{"access_token":"s3cretA","refresh_token":"s3cretR","expires_in":3600{more}}}"#
        ),
    )
}

fn signed_in_as(name: &str) -> Reply {
    let id = id_token(&format!(r#"{{"email":"{name}","aud":"test-client"}}"#));
    tokens(&format!(r#","id_token":"{id}","scope":"mail""#))
}

impl Bench {
    async fn new(reply: Reply, more: &str) -> Self {
        let more = format!("scopes = [\"mail\", \"offline_access\"]\n{more}");
        Self::with_scopes(reply, &more).await
    }

    async fn with_scopes(reply: Reply, more: &str) -> Self {
        let endpoint = Endpoint::replying(vec![reply]).await;
        let folder = tempfile::tempdir().expect("folder");
        let (url, state) = (&endpoint.url, folder.path().display());
        let text = format!(
            r#"
            state-dir = "{state}"
            [provider.test]
            client-id = "test-client"
            authorize-url = "{url}/auth"
            token-url = "{url}"
            imap = {{ host = "imap.example.com", port = 993, tls = "implicit" }}
            {more}
            [[listener]]
            protocol = "imap"
            provider = "test"
            listen = ["127.0.0.1:1143"]
            [[account]]
            address = "{ALICE}"
            provider = "test"
            "#
        );
        let config = Config::parse(&text, Path::new("/nowhere/mailwicket.toml"))
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let key = SecretSource::File(folder.path().join("vault.key"));
        let vault = Vault::open(folder.path(), &key).expect("vault");
        Self {
            _folder: folder,
            config,
            vault,
            endpoint,
            out: Paper::default(),
            err: Paper::default(),
        }
    }

    async fn run(
        &self,
        method: impl Into<Option<Method>>,
        lines: Option<mpsc::Receiver<String>>,
    ) -> Result<(), AuthorizeError> {
        let args = Args {
            account: "Alice@Example.com".into(),
            method: method.into(),
            no_open: true,
        };
        let (mut out, mut err) = (self.out.clone(), self.err.clone());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
            lines,
            password: || Ok("m4ilbox-s3cret".to_owned().into()),
            shows_pictures: false,
            open: |_| false,
        };
        authorize(&args, &self.config, &self.vault, &mut terminal).await
    }

    /// Runs the paste method and pastes what `paste` makes of the state.
    async fn paste(&self, paste: impl Fn(&str) -> Vec<String>) -> Result<(), AuthorizeError> {
        let (sender, lines) = mpsc::channel(1);
        let person = async {
            let url = self.out.url().await;
            let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
            for line in paste(&query["state"]) {
                // The command may have ended already.
                let _ = sender.send(line).await;
            }
            drop(sender);
        };
        tokio::join!(self.run(Method::Paste, Some(lines)), person).0
    }

    fn stored(&self) -> Option<Grant> {
        let record = self.vault.read(Kind::Grant, ALICE).expect("readable")?;
        Some(Grant::from_bytes(&record.bytes).expect("a grant"))
    }
}

fn redirected(state: &str) -> Vec<String> {
    vec![format!("http://127.0.0.1/?code=s3cretC&state={state}")]
}

#[tokio::test]
async fn a_pasted_sign_in_is_stored_for_the_daemon() {
    let bench = Bench::new(signed_in_as("ALICE@example.com"), "").await;
    bench
        .paste(|state| {
            let whole = format!("http://127.0.0.1/?code=s3cretC&state={state}");
            let (first, second) = whole.split_at(30);
            vec![
                "hello".into(),
                String::new(),
                first.into(),
                second.into(),
                whole.clone(),
            ]
        })
        .await
        .expect("authorised");
    let grant = bench.stored().expect("stored");
    assert_eq!(grant.signed_in_as(), Some("ALICE@example.com"));
    let tokens = Tokens::new(bench.vault.clone(), bench.config.timeouts.token);
    assert_eq!(
        tokens.status(&bench.config.roster.accounts()[0]).state,
        State::Ok
    );
    let said = bench.out.text() + &bench.err.text();
    assert!(!said.contains("s3cret"), "{said}");
    assert_eq!(bench.out.text().lines().count(), 1, "only the address");
    let url = bench.out.url().await;
    assert!(
        url.query_pairs()
            .any(|(name, value)| name == "login_hint" && value == ALICE)
    );
}

#[tokio::test]
async fn a_browser_ends_the_sign_in() {
    let bench = Bench::new(signed_in_as(ALICE), "").await;
    let browser = async {
        let url = bench.out.url().await;
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        let redirect = Url::parse(&query["redirect_uri"]).expect("url");
        let address = (
            redirect.host_str().expect("host").to_owned(),
            redirect.port().expect("port"),
        );
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("connect");
        let path = redirect.path();
        let request = format!(
            "GET {path}?code=c0de&state={} HTTP/1.1\r\nHost: x\r\n\r\n",
            query["state"]
        );
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("page");
        page
    };
    let (outcome, page) = tokio::join!(bench.run(Method::Browser, None), browser);
    outcome.expect("authorised");
    assert!(page.contains("Sign-in received"));
    assert!(bench.stored().is_some());
}

#[tokio::test]
async fn somebody_elses_sign_in_is_not_stored() {
    let bench = Bench::new(signed_in_as("mallory@example.com"), "").await;
    let error = bench.paste(redirected).await.expect_err("refused");
    assert!(
        error.to_string().contains("mallory@example.com signed in"),
        "{error}"
    );
    assert!(bench.stored().is_none());
}

#[tokio::test]
async fn what_is_missing_in_a_grant_is_named_and_it_is_not_stored() {
    let no_refresh = Reply::json(200, r#"{"access_token":"a","expires_in":3600}"#);
    let other_client = format!(
        r#","id_token":"{}""#,
        id_token(r#"{"email":"alice@example.com","aud":["x"]}"#)
    );
    for (reply, words) in [
        (no_refresh, "no refresh token"),
        (tokens(r#","scope":"openid profile""#), "left out \"mail\""),
        (tokens(&other_client), "another client id"),
        (
            Reply::json(400, r#"{"error":"invalid_grant","error_codes":[54005]}"#),
            "Start again",
        ),
    ] {
        let bench = Bench::new(reply, "").await;
        let error = bench.paste(redirected).await.expect_err(words);
        assert!(error.to_string().contains(words), "{words} not in {error}");
        assert_eq!(error.exit(), Exit::Failed);
        assert!(bench.stored().is_none());
    }
}

#[tokio::test]
async fn a_provider_that_does_not_say_who_signed_in_earns_a_warning() {
    let nameless = id_token(r#"{"aud":"test-client","sub":"123"}"#);
    for reply in [tokens(""), tokens(&format!(r#","id_token":"{nameless}""#))] {
        let bench = Bench::new(reply, "").await;
        bench.paste(redirected).await.expect("authorised");
        let said = bench.err.text();
        for words in [
            "warning: nobody could check who signed in",
            "openid and email",
            "doctor",
        ] {
            assert!(said.contains(words), "{words} not in {said}");
        }
    }
}

#[tokio::test]
async fn a_consent_waits_for_a_busy_vault_and_says_so() {
    let bench = Bench::new(signed_in_as(ALICE), "").await;
    let guard = bench.vault.lock(Kind::Grant, ALICE).expect("lock");
    let daemon = async {
        while !bench.err.text().contains("Waiting up to 10 minutes") {
            tokio::task::yield_now().await;
        }
        assert!(bench.stored().is_none());
        drop(guard);
    };
    let (outcome, ()) = tokio::join!(bench.paste(redirected), daemon);
    outcome.expect("authorised");
    assert!(bench.stored().is_some());
    let said = bench.err.text();
    assert!(
        said.contains(&format!("process {}", std::process::id())),
        "{said}"
    );
}

#[tokio::test]
async fn a_refusal_at_the_consent_page_is_told() {
    let bench = Bench::new(tokens(""), "").await;
    let declined = |state: &str| {
        vec![format!(
            "http://127.0.0.1/?error=access_denied&state={state}"
        )]
    };
    let error = bench.paste(declined).await.expect_err("declined");
    assert!(error.to_string().contains("access_denied"), "{error}");
    assert_eq!(bench.endpoint.hits(), 0);
}

#[tokio::test]
async fn input_that_ends_without_the_address_is_a_failure() {
    let bench = Bench::new(tokens(""), "").await;
    let error = bench
        .paste(|_| vec!["no".into()])
        .await
        .expect_err("nothing");
    assert!(matches!(error, AuthorizeError::NothingPasted), "{error}");
}

#[tokio::test]
async fn a_second_sign_in_keeps_the_first_refresh_token_for_a_generation() {
    let bench = Bench::new(signed_in_as(ALICE), "").await;
    bench.paste(redirected).await.expect("first");
    assert!(
        bench
            .stored()
            .expect("stored")
            .previous_refresh_token()
            .is_none()
    );
    bench.out.0.lock().expect("paper").clear();
    bench.paste(redirected).await.expect("second");
    assert!(
        bench
            .stored()
            .expect("stored")
            .previous_refresh_token()
            .is_some()
    );
}

#[tokio::test]
async fn an_application_needs_nobody() {
    let reply = Reply::json(200, r#"{"access_token":"app","expires_in":3600}"#);
    let more = "flow = \"client-credentials\"\nclient-secret = \"daemon\"";
    let bench = Bench::new(reply, more).await;
    bench.run(None, None).await.expect("authorised");
    assert_eq!(bench.out.text(), "");
    assert!(bench.stored().is_some());
}

#[tokio::test]
async fn a_method_makes_no_sense_where_nobody_signs_in() {
    let more = "flow = \"client-credentials\"\nclient-secret = \"daemon\"";
    let bench = Bench::new(tokens(""), more).await;
    for method in [Method::Browser, Method::Device] {
        let error = bench.run(method, None).await.expect_err("no method");
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("leave --method out"), "{error}");
    }
    assert_eq!(bench.endpoint.hits(), 0);
}

#[tokio::test]
async fn where_nothing_can_listen_the_address_is_pasted() {
    let more = "redirect-url = \"https://127.0.0.1\"";
    let bench = Bench::new(signed_in_as(ALICE), more).await;
    let (_, nobody) = mpsc::channel(1);
    let error = bench.run(None, Some(nobody)).await.expect_err("no paste");
    assert!(matches!(error, AuthorizeError::NothingPasted), "{error}");
    let url = bench.out.url().await;
    assert!(
        url.query_pairs()
            .any(|(name, value)| name == "redirect_uri" && value == "https://127.0.0.1/")
    );
}

#[tokio::test]
async fn a_password_is_read_once_and_only_its_tokens_are_kept() {
    let more = "flow = \"password\"\nallow-password-grant = true";
    let bench = Bench::new(signed_in_as(ALICE), more).await;
    bench.run(None, None).await.expect("authorised");
    let request = &bench.endpoint.requests()[0];
    assert!(
        request.contains("username=alice%40example.com&password=m4ilbox-s3cret"),
        "{request}"
    );
    assert!(bench.stored().expect("a grant").refresh_token().is_some());
    assert!(!bench.err.text().contains("s3cret") && bench.out.text().is_empty());
    let somebody_else = Bench::new(signed_in_as("mallory@example.com"), more).await;
    somebody_else
        .run(None, None)
        .await
        .expect_err("another person");
    assert!(somebody_else.stored().is_none());
}

#[tokio::test]
async fn scopes_with_commas_between_them_are_known_again() {
    let asked = "authorize-params = {}\nscopes = [\"MAIL.IMAP,MAIL.POP\"]";
    for (granted, fits) in [
        ("MAIL.POP,MAIL.IMAP", true),
        ("MAIL.IMAP MAIL.POP", true),
        ("MAIL.POP", false),
    ] {
        let reply = tokens(&format!(r#","scope":"{granted}""#));
        let bench = Bench::with_scopes(reply, asked).await;
        let outcome = bench.paste(redirected).await;
        assert_eq!(outcome.is_ok(), fits, "{granted}");
    }
}

#[tokio::test]
async fn an_unknown_account_is_a_usage_error_that_names_the_known() {
    let bench = Bench::new(tokens(""), "").await;
    let error = bench
        .config
        .account("bob@example.com")
        .expect_err("unknown");
    let error = AuthorizeError::from(error);
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().contains(ALICE));
}
