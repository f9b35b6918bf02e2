//! What the configuration depends on besides its file: the environment and the command line.
//!
//! It is read once, here, and handed on, so that checking stays a function of its arguments.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::egress::Environment;

/// The folder that every user's own folder is followed by.
const NAME: &str = "mailwicket";

/// The system's configuration, looked at last.
const SYSTEM_CONFIG: &str = "/etc/mailwicket/mailwicket.toml";

/// The environment and the command line, as far as they matter. Empty variables count as absent.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `$MAILWICKET_CONFIG`.
    pub config: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, which systemd sets; the first of several.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, or `~/.local/state`.
    pub state_home: Option<PathBuf>,
    /// What `HTTPS_PROXY` and its like say.
    pub egress: Arc<Environment>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let home = absolute("HOME");
        let in_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        Self {
            state_dir: None,
            config: variable("MAILWICKET_CONFIG"),
            config_home: absolute("XDG_CONFIG_HOME").or_else(|| in_home(".config")),
            state_directory: variable("STATE_DIRECTORY").map(first_of_list),
            state_home: absolute("XDG_STATE_HOME").or_else(|| in_home(".local/state")),
            egress: Arc::new(Environment::read(|name| env::var(name).ok())),
        }
    }

    /// The same with `--state-dir`, relative to the current folder.
    #[must_use]
    pub fn with_state_dir(mut self, given: Option<&Path>) -> Self {
        self.state_dir =
            given.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        self
    }

    /// Where the state lives; `written` is the file's own `state-dir`. `None` if nothing says so.
    pub fn state_dir(&self, written: Option<PathBuf>) -> Option<PathBuf> {
        let home = || self.state_home.as_ref().map(|home| home.join(NAME));
        self.state_dir
            .clone()
            .or(written)
            .or_else(|| self.state_directory.clone())
            .or_else(home)
    }

    /// The configuration file: `given` on the command line, else the variable, else the first that exists.
    pub fn find(&self, given: Option<&Path>) -> Result<PathBuf, NotFound> {
        if let Some(path) = given.or(self.config.as_deref()) {
            return Ok(path.to_owned()); // a named file that is missing is an error, not a reason to look elsewhere
        }
        let user = self
            .config_home
            .as_ref()
            .map(|home| home.join(NAME).join("mailwicket.toml"));
        let looked: Vec<_> = user
            .into_iter()
            .chain([PathBuf::from(SYSTEM_CONFIG)])
            .collect();
        let found = looked.iter().find(|path| path.exists()).cloned();
        found.ok_or(NotFound { looked })
    }
}

/// The configuration file of this process. See [`Surroundings::find`].
pub fn find(given: Option<&Path>) -> Result<PathBuf, NotFound> {
    Surroundings::of_process().find(given)
}

/// There is no configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no configuration file; looked for {}. Name one with --config FILE or $MAILWICKET_CONFIG, let `mailwicket setup` write one, or see `mailwicket demo`, which needs none",
    list(looked)
)]
pub struct NotFound {
    /// Where it was looked for, in order.
    pub looked: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(" and ")
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The XDG rules: a relative path is invalid and ignored.
fn absolute(name: &str) -> Option<PathBuf> {
    variable(name).filter(|path| path.is_absolute())
}

fn first_of_list(paths: PathBuf) -> PathBuf {
    env::split_paths(&paths).next().unwrap_or(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<PathBuf> {
        Some(PathBuf::from(text))
    }

    #[test]
    fn the_state_directory_is_taken_from_the_nearest_to_the_user() {
        let mut around = Surroundings {
            state_dir: path("/cli"),
            state_directory: path("/systemd"),
            state_home: path("/home/a/.local/state"),
            ..Default::default()
        };
        assert_eq!(around.state_dir(path("/file")), path("/cli"));
        around.state_dir = None;
        assert_eq!(around.state_dir(path("/file")), path("/file"));
        assert_eq!(around.state_dir(None), path("/systemd"));
        around.state_directory = None;
        assert_eq!(
            around.state_dir(None),
            path("/home/a/.local/state/mailwicket")
        );
        assert_eq!(Surroundings::default().state_dir(None), None);
    }

    #[test]
    fn the_file_is_looked_for_in_order_and_the_error_says_where() {
        let home = tempfile::tempdir().unwrap();
        let mut around = Surroundings {
            config: path("/variable"),
            config_home: Some(home.path().to_owned()),
            ..Default::default()
        };
        assert_eq!(around.find(Some(Path::new("/cli"))), Ok("/cli".into()));
        assert_eq!(around.find(None), Ok("/variable".into()));
        around.config = None;
        let file = home.path().join("mailwicket/mailwicket.toml");
        if !Path::new(SYSTEM_CONFIG).exists() {
            let error = around.find(None).unwrap_err().to_string();
            assert!(
                error.contains(file.to_str().unwrap()) && error.contains(SYSTEM_CONFIG),
                "{error}"
            );
        }
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(around.find(None), Ok(file));
    }
}
