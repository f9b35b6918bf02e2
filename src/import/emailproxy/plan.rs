//! Which providers, listeners and accounts the file makes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::known::{Site, is_personal_host, is_work_host};
use super::registration::{Redirect, without_port};
use super::source::{Account, LocalAddress, Server, Settings, Source};
use crate::config::Flow;
use crate::protocol::Protocol;

/// The whole conversion. Numbers are places in the lists of the source and in its own.
pub struct Plan<'s> {
    pub source: &'s Source,
    pub providers: Vec<Provider<'s>>,
    pub listeners: Vec<Listener<'s>>,
    pub accounts: Vec<Mailbox<'s>>,
    /// Servers that no account's provider has.
    pub idle: Vec<&'s Server>,
}

/// `[provider.NAME]`
pub struct Provider<'s> {
    pub name: String,
    pub settings: &'s Settings,
    /// The first account with these settings.
    pub first: &'s Account,
    /// The accounts use several ports for the browser to come back to.
    pub has_several_redirects: bool,
    /// The first server of each protocol.
    pub servers: Vec<&'s Server>,
    accounts: usize,
}

/// `[[listener]]`
pub struct Listener<'s> {
    pub server: &'s Server,
    /// The provider's place.
    pub provider: usize,
    /// Another port than the server's, because another provider has that one.
    pub port: u16,
}

/// `[[account]]`
pub struct Mailbox<'s> {
    pub account: &'s Account,
    /// The provider's place.
    pub provider: usize,
}

impl<'s> Plan<'s> {
    pub fn make(source: &'s Source) -> Self {
        let mut plan = Self {
            source,
            providers: Vec::new(),
            listeners: Vec::new(),
            accounts: Vec::new(),
            idle: Vec::new(),
        };
        for account in &source.accounts {
            plan.account(account);
        }
        plan.name_providers();
        plan.serve();
        plan
    }

    /// The provider of an account, if it makes one.
    pub fn provider_of(&self, section: &str) -> Option<&Provider<'s>> {
        self.providers.get(self.mailbox(section)?.provider)
    }

    /// What a section of an account makes.
    pub fn mailbox(&self, section: &str) -> Option<&Mailbox<'s>> {
        let mut mailboxes = self.accounts.iter();
        mailboxes.find(|mailbox| mailbox.account.section == section)
    }

    /// The listeners of a server.
    pub fn listeners_of<'p>(
        &'p self,
        server: &'p Server,
    ) -> impl Iterator<Item = &'p Listener<'s>> {
        let same = move |listener: &&Listener<'_>| std::ptr::eq(listener.server, server);
        self.listeners.iter().filter(same)
    }

    fn account(&mut self, account: &'s Account) {
        let is_twice = self
            .accounts
            .iter()
            .any(|other| other.account.section.to_lowercase() == account.section.to_lowercase());
        if is_twice || !account.settings.is_whole() {
            return;
        }
        let provider = self.registration(account);
        self.providers[provider].accounts += usize::from(account.is_kept());
        self.accounts.push(Mailbox { account, provider });
    }

    /// The place of the provider with this account's settings, which is new if need be.
    fn registration(&mut self, account: &'s Account) -> usize {
        let settings = &account.settings;
        let same = |provider: &Provider<'_>| provider.settings.is_same_registration(settings);
        match self.providers.iter().position(same) {
            Some(place) => {
                let provider = &mut self.providers[place];
                provider.has_several_redirects |=
                    provider.settings.redirect_uri != settings.redirect_uri;
                place
            }
            None => {
                self.providers.push(Provider {
                    name: String::new(),
                    settings,
                    first: account,
                    has_several_redirects: false,
                    servers: Vec::new(),
                    accounts: 0,
                });
                self.providers.len() - 1
            }
        }
    }

    fn name_providers(&mut self) {
        let mut taken = BTreeSet::new();
        for provider in &mut self.providers {
            let kind = match provider.settings.flow() {
                Flow::AuthorizationCode => "",
                Flow::DeviceCode => "-device",
                Flow::ClientCredentials => "-app",
                Flow::ServiceAccount => "-service",
                Flow::Password => "-password",
                Flow::ManagedIdentity => "-machine",
            };
            let fit = provider.settings.fit();
            let site = fit.map_or_else(
                || provider.settings.site().name(),
                |fit| fit.preset.name.to_owned(),
            );
            let base = format!("{site}{kind}");
            let numbered = (2..).map(|number| format!("{base}-{number}"));
            let mut names = std::iter::once(base.clone()).chain(numbered);
            // There are more numbers than providers.
            provider.name = names.find(|name| !taken.contains(name)).unwrap_or(base);
            taken.insert(provider.name.clone());
        }
    }

    /// Gives each server to the providers whose it is.
    fn serve(&mut self) {
        let mut ports: BTreeSet<_> = self
            .source
            .servers
            .iter()
            .map(|server| server.port)
            .collect();
        for server in &self.source.servers {
            let providers = self.providers_at(server);
            if providers.is_empty() {
                self.idle.push(server);
            }
            for (rank, place) in providers.into_iter().enumerate() {
                let port = match rank {
                    0 => server.port,
                    _ => free_port(server.port, &mut ports),
                };
                self.listeners.push(Listener {
                    server,
                    provider: place,
                    port,
                });
                let servers = &mut self.providers[place].servers;
                if servers
                    .iter()
                    .all(|known| known.protocol != server.protocol)
                {
                    servers.push(server);
                }
            }
        }
    }

    /// The providers that a server is for; the one with the most accounts first.
    fn providers_at(&self, server: &Server) -> Vec<usize> {
        let site = Site::of(&server.host);
        let mut found = self.places(|provider| provider.settings.site() == site);
        if site == Site::Known("microsoft") {
            let is_personal = |place: &usize| self.providers[*place].settings.is_personal();
            let has_both = found.iter().any(is_personal) && !found.iter().all(is_personal);
            let wanted = |place: &usize| match () {
                () if is_personal_host(&server.host) => is_personal(place),
                () if is_work_host(&server.host) => !is_personal(place),
                () => true,
            };
            if has_both {
                found.retain(wanted);
            }
        }
        if found.is_empty() && matches!(site, Site::Other(_)) {
            found = self.the_only_stranger();
        }
        found.sort_by_key(|place| std::cmp::Reverse(self.providers[*place].accounts));
        found
    }

    /// The one provider whose endpoints do not say where its mail is, if it is one.
    fn the_only_stranger(&self) -> Vec<usize> {
        let serves = |site: &Site| {
            let mut hosts = self
                .source
                .servers
                .iter()
                .map(|server| Site::of(&server.host));
            hosts.any(|host| host == *site)
        };
        let strangers = self.places(|provider| {
            let site = provider.settings.site();
            matches!(site, Site::Other(_)) && !serves(&site)
        });
        if strangers.len() == 1 {
            strangers
        } else {
            Vec::new()
        }
    }

    fn places(&self, wanted: impl Fn(&Provider<'_>) -> bool) -> Vec<usize> {
        let all = self.providers.iter().enumerate();
        all.filter(|(_, provider)| wanted(provider))
            .map(|(place, _)| place)
            .collect()
    }
}

impl<'s> Provider<'s> {
    /// Its server for a protocol.
    pub fn server(&self, protocol: Protocol) -> Option<&'s Server> {
        let mut servers = self.servers.iter();
        servers.find(|server| server.protocol == protocol).copied()
    }

    /// Whether a server is another one than the provider's for that protocol.
    pub fn has_another(&self, server: &Server) -> Option<&'s Server> {
        self.server(server.protocol).filter(|own| {
            (&own.host, own.upstream_port, own.upstream_tls)
                != (&server.host, server.upstream_port, server.upstream_tls)
        })
    }

    /// The redirect URL as it must be written; `None` where the default is right.
    pub fn redirect(&self) -> Option<String> {
        match self.settings.redirect() {
            Redirect::Keep(url) if self.has_several_redirects => Some(without_port(url)),
            Redirect::Keep(url) => Some(url.to_owned()),
            Redirect::Default | Redirect::Refused => None,
        }
    }

    /// Whether its preset knows where its server for a protocol is.
    pub fn is_usual(&self, server: &Server) -> bool {
        let fit = self.settings.fit();
        fit.is_some_and(|fit| fit.is_usual(server))
    }
}

impl Listener<'_> {
    /// Where it listens. A name is no address, so such a listener is for this machine.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let at = |ip: IpAddr| SocketAddr::new(ip, self.port);
        match &self.server.address {
            LocalAddress::Ip(ip) => vec![at(*ip)],
            LocalAddress::Unsaid | LocalAddress::Loopback | LocalAddress::Name(_) => vec![
                at(Ipv4Addr::LOCALHOST.into()),
                at(Ipv6Addr::LOCALHOST.into()),
            ],
        }
    }
}

/// The next port that nothing in the file has; the same one if there is none, which the check of the result will tell.
fn free_port(port: u16, taken: &mut BTreeSet<u16>) -> u16 {
    let free = (port..=u16::MAX)
        .find(|port| !taken.contains(port))
        .unwrap_or(port);
    taken.insert(free);
    free
}
