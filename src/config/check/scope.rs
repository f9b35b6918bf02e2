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
        let list_at = list.span();
        let mut audience: Option<&'static str> = None;
        let mut scopes = Vec::new();
        let mut is_whole = true;
        for text in list.into_inner() {
            let span = text.span();
            let Some(scope) = self.ok(value::scope(text)) else {
                is_whole = false;
                continue;
            };
            self.own_cloud(&scope, &span, context);
            if let Some(new) = audience_of(&scope, context.is_microsoft()) {
                self.one_audience(audience.get_or_insert(new), new, &span);
            }
            self.default_scope(&scope, &span, context);
            scopes.push(scope);
        }
        if is_whole {
            self.opens_mail(&scopes, list_at, context);
        }
        scopes
    }

    /// Where it is known what opens a mailbox, something of it must be asked for. Scopes that were told off already are not told again.
    fn opens_mail(&mut self, scopes: &[String], at: Range<usize>, context: &Context) {
        let Some(preset) = context.preset else { return };
        let opens = |scope: &String| match preset.name {
            "google" => GOOGLE_MAIL.contains(&scope.as_str()),
            _ => {
                !preset.is_microsoft()
                    || host_of(scope).is_some()
                    || audience_of(scope, true).is_some()
            }
        };
        if !scopes.iter().any(opens) {
            let hint = "remove `scopes`; the preset asks for what the mail servers want";
            self.tell(Problem::at(at, "none of these scopes opens a mailbox").hint(hint));
        }
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

    /// Each cloud of Microsoft has mail servers of its own, which take tokens for them alone.
    fn own_cloud(&mut self, scope: &str, span: &Range<usize>, context: &Context) {
        let Some(preset) = context.preset else { return };
        let foreign = host_of(scope)
            .filter(|_| audience_of(scope, true) != Some(GRAPH)) // told by `one_audience`
            .filter(|host| !preset.audience.contains(&host.as_str()));
        if let Some(host) = foreign.filter(|_| preset.is_microsoft()) {
            let message = match EXCHANGE.contains(&host.as_str()) {
                true => format!("{host} is not of the cloud of preset = \"{}\"", preset.name),
                false => format!(
                    "a token for {host} opens no mailbox, and one token cannot be for two services"
                ),
            };
            let hint = format!("use https://{}/… here", preset.audience[0]);
            self.tell(Problem::at(span.clone(), message).hint(hint));
        }
    }

    fn default_scope(&mut self, scope: &str, span: &Range<usize>, context: &Context) {
        let app = matches!(
            context.flow,
            Flow::ClientCredentials | Flow::ManagedIdentity
        ) && context.is_microsoft();
        if app && !scope.ends_with("/.default") {
            let problem = Problem::at(
                span.clone(),
                "an application asks Microsoft for its permissions as a whole",
            );
            self.tell(
                problem
                    .hint("remove `scopes`; for Exchange Online the preset asks for https://outlook.office365.com/.default"),
            );
        }
    }
}

fn default_scopes(context: &Context) -> Vec<String> {
    let list = match (context.flow, context.preset) {
        (Flow::ServiceAccount, Some(preset)) => preset.service_scopes.unwrap_or_default(),
        (flow, Some(preset)) if flow.is_unattended() => preset.app_scopes.unwrap_or_default(),
        (flow, None) if flow.is_unattended() => &[],
        (_, Some(preset)) => preset.scopes,
        (_, None) => &DEFAULT_SCOPES[..],
    };
    list.iter().map(|&scope| scope.to_owned()).collect()
}

/// The hosts that stand for mail in Microsoft's scopes, of all its clouds.
const EXCHANGE: [&str; 5] = [
    "outlook.office.com",
    "outlook.office365.com",
    "outlook.office365.us",
    "outlook-dod.office365.us",
    "partner.outlook.cn",
];

/// What opens Gmail: everything, or, for service accounts, IMAP with all labels.
const GOOGLE_MAIL: [&str; 2] = [
    "https://mail.google.com/",
    "https://www.googleapis.com/auth/gmail.imap_admin",
];

fn host_of(scope: &str) -> Option<String> {
    Url::parse(scope).ok()?.host_str().map(str::to_owned)
}

const GRAPH: &str = "Microsoft Graph";

/// The service of Microsoft that a scope is for, if it is one of theirs.
fn audience_of(scope: &str, microsoft: bool) -> Option<&'static str> {
    let host = host_of(scope);
    match host.as_deref() {
        Some(
            "graph.microsoft.com"
            | "graph.microsoft.us"
            | "dod-graph.microsoft.us"
            | "microsoftgraph.chinacloudapi.cn",
        ) => Some(GRAPH),
        Some("outlook.office.com" | "outlook.office365.com") => Some("Exchange Online"),
        Some("outlook.office365.us") => Some("Exchange Online of GCC High"),
        Some("outlook-dod.office365.us") => Some("Exchange Online of the DoD"),
        Some("partner.outlook.cn") => Some("Exchange Online at 21Vianet"),
        // Without a host a permission is one of Graph; the words of OpenID Connect are for all.
        None if microsoft && !["openid", "profile", "email", "offline_access"].contains(&scope) => {
            Some(GRAPH)
        }
        _ => None,
    }
}
