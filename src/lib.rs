//! mailwicket translates authentication: old mail programs keep their password, the provider gets OAuth 2.0.
//!
//! A connection takes eight steps, and the modules stand in their order:
//!
//! ```text
//! mail program ─▶ accept ─▶ tls ─▶ dialogue ─▶ password ─▶ token ─▶ dial ─▶ login ─▶ relay ─▶ provider
//! ```
//!
//! [`session`] is the whole path on one screen, with a call for each stage. After `relay` has begun, not one byte is looked at,
//! but for devices without a login whose senders are limited.
#![forbid(unsafe_code)]

pub mod session;

// The path. `login` is the upstream half of `dialogue`, driven by `dial`.
pub mod accept;
pub mod places;

pub mod tls;

pub mod dialogue;

pub mod password;

pub mod token;

pub mod dial;

pub mod relay;

// What the stages use.
pub mod caps;
pub mod driver;
pub mod egress;
pub mod oauth;
pub mod pool;
pub mod profiles;
pub mod vault;

// Conversations in lines, for what stands beside the path.
mod talk;
mod wire;

// Words that everybody shares.
pub mod failure;
pub mod protocol;
pub mod source;
pub mod stage;

// The house around the path.
pub mod authorize;
pub mod cli;
pub mod config;
pub mod console;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod import;
pub mod observe;
pub mod process;
pub mod revoke;
pub mod setup;
pub mod signals;
pub mod status;
