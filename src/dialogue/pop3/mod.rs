//! POP3 before login (RFC 1939, RFC 2449, RFC 5034).

mod grammar;
mod local;
mod replies;
mod upstream;

pub(super) use replies::farewell;

pub use local::Pop3Local;
pub use upstream::Pop3Upstream;
