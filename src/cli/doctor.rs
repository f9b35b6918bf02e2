//! `mailwicket doctor`: tries every step of an account's path and says where it breaks.

use std::sync::Arc;

use super::{Exit, Global, print, say};
use crate::config::{Account, Config};
use crate::doctor::{self, Finding};
use crate::password;
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
        let vault = Vault::open(&config.state_dir, &config.vault_key).map_err(|error| {
            global.say_error(&error);
            Exit::Failed
        })?;
        let accounts = chosen(&config, &vault, args.account.as_deref())?;
        super::block_on(examine(&config, vault, &accounts, &args))?
    });
    match examined {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(exit) => exit,
    }
}

fn chosen(config: &Config, vault: &Vault, wanted: Option<&str>) -> Result<Vec<Arc<Account>>, Exit> {
    if let Some(wanted) = wanted {
        let account = config.account(wanted).map_err(|error| {
            say(&format!("error: {error}"));
            Exit::Usage
        })?;
        return Ok(vec![account]);
    }
    let accounts = password::mailboxes(&config.roster, vault);
    match (accounts.is_empty(), config.roster.templates().first()) {
        (false, _) => return Ok(accounts),
        (true, None) => say(
            "error: the configuration has no account to look at; add one with: mailwicket account add ADDRESS --provider NAME",
        ),
        (true, Some(template)) => say(&format!(
            "error: no mailbox of {} has a password yet, so there is none to look at; name one, or add a password with: mailwicket password add NAME@{}",
            template.pattern,
            template.domain()
        )),
    }
    Err(Exit::Failed)
}

async fn examine(
    config: &Config,
    vault: Vault,
    accounts: &[Arc<Account>],
    args: &Args,
) -> Result<bool, Exit> {
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
