//! The machines against written-down conversations, and against everything else.
//!
//! The cases with given answers stand in a file per machine; `properties` says what holds for any bytes at all.

mod echo;
mod imap_local;
mod imap_upstream;
mod layering;
mod playbook;
mod pop3_local;
mod pop3_upstream;
mod properties;
mod proxy_header;
mod smtp_device;
mod smtp_local;
mod smtp_senders;
mod smtp_upstream;
mod tls;
