//! The log: one line per event on stderr.

use std::fmt;
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::login;

use crate::config::Log;

/// Begins to log. A level such as `debug` is ours alone: libraries then tell no more than warnings, so that nothing of theirs
/// drowns what happened. A filter such as `info,mailwicket::token=debug,rustls=debug` is taken as it is.
///
/// A second call changes nothing: the first caller's log goes on.
///
/// # Errors
/// If the level cannot be understood.
pub fn init(log: &Log, color: bool) -> Result<(), String> {
    let level = &log.level;
    let filter = match level.as_str() {
        "off" | "error" => level.clone(),
        word if word.chars().all(char::is_alphabetic) => format!("warn,mailwicket={word}"),
        filter => filter.to_owned(),
    };
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("cannot understand the log level {level:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(color)
        .with_target(false);
    let _ = match log.json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.event_format(Lines::new(color)).try_init(),
    };
    Ok(())
}

/// Events as lines. The line of a login is written field by field in the order in which it is documented, without colour and
/// without what stands around it; everything else as the library does.
pub(super) struct Lines(Format<Full, SystemTime>);

impl Lines {
    pub(super) fn new(color: bool) -> Self {
        Self(Format::default().with_target(false).with_ansi(color))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != login::TARGET {
            return self.0.format_event(context, writer, event);
        }
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {:>5} login", event.metadata().level())?;
        let mut fields = LoginFields {
            writer: writer.by_ref(),
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        writeln!(writer)
    }
}

/// Writes the fields of a login: `name=value`, in quotes where a value is not one of our own words.
struct LoginFields<'a> {
    writer: Writer<'a>,
    result: fmt::Result,
}

impl LoginFields<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() != "message" {
            let written = write!(self.writer, " {}={value}", field.name());
            self.result = self.result.and(written);
        }
    }
}

impl Visit for LoginFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // `Debug` of a text escapes quotes, backslashes, line ends and whatever cannot be seen.
            "detail" | "login" => self.write(field, format_args!("{value:?}")),
            _ => self.write(field, format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use tokio_util::sync::CancellationToken;
    use tracing_subscriber::fmt::MakeWriter;

    use super::super::{Counters, LoginLine};
    use super::*;
    use crate::failure::{Cause, Failure};
    use crate::protocol::Protocol;
    use crate::stage::Stage;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Paper {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What is logged meanwhile, without its times.
    pub(in crate::observe) fn logged(json: bool, work: impl FnOnce()) -> Vec<String> {
        let paper = Paper::default();
        // Else a place in the code that another test comes to first would be asked for by nobody.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let builder = tracing_subscriber::fmt()
            .with_writer(paper.clone())
            .with_ansi(false)
            .with_target(false);
        match json {
            true => {
                tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), work)
            }
            false => tracing::subscriber::with_default(
                builder.event_format(Lines::new(true)).finish(),
                work,
            ),
        }
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let without_time = |line: &str| line.split_once(' ').unwrap().1.to_owned();
        match json {
            true => text.lines().map(str::to_owned).collect(),
            false => text.lines().map(without_time).collect(),
        }
    }

    fn begin(login: &str) -> LoginLine {
        begin_until(login, &CancellationToken::new())
    }

    fn begin_until(login: &str, kill: &CancellationToken) -> LoginLine {
        LoginLine::begin(
            Protocol::Imap,
            "[::ffff:192.0.2.7]:5000".parse().unwrap(),
            "127.0.0.1:1143".parse().unwrap(),
            login,
            Arc::new(Counters::default()),
            kill.clone(),
        )
    }

    const WRONG: &str = " WARN login outcome=refused code=MW-PASSWORD protocol=imap source=192.0.2.7 port=5000 \
                         listener=127.0.0.1:1143 account=- stage=password login=";

    fn wrong() -> Failure {
        Failure::new(Stage::Password, Cause::Password, "unknown login")
    }

    #[test]
    fn every_login_is_one_line_in_a_fixed_form() {
        let lines = logged(false, || {
            let span = tracing::info_span!("session", protocol = "imap", source = "1.2.3.4");
            let _inside = span.enter();
            let mut good = begin("alice");
            good.verified("alice@example.com");
            good.succeeded();
            begin("alice").failed(&wrong());
            let mut trouble = begin("alice");
            trouble.verified("alice@example.com");
            trouble.failed(&Failure::new(Stage::Dial, Cause::Upstream, "a \"b\"\nc"));
            drop(begin("alice"));
            let mut gone = begin("alice");
            gone.verified("alice@example.com");
            drop(gone);
            let kill = CancellationToken::new();
            let _stopped = begin_until("alice", &kill);
            kill.cancel();
        });
        let known = "protocol=imap source=192.0.2.7 port=5000 listener=127.0.0.1:1143 account=alice@example.com";
        let unknown = "protocol=imap source=192.0.2.7 port=5000 listener=127.0.0.1:1143 account=-";
        assert_eq!(
            lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>(),
            [
                format!(" INFO login outcome=ok code=- {known} stage=login login=\"alice\""),
                format!("{WRONG}\"alice\""),
                format!(
                    r#" WARN login outcome=failed code=MW-UPSTREAM {known} stage=dial detail="a \"b\"\nc" login="alice""#
                ),
                format!(
                    " WARN login outcome=refused code=MW-ABORTED {unknown} stage=password login=\"alice\""
                ),
                format!(
                    " WARN login outcome=failed code=MW-ABORTED {known} stage=login detail=\"the connection ended before the login did\" login=\"alice\""
                ),
                format!(
                    " WARN login outcome=failed code=MW-ABORTED {unknown} stage=password detail=\"mailwicket was stopped meanwhile\" login=\"alice\""
                ),
            ]
            .map(|line| line.trim_start().to_owned())
        );
    }

    #[test]
    fn a_login_name_forges_neither_fields_nor_lines_and_is_cut() {
        let forged = "x\" source=198.51.100.1\n2026-01-01T00:00:00Z  WARN login outcome=refused\u{1b}[0m\u{202e}\\";
        let lines = logged(false, || {
            begin(forged).failed(&wrong());
            begin(&"ä".repeat(5000)).failed(&wrong());
        });
        let escaped = r#""x\" source=198.51.100.1\n2026-01-01T00:00:00Z  WARN login outcome=refused\u{1b}[0m\u{202e}\\""#;
        let cut = format!("\"{}\"", "ä".repeat(200));
        let expected =
            [escaped.to_owned(), cut].map(|login| format!("{}{login}", WRONG.trim_start()));
        assert_eq!(
            lines
                .iter()
                .map(|line| line.trim_start())
                .collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn the_object_of_a_login_has_the_same_fields() {
        let lines = logged(true, || begin("a\"b\nc").failed(&wrong()));
        let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        for (key, value) in [
            ("message", "login"),
            ("outcome", "refused"),
            ("code", "MW-PASSWORD"),
            ("protocol", "imap"),
            ("source", "192.0.2.7"),
            ("listener", "127.0.0.1:1143"),
            ("account", "-"),
            ("stage", "password"),
            ("login", "a\"b\nc"),
        ] {
            assert_eq!(object[key], value, "{key}");
        }
        assert_eq!(object["port"], 5000);
    }
}
