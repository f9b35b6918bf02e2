//! The pages over real HTTP, with a file that has comments and secrets in it.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use http::header::LOCATION;
use url::form_urlencoded;

use super::super::reload;
use super::super::tests::{Answer, Bench};
use super::*;

const TEXT: &str = "\
# mine
state-dir = '.'

# the registration of 2024
[provider.contoso]
preset = 'microsoft'
tenant = 't.example' # of the board
client-id = 'id-1'
client-secret = 'MARK-inline'
client-secret-expires = 2031-02-03
egress = 'http://user:MARK-egress@proxy.example:3128'

[provider.spare]
preset = 'google'
client-id = 'id-2'
client-secret = { file = 'spare.secret' }

# for the scanner
[[listener]]
protocol = 'imap'
provider = 'contoso'
listen = ['127.0.0.1:21143'] # never another

[[account]]
address = 'alice@example.com'
provider = 'contoso'
password-hash = ['$argon2id$v=19$m=19456,t=2,p=1$TUFSS2hhc2hNQVJL$TUFSS2hhc2hNQVJLTUFSS2hhc2hNQVJLTUFSS2hhc2g']
";

struct Desk {
    bench: Bench,
    cookie: String,
    csrf: String,
    /// What becomes of a reload.
    outcome: Arc<Mutex<Result<(), String>>>,
    /// Reloads wait for it.
    pause: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    async fn open() -> Self {
        let mut bench = Bench::with(TEXT).await;
        fs::write(bench.folder.path().join("spare.secret"), "MARK-file").unwrap();
        let cookie = bench.sign_in().await;
        let csrf = bench.csrf(&cookie).await;
        let (_, none) = reload::channel();
        let mut wishes = std::mem::replace(&mut bench.held.wishes, none);
        let outcome = Arc::new(Mutex::new(Ok(())));
        let answers = Arc::clone(&outcome);
        let pause = Arc::new(tokio::sync::Mutex::new(()));
        let paused = Arc::clone(&pause);
        tokio::spawn(async move {
            loop {
                let wish = wishes.next().await;
                drop(paused.lock().await);
                wish.answer(answers.lock().unwrap().clone());
            }
        });
        Self {
            bench,
            cookie,
            csrf,
            outcome,
            pause,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let answer = self.bench.get(path, &self.cookie).await;
        assert!(!answer.text.contains("MARK"), "{path}: {}", answer.text);
        answer
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &self.csrf).extend_pairs(fields);
        let form = form.finish();
        let answer = self.bench.post(path, &self.cookie, &form, &[]).await;
        assert!(!answer.text.contains("MARK"), "{path}: {}", answer.text);
        answer
    }

    /// Sends the form of a page as it is, but for these fields.
    async fn change(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let of = digest(&self.text());
        let fields: Vec<_> = [("of", of.as_str())]
            .iter()
            .chain(fields)
            .copied()
            .collect();
        self.post(path, &fields).await
    }

    /// The page of the change that a form led to.
    async fn reviewed(&self, answer: &Answer) -> (String, String) {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let path = answer.header(LOCATION).to_owned();
        assert!(path.starts_with("/changes/"), "{path}");
        let page = self.get(&path).await.text;
        (path, page)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.bench.folder.path().join("mailwicket.toml")).unwrap()
    }
}

#[tokio::test]
async fn the_lists_say_what_there_is_and_no_secret() {
    let desk = Desk::open().await;
    let page = desk.get("/providers").await.text;
    for wanted in [
        "href=\"/providers/contoso\"",
        "client secret in the configuration itself",
        "ends on 2031-02-03",
        "outlook.office365.com",
        "alice@example.com",
        "listener 1 (imap)",
        "spare.secret",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let page = desk.get("/listeners").await.text;
    assert!(
        page.contains("127.0.0.1:21143") && page.contains("href=\"/listeners/1\""),
        "{page}"
    );
    let page = desk.get("/configuration").await.text;
    assert!(page.contains("client-secret = «secret»"), "{page}");
    assert!(page.contains("# for the scanner"), "{page}");
    for path in [
        "/providers/nobody",
        "/listeners/0",
        "/listeners/2",
        "/changes/guessed",
    ] {
        assert!(desk.get(path).await.status.is_client_error(), "{path}");
    }
}

#[tokio::test]
async fn a_form_has_what_the_file_says_with_labels() {
    let desk = Desk::open().await;
    let page = desk.get("/providers/contoso").await.text;
    for wanted in [
        "<label for=\"tenant\">Tenant</label>",
        "value=\"t.example\"",
        "It stands in the configuration file itself.",
        "There is a password in it",
        "<option value=\"microsoft\" selected>",
        "<legend>Registration</legend>",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let page = desk.get("/listeners/1").await.text;
    assert!(page.contains(">\n127.0.0.1:21143</textarea>"), "{page}");
}

#[tokio::test]
async fn a_change_is_reviewed_saved_taken_up_and_taken_back() {
    let desk = Desk::open().await;
    let sent = desk
        .change("/listeners/1", &[("listen", "127.0.0.1:21144")])
        .await;
    let (path, page) = desk.reviewed(&sent).await;
    assert!(page.contains("<del>- listen = ["), "{page}");
    assert!(
        page.contains("<ins>+ listen = [&quot;127.0.0.1:21144&quot;] # never another"),
        "{page}"
    );
    assert_eq!(desk.text(), TEXT, "nothing is written before it was seen");

    assert_eq!(desk.post(&path, &[]).await.status, StatusCode::SEE_OTHER);
    let wanted = TEXT.replace("['127.0.0.1:21143']", "[\"127.0.0.1:21144\"]");
    assert_eq!(desk.text(), wanted);
    let page = desk.get(&path).await.text;
    assert!(page.contains("saved and in force"), "{page}");

    // Once more is nothing more.
    desk.post(&path, &[]).await;
    assert_eq!(desk.text(), wanted);

    desk.post(&format!("{path}/back"), &[]).await;
    assert_eq!(desk.text(), TEXT);
    let page = desk.get(&path).await.text;
    assert!(page.contains("restored and in force"), "{page}");
}

#[tokio::test]
async fn a_reload_that_fails_is_told_and_the_file_can_be_restored() {
    let desk = Desk::open().await;
    let sent = desk
        .change("/listeners/1", &[("listen", "127.0.0.1:21145")])
        .await;
    let (path, _) = desk.reviewed(&sent).await;
    *desk.outcome.lock().unwrap() = Err("127.0.0.1:21145 is taken".into());
    desk.post(&path, &[]).await;
    let page = desk.get(&path).await.text;
    assert!(page.contains("old configuration stays in force"), "{page}");
    assert!(page.contains("127.0.0.1:21145 is taken"), "{page}");
    assert!(page.contains("Restore the file"), "{page}");
    *desk.outcome.lock().unwrap() = Ok(());
    desk.post(&format!("{path}/back"), &[]).await;
    assert_eq!(desk.text(), TEXT);
}

#[tokio::test]
async fn what_the_check_refuses_stands_at_its_field() {
    let desk = Desk::open().await;
    let fields = [
        ("listen", "0.0.0.0:21143"),
        ("protocol", "pop3"),
        ("tls", "none"),
    ];
    let answer = desk.change("/listeners/1", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = answer.text;
    assert!(
        page.contains("passwords would cross the network in clear"),
        "{page}"
    );
    assert!(
        page.contains("aria-invalid=\"true\" aria-describedby=\"about-listen\""),
        "{page}"
    );
    assert!(
        page.contains(">\n0.0.0.0:21143</textarea>"),
        "what was typed stays: {page}"
    );
    let answer = desk
        .change("/providers/contoso", &[("client-id", "")])
        .await;
    assert!(answer.text.contains("aria-describedby=\"about-client-id\""));
    assert!(
        answer.text.contains("`client-id` is missing here"),
        "{}",
        answer.text
    );
    assert_eq!(desk.text(), TEXT);
}

#[tokio::test]
async fn a_form_of_another_text_changes_nothing() {
    let desk = Desk::open().await;
    let of = digest("another text");
    let fields = [("of", of.as_str()), ("listen", "127.0.0.1:1")];
    let answer = desk.post("/listeners/1", &fields).await;
    assert_eq!(answer.header(LOCATION), "/listeners/1");
    let page = desk.get("/listeners/1").await.text;
    assert!(page.contains("The file was changed since"), "{page}");

    // Nor does a review, if somebody writes in the file meanwhile.
    let sent = desk
        .change("/listeners/1", &[("listen", "127.0.0.1:21144")])
        .await;
    let (path, _) = desk.reviewed(&sent).await;
    let theirs = format!("{TEXT}# theirs\n");
    fs::write(desk.bench.folder.path().join("mailwicket.toml"), &theirs).unwrap();
    desk.post(&path, &[]).await;
    assert_eq!(desk.text(), theirs);
    assert!(
        desk.get(&path)
            .await
            .text
            .contains("changed by somebody else")
    );
}

#[tokio::test]
async fn a_typed_secret_goes_to_a_file_of_its_own() {
    let desk = Desk::open().await;
    let folder = desk.bench.folder.path().to_owned();
    let sent = desk
        .change("/providers/contoso", &[("client-secret", " MARK-new ")])
        .await;
    let (path, page) = desk.reviewed(&sent).await;
    assert!(
        page.contains("client-secret = «changed»") && page.contains("contoso.secret"),
        "{page}"
    );
    assert!(!folder.join("contoso.secret").exists());
    desk.post(&path, &[]).await;
    assert_eq!(
        fs::read_to_string(folder.join("contoso.secret")).unwrap(),
        "MARK-new"
    );
    let wanted = TEXT.replace("'MARK-inline'", "{ file = \"contoso.secret\" }");
    assert_eq!(desk.text(), wanted);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.join("contoso.secret"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
    desk.post(&format!("{path}/back"), &[]).await;
    assert_eq!(desk.text(), TEXT);
    assert!(!folder.join("contoso.secret").exists());
}

#[tokio::test]
async fn a_typed_secret_replaces_the_one_in_the_file_that_is_named() {
    let desk = Desk::open().await;
    let file = desk.bench.folder.path().join("spare.secret");
    let sent = desk
        .change("/providers/spare", &[("client-secret", "MARK-new")])
        .await;
    let (path, page) = desk.reviewed(&sent).await;
    assert!(
        page.contains("spare.secret") && !page.contains("<ins>"),
        "{page}"
    );
    desk.post(&path, &[]).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "MARK-new");
    assert_eq!(desk.text(), TEXT);
    desk.post(&format!("{path}/back"), &[]).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "MARK-file");
}

#[tokio::test]
async fn a_provider_and_a_listener_are_added() {
    let desk = Desk::open().await;
    let fields = [
        ("name", "fm"),
        ("preset", ""),
        ("client-id", "id-3"),
        ("issuer", "https://login.example"),
        ("imap.host", "imap.example"),
        ("imap.port", "993"),
    ];
    let sent = desk.change("/new-provider", &fields).await;
    let (path, _) = desk.reviewed(&sent).await;
    desk.post(&path, &[]).await;
    let block = "[provider.fm]\nclient-id = \"id-3\"\nissuer = \"https://login.example\"\nimap = { host = \"imap.example\", port = 993 }\n";
    assert!(desk.text().contains(block), "{}", desk.text());

    let fields = [
        ("protocol", "imap"),
        ("provider", "fm"),
        ("listen", "127.0.0.1:21150\r\n[::1]:21150"),
    ];
    let sent = desk.change("/new-listener", &fields).await;
    let (path, _) = desk.reviewed(&sent).await;
    desk.post(&path, &[]).await;
    assert!(
        desk.text()
            .contains("listen = [\"127.0.0.1:21150\", \"[::1]:21150\"]"),
        "{}",
        desk.text()
    );

    for (name, fault) in [
        ("contoso", "already"),
        ("", "give it a name"),
        ("a b", "cannot be the name"),
    ] {
        let answer = desk
            .change(
                "/new-provider",
                &[("name", name), ("preset", "google"), ("client-id", "x")],
            )
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert!(answer.text.contains(fault), "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_in_use_is_not_removed() {
    let desk = Desk::open().await;
    let answer = desk.change("/providers/contoso/remove", &[]).await;
    assert_eq!(answer.header(LOCATION), "/providers/contoso");
    let page = desk.get("/providers/contoso").await.text;
    assert!(
        page.contains("is in use, so it stays: alice@example.com, listener 1 (imap)"),
        "{page}"
    );
    desk.change("/listeners/1/remove", &[]).await;
    assert!(
        desk.get("/listeners/1")
            .await
            .text
            .contains("the only listener")
    );

    let sent = desk.change("/providers/spare/remove", &[]).await;
    let (path, page) = desk.reviewed(&sent).await;
    assert!(page.contains("<del>- [provider.spare]"), "{page}");
    desk.post(&path, &[]).await;
    assert!(!desk.text().contains("spare") && desk.text().contains("# for the scanner"));
}

#[tokio::test]
async fn the_number_of_a_listener_of_another_text_removes_nothing() {
    let desk = Desk::open().await;
    let fields = [("of", digest("another text"))];
    let fields = fields.each_ref().map(|(name, of)| (*name, of.as_str()));
    for fields in [&fields[..], &[]] {
        let answer = desk.post("/listeners/1/remove", fields).await;
        assert_eq!(answer.header(LOCATION), "/listeners/1");
        let page = desk.get("/listeners/1").await.text;
        assert!(page.contains("The file was changed since"), "{page}");
    }
}

#[tokio::test]
async fn a_browser_that_goes_away_leaves_no_change_half_done() {
    let desk = Desk::open().await;
    let sent = desk
        .change("/listeners/1", &[("listen", "127.0.0.1:21144")])
        .await;
    let (path, _) = desk.reviewed(&sent).await;
    let paused = desk.pause.lock().await;
    let is_written = async {
        while desk.text() == TEXT {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = desk.post(&path, &[]) => panic!("nothing is taken up yet: {}", answer.status),
        () = is_written => {}
    }
    drop(paused);
    let is_done = async {
        while !desk.get(&path).await.text.contains("saved and in force") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_done)
        .await
        .expect("it went on");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_shown_with_its_faults() {
    let desk = Desk::open().await;
    let path = desk.bench.folder.path().join("mailwicket.toml");
    fs::write(&path, TEXT.replace("['127", "'127")).unwrap();
    for page in ["/providers", "/listeners", "/listeners/1", "/new-provider"] {
        let page = desk.get(page).await.text;
        assert!(
            page.contains("cannot be changed here before this is mended"),
            "{page}"
        );
        assert!(page.contains("mailwicket.toml:"), "{page}");
    }
    fs::write(&path, TEXT.replace("protocol = 'imap'", "protocl = 'imap'")).unwrap();
    let page = desk.get("/listeners").await.text;
    assert!(
        page.contains("would not be taken up") && page.contains("protocl"),
        "{page}"
    );
}
