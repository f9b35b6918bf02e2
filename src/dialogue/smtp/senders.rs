//! Watches as whom a logged-in session sends mail, where a listener limits that.
//!
//! This is the one exception to "nothing is parsed after login", for sessions without a login and with a list of senders. No octet of what
//! is permitted changes; what is not permitted never goes up, and ends the session. It follows commands, replies and message data so far
//! that a MAIL cannot hide: whatever servers read in different ways (lines and dot lines without CRLF, NUL, commands that are not
//! needed to send) is not permitted. Whoever carries the octets is not known here, nor is the time.

use std::collections::VecDeque;
use std::sync::Arc;

use nom::bytes::complete::{tag_no_case, take_while, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map_opt, opt, verify};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use super::super::Profile;
use crate::config::Senders;
use crate::config::senders::is_address;

/// Octets of a command line with its end. RFC 5321 §4.5.3.1.4 has 512 without extensions; servers cut lines beyond 2048.
const LINE: usize = 1000;
/// Answers that may be owed at once; more commands wait.
const OWED: usize = 1000;

/// Follows one session.
#[derive(Debug)]
pub struct SenderGuard {
    senders: Arc<Senders>,
    /// Whether the server takes BDAT; one that does not would read a chunk as commands.
    takes_chunks: bool,
    mode: Mode,
    /// A command whose end has not come, or that waits for answers.
    line: Vec<u8>,
    /// What the server has yet to answer.
    owed: VecDeque<Owed>,
    /// The first octets of a reply line.
    reply: Vec<u8>,
    /// Whether the server took MAIL, and then RCPT, of the message that is under way.
    has_sender: bool,
    has_recipient: bool,
    breach: Option<Breach>,
}

/// What comes from the mail program next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Command,
    /// Nothing, until the server has answered DATA.
    Invitation,
    Data(At),
    /// So many octets of a chunk.
    Chunk(u32),
    /// Nothing that matters: it has said QUIT, or the server 421.
    Over,
}

/// Where in message data we are. A line is clean if it begins behind CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start {
        is_clean: bool,
    },
    Inside,
    Cr,
    /// Behind a dot that begins a line.
    Dot {
        is_clean: bool,
    },
    /// Behind the CR of a clean line with a single dot; it is held.
    DotCr,
}

/// What an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Mail,
    Recipient,
    Data,
    /// What ends a message, or the talk about one.
    End,
    Chunk,
    Other,
}

/// What was not permitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A sender that is not in the list.
    #[error("the sender <{}> is not in the listener's list of allowed senders", .0.escape_debug())]
    Sender(String),
    /// A MAIL whose sender cannot be told for sure.
    #[error("a MAIL command without a plain address in angle brackets")]
    NoAddress,
    /// A command that nobody needs to send mail.
    #[error("the command {} is not permitted where senders are limited", .0.escape_debug())]
    Command(String),
    /// A line that servers read in different ways.
    #[error(
        "a command line that holds NUL or CR, does not end in CRLF, or is longer than {LINE} octets"
    )]
    Line,
    /// Message data that servers end in different places.
    #[error("message data with NUL, or with a dot on a line of its own that is not between CRLFs")]
    Data,
    /// BDAT where a server may take the chunk for commands.
    #[error("BDAT before a recipient was accepted, or to a server that does not offer it")]
    Chunk,
    /// An answer that nobody asked for: nothing can be told for sure any more.
    #[error("the mail server's answers do not fit the mail program's commands")]
    Answer,
}

impl Breach {
    /// What the mail program hears.
    pub const fn reply(&self) -> &'static str {
        match self {
            Self::Sender(_) => "550 5.7.1 This sender is not allowed here. (MW-SENDER)\r\n",
            Self::NoAddress => "501 5.1.7 Write MAIL FROM:<address>. (MW-SENDER)\r\n",
            Self::Command(_) => "502 5.7.0 Not accepted without a login. (MW-SENDER)\r\n",
            Self::Line => {
                "500 5.5.2 Lines are short, end in CRLF, and hold no NUL or CR. (MW-SENDER)\r\n"
            }
            Self::Data => "554 5.6.0 Lines of a message end in CRLF. (MW-SENDER)\r\n",
            Self::Chunk => "503 5.5.1 BDAT needs an accepted recipient. (MW-SENDER)\r\n",
            Self::Answer => "421 4.3.0 The mail server is out of step. (MW-SENDER)\r\n",
        }
    }
}

/// What becomes of a command.
enum Judgement {
    /// It goes up; this is what comes next.
    Pass(Owed, Mode),
    /// It waits until all answers are there.
    Wait,
    Refuse(Breach),
}

impl SenderGuard {
    /// Watches a session that has just logged in to a server with this capability list.
    pub fn new(senders: Arc<Senders>, profile: &Profile) -> Self {
        Self {
            senders,
            takes_chunks: profile
                .words()
                .any(|word| word.eq_ignore_ascii_case("CHUNKING")),
            mode: Mode::Command,
            line: Vec::new(),
            owed: VecDeque::new(),
            reply: Vec::new(),
            has_sender: false,
            has_recipient: false,
            breach: None,
        }
    }

    /// Takes octets from the mail program, adds to `out` what may go up, and tells how many it took. If it took less than there are, or
    /// there is a breach, the rest must wait for [`SenderGuard::down`].
    pub fn up(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        while self.breach.is_none() {
            let rest = &input[taken..];
            let step = match self.mode {
                Mode::Command => self.command(rest, out),
                Mode::Invitation => None,
                Mode::Data(at) if !rest.is_empty() => Some(self.data(at, rest, out)),
                Mode::Chunk(left) if !rest.is_empty() => Some(self.chunk(left, rest, out)),
                Mode::Over if !rest.is_empty() => Some(rest.len()),
                Mode::Data(_) | Mode::Chunk(_) | Mode::Over => None,
            };
            match step {
                Some(count) => taken += count,
                None => break,
            }
        }
        taken
    }

    /// Whether more from the mail program can be used now.
    pub fn has_appetite(&self) -> bool {
        let waits = self.mode == Mode::Command && self.line.ends_with(b"\n");
        self.breach.is_none() && self.mode != Mode::Invitation && !waits
    }

    /// Hears what the server says.
    pub fn down(&mut self, said: &[u8]) {
        for octet in said {
            match octet {
                b'\n' => {
                    let line = std::mem::take(&mut self.reply);
                    self.reply_line(&line);
                }
                _ if self.reply.len() < 4 => self.reply.push(*octet),
                _ => {}
            }
        }
    }

    /// What was not permitted, if anything was.
    pub fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// Whether the server has answered everything that went up.
    pub fn is_answered(&self) -> bool {
        self.owed.is_empty() && self.reply.is_empty()
    }

    /// Takes from a command what is there of it; a whole one is judged.
    fn command(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut count = 0;
        if !self.line.ends_with(b"\n") {
            let end = memchr::memchr(b'\n', rest);
            count = end.map_or(rest.len(), |at| at + 1);
            if self.line.len() + count > LINE {
                self.breach = Some(Breach::Line);
                return None;
            }
            self.line.extend_from_slice(&rest[..count]);
            if end.is_none() {
                return (count > 0).then_some(count);
            }
        }
        match self.judge() {
            Judgement::Pass(owed, mode) => {
                out.append(&mut self.line);
                self.owed.push_back(owed);
                self.mode = mode;
            }
            Judgement::Wait if count == 0 => return None,
            Judgement::Wait => {}
            Judgement::Refuse(breach) => self.breach = Some(breach),
        }
        Some(count)
    }

    fn judge(&self) -> Judgement {
        let Some(line) = self.line.strip_suffix(b"\r\n") else {
            return Judgement::Refuse(Breach::Line);
        };
        if memchr::memchr3(0, b'\r', b'\n', line).is_some() {
            return Judgement::Refuse(Breach::Line);
        }
        if self.owed.len() >= OWED {
            return Judgement::Wait;
        }
        let letters = line.iter().take_while(|octet| octet.is_ascii_alphabetic());
        let (verb, arguments) = line.split_at(letters.count());
        if !matches!(arguments.first(), None | Some(b' ')) {
            return Judgement::Refuse(Breach::Command(printable(verb)));
        }
        match &verb.to_ascii_uppercase()[..] {
            b"MAIL" => match self.sender(line) {
                Ok(()) => Judgement::Pass(Owed::Mail, Mode::Command),
                Err(breach) => Judgement::Refuse(breach),
            },
            b"RCPT" => Judgement::Pass(Owed::Recipient, Mode::Command),
            b"DATA" => Judgement::Pass(Owed::Data, Mode::Invitation),
            b"BDAT" => self.bdat(arguments),
            b"EHLO" | b"HELO" | b"RSET" => Judgement::Pass(Owed::End, Mode::Command),
            b"NOOP" | b"VRFY" | b"EXPN" | b"HELP" => Judgement::Pass(Owed::Other, Mode::Command),
            b"QUIT" => Judgement::Pass(Owed::Other, Mode::Over),
            _ => Judgement::Refuse(Breach::Command(printable(verb))),
        }
    }

    fn sender(&self, line: &[u8]) -> Result<(), Breach> {
        let Ok((_, address)) = mail(line) else {
            return Err(Breach::NoAddress);
        };
        match self.senders.allow(address) {
            true => Ok(()),
            false => Err(Breach::Sender(address.to_owned())),
        }
    }

    /// The chunk comes right behind it. So the server must be one that takes it as such: BDAT waits until it is known that it is.
    fn bdat(&self, arguments: &[u8]) -> Judgement {
        match bdat(arguments) {
            _ if !self.owed.is_empty() => Judgement::Wait,
            Ok((_, (size, is_last))) if self.takes_chunks && self.has_recipient => {
                let next = if size == 0 {
                    Mode::Command
                } else {
                    Mode::Chunk(size)
                };
                let owed = if is_last { Owed::End } else { Owed::Chunk };
                Judgement::Pass(owed, next)
            }
            _ => Judgement::Refuse(Breach::Chunk),
        }
    }

    fn chunk(&mut self, left: u32, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let count = rest.len().min(left as usize); // 32 bits fit wherever this runs
        out.extend_from_slice(&rest[..count]);
        let left = left - count as u32; // `count` is at most `left`
        self.mode = if left == 0 {
            Mode::Command
        } else {
            Mode::Chunk(left)
        };
        count
    }

    fn data(&mut self, mut at: At, rest: &[u8], out: &mut Vec<u8>) -> usize {
        for (count, octet) in rest.iter().enumerate() {
            match (at, octet) {
                (At::DotCr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.owed.push_back(Owed::End);
                    self.mode = Mode::Command;
                    return count + 1;
                }
                (At::DotCr, _)
                | (At::Dot { .. }, b'\n')
                | (At::Dot { is_clean: false }, b'\r')
                | (_, 0) => {
                    self.breach = Some(Breach::Data);
                    return count;
                }
                (At::Dot { is_clean: true }, b'\r') => at = At::DotCr,
                (_, octet) => {
                    out.push(*octet);
                    at = at.behind(*octet);
                }
            }
        }
        self.mode = Mode::Data(at);
        rest.len()
    }

    fn reply_line(&mut self, line: &[u8]) {
        let code = line
            .get(..3)
            .filter(|code| code.iter().all(u8::is_ascii_digit));
        match (code, line.get(3)) {
            (Some(_), Some(b'-')) => {}
            (Some(code), None | Some(b' ' | b'\r')) => self.answered(code),
            _ => self.out_of_step(),
        }
    }

    fn answered(&mut self, code: &[u8]) {
        let is_yes = code.first() == Some(&b'2');
        match self.owed.pop_front() {
            _ if code == b"421" => self.mode = Mode::Over, // it closes
            None => self.out_of_step(),
            Some(Owed::Mail) => (self.has_sender, self.has_recipient) = (is_yes, false),
            Some(Owed::Recipient) => self.has_recipient |= is_yes && self.has_sender,
            // Behind a 421 there is nothing to invite to.
            Some(Owed::Data) if self.mode == Mode::Invitation => {
                self.mode = match code {
                    b"354" => Mode::Data(At::Start { is_clean: true }),
                    _ => Mode::Command,
                }
            }
            Some(Owed::End) => (self.has_sender, self.has_recipient) = (false, false),
            Some(Owed::Chunk) => self.has_recipient &= is_yes,
            Some(Owed::Data | Owed::Other) => {}
        }
    }

    fn out_of_step(&mut self) {
        if self.mode != Mode::Over {
            self.breach.get_or_insert(Breach::Answer);
        }
    }
}

impl At {
    /// Where one is behind an octet that goes up as it came.
    fn behind(self, octet: u8) -> Self {
        match (self, octet) {
            (Self::Cr, b'\n') => Self::Start { is_clean: true },
            (_, b'\n') => Self::Start { is_clean: false },
            (_, b'\r') => Self::Cr,
            (Self::Start { is_clean }, b'.') => Self::Dot { is_clean },
            (Self::Cr, b'.') => Self::Dot { is_clean: false },
            _ => Self::Inside,
        }
    }
}

type Octets<'a, T> = IResult<&'a [u8], T>;

/// `"MAIL FROM:" Reverse-path [SP Mail-parameters]` (RFC 5321 §4.1.1.2), and the blank that many devices put behind the colon.
fn mail(line: &[u8]) -> Octets<'_, &str> {
    let path = delimited(char('<'), take_while(|b| b != b'<' && b != b'>'), char('>'));
    let path = map_opt(path, |path| std::str::from_utf8(path).ok());
    let path = verify(path, |path: &str| path.is_empty() || is_address(path));
    let keyword = take_while1(|b: u8| b.is_ascii_alphanumeric() || b == b'-');
    let value = preceded(
        char('='),
        take_while1(|b: u8| b > b' ' && b != b'=' && b != 0x7f),
    );
    let parameter = (take_while1(|b| b == b' '), keyword, opt(value));
    let (rest, path) =
        preceded((tag_no_case("MAIL FROM:"), take_while(|b| b == b' ')), path).parse(line)?;
    let (rest, _) =
        all_consuming((many0_count(parameter), take_while(|b| b == b' '))).parse(rest)?;
    Ok((rest, path))
}

/// `"BDAT" SP chunk-size [SP "LAST"]` (RFC 3030 §2), behind the verb: the size, and whether it is the last.
fn bdat(arguments: &[u8]) -> Octets<'_, (u32, bool)> {
    let size = map_opt(digit1, |digits| {
        let size: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let is_octal = digits.len() > 1 && digits.starts_with(b"0"); // to some ways of reading numbers
        (size <= i32::MAX as u32 && !is_octal).then_some(size) // what every server can count to
    });
    let (rest, (_, size, last)) =
        all_consuming((char(' '), size, opt(tag_no_case(" LAST")))).parse(arguments)?;
    Ok((rest, (size, last.is_some())))
}

/// A verb for the log: no more of it than a verb has, since who is confused may send anything.
fn printable(verb: &[u8]) -> String {
    String::from_utf8_lossy(&verb[..verb.len().min(8)]).into_owned()
}
