//! The real binary between real mail programs and real servers. One test binary, so that one lab serves all; every
//! test has mailboxes of its own, so that they run side by side. `tests/lab/install` installs what they need.

mod browser;
mod clients;
mod console;
mod devices;
mod doctor;
mod driver;
mod editing;
mod egress;
mod fail2ban;
mod flows;
mod identities;
mod intruders;
mod lab;
mod lan;
mod learning;
mod local_tls;
mod mail;
mod notices;
mod proxies;
mod revoke;
mod secrecy;
mod stages;
mod tokens;
mod transparency;
mod wait;
mod weight;
mod wicket;
mod wire;
mod wizard;
