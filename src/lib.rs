//! mailwicket translates authentication: old mail programs keep their password, the provider gets OAuth 2.0.
//!
//! A connection takes eight steps, and the modules stand in their order:
//!
//! ```text
//! mail program ─▶ accept ─▶ tls ─▶ dialogue ─▶ password ─▶ token ─▶ dial ─▶ login ─▶ relay ─▶ provider
//! ```
#![forbid(unsafe_code)]

pub mod accept;
pub mod dial;
pub mod dialogue;
pub mod password;
pub mod relay;
pub mod session;
pub mod tls;
pub mod token;

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod driver;
pub mod failure;
pub mod oauth;
pub mod observe;
pub mod pool;
pub mod process;
pub mod profiles;
pub mod protocol;
pub mod signals;
pub mod stage;
pub mod status;
pub mod vault;
