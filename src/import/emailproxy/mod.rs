//! The configuration of email-oauth2-proxy, turned into ours.
//!
//! Three steps: `source` reads what the file says, `plan` decides which provider, listener and account it makes, and `write` and
//! `explain` put that into a file and into a report. The report goes through the file line by line, so that nothing is lost in silence.
//!
//! The formats differ in three ways that matter. There, every account may use every server; here, a listener belongs to one provider.
//! There, the mail program's password seals the tokens; here, it has nothing to do with them. There, secrets and tokens stand in the
//! file; tokens are not taken along.

mod explain;
mod hindrance;
mod known;
mod plan;
mod registration;
mod source;
mod write;

use super::Import;
use super::ini::Ini;
use plan::Plan;
use source::Source;

/// Why a text was not converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has neither servers nor accounts.
    #[error(
        "this is no configuration of email-oauth2-proxy: it has neither a section such as [IMAP-1993] nor one such as [alice@example.com]"
    )]
    Empty,
}

/// Converts the text of an `emailproxy.config`; `name` is the file's name, for the comments.
///
/// # Errors
/// If there is nothing in it to convert.
pub fn convert(text: &str, name: &str) -> Result<Import, Unfit> {
    let ini = Ini::parse(text);
    let source = Source::read(&ini);
    if source.servers.is_empty() && source.accounts.is_empty() {
        return Err(Unfit::Empty);
    }
    let plan = Plan::make(&source);
    Ok(Import {
        toml: write::file(&plan, name),
        notes: explain::notes(&ini, &source, &plan),
    })
}

#[cfg(test)]
mod tests;
