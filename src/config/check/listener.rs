//! `[[listener]]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use serde_spanned::Spanned;

use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::{Account, Listener, Provider};
use super::{Checker, Providers, value};
use crate::protocol::Protocol;

impl Checker {
    /// All listeners. The console's address is taken as well.
    pub(super) fn listeners(
        &mut self,
        tables: Vec<Spanned<shape::Listener>>,
        providers: &Providers,
        accounts: &[Arc<Account>],
        console: Option<&Spanned<SocketAddr>>,
    ) -> Vec<Arc<Listener>> {
        let mut taken: BTreeSet<SocketAddr> = console
            .map(|address| *address.get_ref())
            .into_iter()
            .collect();
        let listeners = tables
            .into_iter()
            .map(|table| self.listener(table, providers, accounts, &mut taken));
        listeners.flatten().map(Arc::new).collect()
    }

    fn listener(
        &mut self,
        table: Spanned<shape::Listener>,
        providers: &Providers,
        accounts: &[Arc<Account>],
        taken: &mut BTreeSet<SocketAddr>,
    ) -> Option<Listener> {
        let span = table.span();
        let shape = table.into_inner();
        self.listener_later(&shape);
        let protocol = self.required(
            shape.protocol,
            &span,
            "protocol",
            "protocol = \"imap\", \"pop3\" or \"smtp\"",
        );
        let named_at = shape.provider.as_ref().map(Spanned::span);
        let provider = self.named_provider(shape.provider, &span, providers);
        let addresses = self.addresses(shape.listen, &span, taken);
        let proxy_protocol_from = self.networks(
            shape.proxy_protocol_from,
            "proxy-protocol-from",
            "whoever is in it may claim to come from any address",
        );
        let protocol = protocol?.into_inner();
        let provider = provider?;
        let without_login = shape
            .without_login
            .and_then(|table| self.without_login(table, protocol, &provider, accounts));
        self.must_serve(&provider, protocol, named_at.unwrap_or(span));
        Some(Listener {
            protocol,
            provider,
            addresses,
            on_unavailable: shape
                .on_unavailable
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            proxy_protocol_from,
            without_login,
        })
    }

    fn listener_later(&mut self, shape: &shape::Listener) {
        if let Some(tls) = shape
            .tls
            .as_ref()
            .filter(|tls| *tls.get_ref() != shape::LocalTls::None)
        {
            self.not_yet(
                tls.span(),
                "TLS for mail programs (`tls` other than \"none\")",
            );
        }
        self.later(&shape.certificate, "`certificate`");
        self.later(&shape.allow_plaintext_from, "`allow-plaintext-from`");
    }

    fn addresses(
        &mut self,
        field: Field<shape::OneOrMany>,
        table: &Range<usize>,
        taken: &mut BTreeSet<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let hint = "listen = [\"127.0.0.1:1143\", \"[::1]:1143\"]";
        let Some(list) = self.required(field, table, "listen", hint) else {
            return Vec::new();
        };
        if list.get_ref().0.is_empty() {
            self.tell(Problem::at(list.span(), "`listen` names no address").hint(hint));
        }
        let texts = list.into_inner().0;
        texts
            .iter()
            .filter_map(|text| self.address_once(text, taken))
            .collect()
    }

    fn address_once(
        &mut self,
        text: &Spanned<String>,
        taken: &mut BTreeSet<SocketAddr>,
    ) -> Option<SocketAddr> {
        let address = self.ok(value::socket_address(text))?;
        // Port 0 is any free port, each time another.
        if address.port() != 0 && !taken.insert(address) {
            let message = format!("{address} is taken already in this file");
            self.tell(
                Problem::at(text.span(), message)
                    .hint("give each listener, and the console, a port of its own"),
            );
        }
        Some(address)
    }

    fn must_serve(&mut self, provider: &Provider, protocol: Protocol, span: Range<usize>) {
        if provider.endpoint(protocol).is_none() {
            let name = &provider.name;
            let message = format!("provider `{name}` has no {protocol} server");
            let hint = format!("add {protocol} = {{ host = \"…\" }} to [provider.{name}]");
            self.tell(Problem::at(span, message).hint(hint));
        }
    }
}
