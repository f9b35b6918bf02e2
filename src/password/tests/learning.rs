//! What a window lets in, and what it does not.

use super::*;
use crate::password::{Window, cancel_learning, open_learning};

const DEVICE: &str = "192.168.1.20";

/// A window for the device's address and SMTP, open for ten minutes.
fn window() -> Window {
    let opened = now();
    Window {
        name: "scanner".into(),
        from: vec!["192.168.1.20/32".parse().unwrap()],
        protocol: Some(Protocol::Smtp),
        opened,
        until: opened + jiff::SignedDuration::from_mins(10),
    }
}

fn learning(hashes: &[&str]) -> Bench {
    let bench = Bench::new(hashes);
    open_learning(&bench.vault, &bench.alice, window()).unwrap();
    bench
}

async fn device(bench: &Bench, password: &[u8]) -> Result<Verified, Failure> {
    let login = bench.login_from("Scanner-2", password, Protocol::Smtp, DEVICE);
    login.await
}

fn is_open(bench: &Bench) -> bool {
    read(&bench.vault, ALICE).unwrap().learning.is_some()
}

#[tokio::test(start_paused = true)]
async fn the_first_password_that_nobody_knows_is_adopted_and_closes_the_window() {
    let bench = learning(&[]);
    let verified = device(&bench, b"as ever").await.unwrap();
    assert_eq!(verified.account().address, ALICE);
    assert!(!is_open(&bench));
    let kept = list(&bench.vault, ALICE).unwrap();
    assert_eq!(kept.len(), 1);
    let Window { from, protocol, .. } = window();
    assert_eq!(
        (&kept[0].name[..], &kept[0].from, kept[0].protocol),
        ("scanner", &from, protocol)
    );
    assert!(matches(&kept[0].hash, b"as ever"));
    let failure = device(&bench, b"another").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Password);
    device(&bench, b"as ever").await.unwrap();
    let elsewhere = bench.login_from(ALICE, b"as ever", Protocol::Smtp, "192.168.1.21");
    assert!(elsewhere.await.is_err());
    let otherwise = bench.login_from(ALICE, b"as ever", Protocol::Imap, DEVICE);
    assert!(otherwise.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nothing_differs_for_whom_the_window_is_not_open() {
    let bench = learning(&[&cheap(b"right")]);
    let before = bench.files();
    let mut failures = Vec::new();
    for (login, protocol, source) in [
        (ALICE, Protocol::Smtp, "192.168.1.21"),
        (ALICE, Protocol::Smtp, HERE),
        (ALICE, Protocol::Imap, DEVICE),
        ("bob@contoso.com", Protocol::Smtp, DEVICE),
        ("nobody@contoso.com", Protocol::Smtp, DEVICE),
        ("nobody-2@contoso.com", Protocol::Smtp, DEVICE),
        ("", Protocol::Smtp, DEVICE),
    ] {
        let (start, hashes) = (Instant::now(), bench.hashes());
        let refused = bench.login_from(login, b"wrong", protocol, source).await;
        failures.push(refused.unwrap_err());
        let took = start.elapsed().as_millis();
        assert!((1000..=1101).contains(&took), "{login} {source}: {took} ms");
        assert_eq!(bench.hashes(), hashes + 1, "{login} {source}");
    }
    assert!(failures.iter().all(|failure| *failure == failures[0]));
    assert_eq!(bench.files(), before);
}

#[tokio::test(start_paused = true)]
async fn at_the_listener_of_another_provider_nothing_is_adopted() {
    let bench = learning(&[]);
    let mut other = Provider::clone(&bench.alice.provider);
    other.name = "fabrikam".into();
    let credentials = Credentials {
        login: ALICE.into(),
        password: b"as ever".to_vec().into(),
    };
    let source = DEVICE.parse().unwrap();
    let login = bench.verify_at(&other, &credentials, Protocol::Smtp, source);
    assert!(login.await.is_err());
    assert!(is_open(&bench));
}

#[tokio::test(start_paused = true)]
async fn a_known_password_does_not_use_the_window_up() {
    let bench = learning(&[&cheap(b"of the file")]);
    device(&bench, b"of the file").await.unwrap();
    assert!(is_open(&bench));
    device(&bench, b"as ever").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_known_and_not_good_here_is_not_learned() {
    let bench = Bench::new(&[]);
    bench.add("gone", b"expired", |named| {
        named.expires = Some(jiff::Timestamp::UNIX_EPOCH);
    });
    bench.add("office", b"elsewhere", |named| {
        named.from = vec!["10.0.0.0/8".parse().unwrap()];
    });
    open_learning(&bench.vault, &bench.alice, window()).unwrap();
    for known in [&b"expired"[..], b"elsewhere"] {
        assert!(device(&bench, known).await.is_err());
        assert!(is_open(&bench));
    }
    device(&bench, b"as ever").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_password_and_an_endless_one_are_never_learned() {
    let bench = learning(&[]);
    for odd in [&b""[..], &[b'x'; 1025]] {
        assert!(device(&bench, odd).await.is_err());
        assert!(is_open(&bench));
    }
    device(&bench, &[b'x'; 1024]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_logins_at_once_one_is_adopted() {
    let bench = learning(&[]);
    let (one, two) = tokio::join!(device(&bench, b"one"), device(&bench, b"two"));
    assert_eq!([one, two].iter().filter(|login| login.is_ok()).count(), 1);
    assert_eq!(list(&bench.vault, ALICE).unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_with_several_connections_is_adopted_once_and_let_in_by_all() {
    let bench = learning(&[]);
    let login = || device(&bench, b"as ever");
    let (a, b, c, d) = tokio::join!(login(), login(), login(), login());
    assert!([a, b, c, d].iter().all(Result::is_ok));
    assert_eq!(list(&bench.vault, ALICE).unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_over_or_cancelled_lets_nobody_in() {
    let bench = Bench::new(&[]);
    let mut over = window();
    over.opened -= jiff::SignedDuration::from_mins(20);
    over.until = over.opened + jiff::SignedDuration::from_mins(10);
    open_learning(&bench.vault, &bench.alice, over).unwrap();
    assert!(device(&bench, b"as ever").await.is_err());
    open_learning(&bench.vault, &bench.alice, window()).unwrap();
    assert!(cancel_learning(&bench.vault, ALICE).unwrap().is_some());
    assert!(device(&bench, b"as ever").await.is_err());
    assert!(list(&bench.vault, ALICE).unwrap().is_empty());
}

#[test]
fn a_window_needs_room_for_its_password() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |_| {});
    let taken = open_learning(&bench.vault, &bench.alice, window());
    assert!(matches!(taken, Err(NamedError::Taken { .. })));
    for number in 1..MAX_PER_ACCOUNT {
        bench.add(&format!("number {number}"), b"right", |_| {});
    }
    let mut other = window();
    other.name = "printer".into();
    let full = open_learning(&bench.vault, &bench.alice, other);
    assert!(matches!(full, Err(NamedError::Full(_))));
}

#[tokio::test(start_paused = true)]
async fn a_window_whose_name_was_taken_meanwhile_adopts_nothing_and_says_so() {
    let bench = learning(&[]);
    bench.add("scanner", b"right", |_| {});
    let failure = device(&bench, b"as ever").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Config);
    assert!(
        failure
            .detail
            .contains("has a password named \"scanner\" already"),
        "{failure}"
    );
    assert_eq!(list(&bench.vault, ALICE).unwrap().len(), 1);
}

#[test]
fn a_record_without_the_newer_keys_is_read() {
    let bench = Bench::new(&[]);
    let guard = bench.vault.lock(Kind::Passwords, ALICE).unwrap();
    let old = br#"{"version":1,"passwords":[{"name":"scanner","hash":"$argon2id$x","created":"2026-01-01T00:00:00Z"}]}"#;
    bench.vault.write(&guard, old).unwrap();
    drop(guard);
    let kept = read(&bench.vault, ALICE).unwrap();
    assert_eq!(kept.passwords[0].name, "scanner");
    assert!(kept.passwords[0].expires.is_none() && kept.learning.is_none());
}
