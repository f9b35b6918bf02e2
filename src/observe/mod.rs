//! What people can see of mailwicket from outside: the log, and the figures of `status`.

mod counters;
mod log;
mod login;
pub mod notify;
pub mod recent;
mod timing;

pub use counters::{AccountFigures, Counters, ListenerFigures, LoginFailure, Session};
pub use log::init;
pub use login::{LoginLine, TARGET as LOGIN_TARGET};
pub use recent::Recent;
pub use timing::timed;
