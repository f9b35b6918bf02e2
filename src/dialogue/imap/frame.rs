//! IMAP commands are lines that may hold literals; this finds where a command ends, before any grammar looks at it.

use super::super::framing::{Input, is_broken, without_cr};
use super::grammar;

/// Octets of a literal before login: only a name and a password come as literals there.
pub(super) const LITERAL: usize = 1024;
/// Literals of one command.
const LITERALS: usize = 2;

/// What the input holds at its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// More octets are needed.
    Incomplete,
    /// The command so far, of this many octets, ends in a synchronising literal: the peer waits for a word.
    Waits(usize),
    /// A whole command of this many octets, its end included.
    Whole(usize),
    /// A line with a NUL or a stray CR, of this many octets.
    Broken(usize),
    /// A command of this many octets that announces too large a literal, which the peer has not sent yet.
    LiteralTooLarge(usize),
    /// The peer is sending more than the bounds allow.
    TooLong,
}

/// Looks at the start of `input`. `invited` is how many octets of it were already answered with a continuation.
pub(super) fn frame(input: &Input, line_limit: usize, invited: usize) -> Frame {
    let bytes = input.bytes();
    let (mut start, mut literals, mut line_octets) = (0, 0, 0);
    loop {
        let Some(length) = memchr::memchr(b'\n', &bytes[start..]) else {
            return match line_octets + (bytes.len() - start) > line_limit + 1 {
                true => Frame::TooLong,
                false => Frame::Incomplete,
            };
        };
        let end = start + length + 1;
        let line = without_cr(&bytes[start..end - 1]);
        line_octets += line.len();
        if line_octets > line_limit {
            return Frame::TooLong;
        }
        let literal = grammar::announced_literal(line);
        if is_broken(line) {
            return match literal {
                // Its octets are coming, and must never be read as commands.
                Some(literal) if !literal.synchronising => Frame::TooLong,
                _ => Frame::Broken(end),
            };
        }
        let Some(literal) = literal else {
            return Frame::Whole(end);
        };
        literals += 1;
        let size = match literal.size {
            Some(size) if size <= LITERAL && literals <= LITERALS => size,
            _ if literal.synchronising => return Frame::LiteralTooLarge(end),
            _ => return Frame::TooLong,
        };
        if literal.synchronising && end > invited {
            return Frame::Waits(end);
        }
        if bytes.len() < end + size {
            return Frame::Incomplete;
        }
        start = end + size;
    }
}
