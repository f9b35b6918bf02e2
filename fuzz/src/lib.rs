//! What must hold for any bytes at all, as functions of bytes: the fuzzer calls them with what it makes up, and `tests/corpus.rs`,
//! which has this file as a module, with what is kept in `fuzz/corpus`.
//!
//! They see what the rest of the program sees: public items alone. What a target checks against is written down here once more,
//! in the plainest way, and never taken from the code that is checked.
//!
//! A new target is a module here, a line in [`ALL`], a file in `fuzz_targets`, a `[[bin]]` in `Cargo.toml`, and a folder with seeds
//! in `corpus`.

pub mod config;
pub mod framing;
pub mod pair;
pub mod sasl;
pub mod script;
pub mod segmentation;
pub mod session;
pub mod setting;
pub mod vault;
pub mod visit;

/// Something that holds for any bytes; it panics where it does not.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub const ALL: [(&str, Target); 8] = [
    ("config", config::run),
    ("framing", framing::run),
    ("imap", session::imap),
    ("pop3", session::pop3),
    ("sasl", sasl::run),
    ("segmentation", segmentation::run),
    ("smtp", session::smtp),
    ("vault", vault::run),
];
