//! `[[listener]]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde_spanned::Spanned;

use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::{CertificateFiles, Listener, LocalTls, Provider, Roster, SecretSource};
use super::{Checker, Providers, value};
use crate::protocol::Protocol;

impl Checker {
    /// All listeners. The console's address is taken as well.
    pub(super) fn listeners(
        &mut self,
        tables: Vec<Spanned<shape::Listener>>,
        providers: &Providers,
        roster: &Roster,
        console: Option<SocketAddr>,
    ) -> Vec<Arc<Listener>> {
        let mut taken: BTreeSet<SocketAddr> = console.into_iter().collect();
        let listeners = tables
            .into_iter()
            .map(|table| self.listener(table, providers, roster, &mut taken));
        listeners.flatten().map(Arc::new).collect()
    }

    fn listener(
        &mut self,
        table: Spanned<shape::Listener>,
        providers: &Providers,
        roster: &Roster,
        taken: &mut BTreeSet<SocketAddr>,
    ) -> Option<Listener> {
        let span = table.span();
        let shape = table.into_inner();
        let protocol = self.required(
            shape.protocol,
            &span,
            "protocol",
            "protocol = \"imap\", \"pop3\" or \"smtp\"",
        );
        let named_at = shape.provider.as_ref().map(Spanned::span);
        let provider = self.named_provider(shape.provider, &span, providers);
        let places = shape.listen.as_ref().map(places).unwrap_or_default();
        let addresses = self.addresses(shape.listen, &span, taken);
        let tls = shape
            .tls
            .as_ref()
            .map(|tls| *tls.get_ref())
            .unwrap_or_default();
        let allowed = shape.allow_plaintext_from;
        self.plaintext(tls, allowed.as_ref().map(Spanned::span), &places);
        let allow_plaintext_from = self.networks(allowed, "allow-plaintext-from", None);
        let certificate = self.server_certificate(shape.certificate, tls);
        let proxy_protocol_from = self.networks(
            shape.proxy_protocol_from,
            "proxy-protocol-from",
            Some("whoever is in it may claim to come from any address"),
        );
        let protocol = protocol?.into_inner();
        let provider = provider?;
        let without_login = shape
            .without_login
            .and_then(|table| self.without_login(table, protocol, &provider, roster));
        self.must_serve(&provider, protocol, named_at.unwrap_or(span));
        Some(Listener {
            protocol,
            provider,
            addresses,
            tls,
            certificate,
            allow_plaintext_from,
            on_unavailable: shape
                .on_unavailable
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            proxy_protocol_from,
            without_login,
        })
    }

    /// Passwords cross a network in clear only where somebody has said so in so many words.
    fn plaintext(
        &mut self,
        tls: LocalTls,
        allowed: Option<Range<usize>>,
        places: &[(Range<usize>, SocketAddr)],
    ) {
        if tls == LocalTls::Implicit {
            if let Some(span) = allowed {
                let message = "`allow-plaintext-from` has no meaning with tls = \"implicit\"";
                self.tell(Problem::at(span, message).hint(
                    "remove it, or set tls = \"auto\" to take connections in clear from there",
                ));
            }
            return;
        }
        if tls != LocalTls::None || allowed.is_some() {
            return;
        }
        let open = |(_, address): &&(Range<usize>, SocketAddr)| !value::is_loopback(address.ip());
        for (span, address) in places.iter().filter(open) {
            let message = format!(
                "{address} can be reached from other machines, and passwords would cross the network in clear"
            );
            self.tell(Problem::at(span.clone(), message).hint(
                "set tls = \"auto\" (or \"implicit\", \"starttls\"); for devices without TLS add \
                 allow-plaintext-from = [\"192.168.1.17\"]; or listen on 127.0.0.1 and [::1]",
            ));
        }
    }

    fn server_certificate(
        &mut self,
        field: Field<shape::Certificate>,
        tls: LocalTls,
    ) -> Option<CertificateFiles> {
        let span = field.as_ref()?.span();
        if tls == LocalTls::None {
            let message = "a `certificate` is of no use with tls = \"none\"";
            self.tell(
                Problem::at(span, message).hint("set tls = \"auto\", \"implicit\" or \"starttls\""),
            );
        }
        self.certificate_files(field)
    }

    /// A certificate that is shown to mail programs, or to browsers.
    pub(super) fn certificate_files(
        &mut self,
        field: Field<shape::Certificate>,
    ) -> Option<CertificateFiles> {
        let table = field?;
        let span = table.span();
        let shape::Certificate { file, key } = table.into_inner();
        let hint = "certificate = { file = \"fullchain.pem\", key = { file = \"privkey.pem\" } }";
        let file = self.required(file, &span, "file", hint)?;
        let chain = self.ok(value::filled(file, "the file name"))?;
        let chain = self.path(&chain);
        let key = match key {
            None => chain.clone(),
            Some(key) => self.key_file(key)?,
        };
        Some(CertificateFiles { chain, key })
    }

    /// The key is read again when it changes, so only a file will do.
    fn key_file(&mut self, key: Spanned<shape::Secret>) -> Option<PathBuf> {
        let span = key.span();
        match self.secret(key, "key")? {
            SecretSource::File(path) => Some(path),
            _ => {
                let message = "the key of a listener's certificate must be in a file";
                self.tell(Problem::at(span, message).hint("key = { file = \"privkey.pem\" }"));
                None
            }
        }
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

/// The addresses of a listener that can be read, with their places.
fn places(list: &Spanned<shape::OneOrMany>) -> Vec<(Range<usize>, SocketAddr)> {
    let place = |text: &Spanned<String>| Some((text.span(), text.get_ref().parse().ok()?));
    list.get_ref().0.iter().filter_map(place).collect()
}
