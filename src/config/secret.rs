//! Where secrets come from, and how they are read from there.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Program;

/// How long a command may take: long enough for a vault on the network, short enough for a login that waits for it.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// Octets read from a file or a command; a key in PEM form has a tenth of that.
const MAX_LEN: u64 = 64 * 1024;

/// How often a command is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// Where a secret comes from; it is read when it is needed, so that a renewed file is seen.
#[derive(Clone)]
pub enum SecretSource {
    /// Written in the configuration itself.
    Inline(SecretString),
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A systemd credential (`$CREDENTIALS_DIRECTORY/NAME`).
    Credential(String),
    /// The first line that a command prints; no shell is involved.
    Command(Program),
}

impl fmt::Debug for SecretSource {
    /// Names the source; never prints a secret, nor a command's arguments, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::Credential(name) => f.debug_tuple("Credential").field(name).finish(),
            Self::Command(_) => f.write_str("Command"),
        }
    }
}

/// Why a secret could not be read. No variant holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be opened or read.
    #[error("cannot read the secret file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a folder, a device or a pipe.
    #[error("the secret file {} is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Every user of the machine has access to the file.
    #[error("the secret file {0} can be read or changed by every user of this machine; run: chmod 600 {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The environment variable is not set.
    #[error(
        "the environment variable {name}, which should hold the secret, is not set or is not text"
    )]
    Env {
        /// The variable.
        name: String,
    },
    /// There are no credentials of systemd.
    #[error(
        "there is no credential {name}: $CREDENTIALS_DIRECTORY is not set; run as a systemd service with LoadCredential={name}:FILE"
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// The command could not be started.
    #[error("cannot start the command `{program}` for a secret: {source}")]
    Start {
        /// Its program; the arguments may be secret.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The command ended without success.
    #[error("the command `{program}` for a secret ended with {status}; run it by hand to see why")]
    Command {
        /// Its program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The command did not end.
    #[error("the command `{program}` for a secret took longer than {} s and was stopped", COMMAND_TIME.as_secs())]
    Slow {
        /// Its program.
        program: String,
    },
    /// There was too much.
    #[error("{source_name} holds more than {MAX_LEN} octets; a secret is one line")]
    TooLong {
        /// Where it came from.
        source_name: String,
    },
    /// There was nothing.
    #[error("the first line of {source_name} is empty; it must be the secret")]
    Empty {
        /// Where it came from.
        source_name: String,
    },
    /// It is not text.
    #[error("{source_name} is not UTF-8 text")]
    NotText {
        /// Where it came from.
        source_name: String,
    },
}

impl SecretSource {
    /// The secret, read now, so that a renewed one is seen.
    ///
    /// It blocks, for a command up to ten seconds: call it where blocking is allowed.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        self.part(Part::Line)
    }

    /// The same for a secret of many lines, such as a key in PEM form.
    pub fn read_whole(&self) -> Result<SecretString, SecretError> {
        self.part(Part::Whole)
    }

    /// The same for one that a platform keeps in a file of its own making, readable for whom the platform wants.
    pub fn read_of_platform(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => from_file(path, Part::Line, false),
            _ => self.read(),
        }
    }

    fn part(&self, part: Part) -> Result<SecretString, SecretError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => from_file(path, part, true),
            Self::Env(name) => from_env(name, part),
            Self::Credential(name) => from_credential(name, part),
            Self::Command(program) => from_command(program, part, COMMAND_TIME),
        }
    }
}

/// How much of what is there is the secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first line.
    Line,
    /// All of it.
    Whole,
}

fn from_file(path: &Path, part: Part, guarded: bool) -> Result<SecretString, SecretError> {
    let fail = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    // Asked before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(SecretError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(fail)?;
    if guarded && is_exposed(&file.metadata().map_err(fail)?) {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
        });
    }
    let octets = read_bounded(file).map_err(fail)?;
    text(part, &octets, || {
        format!("the secret file {}", path.display())
    })
}

/// Whether users beyond owner and group have access. A group is a choice of the administrator.
#[cfg(unix)]
fn is_exposed(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o006 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &fs::Metadata) -> bool {
    false
}

fn from_env(name: &str, part: Part) -> Result<SecretString, SecretError> {
    let value = std::env::var(name).map_err(|_| SecretError::Env {
        name: name.to_owned(),
    })?;
    let value = Zeroizing::new(value);
    text(part, value.as_bytes(), || {
        format!("the environment variable {name}")
    })
}

fn from_credential(name: &str, part: Part) -> Result<SecretString, SecretError> {
    let folder =
        std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| SecretError::NoCredentials {
            name: name.to_owned(),
        })?;
    from_file(&Path::new(&folder).join(name), part, false) // systemd guards the folder
}

fn from_command(words: &Program, part: Part, time: Duration) -> Result<SecretString, SecretError> {
    let program = words.name();
    let mut child = words
        .command()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // it may repeat the secret
        .spawn()
        .map_err(|source| SecretError::Start {
            program: program.to_owned(),
            source,
        })?;
    let output = collect(&mut child, time);
    if output.is_none() {
        // The command may have ended already; then there is nothing to stop.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (octets, status) = output.ok_or_else(|| SecretError::Slow {
        program: program.to_owned(),
    })?;
    // One that prints too much is stopped by the closed pipe, so its length is the reason, not its end.
    if !status.success() && octets.len() as u64 <= MAX_LEN {
        return Err(SecretError::Command {
            program: program.to_owned(),
            status,
        });
    }
    text(part, &octets, || {
        format!("the output of the command `{program}`")
    })
}

/// What the command prints and how it ends; `None` if it takes too long or cannot be watched.
fn collect(child: &mut Child, time: Duration) -> Option<(Zeroizing<Vec<u8>>, ExitStatus)> {
    let deadline = Instant::now() + time;
    let output = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    // The thread ends with the pipe; at the latest when the command's own children have closed it.
    thread::spawn(move || send.send(read_bounded(output)));
    let octets = receive.recv_timeout(time).ok()?.ok()?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some((octets, status)),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            _ => return None,
        }
    }
}

/// One octet more than allowed shows that there is too much.
fn read_bounded(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Reserved at once: a buffer that grows leaves copies behind that are not wiped.
    let mut octets = Zeroizing::new(Vec::with_capacity(MAX_LEN as usize + 1));
    from.take(MAX_LEN + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

fn text(part: Part, octets: &[u8], name: impl Fn() -> String) -> Result<SecretString, SecretError> {
    if octets.len() as u64 > MAX_LEN {
        return Err(SecretError::TooLong {
            source_name: name(),
        });
    }
    let line = match part {
        Part::Whole => octets.trim_ascii(),
        Part::Line => {
            let line = octets.split(|&octet| octet == b'\n').next();
            let line = line.unwrap_or_default();
            line.strip_suffix(b"\r").unwrap_or(line)
        }
    };
    let text = std::str::from_utf8(line).map_err(|_| SecretError::NotText {
        source_name: name(),
    })?;
    let secret = SecretString::from(text);
    if secret.expose_secret().is_empty() {
        return Err(SecretError::Empty {
            source_name: name(),
        });
    }
    Ok(secret)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn command(words: &[&str], time: Duration) -> Result<SecretString, SecretError> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        from_command(&words.into(), Part::Line, time)
    }

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, SecretSource::File(path))
    }

    #[test]
    fn a_file_gives_its_first_line() {
        let (_folder, source) = file(b"s3cret \r\nsecond\n", 0o640);
        assert_eq!(source.read().unwrap().expose_secret(), "s3cret ");
    }

    #[test]
    fn a_secret_of_many_lines_is_read_as_a_whole() {
        let (_folder, source) = file(b"-----BEGIN\nxyz\n-----END\n\n", 0o600);
        let whole = source.read_whole().unwrap();
        assert_eq!(whole.expose_secret(), "-----BEGIN\nxyz\n-----END");
    }

    #[test]
    fn only_a_file_of_the_platform_may_be_readable_for_everybody() {
        let (_folder, source) = file(b"ey.ey.x\n", 0o644);
        let read = source.read_of_platform().unwrap();
        assert_eq!(read.expose_secret(), "ey.ey.x");
        assert!(source.read().is_err() && source.read_whole().is_err());
    }

    #[test]
    fn a_file_for_everybody_is_refused_with_the_remedy() {
        let (_folder, source) = file(b"s3cret", 0o644);
        let error = source.read().unwrap_err().to_string();
        assert!(
            error.contains("chmod 600 /") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn empty_long_and_binary_files_are_told_apart() {
        let (_a, empty) = file(b"\nx", 0o600);
        let (_b, long) = file(&vec![b'x'; MAX_LEN as usize + 1], 0o600);
        let (_c, binary) = file(b"\xff\n", 0o600);
        assert!(matches!(empty.read(), Err(SecretError::Empty { .. })));
        assert!(matches!(long.read(), Err(SecretError::TooLong { .. })));
        assert!(matches!(binary.read(), Err(SecretError::NotText { .. })));
        let folder = tempfile::tempdir().unwrap();
        let source = SecretSource::File(folder.path().to_owned());
        assert!(matches!(source.read(), Err(SecretError::NotAFile { .. })));
    }

    #[test]
    fn a_command_gives_its_first_line_without_a_shell() {
        let secret = command(&["printf", "%s\\nmore", "$HOME;x"], COMMAND_TIME).unwrap();
        assert_eq!(secret.expose_secret(), "$HOME;x");
    }

    #[test]
    fn a_command_that_fails_or_is_missing_is_reported_without_its_arguments() {
        let failed = command(&["false", "hunter2"], COMMAND_TIME).unwrap_err();
        assert!(matches!(failed, SecretError::Command { .. }));
        let missing = command(&["no-such-program-here", "hunter2"], COMMAND_TIME).unwrap_err();
        assert!(matches!(missing, SecretError::Start { .. }));
        assert!(!format!("{failed} {failed:?} {missing} {missing:?}").contains("hunter2"));
    }

    #[test]
    fn a_command_has_bounds_of_time_and_size() {
        let begun = Instant::now();
        let slow = command(&["sleep", "60"], Duration::from_millis(100));
        assert!(matches!(slow, Err(SecretError::Slow { .. })));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(matches!(
            command(&["yes"], COMMAND_TIME),
            Err(SecretError::TooLong { .. })
        ));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let source = SecretSource::Env("MAILWICKET_TEST_NOT_SET".into());
        assert!(
            source
                .read()
                .unwrap_err()
                .to_string()
                .contains("MAILWICKET_TEST_NOT_SET")
        );
    }
}
