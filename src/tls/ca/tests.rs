//! The local CA: what it vouches for and what not, and the life of its certificates.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;

use super::*;
use crate::config::SecretSource;
use crate::tls::{provider, validity};
use crate::vault::Vault;

fn vault() -> (TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let key = SecretSource::File(folder.path().join("vault.key"));
    let vault = Vault::open(folder.path(), &key).unwrap();
    (folder, vault)
}

fn named(names: &[&str]) -> BTreeSet<CertificateName> {
    let names = names.iter();
    names
        .map(|name| CertificateName::parse(name).unwrap())
        .collect()
}

const LOCAL: &str = "127.0.0.1";

fn local() -> IpAddr {
    LOCAL.parse().unwrap()
}

/// Whether a client that trusts the authority takes the certificate for `name`.
fn is_taken(authority: &Authority, certificate: &CertificateDer<'_>, name: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let verifier = verifier.build().unwrap();
    let verified = verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now());
    verified.is_ok()
}

/// What somebody makes who has stolen the key of the authority.
fn forged(authority: &Authority, name: &str) -> CertificateDer<'static> {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    params
        .signed_by(&key, authority.issuer())
        .unwrap()
        .der()
        .clone()
}

#[test]
fn the_certificate_is_taken_for_every_name_of_this_machine() {
    let (_folder, vault) = vault();
    let wanted = named(&[
        "localhost",
        LOCAL,
        "::1",
        "mail.office.example",
        "203.0.113.7",
    ]);
    let keeper = Keeper::open(vault.clone(), wanted.clone(), provider()).unwrap();
    let authority = Authority::load(&vault).unwrap().unwrap();
    for wants_rsa in [false, true] {
        let certified = keeper.current(local(), wants_rsa, Instant::now()).unwrap();
        certified.keys_match().unwrap();
        for name in &wanted {
            assert!(
                is_taken(&authority, &certified.cert[0], &name.to_string()),
                "{name}"
            );
        }
        assert!(!is_taken(&authority, &certified.cert[0], "other.lan"));
    }
}

#[test]
fn a_stolen_key_is_worth_nothing_outside_of_the_house() {
    let (_folder, vault) = vault();
    let wanted = named(&["localhost", "mail.office.example", "203.0.113.7"]);
    let authority = Authority::load_or_make(&vault, &wanted, Timestamp::now()).unwrap();
    for name in [
        "nas.lan",
        "printer.local",
        "localhost",
        "mail.office.example",
        "192.168.7.9",
        "203.0.113.7",
        "fd00::7",
    ] {
        assert!(
            is_taken(&authority, &forged(&authority, name), name),
            "{name}"
        );
    }
    for name in [
        "evil.example",
        "office.example",
        "mail.example.com",
        "203.0.113.8",
        "192.169.0.1",
        "2001:db8::1",
    ] {
        assert!(
            !is_taken(&authority, &forged(&authority, name), name),
            "{name}"
        );
    }
}

#[test]
fn openssl_reads_the_constraints_in_the_same_way() {
    let (_vault_folder, vault) = vault();
    let authority =
        Authority::load_or_make(&vault, &named(&["localhost"]), Timestamp::now()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let verify_for = |purpose: &str, certificate: &CertificateDer<'_>| {
        let leaf = folder.path().join("leaf.der");
        fs::write(&leaf, certificate).unwrap();
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .args([&ca, &leaf])
            .output()
            .expect("openssl (tests/lab/install)");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), words)
    };
    let verify = |certificate: &CertificateDer<'_>| verify_for("sslserver", certificate);
    for name in ["nas.lan", "10.9.8.7", "fe80::1"] {
        let (taken, words) = verify(&forged(&authority, name));
        assert!(taken, "{name}: {words}");
    }
    for name in ["evil.example", "203.0.113.8", "2001:db8::1"] {
        let (taken, words) = verify(&forged(&authority, name));
        assert!(
            !taken && words.contains("permitted subtree violation"),
            "{name}: {words}"
        );
    }
    for purpose in ["smimesign", "sslclient"] {
        let (taken, words) = verify_for(purpose, &forged(&authority, "localhost"));
        assert!(!taken && words.contains("error 26"), "{purpose}: {words}"); // X509_V_ERR_INVALID_PURPOSE
    }
    let keeper = Keeper::open(vault, named(&["localhost", "::1"]), provider()).unwrap();
    for wants_rsa in [false, true] {
        let certified = keeper.current(local(), wants_rsa, Instant::now()).unwrap();
        let (taken, words) = verify(&certified.cert[0]);
        assert!(taken, "{words}");
    }
    let printed = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(&ca)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&printed.stdout);
    for line in [
        "X509v3 Name Constraints: critical",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// A clock that a test sets; whoever does so has it alone.
static NOW: AtomicI64 = AtomicI64::new(0);
static CLOCK: Mutex<()> = Mutex::new(());

fn clock() -> Timestamp {
    Timestamp::from_second(NOW.load(Ordering::SeqCst)).unwrap()
}

#[test]
fn the_certificate_is_renewed_at_two_thirds_and_lives_no_longer_than_programs_take() {
    let _alone = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let (_folder, vault) = vault();
    let begin: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let at = |days: i64| {
        let now = begin.checked_add((days * 24).hours()).unwrap();
        NOW.store(now.as_second(), Ordering::SeqCst);
    };
    at(0);
    let wanted = named(&["localhost", LOCAL]);
    let open = || Keeper::with_clock(vault.clone(), wanted.clone(), provider(), clock).unwrap();
    let keeper = open();
    let shown = |keeper: &Keeper| {
        let now = Instant::now();
        let certified = keeper.at_hand(local(), false, now);
        let certified = certified.unwrap_or_else(|| keeper.current(local(), false, now).unwrap());
        certified.cert[0].clone()
    };
    let first = shown(&keeper);
    let ends = validity::not_after(&first).unwrap();
    // Three days back, so that slow clocks do not matter; 397 days in all.
    assert_eq!(ends.to_string(), "2027-12-23T00:00:00Z");
    at(261);
    assert_eq!(shown(&keeper), first, "not yet two thirds");
    assert_eq!(shown(&open()), first, "a start makes no new one");
    at(264);
    let second = shown(&keeper);
    assert_ne!(second, first, "past two thirds");
    assert_eq!(shown(&open()), second, "the new one is kept");
    let authority = Authority::load(&vault).unwrap().unwrap();
    assert_eq!(authority.ends().to_string(), "2036-11-21T00:00:00Z");
    at(0);
    assert_ne!(
        shown(&keeper),
        second,
        "a clock set back finds it not valid yet"
    );
}

#[test]
fn another_address_of_this_machine_is_added_when_somebody_uses_it() {
    let (_folder, vault) = vault();
    let wanted = named(&["localhost"]);
    let open = || Keeper::open(vault.clone(), wanted.clone(), provider()).unwrap();
    let keeper = open();
    let authority = Authority::load(&vault).unwrap().unwrap();
    let now = Instant::now();
    let shown = |keeper: &Keeper, local: &str| {
        let certified = keeper.current(local.parse().unwrap(), false, now).unwrap();
        certified.cert[0].clone()
    };
    assert!(
        keeper
            .at_hand("192.168.7.9".parse().unwrap(), false, now)
            .is_none()
    );
    let with = shown(&keeper, "192.168.7.9");
    assert!(is_taken(&authority, &with, "192.168.7.9"));
    let both = shown(&keeper, "10.1.1.1");
    assert!(is_taken(&authority, &both, "192.168.7.9") && is_taken(&authority, &both, "10.1.1.1"));
    assert_eq!(
        shown(&keeper, "::ffff:192.168.7.9"),
        both,
        "it is known already"
    );
    assert_eq!(
        shown(&keeper, "203.0.113.7"),
        both,
        "the authority cannot vouch for it"
    );
    assert_eq!(shown(&open(), "10.1.1.1"), both, "what was learned is kept");
    for last in 0..60 {
        shown(&keeper, &format!("10.2.2.{last}"));
    }
    let full = shown(&keeper, "10.2.2.59");
    assert_eq!(shown(&keeper, "10.2.2.60"), full, "there is a bound");
}

#[test]
fn a_rotated_authority_is_noticed_and_nothing_else_makes_a_new_one() {
    let (_folder, vault) = vault();
    let wanted = named(&["localhost"]);
    let keeper = Keeper::open(vault.clone(), wanted.clone(), provider()).unwrap();
    let first = Authority::load(&vault).unwrap().unwrap();
    let more = named(&["localhost", "mail.office.example"]);
    let same = Authority::load_or_make(&vault, &more, Timestamp::now()).unwrap();
    assert_eq!(same.fingerprint(), first.fingerprint());
    assert_eq!(
        same.lacking(&more),
        [CertificateName::parse("mail.office.example").unwrap()]
    );
    let second = Authority::rotate(&vault, &more, Timestamp::now()).unwrap();
    assert_ne!(second.name(), first.name());
    assert!(second.lacking(&more).is_empty());
    let later = Instant::now() + Duration::from_secs(2);
    assert!(keeper.at_hand(local(), false, later).is_none());
    let certified = keeper.current(local(), false, later).unwrap();
    assert!(is_taken(&second, &certified.cert[0], "localhost"));
    assert!(!is_taken(&first, &certified.cert[0], "localhost"));
}

#[test]
fn the_keys_lie_sealed_and_nowhere_else() {
    let (folder, vault) = vault();
    Keeper::open(vault, named(&["localhost"]), provider()).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(folder.path().join("vault")).unwrap() {
        let octets = fs::read(entry.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&octets, b"PRIVATE").is_none());
        files += 1;
    }
    assert!(files >= 2);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "vault and vault.key"
    );
}
