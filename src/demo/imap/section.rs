//! Parts of a message by number (RFC 3501 §6.4.5).

use mail_parser::{MessageParser, MessagePart, PartType};

use super::command::{Section, What};

/// How deep messages within messages are followed.
const MAX_NESTED: usize = 8;

/// What a section holds; `None` if the message has no such part.
pub(super) fn section(raw: &[u8], section: &Section) -> Option<Vec<u8>> {
    let octets = whole(raw, section)?;
    Some(match section.partial {
        None => octets,
        Some((from, count)) => octets.into_iter().skip(from).take(count).collect(),
    })
}

fn whole(raw: &[u8], section: &Section) -> Option<Vec<u8>> {
    if section.parts.is_empty() {
        return Some(match &section.what {
            What::Whole => raw.to_vec(),
            what => of_message(raw, what)?,
        });
    }
    let part = find(raw, &section.parts, MAX_NESTED)?;
    Some(match &section.what {
        What::Whole => part.body.to_vec(),
        What::Mime => part.head.to_vec(),
        what if part.is_message => of_message(part.body, what)?,
        _ => return None,
    })
}

/// What concerns a whole message, or one that is a part.
fn of_message(raw: &[u8], what: &What) -> Option<Vec<u8>> {
    let (head, body) = split(raw);
    match what {
        What::Header => Some(head.to_vec()),
        What::Text => Some(body.to_vec()),
        What::Fields { names, invert } => Some(fields(head, names, *invert)),
        What::Whole | What::Mime => None,
    }
}

/// The head with its empty line, and the body.
pub(super) fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let end = match raw.starts_with(b"\r\n") {
        true => 2,
        false => memchr::memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at + 4),
    };
    raw.split_at(end)
}

/// The fields of these names, or the others, with the empty line at the end.
fn fields(head: &[u8], names: &[String], invert: bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut keeps = false;
    for line in head.split_inclusive(|octet| *octet == b'\n') {
        if line == b"\r\n" {
            break;
        }
        // A continuation belongs to the field before.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|octet| *octet == b':').next();
            let name = name.unwrap_or_default().trim_ascii_end();
            let is_named = |wanted: &String| wanted.as_bytes().eq_ignore_ascii_case(name);
            keeps = names.iter().any(is_named) != invert;
        }
        if keeps {
            kept.extend_from_slice(line);
        }
    }
    kept.extend_from_slice(b"\r\n");
    kept
}

struct Found<'a> {
    head: &'a [u8],
    body: &'a [u8],
    is_message: bool,
}

fn find<'a>(raw: &'a [u8], numbers: &[usize], nested: usize) -> Option<Found<'a>> {
    let message = MessageParser::default().parse(raw)?;
    let mut part = message.parts.first()?;
    let mut numbers = numbers.iter().copied();
    let mut is_root = true;
    while let Some(number) = numbers.next() {
        part = match &part.body {
            PartType::Multipart(parts) => {
                let id = *parts.get(number.checked_sub(1)?)?;
                message.parts.get(id as usize)?
            }
            // A message without parts is its own part 1.
            _ if is_root && number == 1 => part,
            PartType::Message(_) if !is_root => {
                let rest: Vec<usize> = [number].into_iter().chain(numbers).collect();
                return find(body(raw, part)?, &rest, nested.checked_sub(1)?);
            }
            _ => return None,
        };
        is_root = false;
    }
    Some(Found {
        head: raw.get(part.offset_header as usize..part.offset_body as usize)?,
        body: body(raw, part)?,
        is_message: matches!(part.body, PartType::Message(_)),
    })
}

/// The body of a part as it stands in the message.
pub(super) fn body<'a>(raw: &'a [u8], part: &MessagePart<'_>) -> Option<&'a [u8]> {
    raw.get(part.offset_body as usize..part.offset_end as usize)
}
