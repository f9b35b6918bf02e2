//! IMAP commands (RFC 3501 §9), read from whole commands with their literals in place. Lenient where that harms nobody.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;

use super::command::{By, Command, Item, Key, LAST, Section, Set, What};
use crate::demo::store::Change;

/// How deep search keys may be nested.
const MAX_DEPTH: usize = 16;
/// Ranges, names or keys in one list.
const MAX_LIST: usize = 1000;
/// Items of a FETCH: each may be a whole message.
const MAX_ITEMS: usize = 32;

/// Splits the tag off: `tag SP command`.
pub(super) fn tag(octets: &[u8]) -> Option<(String, &[u8])> {
    let end = memchr::memchr(b' ', octets)?;
    let (tag, rest) = octets.split_at(end);
    let is_tag = |octet: &u8| octet.is_ascii_graphic() && !b"(){%*\"\\+".contains(octet);
    let fits = (1..=64).contains(&tag.len()) && tag.iter().all(is_tag);
    let tag = String::from_utf8(tag.to_vec()).ok()?;
    fits.then_some((tag, &rest[1..])) // it begins with the space
}

/// Reads a command; `None` if it is unknown or malformed.
pub(super) fn command(octets: &[u8]) -> Option<Command> {
    let mut cursor = Cursor(octets);
    let command = cursor.command()?;
    cursor.0.is_empty().then_some(command)
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn command(&mut self) -> Option<Command> {
        let word = self.atom()?.to_ascii_uppercase();
        Some(match &*word {
            "CAPABILITY" => Command::Capability,
            "NOOP" | "CHECK" => Command::Noop,
            "LOGOUT" => Command::Logout,
            "NAMESPACE" => Command::Namespace,
            "IDLE" => Command::Idle,
            "CLOSE" => Command::Close { expunge: true },
            "UNSELECT" => Command::Close { expunge: false },
            "EXPUNGE" => Command::Expunge(None),
            "ID" => self.skip(Command::Id),
            "LOGIN" => self.skip(Command::Login),
            "SUBSCRIBE" | "UNSUBSCRIBE" => self.skip(Command::Subscribe),
            "CREATE" | "DELETE" | "RENAME" => self.skip(Command::Arrange),
            "AUTHENTICATE" => self.authenticate()?,
            "SELECT" | "EXAMINE" => {
                let name = self.argument()?;
                let read_only = word == "EXAMINE";
                self.skip(Command::Select { name, read_only })
            }
            "STATUS" => {
                let name = self.argument()?;
                self.space()?;
                let items = self.list(|c| Some(c.atom()?.to_ascii_uppercase()))?;
                Command::Status { name, items }
            }
            "LIST" | "LSUB" | "XLIST" => self.folders(word == "LSUB")?,
            "APPEND" => self.append()?,
            "UID" => {
                self.space()?;
                let word = self.atom()?.to_ascii_uppercase();
                self.numbered(&word, By::Uid)?
            }
            word => self.numbered(word, By::Number)?,
        })
    }

    /// The commands that take numbers or UIDs.
    fn numbered(&mut self, word: &str, by: By) -> Option<Command> {
        self.space()?;
        if word == "SEARCH" {
            return self.search(by);
        }
        let set = self.set()?;
        if word == "EXPUNGE" && by == By::Uid {
            return Some(Command::Expunge(Some(set)));
        }
        self.space()?;
        Some(match word {
            "FETCH" => {
                let items = self.items()?;
                Command::Fetch { by, set, items }
            }
            "STORE" => self.store(by, set)?,
            "COPY" | "MOVE" => Command::Copy {
                by,
                set,
                name: self.astring()?,
                moves: word == "MOVE",
            },
            _ => return None,
        })
    }

    fn authenticate(&mut self) -> Option<Command> {
        self.space()?;
        let mechanism = self.atom()?.to_owned();
        let initial = self.eat(b' ').then(|| std::mem::take(&mut self.0).to_vec());
        Some(Command::Authenticate { mechanism, initial })
    }

    /// Options before and after (RFC 5258) are taken and not obeyed.
    fn folders(&mut self, subscribed: bool) -> Option<Command> {
        self.space()?;
        if self.0.starts_with(b"(") {
            self.list(|c| c.atom().map(drop))?;
            self.space()?;
        }
        let reference = self.astring()?;
        self.space()?;
        let pattern = match self.0.first()? {
            b'"' | b'{' => self.astring()?,
            _ => self.text(|octet| !b"(){ ".contains(&octet))?.to_owned(),
        };
        let pattern = format!("{reference}{pattern}");
        Some(self.skip(Command::List {
            pattern,
            subscribed,
        }))
    }

    fn append(&mut self) -> Option<Command> {
        let name = self.argument()?;
        self.space()?;
        let mut flags = BTreeSet::new();
        if self.0.starts_with(b"(") {
            flags = self.flags()?;
            self.space()?;
        }
        let mut date = None;
        if self.0.starts_with(b"\"") {
            date = Some(date_time(&self.astring()?)?);
            self.space()?;
        }
        let content = self.literal()?.to_vec();
        Some(Command::Append {
            name,
            flags,
            date,
            content,
        })
    }

    fn store(&mut self, by: By, set: Set) -> Option<Command> {
        let change = match self.0.first()? {
            b'+' => Change::Add,
            b'-' => Change::Remove,
            _ => Change::Set,
        };
        if change != Change::Set {
            self.0 = &self.0[1..]; // the sign
        }
        let silent = match &*self.atom()?.to_ascii_uppercase() {
            "FLAGS" => false,
            "FLAGS.SILENT" => true,
            _ => return None,
        };
        self.space()?;
        let flags = self.flags()?;
        Some(Command::Store {
            by,
            set,
            change,
            silent,
            flags,
        })
    }

    /// `flag-list`, or flags without parentheses.
    fn flags(&mut self) -> Option<BTreeSet<String>> {
        let flags = match self.0.starts_with(b"(") {
            true => self.list(Self::flag)?,
            false => self.several(Self::flag)?,
        };
        Some(flags.into_iter().collect())
    }

    fn flag(&mut self) -> Option<String> {
        let is_system = self.eat(b'\\');
        let name = self.atom()?;
        if !is_system {
            return Some(name.to_owned());
        }
        let known = ["Answered", "Flagged", "Deleted", "Seen", "Draft"];
        let mut known = known.into_iter();
        let name = known.find(|known| known.eq_ignore_ascii_case(name))?;
        Some(format!("\\{name}"))
    }

    fn items(&mut self) -> Option<Vec<Item>> {
        if self.0.starts_with(b"(") {
            let items = self.list(Self::item)?;
            return (items.len() <= MAX_ITEMS).then_some(items);
        }
        let before = self.0;
        let word = self.text(|octet| octet.is_ascii_alphanumeric())?;
        let fast = [Item::Flags, Item::InternalDate, Item::Size];
        Some(match (&*word.to_ascii_uppercase(), self.0) {
            ("FAST", b"") => fast.into(),
            ("ALL", b"") => [&fast[..], &[Item::Envelope]].concat(),
            ("FULL", b"") => [&fast[..], &[Item::Envelope, Item::Body]].concat(),
            _ => {
                self.0 = before;
                vec![self.item()?]
            }
        })
    }

    fn item(&mut self) -> Option<Item> {
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'.';
        let name = self.text(is_name)?.to_ascii_uppercase();
        let old = |what, peeks| {
            Item::Section(Section {
                name: name.clone(),
                parts: Vec::new(),
                what,
                partial: None,
                peeks,
            })
        };
        Some(match &*name {
            "FLAGS" => Item::Flags,
            "UID" => Item::Uid,
            "INTERNALDATE" => Item::InternalDate,
            "ENVELOPE" => Item::Envelope,
            "BODYSTRUCTURE" => Item::BodyStructure,
            "RFC822.SIZE" => Item::Size,
            "RFC822" => old(What::Whole, false),
            "RFC822.TEXT" => old(What::Text, false),
            "RFC822.HEADER" => old(What::Header, true),
            "BODY" if !self.0.starts_with(b"[") => Item::Body,
            "BODY" | "BODY.PEEK" => Item::Section(self.section(name == "BODY.PEEK")?),
            _ => return None,
        })
    }

    /// `section ["<" number "." nz-number ">"]`
    fn section(&mut self, peeks: bool) -> Option<Section> {
        self.must(b'[')?;
        let before = self.0;
        let mut parts = Vec::new();
        while self.0.first()?.is_ascii_digit() {
            parts.push(self.number()? as usize);
            if !self.eat(b'.') {
                break;
            }
        }
        let what = match self.0.first()? {
            b']' => What::Whole,
            _ => self.what()?,
        };
        let inner = &before[..before.len() - self.0.len()];
        let inner = String::from_utf8_lossy(inner).into_owned();
        self.must(b']')?;
        let mut name = format!("BODY[{inner}]");
        let mut partial = None;
        if self.eat(b'<') {
            let from = self.number()? as usize;
            self.must(b'.')?;
            partial = Some((from, self.number()? as usize));
            self.must(b'>')?;
            name = format!("{name}<{from}>");
        }
        let fits = parts.len() <= MAX_DEPTH && !parts.contains(&0);
        fits.then_some(Section {
            name,
            parts,
            what,
            partial,
            peeks,
        })
    }

    fn what(&mut self) -> Option<What> {
        let word = self.atom()?.to_ascii_uppercase();
        Some(match &*word {
            "HEADER" => What::Header,
            "TEXT" => What::Text,
            "MIME" => What::Mime,
            "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
                self.space()?;
                What::Fields {
                    names: self.list(Self::astring)?,
                    invert: word.ends_with("NOT"),
                }
            }
            _ => return None,
        })
    }

    fn search(&mut self, by: By) -> Option<Command> {
        if self.word_is("CHARSET") {
            self.space()?;
            let charset = self.astring()?.to_ascii_uppercase();
            if !["UTF-8", "US-ASCII"].contains(&&*charset) {
                return None;
            }
            self.space()?;
        }
        let key = Key::And(self.several(|c| c.key(MAX_DEPTH))?);
        Some(Command::Search { by, key })
    }

    /// Takes the next word if it is this one.
    fn word_is(&mut self, word: &str) -> bool {
        let next = self.0.split_at_checked(word.len());
        match next {
            Some((next, rest)) if next.eq_ignore_ascii_case(word.as_bytes()) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn key(&mut self, depth: usize) -> Option<Key> {
        let depth = depth.checked_sub(1)?;
        match self.0.first()? {
            b'(' => return Some(Key::And(self.list(|c| c.key(depth))?)),
            b'0'..=b'9' | b'*' => return Some(Key::Set(self.set()?)),
            _ => {}
        }
        let word = self.atom()?.to_ascii_uppercase();
        let flag = |name: &str| Key::Flag(format!("\\{name}"));
        let not = |key| Key::Not(Box::new(key));
        Some(match &*word {
            "ALL" | "OLD" => Key::All,
            "NEW" | "RECENT" => Key::Nothing,
            "ANSWERED" => flag("Answered"),
            "DELETED" => flag("Deleted"),
            "DRAFT" => flag("Draft"),
            "FLAGGED" => flag("Flagged"),
            "SEEN" => flag("Seen"),
            "UNANSWERED" => not(flag("Answered")),
            "UNDELETED" => not(flag("Deleted")),
            "UNDRAFT" => not(flag("Draft")),
            "UNFLAGGED" => not(flag("Flagged")),
            "UNSEEN" => not(flag("Seen")),
            "KEYWORD" => Key::Flag(self.argument()?),
            "UNKEYWORD" => not(Key::Flag(self.argument()?)),
            "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => Key::Header {
                name: word,
                value: self.argument()?,
            },
            "HEADER" => Key::Header {
                name: self.argument()?,
                value: self.argument()?,
            },
            "BODY" => Key::Body(self.argument()?),
            "TEXT" => Key::Text(self.argument()?),
            "LARGER" | "SMALLER" => {
                self.space()?;
                let size = self.number()? as usize;
                match word == "LARGER" {
                    true => Key::Larger(size),
                    false => Key::Smaller(size),
                }
            }
            "UID" => {
                self.space()?;
                Key::Uid(self.set()?)
            }
            "NOT" => {
                self.space()?;
                not(self.key(depth)?)
            }
            "OR" => {
                self.space()?;
                let one = self.key(depth)?;
                self.space()?;
                Key::Or(Box::new(one), Box::new(self.key(depth)?))
            }
            word => self.day(word)?,
        })
    }

    fn day(&mut self, word: &str) -> Option<Key> {
        let sent = word.starts_with("SENT");
        let date = |c: &mut Self| c.argument().and_then(|text| day(&text));
        let (from, before) = match word.trim_start_matches("SENT") {
            "SINCE" => (Some(date(self)?), None),
            "BEFORE" => (None, Some(date(self)?)),
            "ON" => {
                let day = date(self)?;
                (Some(day), Some(day.tomorrow().ok()?))
            }
            _ => return None,
        };
        Some(Key::Day { sent, from, before })
    }

    /// `sequence-set`
    fn set(&mut self) -> Option<Set> {
        let mut ranges = Vec::new();
        loop {
            let one = self.bound()?;
            let other = match self.eat(b':') {
                true => self.bound()?,
                false => one,
            };
            ranges.push((one, other));
            if !self.eat(b',') {
                return Some(Set(ranges));
            }
            if ranges.len() == MAX_LIST {
                return None;
            }
        }
    }

    fn bound(&mut self) -> Option<u32> {
        match self.eat(b'*') {
            true => Some(LAST),
            false => self.number().filter(|number| *number > 0),
        }
    }

    /// SP and an `astring`
    fn argument(&mut self) -> Option<String> {
        self.space()?;
        self.astring()
    }

    /// `ASTRING-CHAR` in a row, a quoted string, or a literal
    fn astring(&mut self) -> Option<String> {
        match self.0.first()? {
            b'"' => self.quoted(),
            b'{' => Some(String::from_utf8_lossy(self.literal()?).into_owned()),
            _ => Some(self.text(|o| is_atom(o) || o == b']')?.to_owned()),
        }
    }

    fn quoted(&mut self) -> Option<String> {
        self.must(b'"')?;
        let mut text = Vec::new();
        loop {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            match first {
                b'"' => return Some(String::from_utf8_lossy(&text).into_owned()),
                b'\\' => {
                    let (escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    text.push(*escaped);
                }
                b'\r' | b'\n' => return None,
                other => text.push(*other),
            }
        }
    }

    /// `"{" number ["+"] "}" CRLF *CHAR8`
    fn literal(&mut self) -> Option<&'a [u8]> {
        self.must(b'{')?;
        let count = self.number()? as usize;
        self.eat(b'+');
        for octet in b"}\r\n" {
            self.must(*octet)?;
        }
        let (literal, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(literal)
    }

    fn atom(&mut self) -> Option<&'a str> {
        self.text(is_atom)
    }

    /// One octet or more of a kind; ASCII and UTF-8 only.
    fn text(&mut self, is_good: impl Fn(u8) -> bool) -> Option<&'a str> {
        let is_bad = |octet: &u8| !is_good(*octet);
        let end = self.0.iter().position(is_bad).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        let text = std::str::from_utf8(text).ok()?;
        (!text.is_empty()).then_some(text)
    }

    fn number(&mut self) -> Option<u32> {
        self.text(|octet| octet.is_ascii_digit())?.parse().ok()
    }

    /// `"(" [item *(SP item)] ")"`
    fn list<T>(&mut self, item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.must(b'(')?;
        if self.eat(b')') {
            return Some(Vec::new());
        }
        let items = self.several(item)?;
        self.must(b')')?;
        Some(items)
    }

    /// `item *(SP item)`
    fn several<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(b' ') {
            if items.len() == MAX_LIST {
                return None;
            }
            items.push(item(self)?);
        }
        Some(items)
    }

    fn space(&mut self) -> Option<()> {
        self.must(b' ')
    }

    fn must(&mut self, octet: u8) -> Option<()> {
        self.eat(octet).then_some(())
    }

    fn eat(&mut self, octet: u8) -> bool {
        let is_there = self.0.first() == Some(&octet);
        if is_there {
            self.0 = &self.0[1..]; // it has a first octet
        }
        is_there
    }

    /// For commands whose further arguments change nothing here.
    fn skip(&mut self, command: Command) -> Command {
        self.0 = b"";
        command
    }
}

/// `ATOM-CHAR`
fn is_atom(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet)
}

/// `date-time`
fn date_time(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", text.trim_start());
    parsed.ok()?.to_timestamp().ok()
}

/// `date`
fn day(text: &str) -> Option<Date> {
    let parsed = jiff::fmt::strtime::parse("%d-%b-%Y", text);
    parsed.ok()?.to_date().ok()
}

#[cfg(test)]
mod tests;
