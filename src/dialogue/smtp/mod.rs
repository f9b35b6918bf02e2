//! SMTP submission before login (RFC 5321, RFC 4954).

mod grammar;
mod local;
mod replies;
mod senders;
mod upstream;

pub(super) use replies::farewell;

pub use local::SmtpLocal;
pub use senders::{Breach, SenderGuard};
pub use upstream::SmtpUpstream;
