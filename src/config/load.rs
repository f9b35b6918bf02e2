//! From a file to the checked configuration, or to everything that is wrong in it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::{Config, Problem, Problems, Surroundings, check, mask, sift};

/// Octets of a configuration file: tens of thousands of accounts. More is not a configuration.
const MAX_FILE: u64 = 16 * 1024 * 1024;

impl Config {
    /// Reads and checks a file, in the environment of this process.
    ///
    /// # Errors
    /// If it cannot be read, and with everything that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::load_in(path, &Surroundings::of_process())
    }

    /// The same in other surroundings, such as with a `--state-dir` from the command line.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn load_in(path: &Path, around: &Surroundings) -> Result<Self, LoadError> {
        Ok(Self::parse_in(&read_text(path)?, path, around)?)
    }

    /// Checks a text, in the environment of this process; `path` is for messages, and for the relative paths in it.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Problems> {
        Self::parse_in(text, path, &Surroundings::of_process())
    }

    /// The same in other surroundings.
    ///
    /// # Errors
    /// See [`Config::parse`].
    pub fn parse_in(text: &str, path: &Path, around: &Surroundings) -> Result<Self, Problems> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let problems =
            |list, broken| Problems::new(path, mask::mask(text, document.get_ref(), broken), list);
        if !errors.is_empty() {
            // What follows from a syntax error is not worth telling: the rest is checked once the file can be read.
            let list = errors.iter().map(syntax_problem).collect();
            return Err(problems(list, true));
        }
        check::check(sift::sift(&document), path, around).map_err(|list| problems(list, false))
    }
}

fn syntax_problem(error: &toml::de::Error) -> Problem {
    match error.span() {
        Some(span) => Problem::at(span, error.message()),
        None => Problem::of_file(error.message()),
    }
}

/// The text of a configuration file.
///
/// # Errors
/// If it cannot be read, is far too long, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, LoadError> {
    let fail = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut octets = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut octets)
        .map_err(fail)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(LoadError::TooLong {
            path: path.to_owned(),
        });
    }
    String::from_utf8(octets).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        LoadError::NotText {
            path: path.to_owned(),
            line: before.iter().filter(|&&octet| octet == b'\n').count() + 1,
        }
    })
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is longer than any configuration.
    #[error("{} is longer than {} MiB; it is no configuration", path.display(), MAX_FILE >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8.
    #[error("{}:{line}: this line is not UTF-8 text; save the file as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Invalid(#[from] Problems),
}
