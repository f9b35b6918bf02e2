use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::*;
use crate::config::{Flow, MaxUpstream, Roster, SecretSource, Template};
use crate::oauth::response::Answer;
use crate::oauth::testing::{Endpoint, Reply, provider};
use crate::token::life::{Life, State};
use crate::token::testing::{account_of, open};

const LIMIT: Duration = Duration::from_secs(3);
const ALICE: &str = "alice@example.com";

fn good(token: &str, refresh_token: &str) -> Reply {
    let body = format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600,"refresh_token":"{refresh_token}"}}"#
    );
    Reply::json(200, &body)
}

fn refusal(error: &str) -> Reply {
    let body = format!(
        r#"{{"error":"{error}","error_description":"no, not s3cretR","trace_id":"tr4ce"}}"#
    );
    Reply::json(400, &body)
}

fn account_at(url: &Url, address: &str, change: impl FnOnce(&mut Provider)) -> Arc<Account> {
    let mut provider = provider(url);
    change(&mut provider);
    account_of(&Arc::new(provider), address)
}

/// A vault, an endpoint, and an account whose grant was made so long ago.
struct Bench {
    folder: TempDir,
    endpoint: Endpoint,
    account: Arc<Account>,
    tokens: Tokens,
}

impl Bench {
    /// With an access token of an hour, got `age` seconds ago.
    async fn new(age: i64, endpoint: Endpoint) -> Self {
        let account = account_at(&endpoint.url, ALICE, |_| {});
        let bench = Self::without_grant(endpoint, account);
        bench.authorise(age, "old", "s3cretR");
        bench
    }

    fn without_grant(endpoint: Endpoint, account: Arc<Account>) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let tokens = Tokens::new(open(folder.path()), LIMIT);
        Self {
            folder,
            endpoint,
            account,
            tokens,
        }
    }

    fn authorise(&self, age: i64, token: &str, refresh_token: &str) {
        let answer = Answer {
            access_token: AccessToken::new(token.to_owned().into()).expect("token"),
            expires_in: Some(Duration::from_secs(3600)),
            refresh_token: Some(SecretString::from(refresh_token)),
            refresh_expires_in: None,
            scopes: None,
            id_token: None,
        };
        let sent = Timestamp::now() - jiff::SignedDuration::from_secs(age);
        self.put(&Grant::new(&self.account.provider, &answer, sent));
    }

    fn put(&self, grant: &Grant) {
        let vault = &self.tokens.inner.vault;
        let guard = vault
            .lock(Kind::Grant, &self.account.address)
            .expect("lock");
        vault.write(&guard, &grant.to_bytes()).expect("written");
    }

    fn stored(&self) -> Grant {
        let record = self
            .tokens
            .inner
            .vault
            .read(Kind::Grant, &self.account.address);
        Grant::from_bytes(&record.expect("readable").expect("there").bytes).expect("a grant")
    }

    async fn login(&self) -> Result<String, Failure> {
        let token = self.tokens.obtain(&self.account, Need::Login).await;
        token.map(|token| token.expose().to_owned())
    }

    async fn instead_of(&self, token: &str) -> Result<String, Failure> {
        let refused = AccessToken::new(token.to_owned().into()).expect("token");
        let token = self
            .tokens
            .obtain(&self.account, Need::Instead(refused))
            .await;
        token.map(|token| token.expose().to_owned())
    }

    fn state(&self) -> State {
        self.tokens.status(&self.account).state
    }

    /// Something in the way of every write of the grant, until it is removed. It holds for root too.
    fn block_writes(&self) -> InTheWay {
        let name = format!("vault/{ALICE}.grant.new");
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).expect("folder");
        InTheWay(path)
    }

    /// Lets waiting end, as if the time had passed.
    fn wait_is_over(&self) {
        self.tokens.slot(&self.account).entry().life.reconsidered();
    }

    /// The same configuration again but for what `change` does.
    fn reload(&mut self, change: impl FnOnce(&mut Provider)) {
        let mut provider = Provider::clone(&self.account.provider);
        change(&mut provider);
        self.account = account_of(&Arc::new(provider), ALICE);
        self.tokens.take_up(std::slice::from_ref(&self.account));
    }

    /// Waits until the endpoint was asked so often and the account stands so.
    async fn stands(&self, hits: usize, state: State) {
        let wait = async {
            while (self.endpoint.hits(), self.state()) != (hits, state) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
        let stands = (self.endpoint.hits(), self.state());
        waited.unwrap_or_else(|_| panic!("{stands:?}, not {:?}", (hits, state)));
    }

    async fn asked(&self, times: usize) {
        while self.endpoint.hits() < times {
            tokio::task::yield_now().await;
        }
    }
}

struct InTheWay(std::path::PathBuf);

impl Drop for InTheWay {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).expect("removed");
    }
}

#[tokio::test]
async fn a_fit_token_is_served_without_asking() {
    let bench = Bench::new(10, Endpoint::replying(vec![Reply::Drop]).await).await;
    assert_eq!(bench.login().await.expect("token"), "old");
    assert_eq!((bench.endpoint.hits(), bench.state()), (0, State::Ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_logins_share_one_request() {
    let slow = good("new", "rt2").slow(Duration::from_millis(100));
    let bench = Arc::new(Bench::new(4000, Endpoint::replying(vec![slow]).await).await);
    let logins: Vec<_> = (0..200)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.login().await })
        })
        .collect();
    for login in logins {
        assert_eq!(login.await.expect("task").expect("token"), "new");
    }
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_logins_share_one_failure() {
    let bench = Arc::new(
        Bench::new(
            4000,
            Endpoint::replying(vec![Reply::with(429, "Retry-After: 30\r\n", "")]).await,
        )
        .await,
    );
    let logins: Vec<_> = (0..100)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.login().await })
        })
        .collect();
    for login in logins {
        assert_eq!(
            login.await.expect("task").expect_err("throttled").cause,
            Cause::Token
        );
    }
    assert_eq!((bench.endpoint.hits(), bench.state()), (1, State::Retrying));
    let wait = bench
        .tokens
        .status(&bench.account)
        .next_try
        .expect("known")
        .duration_since(Timestamp::now());
    assert!(wait.as_secs() >= 28, "Retry-After is kept: {wait:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_request() {
    let slow = good("new", "rt2").slow(Duration::from_millis(100));
    let bench = Bench::new(4000, Endpoint::replying(vec![slow]).await).await;
    let other = Tokens::new(open(bench.folder.path()), LIMIT);
    let (mine, theirs) = tokio::join!(bench.login(), other.obtain(&bench.account, Need::Login));
    assert_eq!(
        (
            mine.expect("token").as_str(),
            theirs.expect("token").expose()
        ),
        ("new", "new")
    );
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn a_rotated_refresh_token_is_durable_and_used_next() {
    let replies = vec![good("new", "rt2"), good("newer", "rt3")];
    let bench = Bench::new(4000, Endpoint::replying(replies).await).await;
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
    let restarted = Tokens::new(open(bench.folder.path()), LIMIT);
    let refused = AccessToken::new("new".to_owned().into()).expect("token");
    let token = restarted
        .obtain(&bench.account, Need::Instead(refused))
        .await
        .expect("token");
    assert_eq!(token.expose(), "newer");
    assert!(bench.endpoint.requests()[1].contains("refresh_token=rt2"));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_once_more_with_the_same_token() {
    let bench = Bench::new(
        4000,
        Endpoint::replying(vec![Reply::Drop, good("new", "rt2")]).await,
    )
    .await;
    assert_eq!(bench.login().await.expect("token"), "new");
    let requests = bench.endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| request.contains("refresh_token=s3cretR"))
    );
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_says_so_and_loses_nothing() {
    let bench = Bench::new(
        4000,
        Endpoint::replying(vec![Reply::Drop, refusal("invalid_grant")]).await,
    )
    .await;
    let failure = bench.login().await.expect_err("refused");
    assert_eq!(failure.cause, Cause::Consent);
    for words in [
        "invalid_grant",
        "earlier answer was lost",
        "tr4ce",
        "mailwicket authorize alice@example.com",
    ] {
        assert!(
            failure.detail.contains(words),
            "{words} not in {}",
            failure.detail
        );
    }
    assert!(!failure.detail.contains("s3cret"));
    assert!(
        bench
            .stored()
            .has_refresh_token(&SecretString::from("s3cretR"))
    );
    bench.login().await.expect_err("still");
    assert_eq!(bench.endpoint.hits(), 2, "not asked again");

    let restarted = Tokens::new(open(bench.folder.path()), LIMIT);
    assert_eq!(restarted.status(&bench.account).state, State::NeedsConsent);
    restarted
        .obtain(&bench.account, Need::Login)
        .await
        .expect_err("nor after a restart");
    assert_eq!(bench.endpoint.hits(), 2);
}

#[tokio::test]
async fn a_new_sign_in_is_noticed_without_a_restart() {
    let bench = Bench::new(
        4000,
        Endpoint::replying(vec![refusal("invalid_grant")]).await,
    )
    .await;
    bench.login().await.expect_err("refused");
    bench.authorise(0, "fresh", "rt9");
    assert_eq!(bench.login().await.expect("token"), "fresh");
    assert_eq!(bench.state(), State::Ok);
}

#[tokio::test]
async fn a_living_token_serves_on_whatever_the_endpoint_says() {
    for reply in [
        refusal("invalid_grant"),
        refusal("invalid_client"),
        Reply::with(503, "Content-Type: text/html\r\n", "<h1>down</h1>"),
        Reply::Drop,
        Reply::json(200, r#"{"access_token":"a b"}"#),
    ] {
        let bench = Bench::new(3590, Endpoint::replying(vec![reply.clone()]).await).await;
        for _ in 0..3 {
            assert_eq!(
                bench
                    .login()
                    .await
                    .unwrap_or_else(|e| panic!("{reply:?}: {e}")),
                "old"
            );
        }
        assert_ne!(bench.state(), State::Ok, "{reply:?}");
        assert!(
            bench
                .stored()
                .has_refresh_token(&SecretString::from("s3cretR"))
        );
    }
}

#[tokio::test]
async fn a_living_token_does_not_wait_for_a_silent_endpoint() {
    let silent = good("new", "rt2").slow(Duration::from_secs(5));
    let endpoint = Endpoint::replying(vec![silent]).await;
    let mut bench = Bench::new(3590, endpoint).await;
    bench.tokens = Tokens::new(open(bench.folder.path()), Duration::from_secs(10));
    // Had it waited for the answer, it would have the new one.
    assert_eq!(bench.login().await.expect("token"), "old");
    bench.tokens.settle().await;
    assert_eq!(
        bench.login().await.expect("token"),
        "new",
        "the answer was not thrown away"
    );
}

#[tokio::test]
async fn a_login_that_goes_away_does_not_lose_the_answer() {
    let slow = good("new", "rt2").slow(Duration::from_millis(200));
    let bench = Arc::new(Bench::new(4000, Endpoint::replying(vec![slow]).await).await);
    let login = tokio::spawn({
        let bench = bench.clone();
        async move { bench.login().await }
    });
    while bench.endpoint.hits() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    login.abort();
    bench.tokens.settle().await;
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
    assert_eq!(bench.login().await.expect("token"), "new");
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_renewed_once_for_all_who_met_it() {
    let bench = Arc::new(Bench::new(10, Endpoint::replying(vec![good("new", "rt2")]).await).await);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.instead_of("old").await })
        })
        .collect();
    for login in waiting {
        assert_eq!(login.await.expect("task").expect("token"), "new");
    }
    let again = bench.instead_of("new").await.expect_err("just renewed");
    assert_eq!(again.cause, Cause::Refused);
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn a_renewal_that_brings_the_refused_token_again_is_a_refusal() {
    let bench = Bench::new(10, Endpoint::replying(vec![good("old", "rt2")]).await).await;
    assert_eq!(
        bench.instead_of("old").await.expect_err("same").cause,
        Cause::Refused
    );
}

#[tokio::test]
async fn a_rotated_token_that_cannot_be_saved_is_given_to_nobody_and_saved_later() {
    let bench = Bench::new(4000, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    let in_the_way = bench.block_writes();
    assert_eq!(
        bench.login().await.expect_err("not saved").cause,
        Cause::Token
    );
    drop(in_the_way);
    bench.wait_is_over();
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
    assert_eq!(
        bench.endpoint.hits(),
        1,
        "the saved answer was used, not another"
    );
}

#[tokio::test]
async fn a_refresh_token_in_an_unusable_answer_is_saved() {
    let reply = Reply::json(200, r#"{"access_token":"a\r\nb","refresh_token":"rt2"}"#);
    let bench = Bench::new(4000, Endpoint::replying(vec![reply]).await).await;
    assert_eq!(
        bench.login().await.expect_err("unusable").cause,
        Cause::Token
    );
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
}

#[tokio::test]
async fn a_rotated_token_is_saved_over_a_record_that_still_has_its_predecessor() {
    let bench = Bench::new(4000, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    let in_the_way = bench.block_writes();
    bench.login().await.expect_err("not saved");
    drop(in_the_way);
    // Another process found that the predecessor is dead, and wrote that down.
    let mut lost = Life::new(State::NeedsConsent, Timestamp::now());
    lost.reason = "invalid_grant".into();
    bench.put(&bench.stored().in_state(&lost));
    bench.wait_is_over();
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
    assert_eq!((bench.endpoint.hits(), bench.state()), (1, State::Ok));
}

#[tokio::test]
async fn a_rotated_token_that_was_not_saved_gives_way_to_a_new_sign_in() {
    let bench = Bench::new(4000, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    let in_the_way = bench.block_writes();
    bench.login().await.expect_err("not saved");
    drop(in_the_way);
    bench.authorise(0, "fresh", "rt9");
    assert_eq!(bench.login().await.expect("token"), "fresh");
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt9")));
}

#[tokio::test]
async fn a_refresh_token_in_an_answer_that_cannot_be_read_is_used_next() {
    let reply = Reply::json(200, r#"{"access_token":["a"],"refresh_token":"rt2"}"#);
    for is_blocked in [false, true] {
        let replies = vec![reply.clone(), good("new", "rt3")];
        let bench = Bench::new(4000, Endpoint::replying(replies).await).await;
        let in_the_way = is_blocked.then(|| bench.block_writes());
        let failure = bench.login().await.expect_err("unreadable");
        assert_eq!(failure.cause, Cause::Token);
        assert!(failure.detail.contains("access_token"), "{failure}");
        drop(in_the_way);
        let stored = bench.stored();
        assert_eq!(
            stored.has_refresh_token(&SecretString::from("rt2")),
            !is_blocked
        );
        assert_eq!(bench.state(), State::Retrying);
        bench.wait_is_over();
        assert_eq!(bench.login().await.expect("token"), "new");
        assert!(bench.endpoint.requests()[1].contains("refresh_token=rt2"));
        assert!(bench.stored().has_refresh_token(&SecretString::from("rt3")));
    }
}

#[tokio::test]
async fn a_grant_whose_writer_was_killed_is_taken_up_before_anybody_asks_again() {
    let bench = Bench::new(4000, Endpoint::replying(vec![good("other", "rt3")]).await).await;
    let record = bench.folder.path().join(format!("vault/{ALICE}.grant"));
    let aside = bench.folder.path().join("aside");
    std::fs::rename(&record, &aside).expect("renamed");
    bench.authorise(0, "new", "rt2");
    std::fs::rename(&record, record.with_extension("grant.new")).expect("renamed");
    std::fs::rename(&aside, &record).expect("renamed");
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
    assert_eq!(bench.endpoint.hits(), 0);
}

#[tokio::test]
async fn a_grant_of_another_registration_is_neither_used_nor_lost() {
    let mut bench = Bench::new(10, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    bench.account = account_at(&bench.endpoint.url, ALICE, |provider| {
        provider.client_id = "other".into()
    });
    let failure = bench.login().await.expect_err("foreign");
    assert_eq!(
        (failure.cause, bench.state()),
        (Cause::Consent, State::Unauthorized)
    );
    assert!(failure.detail.contains("test-client"), "{}", failure.detail);
    assert_eq!(bench.endpoint.hits(), 0);
    assert!(
        bench
            .stored()
            .has_refresh_token(&SecretString::from("s3cretR"))
    );
}

#[tokio::test]
async fn an_account_that_was_never_authorised_says_what_to_run() {
    let endpoint = Endpoint::replying(vec![Reply::Drop]).await;
    let account = account_at(&endpoint.url, ALICE, |_| {});
    let bench = Bench::without_grant(endpoint, account);
    let failure = bench.login().await.expect_err("no grant");
    assert_eq!(failure.cause, Cause::Consent);
    assert!(
        failure
            .detail
            .contains("mailwicket authorize alice@example.com")
    );
    assert_eq!(bench.state(), State::Unauthorized);
}

#[tokio::test]
async fn an_application_signs_in_by_itself_and_its_token_outlives_a_restart() {
    let reply = Reply::json(200, r#"{"access_token":"app","expires_in":3600}"#);
    let endpoint = Endpoint::replying(vec![reply]).await;
    let account = account_at(&endpoint.url, ALICE, |provider| {
        provider.flow = Flow::ClientCredentials
    });
    let bench = Bench::without_grant(endpoint, account);
    assert_eq!(bench.login().await.expect("token"), "app");
    let restarted = Tokens::new(open(bench.folder.path()), LIMIT);
    assert_eq!(
        restarted
            .obtain(&bench.account, Need::Login)
            .await
            .expect("token")
            .expose(),
        "app"
    );
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn a_broken_registration_stops_all_its_accounts() {
    let endpoint = Endpoint::replying(vec![refusal("invalid_client")]).await;
    let mut registration = provider(&endpoint.url);
    registration.flow = Flow::ClientCredentials;
    let registration = Arc::new(registration);
    let bench = Bench::without_grant(endpoint, account_of(&registration, ALICE));
    assert_eq!(
        bench.login().await.expect_err("refused").cause,
        Cause::Config
    );
    let bob = account_of(&registration, "bob@example.com");
    let failure = bench
        .tokens
        .obtain(&bob, Need::Login)
        .await
        .expect_err("held back");
    assert_eq!(failure.cause, Cause::Config);
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn a_mailbox_that_a_service_account_may_not_open_holds_no_other_back() {
    let good = Reply::json(200, r#"{"access_token":"app","expires_in":3600}"#);
    let endpoint = Endpoint::replying(vec![refusal("unauthorized_client"), good]).await;
    let (_, key) = crate::config::testing::made(&rcgen::PKCS_RSA_SHA256);
    let file = serde_json::json!({
        "type": "service_account",
        "client_email": "mail@lab.iam.gserviceaccount.com",
        "private_key": key,
    });
    let mut registration = provider(&endpoint.url);
    registration.flow = Flow::ServiceAccount;
    registration.service_account = Some(SecretSource::Inline(file.to_string().into()));
    let registration = Arc::new(registration);
    let bench = Bench::without_grant(endpoint, account_of(&registration, ALICE));
    let failure = bench.login().await.expect_err("not hers");
    assert_eq!(failure.cause, Cause::Config);
    let bob = account_of(&registration, "bob@example.com");
    let token = bench.tokens.obtain(&bob, Need::Login).await;
    assert_eq!(token.expect("his").expose(), "app");
}

#[tokio::test]
async fn two_hundred_logins_of_an_application_make_one_request() {
    let reply = Reply::json(200, r#"{"access_token":"app","expires_in":3600}"#);
    let endpoint = Endpoint::replying(vec![reply.slow(Duration::from_millis(50))]).await;
    for flow in [Flow::ClientCredentials, Flow::ManagedIdentity] {
        let before = endpoint.hits();
        let account = account_at(&endpoint.url, &format!("{}@x.example", flow.word()), |p| {
            p.flow = flow;
        });
        let folder = tempfile::tempdir().expect("folder");
        let tokens = Tokens::new(open(folder.path()), LIMIT);
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (tokens, account) = (tokens.clone(), account.clone());
            logins.spawn(async move { tokens.obtain(&account, Need::Login).await });
        }
        for outcome in logins.join_all().await {
            assert_eq!(outcome.expect("a token").expose(), "app");
        }
        assert_eq!(endpoint.hits() - before, 1, "{flow:?}");
    }
}

#[tokio::test]
async fn a_reload_looks_at_the_grant_anew_and_may_ask_again() {
    let mut bench = Bench::new(
        4000,
        Endpoint::replying(vec![refusal("invalid_client"), good("new", "rt2")]).await,
    )
    .await;
    assert_eq!(
        bench.login().await.expect_err("refused").cause,
        Cause::Config
    );
    bench.account = account_at(&bench.endpoint.url, ALICE, |provider| {
        provider.client_secret = Some(SecretSource::Inline("the right one".to_owned().into()));
    });
    bench.tokens.take_up(std::slice::from_ref(&bench.account));
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.endpoint.requests()[1].contains("client_secret=the+right+one"));
}

#[tokio::test]
async fn only_an_answer_of_the_endpoint_lets_the_others_go_on() {
    for (second, goes_on) in [
        (Reply::Drop, false),
        (Reply::json(500, ""), false),
        (Reply::json(200, "{}"), false),
        (Reply::json(400, r#"{"error":"invalid_scope"}"#), true),
    ] {
        let replies = vec![Reply::json(503, ""), second.clone()];
        let endpoint = Endpoint::replying(replies).await;
        let mut registration = provider(&endpoint.url);
        registration.flow = Flow::ClientCredentials;
        let registration = Arc::new(registration);
        let bench = Bench::without_grant(endpoint, account_of(&registration, ALICE));
        let bob = account_of(&registration, "bob@example.com");
        bench.login().await.expect_err("down");
        bench.tokens.take_up(&[bench.account.clone(), bob.clone()]);
        bench.login().await.expect_err("no token");
        let before = bench.endpoint.hits();
        assert!(before > 1, "the probe was sent");
        let outcome = bench.tokens.obtain(&bob, Need::Login).await;
        outcome.expect_err("no token");
        assert_eq!(bench.endpoint.hits() > before, goes_on, "{second:?}");
    }
}

#[tokio::test]
async fn a_reload_keeps_what_the_provider_asked_for() {
    let throttled = Reply::with(429, "Retry-After: 30\r\n", "");
    let mut bench = Bench::new(4000, Endpoint::replying(vec![throttled]).await).await;
    bench.login().await.expect_err("throttled");
    bench.reload(|provider| provider.client_secret = Some(SecretSource::Inline("x".into())));
    let bob = account_of(&bench.account.provider, "bob@example.com");
    bench.login().await.expect_err("still");
    let outcome = bench.tokens.obtain(&bob, Need::Login).await;
    outcome.expect_err("never authorised");
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn a_rotated_token_that_was_not_saved_lives_through_a_reload() {
    let mut bench = Bench::new(4000, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    let in_the_way = bench.block_writes();
    bench.login().await.expect_err("not saved");
    bench.reload(|_| {});
    bench.tokens.take_up(&[]); // the account goes
    bench.reload(|_| {}); // and comes back
    drop(in_the_way);
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.stored().has_refresh_token(&SecretString::from("rt2")));
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn a_renewal_under_way_during_a_reload_is_shared_and_not_lost() {
    let slow = good("new", "rt2").slow(Duration::from_millis(200));
    for is_blocked in [false, true] {
        let mut bench = Bench::new(4000, Endpoint::replying(vec![slow.clone()]).await).await;
        let in_the_way = is_blocked.then(|| bench.block_writes());
        let (tokens, former) = (bench.tokens.clone(), bench.account.clone());
        let login = tokio::spawn(async move { tokens.obtain(&former, Need::Login).await });
        bench.asked(1).await;
        bench.reload(|_| {});
        let first = bench.login().await;
        let before = login.await.expect("task");
        assert_eq!(before.is_ok(), !is_blocked);
        assert_eq!(first.is_ok(), !is_blocked);
        drop(in_the_way);
        bench.wait_is_over();
        assert_eq!(bench.login().await.expect("token"), "new");
        assert_eq!(bench.endpoint.hits(), 1);
    }
}

#[tokio::test]
async fn a_refusal_of_the_former_secret_does_not_hold_the_new_one_back() {
    let slow = refusal("invalid_client").slow(Duration::from_millis(200));
    let mut bench = Bench::new(
        4000,
        Endpoint::replying(vec![slow, good("new", "rt2")]).await,
    )
    .await;
    let (tokens, former) = (bench.tokens.clone(), bench.account.clone());
    let login = tokio::spawn(async move { tokens.obtain(&former, Need::Login).await });
    bench.asked(1).await;
    bench.reload(|provider| provider.client_secret = Some(SecretSource::Inline("right".into())));
    login.await.expect("task").expect_err("the former secret");
    assert_eq!(bench.login().await.expect("token"), "new");
    assert!(bench.endpoint.requests()[1].contains("client_secret=right"));
}

#[tokio::test]
async fn an_account_that_moves_to_another_provider_and_back_finds_its_grant_again() {
    let mut bench = Bench::new(10, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    assert_eq!(bench.login().await.expect("token"), "old");
    bench.reload(|provider| provider.client_id = "other".into());
    assert_eq!(
        bench.login().await.expect_err("foreign").cause,
        Cause::Consent
    );
    assert_eq!(bench.tokens.inner.known.lock().expect("known").len(), 1);
    bench.reload(|provider| provider.client_id = "test-client".into());
    assert_eq!(bench.login().await.expect("token"), "old");
    assert_eq!(bench.endpoint.hits(), 0);
}

#[tokio::test]
async fn what_a_reload_takes_away_is_forgotten() {
    let bench = Bench::new(10, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    bench.login().await.expect("token");
    bench.tokens.take_up(&[]);
    assert!(bench.tokens.inner.known.lock().expect("known").is_empty());
    assert!(
        bench
            .tokens
            .inner
            .registrations
            .lock()
            .expect("known")
            .is_empty()
    );
}

#[tokio::test]
async fn the_upkeep_after_a_reload_asks_with_the_new_secret_by_itself() {
    let replies = vec![refusal("invalid_client"), good("new", "rt2")];
    let mut bench = Bench::new(4000, Endpoint::replying(replies).await).await;
    let stop = CancellationToken::new();
    let upkeep = |bench: &Bench, stop: &CancellationToken| {
        let tokens = bench.tokens.clone();
        tokio::spawn(tokens.upkeep(
            Roster::new(vec![bench.account.clone()], Vec::new()),
            stop.clone(),
        ))
    };
    let former = upkeep(&bench, &stop);
    bench.asked(1).await;
    bench.tokens.settle().await;
    assert_eq!(bench.state(), State::ConfigError);
    stop.cancel();
    let mut provider = Provider::clone(&bench.account.provider);
    provider.client_secret = Some(SecretSource::Inline("right".into()));
    bench.account = account_of(&Arc::new(provider), ALICE);
    let stop = CancellationToken::new();
    let present = upkeep(&bench, &stop);
    bench.asked(2).await;
    bench.tokens.settle().await;
    assert_eq!(bench.state(), State::Ok);
    assert!(bench.endpoint.requests()[1].contains("client_secret=right"));
    stop.cancel();
    former.await.expect("ended");
    present.await.expect("ended");
}

#[tokio::test]
async fn an_unreadable_vault_is_reported_and_not_overwritten() {
    let bench = Bench::new(10, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    let path = bench
        .folder
        .path()
        .join("vault")
        .join(format!("{ALICE}.grant"));
    std::fs::write(&path, b"damaged").expect("written");
    let failure = bench.login().await.expect_err("damaged");
    assert_eq!(
        (failure.cause, bench.state()),
        (Cause::Config, State::ConfigError)
    );
    assert_eq!(std::fs::read(&path).expect("there"), b"damaged");
    assert_eq!(bench.endpoint.hits(), 0);
}

#[tokio::test]
async fn the_upkeep_renews_ahead_and_then_sleeps() {
    let bench = Bench::new(3400, Endpoint::replying(vec![good("new", "rt2")]).await).await;
    let stop = CancellationToken::new();
    let upkeep = tokio::spawn(bench.tokens.clone().upkeep(
        Roster::new(vec![bench.account.clone()], Vec::new()),
        stop.clone(),
    ));
    bench.asked(1).await;
    bench.tokens.settle().await;
    assert_eq!(bench.login().await.expect("token"), "new");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(bench.endpoint.hits(), 1);
    stop.cancel();
    upkeep.await.expect("ended");
}

#[tokio::test]
async fn the_upkeep_asks_for_those_mailboxes_of_a_template_that_have_a_password() {
    let reply = Reply::json(200, r#"{"access_token":"app","expires_in":3600}"#);
    let endpoint = Endpoint::replying(vec![reply]).await;
    let account = account_at(&endpoint.url, ALICE, |provider| {
        provider.flow = Flow::ClientCredentials;
    });
    let bench = Bench::without_grant(endpoint, account);
    let (_, domain) = ALICE.rsplit_once('@').expect("an address");
    let template = Template {
        pattern: format!("*@{domain}"),
        provider: bench.account.provider.clone(),
        max_upstream: MaxUpstream::default(),
    };
    let roster = Roster::new(Vec::new(), vec![Arc::new(template)]);
    let vault = &bench.tokens.inner.vault;
    assert!(bench.tokens.mailboxes(&roster).is_empty());
    let guard = vault.lock(Kind::Passwords, ALICE).expect("lock");
    vault.write(&guard, b"a password").expect("written");
    let stop = CancellationToken::new();
    let upkeep = |stop: &CancellationToken| {
        let tokens = bench.tokens.clone();
        tokio::spawn(tokens.upkeep(roster.clone(), stop.clone()))
    };
    let former = upkeep(&stop);
    bench.asked(1).await;
    bench.tokens.settle().await;
    stop.cancel();
    former.await.expect("ended");
    // A reload takes its token up like that of an account with a table of its own.
    let stop = CancellationToken::new();
    let present = upkeep(&stop);
    assert_eq!(bench.login().await.expect("token"), "app");
    assert_eq!(bench.endpoint.hits(), 1);
    stop.cancel();
    present.await.expect("ended");
}

#[tokio::test]
async fn the_upkeep_retries_with_back_off_and_leaves_lost_consents_alone() {
    let bench = Bench::new(
        3400,
        Endpoint::replying(vec![Reply::json(503, ""), refusal("invalid_grant")]).await,
    )
    .await;
    let stop = CancellationToken::new();
    let upkeep = tokio::spawn(bench.tokens.clone().upkeep(
        Roster::new(vec![bench.account.clone()], Vec::new()),
        stop.clone(),
    ));
    bench.stands(1, State::Retrying).await;
    bench.stands(2, State::NeedsConsent).await;
    assert_eq!(bench.login().await.expect("token"), "old", "it lives on");
    stop.cancel();
    upkeep.await.expect("ended");
}

#[test]
fn the_status_is_json_for_scripts() {
    let status = crate::token::AccountStatus::new(
        &Life::new(State::NeedsConsent, Timestamp::UNIX_EPOCH),
        None,
        None,
        Timestamp::UNIX_EPOCH,
    );
    let json = serde_json::to_value(&status).expect("json");
    assert_eq!(json["state"], "needs-consent");
    assert_eq!(json["since"], "1970-01-01T00:00:00Z");
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log").extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_at_the_most_verbose_level() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // A place in the code that another test comes to first asks only that test's subscriber, which is none, unless there are two.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // The test's runtime has one thread, so this sees the renewal's task and the HTTP client as well.
    let _logging = tracing::subscriber::set_default(subscriber);
    let echo = r#"{"error":"invalid_grant","error_description":"s3cretR and s3cretC"}"#;
    for reply in [
        good("s3cretA", "s3cretN"),
        Reply::json(400, echo),
        Reply::json(200, r#"{"access_token":["s3cretA"]}"#),
    ] {
        let endpoint = Endpoint::replying(vec![reply]).await;
        let account = account_at(&endpoint.url, ALICE, |provider| {
            provider.client_secret = Some(SecretSource::Inline("s3cretC".to_owned().into()));
        });
        let bench = Bench::without_grant(endpoint, account);
        bench.authorise(4000, "s3cretO", "s3cretR");
        let outcome = bench.login().await;
        let failure = outcome
            .err()
            .map(|failure| format!("{failure} {failure:?}"))
            .unwrap_or_default();
        let status = format!(
            "{:?} {:?}",
            bench.tokens.status(&bench.account),
            bench.tokens
        );
        assert!(!(failure + &status).contains("s3cret"));
    }
    let log = String::from_utf8_lossy(&logged.0.lock().expect("log")).into_owned();
    assert!(log.contains("TRACE"), "it was verbose");
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn an_endpoint_that_loses_every_answer_is_not_asked_for_each_account() {
    let endpoint = Endpoint::replying(vec![Reply::json(500, "")]).await;
    let mut registration = provider(&endpoint.url);
    registration.flow = Flow::ClientCredentials;
    let registration = Arc::new(registration);
    let bench = Bench::without_grant(endpoint, account_of(&registration, ALICE));
    for n in 0..20 {
        let account = account_of(&registration, &format!("{n}@example.com"));
        let outcome = bench.tokens.obtain(&account, Need::Login).await;
        assert_eq!(outcome.expect_err("down").cause, Cause::Token);
    }
    assert_eq!(bench.endpoint.hits(), 3);
}

#[tokio::test]
async fn an_account_that_a_broken_registration_holds_back_is_not_said_to_be_ok() {
    let endpoint = Endpoint::replying(vec![refusal("invalid_client")]).await;
    let mut bench = Bench::new(4000, endpoint).await;
    bench.login().await.expect_err("refused");
    let alice = bench.account.clone();
    bench.account = account_of(&alice.provider, "bob@example.com");
    bench.authorise(4000, "his", "rtB");
    let status = bench.tokens.status(&bench.account);
    assert_eq!(status.state, State::ConfigError);
    assert!(status.reason.expect("told").contains("invalid_client"));
    assert!(status.next_try.is_some());
    bench.authorise(0, "anew", "rtC");
    assert_eq!(bench.state(), State::Ok, "it needs nothing now");
    assert_eq!(bench.endpoint.hits(), 1);
}

/// A world whose clock somebody sets.
struct Set(Mutex<jiff::SignedDuration>);

impl World for Set {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock().expect("the clock")
    }

    fn luck(&self) -> f64 {
        0.5
    }

    fn client(&self, provider: Arc<Provider>) -> Result<OAuth, crate::tls::TlsError> {
        OAuth::new(provider, LIMIT)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_no_dead_token_look_alive() {
    let endpoint = Endpoint::replying(vec![good("new", "rt2")]).await;
    let mut bench = Bench::new(0, endpoint).await;
    let world = Arc::new(Set(Mutex::default()));
    bench.tokens = Tokens::in_world(open(bench.folder.path()), world.clone(), Recent::default());
    assert_eq!(bench.login().await.expect("token"), "old");
    // An hour passes, and the clock is back where it was.
    tokio::time::advance(Duration::from_secs(3700)).await;
    tokio::time::resume();
    assert_eq!(bench.login().await.expect("token"), "new");
    // By days, even: the new token is not taken for one of the future.
    *world.0.lock().expect("the clock") = jiff::SignedDuration::from_hours(-72);
    assert_eq!(bench.login().await.expect("token"), "new");
    assert_eq!(bench.endpoint.hits(), 1);
}

#[tokio::test]
async fn an_endpoint_that_goes_on_losing_answers_is_asked_once_at_a_time() {
    let bench = Bench::new(4000, Endpoint::replying(vec![Reply::Drop]).await).await;
    bench.login().await.expect_err("lost, and lost again");
    assert_eq!(bench.endpoint.hits(), 2);
    bench.wait_is_over();
    bench.login().await.expect_err("lost");
    assert_eq!(bench.endpoint.hits(), 3);
}
