//! What `status` tells: how every account stands, and what every listener does.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Account, CertificateFiles, Listener, LocalTls, Roster, Template};
use crate::observe::{AccountFigures, Counters, ListenerFigures};
use crate::protocol::Protocol;
use crate::token::life::State;
use crate::token::{AccountStatus, Tokens};

/// Where the answer is taken from.
#[derive(Default)]
pub struct Sources {
    /// The tokens; `None` only before the start is over.
    pub tokens: Option<Tokens>,
    /// The accounts and templates of the configuration in force.
    pub roster: Roster,
    /// The listeners with their bound address.
    pub listeners: Vec<(Arc<Listener>, SocketAddr, Arc<Counters>)>,
    /// The certificate that the console shows, if it has one of its own.
    pub console_certificate: Option<CertificateFiles>,
}

/// How mailwicket stands. Holds no secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Whether a daemon answered; without one, only the accounts are known.
    pub running: bool,
    /// The daemon's version.
    pub version: Option<String>,
    /// Every account, those among them that only a template covers: they are there once they have a local password.
    pub accounts: Vec<AccountLine>,
    /// Every template.
    #[serde(default)]
    pub templates: Vec<TemplateLine>,
    /// Every bound address.
    pub listeners: Vec<ListenerLine>,
}

/// How an account stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountLine {
    /// The mailbox.
    pub account: String,
    /// The name of its provider in the configuration.
    pub provider: String,
    /// Its token.
    #[serde(flatten)]
    pub token: AccountStatus,
    /// Its sessions.
    #[serde(flatten)]
    pub figures: AccountFigures,
}

/// A domain whose mailboxes are opened as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TemplateLine {
    /// The template, as it is written.
    pub template: String,
    /// The name of its provider in the configuration.
    pub provider: String,
    /// How many of the accounts are its mailboxes.
    pub mailboxes: usize,
}

/// What a listener does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListenerLine {
    /// What is spoken.
    pub protocol: Protocol,
    /// The bound address.
    pub address: SocketAddr,
    /// The name of the provider behind it.
    pub provider: String,
    /// When TLS begins.
    #[serde(default)]
    pub tls: LocalTls,
    /// Its sessions and octets.
    #[serde(flatten)]
    pub figures: ListenerFigures,
}

impl Sources {
    /// The state of everything now. Looks into the vault, so it may block for a moment.
    pub fn status(&self) -> Status {
        let tokens = self.tokens.as_ref();
        let accounts = tokens.map(|tokens| tokens.mailboxes(&self.roster));
        let accounts = accounts.unwrap_or_default();
        let line = |account: &Arc<Account>| {
            Some(AccountLine {
                account: account.address.clone(),
                provider: account.provider.name.clone(),
                token: tokens?.status(account),
                figures: self.figures(&account.address),
            })
        };
        Status {
            running: true,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            accounts: accounts.iter().filter_map(line).collect(),
            templates: self.templates(&accounts),
            listeners: self.listeners.iter().map(listener).collect(),
        }
    }

    fn templates(&self, accounts: &[Arc<Account>]) -> Vec<TemplateLine> {
        let covered: Vec<_> = accounts
            .iter()
            .filter(|account| self.roster.covered(&account.address).is_some())
            .collect();
        let line = |template: &Arc<Template>| TemplateLine {
            template: template.pattern.clone(),
            provider: template.provider.name.clone(),
            mailboxes: covered
                .iter()
                .filter(|account| template.covers(&account.address))
                .count(),
        };
        self.roster.templates().iter().map(line).collect()
    }

    fn figures(&self, account: &str) -> AccountFigures {
        let of = |protocol: Protocol| {
            let speaking = self.listeners.iter();
            let speaking = speaking.filter(|(listener, ..)| listener.protocol == protocol);
            let figures = speaking.map(|(_, _, counters)| counters.account(account));
            figures.fold(AccountFigures::default(), AccountFigures::plus)
        };
        let each = Protocol::ALL.into_iter().map(of);
        each.fold(AccountFigures::default(), AccountFigures::beside)
    }
}

fn listener(
    (listener, address, counters): &(Arc<Listener>, SocketAddr, Arc<Counters>),
) -> ListenerLine {
    ListenerLine {
        protocol: listener.protocol,
        address: *address,
        provider: listener.provider.name.clone(),
        tls: listener.tls,
        figures: counters.listener(),
    }
}

impl Status {
    /// Whether every account can be used, was usable at its last login, and a daemon is there to use it.
    pub fn is_ok(&self) -> bool {
        let is_well = |line: &AccountLine| {
            line.token.state == State::Ok && line.figures.last_failure.is_none()
        };
        self.running && self.accounts.iter().all(is_well)
    }
}
