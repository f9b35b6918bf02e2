//! `mailwicket console`: a link that opens the web console, once.

use url::Url;

use super::authorize::browser;
use super::{Exit, Global, print, say};
use crate::control::{self, ConsoleLink};

/// The arguments of `console`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only print the link, and start no browser
    #[arg(long)]
    no_open: bool,
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    match link(global).and_then(|link| show(&link, !args.no_open)) {
        Ok(()) => Exit::Done,
        Err(exit) => exit,
    }
}

/// The running daemon is asked: only whoever can read the state folder gets an answer.
fn link(global: &Global) -> Result<Url, Exit> {
    let config = global.load()?;
    let failed = |words: String| {
        say(&format!("error: {words}"));
        Exit::Failed
    };
    let answer = super::block_on(control::console_link(&config.state_dir))?;
    match answer {
        Ok(Some(ConsoleLink { link: Some(link) })) => Ok(link),
        Ok(Some(ConsoleLink { link: None })) => Err(failed(
            "the running mailwicket serves no console: set `listen` in [console], or see in its log why the address could not be used".into(),
        )),
        Ok(None) => Err(failed(format!(
            "no mailwicket runs with the state folder {}; start it with: mailwicket run",
            config.state_dir.display()
        ))),
        Err(error) => Err(failed(format!("the running mailwicket does not answer: {error}"))),
    }
}

fn show(link: &Url, open: bool) -> Result<(), Exit> {
    print(link.as_str())?;
    let is_opened = open && browser::open(link);
    say(match is_opened {
        true => "Opened in the browser. The link works once.",
        false => "Open this link in a browser on this machine. It works once, within five minutes.",
    });
    Ok(())
}
