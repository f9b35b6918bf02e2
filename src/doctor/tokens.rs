//! The token endpoint and what it gives: the steps up to `claims`.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use url::Url;

use super::Walk;
use super::claims::{self, Claims, Need};
use super::finding::{Step, Subject, Told};
use super::road::{Gate, Road};
use crate::config::Account;
use crate::failure::{Cause, Failure};
use crate::oauth::http::HttpClient;
use crate::tls::witness::Witness;
use crate::token::life::{Span, State};
use crate::token::{AccessToken, AccountStatus, Tokens};

/// A clock that is further off is told: signed requests and fresh tokens begin to fail.
const SKEW_SECONDS: i64 = 60;
/// The luck of whoever renews last.
const LATEST: f64 = 0.0;

impl Walk<'_> {
    /// Everything up to an access token, which may be there though its endpoint is not.
    pub(super) async fn tokens(&mut self, tokens: &Tokens) -> Option<AccessToken> {
        if let Some(url) = self.token_endpoint() {
            self.endpoint(&url).await;
        }
        let begun = Instant::now();
        let token = tokens.access_for_operator(self.account).await;
        let token = self.keep(
            Step::Token,
            Subject::Token,
            begun,
            token.map_err(Told::from),
        )?;
        let (token, told) = proved(tokens, self.account, token).await;
        let status = tokens.status(self.account);
        self.tell(Step::Token, Subject::Token, begun, told);
        self.claims(&token, status.signed_in_as.as_deref());
        Some(token)
    }

    /// Where tokens come from; where only the issuer is known, it says where, so it comes first.
    fn token_endpoint(&self) -> Option<Url> {
        let provider = &self.account.provider;
        let issuer = || Url::parse(provider.issuer.as_deref()?).ok();
        provider.token_url.clone().or_else(issuer)
    }

    async fn endpoint(&mut self, url: &Url) {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return;
        };
        let is_secured = url.scheme() == "https";
        let egress = &self.account.provider.egress;
        let road = Road {
            name: Subject::Token,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            // Requests in clear are for this machine, so they never go through another.
            proxy: egress.for_tokens(host).filter(|_| is_secured).cloned(),
            detour: None,
            limit: self.config.timeouts.connect,
        };
        let begun = Instant::now();
        let witness = Witness::upstream(self.account.provider.ca_file.as_deref());
        let witness = witness.map_err(|error| Told::failed(Cause::Config, error.to_string(), ""));
        let Some((tls, witness)) = self.keep(Step::Tls, Subject::Token, begun, witness) else {
            return;
        };
        let is_there = match is_secured {
            true => {
                let gate = Gate::Tls(tls.clone());
                self.road(&road, &gate, &witness).await.is_some()
            }
            false => self.clear_road(&road).await,
        };
        if is_there {
            let begun = Instant::now();
            let egress = self.account.provider.egress.clone();
            let http = HttpClient::new(&tls, egress, self.config.timeouts.token);
            let told = clock(http.ask_time(url).await.map_err(|error| error.to_string()));
            self.tell(Step::Clock, Subject::Token, begun, told);
        }
    }

    fn claims(&mut self, token: &AccessToken, signed_in_as: Option<&str>) {
        let begun = Instant::now();
        let account = self.account;
        let protocols: Vec<_> = self
            .served()
            .into_iter()
            .map(|(served, _)| served)
            .collect();
        let need = Need {
            address: &account.address,
            person: account.authorize_as.as_deref().unwrap_or(&account.address),
            protocols: &protocols,
            is_exchange: claims::is_exchange(&account.provider),
        };
        let read = Claims::read(token.expose());
        let told = claims::compare(read.as_ref(), &need, Timestamp::now());
        let told = match &told {
            Told::Well(_) => signed_in_as
                .and_then(|person| claims::signed_in(person, &need))
                .unwrap_or(told),
            _ => told,
        };
        self.tell(Step::Claims, Subject::Token, begun, told);
    }
}

/// A token that still lives says nothing of the next one. Where that is due, or the account is not well, it is asked for, and what came
/// of it is told with the token that serves from now on.
async fn proved(
    tokens: &Tokens,
    account: &Arc<Account>,
    token: AccessToken,
) -> (AccessToken, Told) {
    let status = tokens.status(account);
    if status.state == State::Ok && !is_due(&status, Timestamp::now()) {
        let told = Told::well(format!("an access token, {}", good_for(&status)));
        return (token, told);
    }
    let renewed = tokens.renew_for_operator(account, &token).await;
    let status = tokens.status(account);
    let good = good_for(&status);
    match renewed {
        Ok(token) => (token, Told::well(format!("a renewed access token, {good}"))),
        // The provider's own cache, or a renewal a moment ago.
        Err(failure) if failure.cause == Cause::Refused => {
            let told = Told::well(format!(
                "an access token, {good}; no other is given out yet"
            ));
            (token, told)
        }
        Err(failure) => (token, not_renewed(&failure, &status, &good)),
    }
}

/// Whether somebody should have renewed it by now.
fn is_due(status: &AccountStatus, now: Timestamp) -> bool {
    let span = status.refreshed_at.zip(status.expires_at);
    span.is_some_and(|(from, until)| now >= Span { from, until }.refresh_at(LATEST))
}

fn good_for(status: &AccountStatus) -> String {
    let left = status
        .expires_at
        .map(|at| at.as_second() - Timestamp::now().as_second());
    format!("good for {} s more", left.unwrap_or_default())
}

/// What is told of a token that has no successor yet.
fn not_renewed(failure: &Failure, status: &AccountStatus, good: &str) -> Told {
    let detail = format!(
        "there is still an access token, {good}, but the account is {} and the next renewal fails: {}",
        status.state,
        failure.happened()
    );
    match failure.cause {
        Cause::Token => Told::warning(
            detail,
            failure.remedy.as_deref().unwrap_or(
                "It is tried again by itself; if it stays so, the provider's token endpoint has trouble",
            ),
        ),
        cause => Told::failed(cause, detail, failure.remedy.clone().unwrap_or_default()),
    }
}

/// What is told of the seconds by which the provider is ahead of us.
fn clock(skew: Result<Option<i64>, String>) -> Told {
    match skew {
        Ok(Some(skew)) if skew.abs() > SKEW_SECONDS => Told::warning(
            format!("this machine's clock and the provider's differ by {skew} s"),
            "Set this machine's clock, best by NTP: tokens are taken for ended or not yet begun",
        ),
        Ok(Some(skew)) => Told::well(format!("differs from the provider's by {skew} s")),
        Ok(None) => Told::well("the provider does not tell its time"),
        Err(error) => Told::warning(
            format!("the provider did not tell its time: {error}"),
            "If the next step fails, this is why",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use secrecy::SecretString;

    use crate::config::SecretSource;
    use crate::oauth::catalogue::Class;
    use crate::oauth::response::Answer;
    use crate::oauth::testing::{Endpoint, Reply, provider};
    use crate::token::grant::Grant;
    use crate::token::life::{Life, Trouble};
    use crate::vault::{Kind, Vault};

    /// An account with a token of an hour that was got so many minutes ago, in a state that `trouble` brought.
    struct Bench {
        _folder: tempfile::TempDir,
        endpoint: Endpoint,
        account: Arc<Account>,
        tokens: Tokens,
    }

    impl Bench {
        async fn new(minutes: i64, trouble: Option<(Class, &str)>, reply: Reply) -> Self {
            let endpoint = Endpoint::replying(vec![reply]).await;
            let account = crate::password::tests::account("alice@example.com", &["alice"], &[]);
            let mut account = Account::clone(&account);
            account.provider = Arc::new(provider(&endpoint.url));
            let now = Timestamp::now();
            let answer = Answer {
                access_token: AccessToken::new("old".to_owned().into()).expect("a token"),
                expires_in: Some(Duration::from_secs(3600)),
                refresh_token: Some(SecretString::from("s3cretR")),
                refresh_expires_in: None,
                scopes: None,
                id_token: None,
            };
            let mut life = Life::new(State::Ok, now);
            if let Some((class, reason)) = trouble {
                let trouble = Trouble {
                    class,
                    retry_after: None,
                    reason: reason.to_owned(),
                    remedy: "Do this".to_owned(),
                };
                life.failed(now, &trouble, 0.5);
            }
            let sent = now - jiff::SignedDuration::from_mins(minutes);
            let grant = Grant::new(&account.provider, &answer, sent).in_state(&life);
            let folder = tempfile::tempdir().expect("a folder");
            let key = SecretSource::File(folder.path().join("vault.key"));
            let vault = Vault::open(folder.path(), &key).expect("a vault");
            let guard = vault.lock(Kind::Grant, &account.address).expect("a lock");
            vault.write(&guard, &grant.to_bytes()).expect("written");
            drop(guard);
            Self {
                _folder: folder,
                endpoint,
                account: Arc::new(account),
                tokens: Tokens::new(vault, Duration::from_secs(3)),
            }
        }

        /// The token that serves, what is told, and how often the provider was asked.
        async fn proved(&self) -> (String, Told, usize) {
            let token = self.tokens.access_for_operator(&self.account).await;
            let token = token.expect("one that lives");
            let (token, told) = proved(&self.tokens, &self.account, token).await;
            (token.expose().to_owned(), told, self.endpoint.hits())
        }
    }

    fn yes() -> Reply {
        let body = r#"{"access_token":"new","token_type":"Bearer","expires_in":3600}"#;
        Reply::json(200, body)
    }

    fn no(error: &str) -> Reply {
        Reply::json(400, &format!(r#"{{"error":"{error}"}}"#))
    }

    #[tokio::test]
    async fn a_fresh_token_of_a_healthy_account_is_left_as_it_is() {
        let bench = Bench::new(5, None, yes()).await;
        let (token, told, asked) = bench.proved().await;
        assert_eq!((token.as_str(), asked), ("old", 0));
        assert!(matches!(told, Told::Well(_)), "{told:?}");
    }

    #[tokio::test]
    async fn a_living_token_does_not_hide_that_somebody_has_to_sign_in() {
        let trouble = Some((Class::Consent, "the sign-in was revoked"));
        let bench = Bench::new(5, trouble, yes()).await;
        let (token, told, asked) = bench.proved().await;
        assert_eq!((token.as_str(), asked), ("old", 0));
        let Told::Failed {
            cause,
            detail,
            remedy,
        } = told
        else {
            panic!("{told:?}");
        };
        assert_eq!(cause, Cause::Consent);
        assert!(detail.contains("needs-consent"), "{detail}");
        assert!(detail.ends_with("the sign-in was revoked"), "{detail}");
        assert_eq!(remedy.as_deref(), Some("Do this"));
    }

    #[tokio::test]
    async fn whether_the_registration_was_mended_is_tried() {
        let trouble = || Some((Class::Config, "the secret has ended"));
        let mended = Bench::new(5, trouble(), yes()).await;
        let (token, told, asked) = mended.proved().await;
        assert_eq!((token.as_str(), asked), ("new", 1));
        assert!(matches!(told, Told::Well(_)), "{told:?}");

        let broken = Bench::new(5, trouble(), no("invalid_client")).await;
        let (token, told, asked) = broken.proved().await;
        assert_eq!((token.as_str(), asked), ("old", 1));
        let failed = |told: &Told| {
            matches!(
                told,
                Told::Failed {
                    cause: Cause::Config,
                    ..
                }
            )
        };
        assert!(failed(&told), "{told:?}");
        // And not again and again.
        let (_, told, asked) = broken.proved().await;
        assert!(failed(&told) && asked == 1, "{told:?}");
    }

    #[tokio::test]
    async fn a_renewal_that_is_due_is_made_and_told() {
        let bench = Bench::new(57, None, yes()).await;
        let (token, told, _) = bench.proved().await;
        assert_eq!(token, "new");
        assert!(matches!(told, Told::Well(_)), "{told:?}");
        let bench = Bench::new(57, None, no("temporarily_unavailable")).await;
        let (token, told, _) = bench.proved().await;
        assert_eq!(token, "old");
        assert!(matches!(told, Told::Warning { .. }), "{told:?}");
    }

    #[test]
    fn a_clock_is_told_when_it_is_a_minute_off_either_way() {
        for (skew, is_told) in [
            (0, false),
            (60, false),
            (-60, false),
            (61, true),
            (-3600, true),
        ] {
            let told = clock(Ok(Some(skew)));
            assert_eq!(matches!(told, Told::Warning { .. }), is_told, "{told:?}");
        }
        assert!(matches!(clock(Ok(None)), Told::Well(_)));
    }
}
