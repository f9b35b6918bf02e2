//! `mailwicket account`: the mailboxes of the configuration. The file is changed only when the result passes the check.

mod mx;
mod provider;

use std::path::Path;

use clap::Subcommand;

use super::{Exit, Global, print, say};
use crate::config::edit::{self, EditError, NewAccount};
use crate::config::{self, Account, Template, WHOLE_DOMAIN};

/// The arguments of `account`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Add a mailbox to the configuration
    Add(Add),
    /// Print a line for each mailbox: address, provider and login names, separated by tabs
    List,
    /// Remove a mailbox from the configuration
    Remove {
        /// The mailbox, as in NAME@DOMAIN
        address: String,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// The mailbox, as in NAME@DOMAIN; or a whole domain, as in *@DOMAIN
    address: String,
    /// The provider, by its name in the configuration; without it, the one whose preset fits the address
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Find the provider of an organisation's own domain by asking the DNS which hosts take its mail
    #[arg(long, conflicts_with = "provider")]
    ask_dns: bool,
    /// A name that mail programs log in with, instead of the address; may be repeated
    #[arg(long = "login", value_name = "LOGIN")]
    logins: Vec<String>,
    /// The user name that is sent to the provider, if it is not the address
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// Who signs in at the provider, if it is not the mailbox itself
    #[arg(long, value_name = "ADDRESS")]
    authorize_as: Option<String>,
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    let result = match args.action {
        Action::Add(new) => add(new, global),
        Action::List => list(global),
        Action::Remove { address } => remove(&address, global),
    };
    result.err().unwrap_or(Exit::Done)
}

fn add(new: Add, global: &Global) -> Result<(), Exit> {
    let provider = match new.provider {
        Some(name) => name,
        None => guessed(&new.address, new.ask_dns, global)?,
    };
    let account = NewAccount {
        address: new.address,
        provider,
        logins: new.logins,
        identity: new.identity,
        authorize_as: new.authorize_as,
    };
    change(global, |text| edit::add_account(text, &account))?;
    let address = &account.address;
    let next = match address.strip_prefix(WHOLE_DOMAIN) {
        Some(domain) => {
            format!("mailwicket password add NAME@{domain} for each mailbox that is used")
        }
        None => format!("mailwicket authorize {address}, mailwicket password add {address}"),
    };
    say(&format!(
        "added {address}; next: {next}; a mailwicket that runs takes the change up at HUP"
    ));
    Ok(())
}

fn guessed(address: &str, may_ask: bool, global: &Global) -> Result<String, Exit> {
    let found = provider::of_address(address, &global.load()?, may_ask);
    let name = found.map_err(|words| {
        say(&format!("error: {words}"));
        Exit::Usage
    })?;
    say(&format!("the address belongs to provider `{name}`"));
    Ok(name)
}

fn remove(address: &str, global: &Global) -> Result<(), Exit> {
    change(global, |text| edit::remove_account(text, address))?;
    say(&format!(
        "removed {address} from the configuration; its tokens and passwords stay in the vault, and a mailwicket that runs serves it until HUP"
    ));
    Ok(())
}

fn list(global: &Global) -> Result<(), Exit> {
    let roster = global.load()?.roster;
    let accounts = roster.accounts().iter().map(|account| line(account));
    let templates = roster.templates().iter().map(|template| whole(template));
    accounts.chain(templates).try_for_each(|line| print(&line))
}

fn line(account: &Account) -> String {
    format!(
        "{}\t{}\t{}",
        account.address,
        account.provider.name,
        account.logins.join(", ")
    )
}

/// Each of its mailboxes logs in with its address.
fn whole(template: &Template) -> String {
    let Template {
        pattern, provider, ..
    } = template;
    format!("{pattern}\t{}\t{pattern}", provider.name)
}

/// Edits the file: reads it, checks the outcome, and only then writes.
fn change(
    global: &Global,
    edit: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<(), Exit> {
    let path = global.path()?;
    let old = config::read_text(&path).map_err(|error| global.refuse(&error))?;
    let new = edit(&old).map_err(|error| fail(&error, &old, &path, global))?;
    if let Err(exit) = global.check_text(&new, &path) {
        say("nothing was written: the lines above are of the file as it would be");
        return Err(exit);
    }
    edit::save(&path, &old, &new).map_err(|error| fail(&error, &old, &path, global))
}

fn fail(error: &EditError, text: &str, path: &Path, global: &Global) -> Exit {
    match error {
        // The check says where the syntax errors are.
        EditError::Syntax => global.check_text(text, path).err().unwrap_or(Exit::Usage),
        EditError::Changed { .. } | EditError::Write { .. } => {
            global.say_error(error);
            Exit::Failed
        }
        _ => {
            global.say_error(error);
            Exit::Usage
        }
    }
}
