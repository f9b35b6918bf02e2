//! SEARCH (RFC 3501 §6.4.4).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use mail_parser::{HeaderValue, MessageParser};

use super::command::Key;
use super::section::split;
use crate::demo::store::Entry;

/// A message and its number in the session.
pub(super) struct Candidate<'a> {
    pub(super) number: u32,
    pub(super) entry: &'a Entry,
    /// The largest number and the largest UID there are.
    pub(super) last: (u32, u32),
}

impl Candidate<'_> {
    pub(super) fn matches(&self, key: &Key) -> bool {
        let content = &self.entry.message.content;
        match key {
            Key::And(keys) => keys.iter().all(|key| self.matches(key)),
            Key::Or(one, other) => self.matches(one) || self.matches(other),
            Key::Not(key) => !self.matches(key),
            Key::All => true,
            Key::Nothing => false,
            Key::Set(set) => set.has(self.number, self.last.0),
            Key::Uid(set) => set.has(self.entry.uid, self.last.1),
            Key::Flag(flag) => self.has_flag(flag),
            Key::Larger(size) => content.len() > *size,
            Key::Smaller(size) => content.len() < *size,
            Key::Header { name, value } => self.has_field(name, value),
            Key::Body(text) => contains(split(content).1, text) || self.decoded_has(text),
            Key::Text(text) => contains(content, text) || self.decoded_has(text),
            Key::Day { sent, from, before } => {
                let day = if *sent { self.sent() } else { self.came() };
                day.is_some_and(|day| {
                    from.is_none_or(|from| day >= from) && before.is_none_or(|end| day < end)
                })
            }
        }
    }

    fn has_flag(&self, wanted: &str) -> bool {
        let mut flags = self.entry.flags.iter();
        flags.any(|flag| flag.eq_ignore_ascii_case(wanted))
    }

    fn came(&self) -> Option<Date> {
        let received = self.entry.message.received;
        Some(received.to_zoned(TimeZone::UTC).date())
    }

    /// The day in the Date field, in its own time zone.
    fn sent(&self) -> Option<Date> {
        let message = MessageParser::default().parse(&self.entry.message.content)?;
        let date = message.date()?;
        let (year, month, day) = (date.year, date.month, date.day);
        Date::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
        )
        .ok()
    }

    /// Whether a field of that name has the text, as it stands or decoded. An empty text asks whether the field is there.
    fn has_field(&self, name: &str, value: &str) -> bool {
        let content = &self.entry.message.content;
        let Some(message) = MessageParser::default().parse(content) else {
            return false;
        };
        let mut fields = message.headers().iter();
        fields.any(|field| {
            let range = field.offset_start as usize..field.offset_end as usize;
            let raw = content.get(range).unwrap_or_default();
            field.name().eq_ignore_ascii_case(name)
                && (contains(raw, value) || contains(words(&field.value).as_bytes(), value))
        })
    }

    fn decoded_has(&self, text: &str) -> bool {
        let Some(message) = MessageParser::default().parse(&self.entry.message.content) else {
            return false;
        };
        let mut bodies = message.text_bodies();
        bodies.any(|part| {
            let body = part.text_contents();
            body.is_some_and(|body| contains(body.as_bytes(), text))
        })
    }
}

/// The decoded words of a field.
fn words(value: &HeaderValue<'_>) -> String {
    match value {
        HeaderValue::Text(text) => text.to_string(),
        HeaderValue::TextList(list) => list.join(" "),
        HeaderValue::Address(people) => {
            let one = |addr: &mail_parser::Addr<'_>| {
                let name = addr.name.as_deref().unwrap_or_default();
                format!("{name} {}", addr.address.as_deref().unwrap_or_default())
            };
            people.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// Without regard to the case of letters.
fn contains(text: &[u8], wanted: &str) -> bool {
    let text = String::from_utf8_lossy(text).to_lowercase();
    text.contains(&wanted.to_lowercase())
}
