//! `without-login` of a listener: devices that cannot log in.

use std::ops::Range;
use std::sync::Arc;

use serde_spanned::Spanned;

use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::{Account, Provider, Roster, Senders, WithoutLogin};
use super::Checker;
use crate::protocol::Protocol;

impl Checker {
    pub(super) fn without_login(
        &mut self,
        table: Spanned<shape::WithoutLogin>,
        protocol: Protocol,
        provider: &Provider,
        roster: &Roster,
    ) -> Option<WithoutLogin> {
        let span = table.span();
        let shape = table.into_inner();
        if protocol != Protocol::Smtp {
            let message = format!("`without-login` is for sending mail, not for {protocol}");
            self.tell(
                Problem::at(span.clone(), message)
                    .hint("move it to a listener with protocol = \"smtp\""),
            );
        }
        let account = self.device_account(shape.account, &span, provider, roster);
        let hint = "from = [\"192.168.1.20\"], the addresses of the devices: everybody there sends as this account";
        let from = self.required(shape.from, &span, "from", hint);
        let risk = "whoever is in it may send mail as this account, without any password";
        let from = self.networks(from, "from", Some(risk));
        let senders = shape.senders.and_then(|list| self.senders(list));
        Some(WithoutLogin {
            account: account?,
            from,
            senders: senders.map(Arc::new),
        })
    }

    fn device_account(
        &mut self,
        field: Field<String>,
        table: &Range<usize>,
        provider: &Provider,
        roster: &Roster,
    ) -> Option<Arc<Account>> {
        let hint = "account = \"NAME@DOMAIN\", the mailbox that the devices send as";
        let name = self.required(field, table, "account", hint)?;
        let is_it = |account: &&Arc<Account>| account.address.eq_ignore_ascii_case(name.get_ref());
        match roster.accounts().iter().find(is_it) {
            Some(account) if account.provider.name == provider.name => Some(Arc::clone(account)),
            Some(account) => {
                let message = format!(
                    "`{}` belongs to provider `{}`, this listener to `{}`",
                    account.address, account.provider.name, provider.name
                );
                self.tell(
                    Problem::at(name.span(), message)
                        .hint("give the provider a listener of its own"),
                );
                None
            }
            None => {
                let message = format!("there is no sound account `{}`", name.get_ref());
                // Whoever needs no password must not depend on who has one.
                let hint = match roster.by_address(name.get_ref()) {
                    Some(_) => {
                        "write an [[account]] with this address: a whole domain is for those who log in"
                    }
                    None => {
                        "write the `address` of an [[account]] of this file; a whole domain is none"
                    }
                };
                self.tell(Problem::at(name.span(), message).hint(hint));
                None
            }
        }
    }

    fn senders(&mut self, list: Spanned<shape::OneOrMany>) -> Option<Senders> {
        if list.get_ref().0.is_empty() {
            self.tell(
                Problem::at(list.span(), "`senders` is empty, so no mail could be sent").hint(
                    "name the allowed senders, or remove it to allow what the mail server allows",
                ),
            );
            return None;
        }
        for text in &list.get_ref().0 {
            if let Err(fault) = Senders::new([text.get_ref().as_str()]) {
                let message = format!("`{}` is no sender", text.get_ref());
                self.tell(Problem::at(text.span(), message).hint(fault.to_string()));
            }
        }
        Senders::new(list.get_ref().0.iter().map(|text| text.get_ref().as_str())).ok()
    }
}
