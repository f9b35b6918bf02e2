//! The gate and the pages, over real HTTP on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use url::Url;

use super::testing::{Held, console_of};
use super::*;
use crate::observe::recent::{Login, Outcome};
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::token::life::State;

mod accounts;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A provider, two mailboxes and every kind of secret, each with a mark of its own.
const MARKED: &str = r#"
state-dir = "."

[provider.contoso]
issuer = "https://login.example"
client-id = "an-application"
client-secret = "MARK-client-secret"
client-secret-expires = 2020-01-02
# client-secret = "MARK-of-before" # until the new year
flow = "authorization-code"
imap = { host = "imap.example" }
egress = "http://user:MARK-egress@proxy.example:3128"

[[account]]
address = "alice@example.com"
provider = "contoso"
password-hash = ["$argon2id$v=19$m=19456,t=2,p=1$TUFSS2hhc2hNQVJL$TUFSS2hhc2hNQVJLTUFSS2hhc2hNQVJLTUFSS2hhc2g"]

[[account]]
address = "bob@example.com"
provider = "contoso"

[notify]
webhook = "https://hooks.example/MARK-webhook"
"#;

/// A served console, and its files. It knows the path of each session by the cookie, and puts it in front of what is asked for with that
/// cookie, and takes it out of the answers: tests name pages as handlers do. [`Bench::raw`] leaves everything as it is.
pub(super) struct Bench {
    pub console: Arc<Console>,
    pub held: Held,
    pub address: SocketAddr,
    pub folder: TempDir,
    paths: Mutex<HashMap<String, String>>,
}

impl Bench {
    async fn open() -> Self {
        Self::with(MARKED).await
    }

    /// With this configuration.
    pub async fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (console, held) = console_of(folder.path(), text);
        let console = Arc::new(console);
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let entrance = server::Entrance::default();
        let sockets = server::Sockets::beside(socket, address);
        console.moved(entrance.own(address, sockets.has_localhost));
        let close = held.stop.child_token();
        let (_, entrance) = watch::channel(entrance);
        tokio::spawn(server::serve(
            Arc::clone(&console),
            sockets,
            entrance,
            close,
        ));
        Self {
            console,
            held,
            address,
            folder,
            paths: Mutex::default(),
        }
    }

    /// The same; it takes the file up when a page wants it.
    async fn reloading(text: &str) -> Self {
        let mut bench = Self::with(text).await;
        let path = bench.folder.path().join("mailwicket.toml");
        bench.held.take_up(path);
        bench
    }

    fn link(&self) -> Url {
        self.console.link().expect("randomness").expect("served")
    }

    /// A request as a browser on this machine sends it, with these headers besides or instead.
    async fn ask(&self, method: Method, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let answer = self.begin(method, path, more, body).await.whole().await;
        let cookie = answer.cookie();
        if !cookie.is_empty() {
            let mut paths = self.paths.lock().expect("whole");
            paths.insert(cookie, answer.cookie_path());
        }
        match self.path_with(more) {
            Some(path) => answer.without(&path),
            None => answer,
        }
    }

    async fn begin(&self, method: Method, path: &str, more: &[(&str, &str)], body: &str) -> Begun {
        let below = self.path_with(more).unwrap_or_default();
        self.raw(method, &format!("{below}{path}"), more, body)
            .await
    }

    /// Where the session with this cookie is, without a slash at the end.
    pub fn path_of(&self, cookie: &str) -> Option<String> {
        self.paths.lock().expect("whole").get(cookie).cloned()
    }

    fn path_with(&self, headers: &[(&str, &str)]) -> Option<String> {
        let cookie = headers.iter().find(|(name, _)| *name == "cookie");
        self.path_of(cookie?.1)
    }

    async fn raw(&self, method: Method, path: &str, more: &[(&str, &str)], body: &str) -> Begun {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !more.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in more.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned())));
        let asking = sender.send_request(request.expect("a request"));
        let answer = timeout(PATIENCE, asking).await.expect("in time");
        let (parts, body) = answer.expect("an answer").into_parts();
        Begun {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Method::GET, path, &[("cookie", cookie)], "").await
    }

    /// The cookie of a new session.
    pub async fn sign_in(&self) -> String {
        let link = self.link();
        let answer = self.get(&path_of(&link), "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.cookie()
    }

    /// The word of the session that forms have to carry.
    pub async fn csrf(&self, cookie: &str) -> String {
        let page = self.get("/", cookie).await.text;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    async fn log_out(&self, cookie: &str, form: &str, more: &[(&str, &str)]) -> Answer {
        self.post("/logout", cookie, form, more).await
    }

    /// A form as a page of ours sends it, with these headers besides or instead.
    pub async fn post(
        &self,
        path: &str,
        cookie: &str,
        form: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let mut headers = vec![
            ("cookie", cookie),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let origin = format!("http://{}", self.address);
        if !more.iter().any(|(name, _)| *name == "origin") {
            headers.push(("origin", &origin));
        }
        headers.extend(more);
        self.ask(Method::POST, path, &headers, form).await
    }

    async fn is_in(&self, cookie: &str) -> bool {
        self.get("/", cookie).await.status == StatusCode::OK
    }
}

fn path_of(link: &Url) -> String {
    format!("{}?{}", link.path(), link.query().expect("a key"))
}

struct Begun {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

impl Begun {
    async fn whole(self) -> Answer {
        let body = timeout(PATIENCE, self.body.collect())
            .await
            .expect("in time");
        let body = body.expect("a body").to_bytes();
        Answer {
            status: self.status,
            headers: self.headers,
            text: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    /// The body up to these words.
    async fn until(&mut self, words: &str) -> String {
        let mut text = String::new();
        while !text.contains(words) {
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("in time");
            let frame = frame.unwrap_or_else(|| panic!("ended before {words}: {text}"));
            let data = frame.expect("a frame").into_data();
            text.push_str(&String::from_utf8_lossy(&data.unwrap_or_default()));
        }
        text
    }
}

pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    fn cookie(&self) -> String {
        let cookie = self.header(SET_COOKIE);
        cookie.split(';').next().expect("a pair").to_owned()
    }

    fn cookie_path(&self) -> String {
        let (_, path) = self.header(SET_COOKIE).split_once("; Path=").expect("one");
        let path = path.split(';').next().expect("a path");
        path.strip_suffix('/').expect("a folder").to_owned()
    }

    /// The same without the path of a session in its addresses.
    fn without(mut self, path: &str) -> Self {
        for name in [LOCATION, REFRESH] {
            if let Some(value) = self.headers.get_mut(name) {
                let shorter = value.to_str().expect("text").replace(path, "");
                *value = shorter.parse().expect("a value");
            }
        }
        self.text = self.text.replace(path, "");
        self
    }
}

#[tokio::test]
async fn a_link_opens_the_console_once_and_leaves_the_address_bar() {
    let bench = Bench::open().await;
    let path = path_of(&bench.link());
    let first = bench.get(&path, "").await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let own = first.cookie_path();
    assert_eq!(first.header(LOCATION), format!("{own}/"));
    assert!(own.len() > 20, "{own}");
    let attributes = first.header(SET_COOKIE).to_owned();
    for wanted in ["; HttpOnly", "; SameSite=Strict"] {
        assert!(attributes.contains(wanted), "{attributes}");
    }
    assert!(!attributes.contains("Domain"), "{attributes}");
    assert!(bench.is_in(&first.cookie()).await);

    let second = bench.get(&path, "").await;
    assert_eq!(second.status, StatusCode::FORBIDDEN);
    assert!(second.text.contains("was used already"), "{}", second.text);
    assert_eq!(second.header(SET_COOKIE), "");
}

#[tokio::test]
async fn a_browser_that_looks_ahead_or_asks_for_the_head_does_not_use_a_link_up() {
    let bench = Bench::open().await;
    let path = path_of(&bench.link());
    let ahead = [("sec-purpose", "prefetch")];
    bench.ask(Method::GET, &path, &ahead, "").await;
    bench.ask(Method::HEAD, &path, &[], "").await;
    assert_eq!(bench.get(&path, "").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_link_on_another_sites_page_works_as_well() {
    let bench = Bench::open().await;
    let from = [("sec-fetch-site", "cross-site")];
    let answer = bench
        .ask(Method::GET, &path_of(&bench.link()), &from, "")
        .await;
    // The browser would leave a strict cookie out of a redirect; a page of ours begins a way of its own.
    assert_eq!(answer.status, StatusCode::OK);
    let own = answer.cookie_path();
    assert_eq!(answer.header("refresh"), format!("0; url={own}/"));
    assert!(answer.text.contains(&format!("href=\"{own}/\"")));
    assert!(bench.is_in(&answer.cookie()).await);
}

#[tokio::test]
async fn without_a_session_every_page_says_how_to_get_in_and_nothing_else() {
    let bench = Bench::open().await;
    for path in [
        "/",
        "/events",
        "/live?page=overview",
        "/nothing",
        "/open?key=guessed",
        "/open",
    ] {
        for cookie in ["", "mailwicket-1=x"] {
            let answer = bench.get(path, cookie).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(
                answer.text.contains("mailwicket console"),
                "{path}: {}",
                answer.text
            );
            assert!(!answer.text.contains("alice"), "{path}");
        }
    }
    let guessed = format!("mailwicket-{}=guessed", bench.address.port());
    assert!(!bench.is_in(&guessed).await);
}

#[tokio::test]
async fn the_cookie_or_the_path_of_a_session_alone_opens_nothing() {
    let bench = Bench::open().await;
    let (cookie, other) = (bench.sign_in().await, bench.sign_in().await);
    let path = bench.path_of(&cookie).expect("a path");
    let of_other = bench.path_of(&other).expect("a path");
    let first = format!("{path}/");
    let asked = async |path: &str, cookie: &str| {
        let headers = [("cookie", cookie)];
        let begun = bench.raw(Method::GET, path, &headers, "").await;
        begun.whole().await
    };
    assert_eq!(asked(&first, &cookie).await.status, StatusCode::OK);
    let nothing = asked("/", "").await.text;
    for (path, cookie) in [
        ("/", &*cookie),
        ("/events", &cookie),
        ("/live?page=overview", &cookie),
        ("//", &cookie),
        ("/guessed/", &cookie),
        (&format!("{of_other}/"), &cookie),
        (&first, &other),
        (&first, ""),
        (&format!("{path}/events"), ""),
        (&format!("{path}/nothing"), ""),
        (&format!("{}/", path.to_ascii_lowercase()), &cookie),
    ] {
        let answer = asked(path, cookie).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {cookie}");
        // Nor does it say whether there is a session.
        assert_eq!(answer.text, nothing, "{path} {cookie}");
    }
}

#[tokio::test]
async fn every_address_in_a_page_is_below_the_path_of_its_session() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let path = bench.path_of(&cookie).expect("a path");
    let headers = [("cookie", cookie.as_str())];
    for page in [
        "/",
        "/add",
        "/events",
        "/providers",
        "/providers/contoso",
        "/configuration",
        "/account/alice%40example.com",
        "/nothing",
    ] {
        let whole = format!("{path}{page}");
        let begun = bench.raw(Method::GET, &whole, &headers, "").await;
        let text = begun.whole().await.text;
        let mut count = 0;
        for name in ["href", "action", "src", "data-live"] {
            for rest in text.split(&format!(" {name}=\"/")).skip(1) {
                let is_own = rest.starts_with(&format!("{}/", &path[1..]));
                assert!(is_own || rest.starts_with("assets/"), "{page}: {rest}");
                count += usize::from(is_own);
            }
        }
        assert!(count > 0, "{page}");
    }
    let live = format!("{path}/live?page=overview");
    let mut stream = bench.raw(Method::GET, &live, &headers, "").await;
    stream
        .until(&format!("href=\\\"{path}/account/alice"))
        .await;
}

#[tokio::test]
async fn another_name_for_this_address_is_turned_away_before_anything_is_looked_at() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let port = bench.address.port();
    for host in [
        format!("rebound.example:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        format!("localhost.:{port}"),
        format!("127.0.0.1:{port}@rebound.example"),
    ] {
        let headers = [("host", host.as_str()), ("cookie", cookie.as_str())];
        let answer = bench.ask(Method::GET, "/", &headers, "").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!answer.text.contains("alice"), "{host}");
    }
    for name in ["localhost", "127.0.0.1", "[::1]"] {
        let host = format!("{name}:{port}");
        let headers = [("host", host.as_str()), ("cookie", cookie.as_str())];
        let answer = bench.ask(Method::GET, "/", &headers, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn what_another_site_posts_is_refused() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let form = format!("csrf={}", bench.csrf(&cookie).await);
    let port = bench.address.port();
    let foreign: [&[(&str, &str)]; 7] = [
        &[("origin", "http://evil.example")],
        &[("origin", &format!("https://127.0.0.1:{port}"))],
        &[("origin", &format!("http://127.0.0.1:{}", port ^ 1))],
        &[("origin", "null")],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("origin", ""), ("sec-fetch-site", "same-site")],
        &[("origin", "")],
    ];
    for headers in foreign {
        let answer = bench.log_out(&cookie, &form, headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert!(bench.is_in(&cookie).await, "{headers:?}");
    }
    // A browser that keeps the origin to itself says that it is the same.
    let same = [("origin", "null"), ("sec-fetch-site", "same-origin")];
    let answer = bench.log_out(&cookie, &form, &same).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!bench.is_in(&cookie).await);
}

#[tokio::test]
async fn a_form_without_the_word_of_its_session_is_refused() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let other = bench.sign_in().await;
    let right = bench.csrf(&cookie).await;
    let of_other = bench.csrf(&other).await;
    let forms = [
        String::new(),
        "csrf=".to_owned(),
        format!("csrf={of_other}"),
        format!("csrf={right}x"),
        format!("csrf={right}&csrf={right}"),
        format!("x=csrf&value={right}"),
    ];
    for form in forms {
        let answer = bench.log_out(&cookie, &form, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{form}");
        assert!(bench.is_in(&cookie).await, "{form}");
    }
    let answer = bench.log_out(&cookie, &format!("csrf={right}"), &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!bench.is_in(&cookie).await);
    assert!(bench.is_in(&other).await, "another session goes on");
}

#[tokio::test]
async fn only_forms_of_a_bounded_length_are_taken() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let right = format!("csrf={}", bench.csrf(&cookie).await);
    let long = format!("{right}&x={}", "x".repeat(70_000));
    let answer = bench.log_out(&cookie, &long, &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let json = [
        ("cookie", cookie.as_str()),
        ("origin", &format!("http://{}", bench.address)),
        ("content-type", "text/plain"),
    ];
    let answer = bench.ask(Method::POST, "/logout", &json, &right).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(bench.is_in(&cookie).await);
}

#[tokio::test]
async fn every_answer_forbids_foreign_and_inline_content_frames_and_caches() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    for (path, cookie) in [
        ("/", &*cookie),
        ("/", ""),
        ("/events", &cookie),
        ("/nothing", &cookie),
    ] {
        let answer = bench.get(path, cookie).await;
        let policy = answer.header(CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "{path}");
        for inline in ["<style", " style=", "onclick", "javascript:"] {
            assert!(!answer.text.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn style_and_script_are_kept_by_browsers_under_a_name_that_changes_with_them() {
    let bench = Bench::open().await;
    let page = bench.get("/", "").await.text;
    let assets = page.split('"').filter(|part| part.starts_with("/assets/"));
    let mut kinds = Vec::new();
    for path in assets {
        let answer = bench.get(path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.header(CACHE_CONTROL).contains("immutable"), "{path}");
        kinds.push(answer.header("content-type").to_owned());
    }
    assert_eq!(
        kinds,
        ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]
    );
    let other = bench.get("/assets/console-0000000000000000.css", "").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_overview_shows_every_account_with_what_to_do() {
    let bench = Bench::open().await;
    let page = bench.get("/", &bench.sign_in().await).await.text;
    for wanted in [
        "alice@example.com",
        "bob@example.com",
        "unauthorized",
        "2 accounts; ",
        "client-secret of provider contoso",
        "<caption>",
    ] {
        assert!(page.contains(wanted), "no {wanted} in {page}");
    }
}

#[tokio::test]
async fn events_are_shown_newest_first_and_by_account_and_escape_what_strangers_wrote() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let login = |login: &str, outcome| Login {
        outcome,
        protocol: Protocol::Imap,
        source: [192, 0, 2, 7].into(),
        login: login.into(),
        code: None,
        stage: Stage::Login,
        detail: None,
    };
    let recent = &bench.held.recent;
    recent.login(Some("alice@example.com"), login("alice", Outcome::Ok));
    recent.state(
        "bob@example.com",
        State::NeedsConsent,
        "it lapsed",
        "Sign in.",
    );
    recent.login(None, login("<script>\u{202e}x", Outcome::Refused));
    let all = bench.get("/events", &cookie).await.text;
    let at = |words: &str| {
        all.find(words)
            .unwrap_or_else(|| panic!("no {words} in {all}"))
    };
    assert!(at("login refused") < at("it lapsed") && at("it lapsed") < at("login ok"));
    assert!(
        !all.contains("<script>\u{202e}") && !all.contains('\u{202e}'),
        "{all}"
    );
    assert!(all.contains("&lt;script&gt;\\u{202e}x"), "{all}");
    let bobs = bench
        .get("/events?account=bob%40example.com", &cookie)
        .await
        .text;
    assert!(
        bobs.contains("it lapsed") && !bobs.contains("login ok"),
        "{bobs}"
    );
}

#[tokio::test]
async fn no_page_shows_a_secret() {
    let listener =
        "\n[[listener]]\nprotocol = 'imap'\nprovider = 'contoso'\nlisten = ['127.0.0.1:21143']\n";
    let bench = Bench::with(&format!("{MARKED}{listener}")).await;
    let cookie = bench.sign_in().await;
    let key = cookie.split_once('=').expect("a pair").1;
    let vault_key = std::fs::read_to_string(bench.console.now().config.state_dir.join("vault.key"));
    let vault_key = vault_key.expect("a key");
    let pages = [
        "/",
        "/events",
        "/nothing",
        "/add",
        "/add/account?address=carol%40example.com&provider=contoso",
        "/account/alice@example.com",
        "/account/alice@example.com/test",
        "/account/alice@example.com/revoke",
        "/account/alice@example.com/remove",
        "/providers",
        "/providers/contoso",
        "/new-provider",
        "/listeners",
        "/listeners/1",
        "/new-listener",
        "/configuration",
    ];
    for path in pages {
        let answer = bench.get(path, &cookie).await;
        let is_there = answer.status == StatusCode::OK;
        assert!(is_there || path == "/nothing", "{path}: {}", answer.status);
        for secret in ["MARK", "TUFSS2hhc2h", "argon2", key, vault_key.trim()] {
            assert!(!answer.text.contains(secret), "{path} shows {secret}");
        }
    }
    let mut stream = bench
        .begin(
            Method::GET,
            "/live?page=overview",
            &[("cookie", &cookie)],
            "",
        )
        .await;
    let said = stream.until("\"summary\"").await;
    assert!(!said.contains("MARK"), "{said}");
}

#[tokio::test]
async fn a_page_is_kept_up_to_date_until_its_session_ends() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let form = format!("csrf={}", bench.csrf(&cookie).await);
    let mut stream = bench
        .begin(Method::GET, "/live?page=events", &[("cookie", &cookie)], "")
        .await;
    assert_eq!(stream.status, StatusCode::OK);
    stream.until("Nothing has happened").await;
    bench.held.recent.renewed("alice@example.com", None);
    stream.until("new token").await;
    bench.log_out(&cookie, &form, &[]).await;
    stream.until("event: over").await;
    let rest = timeout(PATIENCE, stream.body.collect()).await;
    rest.expect("the stream has ended").expect("in order");
}

#[tokio::test]
async fn streams_are_bounded_and_end_when_mailwicket_stops() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let headers = [("cookie", cookie.as_str())];
    let mut streams = Vec::new();
    for _ in 0..live::MOST_STREAMS {
        streams.push(
            bench
                .begin(Method::GET, "/live?page=overview", &headers, "")
                .await,
        );
    }
    let one_more = bench.get("/live?page=overview", &cookie).await;
    assert_eq!(one_more.status, StatusCode::SERVICE_UNAVAILABLE);
    bench.held.stop.cancel();
    for stream in &mut streams {
        stream.until("event: gone").await;
    }
}

#[tokio::test]
async fn a_page_shows_the_configuration_that_is_in_force() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let folder = tempfile::tempdir().expect("a folder");
    let text = MARKED.replace("bob@", "carol@");
    let (_, renewed) = console_of(folder.path(), &text);
    let newest = renewed.in_force.borrow().clone();
    bench.held.in_force.send_replace(newest);
    let page = bench.get("/", &cookie).await.text;
    assert!(
        page.contains("carol@example.com") && !page.contains("bob@example.com"),
        "{page}"
    );
}

#[tokio::test]
async fn a_reload_that_a_page_asks_for_is_told_its_outcome() {
    let mut bench = Bench::open().await;
    let asking = bench.console.reload();
    let answering = async { bench.held.wishes.next().await.answer(Err("line 3".into())) };
    let (outcome, ()) = tokio::join!(asking, answering);
    assert_eq!(outcome, Err("line 3".into()));
    drop(bench.held.wishes);
    assert!(bench.console.reload().await.is_err(), "nobody reloads");
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let bench = Bench::open().await;
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    let head = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nx: {}",
        bench.address,
        "x".repeat(40_000)
    );
    // It may be cut off while it is still being written.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    // Long before whoever shows no session has to go anyway.
    let read = timeout(guest::STRANGER_LIFE / 2, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("it does not wait for more");
}

/// Connections that ask on and on, take no answer, and show no session.
async fn deaf(bench: &Bench, count: usize) -> Vec<TcpStream> {
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", bench.address);
    let mut all = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(bench.address).await.expect("connected");
        // Until nothing more fits: nobody is taking the answers.
        while let Ok(1..) = stream.try_write(request.repeat(500).as_bytes()) {}
        all.push(stream);
    }
    all
}

/// What a connection still says; it is over then.
async fn last_words(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // Whether it ends in order or breaks, it ends.
    let reading = stream.read_to_end(&mut said);
    let _ = timeout(PATIENCE, reading).await.expect("it has ended");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn connections_without_a_session_keep_nobody_out_and_are_put_out_the_oldest_first() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let headers = [("cookie", cookie.as_str())];
    let path = "/live?page=events";
    let mut stream = bench.begin(Method::GET, path, &headers, "").await;
    let mut strangers = deaf(&bench, guest::MOST_CONNECTIONS).await;
    assert!(bench.is_in(&cookie).await);
    let fresh = bench.sign_in().await;
    assert!(bench.is_in(&fresh).await);
    last_words(&mut strangers[0]).await;
    bench.held.recent.renewed("alice@example.com", None);
    stream.until("new token").await;
}

#[tokio::test]
async fn a_connection_that_shows_no_session_is_short_and_one_that_does_is_not() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let headers = [("cookie", cookie.as_str())];
    let path = "/live?page=events";
    let mut stream = bench.begin(Method::GET, path, &headers, "").await;
    let mut asking = deaf(&bench, 1).await.remove(0);
    let mut silent = TcpStream::connect(bench.address).await.expect("connected");
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    last_words(&mut silent).await;
    assert!(began.elapsed() >= guest::STRANGER_LIFE - Duration::from_secs(1));
    last_words(&mut asking).await;
    tokio::time::sleep(guest::STRANGER_LIFE).await;
    bench.held.recent.renewed("alice@example.com", None);
    stream.until("new token").await;
}

#[tokio::test]
async fn a_form_that_does_not_arrive_is_not_waited_for() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let below = bench.path_of(&cookie).expect("a session");
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    let head = format!(
        "POST {below}/logout HTTP/1.1\r\nhost: {0}\r\norigin: http://{0}\r\ncookie: {cookie}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\ncsrf=",
        bench.address
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    tokio::time::pause();
    let said = last_words(&mut stream).await;
    assert!(said.contains("did not arrive in time"), "{said}");
}

#[tokio::test]
async fn both_addresses_of_localhost_are_the_consoles_or_it_knows_better() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let own = bench.console.own_address().expect("served");
    let other = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, bench.address.port()));
    let Ok(mut stream) = TcpStream::connect(other).await else {
        // A machine without that family, or somebody was faster.
        assert_eq!(own.has_localhost, crate::accept::bind(other).is_err());
        return;
    };
    assert!(own.has_localhost);
    let below = bench.path_of(&cookie).expect("a session");
    let head = format!(
        "GET {below}/ HTTP/1.1\r\nhost: {other}\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let said = last_words(&mut stream).await;
    assert!(said.contains("alice@example.com"), "{said}");

    let taken = TcpListener::bind("[::1]:0").await.expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let first = TcpListener::bind(("127.0.0.1", port))
        .await
        .expect("a port");
    let at = first.local_addr().expect("bound");
    assert!(!server::Sockets::beside(first, at).has_localhost);
}

#[tokio::test]
async fn connections_with_a_session_are_bounded_and_stay() {
    let bench = Bench::open().await;
    let cookie = bench.sign_in().await;
    let below = bench.path_of(&cookie).expect("a session");
    let request = format!(
        "HEAD {below}/nothing HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\n\r\n",
        bench.address
    );
    let ask = async |stream: &mut TcpStream| {
        let mut head = Vec::new();
        stream.write_all(request.as_bytes()).await?;
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        Ok::<_, std::io::Error>(())
    };
    let mut all = Vec::new();
    // Those of before may have their places for a moment yet.
    let mut refused = 0;
    while all.len() < guest::MOST_CONNECTIONS {
        let mut stream = TcpStream::connect(bench.address).await.expect("connected");
        match ask(&mut stream).await {
            Ok(()) => all.push(stream),
            Err(_) => refused += 1,
        }
        assert!(refused < 1000, "{} are in", all.len());
    }
    let mut one_more = TcpStream::connect(bench.address).await.expect("connected");
    assert_eq!(last_words(&mut one_more).await, "");
    for stream in &mut all {
        ask(stream).await.expect("it stays");
    }
}
