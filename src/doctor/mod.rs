//! The path of an account, walked step by step with a real login at the end, so that a fault is found where it is.
//!
//! Each step is told as it ends ([`Finding`]), so that whoever watches sees how far it got. What can be judged without a connection
//! stands in files of its own: certificates (`chain`), tokens (`claims`), the message and its return (`letter`). The rest makes
//! connections as a session does, with the same code: `road` leads to an encrypted one, `tokens` and `mail` use it, `parcel` sends.

mod chain;
mod claims;
mod finding;
mod letter;
mod mail;
mod parcel;
mod road;
mod tokens;

use std::sync::Arc;
use std::time::Instant;

use crate::config::{Account, Config, Endpoint, Listener};
use crate::failure::Cause;
use crate::password;
use crate::protocol::Protocol;
use crate::token::Tokens;
use crate::vault::{Vault, blocking};
use finding::Told;
pub use finding::{Finding, Step, Subject};

/// Who hears of each step as it ends.
pub type Report<'a> = &'a mut (dyn FnMut(Finding) + Send + Sync);

/// Walks the path of one account and hands every finding to `report` as it comes. With `sends`, the account gets a message from
/// itself, which is removed again where that can be done without touching another.
pub async fn examine(
    config: &Config,
    vault: &Vault,
    tokens: &Tokens,
    account: &Arc<Account>,
    sends: bool,
    report: Report<'_>,
) {
    let mut walk = Walk {
        config,
        account,
        report,
    };
    walk.config().await;
    walk.passwords(vault).await;
    let token = walk.tokens(tokens).await;
    let mut logged_in = Vec::new();
    for (protocol, endpoint) in walk.served() {
        if walk.mail(protocol, endpoint, token.as_ref()).await {
            logged_in.push(protocol);
        }
    }
    if let Some(token) = token.filter(|_| sends) {
        walk.parcel(&token, &logged_in).await;
    }
}

struct Walk<'a> {
    config: &'a Config,
    account: &'a Arc<Account>,
    report: Report<'a>,
}

impl<'a> Walk<'a> {
    /// The mail servers that have a listener: what nobody can reach need not work.
    fn served(&self) -> Vec<(Protocol, &'a Endpoint)> {
        let provider = &self.account.provider;
        let is_served = |protocol: Protocol| {
            let is_for = |listener: &Arc<Listener>| {
                listener.protocol == protocol && listener.provider.name == provider.name
            };
            self.config.listeners.iter().any(is_for)
        };
        let served = Protocol::ALL.into_iter().filter(|it| is_served(*it));
        served
            .filter_map(|protocol| Some((protocol, provider.endpoint(protocol)?)))
            .collect()
    }

    /// It may run a command, and wait for it.
    async fn config(&mut self) {
        let begun = Instant::now();
        let provider = &self.account.provider;
        let looking = Arc::clone(provider);
        let looked_at = blocking(move || looking.look_at_credentials()).await;
        let way = provider.way_out();
        let way = way.map_or_else(String::new, |way| format!("; {way}"));
        let told = match looked_at {
            Ok(secret) => Told::well(format!(
                "provider {}, {}, {secret}{way}",
                provider.name,
                provider.flow.word()
            )),
            Err(error) => Told::failed(
                Cause::Config,
                error,
                "Mend it in the configuration, or at the place that it names",
            ),
        };
        self.tell(Step::Config, Subject::Account, begun, told);
    }

    async fn passwords(&mut self, vault: &Vault) {
        let begun = Instant::now();
        let address = &self.account.address;
        let now = jiff::Timestamp::now();
        let nobody = |why: &str, command: &str| {
            Told::failed(
                Cause::Config,
                format!("{why}, so nobody can log in"),
                format!("Run: mailwicket password {command} {address}"),
            )
        };
        let (vault, of) = (vault.clone(), address.clone());
        let told = match blocking(move || password::list(&vault, &of)).await {
            Ok(named) => {
                let good = named.iter().filter(|named| !named.is_over(now)).count();
                match (good + self.account.password_hashes.len(), named.len()) {
                    (0, 0) => nobody("there is no local password yet", "add"),
                    (0, _) => nobody("every local password has expired", "list"),
                    (count, _) => Told::well(format!("local passwords: {count}")),
                }
            }
            Err(error) => Told::failed(Cause::Config, error.to_string(), ""),
        };
        self.tell(Step::Password, Subject::Account, begun, told);
    }

    fn tell(&mut self, stage: Step, name: Subject, begun: Instant, told: Told) {
        let (ok, warning, code, detail, remedy) = match told {
            Told::Well(detail) => (true, false, None, detail, None),
            Told::Warning { detail, remedy } => (true, true, None, detail, Some(remedy)),
            Told::Failed {
                cause,
                detail,
                remedy,
            } => {
                let general = || finding::general_remedy(cause, &self.account.address);
                let remedy = remedy.unwrap_or_else(general);
                (false, false, Some(cause.code()), detail, Some(remedy))
            }
        };
        (self.report)(Finding {
            account: self.account.address.clone(),
            stage,
            name,
            ok,
            warning,
            code,
            detail,
            remedy,
            milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Tells a failure, and gives back what there is if there is none.
    fn keep<T>(
        &mut self,
        stage: Step,
        name: Subject,
        begun: Instant,
        result: Result<T, Told>,
    ) -> Option<T> {
        result
            .map_err(|told| self.tell(stage, name, begun, told))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it compiles is the test: the console runs it in a task.
    fn _a_walk_may_be_a_task<'a>(
        config: &'a Config,
        vault: &'a Vault,
        tokens: &'a Tokens,
        account: &'a Arc<Account>,
        report: Report<'a>,
    ) -> impl Future<Output = ()> + Send + 'a {
        examine(config, vault, tokens, account, true, report)
    }
}
