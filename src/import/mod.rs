//! Configurations of other programs, turned into ours. Pure: text in, text and a report out.

pub mod emailproxy;
mod ini;

use std::fmt::{self, Display, Formatter};

use zeroize::Zeroizing;

/// What came of a conversion. It may hold client secrets, so it has no `Debug`.
pub struct Import {
    /// The configuration, with comments.
    pub toml: Zeroizing<String>,
    /// What became of every line, in their order. Holds no secret.
    pub notes: Vec<Note>,
}

/// What became of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line of the source, from 1.
    pub line: usize,
    /// What it is, as the source names it.
    pub subject: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a thing of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the new file as this.
    Became(String),
    /// It is not needed, for this reason.
    NotNeeded(String),
    /// A person has to do this.
    ToDo(String),
}

impl Note {
    /// Whether a person has to do something.
    pub fn is_to_do(&self) -> bool {
        matches!(self.outcome, Outcome::ToDo(_))
    }
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let subject = printable(&self.subject);
        match &self.outcome {
            Outcome::Became(words) => write!(f, "{subject} -> {}", printable(words)),
            Outcome::NotNeeded(words) => write!(f, "{subject}: not needed: {}", printable(words)),
            Outcome::ToDo(words) => write!(f, "{subject}: TO DO: {}", printable(words)),
        }
    }
}

/// A text of somebody's file for a terminal, which no control character of it drives.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
