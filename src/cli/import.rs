//! `mailwicket import`: configurations of other programs. The file goes to stdout or into a new file, the report to stderr.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Exit, Global, print, say};
use crate::config::{self, Config};
use crate::import::{Import, emailproxy};
use crate::setup::new_file;

/// The arguments of `import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Clone, Debug, Subcommand)]
enum From {
    /// The configuration of email-oauth2-proxy
    Emailproxy {
        /// Its file, usually emailproxy.config
        file: PathBuf,
        /// Write the new configuration there, for its owner only, instead of to standard output; a file that is there stays
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    let From::Emailproxy { file, out } = args.from;
    import(&file, out.as_deref(), global)
        .err()
        .unwrap_or(Exit::Done)
}

fn import(file: &Path, out: Option<&Path>, global: &Global) -> Result<(), Exit> {
    let text = config::read_text(file).map_err(|error| {
        global.say_error(&error);
        Exit::Usage
    })?;
    let name = file
        .file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy();
    let import = emailproxy::convert(&text, &name).map_err(|error| {
        say(&format!("error: {}: {error}", file.display()));
        Exit::Usage
    })?;
    match out {
        None => print(import.toml.trim_end())?,
        Some(path) => {
            new_file::create(path, &import.toml, new_file::Readers::Owner).map_err(|error| {
                say(&format!("error: cannot make {}: {error}", path.display()));
                Exit::Failed
            })?
        }
    }
    report(file, &import);
    check(&import, out.unwrap_or(file), out.is_some(), global);
    Ok(())
}

fn report(file: &Path, import: &Import) {
    for note in &import.notes {
        say(&format!("{}:{}: {note}", file.display(), note.line));
    }
    let to_do = import.notes.iter().filter(|note| note.is_to_do()).count();
    say(&format!(
        "\n{} notes, of which {to_do} say TO DO",
        import.notes.len()
    ));
}

/// What `mailwicket check` will say. It is no failure: the report has said what is left to do.
fn check(import: &Import, path: &Path, is_written: bool, global: &Global) {
    let place = match is_written {
        true => path.display().to_string(),
        false => "the new configuration".to_owned(),
    };
    // Relative paths count from where the file will be, which is known only if it was written.
    let stand_in = path.with_file_name("mailwicket.toml");
    let path = if is_written { path } else { &stand_in };
    match Config::parse_in(&import.toml, path, &global.surroundings()) {
        Ok(_) => say(&format!("{place} passes the check")),
        Err(problems) => say(&format!(
            "{}\n\n{place} does not pass the check yet",
            problems.render(global.colored())
        )),
    }
}
