//! Authorization server metadata: where an issuer's endpoints are (RFC 8414, OpenID Connect Discovery 1.0).

use serde::Deserialize;
use url::Url;

use super::OAuthError;
use super::http::{HttpClient, HttpError, is_loopback};
use super::response::printable;
use super::secrets::Secrets;

/// The part of an issuer's metadata that is used.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    /// RFC 8628 §4.
    pub(super) device_authorization_endpoint: Option<Url>,
    /// RFC 9207 §3: every redirect carries `iss`.
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(super) issuer_in_redirect: bool,
}

/// Fetches the metadata of `issuer` from the OpenID place and then from that of RFC 8414.
pub(super) async fn fetch(http: &HttpClient, issuer: &str) -> Result<Metadata, OAuthError> {
    let base = Url::parse(issuer).map_err(|_| OAuthError::NoEndpoint("issuer that is a URL"))?;
    let mut outcome = get(http, &openid_url(&base), issuer).await;
    if let Err(OAuthError::Http(HttpError::Status { .. }) | OAuthError::Malformed { .. }) = outcome
    {
        // The first failure is the one to report: OpenID's place is where most issuers publish.
        outcome = get(http, &rfc_8414_url(&base), issuer).await.or(outcome);
    }
    outcome
}

async fn get(http: &HttpClient, url: &Url, issuer: &str) -> Result<Metadata, OAuthError> {
    let malformed = || OAuthError::Malformed {
        at: url.to_string(),
    };
    let request = ::http::Request::get(url.as_str())
        .body(Vec::new())
        .map_err(|_| malformed())?;
    // No secret is in it.
    let response = http.send(request, &Secrets::default()).await?;
    if !response.status().is_success() {
        return Err(malformed());
    }
    let metadata: Metadata = serde_json::from_slice(response.body()).map_err(|_| malformed())?;
    check(metadata, url, issuer)
}

/// RFC 8414 §3.3: the issuer must be identical; and no endpoint may be where secrets would travel in clear.
fn check(metadata: Metadata, url: &Url, issuer: &str) -> Result<Metadata, OAuthError> {
    if metadata.issuer != issuer {
        return Err(OAuthError::Issuer {
            url: url.to_string(),
            found: printable(&metadata.issuer, 200),
        });
    }
    let endpoints = [
        &metadata.authorization_endpoint,
        &metadata.token_endpoint,
        &metadata.revocation_endpoint,
        &metadata.device_authorization_endpoint,
    ];
    for endpoint in endpoints.into_iter().flatten() {
        let host = endpoint.host_str().unwrap_or_default();
        if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && is_loopback(host)) {
            return Err(HttpError::Insecure {
                host: host.to_owned(),
            }
            .into());
        }
    }
    Ok(metadata)
}

/// OpenID Connect Discovery 1.0 §4: appended to the issuer.
fn openid_url(issuer: &Url) -> Url {
    let path = format!(
        "{}/.well-known/openid-configuration",
        issuer.path().trim_end_matches('/')
    );
    with_path(issuer, &path)
}

/// RFC 8414 §3.1: inserted between host and path.
fn rfc_8414_url(issuer: &Url) -> Url {
    let path = format!(
        "/.well-known/oauth-authorization-server{}",
        issuer.path().trim_end_matches('/')
    );
    with_path(issuer, &path)
}

fn with_path(issuer: &Url, path: &str) -> Url {
    let mut url = issuer.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_places_are_those_of_the_standards() {
        let issuer = Url::parse("https://id.example/realms/mail/").expect("url");
        assert_eq!(
            openid_url(&issuer).as_str(),
            "https://id.example/realms/mail/.well-known/openid-configuration"
        );
        assert_eq!(
            rfc_8414_url(&issuer).as_str(),
            "https://id.example/.well-known/oauth-authorization-server/realms/mail"
        );
    }
}
