//! What an IMAP command asks for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::demo::store::Change;

/// A command after its tag.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Capability,
    Noop,
    Logout,
    Id,
    Namespace,
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    Login,
    Select {
        name: String,
        read_only: bool,
    },
    Close {
        expunge: bool,
    },
    Status {
        name: String,
        items: Vec<String>,
    },
    List {
        pattern: String,
        subscribed: bool,
    },
    Subscribe,
    /// CREATE, DELETE, RENAME: the folders are fixed.
    Arrange,
    Append {
        name: String,
        flags: BTreeSet<String>,
        date: Option<Timestamp>,
        content: Vec<u8>,
    },
    Idle,
    Expunge(Option<Set>),
    Fetch {
        by: By,
        set: Set,
        items: Vec<Item>,
    },
    Store {
        by: By,
        set: Set,
        change: Change,
        silent: bool,
        flags: BTreeSet<String>,
    },
    Copy {
        by: By,
        set: Set,
        name: String,
        moves: bool,
    },
    Search {
        by: By,
        key: Key,
    },
}

/// What the numbers of a command are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Number,
    Uid,
}

/// A sequence set (RFC 3501 §9); `*` is the largest number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(pub(super) Vec<(u32, u32)>);

/// `*`; no message has that number.
pub(super) const LAST: u32 = u32::MAX;

impl Set {
    /// Whether it names `number`, where `last` is the largest there is.
    pub(super) fn has(&self, number: u32, last: u32) -> bool {
        let real = |bound: u32| if bound == LAST { last } else { bound };
        self.0.iter().any(|(one, other)| {
            let (one, other) = (real(*one), real(*other));
            (one.min(other)..=one.max(other)).contains(&number)
        })
    }
}

/// What FETCH is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    Body,
    BodyStructure,
    Section(Section),
}

/// `BODY[…]<…>` and its older forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// As it stands in the answer.
    pub(super) name: String,
    pub(super) parts: Vec<usize>,
    pub(super) what: What,
    pub(super) partial: Option<(usize, usize)>,
    /// Whether reading it leaves `\Seen` alone.
    pub(super) peeks: bool,
}

/// Which part of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Whole,
    Header,
    Fields { names: Vec<String>, invert: bool },
    Text,
    Mime,
}

/// A search key (RFC 3501 §6.4.4).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    And(Vec<Key>),
    Or(Box<Key>, Box<Key>),
    Not(Box<Key>),
    All,
    Set(Set),
    Uid(Set),
    Flag(String),
    Header {
        name: String,
        value: String,
    },
    Body(String),
    Text(String),
    Larger(usize),
    Smaller(usize),
    /// The day of arrival, or of the Date field if `sent`: on or after the first and before the second.
    Day {
        sent: bool,
        from: Option<Date>,
        before: Option<Date>,
    },
    /// What no message has (`NEW`, `RECENT`).
    Nothing,
}
