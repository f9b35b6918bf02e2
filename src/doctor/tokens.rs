//! The token endpoint and what it gives: the steps up to `claims`.

use std::time::Instant;

use jiff::Timestamp;
use url::Url;

use super::Walk;
use super::claims::{self, Claims, Need};
use super::finding::{Step, Subject, Told};
use super::road::{Gate, Road};
use crate::failure::Cause;
use crate::oauth::http::HttpClient;
use crate::tls::witness::Witness;
use crate::token::{AccessToken, Tokens};

/// A clock that is further off is told: signed requests and fresh tokens begin to fail.
const SKEW_SECONDS: i64 = 60;

impl Walk<'_> {
    /// Everything up to an access token, which may be there though its endpoint is not.
    pub(super) async fn tokens(&mut self, tokens: &Tokens) -> Option<AccessToken> {
        if let Some(url) = self.token_endpoint() {
            self.endpoint(&url).await;
        }
        let begun = Instant::now();
        let token = tokens.access_for_operator(self.account).await;
        let status = tokens.status(self.account);
        let token = self.keep(
            Step::Token,
            Subject::Token,
            begun,
            token.map_err(Told::from),
        )?;
        let left = status
            .expires_at
            .map(|at| at.as_second() - Timestamp::now().as_second());
        let left = left.unwrap_or_default();
        let told = Told::well(format!("an access token, good for {left} s more"));
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
