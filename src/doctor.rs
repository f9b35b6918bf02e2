//! The path of an account, walked step by step with a real login at the end, so that a fault is found where it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::config::{Account, Config, Endpoint, Listener};
use crate::dial::{Dialled, Dialler, UpstreamStream};
use crate::dialogue::{LoggedIn, Login};
use crate::failure::{Cause, Failure};
use crate::password;
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::tls;
use crate::token::{AccessToken, Tokens};
use crate::vault::Vault;

/// How long a mail server may take for a harmless command.
const COMMAND: Duration = Duration::from_secs(30);

/// One step and how it went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The mailbox.
    pub account: String,
    /// What was tried: `config`, `password`, `token`, `claims`, `dns`, `dial`, `login`, `command`.
    pub step: &'static str,
    /// For steps that concern a mail server.
    pub protocol: Option<Protocol>,
    /// Whether it went well.
    pub ok: bool,
    /// The short code of a failure.
    pub code: Option<&'static str>,
    /// What was found, in words, with the next step after a failure.
    pub words: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u128,
}

/// Walks the path of one account and hands every finding to `report` as it comes.
pub async fn examine(
    config: &Config,
    vault: &Vault,
    tokens: &Tokens,
    account: &Arc<Account>,
    report: &mut dyn FnMut(Finding),
) {
    let mut walk = Walk {
        config,
        account,
        report,
        protocol: None,
    };
    walk.config_step();
    walk.passwords(vault);
    let token = walk.token(tokens).await;
    for protocol in Protocol::ALL {
        // What nobody can reach through a listener need not work.
        let is_served = |listener: &Arc<Listener>| {
            listener.protocol == protocol && listener.provider.name == account.provider.name
        };
        let is_served = config.listeners.iter().any(is_served);
        if let Some(endpoint) = account.provider.endpoint(protocol).filter(|_| is_served) {
            walk.protocol = Some(protocol);
            walk.mail(protocol, endpoint, token.as_ref()).await;
        }
    }
}

struct Walk<'a> {
    config: &'a Config,
    account: &'a Arc<Account>,
    report: &'a mut dyn FnMut(Finding),
    protocol: Option<Protocol>,
}

impl Walk<'_> {
    fn config_step(&mut self) {
        let provider = &self.account.provider;
        let begun = Instant::now();
        let way = provider.way_out();
        let way = way.map_or_else(String::new, |way| format!("; {way}"));
        let found = provider
            .look_at_credentials()
            .map(|secret| {
                format!(
                    "provider {}, {}, {secret}{way}",
                    provider.name,
                    provider.flow.word()
                )
            })
            .map_err(|error| Failure::new(Stage::Token, Cause::Config, error));
        self.tell("config", begun, found);
    }

    fn passwords(&mut self, vault: &Vault) {
        let begun = Instant::now();
        let address = &self.account.address;
        let now = jiff::Timestamp::now();
        let found = match password::list(vault, address) {
            Ok(named) => {
                let good = named.iter().filter(|named| !named.is_over(now)).count();
                match (good + self.account.password_hashes.len(), named.len()) {
                    (0, 0) => Err(format!(
                        "no local password yet, so nobody can log in; run: mailwicket password add {address}"
                    )),
                    (0, _) => Err(format!(
                        "every local password has expired, so nobody can log in; run: mailwicket password list {address}"
                    )),
                    (count, _) => Ok(format!("local passwords: {count}")),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        let found = found.map_err(|detail| Failure::new(Stage::Password, Cause::Config, detail));
        self.tell("password", begun, found);
    }

    async fn token(&mut self, tokens: &Tokens) -> Option<AccessToken> {
        let begun = Instant::now();
        let token = tokens.access_for_operator(self.account).await;
        let status = tokens.status(self.account);
        let left = status
            .expires_at
            .map(|at| (at - jiff::Timestamp::now()).get_seconds());
        let found = match &token {
            Ok(_) => Ok(format!(
                "an access token, good for {} s more",
                left.unwrap_or_default()
            )),
            Err(failure) => Err(failure.clone()),
        };
        self.tell("token", begun, found);
        let token = token.ok()?;
        self.tell("claims", Instant::now(), Ok(claims(&token)));
        Some(token)
    }

    /// Every step that concerns one mail server; stops at the first that fails.
    async fn mail(&mut self, protocol: Protocol, endpoint: &Endpoint, token: Option<&AccessToken>) {
        let Some((stream, logged_in)) = self.open(protocol, endpoint, token).await else {
            return;
        };
        let begun = Instant::now();
        let found = harmless(protocol, stream, &logged_in).await;
        let found = found.map_err(|detail| Failure::new(Stage::Relay, Cause::Refused, detail));
        self.tell("command", begun, found);
    }

    async fn open(
        &mut self,
        protocol: Protocol,
        endpoint: &Endpoint,
        token: Option<&AccessToken>,
    ) -> Option<(UpstreamStream, LoggedIn)> {
        let tls = tls::upstream(self.account.provider.ca_file.as_deref());
        let tls = tls.map_err(|error| Failure::new(Stage::Dial, Cause::Config, error.to_string()));
        let dialler = Dialler {
            protocol,
            endpoint: endpoint.clone(),
            egress: self.account.provider.egress.clone(),
            tls: self.keep("dial", Instant::now(), tls)?,
            timeouts: self.config.timeouts.clone(),
            known: Arc::default(),
        };
        let begun = Instant::now();
        let addresses = dialler.resolve().await;
        let found = addresses.as_ref().map(|found| {
            let found: Vec<_> = found
                .iter()
                .map(|address| address.ip().to_string())
                .collect();
            match dialler.proxy() {
                None => format!("{} is {}", endpoint.host, found.join(", ")),
                Some(proxy) => format!(
                    "the proxy {} is {}; it resolves {} itself",
                    proxy.host,
                    found.join(", "),
                    endpoint.host
                ),
            }
        });
        self.tell("dns", begun, found.map_err(Clone::clone));
        let addresses = addresses.ok()?;

        let begun = Instant::now();
        let dialled = match dialler.connect(&addresses).await {
            Ok(socket) => dialler.converse(socket, None).await,
            Err(failure) => Err(failure),
        };
        let found = dialled.as_ref().map(|dialled| {
            let words = dialled.profile().words().count();
            let way = dialler.proxy();
            let way = way.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
            format!("{endpoint} answers over verified TLS{way}, with {words} capabilities")
        });
        self.tell("dial", begun, found.map_err(Clone::clone));
        self.login(protocol, endpoint, dialled.ok()?, token?).await
    }

    async fn login(
        &mut self,
        protocol: Protocol,
        endpoint: &Endpoint,
        dialled: Dialled,
        token: &AccessToken,
    ) -> Option<(UpstreamStream, LoggedIn)> {
        let begun = Instant::now();
        let identity = self.account.identity.of(protocol);
        let login = Login {
            identity,
            token,
            mechanism: self.account.provider.mechanism,
            host: &endpoint.host,
            port: endpoint.port,
        };
        let opened = dialled
            .login(&login)
            .await
            .map_err(|failure| failure.into_failure());
        let found = opened.as_ref().map(|_| format!("logged in as {identity}"));
        self.tell("login", begun, found.map_err(Clone::clone));
        opened.ok()
    }

    fn keep<T>(
        &mut self,
        step: &'static str,
        begun: Instant,
        result: Result<T, Failure>,
    ) -> Option<T> {
        result
            .map_err(|failure| self.tell(step, begun, Err(failure)))
            .ok()
    }

    fn tell(&mut self, step: &'static str, begun: Instant, found: Result<String, Failure>) {
        let (ok, code, words) = match found {
            Ok(words) => (true, None, words),
            Err(failure) => (false, Some(failure.cause.code()), failure.detail),
        };
        (self.report)(Finding {
            account: self.account.address.clone(),
            step,
            protocol: self.protocol,
            ok,
            code,
            words,
            milliseconds: begun.elapsed().as_millis(),
        });
    }
}

/// What a token says of itself, where it is a JWT (RFC 7519). Providers call their tokens opaque, so this is a hint, not a check.
fn claims(token: &AccessToken) -> String {
    let claims = token.expose().split('.').nth(1).and_then(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json).ok()
    });
    let Some(claims) = claims else {
        return "the token is opaque, as most are; the mail server's answer tells more".to_owned();
    };
    let told = ["aud", "scp", "roles", "upn", "email", "appid"]
        .iter()
        .filter_map(|name| {
            let value = claims.get(*name)?;
            Some(format!("{name} {value}"))
        });
    let told: Vec<_> = told.collect();
    format!("the token says: {}", told.join(", "))
}

/// A command that changes nothing, because some servers let a login pass and refuse everything after it.
async fn harmless(
    protocol: Protocol,
    stream: UpstreamStream,
    logged_in: &LoggedIn,
) -> Result<String, String> {
    let (command, good): (&[u8], &str) = match protocol {
        Protocol::Imap => (b"mw1 STATUS INBOX (MESSAGES)\r\n", "mw1 OK"),
        Protocol::Pop3 => (b"STAT\r\n", "+OK"),
        Protocol::Smtp => (b"RSET\r\n", "250"),
    };
    let asked = async {
        let mut stream = BufReader::new(stream);
        stream.write_all(command).await?;
        stream.flush().await?;
        let mut early = logged_in.leftovers();
        loop {
            let mut line = Vec::new();
            if early.is_empty() {
                let limited = &mut tokio::io::AsyncReadExt::take(&mut stream, 8192);
                limited.read_until(b'\n', &mut line).await?;
            } else {
                early.read_until(b'\n', &mut line).await?;
            }
            let line = String::from_utf8_lossy(&line)
                .trim_end()
                .escape_debug()
                .to_string();
            if !line.starts_with("* ") || line.starts_with("* BYE") {
                return std::io::Result::Ok(line);
            }
        }
    };
    match timeout(COMMAND, asked).await {
        Ok(Ok(line)) if line.starts_with(good) => Ok(format!("a harmless command works: {line}")),
        Ok(Ok(line)) => Err(format!(
            "the login was accepted, but the first command was answered with {line:?}; the token is good, and this user may not open \
             this mailbox, or the protocol is switched off for it"
        )),
        Ok(Err(error)) => Err(format!("the connection broke after the login: {error}")),
        Err(_) => Err("no answer to the first command after the login".to_owned()),
    }
}
