//! `mailwicket check`: everything that is wrong with the configuration, or how much there is in it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Exit, Global, print, say};
use crate::config::{self, Config, Roster};

/// The arguments of `check`: only the global ones.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_: Args, global: &Global) -> Exit {
    checked(global).err().unwrap_or(Exit::Done)
}

fn checked(global: &Global) -> Result<(), Exit> {
    let config = global.load()?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let warnings = config::warnings(&config, today);
    for warning in warnings.into_iter().chain(super::ca::warnings(&config)) {
        say(&format!("warning: {warning}"));
    }
    for provider in &config.providers {
        if let Some(way) = provider.way_out() {
            print(&format!("provider {}: {way}", provider.name))?;
        }
    }
    print(&summary(&config))
}

fn summary(config: &Config) -> String {
    format!(
        "{}: {}, {}, {}",
        config.path.display(),
        accounts(&config.roster),
        count(config.listeners.len(), "listener"),
        count(config.providers.len(), "provider"),
    )
}

fn accounts(roster: &Roster) -> String {
    let accounts = count(roster.accounts().len(), "account");
    match roster.templates().len() {
        0 => accounts,
        domains => format!("{accounts}, {}", count(domains, "whole domain")),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
