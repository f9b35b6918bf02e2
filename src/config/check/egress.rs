//! `egress`: the file's word, or the environment's.

use std::ops::Range;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_spanned::Spanned;

use super::super::egress::{Egress, Origin, Proxy, ProxyLogin, parse};
use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::{Checker, value};

const HINT: &str = "write \"http://proxy.example:3128\", \"socks5://proxy.example:1080\" or \"none\"; with a login, \
                    { url = \"http://proxy.example:3128\", user = \"…\", password = { file = \"…\" } }";

impl Checker {
    pub(super) fn egress(
        &mut self,
        field: Field<shape::Egress>,
        provider: &Range<usize>,
    ) -> Egress {
        let Some(written) = field else {
            return self.environment(provider);
        };
        let span = written.span();
        let proxy = match written.into_inner() {
            shape::Egress::Url(text) if text.expose_secret() == "none" => {
                return Egress::Direct;
            }
            shape::Egress::Url(text) => parse(&text, Origin::File)
                .map_err(|fault| Problem::at(span, format!("this proxy {fault}")).hint(HINT)),
            shape::Egress::Table(table) => match self.table(*table, &span) {
                Some(proxy) => proxy,
                None => return Egress::Direct,
            },
        };
        let proxy = self.ok(proxy);
        proxy.map_or(Egress::Direct, |proxy| Egress::Proxy(Arc::new(proxy)))
    }

    /// A proxy that the environment names and nobody can use would be a failure of every login.
    fn environment(&mut self, provider: &Range<usize>) -> Egress {
        let environment = Arc::clone(&self.environment);
        if self.dropped.contains(provider, "egress") {
            return Egress::Direct; // whatever it says, it was meant to say it
        }
        for fault in environment.faults() {
            let problem = Problem::at(provider.clone(), fault.as_str());
            self.tell(
                problem.hint("give `egress` here; egress = \"none\" ignores the environment"),
            );
        }
        Egress::Environment(environment)
    }

    /// `{ url, user, password }`; `None` if a part of it was refused before.
    fn table(
        &mut self,
        table: shape::EgressTable,
        span: &Range<usize>,
    ) -> Option<Result<Proxy, Problem>> {
        let url = self.required(table.url, span, "url", HINT);
        let has_user = table.user.is_some() || self.dropped.contains(span, "user");
        let user = match table.user {
            Some(user) => Some(self.ok(value::filled(user, "`user`"))?),
            None => None,
        };
        let has_password = table.password.is_some() || self.dropped.contains(span, "password");
        let password = match table.password {
            Some(password) => Some(self.secret(password, "password")?),
            None => None,
        };
        let url = url?;
        if has_user != user.is_some() || has_password != password.is_some() {
            return None;
        }
        Some(joined(&url, user, password, span))
    }
}

fn joined(
    url: &Spanned<String>,
    user: Option<String>,
    password: Option<super::SecretSource>,
    span: &Range<usize>,
) -> Result<Proxy, Problem> {
    let wrong = |span: Range<usize>, fault: &str| {
        Problem::at(span, format!("this proxy {fault}")).hint(HINT)
    };
    let mut proxy = parse(&url.get_ref().as_str().into(), Origin::File)
        .map_err(|fault| wrong(url.span(), &fault))?;
    let login = match (user, password) {
        (None, None) => return Ok(proxy),
        (None, Some(_)) => return Err(wrong(span.clone(), "has a password, but no user name")),
        (Some(_), _) if proxy.login.is_some() => {
            return Err(wrong(
                url.span(),
                "has its user both in the URL and beside it",
            ));
        }
        (Some(user), password) => ProxyLogin { user, password },
    };
    if let Some(fault) = login.fault(proxy.kind) {
        return Err(wrong(span.clone(), fault));
    }
    proxy.login = Some(login);
    Ok(proxy)
}
