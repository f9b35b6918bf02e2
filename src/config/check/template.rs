//! `[[account]]` of a whole domain.

use std::ops::Range;

use serde_spanned::Spanned;

use super::super::problem::Problem;
use super::super::roster::WHOLE_DOMAIN;
use super::super::shape;
use super::super::{Flow, Provider, Template};
use super::account::Names;
use super::{Checker, Providers, value};

/// What each of its mailboxes has of its own, and why that is no loss.
const OF_ONE_MAILBOX: [(&str, &str); 4] = [
    ("logins", "remove it: each mailbox logs in with its address"),
    (
        "password-hash",
        "remove it: a mailbox is there once it has a password of its own, by `mailwicket password add NAME@DOMAIN`",
    ),
    (
        "authorize-as",
        "remove it: the application opens each mailbox in that mailbox's own name",
    ),
    (
        "identity",
        "remove it: each mailbox's own address is named to the provider",
    ),
];

/// Whether a table stands for more than one mailbox, or was meant to.
pub fn is_template(table: &Spanned<shape::Account>) -> bool {
    let address = table.get_ref().address.as_ref();
    let local = address.and_then(|address| address.get_ref().rsplit_once('@'));
    local.is_some_and(|(local, _)| local.contains('*'))
}

impl Checker {
    /// The mailboxes of a domain: only where nobody has to sign in for each of them.
    pub(super) fn template(
        &mut self,
        table: Spanned<shape::Account>,
        providers: &Providers,
        names: &mut Names,
    ) -> Option<Template> {
        let span = table.span();
        let shape = table.into_inner();
        let own = [
            shape.logins.map(|field| field.span()),
            shape.password_hash.map(|field| field.span()),
            shape.authorize_as.map(|field| field.span()),
            shape.identity.map(|field| field.span()),
        ];
        for ((key, hint), span) in OF_ONE_MAILBOX.into_iter().zip(own) {
            if let Some(span) = span {
                let message = format!("`{key}` is for one mailbox, and this is a whole domain");
                self.tell(Problem::at(span, message).hint(hint));
            }
        }
        let provider = self.named_provider(shape.provider, &span, providers);
        let max_upstream = self.max_upstream(shape.max_upstream, provider.as_deref());
        let text = shape.address?;
        let at = text.span();
        let pattern = self.ok(value::address(text).and_then(|text| whole_domain(text, &at)))?;
        self.sole(&pattern, at.clone(), names);
        let provider = provider?;
        self.ok(opens_any(&provider, at));
        Some(Template {
            pattern,
            provider,
            max_upstream,
        })
    }
}

fn whole_domain(text: String, at: &Range<usize>) -> Result<String, Problem> {
    let domain = text.strip_prefix(WHOLE_DOMAIN);
    match domain.is_some_and(|domain| !domain.contains(['*', '@'])) {
        true => Ok(text),
        false => {
            let message = format!("`{text}` is neither a mailbox nor a whole domain");
            Err(Problem::at(at.clone(), message)
                .hint("write `*@DOMAIN` for all mailboxes of a domain; subdomains are others"))
        }
    }
}

fn opens_any(provider: &Provider, at: Range<usize>) -> Result<(), Problem> {
    if provider.flow.is_unattended() {
        return Ok(());
    }
    let name = &provider.name;
    let message = format!(
        "somebody has to sign in for each mailbox of provider `{name}` (flow = \"{}\"), so none of them is opened by a whole domain",
        provider.flow.word()
    );
    let flows = [
        Flow::ClientCredentials,
        Flow::ServiceAccount,
        Flow::ManagedIdentity,
    ];
    let flows = flows.map(|flow| format!("\"{}\"", flow.word())).join(", ");
    Err(Problem::at(at, message).hint(format!(
        "write an [[account]] for each mailbox, or let the application sign in: one of {flows} as `flow` of [provider.{name}]"
    )))
}
