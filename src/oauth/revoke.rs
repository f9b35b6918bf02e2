//! Token revocation (RFC 7009). The request is made here, not by the OAuth library, which takes no endpoint on loopback without TLS.

use http::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::proof::Proof;
use super::response::RawError;
use super::secrets::Secrets;
use super::{OAuth, OAuthError};
use crate::config::Preset;

/// What kind of token is given back (RFC 7009 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The one that gets others.
    Refresh,
    /// The one that opens mailboxes.
    Access,
}

impl TokenKind {
    /// The word of RFC 7009 §2.1.
    const fn hint(self) -> &'static str {
        match self {
            Self::Refresh => "refresh_token",
            Self::Access => "access_token",
        }
    }
}

/// How a revocation ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token is no good any more.
    Done,
    /// The provider has no use for this kind of token here (`unsupported_token_type`, RFC 7009 §2.2.1).
    NotForThisKind,
}

impl OAuth {
    /// Where tokens are given back: what the configuration says, else what the issuer publishes; `None` if there is no such place.
    ///
    /// # Errors
    /// If only the issuer could say, and did not answer.
    pub async fn revoke_url(&self) -> Result<Option<Url>, OAuthError> {
        let provider = &self.provider;
        if provider.revoke_url.is_some() {
            return Ok(provider.revoke_url.clone());
        }
        // Entra publishes none, so there is nothing to ask for.
        let preset = provider.preset.as_deref().and_then(Preset::named);
        if provider.issuer.is_none() || preset.is_some_and(Preset::is_microsoft) {
            return Ok(None);
        }
        Ok(self.metadata().await?.revocation_endpoint.clone())
    }

    /// Gives a token back at `url`.
    ///
    /// # Errors
    /// If the provider refused or did not answer: the token may still be good.
    pub async fn revoke(
        &self,
        url: &Url,
        token: &SecretString,
        kind: TokenKind,
    ) -> Result<Revocation, OAuthError> {
        let proof = self.proof().await?;
        let secrets = Secrets::new([token.expose_secret(), proof.exposed()]);
        let body = self.revocation_form(token, kind, &proof);
        let request = ::http::Request::post(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.as_bytes().to_vec())
            .map_err(|_| OAuthError::NoEndpoint("revoke-url that is a URL"))?;
        let response = self.http.send_for_status(request, &secrets).await?;
        if response.status().is_success() {
            return Ok(Revocation::Done); // also for a token that was no good before (RFC 7009 §2.2)
        }
        let error: RawError =
            serde_json::from_slice(response.body()).map_err(|_| OAuthError::Malformed {
                at: url.path().to_owned(),
            })?;
        let error = error.cleaned(&secrets);
        match error.error.as_str() {
            // Google says so of a token that was no good before.
            "invalid_token" => Ok(Revocation::Done),
            "unsupported_token_type" => Ok(Revocation::NotForThisKind),
            _ => Err(OAuthError::Refused(error)),
        }
    }

    /// The application's proof goes into the body, as for tokens.
    fn revocation_form(
        &self,
        token: &SecretString,
        kind: TokenKind,
        proof: &Proof,
    ) -> Zeroizing<String> {
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token.expose_secret())
            .append_pair("token_type_hint", kind.hint())
            .append_pair("client_id", &self.provider.client_id);
        form.extend_pairs(proof.parameters());
        Zeroizing::new(form.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::testing::{Endpoint, Reply, provider};
    use super::*;
    use crate::config::SecretSource;

    fn token() -> SecretString {
        "s3cret+refresh/token".to_owned().into()
    }

    async fn answered(reply: Reply) -> (Result<Revocation, OAuthError>, String) {
        let endpoint = Endpoint::replying(vec![reply]).await;
        let mut provider = provider(&endpoint.url);
        provider.client_secret = Some(SecretSource::Inline("s3cret-client".to_owned().into()));
        let oauth = OAuth::new(Arc::new(provider), Duration::from_millis(500)).expect("client");
        let outcome = oauth
            .revoke(&endpoint.url, &token(), TokenKind::Refresh)
            .await;
        (outcome, endpoint.requests().concat())
    }

    #[tokio::test]
    async fn the_request_is_the_form_of_the_standard() {
        let (outcome, request) = answered(Reply::with(200, "", "")).await;
        assert_eq!(outcome.expect("done"), Revocation::Done);
        assert!(request.ends_with(
            "\r\n\r\ntoken=s3cret%2Brefresh%2Ftoken&token_type_hint=refresh_token&client_id=test-client&client_secret=s3cret-client"
        ));
        assert!(
            request
                .to_ascii_lowercase()
                .contains("content-type: application/x-www-form-urlencoded")
        );
    }

    #[tokio::test]
    async fn success_is_the_status_whatever_the_body() {
        for reply in [
            Reply::with(200, "Content-Type: text/html\r\n", "<p>bye</p>"),
            Reply::with(204, "", ""),
            Reply::json(400, r#"{"error":"invalid_token"}"#),
        ] {
            let (outcome, _) = answered(reply.clone()).await;
            assert_eq!(outcome.expect("done"), Revocation::Done, "{reply:?}");
        }
    }

    #[tokio::test]
    async fn a_provider_may_not_take_this_kind() {
        let (outcome, _) =
            answered(Reply::json(400, r#"{"error":"unsupported_token_type"}"#)).await;
        assert_eq!(outcome.expect("an answer"), Revocation::NotForThisKind);
    }

    #[tokio::test]
    async fn every_failure_is_one_and_shows_no_secret() {
        let echo = r#"{"error":"invalid_client","error_description":"s3cret+refresh/token s3cret-client"}"#;
        for reply in [
            Reply::json(401, echo),
            Reply::with(503, "Retry-After: 7\r\n", "<p>s3cret-client</p>"),
            Reply::with(302, "Location: https://login.example/\r\n", ""),
            Reply::json(400, "{}"),
            Reply::Drop,
        ] {
            let (outcome, _) = answered(reply.clone()).await;
            let error = outcome.expect_err("a failure");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[tokio::test]
    async fn the_place_is_that_of_the_configuration_or_of_the_issuer() {
        let endpoint = Endpoint::start(|_, request| {
            let host = request
                .lines()
                .find_map(|line| line.strip_prefix("host: "))
                .unwrap_or_default();
            Reply::json(
                200,
                &format!(
                    r#"{{"issuer":"http://{host}","token_endpoint":"http://{host}/t","revocation_endpoint":"http://{host}/r"}}"#
                ),
            )
        })
        .await;
        let issuer = endpoint.url.join("/").expect("url").to_string();
        let mut found = Vec::new();
        for (revoke_url, issuer, preset) in [
            (
                Some("https://id.example/revoke"),
                Some(issuer.as_str()),
                None,
            ),
            (None, Some(issuer.trim_end_matches('/')), None),
            (None, None, None),
            (None, Some("https://login.example/"), Some("microsoft")),
        ] {
            let mut provider = provider(&endpoint.url);
            provider.revoke_url = revoke_url.map(|url| url.parse().expect("url"));
            provider.issuer = issuer.map(str::to_owned);
            provider.preset = preset.map(str::to_owned);
            let oauth = OAuth::new(Arc::new(provider), Duration::from_millis(500)).expect("client");
            let url = oauth.revoke_url().await.expect("known");
            found.push(url.map(|url| url.path().to_owned()));
        }
        let expected = [Some("/revoke"), Some("/r"), None, None];
        assert_eq!(found, expected.map(|path| path.map(str::to_owned)));
    }
}
