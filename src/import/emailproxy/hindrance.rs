//! What a provider lacks that only a person can add. Until then its tables stand in comments, so that the rest can be used at once.

use super::plan::Provider;
use super::registration::{Secret, has_browser, is_sample};
use crate::config::Flow;

/// What has to be done before the provider can be used, in words for a person.
pub fn hindrances(provider: &Provider<'_>) -> Vec<String> {
    let settings = provider.settings;
    let (flow, fit) = (settings.flow(), settings.fit());
    let mut words = Vec::new();
    let id = settings.client_id.as_deref();
    if flow != Flow::ServiceAccount && id.is_none_or(is_sample) {
        words.push("write the id of your registration as client-id".to_owned());
    }
    if let Some(fit) = fit.filter(|fit| !fit.preset.has_flow(flow)) {
        words.push(format!(
            "{} has no flow {:?} for mail: choose another one",
            fit.preset.title,
            flow.word()
        ));
    } else if settings.is_in_shared_tenant() {
        let who = match flow {
            Flow::Password => "a password",
            _ => "an application",
        };
        let place = match fit {
            Some(_) => "as tenant",
            None => "into token-url",
        };
        words.push(format!(
            "{who} signs in in one tenant, and this token URL is for everybody: write the tenant's id or domain {place}"
        ));
    }
    let proof = matches!(settings.secret(), Secret::Text(_) | Secret::ByHand);
    let has_certificate = settings.certificate.is_some() && settings.key.is_some();
    if flow == Flow::ClientCredentials && !proof && !has_certificate {
        words.push(
            "an application that signs in by itself needs a client-secret or a certificate"
                .to_owned(),
        );
    }
    if fit.is_none() && has_browser(flow) && settings.permission_url.is_none() {
        let key = match flow {
            Flow::DeviceCode => "device-url",
            _ => "authorize-url",
        };
        words.push(format!("there is no permission_url: write {key}"));
    }
    if fit.is_none() && provider.servers.is_empty() {
        words.push(
            "no server of the file belongs to its provider: add imap, pop3 or smtp, and a [[listener]]"
                .to_owned(),
        );
    }
    words
}
