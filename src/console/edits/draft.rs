//! A change that somebody has seen and may save: it waits here, so that neither a secret nor the file's text is in a page.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use crate::config::edit::{self, Alone, DiffLine, EditError, Proposal};
use crate::config::read_text;
use crate::setup::new_file::{self, Readers};

/// How long a change waits to be saved, and can be taken back.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// Changes that wait at a time; another takes the place of the oldest.
const MOST: usize = 16;

/// A change of the file, and what became of it.
pub struct Draft {
    /// What it does, for the title of its page.
    pub title: String,
    /// The entry of the navigation that it belongs to.
    pub section: &'static str,
    pub diff: Vec<DiffLine>,
    pub warnings: Vec<String>,
    pub secret: Option<NewSecret>,
    pub state: State,
    before: String,
    after: String,
}

/// A client secret that was typed.
pub struct NewSecret {
    pub path: PathBuf,
    secret: SecretString,
    /// What stood in the file, once it was replaced.
    former: Option<SecretString>,
    /// Whether the file was made for it.
    is_new: bool,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    /// It is being written and taken up.
    Saving,
    /// It is in force.
    InForce,
    /// It is in the file, but was not taken up, for this reason.
    NotTakenUp(String),
    /// The file is as it was before.
    TakenBack,
}

impl Draft {
    pub fn new(
        title: String,
        section: &'static str,
        proposal: Proposal,
        secret: Option<NewSecret>,
    ) -> Self {
        let mut warnings = proposal.warnings;
        if let Some(secret) = &secret {
            // That it is not there yet is no news; what is wrong with one that is there is.
            let path = secret.path.display().to_string();
            warnings.retain(|warning| !(secret.is_new && warning.contains(&path)));
        }
        Self {
            title,
            section,
            diff: proposal.diff,
            warnings,
            secret,
            state: State::Waiting,
            before: proposal.before,
            after: proposal.after,
        }
    }

    /// Has it being worked on; what it was before, unless it is not in such a state.
    pub fn begin(&mut self, fits: impl FnOnce(&State) -> bool) -> Option<State> {
        fits(&self.state).then(|| std::mem::replace(&mut self.state, State::Saving))
    }

    /// Writes it, if the file still says what it said. Blocks.
    ///
    /// # Errors
    /// Why nothing was written, and what to do.
    pub fn write(&mut self, path: &Path) -> Result<(), String> {
        // First the secret: a configuration must not name a file that is not there.
        if let Some(secret) = &mut self.secret {
            unchanged(path, &self.before)?;
            secret.write()?;
        }
        let written = self.replace(path, &self.before, &self.after);
        if let (Err(_), Some(secret)) = (&written, &mut self.secret) {
            secret.take_back()?;
        }
        written
    }

    /// Writes the former text, if the file still says what this change made of it. Blocks.
    ///
    /// # Errors
    /// Why nothing was written, and what to do.
    pub fn take_back(&mut self, path: &Path) -> Result<(), String> {
        if let Some(secret) = &self.secret {
            secret.still_there()?;
        }
        self.replace(path, &self.after, &self.before)?;
        self.secret.as_mut().map_or(Ok(()), NewSecret::take_back)
    }

    fn replace(&self, path: &Path, old: &str, new: &str) -> Result<(), String> {
        match old == new {
            true => unchanged(path, old),
            false => edit::save(path, old, new).map_err(|error| advice(&error, path)),
        }
    }
}

fn unchanged(path: &Path, text: &str) -> Result<(), String> {
    match read_text(path) {
        Ok(now) if now == text => Ok(()),
        Ok(_) => {
            let path_of = path.to_owned();
            Err(advice(&EditError::Changed { path: path_of }, path))
        }
        Err(error) => Err(error.to_string()),
    }
}

impl NewSecret {
    /// A secret that will stand in `path`.
    pub fn new(path: PathBuf, secret: SecretString) -> Self {
        Self {
            is_new: !path.exists(),
            path,
            secret,
            former: None,
        }
    }

    fn write(&mut self) -> Result<(), String> {
        let _alone = Alone::with(&self.path).map_err(|error| not_written(&self.path, &error))?;
        let secret = self.secret.expose_secret();
        let written = match self.is_new {
            true => new_file::create(&self.path, secret, Readers::Owner),
            false => std::fs::read_to_string(&self.path).and_then(|former| {
                self.former = Some(former.into());
                edit::replace_secret(&self.path.canonicalize()?, secret)
            }),
        };
        written.map_err(|error| not_written(&self.path, &error))
    }

    fn take_back(&mut self) -> Result<(), String> {
        let _alone = Alone::with(&self.path).map_err(|error| not_written(&self.path, &error))?;
        self.still_there()?;
        let undone = match (&self.former, self.is_new) {
            (Some(former), _) => (self.path.canonicalize())
                .and_then(|path| edit::replace_secret(&path, former.expose_secret())),
            (None, true) => match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
            (None, false) => Ok(()),
        };
        undone.map_err(|error| not_written(&self.path, &error))?;
        self.former = None;
        Ok(())
    }

    /// Whether the file has what was written: one that somebody has put there since is not ours to take away.
    fn still_there(&self) -> Result<(), String> {
        let now = match std::fs::read_to_string(&self.path) {
            Err(error) if self.is_new && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            now => now.map(SecretString::from),
        };
        let now = now.map_err(|error| not_written(&self.path, &error))?;
        match now.expose_secret() == self.secret.expose_secret() {
            true => Ok(()),
            false => Err(format!(
                "There is another secret in {} by now, so nothing was restored. Change the file by hand, if it is to say again what it \
                 said.",
                self.path.display()
            )),
        }
    }

    /// Who can read the file, once it is written.
    pub fn readers(&self) -> &'static str {
        match self.is_new {
            true => "only the user that mailwicket runs as",
            false => "at most its owner and its group",
        }
    }
}

/// Why nothing was written, and what to do.
fn advice(error: &EditError, path: &Path) -> String {
    match error {
        EditError::Write { source, .. } => not_written(path, source),
        EditError::Changed { .. } => format!(
            "{} was changed by somebody else in the meantime, and nothing was written. Make the change again on what it says now.",
            path.display()
        ),
        other => other.to_string(),
    }
}

fn not_written(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(Path::new("/")).display();
    let path = path.display();
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "The user that mailwicket runs as must be allowed to write in the folder {folder}"
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "The folder {folder} is read-only for mailwicket; a systemd unit with ProtectSystem= needs ReadWritePaths={folder}"
        ),
        io::ErrorKind::StorageFull => "Make room on the disk".to_owned(),
        _ => format!("Look at the folder {folder}"),
    };
    format!(
        "{path} cannot be written: {error}. It is as it was. {remedy}; or make the change below by hand, and reload with: kill -HUP, or \
         systemctl reload mailwicket"
    )
}

/// The changes there are, by their names. Each has a lock of its own that can be awaited: it is held while files are written.
#[derive(Clone, Default)]
pub struct Drafts(Arc<Mutex<VecDeque<Waiting>>>);

struct Waiting {
    name: String,
    until: Instant,
    draft: Arc<tokio::sync::Mutex<Draft>>,
}

impl Drafts {
    /// Keeps a change; its name, which nobody can guess.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn keep(&self, draft: Draft, now: Instant) -> io::Result<String> {
        let mut octets = [0; 16];
        getrandom::fill(&mut octets)?;
        let name: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let mut all = self.all();
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back(Waiting {
            name: name.clone(),
            until: now + LIFE,
            draft: Arc::new(tokio::sync::Mutex::new(draft)),
        });
        Ok(name)
    }

    /// A change, if there is one of that name (any more).
    pub fn find(&self, name: &str, now: Instant) -> Option<Arc<tokio::sync::Mutex<Draft>>> {
        let mut all = self.all();
        all.retain(|waiting| now < waiting.until);
        let found = all.iter().find(|waiting| waiting.name == name);
        found.map(|waiting| Arc::clone(&waiting.draft))
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        // Every change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_told_with_its_path_and_what_to_do() {
        let said = |kind: io::ErrorKind| not_written(Path::new("/etc/mw/mw.toml"), &kind.into());
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(
            denied.starts_with("/etc/mw/mw.toml cannot be written: "),
            "{denied}"
        );
        assert!(
            denied.contains("allowed to write in the folder /etc/mw;"),
            "{denied}"
        );
        let read_only = said(io::ErrorKind::ReadOnlyFilesystem);
        assert!(read_only.contains("ReadWritePaths=/etc/mw"), "{read_only}");
    }

    #[test]
    fn a_secret_is_not_left_behind_when_the_file_cannot_be_saved() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file) = (
            folder.path().join("mw.toml"),
            folder.path().join("a.secret"),
        );
        let text = "[provider.a]\n";
        std::fs::write(&path, text).unwrap();
        let proposal = Proposal {
            before: text.into(),
            after: "[provider.b]\n".into(),
            diff: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            config: None,
        };
        let secret = NewSecret::new(file.clone(), "s".to_owned().into());
        let mut draft = Draft::new("x".into(), "/", proposal, Some(secret));
        std::fs::write(&path, "# theirs\n").unwrap();
        assert!(draft.write(&path).is_err());
        assert!(!file.exists());
        std::fs::write(&path, text).unwrap();
        draft.write(&path).unwrap();
        assert!(file.exists());
        draft.take_back(&path).unwrap();
        assert!(!file.exists());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_secret_that_somebody_has_put_there_since_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file) = (
            folder.path().join("mw.toml"),
            folder.path().join("a.secret"),
        );
        for former in [None, Some("former")] {
            std::fs::write(&path, "[provider.a]\n").unwrap();
            if let Some(former) = former {
                std::fs::write(&file, former).unwrap();
            }
            let proposal = Proposal {
                before: "[provider.a]\n".into(),
                after: "[provider.b]\n".into(),
                diff: Vec::new(),
                problems: Vec::new(),
                warnings: Vec::new(),
                config: None,
            };
            let secret = NewSecret::new(file.clone(), "ours".to_owned().into());
            let mut draft = Draft::new("x".into(), "/", proposal, Some(secret));
            draft.write(&path).unwrap();
            std::fs::write(&file, "newer").unwrap();
            let refused = draft.take_back(&path).unwrap_err();
            assert!(refused.contains("another secret"), "{refused}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "newer");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "[provider.b]\n");

            std::fs::write(&file, "ours").unwrap();
            draft.take_back(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), former);
        }
    }

    #[test]
    fn only_so_many_changes_wait_and_not_for_ever() {
        let drafts = Drafts::default();
        let now = Instant::now();
        let keep = || {
            let proposal = Proposal {
                before: String::new(),
                after: String::new(),
                diff: Vec::new(),
                problems: Vec::new(),
                warnings: Vec::new(),
                config: None,
            };
            drafts
                .keep(Draft::new("x".into(), "/", proposal, None), now)
                .unwrap()
        };
        let names: Vec<_> = (0..=MOST).map(|_| keep()).collect();
        assert!(drafts.find(&names[0], now).is_none());
        assert!(drafts.find(&names[1], now).is_some());
        assert!(drafts.find(&names[1], now + LIFE).is_none());
    }
}
