//! `mailwicket doctor`: tries every step of an account's path and says where it breaks.

use std::sync::Arc;

use super::{Exit, Global, print, say};
use crate::config::{Account, Config};
use crate::doctor::{self, Finding};
use crate::token::Tokens;
use crate::vault::Vault;

/// The arguments of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The mailbox; without it, every one
    account: Option<String>,
    /// Also send the mailbox a message from itself, find it, compare it, and remove it
    #[arg(long)]
    send: bool,
    /// Print each step as one JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    let examined = global.load().and_then(|config| {
        let accounts = chosen(&config, args.account.as_deref())?;
        super::block_on(examine(&config, &accounts, &args, global))?
    });
    match examined {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(exit) => exit,
    }
}

fn chosen(config: &Config, wanted: Option<&str>) -> Result<Vec<Arc<Account>>, Exit> {
    let Some(wanted) = wanted else {
        if config.accounts.is_empty() {
            say(
                "error: the configuration has no account to look at; add one with: mailwicket account add ADDRESS --provider NAME",
            );
            return Err(Exit::Failed);
        }
        return Ok(config.accounts.clone());
    };
    let account = config.account(wanted).map_err(|error| {
        say(&format!("error: {error}"));
        Exit::Usage
    })?;
    Ok(vec![Arc::clone(account)])
}

async fn examine(
    config: &Config,
    accounts: &[Arc<Account>],
    args: &Args,
    global: &Global,
) -> Result<bool, Exit> {
    let vault = Vault::open(&config.state_dir, &config.vault_key).map_err(|error| {
        global.say_error(&error);
        Exit::Failed
    })?;
    let tokens = Tokens::new(vault.clone(), config.timeouts.token);
    let mut all_well = true;
    let mut printed = Ok(());
    for account in accounts {
        let mut report = |finding: Finding| {
            all_well &= finding.ok;
            if printed.is_ok() {
                printed = show(&finding, args.json);
            }
        };
        doctor::examine(config, &vault, &tokens, account, args.send, &mut report).await;
    }
    tokens.settle().await;
    printed.map(|()| all_well)
}

fn show(finding: &Finding, json: bool) -> Result<(), Exit> {
    let line = match json {
        true => serde_json::to_string(finding).map_err(|error| {
            say(&format!("error: cannot write a finding as JSON: {error}"));
            Exit::Failed
        })?,
        false => words(finding),
    };
    print(&line)
}

/// A line, and the next step under it where there is one.
fn words(finding: &Finding) -> String {
    let Finding {
        account,
        stage,
        name,
        ok,
        warning,
        code,
        detail,
        remedy,
        milliseconds,
    } = finding;
    let mark = match (ok, warning) {
        (true, false) => "ok  ",
        (true, true) => "WARN",
        (false, _) => "FAIL",
    };
    let (stage, name) = (stage.word(), name.word());
    let code = code.map(|code| format!("{code}: ")).unwrap_or_default();
    let remedy = remedy.as_ref();
    let remedy = remedy.map_or_else(String::new, |remedy| format!("\n      -> {remedy}"));
    format!("{mark}  {account}  {name:<7}  {stage:<8}  {code}{detail}  ({milliseconds} ms){remedy}")
}
