//! The closed grammar of SMTP before login, for both sides.

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while_m_n, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, eof, map, map_opt, opt, rest, value, verify};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

type Octets<'a, T> = IResult<&'a [u8], T>;

/// A command that may come before login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// The name, where it is fit to be repeated upstream.
    Ehlo(Option<&'a str>),
    Helo(Option<&'a str>),
    Auth {
        mechanism: &'a [u8],
        initial: Option<&'a [u8]>,
    },
    /// AUTH without a mechanism, or with too much.
    AuthMalformed,
    StartTls,
    Noop,
    Rset,
    Quit,
    /// Chunks of a message are coming right behind it (RFC 3030).
    Bdat,
    /// The beginning of a message, which needs a login.
    Mail,
    /// Another command that needs a login.
    Later,
    /// A command by which a peer would name who it speaks for.
    Forward,
    /// A word that is no command.
    Other,
}

/// Reads a whole line, without its end. Verbs come in any case.
pub(super) fn command(line: &[u8]) -> Command<'_> {
    let verb: Octets<'_, _> = take_while_m_n(1, 16, |b: u8| b.is_ascii_alphabetic()).parse(line);
    let Ok((arguments, verb)) = verb else {
        return Command::Other;
    };
    match &verb.to_ascii_uppercase()[..] {
        b"EHLO" => Command::Ehlo(name(arguments)),
        b"HELO" => Command::Helo(name(arguments)),
        b"AUTH" => auth(arguments).map_or(Command::AuthMalformed, |(_, auth)| auth),
        b"STARTTLS" => Command::StartTls,
        b"NOOP" => Command::Noop,
        b"RSET" => Command::Rset,
        b"QUIT" => Command::Quit,
        b"BDAT" => Command::Bdat,
        b"MAIL" => Command::Mail,
        b"RCPT" | b"DATA" | b"VRFY" | b"EXPN" | b"ETRN" | b"HELP" | b"BURL" | b"SEND" | b"SOML"
        | b"SAML" => Command::Later,
        b"XCLIENT" | b"XFORWARD" => Command::Forward,
        _ => Command::Other,
    }
}

/// What EHLO and HELO say. `Domain` would be too strict for real devices; what is passed on is printable and bounded.
fn name(arguments: &[u8]) -> Option<&str> {
    let name = take_while_m_n(1, 255, |b: u8| b.is_ascii_graphic());
    let name = map_opt(name, |name| std::str::from_utf8(name).ok());
    let parsed: Octets<'_, _> =
        all_consuming(terminated(preceded(char(' '), name), spaces)).parse(arguments);
    parsed.ok().map(|(_, name)| name)
}

/// `"AUTH" SP mechanism [SP initial-response]` (RFC 4954 §4)
fn auth(arguments: &[u8]) -> Octets<'_, Command<'_>> {
    let word = || take_while1(|b: u8| b.is_ascii_graphic());
    map(
        all_consuming(terminated(
            (
                preceded(char(' '), word()),
                opt(preceded(char(' '), word())),
            ),
            spaces,
        )),
        |(mechanism, initial)| Command::Auth { mechanism, initial },
    )
    .parse(arguments)
}

fn spaces(input: &[u8]) -> Octets<'_, ()> {
    value((), take_while(|b| b == b' ')).parse(input)
}

/// One line of a reply: `Reply-code [ ("-" / SP) textstring ]` (RFC 5321 §4.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReplyLine<'a> {
    pub(super) code: u16,
    pub(super) is_last: bool,
    pub(super) text: &'a [u8],
}

/// Reads one line of a reply.
pub(super) fn reply_line(line: &[u8]) -> Option<ReplyLine<'_>> {
    let code = map_opt(take_while_m_n(3, 3, |b: u8| b.is_ascii_digit()), |digits| {
        std::str::from_utf8(digits).ok()?.parse().ok()
    });
    let code = verify(code, |code: &u16| (200..600).contains(code));
    let tail = alt((
        map(preceded(char('-'), rest), |text| (false, text)),
        map(preceded(char(' '), rest), |text| (true, text)),
        map(eof, |text| (true, text)),
    ));
    let parsed: Octets<'_, _> = (code, tail).parse(line);
    parsed.ok().map(|(_, (code, (is_last, text)))| ReplyLine {
        code,
        is_last,
        text,
    })
}

/// The keyword of an EHLO line and its parameters; `AUTH=LOGIN` counts as `AUTH LOGIN`, as old servers write it.
pub(super) fn keyword(line: &[u8]) -> (Vec<u8>, impl Iterator<Item = &[u8]>) {
    let mut words = line
        .split(|b| *b == b' ' || *b == b'=')
        .filter(|word| !word.is_empty());
    let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
    (keyword, words)
}
