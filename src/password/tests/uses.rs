//! When uses are written, and that no login depends on it.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::password::{GRANULARITY, last_uses};
use crate::vault::Revision;

fn revision(bench: &Bench) -> Option<Revision> {
    bench.vault.revision(Kind::Uses, ALICE).unwrap()
}

/// A second in which nothing happens: what was to be written is written after it.
async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_use_is_written_at_once_and_then_at_most_every_few_minutes() {
    let bench = Bench::new(&[&cheap(b"right")]);
    let done = CancellationToken::new();
    let keeping = tokio::spawn(bench.passwords.uses().clone().keep(done.clone()));
    bench.login(ALICE, b"right").await.unwrap();
    a_moment().await;
    let first = revision(&bench);
    assert!(first.is_some());
    let source = "192.0.2.7";
    for _ in 0..3 {
        bench
            .login_from(ALICE, b"right", Protocol::Imap, source)
            .await
            .unwrap();
        a_moment().await;
        assert_eq!(revision(&bench), first);
    }
    tokio::time::sleep(GRANULARITY).await;
    let second = revision(&bench);
    assert_ne!(second, first);
    let uses = last_uses(&bench.vault, ALICE).unwrap();
    let used = uses.of(&bench.alice.password_hashes[0]).unwrap();
    assert_eq!(
        (used.from.to_string().as_str(), used.protocol),
        (source, Protocol::Imap)
    );
    tokio::time::sleep(GRANULARITY * 3).await;
    assert_eq!(revision(&bench), second);
    done.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_reload_takes_over_is_written_by_its_own_keeper() {
    let bench = Bench::new(&[&cheap(b"right")]);
    let uses = bench.passwords.uses();
    let (done, later) = (CancellationToken::new(), CancellationToken::new());
    let former = tokio::spawn(uses.clone().keep(done.clone()));
    let latter = tokio::spawn(uses.clone().keep(later.clone()));
    a_moment().await;
    // Both wait; the wake-up may reach the one that is just leaving.
    done.cancel();
    bench.login(ALICE, b"right").await.unwrap();
    a_moment().await;
    assert!(revision(&bench).is_some());
    later.cancel();
    former.await.unwrap();
    latter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_end_everything_is_written() {
    let bench = Bench::new(&[&cheap(b"right")]);
    bench.login(ALICE, b"right").await.unwrap();
    assert!(revision(&bench).is_none());
    bench.passwords.uses().settle().await;
    let first = revision(&bench);
    bench.login(ALICE, b"right").await.unwrap();
    bench.passwords.uses().settle().await;
    assert_ne!(revision(&bench), first);
}

#[tokio::test(start_paused = true)]
async fn a_use_touches_nothing_that_is_remembered() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |_| {});
    let before = bench.vault.revision(Kind::Passwords, ALICE).unwrap();
    bench.use_at_once(b"right").await;
    bench.use_at_once(b"right").await;
    assert_eq!(
        bench.vault.revision(Kind::Passwords, ALICE).unwrap(),
        before
    );
    assert_eq!(bench.hashes(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_fails_no_login_and_is_written_later() {
    let bench = Bench::new(&[&cheap(b"right")]);
    let path = bench.state.path().join("vault/alice@contoso.com.uses");
    fs::write(&path, b"damaged").unwrap();
    bench.use_at_once(b"right").await;
    assert_eq!(fs::read(&path).unwrap(), b"damaged");
    fs::remove_file(&path).unwrap();
    bench.passwords.uses().settle().await;
    assert!(revision(&bench).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_added_again_was_not_used() {
    let bench = Bench::new(&[]);
    bench.add("scanner", b"right", |_| {});
    bench.use_at_once(b"right").await;
    remove(&bench.vault, ALICE, "scanner").unwrap();
    bench.add("scanner", b"right", |_| {});
    let hash = &list(&bench.vault, ALICE).unwrap()[0].hash;
    assert!(last_uses(&bench.vault, ALICE).unwrap().of(hash).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_record_does_not_grow_with_passwords_that_are_gone() {
    let bench = Bench::new(&[]);
    for round in 0..70_u8 {
        bench.add("scanner", &[round], |_| {});
        bench.use_at_once(&[round]).await;
        remove(&bench.vault, ALICE, "scanner").unwrap();
    }
    bench.add("scanner", b"last", |_| {});
    bench.use_at_once(b"last").await;
    let hash = &list(&bench.vault, ALICE).unwrap()[0].hash;
    assert!(last_uses(&bench.vault, ALICE).unwrap().of(hash).is_some());
    let record = bench.vault.read(Kind::Uses, ALICE).unwrap().unwrap();
    assert!(record.bytes.len() < 64 * 128, "{}", record.bytes.len());
}
