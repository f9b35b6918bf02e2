//! Accounts: added, authorised, given passwords, tested, and left.

use std::collections::HashMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::*;
use crate::oauth::testing::{Endpoint, Reply};
use crate::token::grant::Grant;
use crate::vault::Kind;

const ALICE: &str = "alice@example.com";
const ALICES: &str = "/account/alice%40example%2Ecom";

/// Somebody in the console, and what they see.
struct Person<'b> {
    bench: &'b Bench,
    cookie: String,
    csrf: String,
}

impl<'b> Person<'b> {
    async fn at(bench: &'b Bench) -> Self {
        let cookie = bench.sign_in().await;
        let csrf = bench.csrf(&cookie).await;
        Self {
            bench,
            cookie,
            csrf,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.bench.get(path, &self.cookie).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &self.csrf);
        form.extend_pairs(fields);
        let origin = format!("http://{}", self.bench.address);
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", &origin),
        ];
        self.bench
            .ask(Method::POST, path, &headers, &form.finish())
            .await
    }

    /// Posts, and reads the page that it leads to.
    async fn follow(&self, path: &str, fields: &[(&str, &str)]) -> (String, String) {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let to = answer.header(LOCATION).to_owned();
        let page = self.get(&to).await;
        assert_eq!(page.status, StatusCode::OK, "{to}: {}", page.text);
        (to, page.text)
    }

    /// Begins a sign-in: its page's address, and what the provider is sent.
    async fn begin(&self) -> (String, HashMap<String, String>) {
        let (page, text) = self.follow(&format!("{ALICES}/authorize"), &[]).await;
        (page, asked_of_provider(&text))
    }

    /// The page of a sign-in when nothing more happens.
    async fn outcome(&self, page: &str) -> String {
        timeout(PATIENCE, async {
            loop {
                let text = self.get(page).await.text;
                if !text.contains("Asking the provider") {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("in time")
    }
}

/// The query of the link to the provider.
fn asked_of_provider(page: &str) -> HashMap<String, String> {
    let (_, rest) = page.split_once("id=\"provider\" href=\"").expect("a link");
    let href = rest.split('"').next().expect("an address");
    let url = Url::parse(&href.replace("&amp;", "&")).expect("a URL");
    url.query_pairs().into_owned().collect()
}

fn tokens_of(name: &str) -> Reply {
    let claims = format!(r#"{{"email":"{name}","aud":"an-application"}}"#);
    let id = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    Reply::json(
        200,
        &format!(
            r#"{{"access_token":"MARK-access","refresh_token":"MARK-refresh","expires_in":3600,"scope":"mail","id_token":"{id}"}}"#
        ),
    )
}

/// A console before a provider that answers so.
async fn at_provider(replies: Vec<Reply>, more: &str) -> (Bench, Endpoint) {
    let endpoint = Endpoint::replying(replies).await;
    let url = &endpoint.url;
    let text = format!(
        "state-dir = '.'\n[provider.test]\nclient-id = 'an-application'\nauthorize-url = '{url}/auth'\ntoken-url = '{url}'\n\
         device-url = '{url}/device'\nscopes = ['mail']\nimap = {{ host = '127.0.0.1', port = 1 }}\n{more}\n\
         [[listener]]\nprotocol = 'imap'\nprovider = 'test'\nlisten = ['127.0.0.1:1143', '[::1]:1143']\n\
         # alice\n[[account]]\naddress = '{ALICE}'\nprovider = 'test'\n"
    );
    (Bench::reloading(&text).await, endpoint)
}

fn granted(bench: &Bench) -> Option<Grant> {
    let record = bench.console.now().vault.read(Kind::Grant, ALICE);
    let record = record.expect("readable")?;
    Some(Grant::from_bytes(&record.bytes).expect("a grant"))
}

fn file(bench: &Bench) -> String {
    fs::read_to_string(bench.folder.path().join("mailwicket.toml")).expect("the file")
}

// ---- the way back from the provider ----

#[tokio::test]
async fn a_redirect_without_a_cookie_ends_the_sign_in_of_its_state_and_shows_nothing() {
    let (bench, endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let (page, asked) = person.begin().await;
    let own = format!("http://{}/", bench.address);
    assert_eq!(asked["redirect_uri"], own);
    assert_eq!(asked["login_hint"], ALICE);

    let redirect = format!("/?code=MARK-code&state={}", asked["state"]);
    let from = [("sec-fetch-site", "cross-site")];
    let neutral = bench.ask(Method::GET, &redirect, &from, "").await;
    assert_eq!(neutral.status, StatusCode::OK);
    let own = bench.path_of(&person.cookie).expect("a path");
    assert_eq!(neutral.header("refresh"), format!("0; url={own}{page}"));
    assert_eq!(neutral.header(CACHE_CONTROL), "no-store");
    for secret in ["MARK", ALICE, "authorised"] {
        assert!(!neutral.text.contains(secret), "{secret}");
    }
    let shown = person.outcome(&page).await;
    assert!(
        shown.contains("is authorised by alice@example.com"),
        "{shown}"
    );
    assert!(!shown.contains("MARK"), "{shown}");
    assert_eq!(granted(&bench).expect("stored").signed_in_as(), Some(ALICE));

    let again = bench.get(&redirect, "").await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert!(
        again.text.contains("This sign-in is over"),
        "{}",
        again.text
    );
    assert_eq!(endpoint.hits(), 1, "a code is used once");
}

#[tokio::test]
async fn a_redirect_to_another_name_of_this_machine_leads_back_over_a_page_of_the_consoles_own() {
    let more = "redirect-url = 'http://localhost/back'";
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], more).await;
    let person = Person::at(&bench).await;
    let (page, asked) = person.begin().await;
    let port = bench.address.port();
    assert_eq!(
        asked["redirect_uri"],
        format!("http://localhost:{port}/back")
    );
    let host = format!("localhost:{port}");
    let redirect = format!("/back?code=c0de&state={}", asked["state"]);
    let neutral = bench
        .ask(Method::GET, &redirect, &[("host", &host)], "")
        .await;
    let id = page.strip_prefix("/sign-in/").expect("an id");
    let own = bench.path_of(&person.cookie).expect("a path");
    let bridge = format!("/signed-in{own}/{id}");
    let to_bridge = format!("0; url=http://{}{bridge}", bench.address);
    assert_eq!(neutral.header("refresh"), to_bridge);
    let bridge = bench.get(&bridge, "").await;
    assert_eq!(bridge.header("refresh"), format!("0; url={own}{page}"));
    for odd in ["/signed-in/%22%3E%3Cb/a", "/signed-in/a/%22%3E%3Cb"] {
        let odd = bench.get(odd, "").await;
        assert_eq!(odd.status, StatusCode::NOT_FOUND);
    }
    assert!(person.outcome(&page).await.contains("is authorised"));
}

#[tokio::test]
async fn a_redirect_of_another_state_or_path_or_of_a_tab_that_is_old_changes_nothing() {
    let (bench, endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let (_, old) = person.begin().await;
    let (page, new) = person.begin().await;
    for stray in [
        "/?code=c0de&state=guessed".to_owned(),
        format!("/?code=c0de&state={}", old["state"]),
        format!("/elsewhere?code=c0de&state={}", new["state"]),
        format!("/?code=c0de&state={0}&state={0}", new["state"]),
        format!("/?error=access_denied&state={}", old["state"]),
    ] {
        let answer = bench.get(&stray, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{stray}");
        assert!(
            answer.text.contains("begun again in another tab"),
            "{stray}"
        );
    }
    assert_eq!(endpoint.hits(), 0);
    bench
        .get(&format!("/?code=c&state={}", new["state"]), "")
        .await;
    assert!(person.outcome(&page).await.contains("is authorised"));
}

#[tokio::test]
async fn a_sign_in_belongs_to_the_session_that_began_it() {
    let (bench, endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let (page, asked) = person.begin().await;
    let other = Person::at(&bench).await;
    assert_eq!(other.get(&page).await.status, StatusCode::BAD_REQUEST);
    let pasted = format!("http://x/?code=c&state={}", asked["state"]);
    other
        .post(&format!("{page}/paste"), &[("address", &pasted)])
        .await;
    person.post("/logout", &[]).await;
    let redirect = format!("/?code=c0de&state={}", asked["state"]);
    let answer = bench.get(&redirect, "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(endpoint.hits(), 0);
    assert!(granted(&bench).is_none());
}

#[tokio::test]
async fn what_went_wrong_at_the_provider_is_explained_and_nothing_is_stored() {
    let no_refresh = Reply::json(200, r#"{"access_token":"MARK-access","expires_in":3600}"#);
    let no_scope = Reply::json(
        200,
        r#"{"access_token":"MARK-access","refresh_token":"r","expires_in":3600,"scope":"openid"}"#,
    );
    for (reply, end, words) in [
        (no_refresh, "code=c", "gave no refresh token"),
        (no_scope, "code=c", "Tick every box on the consent page"),
        (
            tokens_of("mallory@example.com"),
            "code=c",
            "mallory@example.com signed in, but the account needs alice@example.com",
        ),
        (
            Reply::json(400, r#"{"error":"invalid_grant","error_codes":[54005]}"#),
            "code=c",
            "The sign-in page was stale or used twice",
        ),
        (
            tokens_of(ALICE),
            "error=access_denied",
            "The sign-in was declined. Try again",
        ),
    ] {
        let (bench, _endpoint) = at_provider(vec![reply], "").await;
        let person = Person::at(&bench).await;
        let (page, asked) = person.begin().await;
        bench
            .get(&format!("/?{end}&state={}", asked["state"]), "")
            .await;
        let shown = person.outcome(&page).await;
        assert!(shown.contains(words), "{words} not in {shown}");
        assert!(shown.contains("Begin again"), "{shown}");
        assert!(
            !shown.contains("MARK") && !shown.contains("ACCOUNT"),
            "{shown}"
        );
        assert!(granted(&bench).is_none(), "{words}");
    }
}

#[tokio::test]
async fn sign_ins_are_bounded_and_giving_one_up_makes_room() {
    let mut more = String::new();
    for number in 0..17 {
        more.push_str(&format!(
            "\n[[account]]\naddress = 'a{number}@example.com'\nprovider = 'contoso'\n"
        ));
    }
    let text = MARKED.replace(
        "issuer = \"https://login.example\"",
        "authorize-url = 'http://127.0.0.1:1/a'\ntoken-url = 'http://127.0.0.1:1/t'",
    );
    let (head, notify) = text.split_once("[notify]").expect("a table");
    let bench = Bench::reloading(&format!("{head}{more}\n[notify]{notify}")).await;
    let person = Person::at(&bench).await;
    let begin = async |number: u32| {
        let path = format!("/account/a{number}%40example%2Ecom/authorize");
        person.post(&path, &[]).await
    };
    let mut first = None;
    for number in 0..16 {
        let answer = begin(number).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        first.get_or_insert(answer.header(LOCATION).to_owned());
    }
    assert_eq!(begin(16).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        begin(3).await.status,
        StatusCode::SEE_OTHER,
        "in its own place"
    );
    let first = first.expect("one");
    person.post(&format!("{first}/cancel"), &[]).await;
    assert_eq!(begin(16).await.status, StatusCode::SEE_OTHER);
    assert_eq!(person.get(&first).await.status, StatusCode::BAD_REQUEST);
}

// ---- other ways to sign in ----

#[tokio::test]
async fn where_nothing_can_come_back_the_address_is_pasted_and_never_shown() {
    let more = "redirect-url = 'https://127.0.0.1'";
    let (bench, endpoint) = at_provider(vec![tokens_of(ALICE)], more).await;
    let person = Person::at(&bench).await;
    let (page, asked) = person.begin().await;
    assert_eq!(asked["redirect_uri"], "https://127.0.0.1/");
    let paste = format!("{page}/paste");
    let (_, shown) = person.follow(&paste, &[("address", "MARK-hello")]).await;
    assert!(shown.contains("This is not the address that the sign-in ended at"));
    assert!(!shown.contains("MARK"), "{shown}");
    let last = format!("https://127.0.0.1/?code=MARK-code&state={}", asked["state"]);
    person.follow(&paste, &[("address", &last)]).await;
    let shown = person.outcome(&page).await;
    assert!(
        shown.contains("is authorised") && !shown.contains("MARK"),
        "{shown}"
    );
    assert!(endpoint.requests()[0].contains("code=MARK-code"));
}

#[tokio::test]
async fn a_code_is_shown_for_another_device_with_a_picture_of_its_address() {
    let code = Reply::json(
        200,
        r#"{"device_code":"MARK-device","user_code":"ABCD-EFGH","verification_uri":"https://id.example/device","interval":1,"expires_in":900}"#,
    );
    let (bench, _endpoint) = at_provider(vec![code, tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let path = format!("{ALICES}/authorize");
    let (page, shown) = person.follow(&path, &[("way", "device")]).await;
    for words in [
        "ABCD-EFGH",
        "https://id.example/device",
        "as a QR code",
        "http-equiv=\"refresh\"",
    ] {
        assert!(shown.contains(words), "{words} not in {shown}");
    }
    assert!(!shown.contains("MARK"), "{shown}");
    let id = page.strip_prefix("/sign-in/").expect("an id");
    let live = format!("/live?page=sign-in&id={id}");
    let cookie = [("cookie", person.cookie.as_str())];
    let mut stream = bench.begin(Method::GET, &live, &cookie, "").await;
    stream.until("is authorised by alice@example.com").await;
    assert!(granted(&bench).is_some());
}

#[tokio::test]
async fn an_application_signs_in_with_one_click() {
    let more = "flow = 'client-credentials'\nclient-secret = 'MARK-secret'";
    let reply = Reply::json(200, r#"{"access_token":"MARK-access","expires_in":3600}"#);
    let (bench, _endpoint) = at_provider(vec![reply], more).await;
    let person = Person::at(&bench).await;
    assert!(person.get(ALICES).await.text.contains("Get a token now"));
    let (page, _) = person.follow(&format!("{ALICES}/authorize"), &[]).await;
    let shown = person.outcome(&page).await;
    assert!(
        shown.contains("is authorised") && !shown.contains("MARK"),
        "{shown}"
    );
    assert!(granted(&bench).is_some());
}

// ---- local passwords ----

/// What stands between these in a page.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).expect(before);
    rest.split_once(after).expect(after).0
}

#[tokio::test]
async fn a_password_that_is_made_up_is_shown_once_and_is_the_right_one() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let path = format!("{ALICES}/passwords");
    let fields = [("name", "scanner"), ("kind", "generate")];
    // Whoever typed one wanted that one.
    let typed = [fields[0], fields[1], ("password", "typed-by-hand")];
    let (_, refused) = person.follow(&path, &typed).await;
    assert!(refused.contains("so none was added"), "{refused}");
    let shown = person.post(&path, &fields).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.header(CACHE_CONTROL), "no-store");
    let made = between(&shown.text, "<code id=\"made\">", "</code>").to_owned();
    let kept = crate::password::list(&bench.console.now().vault, ALICE).expect("readable");
    assert!(crate::password::tests::matches(
        &kept[0].hash,
        made.as_bytes()
    ));
    for words in [
        "Type this into the mail program",
        "127.0.0.1 or ::1",
        "1143",
        ALICE,
    ] {
        assert!(shown.text.contains(words), "{words}");
    }
    // The browser sends the form again when the page is loaded again.
    let (_, again) = person.follow(&path, &fields).await;
    assert!(
        again.contains("has a password named &quot;scanner&quot; already"),
        "{again}"
    );
    let page = person.get(ALICES).await.text;
    for text in [&again, &page] {
        assert!(!text.contains(&made) && !text.contains("argon2"), "{text}");
    }
}

#[tokio::test]
async fn a_password_is_not_lost_when_its_button_is_pressed_twice() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let page = person.get(ALICES).await.text;
    let form = between(&page, "name=\"form\" value=\"", "\"").to_owned();
    let path = format!("{ALICES}/passwords");
    let fields = [("name", "pc"), ("kind", "generate"), ("form", &form)];
    let vault = bench.console.now().vault.clone();
    let is_kept = async {
        while crate::password::list(&vault, ALICE)
            .expect("readable")
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    // The browser drops the first answer; it may have come by then.
    tokio::select! {
        _ = person.post(&path, &fields) => {}
        () = is_kept => {}
    }
    let shown = person.post(&path, &fields).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let made = between(&shown.text, "<code id=\"made\">", "</code>");
    let kept = crate::password::list(&vault, ALICE).expect("readable");
    assert_eq!(kept.len(), 1);
    assert!(crate::password::tests::matches(
        &kept[0].hash,
        made.as_bytes()
    ));
    // Of another session it is another form.
    let other = Person::at(&bench).await;
    let (_, told) = other.follow(&path, &fields).await;
    assert!(told.contains("already") && !told.contains(made), "{told}");
}

#[tokio::test]
async fn a_password_is_set_restricted_and_removed() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let path = format!("{ALICES}/passwords");
    let mut fields = vec![
        ("name", "laptop"),
        ("kind", "set"),
        ("password", "MARK-hunter"),
        ("from", "192.0.2.9/24, 2001:db8::1"),
        ("protocol", "imap"),
        ("expires", "30d"),
    ];
    let (_, shown) = person.follow(&path, &fields).await;
    assert!(shown.contains("The password laptop is added."), "{shown}");
    assert!(
        shown.contains("imap from 192.0.2.0/24, 2001:db8::1"),
        "{shown}"
    );
    assert!(!shown.contains("MARK"), "{shown}");
    for (name, value, words) in [
        ("name", "other", ""),
        ("from", "here", "here: a network is wanted"),
        ("expires", "never", "When it ends: a last day is wanted"),
        ("password", "", "No password was given"),
    ] {
        fields.retain(|(known, _)| *known != name);
        fields.push((name, value));
        if !words.is_empty() {
            let (_, shown) = person.follow(&path, &fields).await;
            assert!(shown.contains(words), "{words} not in {shown}");
        }
        fields.retain(|(known, _)| *known == "name" || *known != name);
    }
    let remove = format!("{path}/remove");
    let (_, shown) = person.follow(&remove, &[("name", "laptop")]).await;
    assert!(shown.contains("The password laptop is removed"), "{shown}");
    assert!(shown.contains("There is none yet"), "{shown}");
}

#[tokio::test]
async fn a_window_for_learning_is_opened_from_named_addresses_and_closed() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let path = format!("{ALICES}/passwords");
    let learn = |from| [("name", "scanner"), ("kind", "learn"), ("from", from)];
    for (from, words) in [
        ("", "only from named addresses"),
        ("10.0.0.0/8", "too wide to learn from"),
    ] {
        let (_, shown) = person.follow(&path, &learn(from)).await;
        assert!(shown.contains(words), "{words} not in {shown}");
    }
    let (_, shown) = person.follow(&path, &learn("192.0.2.7")).await;
    assert!(
        shown.contains(
            "Let the device log in now as alice@example.com, any protocol from 192.0.2.7"
        ),
        "{shown}"
    );
    assert!(shown.contains("Waiting for a device"), "{shown}");
    let (_, shown) = person.follow(&format!("{path}/unlearn"), &[]).await;
    assert!(!shown.contains("Waiting for a device"), "{shown}");
}

// ---- the test, and the end ----

#[tokio::test]
async fn a_test_shows_its_steps_as_they_end_with_and_without_a_script() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let path = format!("{ALICES}/test");
    assert!(
        person
            .get(&path)
            .await
            .text
            .contains("no test since the start")
    );
    person.follow(&path, &[("send", "on")]).await;
    let live = format!("/live?page=test&account={ALICE}");
    let cookie = [("cookie", person.cookie.as_str())];
    let mut stream = bench.begin(Method::GET, &live, &cookie, "").await;
    let streamed = stream.until("steps failed").await;
    assert!(streamed.contains("account config"), "{streamed}");
    let shown = person.get(&path).await.text;
    for words in [
        "account config",
        "there is no local password yet",
        "mailwicket password add alice@example.com",
        "with a message",
    ] {
        assert!(shown.contains(words), "{words} not in {shown}");
    }
    assert!(!shown.contains("http-equiv"), "it is over");
}

#[tokio::test]
async fn a_sign_in_is_revoked_after_a_question() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let (page, asked) = person.begin().await;
    bench
        .get(&format!("/?code=c&state={}", asked["state"]), "")
        .await;
    person.outcome(&page).await;
    let path = format!("{ALICES}/revoke");
    assert!(person.get(&path).await.text.contains("Keep the sign-in"));
    assert!(granted(&bench).is_some());
    let (_, shown) = person.follow(&path, &[]).await;
    assert!(
        shown.contains("names no place where a program could revoke"),
        "{shown}"
    );
    assert!(granted(&bench).is_none());
    let (_, shown) = person.follow(&path, &[("local", "on")]).await;
    assert!(
        shown.contains("are forgotten here. The provider was not asked"),
        "{shown}"
    );
}

#[tokio::test]
async fn an_account_leaves_the_configuration_after_a_question() {
    let (bench, _endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let path = format!("{ALICES}/remove");
    assert!(person.get(&path).await.text.contains("Keep the account"));
    assert!(file(&bench).contains(ALICE));
    let (to, shown) = person.follow(&path, &[]).await;
    assert_eq!(to, "/");
    assert!(
        shown.contains("is removed from the configuration"),
        "{shown}"
    );
    assert!(!file(&bench).contains("alice") && file(&bench).contains("[provider.test]"));
    assert_eq!(person.get(ALICES).await.status, StatusCode::NOT_FOUND);
}

// ---- adding ----

#[tokio::test]
async fn an_address_leads_to_its_provider_and_to_what_that_needs() {
    let bench = Bench::open().await;
    let person = Person::at(&bench).await;
    let (to, shown) = person
        .follow("/add/guess", &[("address", " bob@gmail.com ")])
        .await;
    assert_eq!(to, "/add/account?address=bob%40gmail.com&provider=google");
    for words in [
        "bob@gmail.com is probably at Gmail and Google Workspace",
        "OAuth client ID for a desktop app",
        "name=\"client-id\"",
        "name=\"client-secret\"",
        "a service account for the whole Workspace",
    ] {
        assert!(shown.contains(words), "{words} not in {shown}");
    }
    let microsoft = person
        .get("/add/account?address=a%40x&provider=microsoft&way=secret")
        .await;
    assert!(
        microsoft.text.contains("Directory (tenant) ID"),
        "{}",
        microsoft.text
    );
    assert!(microsoft.text.contains("name=\"tenant\""));
    let (to, shown) = person
        .follow("/add/guess", &[("address", "bob@icloud.com")])
        .await;
    assert!(
        to == "/add" && shown.contains("app-specific password"),
        "{shown}"
    );
    let (to, _) = person
        .follow("/add/guess", &[("address", "ALICE@example.com")])
        .await;
    assert!(to.starts_with("/account/"), "{to}");
}

const NEW: [(&str, &str); 12] = [
    ("address", "bob@example.org"),
    ("provider", "other"),
    ("way", "browser"),
    ("issuer", "https://id.example.org"),
    ("scopes", "mail openid"),
    ("client-id", "app-1"),
    ("client-secret", "MARK-new-secret"),
    ("imap", "on"),
    ("imap-host", "imap.example.org:1993"),
    ("imap-port", "21143"),
    ("smtp-port", "21587"),
    ("where", "here"),
];

#[tokio::test]
async fn a_new_provider_its_listener_and_the_account_are_written_behind_what_is_there() {
    let before = "# mine\nstate-dir   = '.' # odd\n";
    let bench = Bench::reloading(before).await;
    let person = Person::at(&bench).await;
    let (to, shown) = person.follow("/add/account", &NEW).await;
    assert_eq!(to, "/account/bob%40example%2Eorg");
    for words in [
        "bob@example.org is in the configuration.",
        "What is left to do",
        "Authorize now",
        "21143",
    ] {
        assert!(shown.contains(words), "{words} not in {shown}");
    }
    assert!(!shown.contains("MARK"), "{shown}");
    let written = file(&bench);
    assert!(written.starts_with(before), "{written}");
    for line in [
        "[provider.other]",
        "client-secret = { file = \"other.secret\" }",
        "imap = { host = \"imap.example.org\", port = 1993 }",
        "listen = [\"127.0.0.1:21143\", \"[::1]:21143\"]",
        "address = \"bob@example.org\"",
    ] {
        assert!(written.contains(line), "{line} not in {written}");
    }
    assert!(
        !written.contains("MARK") && !written.contains("smtp"),
        "{written}"
    );
    let secret = bench.folder.path().join("other.secret");
    assert_eq!(
        fs::read_to_string(&secret).expect("there"),
        "MARK-new-secret"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&secret).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // A second mailbox at the same provider needs no more than its address.
    let second = [
        ("address", "carol@example.org"),
        ("provider", "known:other"),
    ];
    let (to, _) = person.follow("/add/account", &second).await;
    assert_eq!(to, "/account/carol%40example%2Eorg");
    assert_eq!(file(&bench).matches("[provider.").count(), 1);
    assert_eq!(file(&bench).matches("[[listener]]").count(), 1);
}

/// What every new mailbox at Microsoft is asked for, and what one way needs.
fn at_microsoft<'a>(way: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("address", "bob@example.org"),
        ("provider", "microsoft"),
        ("way", way),
        ("smtp", "on"),
        ("smtp-port", "21587"),
        ("where", "here"),
    ];
    [&all[..], more].concat()
}

const TENANT: (&str, &str) = ("tenant", "contoso.onmicrosoft.com");
const CLIENT: (&str, &str) = ("client-id", "11111111-2222-3333-4444-555555555555");

#[tokio::test]
async fn every_way_without_a_secret_becomes_a_configuration_that_passes_the_check() {
    let agreed = ("agreed", "on");
    let assertion = ("assertion", "platform.token");
    for (way, more, lines, missing) in [
        (
            "managed-identity",
            vec![],
            vec!["flow = \"managed-identity\"", "# client-id = "],
            vec!["\nclient-id", "tenant", "client-secret"],
        ),
        (
            "managed-identity",
            vec![CLIENT],
            vec!["flow = \"managed-identity\"", "\nclient-id = \"11111111-"],
            vec!["# client-id"],
        ),
        (
            "federation",
            vec![TENANT, CLIENT, assertion],
            vec![
                "assertion = { file = \"platform.token\" }",
                "flow = \"client-credentials\"",
            ],
            vec!["client-secret"],
        ),
        (
            "password",
            vec![TENANT, CLIENT, agreed],
            vec!["flow = \"password\"", "allow-password-grant = true"],
            vec![],
        ),
    ] {
        let bench = Bench::reloading("state-dir = '.'\n").await;
        let person = Person::at(&bench).await;
        let (to, shown) = person
            .follow("/add/account", &at_microsoft(way, &more))
            .await;
        assert_eq!(to, "/account/bob%40example%2Eorg", "{way}");
        assert!(
            shown.contains("is in the configuration"),
            "{way} in {shown}"
        );
        let written = file(&bench);
        for line in lines {
            assert!(written.contains(line), "{line} not in {written}");
        }
        for word in missing {
            assert!(!written.contains(word), "{word} in {written}");
        }
    }
}

#[tokio::test]
async fn a_way_asks_for_what_it_needs_and_says_where_it_is_found() {
    let bench = Bench::open().await;
    let person = Person::at(&bench).await;
    for (way, words, missing) in [
        (
            "managed-identity",
            ["Azure portal", "Only of a user-assigned one"],
            ["name=\"tenant\"", "name=\"client-secret\""],
        ),
        (
            "federation",
            ["Federated credentials", "name=\"assertion\""],
            ["name=\"client-secret\"", "command"],
        ),
        (
            "password",
            ["a second factor (MFA)", "name=\"agreed\""],
            [
                "name=\"assertion\"",
                "name=\"agreed\" value=\"on\" required checked",
            ],
        ),
        (
            "device",
            ["name=\"tenant\"", "name=\"client-secret\""],
            ["name=\"agreed\"", "name=\"assertion\""],
        ),
    ] {
        let path = format!("/add/account?address=a%40x&provider=microsoft&way={way}");
        let page = person.get(&path).await.text;
        for words in words {
            assert!(page.contains(words), "{way}: {words} not in {page}");
        }
        for words in missing {
            assert!(!page.contains(words), "{way}: {words} in {page}");
        }
    }
}

#[tokio::test]
async fn a_password_grant_without_leave_and_a_federation_without_a_file_are_refused_and_nothing_is_written()
 {
    let before = "state-dir = '.'\n";
    let bench = Bench::reloading(before).await;
    let person = Person::at(&bench).await;
    for (way, words) in [
        ("password", "Nobody agreed to the password grant"),
        (
            "federation",
            "Something is missing: the file with the platform&#39;s token",
        ),
    ] {
        let fields = at_microsoft(way, &[TENANT, CLIENT, ("assertion", " ")]);
        let answer = person.post("/add/account", &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{way}");
        let plain = answer.text.replace('\'', "&#39;");
        assert!(plain.contains(words), "{words} not in {plain}");
        assert_eq!(file(&bench), before, "{way}");
    }
}

#[tokio::test]
async fn what_the_check_refuses_is_told_with_the_answers_but_the_secret_and_nothing_is_written() {
    let before = "state-dir = '.'\n";
    let bench = Bench::reloading(before).await;
    let person = Person::at(&bench).await;
    for (name, value, words) in [
        ("issuer", "ftp://id.example.org", "issuer"),
        ("imap-port", "70000", "a number from 1 to 65535"),
        ("imap-port", "8047", "8047"),
        ("client-id", "", "Something is missing: the client id"),
        ("imap", "", "at least one protocol"),
        ("address", "bob", "address"),
    ] {
        let mut fields: Vec<_> = NEW
            .into_iter()
            .filter(|(known, _)| *known != name)
            .collect();
        if name != "imap" {
            fields.push((name, value));
        }
        let answer = person.post("/add/account", &fields).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name} {value}"
        );
        assert!(
            answer.text.contains(words),
            "{words} not in {}",
            answer.text
        );
        assert!(!answer.text.contains("MARK"), "{}", answer.text);
        assert!(
            answer.text.contains("imap.example.org:1993"),
            "{}",
            answer.text
        );
        assert_eq!(file(&bench), before);
        assert!(!bench.folder.path().join("other.secret").exists(), "{name}");
    }
}

#[tokio::test]
async fn what_is_not_taken_up_is_not_left_in_the_file() {
    let before = "state-dir = '.'\n";
    let mut bench = Bench::with(before).await;
    bench.held.wishes = reload::channel().1; // nobody takes anything up
    let person = Person::at(&bench).await;
    let answer = person.post("/add/account", &NEW).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text.contains("so it was left as it was"),
        "{}",
        answer.text
    );
    assert_eq!(file(&bench), before);
    assert!(!bench.folder.path().join("other.secret").exists());
}

#[tokio::test]
async fn a_code_for_another_device_is_of_no_use_after_the_session() {
    let code = Reply::json(
        200,
        r#"{"device_code":"d","user_code":"ABCD","verification_uri":"https://id.example/","interval":1}"#,
    );
    let replies = vec![code.clone(), code, tokens_of(ALICE)];
    let (bench, endpoint) = at_provider(replies, "").await;
    let path = format!("{ALICES}/authorize");
    let first = Person::at(&bench).await;
    first.follow(&path, &[("way", "device")]).await;
    first.post("/logout", &[]).await;
    // Another one asks later, and hears; the first would have asked before.
    let second = Person::at(&bench).await;
    let (page, _) = second.follow(&path, &[("way", "device")]).await;
    let id = page.strip_prefix("/sign-in/").expect("an id");
    let live = format!("/live?page=sign-in&id={id}");
    let cookie = [("cookie", second.cookie.as_str())];
    let mut stream = bench.begin(Method::GET, &live, &cookie, "").await;
    stream.until("is authorised").await;
    assert_eq!(endpoint.hits(), 3, "two codes, and tokens for one");
}

#[tokio::test]
async fn what_changes_anything_takes_no_form_from_elsewhere() {
    let (bench, endpoint) = at_provider(vec![tokens_of(ALICE)], "").await;
    let person = Person::at(&bench).await;
    let before = file(&bench);
    for below in [
        "/authorize",
        "/passwords",
        "/passwords/remove",
        "/passwords/unlearn",
        "/test",
        "/revoke",
        "/remove",
    ] {
        let path = format!("{ALICES}{below}");
        let headers = [
            ("cookie", person.cookie.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", "http://evil.example"),
        ];
        let form = format!("csrf={}&name=a&kind=generate", person.csrf);
        let answer = bench.ask(Method::POST, &path, &headers, &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        let without = Person {
            bench: &bench,
            cookie: person.cookie.clone(),
            csrf: "guessed".into(),
        };
        let answer = without
            .post(&path, &[("name", "a"), ("kind", "generate")])
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(file(&bench), before);
    assert_eq!(endpoint.hits(), 0);
}
