//! A mail server, from its name to a command after the login.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Walk;
use super::finding::{Step, Subject, Told};
use super::road::{Gate, Road};
use crate::config::Endpoint;
use crate::dial::{Dialled, Dialler, UpstreamStream};
use crate::dialogue::{self, Login};
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::talk::{self, Talk, TalkError};
use crate::tls::TlsError;
use crate::tls::witness::Witness;
use crate::token::AccessToken;

/// How long a mail server may take for a command.
pub(super) const COMMAND: Duration = Duration::from_secs(30);
/// How long it may take to hear that we leave.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// A conversation after a login.
pub(super) type Session = Talk<UpstreamStream>;

impl Walk<'_> {
    /// Every step that concerns one mail server; stops at the first that fails. Says whether all is well.
    pub(super) async fn mail(
        &mut self,
        protocol: Protocol,
        endpoint: &Endpoint,
        token: Option<&AccessToken>,
    ) -> bool {
        let Some(mut session) = self.session(protocol, endpoint, token).await else {
            return false;
        };
        let name = Subject::from(protocol);
        let begun = Instant::now();
        let done = talk::in_time(COMMAND, harmless(protocol, &mut session)).await;
        let done = done.map_err(|error| after_login(&error, protocol));
        let Some(detail) = self.keep(Step::Command, name, begun, done) else {
            return false;
        };
        self.tell(Step::Command, name, begun, Told::well(detail));
        let is_sender = match protocol {
            Protocol::Smtp => self.sender(&mut session).await,
            Protocol::Imap | Protocol::Pop3 => true,
        };
        leave(protocol, session).await;
        is_sender
    }

    async fn session(
        &mut self,
        protocol: Protocol,
        endpoint: &Endpoint,
        token: Option<&AccessToken>,
    ) -> Option<Session> {
        let name = Subject::from(protocol);
        let begun = Instant::now();
        let dialler = self.dialler(protocol, endpoint);
        let dialler = dialler.map_err(|error| Told::failed(Cause::Config, error.to_string(), ""));
        let (dialler, witness) = self.keep(Step::Tls, name, begun, dialler)?;
        let road = self.road_to(&dialler);
        let opened = self.road(&road, &Gate::Mail(&dialler), &witness).await?;

        let begun = Instant::now();
        let hearing = dialler.hear(opened.mail?);
        let heard = timeout(self.config.timeouts.upstream_login, hearing).await;
        let heard = heard.unwrap_or_else(|_| Err(dialler.slow_greeting()));
        let dialled = self.keep(Step::Greeting, name, begun, heard.map_err(Told::from))?;
        let words = dialled.profile().words().count();
        let told = Told::well(format!("{endpoint} greets with {words} capabilities"));
        self.tell(Step::Greeting, name, begun, told);

        let begun = Instant::now();
        let session = self.log_in(protocol, endpoint, dialled, token?).await;
        let session = self.keep(Step::Login, name, begun, session.map_err(Told::from))?;
        let identity = self.account.identity.of(protocol);
        let told = Told::well(format!("logged in as {identity}"));
        self.tell(Step::Login, name, begun, told);
        Some(session)
    }

    /// Whether MAIL with the account's own address is accepted. Exchange accepts any, and refuses the sender behind the message.
    async fn sender(&mut self, session: &mut Session) -> bool {
        let begun = Instant::now();
        let address = &self.account.address;
        let asking = async {
            session
                .smtp("MAIL", &format!("MAIL FROM:<{address}>"), "250")
                .await?;
            session.smtp("RSET", "RSET", "250").await
        };
        let told = match talk::in_time(COMMAND, asking).await {
            Ok(()) => Told::well(format!(
                "MAIL from {address} is accepted; whether the message goes out shows with --send"
            )),
            Err(error) => self.not_sent(&error),
        };
        let is_well = matches!(told, Told::Well(_));
        self.tell(Step::Sender, Subject::Smtp, begun, told);
        is_well
    }

    /// What is told of a server that does not take our mail.
    pub(super) fn not_sent(&self, error: &TalkError) -> Told {
        let TalkError::Refused { reply, .. } = error else {
            return Told::failed(Cause::Upstream, error.to_string(), "");
        };
        let identity = &self.account.identity.smtp;
        let remedy = dialogue::after_login(reply.as_bytes()).map_or_else(
            || {
                format!(
                    "Ask the provider whether {identity} may send as {}",
                    self.account.address
                )
            },
            str::to_owned,
        );
        Told::failed(
            Cause::Refused,
            format!("logged in as {identity}, but {error}"),
            remedy,
        )
    }

    // ---- connections ----

    /// A login of which only a failure is worth a word.
    pub(super) async fn quiet_session(
        &self,
        protocol: Protocol,
        endpoint: &Endpoint,
        token: &AccessToken,
    ) -> Result<Session, Failure> {
        let dialler = self.dialler(protocol, endpoint);
        let dialler =
            dialler.map_err(|error| Failure::new(Stage::Dial, Cause::Config, error.to_string()))?;
        let dialled = dialler.0.dial(None).await?;
        self.log_in(protocol, endpoint, dialled, token).await
    }

    async fn log_in(
        &self,
        protocol: Protocol,
        endpoint: &Endpoint,
        dialled: Dialled,
        token: &AccessToken,
    ) -> Result<Session, Failure> {
        let login = Login {
            identity: self.account.identity.of(protocol),
            token,
            mechanism: self.account.provider.mechanism,
            host: &endpoint.host,
            port: endpoint.port,
        };
        let opened = dialled.login(&login).await;
        let (stream, logged_in) = opened.map_err(|failure| failure.into_failure())?;
        Ok(Talk::with_early(stream, logged_in.leftovers()))
    }

    fn dialler(
        &self,
        protocol: Protocol,
        endpoint: &Endpoint,
    ) -> Result<(Dialler, Arc<Witness>), TlsError> {
        let (tls, witness) = Witness::upstream(self.account.provider.ca_file.as_deref())?;
        let dialler = Dialler {
            protocol,
            endpoint: endpoint.clone(),
            egress: self.account.provider.egress.clone(),
            tls,
            timeouts: self.config.timeouts.clone(),
            known: Arc::default(),
        };
        Ok((dialler, witness))
    }

    fn road_to(&self, dialler: &Dialler) -> Road {
        let Endpoint { host, port, .. } = &dialler.endpoint;
        let egress = &dialler.egress;
        let detour = egress.for_tokens_only(host).map(|proxy| {
            format!("tokens take the proxy {proxy} and mail goes directly: if mail has to take it as well, write it as `egress`")
        });
        Road {
            name: dialler.protocol.into(),
            host: host.clone(),
            port: *port,
            proxy: egress.for_mail(host).cloned(),
            detour,
            limit: self.config.timeouts.connect,
        }
    }
}

/// A command that changes nothing, because some servers let a login pass and refuse everything after it.
async fn harmless(protocol: Protocol, session: &mut Session) -> Result<String, TalkError> {
    match protocol {
        Protocol::Imap => {
            let command = "STATUS INBOX (MESSAGES)";
            let said = session.imap("STATUS INBOX", command).await?;
            let count = said.lines.iter().find_map(|line| messages(line));
            Ok(match count {
                Some(count) => format!("INBOX opens; messages: {count}"),
                None => "INBOX opens".to_owned(),
            })
        }
        Protocol::Pop3 => {
            let count = session.count().await?;
            Ok(format!("the mailbox opens; messages: {count}"))
        }
        Protocol::Smtp => {
            session.smtp("RSET", "RSET", "250").await?;
            Ok("a harmless command works".to_owned())
        }
    }
}

/// `* STATUS INBOX (MESSAGES 231)`
fn messages(line: &str) -> Option<u32> {
    let (_, count) = line.strip_prefix("* STATUS ")?.rsplit_once("(MESSAGES ")?;
    count.trim_end_matches(')').parse().ok()
}

/// What is told of a server that let us in and refuses the first command.
fn after_login(error: &TalkError, protocol: Protocol) -> Told {
    let TalkError::Refused { reply, .. } = error else {
        let detail = format!("after the login, {error}");
        return Told::failed(Cause::Upstream, detail, "");
    };
    let general = format!(
        "The token is good, but its user may not open this mailbox, or {protocol} is switched off for it"
    );
    let remedy = dialogue::after_login(reply.as_bytes()).map_or(general, str::to_owned);
    Told::failed(
        Cause::Refused,
        format!("the login was accepted, but {error}"),
        remedy,
    )
}

/// Says good-bye, which nobody has to hear.
pub(super) async fn leave(protocol: Protocol, mut session: Session) {
    let leaving = async {
        // Whatever comes, the connection ends.
        match protocol {
            Protocol::Imap => drop(session.imap("LOGOUT", "LOGOUT").await),
            Protocol::Pop3 => drop(session.pop3("QUIT", "QUIT").await),
            Protocol::Smtp => drop(session.smtp("QUIT", "QUIT", "221").await),
        }
        session.close().await;
    };
    timeout(GOOD_BYE, leaving).await.ok();
}
