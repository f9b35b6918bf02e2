//! What the demonstration prints. It is the first thing that many people see of mailwicket.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use secrecy::ExposeSecret;
use url::Url;

use super::setting::{Setting, TOKEN_LIFE, program, quoted};
use super::{Places, Told};
use crate::cli::{Color, Global};
use crate::config::{Endpoint, UpstreamTls};
use crate::demo::round_trip::TripError;
use crate::demo::story::Chapter;
use crate::demo::{ADDRESS, Seen};
use crate::protocol::Protocol;
use crate::stage::Stage;

/// Whether the words are coloured.
pub(super) struct Style {
    colored: bool,
}

impl Style {
    pub(super) fn new(global: &Global) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && !unwanted,
        };
        Self { colored }
    }

    fn bold(&self, text: &str) -> String {
        self.dressed("1", text)
    }

    fn faint(&self, text: &str) -> String {
        self.dressed("2", text)
    }

    fn good(&self, text: &str) -> String {
        self.dressed("32", text)
    }

    fn bad(&self, text: &str) -> String {
        self.dressed("31", text)
    }

    fn dressed(&self, code: &str, text: &str) -> String {
        match self.colored {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

pub(super) fn title(style: &Style) -> String {
    format!(
        "{}: the real proxy before a sandbox provider, all inside this process.\n",
        style.bold("mailwicket demo")
    )
}

/// What was set up.
pub(super) fn ready(
    style: &Style,
    setting: &Setting,
    places: &Places,
    elapsed: Duration,
) -> String {
    let sandbox = &setting.sandbox;
    let minutes = TOKEN_LIFE.as_secs() / 60;
    let mut text = format!(
        "  provider   {}  OAuth 2.0; access tokens live {minutes} minutes\n\
         \x20 mail       imaps {}, pop3s {}, smtp {} with STARTTLS; passwords are refused\n\
         \x20 sign-in    authorization code with PKCE; \"Allow\" was clicked for you\n\
         \x20 proxy      imap {}, pop3 {}, smtp {} on 127.0.0.1; plain passwords",
        sandbox.issuer,
        sandbox.imap.port(),
        sandbox.pop3.port(),
        sandbox.smtp.port(),
        places.imap.port(),
        places.pop3.port(),
        places.smtp.port(),
    );
    if !setting.taken.is_empty() {
        let taken: Vec<String> = setting.taken.iter().map(u16::to_string).collect();
        // Writing into memory does not fail, here and below.
        let _ = write!(
            text,
            "\n             (another program has {}; free ports were taken in place of it)",
            taken.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "\n  {}",
        style.faint(&format!("ready after {}", time(elapsed)))
    );
    text
}

/// One part of the journey.
pub(super) struct Trip<'a> {
    pub(super) number: usize,
    pub(super) protocol: Protocol,
    pub(super) endpoint: Option<&'a Endpoint>,
    /// What the proxy said about it.
    pub(super) chapter: Option<Chapter>,
    /// What the sandbox saw.
    pub(super) seen: Option<Seen>,
    pub(super) mark: &'a str,
    pub(super) outcome: &'a Result<(), TripError>,
}

pub(super) fn trip(style: &Style, trip: &Trip<'_>) -> String {
    let heading = match trip.protocol {
        Protocol::Smtp => {
            "SMTP: an old program sends a message, with AUTH LOGIN and a plain password"
        }
        Protocol::Imap => "IMAP: it finds the message, with LOGIN and the same password",
        Protocol::Pop3 => "POP3: it fetches the message, with USER, PASS and the same password",
    };
    let mut text = style.bold(&format!("{}  {heading}", trip.number));
    text.push('\n');
    let chapter = trip.chapter.clone().unwrap_or_default();
    for (stage, words) in stages(trip, &chapter) {
        let took = chapter.took.get(stage.word()).copied();
        let took = took.map_or_else(|| "–".to_owned(), time);
        let took = style.faint(&format!("{took:>8}"));
        let _ = writeln!(text, "   {:<9}{took}  {words}", stage.word());
    }
    let _ = match (trip.outcome, trip.protocol) {
        (Ok(()), Protocol::Smtp) => writeln!(
            text,
            "   {} message {:?} was taken",
            style.good("✓"),
            trip.mark
        ),
        (Ok(()), _) => writeln!(
            text,
            "   {} message {:?} came back, octet for octet",
            style.good("✓"),
            trip.mark
        ),
        (Err(error), _) => writeln!(text, "   {} {error}", style.bad("✗")),
    };
    text
}

/// The stages that were passed, with what happened at each.
fn stages(trip: &Trip<'_>, chapter: &Chapter) -> Vec<(Stage, String)> {
    let said = match trip.protocol {
        Protocol::Smtp => "EHLO and AUTH LOGIN, answered with the provider's own extensions",
        Protocol::Imap => "LOGIN, after a greeting with the provider's own capabilities",
        Protocol::Pop3 => "USER and PASS",
    };
    let mut stages = vec![
        (
            Stage::Accept,
            format!("a connection from {}", chapter.source),
        ),
        (
            Stage::Tls,
            "none here: program and proxy share this machine".into(),
        ),
        (Stage::Dialogue, said.into()),
    ];
    if let Some((stage, code, detail)) = &chapter.refusal {
        let refused = [Stage::Password, Stage::Token, Stage::Dial, Stage::Login];
        let refused = refused.into_iter().find(|known| known.word() == stage);
        stages.extend(refused.map(|stage| (stage, format!("{detail} ({code})"))));
    }
    let (Some(seen), Some((up, down))) = (&trip.seen, chapter.traffic) else {
        return stages;
    };
    let how = match trip.endpoint.map(|endpoint| endpoint.tls) {
        Some(UpstreamTls::StartTls) => "STARTTLS, ",
        _ => "",
    };
    let host = trip.endpoint.map(Endpoint::to_string).unwrap_or_default();
    stages.extend([
        (
            Stage::Password,
            match trip.number {
                1 => "right: it matches the Argon2id hash in the vault".to_owned(),
                _ => "right: remembered from the login before".to_owned(),
            },
        ),
        (Stage::Token, format!("the access token {}", seen.token)),
        (
            Stage::Dial,
            format!("{host}, {how}{}, certificate verified", seen.tls),
        ),
        (
            Stage::Login,
            format!(
                "{}: the sandbox took the token, and saw no password",
                seen.mechanism
            ),
        ),
        (
            Stage::Relay,
            format!("{up} octets up, {down} down, none of them touched"),
        ),
    ]);
    stages
}

pub(super) fn arrived(style: &Style, elapsed: Duration) -> String {
    format!(
        "{} {}",
        style.good("The message travelled: out by SMTP, back by IMAP and POP3, unchanged."),
        style.faint(&format!("{} in all", time(elapsed)))
    )
}

/// How to use it.
pub(super) fn invitation(
    style: &Style,
    setting: &Setting,
    places: &Places,
    console: Option<&Url>,
) -> String {
    let (imap, pop3, smtp) = (places.imap.port(), places.pop3.port(), places.smtp.port());
    let password = setting.password.expose_secret();
    let user = format!("--user {ADDRESS}:{password}");
    let program = program();
    let config = quoted(&setting.path());
    let look = console.map_or_else(String::new, |link| {
        let title =
            style.bold("Look at it: the console, by a link that works once, within five minutes");
        format!("{title}\n   {link}\n\n")
    });
    format!(
        r#"
{own}
   user name  {ADDRESS}
   password   {password}
   IMAP       127.0.0.1  port {imap}  no encryption, normal password
   POP3       127.0.0.1  port {pop3}  no encryption, normal password
   SMTP       127.0.0.1  port {smtp}  no encryption, normal password
   Whatever you send, and to whom, lies in the sandbox's inbox; nothing leaves this machine.

{curl}
   printf 'Subject: hello\r\n\r\nHello from curl.\r\n' | curl --url smtp://127.0.0.1:{smtp} {user} \
     --mail-from {ADDRESS} --mail-rcpt {ADDRESS} --upload-file -
   curl --url 'imap://127.0.0.1:{imap}/INBOX;MAILINDEX=*' {user}
   curl --url 'pop3://127.0.0.1:{pop3}/1' {user}

{look}{commands}
   {program} --config {config} status
   {program} --config {config} console
   {program} --config {config} doctor
   {program} --config {config} authorize {ADDRESS}

Ctrl-C ends it and leaves nothing behind. Sessions from here on:"#,
        own = style.bold("Now with your own mail program"),
        curl = style.bold("Or with curl, in another terminal"),
        commands = style.bold("Or with mailwicket itself"),
    )
}

/// A line about a session of the user's own.
pub(super) fn session(style: &Style, told: &Told) -> Option<String> {
    let now = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    let (mark, chapter, words) = match told {
        Told::LoggedIn(chapter) => {
            let account = chapter.account.as_deref().unwrap_or_default();
            (
                style.good("✓"),
                chapter,
                format!("{account} logged in  {}", times(chapter)),
            )
        }
        Told::Refused(chapter) => {
            let (stage, code, detail) = chapter.refusal.clone().unwrap_or_default();
            (
                style.bad("✗"),
                chapter,
                format!("refused at {stage}: {detail} ({code})"),
            )
        }
        Told::Ended(chapter) => {
            let (up, down) = chapter.traffic?;
            let words = format!("ended after {up} octets up, {down} down");
            (" ".to_owned(), chapter, words)
        }
    };
    let protocol = chapter.protocol.to_uppercase();
    Some(format!(
        "   {} {mark} {protocol:<4}  {words}",
        style.faint(&now)
    ))
}

/// The times of a login, in the order of its stages.
fn times(chapter: &Chapter) -> String {
    let stages = [Stage::Password, Stage::Token, Stage::Dial, Stage::Login];
    let times = stages.iter().filter_map(|stage| {
        let took = chapter.took.get(stage.word())?;
        Some(format!("{stage} {}", time(*took)))
    });
    times.collect::<Vec<_>>().join(", ")
}

/// A duration that can be read at a glance.
fn time(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}
