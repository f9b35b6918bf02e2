//! Explicit edits of the configuration file. What is not edited stays as it is, octet by octet.
//!
//! The functions on texts are pure; [`save`] replaces the file as a whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Table, Value};

use super::{LoadError, read_text};

mod change;
mod diff;
mod key;
mod list;
mod proposal;
mod table;

pub use self::change::{Edit, Place, value_at};
pub use self::diff::{DiffLine, Sign, masked_lines};
pub use self::proposal::{Proposal, Remark, digest, propose};

/// What `account add` writes; the rest of an account's keys is added by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAccount {
    /// The mailbox.
    pub address: String,
    /// The name of its provider.
    pub provider: String,
    /// The names accepted locally, if other than the address.
    pub logins: Vec<String>,
    /// The SASL user sent upstream, if other than the address.
    pub identity: Option<String>,
    /// Who signs in, if other than the mailbox.
    pub authorize_as: Option<String>,
}

/// Why an edit was not made. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is not TOML.
    #[error("the file cannot be edited before its syntax errors are mended")]
    Syntax,
    /// There is no such account.
    #[error("there is no account {address}; see: mailwicket account list")]
    NoAccount {
        /// The address that was given.
        address: String,
    },
    /// The accounts are written in a way that cannot be edited safely.
    #[error(
        "the accounts are written in a way that cannot be changed here without touching other parts; edit the file by hand"
    )]
    Entangled,
    /// There is no such provider or listener.
    #[error("there is no {place} in the file")]
    NoPlace {
        /// What was looked for.
        place: Place,
    },
    /// There is one already.
    #[error("there is a provider `{name}` already; take another name")]
    Taken {
        /// The name that was given.
        name: String,
    },
    /// A key or table is written in a way that cannot be edited safely.
    #[error(
        "`{key}` is written in a way that cannot be changed here without touching other parts of the file; edit it by hand"
    )]
    Knotted {
        /// The key, with the names of its tables.
        key: String,
    },
    /// Somebody else changed the file in the meantime.
    #[error("{} was changed by somebody else in the meantime; try again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read again.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file could not be replaced.
    #[error("cannot replace {}: {source}; it is as it was", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The text with one more account, after the others or else at the end.
///
/// # Errors
/// If the text cannot be edited.
pub fn add_account(text: &str, account: &NewAccount) -> Result<String, EditError> {
    let document = parse(text)?;
    let edited = match document.get("account") {
        Some(Item::Value(_)) => edit_array(text, |array| {
            array.push(InlineTable::from_iter(pairs(account)))
        })?,
        Some(Item::ArrayOfTables(accounts)) => {
            let last = accounts
                .iter()
                .filter_map(extent)
                .max_by_key(|span| span.end);
            insert(
                text,
                last.map_or(text.len(), |span| paragraph_end(text, span.end)),
                account,
            )
        }
        _ => insert(text, text.len(), account),
    };
    let mut expected = plain(text)?;
    let one = plain(&block(account))?.remove("account").and_then(first_of);
    let list = expected
        .entry("account")
        .or_insert_with(|| toml::Value::Array(Vec::new()));
    list.as_array_mut().ok_or(EditError::Entangled)?.extend(one);
    only_if(edited, &expected)
}

/// The text without an account, and without its comment lines: those right above it, and those right below it that nothing follows.
///
/// # Errors
/// If there is no such account (upper and lower case count as equal), or the text cannot be edited.
pub fn remove_account(text: &str, address: &str) -> Result<String, EditError> {
    let document = parse(text)?;
    let mut expected = plain(text)?;
    let missing = || EditError::NoAccount {
        address: address.to_owned(),
    };
    let list = expected
        .get_mut("account")
        .and_then(toml::Value::as_array_mut)
        .ok_or_else(missing)?;
    let index = list
        .iter()
        .position(|account| has_address(account, address))
        .ok_or_else(missing)?;
    list.remove(index);
    if list.is_empty() {
        expected.remove("account");
    }
    let edited = match document.get("account") {
        Some(Item::ArrayOfTables(accounts)) => {
            let span = accounts
                .get(index)
                .and_then(extent)
                .ok_or(EditError::Entangled)?;
            cut(text, span)
        }
        _ => edit_array(text, |array| {
            array.remove(index);
        })?,
    };
    only_if(edited, &expected)
}

fn has_address(account: &toml::Value, address: &str) -> bool {
    let written = account.get("address").and_then(toml::Value::as_str);
    written.is_some_and(|written| written.to_lowercase() == address.to_lowercase())
}

/// The edited text, if it means what was intended and nothing else.
fn only_if(edited: String, expected: &toml::Table) -> Result<String, EditError> {
    let mut meaning = plain(&edited)?;
    let is_empty = |value: &toml::Value| value.as_array().is_some_and(Vec::is_empty);
    if meaning.get("account").is_some_and(is_empty) {
        meaning.remove("account");
    }
    if meaning == *expected {
        Ok(edited)
    } else {
        Err(EditError::Entangled)
    }
}

fn parse(text: &str) -> Result<Document<&str>, EditError> {
    Document::parse(text).map_err(|_| EditError::Syntax)
}

fn plain(text: &str) -> Result<toml::Table, EditError> {
    text.parse().map_err(|_| EditError::Syntax)
}

fn first_of(value: toml::Value) -> Option<toml::Value> {
    match value {
        toml::Value::Array(list) => list.into_iter().next(),
        _ => None,
    }
}

fn pairs(account: &NewAccount) -> Vec<(&'static str, Value)> {
    let mut pairs = vec![
        ("address", Value::from(account.address.as_str())),
        ("provider", Value::from(account.provider.as_str())),
    ];
    if !account.logins.is_empty() {
        pairs.push(("logins", Value::Array(account.logins.iter().collect())));
    }
    let optional = [
        ("identity", &account.identity),
        ("authorize-as", &account.authorize_as),
    ];
    pairs.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| Some((key, Value::from(value.as_deref()?)))),
    );
    pairs
}

/// The account as it stands in a file.
fn block(account: &NewAccount) -> String {
    let table: Table = pairs(account)
        .into_iter()
        .map(|(key, value)| (key, Item::Value(value)))
        .collect();
    format!("[[account]]\n{table}")
}

/// Accounts in one list of inline tables: `account = [{ … }]`.
fn edit_array(text: &str, edit: impl FnOnce(&mut Array)) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse().map_err(|_| EditError::Syntax)?;
    let array = document.get_mut("account").and_then(Item::as_array_mut);
    edit(array.ok_or(EditError::Entangled)?);
    Ok(document.to_string())
}

fn insert(text: &str, at: usize, account: &NewAccount) -> String {
    insert_block(text, at, block(account))
}

/// The text with a table more, an empty line apart from what is before it.
fn insert_block(text: &str, at: usize, mut block: String) -> String {
    let (before, after) = text.split_at(at);
    if !before.is_empty() {
        block.insert_str(0, if before.ends_with('\n') { "\n" } else { "\n\n" });
    }
    if text.contains("\r\n") {
        block = block.replace('\n', "\r\n");
    }
    format!("{before}{block}{after}")
}

/// The place of a table: its heading and everything in it.
fn extent(table: &Table) -> Option<Range<usize>> {
    let heading = table.span()?;
    let within = table.iter().filter_map(|(_, item)| end_of(item)).max();
    Some(heading.start..within.unwrap_or(0).max(heading.end))
}

fn end_of(item: &Item) -> Option<usize> {
    let own = item.span().map(|span| span.end);
    let within = match item {
        Item::Table(table) => table.iter().filter_map(|(_, item)| end_of(item)).max(),
        _ => None,
    };
    own.max(within)
}

/// The end of the line at `from` and of the comment lines right below it, unless something stands right below those: then they are
/// about that.
fn paragraph_end(text: &str, from: usize) -> usize {
    let own = line_end(text, from);
    let mut end = own;
    while text[end..].trim_start_matches([' ', '\t']).starts_with('#') {
        end = line_end(text, end);
    }
    let is_apart = text[end..line_end(text, end)].trim().is_empty();
    if is_apart { end } else { own }
}

/// The octet after the line's newline, or the end of the text.
fn line_end(text: &str, from: usize) -> usize {
    text[from..]
        .find('\n')
        .map_or(text.len(), |newline| from + newline + 1)
}

fn cut(text: &str, span: Range<usize>) -> String {
    let mut start = line_start(text, span.start);
    while start > 0
        && text[line_start(text, start - 1)..start]
            .trim_start()
            .starts_with('#')
    {
        start = line_start(text, start - 1);
    }
    let end = paragraph_end(text, span.end);
    let (before, after) = (&text[..start], &text[end..]);
    // One of the two empty lines round it goes as well.
    let after = match after
        .strip_prefix("\r\n")
        .or_else(|| after.strip_prefix('\n'))
    {
        Some(rest) => rest,
        None => after,
    };
    if after.is_empty() {
        let kept = before.trim_end_matches(['\r', '\n']).len();
        return text[..line_end(text, kept).min(start)].to_owned();
    }
    format!("{before}{after}")
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Replaces the file by `new`, if it still says `old`: with the same owner and mode, at once, and safely on the disk.
///
/// A symbolic link stays one; the file that it leads to is replaced.
///
/// # Errors
/// If it was changed or cannot be replaced.
pub fn save(path: &Path, old: &str, new: &str) -> Result<(), EditError> {
    let fail = |source| EditError::Write {
        path: path.to_owned(),
        source,
    };
    let target = fs::canonicalize(path).map_err(fail)?;
    let _alone = Alone::with(&target).map_err(fail)?;
    if read_text(&target)? != old {
        return Err(EditError::Changed {
            path: path.to_owned(),
        });
    }
    replace(&target, new).map_err(fail)
}

/// Replaces a file, which is no link: whole or not at all, with the same owner and mode.
///
/// # Errors
/// What the system says; the file is as it was then.
fn replace(target: &Path, text: &str) -> io::Result<()> {
    let metadata = fs::metadata(target)?;
    replace_with(target, text, &metadata, metadata.permissions())
}

/// Replaces a file that has a secret, as [`save`] does: users who are neither the owner nor of the group can do nothing with it afterwards.
///
/// # Errors
/// What the system says; the file is as it was then.
pub fn replace_secret(target: &Path, secret: &str) -> io::Result<()> {
    let metadata = fs::metadata(target)?;
    replace_with(
        target,
        secret,
        &metadata,
        for_secret(metadata.permissions()),
    )
}

#[cfg(unix)]
fn for_secret(permissions: fs::Permissions) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(permissions.mode() & 0o640)
}

/// The folder decides there.
#[cfg(not(unix))]
fn for_secret(permissions: fs::Permissions) -> fs::Permissions {
    permissions
}

fn replace_with(
    target: &Path,
    text: &str,
    metadata: &fs::Metadata,
    permissions: fs::Permissions,
) -> io::Result<()> {
    let folder = folder_of(target);
    let mut file = tempfile::Builder::new()
        .prefix(".mailwicket-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    same_owner(file.as_file(), metadata)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// A canonical path of a file has a parent.
fn folder_of(target: &Path) -> &Path {
    target.parent().unwrap_or(Path::new("/"))
}

/// The right to compare a file and replace it: of two who do so at once, the second sees what the first has written.
///
/// The file itself is replaced, so the lock is its folder's; it leaves nothing behind.
pub struct Alone {
    _here: MutexGuard<'static, ()>,
    _everywhere: Option<File>,
}

/// How long another process gets to write.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked whether it has.
const POLL: Duration = Duration::from_millis(20);

impl Alone {
    /// Waits for it, and blocks meanwhile; it must not be asked for again before it is dropped.
    ///
    /// # Errors
    /// If another program has it for too long.
    pub fn with(target: &Path) -> io::Result<Self> {
        static HERE: Mutex<()> = Mutex::new(());
        // It guards no data of ours.
        let here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self {
            _here: here,
            _everywhere: locked(folder_of(target))?,
        })
    }
}

/// The folder with a lock, where folders can be opened and have locks: some file systems and systems know none.
fn locked(folder: &Path) -> io::Result<Option<File>> {
    let Ok(file) = File::open(folder) else {
        return Ok(None);
    };
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other(format!(
                    "another program holds a lock on {}",
                    folder.display()
                )));
            }
        }
    }
}

/// Root may edit a file that belongs to the service; it must still be able to read it afterwards.
#[cfg(unix)]
fn same_owner(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(file, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn same_owner(_: &File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// The new name is on the disk only when its folder is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[path = "edit/tests.rs"]
mod of_tables;

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> NewAccount {
        NewAccount {
            address: "bob@b".into(),
            provider: "p".into(),
            ..Default::default()
        }
    }

    const BLOCK: &str = "[[account]]\naddress = \"bob@b\"\nprovider = \"p\"\n";

    #[test]
    fn an_account_is_added_after_the_others_and_the_rest_stays() {
        let head = "# mine\nstate-dir   = 'x' # odd\n\n# a\n[[account]]\naddress = 'a@b'\nprovider='p'\n# logins = []\n";
        let tail = "\n# times\n[timeouts]\ntoken='1s'\n# end";
        let edited = add_account(&format!("{head}{tail}"), &bob()).unwrap();
        assert_eq!(edited, format!("{head}\n{BLOCK}{tail}"));
    }

    #[test]
    fn an_account_is_added_at_the_end_if_it_is_the_first() {
        assert_eq!(add_account("", &bob()).unwrap(), BLOCK);
        assert_eq!(
            add_account("[log]\n# x", &bob()).unwrap(),
            format!("[log]\n# x\n\n{BLOCK}")
        );
        let edited = add_account("[log]\r\n", &bob()).unwrap();
        assert_eq!(edited, format!("[log]\n\n{BLOCK}").replace('\n', "\r\n"));
    }

    #[test]
    fn an_account_is_added_to_an_inline_list() {
        let edited = add_account("account = [ { address = 'a@b' } ] # all\n", &bob()).unwrap();
        assert!(
            edited.contains("'a@b'") && edited.contains("\"bob@b\"") && edited.contains("# all"),
            "{edited}"
        );
    }

    #[test]
    fn odd_names_are_quoted() {
        let account = NewAccount {
            address: "\"a\\b\"@c".into(),
            logins: vec!["x \"y\"".into(), "z".into()],
            identity: Some("ü".into()),
            authorize_as: Some("d@e".into()),
            ..bob()
        };
        let edited: toml::Table = add_account("", &account).unwrap().parse().unwrap();
        let written = &edited["account"][0];
        assert_eq!(written["address"].as_str(), Some("\"a\\b\"@c"));
        assert_eq!(written["logins"][0].as_str(), Some("x \"y\""));
        assert_eq!(written["authorize-as"].as_str(), Some("d@e"));
    }

    #[test]
    fn an_account_is_removed_with_its_own_comment_only() {
        let text = "# all\n\n# alice\n[[account]]\naddress = 'a@b'\n[account.identity]\nimap = 'x'\n# more\n\n# bob\n[[account]]\naddress = 'Bob@b'\n\n[log]\n";
        assert_eq!(
            remove_account(text, "A@b").unwrap(),
            "# all\n\n# bob\n[[account]]\naddress = 'Bob@b'\n\n[log]\n"
        );
        let without_bob = remove_account(text, "bob@B").unwrap();
        assert_eq!(
            without_bob,
            "# all\n\n# alice\n[[account]]\naddress = 'a@b'\n[account.identity]\nimap = 'x'\n# more\n\n[log]\n"
        );
        assert!(matches!(
            remove_account(text, "c@d"),
            Err(EditError::NoAccount { .. })
        ));
    }

    #[test]
    fn a_comment_that_belongs_to_the_next_table_stays_with_it() {
        let alice = "# alice\n# in accounts\n[[account]]\naddress = 'a@b'\n";
        for next in [
            "# bob\n# his box\n[[account]]\naddress = 'c@d'\n",
            "  # times\n[timeouts]\ntoken = '1s'\n",
        ] {
            let text = format!("[log]\n\n{alice}{next}");
            let removed = remove_account(&text, "a@b").unwrap();
            assert_eq!(removed, format!("[log]\n\n{next}"));
        }
        let text = format!("{alice}# times\n[timeouts]\ntoken = '1s'\n");
        let added = add_account(&text, &bob()).unwrap();
        assert!(added.contains("# times\n[timeouts]"), "{added}");
        assert!(added.starts_with(alice), "{added}");
        for rest in ["", "\r\n[log]\r\n", " \t\n[log]\n"] {
            let text = format!("{alice}# logins = []\n{rest}");
            let removed = remove_account(&text, "a@b").unwrap();
            assert!(!removed.contains('#'), "{removed}");
        }
    }

    #[test]
    fn adding_and_removing_is_no_change() {
        for text in [
            "",
            "[log]\n",
            "# x\n[[account]]\naddress = 'a@b'\n",
            "[[account]]\naddress='a@b'\n\n[log]\nlevel='info'\n",
        ] {
            let there = add_account(text, &bob()).unwrap();
            assert_eq!(remove_account(&there, "bob@b").unwrap(), text);
        }
    }

    #[test]
    fn an_account_that_is_mixed_with_other_tables_is_left_alone() {
        let text =
            "[[account]]\naddress = 'a@b'\n[log]\nlevel = 'info'\n[account.identity]\nimap = 'x'\n";
        assert!(matches!(
            remove_account(text, "a@b"),
            Err(EditError::Entangled)
        ));
        assert!(matches!(
            add_account("[account]\naddress = 'a@b'\n", &bob()),
            Err(EditError::Entangled)
        ));
    }

    #[test]
    fn a_changed_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, "new").unwrap();
        assert!(matches!(
            save(&path, "old", "mine"),
            Err(EditError::Changed { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn of_two_saves_at_once_one_is_told_that_the_file_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        for _ in 0..20 {
            fs::write(&path, "old").unwrap();
            let both: Vec<_> = thread::scope(|scope| {
                let savers = ["a", "b"].map(|new| scope.spawn(|| save(&path, "old", new).is_ok()));
                savers.map(|saver| saver.join().unwrap()).into()
            });
            assert_eq!(both.iter().filter(|saved| **saved).count(), 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_saved_while_another_process_saves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, "old").unwrap();
        let other = File::open(folder.path()).unwrap();
        other.lock().unwrap();
        thread::scope(|scope| {
            let saving = scope.spawn(|| save(&path, "old", "mine"));
            fs::write(&path, "theirs").unwrap();
            other.unlock().unwrap();
            assert!(matches!(
                saving.join().unwrap(),
                Err(EditError::Changed { .. })
            ));
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_kept_from_other_users_whatever_the_mode_was() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.secret");
        for (before, after) in [(0o644, 0o640), (0o666, 0o640), (0o600, 0o600)] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
            replace_secret(&path, "new").unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, after);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_the_mode_is_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        save(&link, "old", "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }
}
