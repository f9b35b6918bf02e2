//! A key of the file as a field of a form: what is written, how it is asked for, and what changes.

use std::collections::HashMap;

use maud::{Markup, html};
use toml_edit::{Array, Value};

use crate::config::edit::{Edit, Place};
use crate::config::preset::PRESETS;

/// Some keys of a table that belong together.
pub struct Section {
    pub legend: &'static str,
    pub entries: &'static [Entry],
}

/// One key.
pub struct Entry {
    /// The way from the table to it.
    pub key: &'static [&'static str],
    pub label: &'static str,
    pub kind: Kind,
    pub hint: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Date,
    Flag,
    /// A list; one to a line.
    Lines,
    /// One of these words.
    Choice(&'static [&'static str]),
    Preset,
    /// The name of a provider in the file.
    Provider,
    /// What is typed goes to a file and never comes back.
    Secret,
}

/// What the file says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Absent,
    Text(String),
    /// It is not shown or not to be changed here; why.
    Elsewhere(String),
}

impl Entry {
    /// The name of its field.
    pub fn name(&self) -> String {
        self.key.join(".")
    }

    /// What `table` says about it.
    pub fn written(&self, table: Option<&toml::Value>) -> Written {
        let mut value = table;
        for key in self.key {
            value = match value {
                None => return Written::Absent,
                Some(toml::Value::Table(table)) => match table.get(*key) {
                    None if *key == "file" => return of_source(table),
                    found => found,
                },
                Some(_) => {
                    return Written::Elsewhere(
                        "It stands in the configuration file itself; change it there.".into(),
                    );
                }
            };
        }
        match (value, self.kind) {
            (None, _) => Written::Absent,
            (Some(value), Kind::Secret) => Written::Elsewhere(place_of_secret(value)),
            (Some(toml::Value::String(text)), _) if may_hold_password(self.key, text) => {
                Written::Elsewhere(
                    "There is a password in it, so it is not shown; change it in the file.".into(),
                )
            }
            (Some(toml::Value::String(text)), _) => Written::Text(text.clone()),
            (Some(toml::Value::Array(list)), Kind::Lines) => {
                let lines = list.iter().filter_map(toml::Value::as_str);
                Written::Text(lines.collect::<Vec<_>>().join("\n"))
            }
            (Some(toml::Value::Array(_) | toml::Value::Table(_)), _) => Written::Elsewhere(
                "It is written as a table or a list; change it in the file.".into(),
            ),
            (Some(value), _) => Written::Text(value.to_string()),
        }
    }

    /// What was typed as a value of the file; what does not fit is for the check to refuse.
    fn value(&self, text: &str) -> Value {
        let number = text.parse::<i64>().ok().map(Value::from);
        let date = text.parse::<toml_edit::Datetime>().ok().map(Value::from);
        let flag = text.parse::<bool>().ok().map(Value::from);
        let special = match self.kind {
            Kind::Number => number,
            Kind::Date => date,
            Kind::Flag => flag,
            Kind::Lines => Some(Value::Array(words(text).collect::<Array>())),
            _ => None,
        };
        special.unwrap_or_else(|| Value::from(text))
    }

    /// Whether two texts say the same.
    fn is_same(&self, a: &str, b: &str) -> bool {
        match self.kind {
            Kind::Lines => words(a).eq(words(b)),
            _ => a == b,
        }
    }

    fn options(&self, providers: &[String]) -> Option<Vec<(String, String)>> {
        let plain = |word: &&str| ((*word).to_owned(), (*word).to_owned());
        Some(match self.kind {
            Kind::Choice(words) => words.iter().map(plain).collect(),
            Kind::Flag => vec![plain(&"true"), plain(&"false")],
            Kind::Preset => PRESETS
                .iter()
                .map(|preset| (preset.name.to_owned(), preset.title.to_owned()))
                .collect(),
            Kind::Provider => providers
                .iter()
                .map(|name| (name.clone(), name.clone()))
                .collect(),
            _ => return None,
        })
    }
}

/// No word of a list has a space or a comma in it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |letter: char| letter.is_whitespace() || letter == ',';
    text.split(is_between).filter(|word| !word.is_empty())
}

fn of_source(table: &toml::Table) -> Written {
    let sources = ["env", "credential", "command"];
    match sources.iter().any(|source| table.contains_key(*source)) {
        true => Written::Elsewhere(place_of_secret(&toml::Value::Table(table.clone()))),
        false => Written::Absent,
    }
}

/// Where a secret is, never what.
fn place_of_secret(value: &toml::Value) -> String {
    let named = |key: &str| value.get(key).and_then(toml::Value::as_str);
    if let Some(file) = named("file") {
        format!("It is in the file {file}.")
    } else if let Some(name) = named("env") {
        format!("It is in the environment variable {name}.")
    } else if let Some(name) = named("credential") {
        format!("It is the systemd credential {name}.")
    } else if value.get("command").is_some() {
        "A command prints it.".into()
    } else {
        "It stands in the configuration file itself.".into()
    }
}

fn may_hold_password(key: &[&str], text: &str) -> bool {
    text.contains('@') && (text.contains("://") || key == ["egress"])
}

/// What a form shows: what was typed, or what the file says; and what is wrong with it.
pub struct Shown<'a> {
    pub table: Option<&'a toml::Value>,
    /// The names of the providers in the file.
    pub providers: &'a [String],
    /// What was typed before, by the names of the fields.
    pub typed: Option<&'a HashMap<String, String>>,
    pub faults: &'a HashMap<String, String>,
}

/// The fields of some sections.
pub fn show(sections: &[Section], shown: &Shown<'_>) -> Markup {
    html! {
        @for section in sections {
            fieldset {
                legend { (section.legend) }
                @for entry in section.entries { (one(entry, shown)) }
            }
        }
    }
}

fn one(entry: &Entry, shown: &Shown<'_>) -> Markup {
    let name = entry.name();
    let written = entry.written(shown.table);
    let typed = shown.typed.and_then(|typed| typed.get(&name)).cloned();
    let (note, value) = match &written {
        Written::Absent => ("", typed.unwrap_or_default()),
        Written::Text(text) => ("", typed.unwrap_or_else(|| text.clone())),
        Written::Elsewhere(why) => (why.as_str(), String::new()),
    };
    let fault = shown.faults.get(&name).map_or("", String::as_str);
    let about = format!("about-{name}");
    let is_fixed = !note.is_empty() && entry.kind != Kind::Secret;
    let invalid = (!fault.is_empty()).then_some("true");
    html! {
        div.field {
            label for=(name) { (entry.label) }
            @if is_fixed {
                input #(name) type="text" disabled value="" aria-describedby=(about);
            } @else if let Some(options) = entry.options(shown.providers) {
                select #(name) name=(name) aria-invalid=[invalid] aria-describedby=(about) {
                    option value="" { "–" }
                    @for (word, title) in &options {
                        option value=(word) selected[*word == value] { (title) }
                    }
                    // What the check will refuse is shown all the same.
                    @if !value.is_empty() && !options.iter().any(|(word, _)| *word == value) {
                        option value=(value) selected { (value) }
                    }
                }
            } @else if entry.kind == Kind::Lines {
                textarea #(name) name=(name) rows="3" autocomplete="off" spellcheck="false" aria-invalid=[invalid] aria-describedby=(about) {
                    // A browser takes the first newline away.
                    "\n" (value)
                }
            } @else {
                input #(name) type=(kind(entry.kind)) name=(name) value=[(entry.kind != Kind::Secret && !value.is_empty()).then_some(&value)]
                    autocomplete=(if entry.kind == Kind::Secret { "new-password" } else { "off" }) spellcheck="false"
                    aria-invalid=[invalid] aria-describedby=(about);
            }
            div #(about) {
                @if !fault.is_empty() { p.fault { (fault) } }
                @if !note.is_empty() { p.hint { (note) } }
                p.hint { code { (name) } " " (entry.hint) }
            }
            @if entry.kind == Kind::Secret && !note.is_empty() {
                @let removal = removal(&name);
                div.check {
                    input #(removal) type="checkbox" name=(removal) value="yes";
                    label for=(removal) { "Take it out of the configuration" }
                }
            }
        }
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "number",
        Kind::Date => "date",
        Kind::Secret => "password",
        _ => "text",
    }
}

/// The name of the box that takes a secret out.
fn removal(name: &str) -> String {
    format!("{name}-off")
}

/// The changes that a form wants in a table that is there, or that is new and empty. Secrets are not among them, but for their removal.
pub fn changes(
    sections: &[Section],
    place: &Place,
    table: Option<&toml::Value>,
    typed: &HashMap<String, String>,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut emptied: Vec<&str> = Vec::new();
    for entry in sections.iter().flat_map(|section| section.entries) {
        let name = entry.name();
        let key = || entry.key.iter().map(|&key| key.to_owned()).collect();
        let old = match (entry.written(table), entry.kind) {
            (Written::Elsewhere(_), Kind::Secret) => {
                if typed.contains_key(&removal(&name)) {
                    edits.push(Edit::Unset(place.clone(), key()));
                }
                continue;
            }
            (Written::Elsewhere(_), _) | (_, Kind::Secret) => continue,
            (Written::Absent, _) => None,
            (Written::Text(text), _) => Some(text),
        };
        // A field that is not in the form changes nothing.
        let Some(new) = typed.get(&name).map(|text| text.trim()) else {
            continue;
        };
        match (&old, new) {
            (None, "") => {}
            (Some(_), "") => match entry.key {
                [group, _, ..] if is_emptied(sections, group, table, typed) => {
                    if !emptied.contains(group) {
                        emptied.push(group);
                        edits.push(Edit::Unset(place.clone(), vec![(*group).to_owned()]));
                    }
                }
                _ => edits.push(Edit::Unset(place.clone(), key())),
            },
            (Some(old), new) if entry.is_same(old, new) => {}
            (_, new) => edits.push(Edit::Set(place.clone(), key(), entry.value(new))),
        }
    }
    edits
}

/// Whether nothing is left in a table within the table, as far as the form knows its keys.
fn is_emptied(
    sections: &[Section],
    group: &str,
    table: Option<&toml::Value>,
    typed: &HashMap<String, String>,
) -> bool {
    let entries = sections.iter().flat_map(|section| section.entries);
    let mut within = entries.filter(|entry| entry.key.first() == Some(&group));
    within.all(|entry| {
        let is_blank = |name: &str| typed.get(name).is_none_or(|text| text.trim().is_empty());
        !matches!(entry.written(table), Written::Elsewhere(_)) && is_blank(&entry.name())
    })
}

/// The field that a problem is about, if there is one for it.
pub fn field_of(sections: &[Section], key: &[String], message: &str) -> Option<String> {
    let entries = || sections.iter().flat_map(|section| section.entries);
    let Some(first) = key.first() else {
        // It is about the table as a whole: the message names what is missing in it.
        let is_named = |entry: &&Entry| message.starts_with(&format!("`{}`", entry.name()));
        return entries().find(is_named).map(Entry::name);
    };
    let begins = |entry: &&Entry| entry.key.iter().zip(key).all(|(own, other)| own == other);
    let is_near = |entry: &&Entry| entry.key.first() == Some(&first.as_str());
    let found = entries().find(begins).or_else(|| entries().find(is_near));
    found.map(Entry::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: &[Section] = &[Section {
        legend: "All",
        entries: &[
            entry(&["tenant"], Kind::Text),
            entry(&["client-secret"], Kind::Secret),
            entry(&["scopes"], Kind::Lines),
            entry(&["imap", "host"], Kind::Text),
            entry(&["imap", "port"], Kind::Number),
            entry(&["certificate", "key", "file"], Kind::Text),
            entry(&["egress"], Kind::Text),
        ],
    }];

    const fn entry(key: &'static [&'static str], kind: Kind) -> Entry {
        Entry {
            key,
            label: "A label",
            kind,
            hint: "",
        }
    }

    const TABLE: &str = "tenant = 't'\nclient-secret = 'MARK'\nscopes = ['a', 'b']\nimap = { host = 'i', port = 1 }\n\
                         certificate = { file = 'x', key = { env = 'KEY' } }\negress = 'http://u:MARK@p:1'";

    fn changed(typed: &[(&str, &str)]) -> Vec<String> {
        let table: toml::Value = toml::Value::Table(TABLE.parse().unwrap());
        let typed = typed.iter();
        let typed = typed.map(|&(name, text)| (name.to_owned(), text.to_owned()));
        let place = Place::Provider("p".into());
        let edits = changes(SECTIONS, &place, Some(&table), &typed.collect());
        let say = |edit: &Edit| match edit {
            Edit::Set(_, key, value) => format!("{}={}", key.join("."), value.to_string().trim()),
            Edit::Unset(_, key) => format!("-{}", key.join(".")),
            _ => "another edit".to_owned(),
        };
        edits.iter().map(say).collect()
    }

    #[test]
    fn only_what_differs_is_changed() {
        assert!(changed(&[]).is_empty());
        let same = [
            ("tenant", " t "),
            ("scopes", "a\r\nb\r\n"),
            ("imap.port", "1"),
        ];
        assert!(changed(&same).is_empty());
        let other = [
            ("tenant", ""),
            ("scopes", "a, c"),
            ("imap.port", "2"),
            ("imap.host", "i"),
        ];
        assert_eq!(
            changed(&other),
            ["-tenant", "scopes=[\"a\", \"c\"]", "imap.port=2"]
        );
    }

    #[test]
    fn a_table_goes_when_nothing_is_left_in_it() {
        assert_eq!(changed(&[("imap.host", ""), ("imap.port", "")]), ["-imap"]);
        assert_eq!(
            changed(&[("imap.host", "i"), ("imap.port", "")]),
            ["-imap.port"]
        );
    }

    #[test]
    fn what_is_not_shown_is_not_changed_but_for_a_secret_that_is_to_go() {
        let typed = [
            ("client-secret", ""),
            ("certificate.key.file", ""),
            ("egress", ""),
        ];
        assert!(changed(&typed).is_empty());
        assert_eq!(changed(&[("client-secret-off", "yes")]), ["-client-secret"]);
    }

    #[test]
    fn no_secret_is_shown_and_every_field_has_its_label_and_words() {
        let table: toml::Value = toml::Value::Table(TABLE.parse().unwrap());
        let faults = HashMap::from([("tenant".to_owned(), "no such tenant".to_owned())]);
        let shown = Shown {
            table: Some(&table),
            providers: &[],
            typed: None,
            faults: &faults,
        };
        let page = show(SECTIONS, &shown).into_string();
        assert!(!page.contains("MARK"), "{page}");
        assert!(page.contains("environment variable KEY"), "{page}");
        assert!(
            page.contains("aria-invalid=\"true\" aria-describedby=\"about-tenant\""),
            "{page}"
        );
        for name in ["tenant", "imap.port", "scopes"] {
            assert!(page.contains(&format!("<label for=\"{name}\">")), "{page}");
            assert!(page.contains(&format!("id=\"{name}\"")), "{page}");
            assert!(
                page.contains(&format!("<div id=\"about-{name}\">")),
                "{page}"
            );
        }
    }

    #[test]
    fn a_problem_finds_its_field() {
        let key = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let field = |words: &[&str], message: &str| field_of(SECTIONS, &key(words), message);
        assert_eq!(field(&["imap", "port"], ""), Some("imap.port".into()));
        assert_eq!(field(&["imap"], ""), Some("imap.host".into()));
        assert_eq!(
            field(&["certificate", "key"], ""),
            Some("certificate.key.file".into())
        );
        assert_eq!(
            field(&[], "`tenant` is missing here"),
            Some("tenant".into())
        );
        assert_eq!(field(&["authorize-params"], ""), None);
    }
}
