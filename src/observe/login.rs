//! The line that every login leaves in the log, whatever becomes of it. Scripts and fail2ban read it: its form is fixed, and
//! `docs/logging.md` describes it.
//!
//! What strangers wrote stands last, quoted and escaped, so that it can forge neither a field nor a line.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Counters;
use super::recent::{Login, Outcome};
use crate::failure::{Cause, Failure};
use crate::password::THROTTLED;
use crate::protocol::Protocol;
use crate::stage::Stage;

/// The target of the line.
pub const TARGET: &str = "mailwicket::login";
/// What the line has in place of a code for a login that succeeded.
const OK: &str = "-";
/// What the line calls a login whose connection ended before the answer.
const ABORTED: &str = "MW-ABORTED";
/// Characters of a login name in the line; real ones have fewer.
const MAX_LOGIN: usize = 200;

/// A login under way. Its line is written when its end is told, or when it is dropped.
pub struct LoginLine {
    protocol: Protocol,
    source: SocketAddr,
    listener: SocketAddr,
    login: String,
    counters: Arc<Counters>,
    /// Known once the password was right.
    account: Option<String>,
    /// Set when mailwicket ends what is still under way.
    kill: CancellationToken,
    is_open: bool,
}

impl LoginLine {
    /// `listener` is the bound address; `login` is what was presented; `kill` is set when mailwicket ends logins itself.
    pub fn begin(
        protocol: Protocol,
        source: SocketAddr,
        listener: SocketAddr,
        login: &str,
        counters: Arc<Counters>,
        kill: CancellationToken,
    ) -> Self {
        Self {
            protocol,
            source,
            listener,
            login: login.chars().take(MAX_LOGIN).collect(),
            counters,
            account: None,
            kill,
            is_open: true,
        }
    }

    /// The password was right: from here on, nothing is the stranger's fault.
    pub fn verified(&mut self, account: &str) {
        self.account = Some(account.to_owned());
    }

    /// The provider said yes.
    pub fn succeeded(mut self) {
        self.is_open = false;
        self.write(Outcome::Ok, OK, Stage::Login, None);
    }

    /// The mail program is told so.
    pub fn failed(mut self, failure: &Failure) {
        self.is_open = false;
        match failure.cause {
            Cause::Password => self.refused(failure.log_code()),
            _ => self.write(
                Outcome::Failed,
                failure.log_code(),
                failure.stage,
                Some(&failure.detail),
            ),
        }
    }

    /// Login and password do not fit together. What of them was wrong, nobody reads here.
    fn refused(&self, code: &'static str) {
        self.counters.refused(code == THROTTLED);
        self.write(Outcome::Refused, code, Stage::Password, None);
    }

    /// It came to no end, and that is nobody's wrong password.
    fn aborted(&self, detail: &str) {
        let stage = match self.account {
            Some(_) => Stage::Login,
            None => Stage::Password,
        };
        self.write(Outcome::Failed, ABORTED, stage, Some(detail));
    }

    fn write(&self, outcome: Outcome, code: &'static str, stage: Stage, detail: Option<&str>) {
        let Self {
            protocol, source, ..
        } = self;
        let source_address = source.ip().to_canonical();
        let told = Login {
            outcome,
            protocol: *protocol,
            source: source_address,
            login: self.login.clone(),
            code: (code != OK).then_some(code),
            stage,
            detail: detail.map(str::to_owned),
        };
        let account = self.account.as_deref();
        self.counters.recent().login(account, told);
        let account = account.unwrap_or("-");
        macro_rules! line {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    outcome = outcome.word(),
                    code,
                    protocol = protocol.word(),
                    source = %source_address,
                    port = source.port(),
                    listener = %self.listener,
                    account,
                    stage = stage.word(),
                    detail,
                    login = self.login,
                    "login"
                )
            };
        }
        match outcome {
            Outcome::Ok => line!(INFO),
            _ => line!(WARN),
        }
    }
}

impl Drop for LoginLine {
    /// The mail program has gone, or mailwicket is made to stop: that is an end, too, or a guesser who hangs up would leave no trace.
    fn drop(&mut self) {
        match self.account {
            _ if !self.is_open => {}
            _ if self.kill.is_cancelled() => self.aborted("mailwicket was stopped meanwhile"),
            None => self.refused(ABORTED),
            Some(_) => self.aborted("the connection ended before the login did"),
        }
    }
}
