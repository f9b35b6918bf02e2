//! From text to [`shape::File`], with every unknown key and every wrong type found at once.
//!
//! serde stops at the first error. So each value is tried alone, in an otherwise empty file: what fails is a problem and is left
//! out, what remains is the file that `check` sees. It works because no key of the shape is required.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_spanned::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::problem::Problem;
use super::shape;

/// How deep the file is looked into; the shape's own depth is 5. What lies deeper is tried as a whole.
const MAX_DEPTH: usize = 8;

/// How unlike a word may be to what it was perhaps meant to be (0: unlike, 1: equal).
const SIMILAR: f64 = 0.75;

/// What came of the text.
pub struct Sifted {
    /// What is fit to be checked.
    pub file: shape::File,
    /// The problems so far.
    pub problems: Vec<Problem>,
    /// What was left out, so that nobody reports it as missing.
    pub dropped: Dropped,
}

/// The keys that are in the text, perhaps misspelt, but were left out; each with the start of its table's place.
#[derive(Debug, Default)]
pub struct Dropped(BTreeSet<(usize, String)>);

impl Dropped {
    /// Whether anything was left out of the table that stands at `table`.
    pub fn any(&self, table: &Range<usize>) -> bool {
        let mut following = self.0.range((table.start, String::new())..);
        following
            .next()
            .is_some_and(|(start, _)| *start == table.start)
    }

    /// Whether `key` was left out of the table that stands at `table`.
    pub fn contains(&self, table: &Range<usize>, key: &str) -> bool {
        self.0.contains(&(table.start, key.to_owned()))
    }
}

/// Sifts a document.
pub fn sift(document: &Spanned<DeTable<'_>>) -> Sifted {
    let mut sieve = Sieve {
        path: Vec::new(),
        problems: Vec::new(),
        dropped: Dropped::default(),
    };
    let kept = sieve.table(document.get_ref(), &document.span());
    let file = read(Spanned::new(document.span(), kept)).unwrap_or_else(|problem| {
        // Never seen: each part was read alone. If it happens, it is told rather than hidden.
        sieve.problems.push(problem.reworded());
        shape::File::default()
    });
    sieve.problems.dedup();
    Sifted {
        file,
        problems: sieve.problems,
        dropped: sieve.dropped,
    }
}

type Value<'i> = Spanned<DeValue<'i>>;

/// One step from the document towards a value.
enum Step<'i> {
    Key(Spanned<DeString<'i>>, Range<usize>),
    Item(Range<usize>),
}

struct Sieve<'i> {
    path: Vec<Step<'i>>,
    problems: Vec<Problem>,
    dropped: Dropped,
}

impl<'i> Sieve<'i> {
    fn table(&mut self, table: &DeTable<'i>, span: &Range<usize>) -> DeTable<'i> {
        let mut kept = DeTable::new();
        for (key, value) in table {
            self.path.push(Step::Key(key.clone(), span.clone()));
            if let Some(value) = self.value(value) {
                kept.insert(key.clone(), value);
            }
            self.path.pop();
        }
        kept
    }

    fn array(&mut self, array: &DeArray<'i>, span: &Range<usize>) -> DeArray<'i> {
        self.path.push(Step::Item(span.clone()));
        let kept = array.iter().filter_map(|item| self.value(item)).collect();
        self.path.pop();
        kept
    }

    /// The value without its faulty parts; `None` if what is left has no place here.
    fn value(&mut self, value: &Value<'i>) -> Option<Value<'i>> {
        let span = value.span();
        let kept = match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() && self.may_descend() => {
                DeValue::Table(self.table(table, &span))
            }
            DeValue::Array(array) if !array.is_empty() && self.may_descend() => {
                DeValue::Array(self.array(array, &span))
            }
            _ => return self.leaf(value),
        };
        let kept = Spanned::new(span, kept);
        // An emptied table stays where the shape takes one, so that others may still refer to it.
        if read(self.alone(kept.clone())).is_err() {
            self.drop_last_key();
            return None;
        }
        Some(kept)
    }

    fn may_descend(&self) -> bool {
        self.path.len() < MAX_DEPTH
    }

    /// The value, if the shape takes it where it stands.
    fn leaf(&mut self, value: &Value<'i>) -> Option<Value<'i>> {
        match read(self.alone(value.clone())) {
            Ok(_) => Some(value.clone()),
            Err(refusal) => {
                self.drop_last_key();
                if let Some(meant) = refusal.meant() {
                    self.drop_name(meant);
                }
                self.problems.push(refusal.reworded());
                None
            }
        }
    }

    /// A file with nothing but this value.
    fn alone(&self, value: Value<'i>) -> Spanned<DeTable<'i>> {
        let mut value = value;
        for step in self.path.iter().rev() {
            value = match step {
                Step::Key(key, span) => {
                    let mut table = DeTable::new();
                    table.insert(key.clone(), value);
                    Spanned::new(span.clone(), DeValue::Table(table))
                }
                Step::Item(span) => {
                    let mut array = DeArray::default();
                    array.push(value);
                    Spanned::new(span.clone(), DeValue::Array(array))
                }
            };
        }
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Spanned::new(span, table),
            _ => Spanned::new(span, DeTable::new()),
        }
    }

    fn drop_last_key(&mut self) {
        if let Some(Step::Key(key, span)) = self.path.last() {
            self.dropped
                .0
                .insert((span.start, key.get_ref().to_string()));
        }
    }

    fn drop_name(&mut self, name: String) {
        if let Some(Step::Key(_, span)) = self.path.last() {
            self.dropped.0.insert((span.start, name));
        }
    }
}

fn read(table: Spanned<DeTable<'_>>) -> Result<shape::File, Refusal> {
    shape::File::deserialize(table.into_deserializer()).map_err(|error| Refusal {
        span: error.span().unwrap_or(0..0),
        message: error.message().to_owned(),
    })
}

/// serde's word on a value.
struct Refusal {
    span: Range<usize>,
    message: String,
}

impl Refusal {
    /// In our words, and without the value itself: it may be a secret.
    fn reworded(self) -> Problem {
        let Some((what, expected)) = self.message.split_once(", expected ") else {
            return match self.message.strip_prefix("unknown field ") {
                Some(rest) => Problem::at(self.span, format!("unknown key {}", first_quoted(rest))),
                None => Problem::at(self.span, self.message),
            };
        };
        if let Some(key) = what.strip_prefix("unknown field ") {
            let hint = self.suggestion(key, expected, "known keys here");
            return Problem::at(self.span, format!("unknown key {key}")).hint(hint);
        }
        if let Some(word) = what.strip_prefix("unknown variant ") {
            let hint = self.suggestion(word, expected, "possible here");
            return Problem::at(self.span, format!("unknown value {word}")).hint(hint);
        }
        let found = what.split_once(": ").map_or(what, |(_, found)| kind(found));
        Problem::at(self.span, format!("expected {expected}, found {found}"))
    }

    fn suggestion(&self, word: &str, expected: &str, intro: &str) -> String {
        let known = quoted(expected);
        match nearest(word.trim_matches('`'), known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("{intro}: {}", known.join(", ")),
        }
    }

    /// The key that a misspelt key was probably meant to be.
    fn meant(&self) -> Option<String> {
        let (key, expected) = self
            .message
            .strip_prefix("unknown field ")?
            .split_once(", expected ")?;
        nearest(key.trim_matches('`'), quoted(expected)).map(str::to_owned)
    }
}

/// The kind of a value, from serde's words for it: ``integer `5` `` is "an integer".
fn kind(found: &str) -> &str {
    match found.split(' ').next().unwrap_or(found) {
        "string" => "a string",
        "integer" => "an integer",
        "floating" => "a number with a fraction",
        "boolean" => "true or false",
        "map" => "a table",
        "sequence" => "a list",
        _ => "something else",
    }
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn first_quoted(text: &str) -> &str {
    text.split(',').next().unwrap_or(text)
}

/// The known word that is most like `word`, if any is like it at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness > SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<(String, String, String)> {
        let document = DeTable::parse(text).unwrap();
        sift(&document)
            .problems
            .into_iter()
            .map(|p| {
                (
                    text[p.span.unwrap()].to_owned(),
                    p.message,
                    p.hint.unwrap_or_default(),
                )
            })
            .collect()
    }

    #[test]
    fn every_unknown_key_is_found_with_its_likely_meaning() {
        let found = problems(
            "stat-dir = 'x'\nbogus = 1\n[provider.a]\nclient_id = 'x'\nimap = { hots = 'x', prot = 1 }\n",
        );
        let places: Vec<_> = found.iter().map(|p| p.0.as_str()).collect();
        assert_eq!(places, ["bogus", "client_id", "hots", "prot", "stat-dir"]);
        assert_eq!(found[1].1, "unknown key `client_id`");
        assert_eq!(found[1].2, "did you mean `client-id`?");
        assert_eq!(found[2].2, "did you mean `host`?");
        assert!(
            found[0].2.starts_with("known keys here: state-dir, "),
            "{}",
            found[0].2
        );
    }

    #[test]
    fn every_wrong_type_is_found_and_no_value_is_repeated() {
        let text = "state-dir = 5\n[provider.a]\nclient-secret = 123456\nscopes = ['x', 7]\nimap = 'h'\n[[listener]]\nlisten = [true]\nprotocol = 'imapp'\n[account]\naddress = 'a'\n";
        let found = problems(text);
        let all: Vec<_> = found.iter().map(|p| format!("{}: {}", p.0, p.1)).collect();
        let has = |part: &str| assert!(all.iter().any(|m| m.contains(part)), "{part} in {all:#?}");
        has("5: expected a string, found an integer");
        has("123456: expected a string, or a table { file = … }");
        has("7: expected a string, found an integer");
        has("'h': expected a table like { host");
        has("true: expected a string, found true or false");
        has("'imapp': unknown value `imapp`");
        has("expected a list of tables; write its heading in double brackets");
        assert!(found.iter().all(|p| !p.1.contains("123456")));
    }

    #[test]
    fn what_is_right_remains_beside_what_is_wrong() {
        let document = DeTable::parse(
            "[[account]]\naddress = 'a@b'\nprovider = 1\n[[account]]\naddress = 'c@d'",
        )
        .unwrap();
        let sifted = sift(&document);
        assert_eq!(sifted.file.account.len(), 2);
        let first = &sifted.file.account[0];
        assert!(sifted.dropped.contains(&first.span(), "provider"));
        assert!(!sifted.dropped.contains(&first.span(), "address"));
    }
}
