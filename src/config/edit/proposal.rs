//! A change before it is made: what the file would say, what would be wrong with it, and what differs.

use std::path::Path;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use super::change::key_at;
use super::diff::{DiffLine, diff};
use super::{Edit, EditError, Place};
use crate::config::{Config, Problem, Surroundings, warnings};

/// What a change would do. Without `Debug`: the texts hold what stands in the file, secrets among them.
pub struct Proposal {
    /// The text that was changed.
    pub before: String,
    /// The text that would be written.
    pub after: String,
    /// What differs.
    pub diff: Vec<DiffLine>,
    /// Everything that `mailwicket check` would find wrong.
    pub problems: Vec<Remark>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// The new configuration, if nothing is wrong with it.
    pub config: Option<Config>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The problem with its line and a caret, as text.
    pub shown: String,
    /// The table and key it is about; no key if it is about the table.
    pub about: Option<(Place, Vec<String>)>,
}

/// Makes the changes, checks the result as `mailwicket check` does, and compares. Nothing is written.
///
/// # Errors
/// If a change cannot be made.
pub fn propose(
    text: &str,
    edits: &[Edit],
    path: &Path,
    around: &Surroundings,
    today: Date,
) -> Result<Proposal, EditError> {
    let after = edits
        .iter()
        .try_fold(text.to_owned(), |text, edit| edit.apply(&text))?;
    let diff = diff(text, &after);
    let checked = Config::parse_in(&after, path, around);
    let problems = match &checked {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .each()
            .map(|(problem, shown)| remark(&after, problem, shown))
            .collect(),
    };
    let config = checked.ok();
    Ok(Proposal {
        before: text.to_owned(),
        diff,
        problems,
        warnings: config
            .as_ref()
            .map(|config| warnings(config, today))
            .unwrap_or_default(),
        config,
        after,
    })
}

fn remark(text: &str, problem: &Problem, shown: String) -> Remark {
    let place = problem.span.as_ref().map(|span| span.start);
    Remark {
        message: problem.message.clone(),
        hint: problem.hint.clone(),
        shown,
        about: place.and_then(|octet| key_at(text, octet)),
    }
}

/// What tells a text from any other, for a form that must not overwrite what somebody else wrote.
pub fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().map(|octet| format!("{octet:02x}")).collect()
}
