//! SMTP submission before login (RFC 5321, RFC 4954).

mod grammar;
mod local;
mod replies;
mod upstream;

pub(super) use replies::farewell;

pub use local::SmtpLocal;
pub use upstream::SmtpUpstream;
