use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use super::*;

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@contoso.com";

/// A vault in a folder of its own, with the default kind of key.
struct Bench {
    state: TempDir,
    vault: Vault,
}

impl Bench {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let vault = open(state.path()).unwrap();
        Self { state, vault }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join("vault").join(name)
    }

    fn grant_path(&self) -> PathBuf {
        self.path("alice@contoso.com.grant")
    }

    fn write(&self, account: &str, bytes: &[u8]) -> Result<Revision, VaultError> {
        let guard = self.vault.lock(Kind::Grant, account).unwrap();
        self.vault.write(&guard, bytes)
    }

    fn read(&self, account: &str) -> Result<Option<Vec<u8>>, VaultError> {
        let record = self.vault.read(Kind::Grant, account)?;
        Ok(record.map(|record| record.bytes.to_vec()))
    }
}

fn open(state: &Path) -> Result<Vault, VaultError> {
    Vault::open(state, &SecretSource::File(state.join("vault.key")))
}

#[test]
fn what_was_written_is_read_after_a_restart() {
    let bench = Bench::new();
    bench.write(ALICE, b"token").unwrap();
    bench.write(ALICE, b"newer token").unwrap();
    let again = open(bench.state.path()).unwrap();
    let record = again
        .read(Kind::Grant, "Alice@Contoso.COM")
        .unwrap()
        .unwrap();
    assert_eq!(record.bytes.as_slice(), b"newer token");
    assert!(again.read(Kind::Passwords, ALICE).unwrap().is_none());
    assert!(again.read(Kind::Grant, BOB).unwrap().is_none());
}

#[test]
fn nothing_of_the_content_stands_in_the_file() {
    let bench = Bench::new();
    bench.write(ALICE, b"a refresh token").unwrap();
    let sealed = fs::read(bench.grant_path()).unwrap();
    assert!(!sealed.windows(7).any(|part| part == b"refresh"));
}

#[test]
fn every_write_has_a_revision_of_its_own_even_of_the_same_bytes() {
    let bench = Bench::new();
    let revision = || bench.vault.revision(Kind::Grant, ALICE).unwrap();
    assert_eq!(revision(), None);
    let first = bench.write(ALICE, b"same").unwrap();
    assert_eq!(revision().as_ref(), Some(&first));
    let second = bench.write(ALICE, b"same").unwrap();
    assert_ne!(first, second);
    let read = bench.vault.read(Kind::Grant, ALICE).unwrap().unwrap();
    assert_eq!(read.revision, second);
}

#[test]
fn a_removed_record_is_gone_and_removing_it_again_is_fine() {
    let bench = Bench::new();
    bench.write(ALICE, b"token").unwrap();
    let guard = bench.vault.lock(Kind::Grant, ALICE).unwrap();
    bench.vault.remove(&guard).unwrap();
    bench.vault.remove(&guard).unwrap();
    assert_eq!(bench.read(ALICE).unwrap(), None);
}

#[test]
fn the_accounts_with_a_record_are_listed() {
    let bench = Bench::new();
    for account in [BOB, ALICE, "ünïcode/../@x"] {
        bench.write(account, b"token").unwrap();
    }
    let accounts = bench.vault.accounts(Kind::Grant).unwrap();
    assert_eq!(accounts, [ALICE, BOB, "ünïcode/../@x"]);
    assert!(bench.vault.accounts(Kind::Passwords).unwrap().is_empty());
}

#[test]
fn the_record_of_another_account_copied_over_is_refused() {
    let bench = Bench::new();
    bench.write(ALICE, b"alice's").unwrap();
    bench.write(BOB, b"bob's").unwrap();
    fs::copy(bench.path("bob@contoso.com.grant"), bench.grant_path()).unwrap();
    assert!(matches!(bench.read(ALICE), Err(VaultError::Corrupt { .. })));
    assert_eq!(bench.read(BOB).unwrap().unwrap(), b"bob's");
}

#[test]
fn a_damaged_record_is_never_written_over() {
    let bench = Bench::new();
    bench.write(ALICE, b"token").unwrap();
    let sealed = fs::read(bench.grant_path()).unwrap();
    for at in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[at] ^= 0x10;
        refuse_and_keep(&bench, &bent);
        refuse_and_keep(&bench, &sealed[..at]);
    }
    fs::write(bench.grant_path(), &sealed).unwrap();
    assert_eq!(bench.read(ALICE).unwrap().unwrap(), b"token");
}

fn refuse_and_keep(bench: &Bench, content: &[u8]) {
    fs::write(bench.grant_path(), content).unwrap();
    assert!(bench.read(ALICE).is_err());
    assert!(bench.write(ALICE, b"other").is_err());
    let guard = bench.vault.lock(Kind::Grant, ALICE).unwrap();
    assert!(bench.vault.remove(&guard).is_err());
    assert_eq!(fs::read(bench.grant_path()).unwrap(), content);
}

#[test]
fn damage_names_the_file_and_what_to_do() {
    let bench = Bench::new();
    bench.write(ALICE, b"token").unwrap();
    fs::write(bench.grant_path(), b"").unwrap();
    let words = bench.write(ALICE, b"other").unwrap_err().to_string();
    assert!(words.contains("alice@contoso.com.grant"), "{words}");
    assert!(words.contains("nothing was overwritten"), "{words}");
    assert!(words.contains("mailwicket authorize"), "{words}");
}

#[test]
fn a_record_larger_than_the_bound_is_neither_read_nor_written() {
    let bench = Bench::new();
    let most = SEALED_MAX - seal::OVERHEAD;
    bench.write(ALICE, &vec![7; most]).unwrap();
    assert_eq!(bench.read(ALICE).unwrap().unwrap().len(), most);
    let refused = bench.write(ALICE, &vec![7; most + 1]);
    assert!(matches!(refused, Err(VaultError::TooLarge { .. })));
    let mut long = fs::read(bench.grant_path()).unwrap();
    long.push(0);
    fs::write(bench.grant_path(), long).unwrap();
    assert!(matches!(bench.read(ALICE), Err(VaultError::Corrupt { .. })));
}

#[test]
fn a_write_that_was_interrupted_leaves_the_old_record() {
    let bench = Bench::new();
    bench.write(ALICE, b"old").unwrap();
    let half = bench.path("alice@contoso.com.grant.new");
    fs::write(&half, b"MWVAULT half of a recor").unwrap();
    assert_eq!(bench.read(ALICE).unwrap().unwrap(), b"old");
    assert_eq!(bench.vault.accounts(Kind::Grant).unwrap(), [ALICE]);
    bench.write(ALICE, b"new").unwrap();
    assert_eq!(bench.read(ALICE).unwrap().unwrap(), b"new");
    assert!(!half.exists());
}

/// What a killed writer of `bytes` leaves, if it was killed just before the end.
fn leave_unfinished(bench: &Bench, bytes: &[u8]) -> PathBuf {
    let (record, left) = (
        bench.grant_path(),
        bench.path("alice@contoso.com.grant.new"),
    );
    let before = fs::read(&record);
    bench.write(ALICE, bytes).unwrap();
    fs::rename(&record, &left).unwrap();
    if let Ok(before) = before {
        fs::write(&record, before).unwrap();
        #[cfg(unix)]
        permissions_of_files::chmod(&record, 0o600);
    }
    left
}

#[test]
fn what_a_killed_writer_had_written_whole_is_the_record_from_the_next_lock_on() {
    let bench = Bench::new();
    for (before, bytes) in [(None, b"first"), (Some(b"first"), b"newer")] {
        let left = leave_unfinished(&bench, bytes);
        let read = bench.read(ALICE).unwrap();
        assert_eq!(read.as_deref(), before.map(|before| &before[..]));
        drop(bench.vault.lock(Kind::Grant, ALICE).unwrap());
        assert_eq!(bench.read(ALICE).unwrap().unwrap(), bytes);
        assert!(!left.exists());
    }
}

#[test]
fn what_is_not_whole_or_not_for_this_record_is_not_taken_up() {
    let bench = Bench::new();
    bench.write(ALICE, b"old").unwrap();
    bench.write(BOB, b"bob's").unwrap();
    let left = leave_unfinished(&bench, b"newer");
    let whole = fs::read(&left).unwrap();
    let bobs = fs::read(bench.path("bob@contoso.com.grant")).unwrap();
    let mut bent = whole.clone();
    *bent.last_mut().unwrap() ^= 1;
    for wrong in [&whole[..whole.len() - 1], &bobs, &bent, b""] {
        fs::write(&left, wrong).unwrap();
        drop(bench.vault.lock(Kind::Grant, ALICE).unwrap());
        assert_eq!(bench.read(ALICE).unwrap().unwrap(), b"old");
        bench.write(ALICE, b"old").unwrap();
        assert!(!left.exists(), "the next write sweeps it away");
        leave_unfinished(&bench, b"newer");
    }
}

#[test]
fn a_damaged_record_is_not_replaced_by_what_a_killed_writer_left() {
    let bench = Bench::new();
    bench.write(ALICE, b"old").unwrap();
    let left = leave_unfinished(&bench, b"newer");
    let whole = fs::read(&left).unwrap();
    fs::write(bench.grant_path(), b"damaged").unwrap();
    drop(bench.vault.lock(Kind::Grant, ALICE).unwrap());
    assert!(bench.write(ALICE, b"other").is_err());
    assert_eq!(fs::read(bench.grant_path()).unwrap(), b"damaged");
    assert_eq!(fs::read(&left).unwrap(), whole);
}

#[test]
fn a_write_that_fails_leaves_the_old_record() {
    let bench = Bench::new();
    bench.write(ALICE, b"old").unwrap();
    // A folder in the way of the new file stands for every refusal of the system: it holds for root too.
    fs::create_dir(bench.path("alice@contoso.com.grant.new")).unwrap();
    let refused = bench.write(ALICE, b"new");
    assert!(matches!(refused, Err(VaultError::Io { .. })), "{refused:?}");
    assert_eq!(bench.read(ALICE).unwrap().unwrap(), b"old");
}

#[test]
fn another_key_opens_nothing_and_overwrites_nothing() {
    let bench = Bench::new();
    bench.write(ALICE, b"token").unwrap();
    let sealed = fs::read(bench.grant_path()).unwrap();
    let other = SecretSource::Inline("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
    let other = Vault::open(bench.state.path(), &other).unwrap();
    assert!(!bench.vault.is_same_as(&other));
    assert!(bench.vault.is_same_as(&open(bench.state.path()).unwrap()));
    let guard = other.lock(Kind::Grant, ALICE).unwrap();
    let words = other.write(&guard, b"x").unwrap_err().to_string();
    assert!(words.contains("sealed with another key"), "{words}");
    assert!(other.read(Kind::Grant, ALICE).is_err());
    assert_eq!(fs::read(bench.grant_path()).unwrap(), sealed);
}

#[test]
fn no_new_key_is_made_for_a_vault_that_lost_its_own() {
    let bench = Bench::new();
    bench.write(ALICE, b"token").unwrap();
    fs::remove_file(bench.state.path().join("vault.key")).unwrap();
    let error = open(bench.state.path()).unwrap_err();
    assert!(matches!(error, VaultError::KeyLost { .. }), "{error}");
}

#[test]
fn of_many_first_starts_one_makes_the_key() {
    let state = tempfile::tempdir().unwrap();
    let vaults = thread::scope(|scope| {
        let start = || open(state.path()).unwrap();
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        let vaults = starts.into_iter().map(|start| start.join().unwrap());
        vaults.collect::<Vec<_>>()
    });
    let guard = vaults[0].lock(Kind::Grant, ALICE).unwrap();
    vaults[0].write(&guard, b"token").unwrap();
    for vault in &vaults {
        assert!(vault.read(Kind::Grant, ALICE).unwrap().is_some());
    }
}

#[test]
fn who_waits_too_long_for_a_lock_is_told_who_holds_it() {
    let bench = Bench::new();
    let lock = |account| {
        let patience = Duration::from_millis(30);
        bench.vault.lock_within(Kind::Grant, account, patience)
    };
    let held = lock(ALICE).unwrap();
    let words = lock(ALICE).unwrap_err().to_string();
    let process = format!("process {}", std::process::id());
    assert!(words.contains(&process), "{words}");
    drop(lock(BOB).unwrap());
    drop(held);
    drop(lock(ALICE).unwrap());
}

const ROUNDS: u32 = 20;
const BENCH_VARIABLE: &str = "MAILWICKET_TEST_VAULT";

fn count_up(vault: &Vault) {
    for _ in 0..ROUNDS {
        let guard = vault.lock(Kind::Grant, ALICE).unwrap();
        let next = count(vault) + 1;
        vault.write(&guard, &next.to_be_bytes()).unwrap();
    }
}

fn count(vault: &Vault) -> u32 {
    let record = vault.read(Kind::Grant, ALICE).unwrap();
    record.map_or(0, |record| {
        u32::from_be_bytes(record.bytes.as_slice().try_into().unwrap())
    })
}

fn another_process(bench: &Bench) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "vault::tests::a_process_that_takes_turns"])
        .env(BENCH_VARIABLE, bench.state.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn threads_and_processes_take_turns() {
    let bench = Bench::new();
    let processes = [(); 2].map(|()| another_process(&bench));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| count_up(&bench.vault));
        }
    });
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(count(&bench.vault), 4 * ROUNDS);
}

#[test]
fn a_process_killed_at_any_instant_leaves_a_whole_record_and_no_lock() {
    let bench = Bench::new();
    let mut last = 0;
    for instant in 0..30 {
        let mut process = another_process(&bench);
        thread::sleep(Duration::from_millis(instant));
        process.kill().unwrap();
        process.wait().unwrap();
        let now = count(&bench.vault);
        assert!(now >= last);
        drop(bench.vault.lock(Kind::Grant, ALICE).unwrap());
        last = now;
    }
}

/// The other process of the tests above; by itself it does nothing.
#[test]
fn a_process_that_takes_turns() {
    if let Some(state) = std::env::var_os(BENCH_VARIABLE) {
        count_up(&open(Path::new(&state)).unwrap());
    }
}

#[cfg(unix)]
mod permissions_of_files {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    pub(super) fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn is_unsafe<T>(result: Result<T, VaultError>) -> bool {
        matches!(result, Err(VaultError::Unsafe { .. }))
    }

    #[test]
    fn everything_is_made_for_its_owner_alone() {
        let bench = Bench::new();
        bench.write(ALICE, b"token").unwrap();
        assert_eq!(mode(&bench.path("")), 0o700);
        assert_eq!(mode(&bench.state.path().join("vault.key")), 0o600);
        assert_eq!(mode(&bench.grant_path()), 0o600);
        assert_eq!(mode(&bench.path("alice@contoso.com.grant.lock")), 0o600);
    }

    #[test]
    fn files_that_others_may_use_are_refused() {
        let bench = Bench::new();
        bench.write(ALICE, b"token").unwrap();
        for exposed in [0o644, 0o640, 0o620, 0o601] {
            chmod(&bench.grant_path(), exposed);
            assert!(is_unsafe(bench.read(ALICE)));
            assert!(is_unsafe(bench.write(ALICE, b"other")));
        }
        chmod(&bench.grant_path(), 0o400);
        assert_eq!(bench.read(ALICE).unwrap().unwrap(), b"token");
        chmod(&bench.state.path().join("vault.key"), 0o644);
        assert!(is_unsafe(open(bench.state.path())));
    }

    #[test]
    fn folders_that_others_may_write_in_are_refused() {
        let bench = Bench::new();
        for folder in [bench.path(""), bench.state.path().to_owned()] {
            let before = mode(&folder);
            chmod(&folder, 0o777);
            assert!(is_unsafe(open(bench.state.path())));
            chmod(&folder, before);
        }
        open(bench.state.path()).unwrap();
    }

    #[test]
    fn symbolic_links_are_refused() {
        let bench = Bench::new();
        bench.write(BOB, b"bob's").unwrap();
        symlink(bench.path("bob@contoso.com.grant"), bench.grant_path()).unwrap();
        assert!(is_unsafe(bench.read(ALICE)));
        assert!(is_unsafe(bench.vault.revision(Kind::Grant, ALICE)));
        let lock = bench.path("alice@contoso.com.passwords.lock");
        symlink(bench.grant_path(), lock).unwrap();
        assert!(is_unsafe(bench.vault.lock(Kind::Passwords, ALICE)));
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let bench = Bench::new();
        let made = Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(bench.grant_path())
            .status();
        assert!(made.unwrap().success());
        assert!(is_unsafe(bench.read(ALICE)));
    }

    #[test]
    fn files_of_another_user_are_refused() {
        let bench = Bench::new();
        bench.write(ALICE, b"token").unwrap();
        // Only root can give files away; elsewhere there is nothing to see.
        if std::os::unix::fs::chown(bench.grant_path(), Some(4321), None).is_ok() {
            assert!(is_unsafe(bench.read(ALICE)));
        }
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        use std::os::unix::fs::{MetadataExt, chown};
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("vault");
        fs::create_dir(&folder).unwrap();
        if chown(&folder, Some(4321), Some(4321)).is_err() {
            return;
        }
        let vault = open(state.path()).unwrap();
        let guard = vault.lock(Kind::Grant, ALICE).unwrap();
        vault.write(&guard, b"token").unwrap();
        for name in ["alice@contoso.com.grant", "alice@contoso.com.grant.lock"] {
            assert_eq!(fs::metadata(folder.join(name)).unwrap().uid(), 4321);
        }
    }
}
