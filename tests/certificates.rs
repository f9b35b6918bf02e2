//! What mail servers show, judged as the program judges it: each certificate of `certs/` is refused for what is wrong with it.
//!
//! That a refusal ends a login before the first octet is for `transcripts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailwicket::tls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection,
};

fn certs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certs")
}

/// The names of the certificates for one kind of key.
fn names(algorithm: &str) -> Vec<String> {
    let entries = fs::read_dir(certs().join(algorithm)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|file| file.strip_suffix(".pem").unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

/// A mail server with this certificate.
fn server(file: &Path) -> Arc<ServerConfig> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).unwrap().collect();
    let key = PrivateKeyDer::from_pem_file(file).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key);
    Arc::new(config.unwrap())
}

/// The program's handshake with a server, without a network between them.
fn handshake(trust: &Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<(), Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut local = ClientConnection::new(Arc::clone(trust), name).unwrap();
    let mut upstream = ServerConnection::new(server).unwrap();
    while local.is_handshaking() || upstream.is_handshaking() {
        let mut wire = Vec::new();
        while local.wants_write() {
            local.write_tls(&mut wire).unwrap();
        }
        upstream.read_tls(&mut &wire[..]).unwrap();
        upstream.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while upstream.wants_write() {
            upstream.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            local.read_tls(&mut wire).unwrap();
            local.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn every_certificate_is_judged_for_what_it_is() {
    use CertificateError::*;
    let trust = tls::upstream(Some(&certs().join("authorities.pem"))).unwrap();
    for algorithm in ["ecdsa", "rsa"] {
        let names = names(algorithm);
        assert_eq!(names.len(), 12, "a new one needs its line here");
        for name in names {
            let judged = handshake(
                &trust,
                server(&certs().join(algorithm).join(&name).with_extension("pem")),
            );
            let is_right = match (&name[..], &judged) {
                ("good" | "good-with-intermediate", judged) => judged.is_ok(),
                (_, Err(Error::InvalidCertificate(why))) => match &name[..] {
                    "expired" => matches!(why, Expired | ExpiredContext { .. }),
                    "not-yet-valid" => matches!(why, NotValidYet | NotValidYetContext { .. }),
                    "wrong-name" | "common-name-only" | "address-only" | "wildcard-of-two" => {
                        matches!(why, NotValidForName | NotValidForNameContext { .. })
                    }
                    "unknown-authority" | "self-signed" | "missing-intermediate" => {
                        *why == UnknownIssuer
                    }
                    "not-for-servers" => {
                        matches!(why, InvalidPurpose | InvalidPurposeContext { .. })
                    }
                    _ => false,
                },
                _ => false,
            };
            assert!(is_right, "{algorithm}/{name}: {judged:?}");
        }
    }
}

/// Without the tests' authorities not even the good ones are trusted: they are in no system's store.
#[test]
fn nobody_trusts_the_authorities_of_the_tests_unasked() {
    let trust = tls::upstream(None).unwrap();
    for algorithm in ["ecdsa", "rsa"] {
        let judged = handshake(&trust, server(&certs().join(algorithm).join("good.pem")));
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(judged, Err(unknown));
    }
}

#[test]
fn the_keys_of_the_authorities_are_in_no_file() {
    let text = fs::read_to_string(certs().join("authorities.pem")).unwrap();
    assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("KEY"));
}

/// `certs/` and the fuzzer's corpora are for tests: the product's sources do not name them, and its package does not hold them.
#[test]
fn the_product_never_uses_what_is_for_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    gather(&root.join("src"), &mut sources);
    assert!(sources.len() > 50, "the sources are not where they were");
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        for folder in ["certs/", "fuzz/"] {
            assert!(
                !text.contains(folder),
                "{} names {folder}",
                source.display()
            );
        }
    }
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let packed: Vec<&str> = manifest["package"]["include"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap())
        .collect();
    assert!(packed.contains(&"/src"));
    let is_for_tests = |path: &&str| {
        ["/certs", "/fuzz", "/tests", "*"]
            .iter()
            .any(|folder| path.starts_with(folder))
    };
    assert_eq!(packed.iter().find(|path| is_for_tests(path)), None);
}

fn gather(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => gather(&path, sources),
            false => sources.push(path),
        }
    }
}
