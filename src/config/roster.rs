//! Who is who: which account an address or a login name stands for.
//!
//! A template stands for the mailboxes of a domain. It is no account itself: nobody signs in as it and it has no token. Which of its
//! mailboxes exist is not known here; that is a matter of passwords.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Account, Config, Identity, MaxUpstream, Provider};

/// What the address of a template begins with.
pub const WHOLE_DOMAIN: &str = "*@";

/// What stands between the person and the mailbox in a login name, as Exchange has it; the second is for programs that take the first
/// for an escape.
const OF_A_PERSON: [char; 2] = ['\\', '/'];

/// A whole domain, whose mailboxes an application opens by itself.
#[derive(Clone, Debug)]
pub struct Template {
    /// How it is written: `*@contoso.com`.
    pub pattern: String,
    /// The registration that opens the mailboxes.
    pub provider: Arc<Provider>,
    /// How many sessions each mailbox may have with its provider.
    pub max_upstream: MaxUpstream,
}

impl Template {
    /// The domain, as it is written.
    pub fn domain(&self) -> &str {
        self.pattern.trim_start_matches(WHOLE_DOMAIN)
    }

    /// Whether an address could be one of this domain.
    pub fn covers(&self, address: &str) -> bool {
        address.rsplit_once('@').is_some_and(|(local, domain)| {
            domain.eq_ignore_ascii_case(self.domain()) && is_plain(local)
        })
    }

    /// The account of a mailbox, if it could be one of this domain. Its name has ASCII letters in lower case, as the vault has it.
    pub fn mailbox(&self, address: &str) -> Option<Arc<Account>> {
        if !self.covers(address) {
            return None;
        }
        let address = address.to_ascii_lowercase();
        Some(Arc::new(Account {
            provider: Arc::clone(&self.provider),
            logins: vec![address.clone()],
            identity: Identity::all(&address),
            authorize_as: None,
            max_upstream: self.max_upstream,
            password_hashes: Vec::new(),
            address,
        }))
    }
}

/// Whether it can stand before the `@` of a mailbox in a domain that is opened as a whole: nothing quoted, no template, no form of a login.
fn is_plain(local: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "*@\\\"".contains(c);
    !local.is_empty() && !local.contains(is_odd)
}

/// The accounts and templates of a configuration. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Lists>);

#[derive(Debug, Default)]
struct Lists {
    accounts: Vec<Arc<Account>>,
    templates: Vec<Arc<Template>>,
    /// Both by their name with ASCII letters in lower case.
    by_address: HashMap<String, usize>,
    by_login: HashMap<String, usize>,
}

impl Roster {
    /// Of these. Where two have a name in common, which the check of a configuration refuses, the last has it.
    pub fn new(accounts: Vec<Arc<Account>>, templates: Vec<Arc<Template>>) -> Self {
        let places = || accounts.iter().enumerate();
        let by_address = places().map(|(at, account)| (account.address.to_ascii_lowercase(), at));
        let logins = places().flat_map(|(at, account)| account.logins.iter().map(move |l| (l, at)));
        // An empty login opens nothing, whatever a configuration says.
        let by_login = logins.filter(|(login, _)| !login.is_empty());
        let by_login = by_login.map(|(login, at)| (login.to_ascii_lowercase(), at));
        Self(Arc::new(Lists {
            by_address: by_address.collect(),
            by_login: by_login.collect(),
            accounts,
            templates,
        }))
    }

    /// The accounts that have a table of their own, in the order of the file.
    pub fn accounts(&self) -> &[Arc<Account>] {
        &self.0.accounts
    }

    /// The templates, in the order of the file.
    pub fn templates(&self) -> &[Arc<Template>] {
        &self.0.templates
    }

    /// Whether nobody can have a mailbox here.
    pub fn is_empty(&self) -> bool {
        self.0.accounts.is_empty() && self.0.templates.is_empty()
    }

    /// The providers that mailboxes have, each at least once.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        let of_accounts = self.0.accounts.iter().map(|account| &account.provider);
        of_accounts.chain(self.0.templates.iter().map(|template| &template.provider))
    }

    /// The account with this address: its own table, else that of its domain. ASCII case is ignored.
    pub fn by_address(&self, address: &str) -> Option<Arc<Account>> {
        let name = address.to_ascii_lowercase();
        match self.0.by_address.get(&name) {
            Some(&at) => Some(Arc::clone(&self.0.accounts[at])),
            None => self.of_domain(&name),
        }
    }

    /// The account with this address, if only a template covers it.
    pub fn covered(&self, address: &str) -> Option<Arc<Account>> {
        let name = address.to_ascii_lowercase();
        match self.0.by_address.contains_key(&name) {
            true => None,
            false => self.of_domain(&name),
        }
    }

    /// The account that this login name opens, if its password is known: a name in `logins`, PERSON\MAILBOX, or an address that a
    /// template covers. ASCII case is ignored.
    pub fn by_login(&self, login: &str) -> Option<Arc<Account>> {
        let name = login.to_ascii_lowercase();
        let own = self.0.by_login.get(&name).copied();
        let own = own.or_else(|| self.shared_with(&name));
        match own {
            Some(at) => Some(Arc::clone(&self.0.accounts[at])),
            // What has a table of its own is opened by what stands there, and by nothing else.
            None => self.covered(&name),
        }
    }

    /// The template that is written so.
    pub fn template(&self, pattern: &str) -> Option<&Arc<Template>> {
        let mut templates = self.0.templates.iter();
        templates.find(|template| template.pattern.eq_ignore_ascii_case(pattern))
    }

    /// The account that PERSON\MAILBOX means: MAILBOX, if PERSON is known there. It is one more name for it, and opens nothing that
    /// MAILBOX's own password does not.
    fn shared_with(&self, name: &str) -> Option<usize> {
        let (person, mailbox) = name.rsplit_once(OF_A_PERSON)?;
        let at = match mailbox.contains('@') {
            true => self.0.by_address.get(mailbox),
            // An alias, in the person's own domain.
            false => {
                let (_, domain) = person.rsplit_once('@')?;
                self.0.by_address.get(&format!("{mailbox}@{domain}"))
            }
        };
        at.copied()
            .filter(|&at| self.0.accounts[at].is_known(person))
    }

    fn of_domain(&self, name: &str) -> Option<Arc<Account>> {
        // A name that opens another account must not have a mailbox of its own.
        if self.0.by_login.contains_key(name) {
            return None;
        }
        let mut templates = self.0.templates.iter();
        templates.find_map(|template| template.mailbox(name))
    }
}

impl Account {
    /// Whether `person` may be named as who opens this mailbox: the delegate that signs in for it, or one of its own login names.
    fn is_known(&self, person: &str) -> bool {
        let delegate = self.authorize_as.as_ref();
        let mut known = delegate.into_iter().chain(&self.logins);
        known.any(|known| known.eq_ignore_ascii_case(person))
    }
}

impl Config {
    /// The account of a mailbox; ASCII case is ignored. One that only a template covers is there whether it is in use or not.
    ///
    /// # Errors
    /// If there is none.
    pub fn account(&self, address: &str) -> Result<Arc<Account>, NoSuchAccount> {
        let found = self.roster.by_address(address);
        found.ok_or_else(|| match self.roster.template(address) {
            Some(template) => NoSuchAccount::WholeDomain(template.domain().to_owned()),
            None => NoSuchAccount::Unknown {
                wanted: address.to_owned(),
                known: self.names().take(NAMED).collect::<Vec<_>>().join(", "),
            },
        })
    }

    /// How accounts and templates are called in the file.
    fn names(&self) -> impl Iterator<Item = &str> {
        let accounts = self.roster.accounts().iter();
        let templates = self.roster.templates().iter();
        let accounts = accounts.map(|account| account.address.as_str());
        accounts.chain(templates.map(|template| template.pattern.as_str()))
    }
}

/// Accounts that are named to somebody who looked for another.
const NAMED: usize = 10;

/// The configuration has no such account.
#[derive(Debug, thiserror::Error)]
pub enum NoSuchAccount {
    /// Neither a table nor a template.
    #[error("the configuration has no account {wanted:?}; it has: {known}")]
    Unknown {
        /// What somebody looked for.
        wanted: String,
        /// Some that there are.
        known: String,
    },
    /// A template, which is no account.
    #[error("*@{0} stands for every mailbox of the domain; name one of them, as in NAME@{0}")]
    WholeDomain(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::account;

    fn template(pattern: &str) -> Arc<Template> {
        Arc::new(Template {
            pattern: pattern.to_owned(),
            provider: Arc::clone(&account("x@contoso.com", &[], &[]).provider),
            max_upstream: MaxUpstream::default(),
        })
    }

    fn shared(address: &str, logins: &[&str], delegate: &str) -> Arc<Account> {
        let account = account(address, logins, &[]);
        Arc::new(Account {
            authorize_as: Some(delegate.to_owned()),
            ..Account::clone(&account)
        })
    }

    fn roster() -> Roster {
        let accounts = vec![
            account("Alice@contoso.com", &["alice@contoso.com"], &[]),
            account(
                "bob@contoso.com",
                &["scanner-2", "carol@contoso.com", ""],
                &[],
            ),
            shared("Support@contoso.com", &["desk"], "Alice@Contoso.com"),
        ];
        Roster::new(
            accounts,
            vec![template("*@Contoso.com"), template("*@fabrikam.com")],
        )
    }

    fn opened_by(login: &str) -> Option<String> {
        let account = roster().by_login(login)?;
        Some(account.address.clone())
    }

    #[test]
    fn a_table_of_its_own_comes_before_the_template_of_the_domain() {
        assert_eq!(opened_by("ALICE@contoso.com").unwrap(), "Alice@contoso.com");
        assert_eq!(opened_by("Dave@Contoso.com").unwrap(), "dave@contoso.com");
        assert_eq!(opened_by("dave@fabrikam.com").unwrap(), "dave@fabrikam.com");
        assert_eq!(opened_by("scanner-2").unwrap(), "bob@contoso.com");
        // `logins` stands in place of the address.
        assert_eq!(opened_by("bob@contoso.com"), None);
        // A name that opens bob's mailbox has none of its own.
        assert_eq!(opened_by("carol@contoso.com").unwrap(), "bob@contoso.com");
        assert!(roster().by_address("carol@contoso.com").is_none());
        assert_eq!(
            roster().by_address("bob@contoso.com").unwrap().logins.len(),
            3
        );
        let dave = roster().by_address("Dave@contoso.com").unwrap();
        assert_eq!(dave.identity.smtp, "dave@contoso.com");
    }

    #[test]
    fn a_template_has_only_plain_mailboxes_of_its_own_domain() {
        for name in [
            "",
            "dave",
            "@contoso.com",
            "*@contoso.com",
            "d*@contoso.com",
            "a b@contoso.com",
            "a\u{1}@contoso.com",
            "a@b@contoso.com",
            "\"a\"@contoso.com",
            "dave@sub.contoso.com",
            "dave@contoso.com.",
            "x\\dave@contoso.com",
        ] {
            assert_eq!(opened_by(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_person_who_is_known_there_can_be_named_before_the_mailbox() {
        for login in [
            r"alice@contoso.com\support@contoso.com",
            r"ALICE@contoso.com\Support",
            "alice@contoso.com/support",
            "alice@contoso.com/support@contoso.com",
            r"desk\support@contoso.com",
        ] {
            assert_eq!(opened_by(login).unwrap(), "Support@contoso.com", "{login}");
        }
        for login in [
            // Not known there.
            r"bob@contoso.com\support",
            r"support@contoso.com\alice",
            r"alice@contoso.com\bob",
            // Of no domain, or of another one.
            r"desk\support",
            r"alice@fabrikam.com\support",
            // A template knows nobody.
            r"alice@contoso.com\dave",
            r"dave@contoso.com\dave@contoso.com",
            r"\support@contoso.com",
            r"alice@contoso.com\",
            r"\",
        ] {
            assert_eq!(opened_by(login), None, "{login}");
        }
    }

    #[test]
    fn a_login_that_is_written_like_one_of_a_person_is_taken_as_it_is_written() {
        let odd = account("odd@contoso.com", &[r"Alice@contoso.com\support"], &[]);
        let support = shared("support@contoso.com", &["desk"], "alice@contoso.com");
        let roster = Roster::new(vec![odd, support], Vec::new());
        let opened = roster.by_login(r"alice@contoso.com\support").unwrap();
        assert_eq!(opened.address, "odd@contoso.com");
    }
}
