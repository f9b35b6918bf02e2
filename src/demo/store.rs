//! The mailbox, in memory: a few folders with a bound in number and size. The oldest messages go when it is full.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

/// Messages of a folder.
const MAX_MESSAGES: usize = 200;
/// Octets of a folder.
const MAX_OCTETS: usize = 10 * 1024 * 1024;
/// Octets of a message.
pub(super) const MAX_MESSAGE: usize = 5 * 1024 * 1024;
/// Different flags of a message.
const MAX_FLAGS: usize = 32;

/// A message; it never changes, only its flags do.
#[derive(Debug)]
pub struct Message {
    /// As it came, with CRLF line ends.
    pub content: Vec<u8>,
    /// When it came.
    pub received: Timestamp,
}

/// A message in a folder, as it is at one moment.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) uid: u32,
    pub(super) flags: BTreeSet<String>,
    /// Grows whenever the flags change.
    pub(super) version: u64,
    pub(super) message: Arc<Message>,
}

/// How flags are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Set,
    Add,
    Remove,
}

struct State {
    /// In the order of their UIDs.
    entries: Vec<Entry>,
    next_uid: u32,
    version: u64,
}

/// A folder, shared by all sessions.
pub(super) struct Folder {
    pub(super) name: &'static str,
    /// What it is for (RFC 6154), if it has a use.
    pub(super) special_use: Option<&'static str>,
    pub(super) uid_validity: u32,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

/// All folders. Their set is fixed: what mail programs look for, and no more.
pub(super) struct Store {
    folders: [Arc<Folder>; 4],
}

impl Store {
    pub(super) fn new() -> Self {
        // Another start has other messages under the same UIDs, so it must have another UIDVALIDITY (RFC 3501 §2.3.1.1).
        let now = u32::try_from(Timestamp::now().as_second()).unwrap_or(1);
        let folder = |name, special_use| Arc::new(Folder::new(name, special_use, now));
        Self {
            folders: [
                folder("INBOX", None),
                folder("Drafts", Some("\\Drafts")),
                folder("Sent", Some("\\Sent")),
                folder("Trash", Some("\\Trash")),
            ],
        }
    }

    pub(super) fn inbox(&self) -> &Arc<Folder> {
        &self.folders[0]
    }

    pub(super) fn folders(&self) -> &[Arc<Folder>] {
        &self.folders
    }

    /// A folder by name; INBOX in any case (RFC 3501 §5.1).
    pub(super) fn folder(&self, name: &str) -> Option<&Arc<Folder>> {
        let is_it = |folder: &&Arc<Folder>| match folder.name {
            "INBOX" => name.eq_ignore_ascii_case("INBOX"),
            other => other == name,
        };
        self.folders.iter().find(is_it)
    }
}

impl Folder {
    fn new(name: &'static str, special_use: Option<&'static str>, uid_validity: u32) -> Self {
        Self {
            name,
            special_use,
            uid_validity,
            state: Mutex::new(State {
                entries: Vec::new(),
                next_uid: 1,
                version: 0,
            }),
            changed: watch::Sender::default(),
        }
    }

    /// Tells of every change.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All entries at this moment, in the order of their UIDs.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.state().entries.clone()
    }

    /// All messages at this moment, the oldest first.
    pub(super) fn messages(&self) -> Vec<Arc<Message>> {
        let state = self.state();
        state.entries.iter().map(|e| e.message.clone()).collect()
    }

    pub(super) fn next_uid(&self) -> u32 {
        self.state().next_uid
    }

    /// Adds a message; the answer is its UID. The oldest make room for it.
    pub(super) fn add(
        &self,
        content: Vec<u8>,
        flags: BTreeSet<String>,
        received: Timestamp,
    ) -> u32 {
        let uid = self.with(|state| {
            let mut octets: usize = state.entries.iter().map(Entry::octets).sum();
            octets += content.len();
            while state.entries.len() >= MAX_MESSAGES
                || (octets > MAX_OCTETS && !state.entries.is_empty())
            {
                octets -= state.entries.remove(0).octets();
            }
            let uid = state.next_uid;
            state.next_uid = state.next_uid.saturating_add(1);
            let message = Arc::new(Message { content, received });
            let version = state.version;
            state.entries.push(Entry {
                uid,
                flags,
                version,
                message,
            });
            uid
        });
        tracing::debug!(folder = self.name, uid, "a message came");
        uid
    }

    /// Changes the flags of a message; the entry as it is then, if it is still there.
    pub(super) fn mark(&self, uid: u32, change: Change, flags: &BTreeSet<String>) -> Option<Entry> {
        self.with(|state| {
            let version = state.version;
            let entry = state.entries.iter_mut().find(|entry| entry.uid == uid)?;
            let before = entry.flags.clone();
            match change {
                Change::Set => entry.flags.clone_from(flags),
                Change::Add => entry.flags.extend(flags.iter().cloned()),
                Change::Remove => entry.flags.retain(|flag| !flags.contains(flag)),
            }
            while entry.flags.len() > MAX_FLAGS {
                entry.flags.pop_last();
            }
            if entry.flags != before {
                entry.version = version;
            }
            Some(entry.clone())
        })
    }

    /// Removes messages for good.
    pub(super) fn remove(&self, goes: impl Fn(&Entry) -> bool) {
        self.with(|state| state.entries.retain(|entry| !goes(entry)));
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.version += 1;
        let result = change(&mut state);
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
        result
    }

    /// A poisoned lock only says that a thread panicked; a sandbox goes on with what is there.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn octets(&self) -> usize {
        self.message.content.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let store = Store::new();
        let inbox = store.inbox();
        for _ in 0..=MAX_MESSAGES {
            inbox.add(b"x".to_vec(), BTreeSet::new(), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(inbox.entries()[0].uid, 2);
        for _ in 0..3 {
            inbox.add(vec![0; MAX_MESSAGE], BTreeSet::new(), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(inbox.entries().len(), 2);
    }

    #[test]
    fn a_flag_that_was_there_changes_nothing() {
        let store = Store::new();
        let inbox = store.inbox();
        let uid = inbox.add(Vec::new(), BTreeSet::new(), Timestamp::UNIX_EPOCH);
        let seen = BTreeSet::from(["\\Seen".to_owned()]);
        let first = inbox.mark(uid, Change::Add, &seen).unwrap();
        let second = inbox.mark(uid, Change::Add, &seen).unwrap();
        assert_eq!(first.version, second.version);
    }
}
