//! What can be changed, and the promise that nothing else is: the edited text must mean exactly what was intended.

use std::fmt;

use toml_edit::Value;

use super::key::{self, Step, knotted, remove, render, set};
use super::{EditError, parse, plain, table};

/// A table that is edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `[provider.NAME]`
    Provider(String),
    /// A `[[listener]]`, counted from 0.
    Listener(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(name) => write!(f, "provider `{name}`"),
            Self::Listener(at) => write!(f, "listener number {}", at + 1),
        }
    }
}

impl Place {
    fn path(&self) -> Vec<Step> {
        match self {
            Self::Provider(name) => vec![Step::from("provider"), Step::from(name.as_str())],
            Self::Listener(at) => vec![Step::from("listener"), Step::Index(*at)],
        }
    }

    fn key(&self, key: &[String]) -> Vec<Step> {
        let keys = key.iter().map(|key| Step::from(key.as_str()));
        self.path().into_iter().chain(keys).collect()
    }
}

/// One change of the file. A key is the way from its table: `["imap", "port"]`.
#[derive(Clone)]
pub enum Edit {
    /// A key gets a value; one that means the same already stays as it is written.
    Set(Place, Vec<String>, Value),
    /// A key goes, if it is there.
    Unset(Place, Vec<String>),
    /// A new provider.
    AddProvider(String, Vec<(String, Value)>),
    /// A new listener, after the others.
    AddListener(Vec<(String, Value)>),
    /// A table goes, with its comment.
    Remove(Place),
}

impl Edit {
    /// The text after this change.
    ///
    /// # Errors
    /// If the text cannot be edited, or not without harm to what stands round it.
    pub fn apply(&self, text: &str) -> Result<String, EditError> {
        let mut meaning = toml::Value::Table(plain(text)?);
        let (edited, way) = match self {
            Self::Set(place, key, value) => {
                must_be_there(&meaning, place)?;
                let (way, wanted) = (place.key(key), meaning_of(value)?);
                if at(&meaning, &way) == Some(&wanted) {
                    return Ok(text.to_owned());
                }
                put(&mut meaning, &way, wanted).ok_or_else(|| knotted(&way))?;
                (set(text, &way, value)?, way)
            }
            Self::Unset(place, key) => {
                must_be_there(&meaning, place)?;
                let way = place.key(key);
                take(&mut meaning, &way);
                (remove(text, &way)?, way)
            }
            Self::AddProvider(name, entries) => {
                let place = Place::Provider(name.clone());
                if at(&meaning, &place.path()).is_some() {
                    return Err(EditError::Taken { name: name.clone() });
                }
                let way = place.path();
                put(&mut meaning, &way, table_of(entries)?).ok_or_else(|| knotted(&way))?;
                (table::add_provider(text, name, entries)?, way)
            }
            Self::AddListener(entries) => {
                let way = vec![Step::from("listener")];
                let wanted = table_of(entries)?;
                push(&mut meaning, wanted).ok_or_else(|| knotted(&way))?;
                (table::add_listener(text, entries)?, way)
            }
            Self::Remove(place) => {
                must_be_there(&meaning, place)?;
                take(&mut meaning, &place.path());
                (remove(text, &place.path())?, place.path())
            }
        };
        let result = edited.parse::<toml::Table>().map(toml::Value::Table);
        let same = |result: toml::Value| without_empty(result) == without_empty(meaning);
        match result.map(same) {
            Ok(true) => Ok(edited),
            _ => Err(knotted(&way)),
        }
    }
}

/// The value of a key as it is written; `None` if it is not there, or is a table.
///
/// # Errors
/// If the text is not TOML.
pub fn value_at(text: &str, place: &Place, key: &[&str]) -> Result<Option<toml::Value>, EditError> {
    let key: Vec<String> = key.iter().map(|&key| key.to_owned()).collect();
    let meaning = toml::Value::Table(plain(text)?);
    Ok(at(&meaning, &place.key(&key)).cloned())
}

/// Which key of which provider or listener stands at an octet of the text; no key for the heading of the table.
pub(super) fn key_at(text: &str, octet: usize) -> Option<(Place, Vec<String>)> {
    let document = parse(text).ok()?;
    key::locate(document.as_table(), octet)
}

fn must_be_there(meaning: &toml::Value, place: &Place) -> Result<(), EditError> {
    at(meaning, &place.path())
        .map(drop)
        .ok_or_else(|| EditError::NoPlace {
            place: place.clone(),
        })
}

// ---- the same on plain values ----

fn meaning_of(value: &Value) -> Result<toml::Value, EditError> {
    let text = format!("v = {}", render(value));
    plain(&text)?.remove("v").ok_or(EditError::Syntax)
}

fn table_of(entries: &[(String, Value)]) -> Result<toml::Value, EditError> {
    let pairs = entries
        .iter()
        .map(|(key, value)| Ok((key.clone(), meaning_of(value)?)));
    let table: toml::Table = pairs.collect::<Result<_, EditError>>()?;
    Ok(toml::Value::Table(table))
}

fn at<'v>(value: &'v toml::Value, way: &[Step]) -> Option<&'v toml::Value> {
    way.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key.as_str()),
        Step::Index(at) => value.get(*at),
    })
}

fn put(value: &mut toml::Value, way: &[Step], new: toml::Value) -> Option<()> {
    match way.split_first() {
        None => *value = new,
        Some((Step::Key(key), rest)) => {
            let empty = || toml::Value::Table(toml::Table::new());
            let within = value.as_table_mut()?.entry(key).or_insert_with(empty);
            put(within, rest, new)?;
        }
        Some((Step::Index(at), rest)) => put(value.get_mut(*at)?, rest, new)?,
    }
    Some(())
}

fn push(meaning: &mut toml::Value, new: toml::Value) -> Option<()> {
    let empty = || toml::Value::Array(Vec::new());
    let list = meaning.as_table_mut()?.entry("listener");
    list.or_insert_with(empty).as_array_mut()?.push(new);
    Some(())
}

fn take(value: &mut toml::Value, way: &[Step]) -> Option<()> {
    match way.split_first()? {
        (Step::Key(key), []) => drop(value.as_table_mut()?.remove(key)),
        (Step::Index(at), []) => {
            let list = value.as_array_mut()?;
            (*at < list.len()).then(|| list.remove(*at))?;
        }
        (Step::Key(key), rest) => take(value.get_mut(key.as_str())?, rest)?,
        (Step::Index(at), rest) => take(value.get_mut(*at)?, rest)?,
    }
    Some(())
}

/// Empty tables, and an empty list of listeners, say as much as none.
fn without_empty(value: toml::Value) -> toml::Value {
    let is_empty = |value: &toml::Value| match value {
        toml::Value::Table(table) => table.is_empty(),
        toml::Value::Array(list) => list.is_empty(),
        _ => false,
    };
    match value {
        toml::Value::Table(table) => {
            let each = table
                .into_iter()
                .map(|(key, value)| (key, without_empty(value)));
            toml::Value::Table(each.filter(|(_, value)| !is_empty(value)).collect())
        }
        toml::Value::Array(list) => {
            toml::Value::Array(list.into_iter().map(without_empty).collect())
        }
        other => other,
    }
}
