use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::UpstreamTls;
use crate::config::{
    Endpoint, Flow, Identity, MaxUpstream, MechanismChoice, Provider, Roster, SecretSource,
    Template,
};
use crate::vault::Kind;

const ALICE: &str = "alice@contoso.com";
const HERE: &str = "127.0.0.1";

/// A mailbox with the logins given and passwords of the configuration.
pub(crate) fn account(address: &str, logins: &[&str], hashes: &[&str]) -> Arc<Account> {
    Arc::new(Account {
        address: address.into(),
        provider: Arc::new(provider()),
        logins: logins.iter().map(|&login| login.into()).collect(),
        identity: Identity {
            imap: address.into(),
            pop3: address.into(),
            smtp: address.into(),
        },
        authorize_as: None,
        max_upstream: crate::config::MaxUpstream::default(),
        password_hashes: hashes.iter().map(|&hash| hash.into()).collect(),
    })
}

fn provider() -> Provider {
    Provider {
        name: "contoso".into(),
        preset: None,
        client_id: "id".into(),
        client_secret: None,
        client_secret_expires: None,
        certificate: None,
        assertion: None,
        service_account: None,
        device_url: None,
        flow: Flow::AuthorizationCode,
        issuer: None,
        authorize_url: None,
        token_url: None,
        revoke_url: None,
        redirect_url: "http://127.0.0.1/".parse().unwrap(),
        scopes: Vec::new(),
        authorize_params: Vec::new(),
        imap: Some(Endpoint {
            host: "imap.contoso.com".into(),
            port: 993,
            tls: UpstreamTls::Implicit,
        }),
        pop3: None,
        smtp: None,
        mechanism: MechanismChoice::Auto,
        ca_file: None,
        egress: Default::default(),
    }
}

/// A vault in a folder of its own, and a check with the cheapest hashes that there are.
pub(crate) struct Bench {
    state: TempDir,
    pub(crate) vault: Vault,
    pub(crate) alice: Arc<Account>,
    roster: Roster,
    passwords: Passwords,
}

impl Bench {
    pub(crate) fn new(hashes: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let key = SecretSource::File(state.path().join("vault.key"));
        let vault = Vault::open(state.path(), &key).unwrap();
        let alice = account(ALICE, &[ALICE, "scanner-2"], hashes);
        let nobody = account("bob@contoso.com", &["bob@contoso.com", ""], &[]);
        let template = Template {
            pattern: "*@fabrikam.com".into(),
            provider: alice.provider.clone(),
            max_upstream: MaxUpstream::default(),
        };
        let roster = Roster::new(vec![alice.clone(), nobody], vec![Arc::new(template)]);
        let passwords = Passwords::build(&roster, vault.clone(), 10, &Cost::LEAST);
        Self {
            state,
            vault,
            alice,
            roster,
            passwords,
        }
    }

    pub(crate) fn with_password_of_configuration(password: &[u8]) -> Self {
        Self::new(&[&cheap(password)])
    }

    /// Logs in by SMTP from this machine, and sees that the use is written.
    pub(crate) async fn use_at_once(&self, password: &[u8]) {
        self.login(ALICE, password).await.unwrap();
        self.passwords.uses().settle().await;
    }

    pub(crate) fn add(
        &self,
        name: &str,
        password: &[u8],
        restrict: impl FnOnce(&mut NamedPassword),
    ) {
        let mut named = self::named(name, password);
        restrict(&mut named);
        add(&self.vault, &self.alice, named).unwrap();
    }

    async fn login(&self, login: &str, password: &[u8]) -> Result<Verified, Failure> {
        self.login_from(login, password, Protocol::Smtp, HERE).await
    }

    async fn login_from(
        &self,
        login: &str,
        password: &[u8],
        protocol: Protocol,
        source: &str,
    ) -> Result<Verified, Failure> {
        let credentials = Credentials {
            login: login.into(),
            password: password.to_vec().into(),
        };
        let source = source.parse().unwrap();
        self.verify_at(&self.alice.provider, &credentials, protocol, source)
            .await
    }

    async fn verify_at(
        &self,
        provider: &Provider,
        credentials: &Credentials,
        protocol: Protocol,
        source: IpAddr,
    ) -> Result<Verified, Failure> {
        let verifying = self
            .passwords
            .verify(credentials, provider, protocol, source);
        verifying.await
    }

    fn hashes(&self) -> u64 {
        self.passwords.counters().hashes
    }

    /// Every file of the state directory with its content.
    fn files(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.state.path().join("vault")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

/// Whether `hash` is the hash of `password`.
pub(crate) fn matches(hash: &str, password: &[u8]) -> bool {
    hash::verify(hash, password)
}

fn named(name: &str, password: &[u8]) -> NamedPassword {
    NamedPassword {
        name: name.into(),
        hash: cheap(password),
        created: jiff::Timestamp::UNIX_EPOCH,
        from: Vec::new(),
        protocol: None,
        expires: None,
    }
}

fn cheap(password: &[u8]) -> String {
    hash::hash_at(&Cost::LEAST, password).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_right_password_of_the_configuration_or_the_vault_opens_its_account() {
    let bench = Bench::new(&[&cheap(b"of the file")]);
    bench.add("scanner", b"\xff of the vault", |_| {});
    for password in [&b"of the file"[..], b"\xff of the vault"] {
        let verified = bench.login(ALICE, password).await.unwrap();
        assert_eq!(verified.account().address, ALICE);
    }
}

#[tokio::test(start_paused = true)]
async fn only_ascii_case_of_a_login_is_folded() {
    let bench = Bench::new(&[&cheap(b"right")]);
    for login in ["ALICE@Contoso.com", "Scanner-2"] {
        assert!(bench.login(login, b"right").await.is_ok(), "{login}");
    }
    let others = [
        "",
        "alice@contoso.com.",
        " alice@contoso.com",
        "alice+x@contoso.com",
        "alice＠contoso.com",
        "alıce@contoso.com",
        "bob@contoso.com",
    ];
    for login in others {
        assert!(bench.login(login, b"right").await.is_err(), "{login}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_cannot_tell_a_wrong_password_from_an_unknown_login() {
    let bench = Bench::new(&[&cheap(b"right")]);
    let right = cheap(b"elsewhere");
    bench.add("office", b"elsewhere", |named| {
        named.from = vec!["192.0.2.0/24".parse().unwrap()];
        named.hash = right;
    });
    let mut failures = Vec::new();
    for (login, password) in [
        (ALICE, &b"wrong"[..]),
        (ALICE, b""),
        (ALICE, b"elsewhere"),
        ("nobody@contoso.com", b"right"),
        ("bob@contoso.com", b""),
        ("", b""),
    ] {
        let (start, hashes) = (Instant::now(), bench.hashes());
        failures.push(bench.login(login, password).await.unwrap_err());
        let took = start.elapsed().as_millis();
        assert!((1000..=1101).contains(&took), "{login}: {took} ms");
        assert_eq!(bench.hashes(), hashes + 1, "{login}");
    }
    assert!(failures.iter().all(|failure| *failure == failures[0]));
    assert_eq!(failures[0].cause, Cause::Password);
}

#[tokio::test(start_paused = true)]
async fn a_right_password_is_answered_without_delay() {
    let bench = Bench::new(&[&cheap(b"right")]);
    let start = Instant::now();
    bench.login(ALICE, b"right").await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_password_costs_one_hash_for_all_logins() {
    let bench = Bench::new(&[&cheap(b"right")]);
    for login in [ALICE, "ALICE@CONTOSO.COM", "scanner-2", ALICE] {
        bench.login(login, b"right").await.unwrap();
    }
    assert_eq!(bench.hashes(), 1);
    assert!(bench.login(ALICE, b"wrong").await.is_err());
    assert_eq!(bench.hashes(), 2);
}

#[tokio::test(start_paused = true)]
async fn first_logins_at_once_cost_one_hash() {
    let bench = Bench::new(&[]);
    bench.add("client", b"right", |_| {});
    let login = || bench.login(ALICE, b"right");
    let (a, b, c, d, e) = tokio::join!(login(), login(), login(), login(), login());
    assert!([a, b, c, d, e].iter().all(Result::is_ok));
    assert_eq!(bench.hashes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_removed_or_replaced_password_is_forgotten_at_once() {
    let bench = Bench::new(&[]);
    bench.add("one", b"first", |_| {});
    bench.add("two", b"second", |_| {});
    bench.login(ALICE, b"first").await.unwrap();
    remove(&bench.vault, ALICE, "one").unwrap();
    assert!(bench.login(ALICE, b"first").await.is_err());
    bench.login(ALICE, b"second").await.unwrap();
    remove(&bench.vault, ALICE, "two").unwrap();
    assert!(bench.login(ALICE, b"second").await.is_err());
    bench.add("two", b"third", |_| {});
    assert!(bench.login(ALICE, b"second").await.is_err());
    bench.login(ALICE, b"third").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_password_is_good_only_from_its_networks() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |named| {
        named.from = vec![
            "192.0.2.0/24".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
    });
    for inside in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"] {
        let login = bench.login_from(ALICE, b"right", Protocol::Smtp, inside);
        assert!(login.await.is_ok(), "{inside}");
    }
    // Remembered by now, and still refused from elsewhere.
    for outside in ["192.0.3.7", "127.0.0.1", "::1"] {
        let login = bench.login_from(ALICE, b"right", Protocol::Smtp, outside);
        assert!(login.await.is_err(), "{outside}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_is_good_only_for_its_protocol() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |named| {
        named.protocol = Some(Protocol::Smtp)
    });
    for (protocol, good) in [
        (Protocol::Smtp, true),
        (Protocol::Imap, false),
        (Protocol::Pop3, false),
    ] {
        let login = bench.login_from(ALICE, b"right", protocol, HERE).await;
        assert_eq!(login.is_ok(), good, "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_wrong_passwords_change_nothing_but_counters() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |_| {});
    let before = bench.files();
    for round in 0..1000 {
        let wrong = format!("wrong {round}");
        assert!(bench.login(ALICE, wrong.as_bytes()).await.is_err());
    }
    bench.passwords.uses().settle().await;
    assert_eq!(bench.files(), before);
    let Counters {
        wrong, throttled, ..
    } = bench.passwords.counters();
    assert_eq!(wrong + throttled, 1000);
    tokio::time::advance(Duration::from_secs(6)).await;
    bench.login(ALICE, b"right").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn beyond_the_queue_logins_are_turned_away() {
    let bench = Bench::new(&[]);
    let tickets: Vec<_> = std::iter::from_fn(|| bench.passwords.house.workers.ticket()).collect();
    let failure = bench.login(ALICE, b"wrong").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Limit);
    assert_eq!(bench.hashes(), 0);
    drop(tickets);
    let failure = bench.login(ALICE, b"wrong").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Password);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_told_to_the_administrator_and_opens_nothing() {
    let bench = Bench::new(&[&cheap(b"of the file")]);
    bench.add("scanner", b"right", |_| {});
    let path = bench.state.path().join("vault/alice@contoso.com.passwords");
    fs::write(path, b"").unwrap();
    let failure = bench.login(ALICE, b"right").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Config);
    assert!(
        failure.detail.contains("alice@contoso.com.passwords"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn trouble_with_the_vault_is_temporary_and_tells_a_stranger_no_account_from_none() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |_| {});
    // A file in the place of the folder stands for every refusal of the system: it holds for root too.
    let folder = bench.state.path().join("vault");
    let aside = bench.state.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, b"").unwrap();
    for (login, password) in [
        (ALICE, &b"right"[..]),
        (ALICE, b"wrong"),
        ("bob@contoso.com", b""),
        ("nobody@contoso.com", b"right"),
        ("", b""),
    ] {
        let (start, hashes) = (Instant::now(), bench.hashes());
        let failure = bench.login(login, password).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Token, "{login}");
        let took = start.elapsed().as_millis();
        assert!((1000..=1101).contains(&took), "{login}: {took} ms");
        assert_eq!(bench.hashes(), hashes + 1, "{login}");
    }
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    bench.login(ALICE, b"right").await.unwrap();
    let failure = bench.login("nobody@contoso.com", b"right").await;
    assert_eq!(failure.unwrap_err().cause, Cause::Password);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_some_unknown_logins_trouble_too() {
    let bench = Bench::new(&[]);
    let path = bench.state.path().join("vault/alice@contoso.com.passwords");
    fs::write(path, b"").unwrap();
    let mut causes = Vec::new();
    for number in 0..64 {
        let unknown = format!("nobody-{number}@contoso.com");
        let failure = bench.login(&unknown, b"right").await.unwrap_err();
        let again = bench.login(&unknown, b"right").await.unwrap_err();
        assert_eq!(failure, again);
        causes.push(failure.cause);
    }
    assert!(causes.contains(&Cause::Config) && causes.contains(&Cause::Password));
}

#[test]
fn an_account_has_a_bounded_number_of_passwords_with_different_names() {
    let bench = Bench::new(&["$argon2id$of-the-file"]);
    for number in 1..MAX_PER_ACCOUNT {
        bench.add(&format!("number {number}"), b"right", |_| {});
    }
    let mut named = list(&bench.vault, ALICE).unwrap().remove(0);
    let again = add(&bench.vault, &bench.alice, named.clone());
    assert!(matches!(again, Err(NamedError::Taken { .. })));
    named.name = "one more".into();
    let more = add(&bench.vault, &bench.alice, named.clone());
    assert!(matches!(more, Err(NamedError::Full(_))));
    named.name = "two\nlines".into();
    let odd = add(&bench.vault, &bench.alice, named);
    assert!(matches!(odd, Err(NamedError::Name)));
}

#[test]
fn passwords_of_a_later_release_are_neither_used_nor_written_over() {
    let bench = Bench::new(&[]);
    let guard = bench.vault.lock(Kind::Passwords, ALICE).unwrap();
    let later = br#"{"version":1,"passwords":[],"unless":"monday"}"#;
    let revision = bench.vault.write(&guard, later).unwrap();
    drop(guard);
    assert!(matches!(
        list(&bench.vault, ALICE),
        Err(NamedError::Format(_))
    ));
    assert!(remove(&bench.vault, ALICE, "x").is_err());
    let now = bench.vault.revision(Kind::Passwords, ALICE).unwrap();
    assert_eq!(now, Some(revision));
}

#[tokio::test(start_paused = true)]
async fn an_account_of_another_provider_is_unknown_at_this_one() {
    let bench = Bench::new(&[&cheap(b"wicket-1")]);
    let mut other = Provider::clone(&bench.alice.provider);
    other.name = "fabrikam".into();
    let credentials = Credentials {
        login: ALICE.into(),
        password: b"wicket-1".to_vec().into(),
    };
    let source = HERE.parse().unwrap();
    let refused = bench.verify_at(&other, &credentials, Protocol::Imap, source);
    let unknown = bench.login("nobody@contoso.com", b"wicket-1");
    assert_eq!(refused.await.unwrap_err(), unknown.await.unwrap_err());
    bench.login(ALICE, b"wicket-1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_expired_password_fails_like_a_wrong_one_even_if_it_is_remembered() {
    let bench = Bench::new(&[]);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
    bench.add("visitor", b"right", |named| named.expires = Some(soon));
    bench.login(ALICE, b"right").await.unwrap();
    let mut named = list(&bench.vault, ALICE).unwrap().remove(0);
    remove(&bench.vault, ALICE, "visitor").unwrap();
    named.expires = Some(now());
    add(&bench.vault, &bench.alice, named).unwrap();
    let (start, hashes) = (Instant::now(), bench.hashes());
    let expired = bench.login(ALICE, b"right").await.unwrap_err();
    assert!((1000..=1101).contains(&start.elapsed().as_millis()));
    assert_eq!(bench.hashes(), hashes + 1);
    assert_eq!(expired, bench.login(ALICE, b"wrong").await.unwrap_err());
    // It stays for a person to see.
    assert_eq!(list(&bench.vault, ALICE).unwrap().len(), 1);
}

#[test]
fn a_password_is_over_at_its_end_not_before() {
    let end: jiff::Timestamp = "2027-02-01T00:00:00Z".parse().unwrap();
    let bench = Bench::new(&[]);
    bench.add("visitor", b"right", |named| named.expires = Some(end));
    let named = list(&bench.vault, ALICE).unwrap().remove(0);
    assert!(named.is_over(end));
    assert!(!named.is_over(end - jiff::SignedDuration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn hashes_of_other_programs_open_an_account_and_refuse_as_any_other() {
    const BCRYPT: &str = "$2y$10$UqhRrGHpJ6NjCdENbz73juqEGG9Jx3BLiI44sIoWT47xm9aGSqdJ2";
    const SHA512: &str = "$6$O5ZzeV7rU4b8VQmI$sVvztYwxa7sz.SyEdJEHBl5o9dgskB6fLcirOXv9Uu.cQq0HHZcK.QOcZ9LbAYZG1xEhmBD8CAH4thMkNE4Cj0";
    let mut failures = Vec::new();
    for hash in [BCRYPT, SHA512] {
        let bench = Bench::new(&[hash]);
        bench.login(ALICE, b"open-sesame-7").await.unwrap();
        for login in [ALICE, "nobody@contoso.com", "bob@contoso.com"] {
            let (start, hashes) = (Instant::now(), bench.hashes());
            failures.push(bench.login(login, b"open-sesame-8").await.unwrap_err());
            let took = start.elapsed().as_millis();
            assert!((1000..=1101).contains(&took), "{login}: {took} ms");
            assert_eq!(bench.hashes(), hashes + 1, "{login}");
        }
    }
    assert!(failures.iter().all(|failure| *failure == failures[0]));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_login_costs_what_some_account_costs_and_opens_nothing() {
    let bench = Bench::new(&[&cheap(b"one"), &cheap(b"two"), &cheap(b"three")]);
    let before = bench.files();
    let mut costs = Vec::new();
    for number in 0..64 {
        let unknown = format!("nobody-{number}@contoso.com");
        let hashes = bench.hashes();
        let failure = bench.login(&unknown, b"wrong").await.unwrap_err();
        assert_eq!(failure.cause, Cause::Password);
        costs.push(bench.hashes() - hashes);
        // Not even with the right password of the account whose cost it has, at the first time or once that is remembered.
        for _ in 0..2 {
            let failure = bench.login(&unknown, b"three").await.unwrap_err();
            assert_eq!(failure.cause, Cause::Password);
        }
    }
    assert!(costs.contains(&3) && costs.contains(&1), "{costs:?}");
    assert_eq!(bench.passwords.counters().accepted, 0);
    bench.passwords.uses().settle().await;
    assert_eq!(bench.files(), before);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_guesses_on_fifty_connections_cost_few_hashes_and_the_right_password_works_soon_after()
 {
    let bench = Arc::new(Bench::new(&[]));
    bench.add("scanner", b"right", |_| {});
    let start = Instant::now();
    let mut connections = tokio::task::JoinSet::new();
    for number in 0..50 {
        let bench = Arc::clone(&bench);
        connections.spawn(async move {
            for round in 0..20 {
                let wrong = format!("wrong {number} {round}");
                assert!(bench.login(ALICE, wrong.as_bytes()).await.is_err());
            }
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended.unwrap();
    }
    let allowed = 50 + start.elapsed().as_secs() / 6;
    let hashes = bench.hashes();
    assert!(hashes <= allowed, "{hashes} hashes, {allowed} allowed");
    assert!(bench.passwords.house.workers.most_at_once() <= 2);
    // What the first guesses of all connections owe together is paid off by then.
    tokio::time::advance(Duration::from_secs(5 * 60)).await;
    let start = Instant::now();
    bench.login(ALICE, b"right").await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
}

impl Bench {
    /// What a reload of the configuration does.
    fn reload(&mut self) {
        let next = self.passwords.renewed(&self.roster, self.vault.clone());
        self.passwords = next.after(&self.passwords);
    }

    /// As many guesses at once as are looked at. One after the other they would not do: their delays are as long as the refill.
    fn exhaust(&self, login: &str, source: &str) {
        let throttle = &self.passwords.house.throttle;
        let pair = throttle.pair(source.parse().unwrap(), login);
        while let Some(guess) = throttle.begin(pair, Instant::now()) {
            drop(guess);
            throttle.refuse(pair, Instant::now());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_beyond_the_limit_cost_no_hash_and_hear_the_same_after_the_longest_delay() {
    let bench = Bench::new(&[&cheap(b"right")]);
    for login in [ALICE, "nobody@contoso.com"] {
        let wrong = bench.login(login, b"wrong").await.unwrap_err();
        bench.exhaust(login, HERE);
        let (start, hashes) = (Instant::now(), bench.hashes());
        let failure = bench.login(login, b"wrong").await.unwrap_err();
        let took = start.elapsed().as_millis();
        assert_eq!(failure.log_code(), THROTTLED);
        assert_eq!((failure.cause, failure.stage), (wrong.cause, wrong.stage));
        assert!((8000..=8101).contains(&took), "{login}: {took} ms");
        assert_eq!(bench.hashes(), hashes);
    }
    assert_eq!(bench.passwords.counters().throttled, 2);
}

#[tokio::test(start_paused = true)]
async fn a_right_password_is_not_looked_at_either_beyond_the_limit() {
    let bench = Bench::new(&[&cheap(b"right")]);
    bench.exhaust(ALICE, HERE);
    // From elsewhere it is, and is known from then on.
    let login = bench.login_from(ALICE, b"right", Protocol::Smtp, "192.0.2.1");
    login.await.unwrap();
    // That is not told to those who guess.
    let failure = bench.login(ALICE, b"right").await.unwrap_err();
    assert_eq!(failure.log_code(), THROTTLED);
    bench.login(ALICE, b"right").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_program_that_was_there_before_is_not_locked_out_by_its_neighbour() {
    let mut bench = Bench::new(&[&cheap(b"right")]);
    bench.login(ALICE, b"right").await.unwrap();
    bench.exhaust(ALICE, HERE);
    let hashes = bench.hashes();
    for _ in 0..2 {
        let start = Instant::now();
        bench.login(ALICE, b"right").await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(100));
        bench.reload();
    }
    assert_eq!(bench.hashes(), hashes);
    let failure = bench.login(ALICE, b"wrong").await.unwrap_err();
    assert_eq!(failure.log_code(), THROTTLED);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_was_there_before_a_restart_is_not_locked_out_by_others_either() {
    let mut bench = Bench::new(&[&cheap(b"right")]);
    bench.use_at_once(b"right").await;
    bench.passwords = Passwords::build(&bench.roster, bench.vault.clone(), 10, &Cost::LEAST);
    for last in 1..=6 {
        bench.exhaust(ALICE, &format!("192.0.2.{last}"));
    }
    let stranger = bench.login_from(ALICE, b"right", Protocol::Smtp, "192.0.2.9");
    assert_eq!(stranger.await.unwrap_err().log_code(), THROTTLED);
    bench.login(ALICE, b"right").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reload_forgives_nobody() {
    let mut bench = Bench::new(&[&cheap(b"right")]);
    bench.exhaust(ALICE, HERE);
    bench.reload();
    let failure = bench.login(ALICE, b"right").await.unwrap_err();
    assert_eq!(failure.log_code(), THROTTLED);
}

#[tokio::test(start_paused = true)]
async fn a_guesser_who_hangs_up_before_the_answer_is_counted_too() {
    let bench = Bench::new(&[&cheap(b"right")]);
    for number in 0..10 {
        let guess = format!("guess {number}");
        let hasty = bench.login(ALICE, guess.as_bytes());
        let gone = tokio::time::timeout(Duration::from_millis(100), hasty);
        assert!(gone.await.is_err());
    }
    let failure = bench.login(ALICE, b"right").await.unwrap_err();
    assert_eq!(failure.log_code(), THROTTLED);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_somebody_has_is_a_failure_like_any_other_under_an_unknown_login() {
    let bench = Bench::new(&[&cheap(b"right")]);
    bench.login(ALICE, b"right").await.unwrap();
    // Some of these are checked against the passwords of alice, where it is remembered; neither delays nor hashes must tell.
    for number in 0..8 {
        let unknown = format!("nobody-{number}@contoso.com");
        let hashes = bench.hashes();
        for seconds in [1, 1, 1, 2, 4] {
            let start = Instant::now();
            let failure = bench.login(&unknown, b"right").await.unwrap_err();
            assert_eq!(failure.cause, Cause::Password);
            assert_eq!(start.elapsed().as_secs(), seconds, "{unknown}");
        }
        assert_eq!(bench.hashes(), hashes + 5, "{unknown}");
        tokio::time::advance(Duration::from_secs(60)).await;
    }
}

mod learning;
mod templates;
mod uses;
