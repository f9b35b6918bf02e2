//! The sandbox's IMAP server (RFC 3501 with SASL-IR, LITERAL+, IDLE, UIDPLUS, MOVE, UNSELECT, NAMESPACE, SPECIAL-USE), over
//! implicit TLS.

mod command;
mod grammar;
mod search;
mod section;
mod selected;
mod structure;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::bearer;
use super::mail::{Desk, Secure};
use super::store::{Folder, MAX_MESSAGE};
use super::wire::Line;
use crate::protocol::Protocol;
use command::{By, Command, Set};
use selected::Selected;

/// What is offered besides ways to log in.
const CAPABILITIES: &str =
    "IMAP4rev1 SASL-IR LITERAL+ ID NAMESPACE CHILDREN SPECIAL-USE IDLE UIDPLUS MOVE UNSELECT";
const AUTH: &str = "AUTH=XOAUTH2 AUTH=OAUTHBEARER";
/// Octets of a line (RFC 7162 §4 asks for 8192; a SASL response may have more).
const MAX_LINE: usize = 64 * 1024;
/// Octets of a command before login, literals and all.
const MAX_STRANGER: usize = 16 * 1024;
/// Octets of a command after login: a message and what stands around it.
const MAX_COMMAND: usize = MAX_MESSAGE + MAX_LINE;

/// A command that was read, or what came in its place.
enum Read {
    Command(Vec<u8>),
    /// It was refused already; the next one may come.
    Refused,
    End,
}

/// One session.
struct Session<'a> {
    desk: &'a Desk,
    wire: Secure,
    tls: &'static str,
    is_logged_in: bool,
    selected: Option<Selected>,
}

/// How a command ends: the words after the tag.
type Outcome = io::Result<String>;

fn ok(words: &str) -> Outcome {
    Ok(format!("OK {words}"))
}

fn no(words: &str) -> Outcome {
    Ok(format!("NO {words}"))
}

pub(super) async fn serve(desk: &Desk, wire: Secure, tls: &'static str) -> io::Result<()> {
    let mut session = Session {
        desk,
        wire,
        tls,
        is_logged_in: false,
        selected: None,
    };
    let greeting = format!("* OK [CAPABILITY {CAPABILITIES} {AUTH}] Sandbox IMAP ready\r\n");
    session.wire.send(greeting).await?;
    loop {
        match session.read().await? {
            Read::End => break,
            Read::Refused => {}
            Read::Command(octets) => {
                if !session.obey(&octets).await? {
                    break;
                }
            }
        }
    }
    session.wire.close().await;
    Ok(())
}

impl Session<'_> {
    /// A whole command. Literals stay in it as they came, with their length before them.
    async fn read(&mut self) -> io::Result<Read> {
        let most = match self.is_logged_in {
            true => MAX_COMMAND,
            false => MAX_STRANGER,
        };
        let mut command = Vec::new();
        loop {
            match self.wire.line(MAX_LINE).await? {
                Line::Whole(line) => command.extend(line),
                Line::TooLong => {
                    self.wire.send("* BYE Line too long\r\n").await?;
                    return Ok(Read::End);
                }
                Line::End => return Ok(Read::End),
            }
            let Some((count, is_waiting)) = literal(&command) else {
                return Ok(Read::Command(command));
            };
            if command.len().saturating_add(count) > most {
                return self.too_large(&command, is_waiting).await;
            }
            if is_waiting {
                self.wire.send("+ Go ahead\r\n").await?;
            }
            command.extend_from_slice(b"\r\n");
            command.extend(self.wire.block(count).await?);
        }
    }

    /// A literal that waits for us is refused; one that is under way already ends the session (RFC 7888 §4).
    async fn too_large(&mut self, command: &[u8], is_waiting: bool) -> io::Result<Read> {
        match grammar::tag(command) {
            Some((tag, _)) if is_waiting => {
                let reply = format!("{tag} NO [TOOBIG] The literal is too large\r\n");
                self.wire.send(reply).await?;
                Ok(Read::Refused)
            }
            _ => {
                let reply = "* BYE [TOOBIG] The literal is too large\r\n";
                self.wire.send(reply).await?;
                Ok(Read::End)
            }
        }
    }

    /// Does what a command says; whether the session goes on.
    async fn obey(&mut self, octets: &[u8]) -> io::Result<bool> {
        let Some((tag, rest)) = grammar::tag(octets) else {
            self.wire.send("* BAD No tag\r\n").await?;
            return Ok(true);
        };
        let Some(command) = grammar::command(rest) else {
            let reply = format!("{tag} BAD Unknown or malformed command\r\n");
            self.wire.send(reply).await?;
            return Ok(true);
        };
        let ends = command == Command::Logout;
        // EXPUNGE must not come during these (RFC 3501 §7.4.1): numbers would mean something else.
        let is_numbered = matches!(
            command,
            Command::Fetch { by: By::Number, .. }
                | Command::Store { by: By::Number, .. }
                | Command::Search { by: By::Number, .. }
        );
        self.tell_news(false).await?;
        let outcome = match self.is_logged_in {
            true => self.after_login(command).await?,
            false => self.before_login(command).await?,
        };
        self.tell_news(!is_numbered).await?;
        self.wire.send(format!("{tag} {outcome}\r\n")).await?;
        Ok(!ends)
    }

    async fn before_login(&mut self, command: Command) -> Outcome {
        match command {
            Command::Capability => self.capability(AUTH).await,
            Command::Noop => ok("Done"),
            Command::Id => self.id().await,
            Command::Logout => self.log_out().await,
            Command::Authenticate { mechanism, initial } => {
                self.authenticate(&mechanism, initial).await
            }
            Command::Login => {
                no("[AUTHENTICATIONFAILED] Passwords are not taken here; use AUTHENTICATE XOAUTH2")
            }
            _ => Ok("BAD Log in first".into()),
        }
    }

    async fn capability(&mut self, more: &str) -> Outcome {
        let line = format!("* CAPABILITY {CAPABILITIES} {more}");
        self.wire.send(format!("{}\r\n", line.trim_end())).await?;
        ok("Done")
    }

    async fn id(&mut self) -> Outcome {
        let reply = "* ID (\"name\" \"mailwicket-sandbox\")\r\n";
        self.wire.send(reply).await?;
        ok("Done")
    }

    async fn log_out(&mut self) -> Outcome {
        self.selected = None;
        self.wire.send("* BYE Goodbye\r\n").await?;
        ok("Done")
    }

    async fn authenticate(&mut self, name: &str, initial: Option<Vec<u8>>) -> Outcome {
        let Some(mechanism) = bearer::mechanism(name) else {
            return no("Unknown mechanism");
        };
        let response = match initial {
            Some(response) => response,
            None => {
                self.wire.send("+ \r\n").await?;
                self.response().await?
            }
        };
        if response == b"*" {
            return Ok("BAD Cancelled".into());
        }
        if self
            .desk
            .admits(Protocol::Imap, self.tls, mechanism, &response)
        {
            self.is_logged_in = true;
            return ok(&format!("[CAPABILITY {CAPABILITIES}] Logged in"));
        }
        let challenge = bearer::challenge(mechanism);
        self.wire.send(format!("+ {challenge}\r\n")).await?;
        self.response().await?;
        no("[AUTHENTICATIONFAILED] The token was refused")
    }

    async fn response(&mut self) -> io::Result<Vec<u8>> {
        match self.wire.line(bearer::MAX_RESPONSE).await? {
            Line::Whole(line) => Ok(line),
            Line::TooLong => Err(io::ErrorKind::InvalidData.into()),
            Line::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn after_login(&mut self, command: Command) -> Outcome {
        match command {
            Command::Capability => self.capability("").await,
            Command::Noop | Command::Subscribe => ok("Done"),
            Command::Id => self.id().await,
            Command::Logout => self.log_out().await,
            Command::Login | Command::Authenticate { .. } => Ok("BAD Logged in already".into()),
            Command::Namespace => {
                self.wire
                    .send("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
                    .await?;
                ok("Done")
            }
            Command::List {
                pattern,
                subscribed,
            } => self.list(&pattern, subscribed).await,
            Command::Select { name, read_only } => self.select(&name, read_only).await,
            Command::Status { name, items } => self.status(&name, &items).await,
            Command::Arrange => no("[CANNOT] The folders of the sandbox are fixed"),
            Command::Append {
                name,
                flags,
                date,
                content,
            } => self.append(&name, flags, date, content),
            command => self.in_folder(command).await,
        }
    }

    async fn in_folder(&mut self, command: Command) -> Outcome {
        if command == Command::Idle {
            return self.idle().await;
        }
        let Some(selected) = &mut self.selected else {
            return Ok("BAD Select a folder first".into());
        };
        let changes = matches!(
            command,
            Command::Store { .. } | Command::Expunge(_) | Command::Copy { moves: true, .. }
        );
        if changes && selected.read_only {
            return no("The folder is open for reading only");
        }
        match command {
            Command::Close { expunge } => {
                if expunge && !selected.read_only {
                    selected.expunge(None);
                }
                self.selected = None;
                ok("Done")
            }
            Command::Expunge(set) => {
                selected.expunge(set.as_ref());
                ok("Done")
            }
            Command::Fetch { by, set, items } => {
                for at in selected.positions(by, &set) {
                    if let Some(line) = selected.fetch(at, by, &items) {
                        self.wire.send(line).await?;
                    }
                }
                ok("Done")
            }
            Command::Store {
                by,
                set,
                change,
                silent,
                flags,
            } => {
                let lines = selected.store(by, &set, change, silent, &flags);
                self.wire.send(lines).await?;
                ok("Done")
            }
            Command::Search { by, key } => {
                let line = selected.search(by, &key);
                self.wire.send(line).await?;
                ok("Done")
            }
            Command::Copy {
                by,
                set,
                name,
                moves,
            } => self.copy(by, &set, &name, moves).await,
            _ => Ok("BAD Not here".into()),
        }
    }

    async fn list(&mut self, pattern: &str, subscribed: bool) -> Outcome {
        let word = if subscribed { "LSUB" } else { "LIST" };
        let mut lines = String::new();
        if pattern.is_empty() {
            lines = format!("* {word} (\\Noselect) \"/\" \"\"\r\n");
        }
        for folder in self.desk.store.folders() {
            if is_like(pattern, folder.name) {
                let special = folder.special_use.map(|word| format!(" {word}"));
                let special = special.unwrap_or_default();
                // Writing into memory does not fail.
                let _ = write!(
                    lines,
                    "* {word} (\\HasNoChildren{special}) \"/\" \"{}\"\r\n",
                    folder.name
                );
            }
        }
        self.wire.send(lines).await?;
        ok("Done")
    }

    async fn select(&mut self, name: &str, read_only: bool) -> Outcome {
        self.selected = None;
        let Some(folder) = self.desk.store.folder(name) else {
            return no("[NONEXISTENT] No such folder");
        };
        let selected = Selected::open(folder.clone(), read_only);
        self.wire.send(selected.describe()).await?;
        self.selected = Some(selected);
        match read_only {
            true => ok("[READ-ONLY] Done"),
            false => ok("[READ-WRITE] Done"),
        }
    }

    async fn status(&mut self, name: &str, items: &[String]) -> Outcome {
        let Some(folder) = self.desk.store.folder(name) else {
            return no("[NONEXISTENT] No such folder");
        };
        let entries = folder.entries();
        let mut figures = Vec::new();
        for item in items {
            let figure = match &**item {
                "MESSAGES" => entries.len() as u64,
                "RECENT" => 0,
                "UIDNEXT" => folder.next_uid().into(),
                "UIDVALIDITY" => folder.uid_validity.into(),
                "UNSEEN" => {
                    let unseen = entries.iter().filter(|e| !e.flags.contains("\\Seen"));
                    unseen.count() as u64
                }
                _ => return Ok("BAD Unknown item".into()),
            };
            figures.push(format!("{item} {figure}"));
        }
        let line = format!("* STATUS \"{}\" ({})\r\n", folder.name, figures.join(" "));
        self.wire.send(line).await?;
        ok("Done")
    }

    fn append(
        &mut self,
        name: &str,
        flags: BTreeSet<String>,
        date: Option<Timestamp>,
        content: Vec<u8>,
    ) -> Outcome {
        let Some(folder) = self.desk.store.folder(name) else {
            return no(
                "[NONEXISTENT] No such folder; the sandbox has INBOX, Drafts, Sent and Trash",
            );
        };
        let uid = folder.add(content, flags, date.unwrap_or_else(Timestamp::now));
        ok(&format!("[APPENDUID {} {uid}] Done", folder.uid_validity))
    }

    async fn copy(&mut self, by: By, set: &Set, name: &str, moves: bool) -> Outcome {
        let Some(target) = self.desk.store.folder(name) else {
            return no("[NONEXISTENT] No such folder");
        };
        let Some(selected) = &mut self.selected else {
            return Ok("BAD Select a folder first".into());
        };
        let Some((from, to)) = selected.copy(by, set, target, moves) else {
            return ok("Nothing to do");
        };
        let code = format!("[COPYUID {} {from} {to}]", target.uid_validity);
        if !moves {
            return ok(&format!("{code} Done"));
        }
        // RFC 6851 §4.3: it comes before the EXPUNGEs.
        self.wire.send(format!("* OK {code} Moved\r\n")).await?;
        ok("Done")
    }

    /// RFC 2177: tells of changes until the client says DONE.
    async fn idle(&mut self) -> Outcome {
        let folder: Option<&Arc<Folder>> = self.selected.as_ref().map(|s| &s.folder);
        let mut watch = folder.unwrap_or(self.desk.store.inbox()).watch();
        self.wire.send("+ Idling\r\n").await?;
        loop {
            self.tell_news(true).await?;
            tokio::select! {
                line = self.wire.line(MAX_LINE) => return match line? {
                    Line::Whole(line) if line.eq_ignore_ascii_case(b"DONE") => ok("Done"),
                    Line::Whole(_) => Ok("BAD DONE was awaited".into()),
                    Line::TooLong | Line::End => Err(io::ErrorKind::UnexpectedEof.into()),
                },
                changed = watch.changed() => if changed.is_err() {
                    return ok("Done");
                },
            }
        }
    }

    async fn tell_news(&mut self, with_expunges: bool) -> io::Result<()> {
        let news = match &mut self.selected {
            Some(selected) => selected.news(with_expunges),
            None => return Ok(()),
        };
        match news.is_empty() {
            true => Ok(()),
            false => self.wire.send(news).await,
        }
    }
}

/// The literal that a line ends with: its length, and whether it waits for an answer.
fn literal(line: &[u8]) -> Option<(usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let start = memchr::memrchr(b'{', inner)?;
    let digits = &inner[start + 1..];
    let (digits, is_waiting) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    let count = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((count, is_waiting))
}

/// `*` is anything, and so is `%`, since no folder has a folder in it.
fn is_like(pattern: &str, name: &str) -> bool {
    let Some(at) = pattern.find(['*', '%']) else {
        return pattern == name || (name == "INBOX" && pattern.eq_ignore_ascii_case(name));
    };
    let (before, after) = (&pattern[..at], &pattern[at + 1..]);
    let fits = |text: &str| name.len() >= text.len();
    let begins = fits(before) && name[..before.len()].eq_ignore_ascii_case(before);
    match after.contains(['*', '%']) {
        true => begins, // as in `**`: enough for a handful of folders
        false => begins && name[before.len()..].ends_with(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_folders() {
        for (pattern, name) in [
            ("*", "INBOX"),
            ("%", "Sent"),
            ("in%", "INBOX"),
            ("inbox", "INBOX"),
            ("*x", "INBOX"),
        ] {
            assert!(is_like(&pattern.replace("*x", "*X"), name), "{pattern}");
        }
        for (pattern, name) in [("", "INBOX"), ("Sent", "INBOX"), ("Sent/*", "Sent")] {
            assert!(!is_like(pattern, name), "{pattern}");
        }
    }

    #[test]
    fn a_literal_ends_its_line() {
        assert_eq!(literal(b"a APPEND x {12}"), Some((12, true)));
        assert_eq!(literal(b"a APPEND x {12+}"), Some((12, false)));
        for odd in ["", "}", "{}", "{x}", "{99999999999999999999999}"] {
            assert_eq!(literal(odd.as_bytes()), None, "{odd}");
        }
    }
}
