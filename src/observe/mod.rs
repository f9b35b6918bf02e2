//! What people can see of mailwicket from outside: the log, and the figures of `status`.

mod counters;
mod log;
pub mod notify;
mod timing;

pub use counters::{AccountFigures, Counters, ListenerFigures, LoginFailure, Session};
pub use log::init;
pub use timing::timed;
