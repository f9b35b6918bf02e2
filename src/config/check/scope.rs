//! `scopes` of a provider: what a token is asked for, and for which service.

use std::ops::Range;

use serde_spanned::Spanned;
use url::Url;

use super::super::problem::Problem;
use super::super::shape::Field;
use super::super::{DEFAULT_SCOPES, Flow};
use super::provider::Context;
use super::{Checker, value};

impl Checker {
    pub(super) fn scopes(
        &mut self,
        field: Field<Vec<Spanned<String>>>,
        context: &Context,
    ) -> Vec<String> {
        let Some(list) = field else {
            return default_scopes(context);
        };
        let mut audience: Option<&'static str> = None;
        let mut scopes = Vec::new();
        for text in list.into_inner() {
            let span = text.span();
            let Some(scope) = self.ok(value::scope(text)) else {
                continue;
            };
            if let Some(new) = audience_of(&scope, context.is_microsoft()) {
                self.one_audience(audience.get_or_insert(new), new, &span);
            }
            self.default_scope(&scope, &span, context);
            scopes.push(scope);
        }
        scopes
    }

    /// A token is for one service, and only one for Exchange opens mailboxes.
    fn one_audience(&mut self, first: &str, new: &str, span: &Range<usize>) {
        let hint = "ask for https://outlook.office.com/IMAP.AccessAsUser.All and its like in full, and for nothing of another service";
        if first != new {
            let message = format!(
                "this scope is for {new}, the ones before it for {first}; one token cannot be for both"
            );
            self.tell(Problem::at(span.clone(), message).hint(hint));
        } else if new == GRAPH {
            let message =
                "this scope gives a token for Microsoft Graph, which the mail servers refuse";
            self.tell(Problem::at(span.clone(), message).hint(hint));
        }
    }

    fn default_scope(&mut self, scope: &str, span: &Range<usize>, context: &Context) {
        let app = context.flow == Flow::ClientCredentials && context.is_microsoft();
        if app && !scope.ends_with("/.default") {
            let problem = Problem::at(
                span.clone(),
                "an application asks Microsoft for its permissions as a whole",
            );
            self.tell(
                problem
                    .hint("remove `scopes`, or write [\"https://outlook.office365.com/.default\"]"),
            );
        }
    }
}

fn default_scopes(context: &Context) -> Vec<String> {
    let list = match (context.flow, context.preset) {
        (Flow::AuthorizationCode, Some(preset)) => preset.scopes,
        (Flow::AuthorizationCode, None) => &DEFAULT_SCOPES[..],
        (Flow::ClientCredentials, Some(preset)) => preset.app_scopes.unwrap_or_default(),
        (Flow::ClientCredentials, None) => &[],
    };
    list.iter().map(|&scope| scope.to_owned()).collect()
}

const GRAPH: &str = "Microsoft Graph";

/// The service of Microsoft that a scope is for, if it is one of theirs.
fn audience_of(scope: &str, microsoft: bool) -> Option<&'static str> {
    let host = Url::parse(scope)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    match host.as_deref() {
        Some("graph.microsoft.com") => Some(GRAPH),
        Some("outlook.office.com" | "outlook.office365.com") => Some("Exchange Online"),
        // Without a host a permission is one of Graph; the words of OpenID Connect are for all.
        None if microsoft && !["openid", "profile", "email", "offline_access"].contains(&scope) => {
            Some(GRAPH)
        }
        _ => None,
    }
}
