//! The closed grammar of IMAP before login, for both sides. Functions are named after the rules of RFC 3501 §9.

use nom::branch::alt;
use nom::bytes::complete::{
    is_not, tag, tag_no_case, take, take_while, take_while_m_n, take_while1,
};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map, map_opt, opt, rest, value, verify};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};
use zeroize::Zeroizing;

/// Octets of the longest tag.
const TAG: usize = 64;

/// A command that may come before login.
#[derive(PartialEq, Eq)]
pub(super) enum Command {
    Capability,
    Noop,
    Logout,
    StartTls,
    Id,
    Enable,
    Login {
        user: Zeroizing<Vec<u8>>,
        password: Zeroizing<Vec<u8>>,
    },
    Authenticate {
        mechanism: Vec<u8>,
        initial: Option<Zeroizing<Vec<u8>>>,
    },
    /// A word that is no command, or none before login.
    Other,
    /// A known command whose arguments do not fit.
    Malformed,
}

/// A literal at the end of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// `None` if it is beyond any number that could be meant.
    pub(super) size: Option<usize>,
    pub(super) synchronising: bool,
}

type Octets<'a, T> = IResult<&'a [u8], T>;

/// The literal that a line ends with: `(SP / "(") "{" number ["+"] "}"` (RFC 3501 §4.3, RFC 7888).
pub(super) fn announced_literal(line: &[u8]) -> Option<Literal> {
    let start =
        memchr::memrchr(b'{', line).filter(|at| *at > 0 && b" (".contains(&line[at - 1]))?;
    let (_, literal) = all_consuming(literal_head).parse(&line[start..]).ok()?;
    Some(literal)
}

/// `literal = "{" number ["+"] "}"`
fn literal_head(input: &[u8]) -> Octets<'_, Literal> {
    let number = map(digit1, |digits: &[u8]| {
        std::str::from_utf8(digits)
            .ok()
            .filter(|d| d.len() <= 10)?
            .parse()
            .ok()
    });
    map(
        delimited(char('{'), (number, opt(char('+'))), char('}')),
        |(size, plus)| Literal {
            size,
            synchronising: plus.is_none(),
        },
    )
    .parse(input)
}

/// `tag = 1*<any ASTRING-CHAR except "+">`, bounded.
fn command_tag(input: &[u8]) -> Octets<'_, &str> {
    map_opt(
        take_while_m_n(1, TAG, |b: u8| is_astring_char(b) && b != b'+'),
        |tag| std::str::from_utf8(tag).ok(),
    )
    .parse(input)
}

/// The tag of a command, and the rest of the frame behind the space.
pub(super) fn tagged(frame: &[u8]) -> Option<(&str, &[u8])> {
    let (rest, tag) = terminated(command_tag, char(' ')).parse(frame).ok()?;
    Some((tag, rest))
}

/// Whether a command that waits for a continuation is one that takes literals.
pub(super) fn takes_literals(command: &[u8]) -> bool {
    let names = alt((tag_no_case("LOGIN"), tag_no_case("ID")));
    let named: Octets<'_, _> = terminated(names, char(' ')).parse(command);
    named.is_ok()
}

/// Whether a command is the one that has a password in it.
pub(super) fn is_login(command: &[u8]) -> bool {
    let named: Octets<'_, _> = terminated(tag_no_case("LOGIN"), char(' ')).parse(command);
    named.is_ok()
}

/// Everything behind the tag, without the final line end.
pub(super) fn command(input: &[u8]) -> Command {
    let word: Octets<'_, _> = take_while1(|b: u8| b.is_ascii_graphic()).parse(input);
    let Ok((arguments, word)) = word else {
        return Command::Malformed;
    };
    let parsed = match &word.to_ascii_uppercase()[..] {
        b"CAPABILITY" => bare(arguments, Command::Capability),
        b"NOOP" => bare(arguments, Command::Noop),
        b"LOGOUT" => bare(arguments, Command::Logout),
        b"STARTTLS" => bare(arguments, Command::StartTls),
        b"ENABLE" => Some(Command::Enable),
        b"ID" => finish(id(arguments)),
        b"LOGIN" => finish(login(arguments)),
        b"AUTHENTICATE" => finish(authenticate(arguments)),
        _ => Some(Command::Other),
    };
    parsed.unwrap_or(Command::Malformed)
}

fn bare(arguments: &[u8], command: Command) -> Option<Command> {
    arguments.trim_ascii_end().is_empty().then_some(command)
}

fn finish(parsed: Octets<'_, Command>) -> Option<Command> {
    parsed
        .ok()
        .filter(|(left, _)| left.is_empty())
        .map(|(_, command)| command)
}

/// `login = "LOGIN" SP userid SP password`
///
/// Some clients send a password with blanks or specials unquoted. Where it cannot be an astring, the rest of the line is the
/// password, unless it begins like a quoted string or a literal, which must then be right.
fn login(input: &[u8]) -> Octets<'_, Command> {
    let loose = verify(rest, |text: &[u8]| {
        !text.is_empty() && !text.starts_with(b"\"") && !text.starts_with(b"{")
    });
    let password = alt((
        all_consuming(astring),
        map(loose, |text: &[u8]| Zeroizing::new(text.to_vec())),
    ));
    map(
        preceded(char(' '), separated_pair(astring, char(' '), password)),
        |(user, password)| Command::Login { user, password },
    )
    .parse(input)
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]` (RFC 4959)
fn authenticate(input: &[u8]) -> Octets<'_, Command> {
    let auth_type = map(
        take_while_m_n(1, 32, |b: u8| b.is_ascii_graphic()),
        <[u8]>::to_vec,
    );
    let initial = map(take_while1(|b| b != b' '), |ir: &[u8]| {
        Zeroizing::new(ir.to_vec())
    });
    map(
        (
            preceded(char(' '), auth_type),
            opt(preceded(char(' '), initial)),
            take_while(|b| b == b' '),
        ),
        |(mechanism, initial, _)| Command::Authenticate { mechanism, initial },
    )
    .parse(input)
}

/// `id = "ID" SP ("(" string SP nstring *(SP string SP nstring) ")" / "()" / nil)` (RFC 2971 §3.3), at most 30 pairs.
fn id(input: &[u8]) -> Octets<'_, Command> {
    // Each string is dropped at once: a line of many small ones must not cost a buffer for each.
    let at_most = |octets| {
        let fits = move |text: &Zeroizing<Vec<u8>>| text.len() <= octets;
        map(verify(string, fits), drop)
    };
    let field = at_most(30);
    let text = alt((value((), tag_no_case("NIL")), at_most(1024)));
    let pairs = verify(
        separated_list1(char(' '), separated_pair(field, char(' '), text)),
        |pairs: &Vec<_>| pairs.len() <= 30,
    );
    let list = delimited(char('('), opt(pairs), char(')'));
    map(
        preceded(
            char(' '),
            alt((map(list, drop), value((), tag_no_case("NIL")))),
        ),
        |()| Command::Id,
    )
    .parse(input)
}

/// `astring = 1*ASTRING-CHAR / string`
fn astring(input: &[u8]) -> Octets<'_, Zeroizing<Vec<u8>>> {
    let atom = map(take_while1(is_astring_char), |atom: &[u8]| {
        Zeroizing::new(atom.to_vec())
    });
    alt((atom, string)).parse(input)
}

/// `string = quoted / literal`
fn string(input: &[u8]) -> Octets<'_, Zeroizing<Vec<u8>>> {
    alt((quoted, literal)).parse(input)
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, where only `"` and `\` may be escaped.
fn quoted(input: &[u8]) -> Octets<'_, Zeroizing<Vec<u8>>> {
    let (mut input, _) = char('"').parse(input)?;
    // The first reservation is large enough for all, so no copy of a password stays behind.
    let mut text = Zeroizing::new(Vec::with_capacity(input.len()));
    loop {
        let plain: Octets<'_, &[u8]> = is_not("\"\\\r\n").parse(input);
        if let Ok((left, part)) = plain {
            text.extend_from_slice(part);
            input = left;
        }
        let (left, mark) = alt((tag("\""), tag("\\\""), tag("\\\\"))).parse(input)?;
        input = left;
        match mark {
            b"\"" => return Ok((input, text)),
            escaped => text.push(escaped[1]),
        }
    }
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8`
fn literal(input: &[u8]) -> Octets<'_, Zeroizing<Vec<u8>>> {
    let (input, head) = terminated(literal_head, alt((tag("\r\n"), tag("\n")))).parse(input)?;
    map(take(head.size.unwrap_or(usize::MAX)), |text: &[u8]| {
        Zeroizing::new(text.to_vec())
    })
    .parse(input)
}

/// `ASTRING-CHAR = ATOM-CHAR / "]"`
fn is_astring_char(b: u8) -> bool {
    b.is_ascii_graphic() && !b"(){%*\"\\".contains(&b)
}

/// A line of a server before login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response<'a> {
    /// `+` and its text.
    Continuation(&'a [u8]),
    /// `*`, the first word in upper case, and what follows it.
    Untagged(String, &'a [u8]),
    /// A tag, the condition, and what follows it with its space.
    Tagged(&'a [u8], Condition, &'a [u8]),
}

/// `resp-cond-state` (RFC 3501 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Ok,
    No,
    Bad,
}

/// `response = continue-req / response-data / response-done`
pub(super) fn response(line: &[u8]) -> Option<Response<'_>> {
    alt((continuation, untagged, tagged_response))
        .parse(line)
        .ok()
        .map(|(_, response)| response)
}

/// `continue-req = "+" SP (resp-text / base64)`; some servers leave the space out.
fn continuation(input: &[u8]) -> Octets<'_, Response<'_>> {
    map(
        preceded((char('+'), opt(char(' '))), rest),
        Response::Continuation,
    )
    .parse(input)
}

/// `"*" SP atom [SP text]`
fn untagged(input: &[u8]) -> Octets<'_, Response<'_>> {
    let word = map_opt(
        take_while1(|b: u8| b.is_ascii_graphic()),
        |word: &[u8]| std::str::from_utf8(word).ok().map(str::to_ascii_uppercase),
    );
    map(
        preceded(tag("* "), (word, rest)),
        |(word, text): (_, &[u8])| Response::Untagged(word, text.trim_ascii_start()),
    )
    .parse(input)
}

/// `response-tagged = tag SP resp-cond-state`
fn tagged_response(input: &[u8]) -> Octets<'_, Response<'_>> {
    let condition = alt((
        value(Condition::Ok, tag_no_case("OK")),
        value(Condition::No, tag_no_case("NO")),
        value(Condition::Bad, tag_no_case("BAD")),
    ));
    let text = verify(rest, |text: &[u8]| {
        text.is_empty() || text.starts_with(b" ")
    });
    map(
        (
            terminated(take_while1(|b| b != b' '), char(' ')),
            condition,
            text,
        ),
        |(tag, condition, text)| Response::Tagged(tag, condition, text),
    )
    .parse(input)
}

/// The words of `"[CAPABILITY" *(SP capability) "]"` at the start of a response's text.
pub(super) fn capability_code(text: &[u8]) -> Option<Vec<&[u8]>> {
    let list = delimited(tag_no_case("[CAPABILITY "), is_not("]"), char(']'));
    let mut code = preceded(opt(char(' ')), list);
    let parsed: Octets<'_, &[u8]> = code.parse(text);
    parsed.ok().map(|(_, list)| words(list))
}

/// Words parted by spaces.
pub(super) fn words(list: &[u8]) -> Vec<&[u8]> {
    list.split(|b| *b == b' ')
        .filter(|word| !word.is_empty())
        .collect()
}

/// The response code, in upper case: `"[" atom …`.
pub(super) fn response_code(text: &[u8]) -> Option<Vec<u8>> {
    let mut code = preceded((opt(char(' ')), char('[')), is_not(" ]"));
    let parsed: Octets<'_, &[u8]> = code.parse(text);
    parsed.ok().map(|(_, code)| code.to_ascii_uppercase())
}
