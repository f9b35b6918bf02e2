//! What an edit changes, line by line, without a secret in it.

use std::ops::Range;

use similar::{ChangeTag, TextDiff};
use toml::de::DeTable;

use super::super::mask;

/// Lines round a change that are shown as well.
const AROUND: usize = 3;

/// What stands for a secret.
const SECRET: &str = "«secret»";

/// What stands for a secret that is not in the other text.
const CHANGED: &str = "«changed»";

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It stays.
    Same,
    /// It goes.
    Less,
    /// It is new.
    More,
    /// Lines are left out here.
    Gap,
}

impl Sign {
    /// As it stands before the line in a unified diff.
    pub const fn mark(self) -> char {
        match self {
            Self::Same => ' ',
            Self::Less => '-',
            Self::More => '+',
            Self::Gap => '@',
        }
    }
}

/// One line of the difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// What happens to it.
    pub sign: Sign,
    /// Its number in the new text; that in the old one if it goes, or 0 for a gap.
    pub number: usize,
    /// The line without its newline and secrets.
    pub text: String,
}

/// The difference, with some lines round each change.
pub(super) fn diff(before: &str, after: &str) -> Vec<DiffLine> {
    let (old, new) = (Masked::of(before), Masked::of(after));
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(AROUND) {
        if !lines.is_empty() {
            lines.push(DiffLine {
                sign: Sign::Gap,
                number: 0,
                text: String::new(),
            });
        }
        for change in group
            .iter()
            .flat_map(|operation| diff.iter_changes(operation))
        {
            let (sign, at, text, other) = match change.tag() {
                ChangeTag::Equal => (Sign::Same, change.new_index(), &new, &new),
                ChangeTag::Delete => (Sign::Less, change.old_index(), &old, &new),
                ChangeTag::Insert => (Sign::More, change.new_index(), &new, &old),
            };
            let at = at.unwrap_or_default();
            lines.push(DiffLine {
                sign,
                number: at + 1,
                text: text.line(at, other),
            });
        }
    }
    lines
}

/// The lines of a text without its secrets.
pub fn masked_lines(text: &str) -> Vec<String> {
    let masked = Masked::of(text);
    let lines = 0..masked.lines.len();
    lines.map(|at| masked.line(at, &masked)).collect()
}

/// A text, the places of its secrets, and its lines.
struct Masked<'t> {
    text: &'t str,
    secrets: Vec<Range<usize>>,
    lines: Vec<Range<usize>>,
}

impl<'t> Masked<'t> {
    fn of(text: &'t str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut secrets = mask::secrets(text, document.get_ref(), !errors.is_empty());
        secrets.sort_by_key(|span| (span.start, span.end));
        let mut end = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            end += line.len();
            end - line.len()..end
        });
        Self {
            lines: lines.collect(),
            text,
            secrets,
        }
    }

    fn line(&self, at: usize, other: &Self) -> String {
        let Some(line) = self.lines.get(at) else {
            return String::new();
        };
        let mut out = String::new();
        let mut from = line.start;
        let within = |secret: &&Range<usize>| secret.start < line.end && secret.end > line.start;
        for secret in self.secrets.iter().filter(within) {
            let start = secret.start.max(from);
            out.push_str(&self.text[from..start]);
            if secret.end > from {
                out.push_str(if other.holds(&self.text[secret.clone()]) {
                    SECRET
                } else {
                    CHANGED
                });
            }
            from = secret.end.clamp(from, line.end);
        }
        out.push_str(&self.text[from..line.end]);
        out.trim_end_matches(['\r', '\n']).to_owned()
    }

    fn holds(&self, secret: &str) -> bool {
        let mut all = self.secrets.iter();
        all.any(|own| &self.text[own.clone()] == secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> Vec<String> {
        let lines = diff(before, after);
        let show = |line: &DiffLine| format!("{}{}", line.sign.mark(), line.text);
        lines.iter().map(show).collect()
    }

    #[test]
    fn a_change_is_shown_with_lines_round_it() {
        let before = "a = 1\r\nb = 2\r\n# c\r\nd = 4\r\ne = 5\r\nf = 6\r\n";
        let after = before.replace("e = 5", "e = 7");
        assert_eq!(
            shown(before, &after),
            [" b = 2", " # c", " d = 4", "-e = 5", "+e = 7", " f = 6"]
        );
        assert!(shown(before, before).is_empty());
    }

    #[test]
    fn a_secret_is_never_shown_and_a_new_one_is_told() {
        let before = "[provider.a]\nclient-secret = \"hunter2\" # old\ntenant = 't'\n";
        let after = before.replace("hunter2", "hunter3").replace("'t'", "'u'");
        assert_eq!(
            shown(before, &after),
            [
                " [provider.a]",
                "-client-secret = «changed» # old",
                "-tenant = 't'",
                "+client-secret = «changed» # old",
                "+tenant = 'u'"
            ]
        );
        let after = before.replace("# old", "# older");
        let lines = shown(before, &after);
        assert!(
            lines.contains(&"+client-secret = «secret» # older".to_owned()),
            "{lines:?}"
        );
        let commented = "# client-secret = 'hunter2'\na = 1\n";
        assert_eq!(
            shown(commented, &commented.replace("a = 1", "a = 2")),
            [" # client-secret =«secret»", "-a = 1", "+a = 2"]
        );
        let key =
            "[provider.a]\ncertificate = { file = 'a', key = \"\"\"\n-BEGIN\nhunter2\n\"\"\" }\n";
        let lines = shown(key, &key.replace("BEGIN", "BEGUN")).concat();
        assert!(
            !lines.contains("hunter2") && !lines.contains("BEG"),
            "{lines}"
        );
    }
}
