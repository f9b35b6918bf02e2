//! `mailwicket status`: how every account and listener stands; exits with 1 if somebody should look.

use std::io;
use std::path::Path;

use jiff::{SpanRound, Timestamp, Unit};

use super::{Exit, Global, print, say};
use crate::config::Config;
use crate::control;
use crate::observe::ListenerFigures;
use crate::status::{AccountLine, ListenerLine, Sources, Status, TemplateLine};
use crate::token::Tokens;
use crate::token::life::State;
use crate::vault::Vault;

/// The arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    let shown = global.load().and_then(|config| {
        let status = super::block_on(ask(&config))?.map_err(|error| {
            global.say_error(&*error);
            Exit::Failed
        })?;
        show(&status, args.json, &config.state_dir)?;
        Ok(status.is_ok())
    });
    match shown {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(exit) => exit,
    }
}

/// The daemon's answer; without a daemon, what the vault says.
async fn ask(config: &Config) -> Result<Status, Box<dyn std::error::Error>> {
    let answer = control::ask(&config.state_dir).await.map_err(|error| {
        io::Error::other(format!("the running mailwicket does not answer: {error}"))
    })?;
    if let Some(status) = answer {
        return Ok(status);
    }
    let vault = Vault::open(&config.state_dir, &config.vault_key)?;
    let sources = Sources {
        tokens: Some(Tokens::new(vault, config.timeouts.token)),
        roster: config.roster.clone(),
        listeners: Vec::new(),
        console_certificate: None,
    };
    Ok(Status {
        running: false,
        version: None,
        ..sources.status()
    })
}

fn show(status: &Status, json: bool, folder: &Path) -> Result<(), Exit> {
    if json {
        let json = serde_json::to_string_pretty(status).map_err(|error| {
            say(&format!("error: cannot write the status as JSON: {error}"));
            Exit::Failed
        })?;
        return print(&json);
    }
    let now = Timestamp::now();
    for line in &status.accounts {
        print(&account(line, now))?;
        let token = &line.token;
        for words in [&token.reason, &token.remedy].into_iter().flatten() {
            print(&format!("    {words}"))?;
        }
        if let Some(failure) = &line.figures.last_failure {
            let when = until(failure.at, now);
            print(&format!(
                "    last login failed {when}: {} {}",
                failure.code, failure.detail
            ))?;
        }
    }
    for line in &status.templates {
        print(&template(line))?;
    }
    for line in &status.listeners {
        print(&listener(line))?;
    }
    match status.running {
        true if status.accounts.is_empty() && status.templates.is_empty() => {
            say(
                "mailwicket runs; there is no account yet. Add one: mailwicket account add, or the console: mailwicket console",
            );
            Ok(())
        }
        true => Ok(()),
        false => {
            say(&format!(
                "no mailwicket runs with the state folder {}; start it with: mailwicket run (a service may use another folder: set state-dir in the configuration)",
                folder.display()
            ));
            Ok(())
        }
    }
}

fn account(line: &AccountLine, now: Timestamp) -> String {
    let AccountLine {
        account,
        provider,
        token,
        figures,
    } = line;
    let state = token.state;
    let mut words = vec![format!("{account}  {state}  provider {provider}")];
    words.extend(
        token
            .expires_at
            .map(|at| format!("token {}", until(at, now))),
    );
    words.extend(
        token
            .next_try
            .map(|at| format!("next try {}", until(at, now))),
    );
    words.push(match figures.last_login {
        Some(at) => format!("last login {}", until(at, now)),
        None if state == State::Ok => "no login yet".to_owned(),
        None => "no login".to_owned(),
    });
    words.push(format!("sessions {}", figures.sessions));
    words.join("  ")
}

fn template(line: &TemplateLine) -> String {
    let TemplateLine {
        template,
        provider,
        mailboxes,
    } = line;
    format!("{template}  whole domain  provider {provider}  mailboxes with a password {mailboxes}")
}

fn listener(line: &ListenerLine) -> String {
    let ListenerLine {
        protocol,
        address,
        provider,
        tls,
        figures,
    } = line;
    format!(
        "{protocol} {address}  provider {provider}  tls {tls}  sessions {}  logins {}{}  octets up {} down {}",
        figures.sessions,
        figures.logins,
        refused(figures),
        figures.up,
        figures.down
    )
}

/// What there is to say of logins that were refused, if there were any.
fn refused(figures: &ListenerFigures) -> String {
    match (figures.refused, figures.throttled) {
        (0, _) => String::new(),
        (refused, 0) => format!("  refused {refused}"),
        (refused, throttled) => format!("  refused {refused} ({throttled} throttled)"),
    }
}

/// A point in time as people say it: "in 42m", "3h ago".
fn until(at: Timestamp, now: Timestamp) -> String {
    let unit = if (at - now).get_seconds().abs() < 3600 {
        Unit::Second
    } else {
        Unit::Minute
    };
    let span = (at - now)
        .abs()
        .round(SpanRound::new().largest(Unit::Hour).smallest(unit));
    let span = span.map(|span| format!("{span:#}")).unwrap_or_default();
    match at > now {
        true => format!("in {span}"),
        false => format!("{span} ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_logins_are_told_where_there_are_any() {
        let told = |refused, throttled| {
            super::refused(&ListenerFigures {
                refused,
                throttled,
                ..ListenerFigures::default()
            })
        };
        assert_eq!(told(0, 0), "");
        assert_eq!(told(3, 0), "  refused 3");
        assert_eq!(told(9, 4), "  refused 9 (4 throttled)");
    }
}
