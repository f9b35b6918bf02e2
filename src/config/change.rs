//! A change of the configuration file: read, edited, checked as `check` does, and only then written.

use std::path::Path;

use super::edit::{self, EditError};
use super::{Config, LoadError, Problems, Surroundings, read_text};

/// Why the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It cannot be read, or cannot be edited before what is wrong in it is mended.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It cannot be edited so, or not be replaced.
    #[error(transparent)]
    Edit(EditError),
    /// As it would be it would not pass the check.
    #[error("nothing was written, for the file as it would be has problems:\n{0}")]
    Unfit(Problems),
}

/// Edits the file at `path`; the configuration that it is then.
///
/// # Errors
/// See [`ChangeError`].
pub fn change(
    path: &Path,
    around: &Surroundings,
    edit: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<Config, ChangeError> {
    let old = read_text(path)?;
    let check = |text: &str| Config::parse_in(text, path, around);
    let new = match edit(&old) {
        Ok(new) => new,
        // The check says where the syntax errors are.
        Err(EditError::Syntax) => {
            let problems = check(&old).err().map(LoadError::Invalid);
            return Err(problems.map_or(ChangeError::Edit(EditError::Syntax), ChangeError::Load));
        }
        Err(error) => return Err(ChangeError::Edit(error)),
    };
    let config = check(&new).map_err(ChangeError::Unfit)?;
    edit::save(path, &old, &new).map_err(ChangeError::Edit)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_passes_the_check_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailwicket.toml");
        let around = Surroundings::default().with_state_dir(Some(folder.path()));
        let change = |text: &'static str| change(&path, &around, |_| Ok(text.to_owned()));
        fs::write(&path, "# mine\n").unwrap();
        assert!(matches!(change("[nonsense]\n"), Err(ChangeError::Unfit(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\n");
        change("# yours\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# yours\n");
    }

    #[test]
    fn a_file_with_syntax_errors_is_told_with_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailwicket.toml");
        fs::write(&path, "state-dir = \n").unwrap();
        let changed = change(&path, &Surroundings::default(), |_| Err(EditError::Syntax));
        let words = changed.unwrap_err().to_string();
        assert!(words.contains("mailwicket.toml:1:"), "{words}");
    }
}
