//! The tables that are about mailwicket itself: state, vault, console, times, limits, log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_spanned::Spanned;
use tracing_subscriber::EnvFilter;

use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::surroundings::Surroundings;
use super::super::{
    CertificateName, Console, DEFAULT_CONSOLE, DEFAULT_LEVEL, Egress, Limits, Log, Notify,
    RemoteConsole, SecretSource, Timeouts, VAULT_KEY,
};
use super::{Checker, url, value};

/// More would be beyond the descriptors of one process; it also keeps sums far from overflow.
pub const MOST_SESSIONS: usize = 1_000_000;

/// Shorter lines would refuse what SMTP programs may send (RFC 5321 §4.5.3.1.4); longer ones are no commands.
const LINE_BOUNDS: (usize, usize) = (512, 65_536);

/// Guessing is answered by closing; more tries on one connection only help a guesser.
const MOST_FAILED_LOGINS: usize = 100;

/// As many as two cores can hash; more would be no limit.
const MOST_FAILED_LOGINS_PER_MINUTE: usize = 1000;

impl Checker {
    pub(super) fn state_dir(
        &mut self,
        written: Field<String>,
        around: &Surroundings,
    ) -> Option<PathBuf> {
        let path = match written {
            Some(text) => Some(self.ok(value::filled(text, "`state-dir`"))?),
            None => None,
        };
        let found = around.state_dir(path.map(|path| self.path(&path)));
        if found.is_none() {
            self.tell(
                Problem::of_file("nothing says where tokens and passwords are to be kept").hint(
                    "write state-dir = \"/var/lib/mailwicket\" at the top, or give --state-dir",
                ),
            );
        }
        found
    }

    /// The key of the vault; by default a file in the state directory.
    pub(super) fn vault(&mut self, vault: shape::Vault, state_dir: Option<&Path>) -> SecretSource {
        match vault.store {
            Some(store) if !matches!(store.get_ref(), shape::Store::Word(word) if word == "file") =>
            {
                self.not_yet(store.span(), "a `store` other than \"file\"");
            }
            _ => {}
        }
        let default = SecretSource::File(state_dir.unwrap_or(Path::new("")).join(VAULT_KEY));
        let Some(key) = vault.key else { return default };
        if matches!(key.get_ref(), shape::Secret::Inline(_)) {
            self.tell(
                Problem::at(
                    key.span(),
                    "the vault's key must not stand in the configuration itself",
                )
                .hint("use { file = … }, { credential = … }, { env = … } or { command = […] }"),
            );
            return default;
        }
        self.secret(key, "key").unwrap_or(default)
    }

    /// The console; `None` if it is off. Whoever gets in there can do everything, so it is reached from elsewhere only where that is
    /// said in so many words, and over TLS.
    pub(super) fn console(&mut self, console: shape::Console) -> Option<Console> {
        let shape::Console {
            listen,
            allow_from,
            certificate,
        } = console;
        let idle = [
            allow_from.as_ref().map(|key| ("allow-from", key.span())),
            certificate.as_ref().map(|key| ("certificate", key.span())),
        ];
        let is_open = allow_from.is_some();
        let remote = RemoteConsole {
            allow_from: self.networks(
                allow_from,
                "allow-from",
                Some("whoever is in it may try to open the console"),
            ),
            certificate: self.certificate_files(certificate),
        };
        let listen = match listen {
            Some(text) if text.get_ref() == "off" => return None,
            Some(text) if is_open => self.ok(value::socket_address(&text))?,
            Some(text) => self.ok(value::console_address(&text))?,
            None => DEFAULT_CONSOLE,
        };
        let remote = match value::is_loopback(listen.ip()) {
            false => Some(remote),
            true => {
                for (key, span) in idle.into_iter().flatten() {
                    let message = format!("`{key}` is of no use with a console on loopback");
                    self.tell(
                        Problem::at(span, message)
                            .hint("remove it, or listen on an address that other machines reach"),
                    );
                }
                None
            }
        };
        Some(Console { listen, remote })
    }

    /// What the local CA's certificates are to be for, besides what is known anyway.
    pub(super) fn ca_names(&mut self, ca: shape::Ca) -> Vec<CertificateName> {
        let texts = ca.names.map(|names| names.into_inner().0);
        let names = texts.unwrap_or_default();
        names
            .iter()
            .filter_map(|name| self.ok(value::certificate_name(name)))
            .collect()
    }

    pub(super) fn metrics(&mut self, metrics: shape::Metrics) {
        if let Some(listen) = metrics.listen.filter(|listen| listen.get_ref() != "off") {
            self.not_yet(listen.span(), "a `listen` of [metrics] other than \"off\"");
        }
    }

    /// How people are told; both ways may be left out.
    pub(super) fn notify(&mut self, shape: shape::Notify) -> Notify {
        let command = shape.command.and_then(|words| {
            let words = self.ok(value::command(words))?;
            Some(self.program(words))
        });
        let webhook = shape.webhook.and_then(|address| {
            let span = address.span();
            let address = self.secret(address, "webhook")?;
            if let SecretSource::Inline(text) = &address {
                self.ok(url::webhook(text, span))?;
            }
            Some(address)
        });
        Notify {
            command,
            webhook,
            egress: Egress::Environment(Arc::clone(&self.environment)),
        }
    }

    pub(super) fn timeouts(&mut self, shape: shape::Timeouts) -> Timeouts {
        let default = Timeouts::default();
        let timeouts = Timeouts {
            before_login: self.time(&shape.before_login, default.before_login),
            tls: self.time(&shape.tls, default.tls),
            connect: self.time(&shape.connect, default.connect),
            connect_total: self.time(&shape.connect_total, default.connect_total),
            upstream_login: self.time(&shape.upstream_login, default.upstream_login),
            token: self.time(&shape.token, default.token),
            drain: self.time(&shape.drain, default.drain),
        };
        for (field, key) in [
            (&shape.before_login, "before-login"),
            (&shape.tls, "tls"),
            (&shape.connect, "connect"),
            (&shape.connect_total, "connect-total"),
            (&shape.upstream_login, "upstream-login"),
            (&shape.token, "token"),
        ] {
            self.not_zero(field, key); // `drain` may be: then sessions are ended at once
        }
        if let Some(total) = shape
            .connect_total
            .filter(|_| timeouts.connect_total < timeouts.connect)
        {
            self.tell(Problem::at(
                total.span(),
                "`connect-total` is shorter than `connect`, which is for one address",
            ));
        }
        timeouts
    }

    fn time(&mut self, field: &Field<String>, default: Duration) -> Duration {
        let given = field
            .as_ref()
            .and_then(|text| self.ok(value::duration(text)));
        given.unwrap_or(default)
    }

    fn not_zero(&mut self, field: &Field<String>, key: &str) {
        let zero =
            |text: &Spanned<String>| value::duration(text).is_ok_and(|duration| duration.is_zero());
        if let Some(text) = field.as_ref().filter(|text| zero(text)) {
            self.tell(Problem::at(
                text.span(),
                format!("`{key}` must be longer than nothing: everything would fail at once"),
            ));
        }
    }

    pub(super) fn limits(&mut self, shape: shape::Limits) -> Limits {
        let default = Limits::default();
        let (shortest, longest) = LINE_BOUNDS;
        Limits {
            sessions: self.limit(shape.sessions, 1, MOST_SESSIONS, default.sessions),
            sessions_per_source: self.bound(shape.sessions_per_source),
            sessions_per_account: self.bound(shape.sessions_per_account),
            before_login: self.limit(shape.before_login, 1, MOST_SESSIONS, default.before_login),
            before_login_per_source: self.limit(
                shape.before_login_per_source,
                1,
                MOST_SESSIONS,
                default.before_login_per_source,
            ),
            failed_logins: self.limit(
                shape.failed_logins,
                1,
                MOST_FAILED_LOGINS,
                default.failed_logins,
            ),
            failed_logins_per_minute: self.limit(
                shape.failed_logins_per_minute,
                1,
                MOST_FAILED_LOGINS_PER_MINUTE,
                default.failed_logins_per_minute,
            ),
            line_before_login: self.limit(
                shape.line_before_login,
                shortest,
                longest,
                default.line_before_login,
            ),
        }
    }

    fn limit(&mut self, field: Field<i64>, least: usize, most: usize, default: usize) -> usize {
        let given = field.and_then(|number| self.ok(value::number(&number, least, most)));
        given.unwrap_or(default)
    }

    /// A number of sessions that is not limited by default.
    fn bound(&mut self, field: Field<i64>) -> Option<usize> {
        field.and_then(|number| self.ok(value::number(&number, 1, MOST_SESSIONS)))
    }

    pub(super) fn log(&mut self, shape: shape::Log) -> Log {
        let level = shape.level.and_then(|level| self.ok(log_level(level)));
        Log {
            level: level.unwrap_or_else(|| DEFAULT_LEVEL.to_owned()),
            json: shape
                .format
                .is_some_and(|format| *format.get_ref() == shape::LogFormat::Json),
        }
    }
}

fn log_level(text: Spanned<String>) -> Result<String, Problem> {
    match is_log_level(text.get_ref()) {
        true => Ok(text.into_inner()),
        false => Err(Problem::at(
            text.span(),
            format!("`{}` is not a log level", text.get_ref()),
        )
        .hint(LEVEL_HINT)),
    }
}

/// What a log level may be.
pub const LEVEL_HINT: &str =
    "write error, warn, info, debug or trace; or a list such as \"info,mailwicket::token=debug\"";

/// Whether it is a filter that `tracing_subscriber` takes. A misspelt level would pass for the name of a module, and log nothing.
pub fn is_log_level(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let word = text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let known = LEVELS.iter().any(|level| text.eq_ignore_ascii_case(level));
    (known || !word) && EnvFilter::builder().parse(text).is_ok()
}
