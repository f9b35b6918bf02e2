//! What people can see of mailwicket from outside: the log, and the figures of `status`.

mod counters;
mod log;
mod login;
pub mod notify;
mod timing;

pub use counters::{AccountFigures, Counters, ListenerFigures, LoginFailure, Session};
pub use log::init;
pub use login::{LoginLine, TARGET as LOGIN_TARGET};
pub use timing::timed;
