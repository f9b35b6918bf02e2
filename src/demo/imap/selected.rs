//! A folder as one session sees it: its numbers change only when the session is told.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::command::{By, Item, Key, Set};
use super::search::Candidate;
use super::{section, structure};
use crate::demo::store::{Change, Entry, Folder};

/// A message in the session: its number is its place.
struct Known {
    uid: u32,
    /// The flags that the session was told of.
    version: u64,
}

/// The folder that a session has open.
pub(super) struct Selected {
    pub(super) folder: Arc<Folder>,
    pub(super) read_only: bool,
    known: Vec<Known>,
}

impl Selected {
    pub(super) fn open(folder: Arc<Folder>, read_only: bool) -> Self {
        let known = folder.entries().iter().map(Known::of).collect();
        Self {
            folder,
            read_only,
            known,
        }
    }

    /// The answer to SELECT.
    pub(super) fn describe(&self) -> String {
        let entries = self.folder.entries();
        let is_unseen = |entry: &Entry| !entry.flags.contains("\\Seen");
        let unseen = entries.iter().position(is_unseen);
        let unseen = unseen.map(|at| format!("* OK [UNSEEN {}] First unseen\r\n", at + 1));
        let flags = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
        let permanent = match self.read_only {
            true => String::new(),
            false => format!("{flags} \\*"),
        };
        format!(
            "* FLAGS ({flags})\r\n\
             * OK [PERMANENTFLAGS ({permanent})] Flags that are kept\r\n\
             * {} EXISTS\r\n* 0 RECENT\r\n{}\
             * OK [UIDVALIDITY {}] Valid\r\n\
             * OK [UIDNEXT {}] The next UID\r\n",
            self.known.len(),
            unseen.unwrap_or_default(),
            self.folder.uid_validity,
            self.folder.next_uid(),
        )
    }

    /// What has changed since the session was last told.
    pub(super) fn news(&mut self, with_expunges: bool) -> String {
        let entries = self.folder.entries();
        let mut news = String::new();
        // Writing into memory does not fail, here and below.
        if with_expunges {
            let there: BTreeSet<u32> = entries.iter().map(|entry| entry.uid).collect();
            let mut at = 0;
            self.known.retain(|known| {
                let is_there = there.contains(&known.uid);
                match is_there {
                    true => at += 1,
                    false => {
                        let _ = write!(news, "* {} EXPUNGE\r\n", at + 1);
                    }
                }
                is_there
            });
        }
        let by_uid: HashMap<u32, &Entry> = entries.iter().map(|e| (e.uid, e)).collect();
        for (at, known) in self.known.iter_mut().enumerate() {
            if let Some(entry) = by_uid.get(&known.uid)
                && entry.version != known.version
            {
                known.version = entry.version;
                let (number, flags) = (at + 1, flags(entry));
                let _ = write!(
                    news,
                    "* {number} FETCH (UID {} FLAGS ({flags}))\r\n",
                    entry.uid
                );
            }
        }
        let last = self.known.last().map_or(0, |known| known.uid);
        let fresh: Vec<Known> = entries
            .iter()
            .filter(|entry| entry.uid > last)
            .map(Known::of)
            .collect();
        if !fresh.is_empty() {
            self.known.extend(fresh);
            let _ = write!(news, "* {} EXISTS\r\n* 0 RECENT\r\n", self.known.len());
        }
        news
    }

    /// The places of the messages that a set names.
    pub(super) fn positions(&self, by: By, set: &Set) -> Vec<usize> {
        let (last_number, last_uid) = self.last();
        let named = |(at, known): (usize, &Known)| {
            let is_named = match by {
                By::Number => set.has(number(at), last_number),
                By::Uid => set.has(known.uid, last_uid),
            };
            is_named.then_some(at)
        };
        self.known.iter().enumerate().filter_map(named).collect()
    }

    fn last(&self) -> (u32, u32) {
        let last_uid = self.known.last().map_or(0, |known| known.uid);
        (number(self.known.len()).saturating_sub(1), last_uid)
    }

    /// The entry at a place; `None` if another session removed it meanwhile.
    fn entry(&self, at: usize) -> Option<Entry> {
        let uid = self.known.get(at)?.uid;
        let entries = self.folder.entries();
        entries.into_iter().find(|entry| entry.uid == uid)
    }

    /// One answer to FETCH.
    pub(super) fn fetch(&mut self, at: usize, by: By, items: &[Item]) -> Option<Vec<u8>> {
        let mut entry = self.entry(at)?;
        let reads = |item: &Item| matches!(item, Item::Section(section) if !section.peeks);
        let is_new = !entry.flags.contains("\\Seen");
        let marks = !self.read_only && is_new && items.iter().any(reads);
        if marks {
            let seen = BTreeSet::from(["\\Seen".to_owned()]);
            entry = self.folder.mark(entry.uid, Change::Add, &seen)?;
            self.known[at].version = entry.version; // `at` has an entry, see above
        }
        let mut items = items.to_vec();
        if by == By::Uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        if marks && !items.contains(&Item::Flags) {
            items.push(Item::Flags);
        }
        let mut line = format!("* {} FETCH (", at + 1).into_bytes();
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                line.push(b' ');
            }
            write_item(&mut line, &entry, item);
        }
        line.extend_from_slice(b")\r\n");
        Some(line)
    }

    /// Changes flags; the answers to STORE.
    pub(super) fn store(
        &mut self,
        by: By,
        set: &Set,
        change: Change,
        silent: bool,
        wanted: &BTreeSet<String>,
    ) -> String {
        let mut lines = String::new();
        for at in self.positions(by, set) {
            let uid = self.known[at].uid; // positions are places
            let Some(entry) = self.folder.mark(uid, change, wanted) else {
                continue;
            };
            self.known[at].version = entry.version;
            if !silent {
                let uid = match by {
                    By::Uid => format!("UID {uid} "),
                    By::Number => String::new(),
                };
                let flags = flags(&entry);
                let _ = write!(lines, "* {} FETCH ({uid}FLAGS ({flags}))\r\n", at + 1);
            }
        }
        lines
    }

    /// Removes what is marked as deleted, of those UIDs or all.
    pub(super) fn expunge(&mut self, uids: Option<&Set>) {
        let last = self.last().1;
        let is_meant = |uid| uids.is_none_or(|set| set.has(uid, last));
        self.folder
            .remove(|entry| entry.flags.contains("\\Deleted") && is_meant(entry.uid));
    }

    /// Copies to another folder; the UIDs there were and are (RFC 4315 §3).
    pub(super) fn copy(
        &mut self,
        by: By,
        set: &Set,
        target: &Folder,
        moves: bool,
    ) -> Option<(String, String)> {
        let mut pairs = Vec::new();
        for at in self.positions(by, set) {
            if let Some(entry) = self.entry(at) {
                let content = entry.message.content.clone();
                let uid = target.add(content, entry.flags, entry.message.received);
                pairs.push((entry.uid, uid));
            }
        }
        if moves {
            self.folder
                .remove(|entry| pairs.iter().any(|(from, _)| *from == entry.uid));
        }
        let list = |uids: Vec<u32>| {
            let words: Vec<String> = uids.iter().map(u32::to_string).collect();
            words.join(",")
        };
        (!pairs.is_empty()).then(|| {
            (
                list(pairs.iter().map(|pair| pair.0).collect()),
                list(pairs.iter().map(|pair| pair.1).collect()),
            )
        })
    }

    /// The answer to SEARCH.
    pub(super) fn search(&self, by: By, key: &Key) -> String {
        let entries = self.folder.entries();
        let by_uid: HashMap<u32, &Entry> = entries.iter().map(|e| (e.uid, e)).collect();
        let mut line = "* SEARCH".to_owned();
        for (at, known) in self.known.iter().enumerate() {
            let Some(entry) = by_uid.get(&known.uid).copied() else {
                continue;
            };
            let candidate = Candidate {
                number: number(at),
                entry,
                last: self.last(),
            };
            if candidate.matches(key) {
                let found = match by {
                    By::Number => number(at),
                    By::Uid => known.uid,
                };
                let _ = write!(line, " {found}");
            }
        }
        line.push_str("\r\n");
        line
    }
}

impl Known {
    fn of(entry: &Entry) -> Self {
        Self {
            uid: entry.uid,
            version: entry.version,
        }
    }
}

/// The number of a place; a folder holds few messages.
fn number(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

fn flags(entry: &Entry) -> String {
    let flags: Vec<&str> = entry.flags.iter().map(String::as_str).collect();
    flags.join(" ")
}

fn write_item(line: &mut Vec<u8>, entry: &Entry, item: &Item) {
    let content = &entry.message.content;
    match item {
        Item::Flags => line.extend(format!("FLAGS ({})", flags(entry)).into_bytes()),
        Item::Uid => line.extend(format!("UID {}", entry.uid).into_bytes()),
        Item::Size => line.extend(format!("RFC822.SIZE {}", content.len()).into_bytes()),
        Item::InternalDate => {
            let time = entry.message.received.to_zoned(TimeZone::UTC);
            let time = time.strftime("%d-%b-%Y %H:%M:%S +0000");
            line.extend(format!("INTERNALDATE \"{time}\"").into_bytes());
        }
        Item::Envelope => {
            line.extend_from_slice(b"ENVELOPE ");
            line.extend(structure::envelope(content));
        }
        Item::Body => {
            line.extend_from_slice(b"BODY ");
            line.extend(structure::structure(content, false));
        }
        Item::BodyStructure => {
            line.extend_from_slice(b"BODYSTRUCTURE ");
            line.extend(structure::structure(content, true));
        }
        Item::Section(wanted) => {
            line.extend_from_slice(wanted.name.as_bytes());
            line.push(b' ');
            match section::section(content, wanted) {
                Some(octets) => structure::literal(line, &octets),
                None => line.extend_from_slice(b"NIL"),
            }
        }
    }
}
