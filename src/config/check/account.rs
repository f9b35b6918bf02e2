//! `[[account]]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_spanned::Spanned;

use super::super::preset::Preset;
use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::{Account, Flow, Identity, MaxUpstream, Provider, Roster};
use super::template::is_template;
use super::{Checker, MOST_SESSIONS, Providers, value};

/// Who has which login name, in folded form.
type Owners = BTreeMap<String, String>;

impl Checker {
    pub(super) fn roster(
        &mut self,
        tables: Vec<Spanned<shape::Account>>,
        providers: &Providers,
    ) -> Roster {
        let mut names = Names::default();
        let (mut accounts, mut templates) = (Vec::new(), Vec::new());
        for table in tables {
            match is_template(&table) {
                true => templates.extend(self.template(table, providers, &mut names).map(Arc::new)),
                false => accounts.extend(self.account(table, providers, &mut names).map(Arc::new)),
            }
        }
        Roster::new(accounts, templates)
    }

    fn account(
        &mut self,
        table: Spanned<shape::Account>,
        providers: &Providers,
        names: &mut Names,
    ) -> Option<Account> {
        let span = table.span();
        let shape = table.into_inner();
        let provider = self.named_provider(shape.provider, &span, providers);
        let address = self.mailbox(shape.address, &span, names);
        let logins = self.logins(shape.logins, address.as_ref(), names);
        let default = address
            .as_ref()
            .map(|address| address.get_ref().as_str())
            .unwrap_or_default();
        let identity = self.identity(shape.identity, default);
        let authorize_as = self.authorize_as(shape.authorize_as, provider.as_deref());
        let max_upstream = self.max_upstream(shape.max_upstream, provider.as_deref());
        let password_hashes = self.hashes(shape.password_hash);
        Some(Account {
            address: address?.into_inner(),
            provider: provider?,
            logins,
            identity,
            authorize_as,
            max_upstream,
            password_hashes,
        })
    }

    /// The address, which is the account's name: there is one of each.
    fn mailbox(
        &mut self,
        field: Field<String>,
        table: &Range<usize>,
        names: &mut Names,
    ) -> Option<Spanned<String>> {
        let text = self.required(
            field,
            table,
            "address",
            "address = \"NAME@DOMAIN\", the mailbox",
        )?;
        let span = text.span();
        let address = self.ok(value::address(text))?;
        let address = self.ok(value::person(address, span.clone()))?;
        self.sole(&address, span.clone(), names);
        Some(Spanned::new(span, address))
    }

    /// Sees that there is one table with this address.
    pub(super) fn sole(&mut self, address: &str, span: Range<usize>, names: &mut Names) {
        let former = names.addresses.insert(fold(address), address.to_owned());
        if former.is_some() {
            let message = format!("there is another account `{address}`");
            self.tell(
                Problem::at(span, message).hint(
                    "an account may have several `logins` and passwords; one table is enough",
                ),
            );
        }
    }

    /// The names accepted locally; by default the address.
    fn logins(
        &mut self,
        field: Field<shape::OneOrMany>,
        address: Option<&Spanned<String>>,
        names: &mut Names,
    ) -> Vec<String> {
        let given = match field {
            Some(list) if list.get_ref().0.is_empty() => {
                self.tell(
                    Problem::at(list.span(), "`logins` is empty, so nobody could log in")
                        .hint("remove it: the address is the default"),
                );
                Vec::new()
            }
            Some(list) => list.into_inner().0,
            None => address.cloned().into_iter().collect(),
        };
        let owner = address
            .map(|address| address.get_ref().as_str())
            .unwrap_or_default();
        let mut logins = Vec::new();
        for text in given {
            let span = text.span();
            if let Some(login) = self.ok(value::name(text, "the login name")) {
                self.claim(&login, owner, span, names);
                logins.push(login);
            }
        }
        logins
    }

    /// A login name belongs to one account: it decides whose mail is opened.
    fn claim(&mut self, login: &str, owner: &str, span: Range<usize>, names: &mut Names) {
        let other = names.logins.insert(fold(login), owner.to_owned());
        if let Some(other) = other.filter(|other| fold(other) != fold(owner)) {
            let message =
                format!("the login name `{login}` belongs to the account `{other}` as well");
            self.tell(Problem::at(span, message).hint(
                "give each account `logins` of its own; upper and lower case count as equal",
            ));
        }
    }

    fn identity(&mut self, field: Field<shape::Identity>, default: &str) -> Identity {
        let Some(identity) = field else {
            return Identity::all(default);
        };
        let span = identity.span();
        match identity.into_inner() {
            shape::Identity::All(name) => {
                Identity::all(&self.user(Some(Spanned::new(span, name)), default))
            }
            shape::Identity::Each(each) => Identity {
                imap: self.user(each.imap, default),
                pop3: self.user(each.pop3, default),
                smtp: self.user(each.smtp, default),
            },
        }
    }

    fn user(&mut self, field: Field<String>, default: &str) -> String {
        let given = field.and_then(|name| self.ok(value::name(name, "the identity")));
        given.unwrap_or_else(|| default.to_owned())
    }

    fn authorize_as(
        &mut self,
        field: Field<String>,
        provider: Option<&Provider>,
    ) -> Option<String> {
        let text = field?;
        let span = text.span();
        let name = self.ok(value::name(text, "`authorize-as`"))?;
        let name = self.ok(value::person(name, span.clone()))?;
        if let Some(provider) = provider.filter(|provider| has_nobody(provider.flow)) {
            let message = format!(
                "nobody signs in with the flow of provider `{}`",
                provider.name
            );
            self.tell(
                Problem::at(span, message)
                    .hint("remove `authorize-as`; the application opens the mailbox itself"),
            );
        }
        Some(name)
    }

    /// What is not said is as the preset of the provider has it.
    pub(super) fn max_upstream(
        &mut self,
        field: Field<shape::MaxUpstream>,
        provider: Option<&Provider>,
    ) -> MaxUpstream {
        let preset = provider.and_then(|provider| Preset::named(provider.preset.as_deref()?));
        let default = preset.map(|preset| preset.max_upstream).unwrap_or_default();
        let Some(given) = field else { return default };
        let span = given.span();
        match given.into_inner() {
            shape::MaxUpstream::All(number) => {
                let all = self.sessions(Some(Spanned::new(span, number)));
                MaxUpstream {
                    imap: all,
                    pop3: all,
                    smtp: all,
                }
            }
            shape::MaxUpstream::Each(each) => MaxUpstream {
                imap: self.sessions(each.imap).or(default.imap),
                pop3: self.sessions(each.pop3).or(default.pop3),
                smtp: self.sessions(each.smtp).or(default.smtp),
            },
        }
    }

    fn sessions(&mut self, field: Field<i64>) -> Option<usize> {
        field.and_then(|number| self.ok(value::number(&number, 1, MOST_SESSIONS)))
    }

    fn hashes(&mut self, field: Field<shape::OneOrMany>) -> Vec<String> {
        let texts = field.map(|list| list.into_inner().0).unwrap_or_default();
        texts
            .into_iter()
            .filter_map(|text| self.ok(value::password_hash(text)))
            .collect()
    }
}

/// Whether there is nobody whose consent or name a token could carry. A service account acts as the one it is told.
fn has_nobody(flow: Flow) -> bool {
    flow.is_unattended() && flow != Flow::ServiceAccount
}

/// The names in use so far.
#[derive(Default)]
pub(super) struct Names {
    addresses: Owners,
    logins: Owners,
}

/// Names that differ only in case are one name to people, so two accounts must not share one. (The lookup folds ASCII only; this is wider.)
fn fold(name: &str) -> String {
    name.to_lowercase()
}
