//! The closed grammar of POP3 before login, for both sides.

use nom::bytes::complete::{tag, tag_no_case, take_while_m_n, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, opt, rest, value};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser, branch::alt};

type Octets<'a, T> = IResult<&'a [u8], T>;

/// A command that may come before login (RFC 2449 §4: `keyword [SP parameters]`).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Capa,
    User(&'a [u8]),
    /// The rest of the line, spaces included (RFC 1939 §7).
    Pass(&'a [u8]),
    /// The mechanisms are asked for.
    AuthList,
    Auth {
        mechanism: &'a [u8],
        initial: Option<&'a [u8]>,
    },
    Apop,
    Stls,
    Quit,
    Noop,
    /// A word that is no command, or none before login.
    Other,
}

/// Reads a whole line, without its end.
pub(super) fn command(line: &[u8]) -> Command<'_> {
    let keyword: Octets<'_, _> =
        take_while_m_n(3, 8, |b: u8| b.is_ascii_alphanumeric()).parse(line);
    let Ok((arguments, keyword)) = keyword else {
        return Command::Other;
    };
    let bare = arguments.trim_ascii_end().is_empty();
    match (&keyword.to_ascii_uppercase()[..], argument(arguments)) {
        (b"USER", Some(name)) => Command::User(name.trim_ascii()),
        (b"PASS", Some(password)) => Command::Pass(password),
        (b"AUTH", _) if bare => Command::AuthList,
        (b"AUTH", Some(_)) => auth(arguments).map_or(Command::Other, |(_, auth)| auth),
        (b"APOP", _) => Command::Apop,
        (b"CAPA", _) if bare => Command::Capa,
        (b"STLS", _) if bare => Command::Stls,
        (b"QUIT", _) if bare => Command::Quit,
        (b"NOOP", _) if bare => Command::Noop,
        _ => Command::Other,
    }
}

/// `SP parameters`
fn argument(arguments: &[u8]) -> Option<&[u8]> {
    let argument: Octets<'_, _> = preceded(char(' '), rest).parse(arguments);
    argument.ok().map(|(_, argument)| argument)
}

/// `"AUTH" SP mechanism [SP initial-response]` (RFC 5034 §4)
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
    value((), nom::bytes::complete::take_while(|b| b == b' ')).parse(input)
}

/// A line of a server before login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response<'a> {
    /// `+OK` and what follows it, with its space.
    Ok(&'a [u8]),
    /// `-ERR` and what follows it.
    Err(&'a [u8]),
    /// `+` and a challenge; some servers leave the space out.
    Continuation(&'a [u8]),
}

/// `response = "+OK" … / "-ERR" … / "+" SP base64`
pub(super) fn response(line: &[u8]) -> Option<Response<'_>> {
    let text = || {
        nom::combinator::verify(rest, |text: &[u8]| {
            text.is_empty() || text.starts_with(b" ")
        })
    };
    let parsed: Octets<'_, _> = alt((
        map(preceded(tag_no_case("+OK"), text()), Response::Ok),
        map(preceded(tag_no_case("-ERR"), text()), Response::Err),
        map(
            preceded((tag("+"), opt(char(' '))), rest),
            Response::Continuation,
        ),
    ))
    .parse(line);
    parsed.ok().map(|(_, response)| response)
}

/// The words of a CAPA line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b' ').filter(|word| !word.is_empty())
}
