//! A list: elements that stay keep their place, their spelling and their comments.

use std::ops::Range;

use similar::{Algorithm, capture_diff_slices};
use toml_edit::{Array, Value};

use super::key::{newline, render, splice};
use super::{line_end, line_start};

/// The text with another list in place of `old`; `None` if there are comments in it that belong to no line of an element.
pub(super) fn replace(text: &str, old: &Array, new: &Array) -> Option<String> {
    let span = old.span()?;
    if let Some(rows) = rows(text, old) {
        return by_rows(text, old, rows, new);
    }
    if has_comment(text, old)? {
        return None;
    }
    Some(splice(text, span, &render(&Value::Array(new.clone()))))
}

/// An element that has a line to itself.
struct Row {
    /// What stands between its line and the one before.
    gap: String,
    /// Its line up to the comma.
    head: String,
    /// The rest of the line, with its comment.
    rest: String,
    has_comma: bool,
    line: Range<usize>,
}

/// The lines of the elements, if each has one to itself.
fn rows(text: &str, array: &Array) -> Option<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for value in array {
        let mut row = row(text, value.span()?)?;
        if let Some(before) = rows.last() {
            row.gap = text.get(before.line.end..row.line.start)?.to_owned();
        }
        rows.push(row);
    }
    (!rows.is_empty()).then_some(rows)
}

fn row(text: &str, value: Range<usize>) -> Option<Row> {
    let line = line_start(text, value.start)..line_end(text, value.end);
    let after = &text[value.end..line.end];
    let (space, rest) = after.split_at(after.len() - after.trim_start_matches([' ', '\t']).len());
    let (head, rest, has_comma) = match rest.strip_prefix(',') {
        Some(rest) => (value.end + space.len(), rest, true),
        None => (value.end, after, false),
    };
    let is_alone = text[line.start..value.start].trim().is_empty();
    let is_end = rest.ends_with('\n') && matches!(rest.trim().chars().next(), None | Some('#'));
    (is_alone && is_end).then(|| Row {
        gap: String::new(),
        head: text[line.start..head].to_owned(),
        rest: rest.to_owned(),
        has_comma,
        line,
    })
}

fn by_rows(text: &str, old: &Array, rows: Vec<Row>, new: &Array) -> Option<String> {
    let (first, last) = (rows.first()?, rows.last()?);
    let place = first.line.start..last.line.end;
    let head = first.head.as_str();
    let margin = &head[..head.len() - head.trim_start().len()].to_owned();
    let newline = newline(text, first.line.end);
    let ends_with_comma = last.has_comma;
    let fresh: Vec<Row> = new
        .iter()
        .map(|value| Row {
            gap: String::new(),
            head: format!("{margin}{}", render(value)),
            rest: newline.to_owned(),
            has_comma: true,
            line: 0..0,
        })
        .collect();
    let spans = old.iter().filter_map(Value::span);
    let old = meanings(spans.map(|span| text[span].to_owned()));
    let mut out = Vec::new();
    let mut gap = String::new();
    for operation in capture_diff_slices(Algorithm::Myers, &old, &meanings(new.iter().map(render)))
    {
        let (tag, olds, news) = operation.as_tag_tuple();
        let stays = tag == similar::DiffTag::Equal;
        for row in &rows[olds] {
            gap.push_str(&row.gap);
            if stays {
                out.push((std::mem::take(&mut gap), row));
            }
        }
        if !stays {
            out.extend(fresh[news].iter().map(|row| (String::new(), row)));
        }
    }
    let count = out.len();
    let mut body = String::new();
    for (index, (gap, row)) in out.into_iter().enumerate() {
        let comma = if index + 1 < count || ends_with_comma {
            ","
        } else {
            ""
        };
        body.extend([&gap, row.head.as_str(), comma, row.rest.as_str()]);
    }
    Some(splice(text, place, &(body + &gap)))
}

/// What elements say, however they are spelt.
fn meanings(elements: impl Iterator<Item = String>) -> Vec<String> {
    let plain = |element: String| {
        let text = format!("v = {element}");
        let table = text.parse::<toml::Table>();
        table.map_or(text, |table| table.to_string())
    };
    elements.map(plain).collect()
}

/// Whether there is a comment in the list, outside of its elements.
fn has_comment(text: &str, array: &Array) -> Option<bool> {
    let span = array.span()?;
    let mut from = span.start;
    for value in array {
        let value = value.span()?;
        if text[from..value.start].contains('#') {
            return Some(true);
        }
        from = value.end;
    }
    Some(text[from..span.end].contains('#'))
}
