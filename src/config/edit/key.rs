//! One key: where it stands in the text, however its tables are spelt, and how it is set or removed there.
//!
//! Edits are cuts and insertions at places that the parser told, so everything else keeps its octets.

use std::ops::Range;

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Key, Table, TableLike, Value};

use super::{EditError, Place, cut, extent, line_end, line_start, list, parse};

/// One step from a table to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

#[derive(Clone, Copy)]
pub(super) enum Node<'d> {
    Table(&'d Table),
    Tables(&'d ArrayOfTables),
    Value(&'d Value),
}

impl<'d> Node<'d> {
    fn of(item: &'d Item) -> Option<Self> {
        match item {
            Item::None => None,
            Item::Table(table) => Some(Self::Table(table)),
            Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
            Item::Value(value) => Some(Self::Value(value)),
        }
    }

    pub(super) fn table(self) -> Option<&'d dyn TableLike> {
        match self {
            Self::Table(table) => Some(table),
            Self::Value(Value::InlineTable(table)) => Some(table),
            Self::Tables(_) | Self::Value(_) => None,
        }
    }

    fn is_dotted(self) -> bool {
        self.table().is_some_and(TableLike::is_dotted)
    }
}

/// What holds entries: the lines below a heading (or at the top), braces, or brackets.
#[derive(Clone, Copy)]
enum Body<'d> {
    Lines(&'d Table),
    Braces(&'d InlineTable),
    Brackets,
}

/// What is there of a path.
pub(super) struct Found<'d> {
    pub(super) node: Node<'d>,
    /// How many steps of the path are there.
    pub(super) depth: usize,
    /// What holds the entries of the node.
    body: Body<'d>,
    /// What the keys of its entries begin with there.
    dotted: Vec<&'d Key>,
    /// What holds the node itself.
    holder: Body<'d>,
    key: Option<&'d Key>,
}

impl<'d> Found<'d> {
    fn root(table: &'d Table) -> Self {
        Self {
            node: Node::Table(table),
            depth: 0,
            body: Body::Lines(table),
            dotted: Vec::new(),
            holder: Body::Lines(table),
            key: None,
        }
    }

    fn step(&self, step: &Step) -> Option<Self> {
        let (node, key) = match (self.node, step) {
            (Node::Tables(tables), Step::Index(at)) => (Node::Table(tables.get(*at)?), None),
            (Node::Value(Value::Array(array)), Step::Index(at)) => {
                (Node::Value(array.get(*at)?), None)
            }
            (node, Step::Key(key)) => {
                let (key, item) = node.table()?.get_key_value(key)?;
                (Node::of(item)?, Some(key))
            }
            (_, Step::Index(_)) => return None,
        };
        let holder = match self.node {
            Node::Value(Value::Array(_)) => Body::Brackets,
            _ => self.body,
        };
        let mut dotted = self.dotted.clone();
        let body = match node {
            node if node.is_dotted() => {
                dotted.extend(key);
                self.body
            }
            Node::Table(table) => {
                dotted.clear();
                Body::Lines(table)
            }
            Node::Value(Value::InlineTable(table)) => {
                dotted.clear();
                Body::Braces(table)
            }
            Node::Tables(_) | Node::Value(_) => self.body,
        };
        Some(Self {
            node,
            depth: self.depth + 1,
            body,
            dotted,
            holder,
            key,
        })
    }
}

/// Goes along a path as far as it is there.
pub(super) fn walk<'d>(root: &'d Table, path: &[Step]) -> Found<'d> {
    let mut found = Found::root(root);
    for step in path {
        match found.step(step) {
            Some(next) => found = next,
            None => break,
        }
    }
    found
}

/// The text with a value at the path, in place of the one that is there.
pub(super) fn set(text: &str, path: &[Step], value: &Value) -> Result<String, EditError> {
    let document = parse(text)?;
    let found = walk(document.as_table(), path);
    let rest = &path[found.depth..];
    if !rest.is_empty() {
        return insert(text, &found, rest, value).ok_or_else(|| knotted(path));
    }
    match (found.node, value) {
        (node, Value::InlineTable(new)) if node.table().is_some() => {
            let old: Vec<String> = keys(node);
            set_each(text, path, &old, new)
        }
        (Node::Value(Value::Array(old)), Value::Array(new)) => {
            list::replace(text, old, new).ok_or_else(|| knotted(path))
        }
        (Node::Value(old), _) if !found.node.is_dotted() => {
            let span = old.span().ok_or_else(|| knotted(path))?;
            Ok(splice(text, span, &render(value)))
        }
        (Node::Table(_) | Node::Tables(_) | Node::Value(_), _) => Err(knotted(path)),
    }
}

/// Key by key, so that what stays the same stays as it is written.
fn set_each(
    text: &str,
    path: &[Step],
    old: &[String],
    new: &InlineTable,
) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for (key, value) in new {
        text = set(&text, &child(path, key), value)?;
    }
    for key in old.iter().filter(|key| !new.contains_key(key)) {
        text = remove(&text, &child(path, key))?;
    }
    Ok(text)
}

/// The text without what is at the path.
pub(super) fn remove(text: &str, path: &[Step]) -> Result<String, EditError> {
    let document = parse(text)?;
    let found = walk(document.as_table(), path);
    if found.depth < path.len() {
        return Ok(text.to_owned());
    }
    match found.node {
        Node::Table(table) if !table.is_implicit() => {
            let span = extent(table).ok_or_else(|| knotted(path))?;
            Ok(cut(text, span))
        }
        // It has no place of its own: it is there as long as something is in it.
        node if node.is_dotted() || matches!(node, Node::Table(_)) => {
            keys(node).iter().try_fold(text.to_owned(), |text, key| {
                remove(&text, &child(path, key))
            })
        }
        Node::Value(value) => remove_value(text, path, &found, value).ok_or_else(|| knotted(path)),
        Node::Tables(_) | Node::Table(_) => Err(knotted(path)),
    }
}

fn remove_value(text: &str, path: &[Step], found: &Found<'_>, value: &Value) -> Option<String> {
    match found.holder {
        Body::Lines(_) => {
            let key = found.key?.span()?;
            Some(cut_lines(text, key.start, value.span()?.end))
        }
        Body::Braces(table) => cut_entry(text, table, value),
        Body::Brackets => {
            let document = parse(text).ok()?;
            let (Some(Step::Index(at)), before) = (path.last(), &path[..path.len() - 1]) else {
                return None;
            };
            let Node::Value(Value::Array(array)) = walk(document.as_table(), before).node else {
                return None;
            };
            let mut new = own(text, array)?;
            new.remove(*at);
            list::replace(text, array, &new)
        }
    }
}

/// Without the lines from one octet to another.
fn cut_lines(text: &str, from: usize, to: usize) -> String {
    let (mut start, end) = (line_start(text, from), line_end(text, to));
    if !text[..end].ends_with('\n') {
        // The last line has no newline, so the one before it gives its own away.
        let before = &text[..start];
        let before = before.strip_suffix('\n').unwrap_or(before);
        start = before.strip_suffix('\r').unwrap_or(before).len();
    }
    splice(text, start..end, "")
}

/// Without one entry of an inline table. Comments in the way are nobody's to take away.
fn cut_entry(text: &str, table: &InlineTable, value: &Value) -> Option<String> {
    let entries: Vec<(Vec<&Key>, &Value)> = table.get_values();
    let span = value.span()?;
    let at = entries
        .iter()
        .position(|(_, other)| other.span().is_some_and(|other| other == span))?;
    let own = space_before(&entries[at])?;
    let (range, space) = match (at, entries.get(1)) {
        (0, None) => (own.start..span.end, own),
        (0, Some(next)) => {
            let next = space_before(next)?;
            (own.end..next.end, span.end..next.end)
        }
        _ => (own.start.checked_sub(1)?..span.end, own),
    };
    (!text[space].contains('#')).then(|| splice(text, range, ""))
}

/// What stands between the comma or brace before an entry of an inline table and its key.
fn space_before((keys, _): &(Vec<&Key>, &Value)) -> Option<Range<usize>> {
    keys.last()?.leaf_decor().prefix()?.span()
}

/// A new element of a list of tables that is written in brackets.
pub(super) fn insert_into_list(text: &str, key: &str, value: Value) -> Result<String, EditError> {
    let document = parse(text)?;
    let path = [Step::from(key)];
    let Node::Value(Value::Array(old)) = walk(document.as_table(), &path).node else {
        return Err(knotted(&path));
    };
    let with_one_more = || {
        let mut new = own(text, old)?;
        new.push(value);
        list::replace(text, old, &new)
    };
    with_one_more().ok_or_else(|| knotted(&path))
}

/// Which key of which provider or listener stands at an octet.
pub(super) fn locate(root: &Table, octet: usize) -> Option<(Place, Vec<String>)> {
    let providers = root.get("provider").and_then(Node::of);
    let providers = providers.and_then(Node::table).into_iter();
    let providers = providers.flat_map(|table| table.iter());
    let providers = providers
        .filter_map(|(name, item)| Some((Place::Provider(name.to_owned()), Node::of(item)?)));
    let listeners = match root.get("listener").and_then(Node::of) {
        Some(Node::Tables(tables)) => tables.iter().map(Node::Table).collect(),
        Some(Node::Value(Value::Array(array))) => array.iter().map(Node::Value).collect(),
        _ => Vec::new(),
    };
    let listeners = listeners.into_iter().enumerate();
    let listeners = listeners.map(|(at, node)| (Place::Listener(at), node));
    let mut all = providers.chain(listeners);
    all.find_map(|(place, node)| Some((place, key_within(node, octet)?)))
}

fn key_within(node: Node<'_>, octet: usize) -> Option<Vec<String>> {
    let table = node.table()?;
    for (key, item) in table.iter() {
        let own = table.key(key).and_then(Key::span);
        let within = Node::of(item).and_then(|node| key_within(node, octet));
        if let Some(mut rest) = within {
            rest.insert(0, key.to_owned());
            return Some(rest);
        }
        let end = item.span().map(|span| span.end);
        if own.is_some_and(|own| (own.start..end.unwrap_or(own.end)).contains(&octet)) {
            return Some(vec![key.to_owned()]);
        }
    }
    let heading = match node {
        Node::Table(table) => table.span(),
        Node::Value(value) => value.span(),
        Node::Tables(_) => None,
    };
    heading
        .is_some_and(|span| span.contains(&octet))
        .then(Vec::new)
}

/// A new entry, after the others.
fn insert(text: &str, found: &Found<'_>, rest: &[Step], value: &Value) -> Option<String> {
    let (Step::Key(key), deeper) = rest.split_first()? else {
        return None;
    };
    let value = deeper.iter().rev().try_fold(value.clone(), |value, step| {
        let Step::Key(key) = step else { return None };
        Some(Value::InlineTable(InlineTable::from_iter([(
            key.as_str(),
            value,
        )])))
    })?;
    let own = Key::new(key.as_str());
    let names = found.dotted.iter().copied().chain([&own]);
    let names: Vec<_> = names.map(Key::display_repr).collect();
    let entry = format!("{} = {}", names.join("."), render(&value));
    let last = found
        .node
        .table()?
        .get_values()
        .into_iter()
        .filter_map(|(keys, value)| Some((keys.last()?.span()?.start, value.span()?.end)))
        .max_by_key(|(_, end)| *end);
    match (found.body, last) {
        (Body::Lines(_), Some((key, end))) => Some(insert_line(text, key, end, &entry)),
        (Body::Lines(table), None) if found.dotted.is_empty() => {
            let heading = table.span()?;
            Some(insert_line(text, heading.start, heading.end, &entry))
        }
        (Body::Braces(_), Some((_, end))) => Some(splice(text, end..end, &format!(", {entry}"))),
        (Body::Braces(table), None) if found.dotted.is_empty() => {
            let at = table.span()?.start + 1;
            let closes = text[at..].starts_with('}');
            let entry = format!(" {entry}{}", if closes { " " } else { "" });
            Some(splice(text, at..at, &entry))
        }
        (Body::Lines(_) | Body::Braces(_) | Body::Brackets, _) => None,
    }
}

/// A line more after the one that ends what begins at `from`, as far from the margin as that.
fn insert_line(text: &str, from: usize, to: usize, entry: &str) -> String {
    let line = &text[line_start(text, from)..];
    let margin = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    let at = line_end(text, to);
    let newline = newline(text, at);
    let line = match text[..at].ends_with('\n') {
        true => format!("{margin}{entry}{newline}"),
        false => format!("{newline}{margin}{entry}"),
    };
    splice(text, at..at, &line)
}

/// The newline that lines round this place end with.
pub(super) fn newline(text: &str, at: usize) -> &'static str {
    let before = &text[..at];
    let is_crlf = match before.ends_with('\n') {
        true => before.ends_with("\r\n"),
        false => text.contains("\r\n"),
    };
    if is_crlf { "\r\n" } else { "\n" }
}

fn keys(node: Node<'_>) -> Vec<String> {
    let table = node.table().into_iter();
    let keys = table.flat_map(|table| table.iter().map(|(key, _)| key.to_owned()));
    keys.collect()
}

fn child(path: &[Step], key: &str) -> Vec<Step> {
    path.iter().cloned().chain([Step::from(key)]).collect()
}

/// A list of the text by itself, to be changed.
fn own(text: &str, array: &Array) -> Option<Array> {
    let value: Value = text.get(array.span()?)?.parse().ok()?;
    value.as_array().cloned()
}

/// A value as it is written, without what is round it, and on one line if it is new.
pub(super) fn render(value: &Value) -> String {
    let mut value = value.clone().decorated("", "");
    on_one_line(&mut value);
    value.to_string()
}

/// A new text of many lines would have newlines of its own, whatever those of the file are.
fn on_one_line(value: &mut Value) {
    match value {
        Value::String(text) if text.as_repr().is_none() => {
            let escaped = serde_json::to_string(text.value()).unwrap_or_default();
            let escaped = escaped.replace('\u{7f}', "\\u007F"); // the one that JSON lets pass
            let is_plain = !text.value().contains(char::is_control);
            match escaped.parse() {
                Ok(escaped) if !is_plain => *value = escaped,
                _ => {}
            }
        }
        Value::Array(list) => list.iter_mut().for_each(on_one_line),
        Value::InlineTable(table) => table.iter_mut().for_each(|(_, value)| on_one_line(value)),
        _ => {}
    }
}

pub(super) fn splice(text: &str, range: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..range.start], &text[range.end..])
}

pub(super) fn knotted(path: &[Step]) -> EditError {
    let words: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(at) => (at + 1).to_string(),
        })
        .collect();
    EditError::Knotted {
        key: words.join("."),
    }
}
