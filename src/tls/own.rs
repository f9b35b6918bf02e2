//! A certificate from files, read again when they change.
//!
//! Sessions that are on keep what they have. Files that are not right, as between the writing of one and of the other, leave the
//! former certificate in force.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::validity;
use crate::config::CertificateFiles;
use crate::stage::Stage;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// Octets of a file; a long chain has a tenth of that.
const MAX_LEN: u64 = 1024 * 1024;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error("{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key in it.
    #[error("{} holds no private key in PEM form without a passphrase (-----BEGIN PRIVATE KEY-----)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// They are not a pair, or of a kind that the library does not know.
    #[error("{} and {} cannot be used together: {reason}", files.chain.display(), files.key.display())]
    Pair {
        /// The files.
        files: CertificateFiles,
        /// What the library said.
        reason: rustls::Error,
    },
}

/// What the files hold.
#[derive(Debug)]
pub struct Content {
    /// The certificate, ready to be shown.
    pub certified: Arc<CertifiedKey>,
    /// Until when it is valid.
    pub ends: Option<Timestamp>,
}

/// Reads the files and sees that they belong together. Blocks.
///
/// # Errors
/// [`OwnError`]
pub fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Content, OwnError> {
    let chain = read(&files.chain)?;
    let no_certificate = || OwnError::NoCertificate {
        path: files.chain.clone(),
    };
    let chain: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|_| no_certificate())?;
    let ends = validity::not_after(chain.first().ok_or_else(no_certificate)?);
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|_| OwnError::NoKey {
        path: files.key.clone(),
    })?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    let certified = certified.map_err(|reason| OwnError::Pair {
        files: files.clone(),
        reason,
    })?;
    Ok(Content {
        certified: Arc::new(certified),
        ends,
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, OwnError> {
    use io::Read;
    let fail = |source| OwnError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut octets = Zeroizing::new(Vec::new());
    file.take(MAX_LEN).read_to_end(&mut octets).map_err(fail)?;
    Ok(octets)
}

/// The certificate of a listener that has files of its own.
pub struct Own {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

struct State {
    certified: Arc<CertifiedKey>,
    /// What the files looked like when they were read, rightly or not.
    seen: Stamps,
    looked: Instant,
}

/// What changes when a file is written or replaced.
type Stamps = [Option<(SystemTime, u64, u64)>; 2];

impl Own {
    /// Reads the files for the first time. Blocks.
    ///
    /// # Errors
    /// [`OwnError`]
    pub fn open(files: CertificateFiles, provider: Arc<CryptoProvider>) -> Result<Self, OwnError> {
        let seen = stamps(&files); // before reading: what changes meanwhile is seen again
        let content = load(&files, &provider)?;
        let state = State {
            certified: content.certified,
            seen,
            looked: Instant::now(),
        };
        Ok(Self {
            files,
            provider,
            state: Mutex::new(state),
        })
    }

    /// The certificate, if nobody needs to look at the files now.
    pub(super) fn at_hand(&self, now: Instant) -> Option<Arc<CertifiedKey>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = now.saturating_duration_since(state.looked) < LOOK;
        is_fresh.then(|| Arc::clone(&state.certified))
    }

    /// The certificate, after a look at the files. Blocks.
    pub(super) fn current(&self, now: Instant) -> Arc<CertifiedKey> {
        let seen = stamps(&self.files);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.looked = now;
        if state.seen != seen {
            state.seen = seen;
            match load(&self.files, &self.provider) {
                Ok(content) => {
                    state.certified = content.certified;
                    tracing::info!(stage = %Stage::Tls, file = %self.files.chain.display(), "a new certificate was taken up");
                }
                Err(error) => {
                    tracing::warn!(stage = %Stage::Tls, %error, "a new certificate was not taken up; the former one stays in force");
                }
            }
        }
        Arc::clone(&state.certified)
    }
}

fn stamps(files: &CertificateFiles) -> Stamps {
    [&files.chain, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len(), inode(&meta)))
    })
}

#[cfg(unix)]
fn inode(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn files(folder: &TempDir) -> CertificateFiles {
        CertificateFiles {
            chain: folder.path().join("chain.pem"),
            key: folder.path().join("key.pem"),
        }
    }

    fn put(files: &CertificateFiles, chain: &str, key: &str) {
        fs::write(&files.chain, chain).unwrap();
        fs::write(&files.key, key).unwrap();
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    #[test]
    fn a_changed_pair_is_taken_up_and_half_of_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let (chain, key) = made();
        put(&files, &chain, &key);
        let own = Own::open(files.clone(), provider()).unwrap();
        let first = own.at_hand(Instant::now()).unwrap();
        let later = Instant::now() + LOOK;
        assert!(own.at_hand(later).is_none(), "nobody looked for a second");
        let (other, other_key) = made();
        fs::write(&files.chain, format!("{other}\n")).unwrap();
        assert_eq!(own.current(later).cert, first.cert);
        fs::write(&files.key, format!("{other_key}\n")).unwrap();
        assert_ne!(own.current(later).cert, first.cert);
        let second = own.current(later);
        fs::remove_file(&files.key).unwrap();
        assert_eq!(own.current(later).cert, second.cert);
    }

    #[test]
    fn both_may_stand_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(&folder);
        files.key = files.chain.clone();
        let (chain, key) = made();
        fs::write(&files.chain, format!("{key}{chain}")).unwrap();
        load(&files, &provider()).unwrap();
    }

    #[test]
    fn what_is_wrong_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let fails = || load(&files, &provider()).unwrap_err().to_string();
        assert!(fails().contains("cannot read"), "{}", fails());
        let (chain, key) = made();
        put(&files, "nothing", &key);
        assert!(
            fails().contains("no certificate in PEM form"),
            "{}",
            fails()
        );
        put(&files, &chain, "nothing");
        assert!(
            fails().contains("no private key in PEM form"),
            "{}",
            fails()
        );
        put(&files, &chain, &made().1);
        assert!(fails().contains("cannot be used together"), "{}", fails());
        put(
            &files,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
        );
        assert!(fails().contains("cannot be used together"), "{}", fails());
    }
}
