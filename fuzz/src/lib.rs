//! What must hold for any bytes at all, as functions of bytes: the fuzzer calls them with what it makes up, and `tests/corpus.rs`,
//! which has this file as a module, with what is kept in `fuzz/corpus`.
//!
//! They see what the rest of the program sees: public items alone. What a target checks against is written down here once more,
//! in the plainest way, and never taken from the code that is checked.
//!
//! A new target is a module here, a line in [`ALL`], a file in `fuzz_targets`, a `[[bin]]` in `Cargo.toml`, and a folder with seeds
//! in `corpus`.

pub mod config;
pub mod first_reply;
pub mod framing;
pub mod hello;
pub mod import;
pub mod pair;
pub mod proxy;
pub mod sasl;
pub mod script;
pub mod segmentation;
pub mod senders;
pub mod session;
pub mod setting;
pub mod vault;
pub mod visit;

/// Something that holds for any bytes; it panics where it does not.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub const ALL: [(&str, Target); 13] = [
    ("config", config::run),
    ("first_reply", first_reply::run),
    ("framing", framing::run),
    ("hello", hello::run),
    ("imap", session::imap),
    ("import", import::run),
    ("pop3", session::pop3),
    ("proxy", proxy::run),
    ("sasl", sasl::run),
    ("segmentation", segmentation::run),
    ("senders", senders::run),
    ("smtp", session::smtp),
    ("vault", vault::run),
];
