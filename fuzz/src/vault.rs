//! Records of the vault, as somebody left them on the disk.
//!
//! Whatever stands there, reading it never panics. What does open was sealed for this very account, and no octet of it can be
//! another: not changed, not cut off, not under another name.

use std::fs;
use std::path::{Path, PathBuf};

use mailwicket::config::SecretSource;
use mailwicket::vault::{Kind, Vault};
use tempfile::TempDir;

/// The key of every seed in the corpus: 32 octets `k` in base64. It seals nothing else in the world.
const KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n";
/// Octets before the ciphertext; they are no secret.
const HEADER: usize = 40;
const ACCOUNT: &str = "alice@example.com";
const OTHER: &str = "bob@example.com";

/// Any octets: as a sealed file, and as something to seal.
pub fn run(data: &[u8]) {
    thread_local!(static HOUSE: House = House::build());
    HOUSE.with(|house| {
        house.put(ACCOUNT, data);
        if house.read(ACCOUNT).is_some() {
            house.no_octet_can_be_another(data, data.len());
        }
        house.seals(data);
    });
}

/// A vault in memory, where there is a file system for that.
struct House {
    folder: TempDir,
    vault: Vault,
}

impl House {
    fn build() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => TempDir::new_in(memory),
            false => TempDir::new(),
        };
        let folder = folder.expect("a folder");
        let key = folder.path().join("vault.key");
        write(&key, KEY.as_bytes());
        let vault = Vault::open(folder.path(), &SecretSource::File(key)).expect("a vault");
        Self { folder, vault }
    }

    fn file(&self, account: &str) -> PathBuf {
        self.folder.path().join(format!("vault/{account}.grant"))
    }

    fn put(&self, account: &str, sealed: &[u8]) {
        write(&self.file(account), sealed);
    }

    fn read(&self, account: &str) -> Option<Vec<u8>> {
        let record = self.vault.read(Kind::Grant, account);
        record.ok().flatten().map(|record| record.bytes.to_vec())
    }

    /// `plain` comes back as it was, and its sealed form is proof against every change.
    fn seals(&self, plain: &[u8]) {
        fs::remove_file(self.file(ACCOUNT)).expect("it was put there");
        let guard = self.vault.lock(Kind::Grant, ACCOUNT).expect("the lock");
        self.vault.write(&guard, plain).expect("a place for it");
        drop(guard);
        assert_eq!(self.read(ACCOUNT).as_deref(), Some(plain));
        let sealed = fs::read(self.file(ACCOUNT)).expect("the sealed file");
        let secret = &sealed[HEADER..];
        assert!(plain.len() < 8 || !secret.windows(plain.len()).any(|w| w == plain));
        // Where to bend it: the data says so.
        let place = plain.iter().fold(7_usize, |sum, &octet| {
            sum.wrapping_mul(31).wrapping_add(octet.into())
        });
        self.no_octet_can_be_another(&sealed, place);
    }

    fn no_octet_can_be_another(&self, sealed: &[u8], place: usize) {
        let mut bent = sealed.to_vec();
        bent[place / 8 % sealed.len()] ^= 1 << (place % 8);
        self.put(ACCOUNT, &bent);
        assert_eq!(self.read(ACCOUNT), None, "a flipped bit");
        self.put(ACCOUNT, &sealed[..place % sealed.len()]);
        assert_eq!(self.read(ACCOUNT), None, "cut short");
        self.put(ACCOUNT, &[sealed, b"\0"].concat());
        assert_eq!(self.read(ACCOUNT), None, "one octet more");
        self.put(OTHER, sealed);
        assert_eq!(self.read(OTHER), None, "under another name");
    }
}

/// Only its owner may read it.
fn write(path: &Path, octets: &[u8]) {
    fs::write(path, octets).expect("a place for it");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its own file");
    }
}
