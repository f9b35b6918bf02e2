//! IMAP before login (RFC 3501, RFC 9051).

mod frame;
mod grammar;
mod local;
mod replies;
mod upstream;

pub(super) use replies::farewell;

pub use local::ImapLocal;
pub use upstream::ImapUpstream;
