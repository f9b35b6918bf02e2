//! A provider or a listener more.

use toml_edit::{InlineTable, Item, Key, Table, Value};

use super::key::{Step, insert_into_list, render, set};
use super::{EditError, extent, insert_block, paragraph_end, parse};

/// The keys of a new table, in the order in which they are written.
pub type Entries = [(String, Value)];

/// The text with one more provider, after the others or else at the end.
pub(super) fn add_provider(text: &str, name: &str, entries: &Entries) -> Result<String, EditError> {
    let document = parse(text)?;
    let block = || {
        block(
            &format!("[provider.{}]", Key::new(name).display_repr()),
            entries,
        )
    };
    let at = match document.get("provider") {
        Some(Item::Value(_)) => {
            let path = [Step::from("provider"), Step::from(name)];
            return set(text, &path, &Value::InlineTable(inline(entries)));
        }
        Some(Item::Table(providers)) => last_of(providers),
        _ => None,
    };
    let at = at.map_or(text.len(), |end| paragraph_end(text, end));
    Ok(insert_block(text, at, block()))
}

/// Where the last table with a heading of its own ends, unless all of them are dotted keys.
fn last_of(providers: &Table) -> Option<usize> {
    let tables = providers.iter().filter_map(|(_, item)| item.as_table());
    let headed = tables.filter(|table| !table.is_dotted());
    let own = (!providers.is_dotted() && !providers.is_implicit()).then_some(providers);
    let ends = headed.chain(own).filter_map(extent).map(|span| span.end);
    ends.max()
}

/// The text with one more listener, after the others or else at the end.
pub(super) fn add_listener(text: &str, entries: &Entries) -> Result<String, EditError> {
    let document = parse(text)?;
    let end = match document.get("listener") {
        Some(Item::Value(_)) => {
            return insert_into_list(text, "listener", Value::InlineTable(inline(entries)));
        }
        Some(Item::ArrayOfTables(listeners)) => {
            let ends = listeners.iter().filter_map(extent).map(|span| span.end);
            ends.max()
        }
        _ => None,
    };
    let at = end.map_or(text.len(), |end| paragraph_end(text, end));
    Ok(insert_block(text, at, block("[[listener]]", entries)))
}

fn block(heading: &str, entries: &Entries) -> String {
    let line = |(key, value): &(String, Value)| {
        format!("{} = {}\n", Key::new(key).display_repr(), render(value))
    };
    let lines: String = entries.iter().map(line).collect();
    format!("{heading}\n{lines}")
}

fn inline(entries: &Entries) -> InlineTable {
    let pairs = entries
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()));
    InlineTable::from_iter(pairs)
}
