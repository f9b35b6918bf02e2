//! `mailwicket man`: the manual pages. mailwicket(1) is made of the command line's own definitions, mailwicket.toml(5) of
//! `docs/configuration.md`: neither can say anything else than its source.

mod markdown;

use clap::ValueEnum;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::{Exit, print, say};

/// What mailwicket.toml(5) is made of.
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

/// The day of this release, which `man` shows.
const DATE: &str = "2026-11-24";

/// The arguments of `man`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which page
    #[arg(value_name = "PAGE", default_value = "mailwicket")]
    page: Page,
}

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// mailwicket(1): the commands
    #[value(name = "mailwicket")]
    Commands,
    /// mailwicket.toml(5): the configuration
    #[value(name = "mailwicket.toml")]
    Configuration,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    match page(args.page) {
        Ok(text) => print(text.trim_end()).err().unwrap_or(Exit::Done),
        Err(error) => {
            say(&format!("error: cannot make the page: {error}"));
            Exit::Failed
        }
    }
}

/// A page in the language of `man`.
///
/// # Errors
/// None is known: it is written into memory.
pub fn page(page: Page) -> std::io::Result<String> {
    let (heading, body) = match page {
        Page::Commands => ("MAILWICKET 1", commands()?),
        Page::Configuration => ("MAILWICKET.TOML 5", configuration()),
    };
    let version = env!("CARGO_PKG_VERSION");
    Ok(tidied(&format!(
        ".TH {heading} {DATE} \"mailwicket {version}\"\n{body}"
    )))
}

/// The same without what has no effect: requests for space beside others, and blanks at the ends of lines.
fn tidied(page: &str) -> String {
    let mut tidy: Vec<&str> = Vec::new();
    for line in page
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        let before = tidy.last().copied().unwrap_or_default();
        let follows_heading = before.starts_with(".SH") || before.starts_with(".SS");
        if line == ".PP" && follows_heading || line == ".br" && is_space(before) {
            continue;
        }
        if is_space(before) && (is_space(line) || line.starts_with(".TP")) {
            tidy.pop();
        }
        tidy.push(line);
    }
    tidy.join("\n") + "\n"
}

fn is_space(line: &str) -> bool {
    [".br", ".sp", ".PP"].contains(&line)
}

fn configuration() -> String {
    let mut page = Roff::new();
    page.control("SH", ["NAME"]);
    page.text([roman(
        "mailwicket.toml - the configuration of mailwicket(1)",
    )]);
    markdown::write(&mut page, CONFIGURATION);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("mailwicket"), roman("(1)")]);
    page.to_roff()
}

fn commands() -> std::io::Result<String> {
    let mut command = super::command();
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut commands = Roff::new();
    commands.control("SH", ["COMMANDS"]);
    commands.text([roman(
        "The options above go with every command. Without a command: run.",
    )]);
    page.extend(commands.to_roff().into_bytes());
    for subcommand in command.get_subcommands() {
        with_subcommands(subcommand, &mut page)?;
    }
    page.extend(endings().to_roff().into_bytes());
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// A command with its own options, or the commands below it.
fn with_subcommands(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut own = command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .peekable();
    if command.get_name() == "help" {
        return Ok(());
    }
    if own.peek().is_none() {
        return one_command(command, page);
    }
    own.try_for_each(|subcommand| with_subcommands(subcommand, page))
}

fn one_command(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let local = command.clone().mut_args(|argument| {
        let is_everywhere =
            argument.is_global_set() || ["help", "version"].contains(&argument.get_id().as_str());
        argument.hide(is_everywhere)
    });
    let mut heading = Roff::new();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    heading.control("SS", [name]);
    page.extend(heading.to_roff().into_bytes());
    let man = Man::new(local);
    for render in [
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ] {
        let mut section = Vec::new();
        render(&man, &mut section)?;
        page.extend(without_heading(&section));
    }
    Ok(())
}

/// A section's text as a paragraph of another one.
fn without_heading(section: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(section);
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(".SH"))
        .skip(1)
        .peekable();
    if lines.peek().is_none() {
        return Vec::new();
    }
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!(".PP\n{body}").into_bytes()
}

fn endings() -> Roff {
    let mut page = Roff::new();
    let mut section = |heading: &str, lines: &[(&str, &str)]| {
        page.control("SH", [heading]);
        for (tag, words) in lines {
            page.control("TP", []);
            page.text([bold(*tag)]);
            page.text([roman(*words)]);
        }
    };
    section(
        "EXIT STATUS",
        &[
            ("0", "Done."),
            (
                "1",
                "It failed; for status and doctor: something is not as it should be.",
            ),
            (
                "2",
                "It was used wrongly, or the configuration has problems.",
            ),
        ],
    );
    section(
        "SIGNALS",
        &[
            (
                "HUP",
                "The running daemon reads its configuration again; a bad file leaves the old one in force.",
            ),
            (
                "TERM, INT",
                "It lets sessions finish for timeouts.drain, and ends.",
            ),
        ],
    );
    section(
        "FILES",
        &[
            (
                "$XDG_CONFIG_HOME/mailwicket/mailwicket.toml, /etc/mailwicket/mailwicket.toml",
                "The configuration, see mailwicket.toml(5).",
            ),
            ("STATE-DIR/vault/", "Sealed tokens and password hashes."),
        ],
    );
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("mailwicket.toml"), roman("(5)")]);
    page
}
