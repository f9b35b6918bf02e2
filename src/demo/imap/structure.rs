//! ENVELOPE and BODYSTRUCTURE (RFC 3501 §7.4.2). The parsing is the library's; here it is only written down.

use mail_parser::{
    Addr, Address, ContentType, HeaderName, Message, MessageParser, MessagePart, MimeHeaders,
    PartType,
};

use super::section;

/// How deep parts within parts are described.
const MAX_DEPTH: usize = 16;
/// What is said of a part that is too deep or too odd to be described.
const OPAQUE: &[u8] = b"(\"application\" \"octet-stream\" NIL NIL NIL \"binary\" 0)";

/// The ENVELOPE of a message.
pub(super) fn envelope(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match MessageParser::default().parse(raw) {
        Some(message) => write_envelope(&mut out, &message),
        None => out.extend_from_slice(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
    }
    out
}

/// BODY, or BODYSTRUCTURE if `extended`.
pub(super) fn structure(raw: &[u8], extended: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(&mut out, raw, extended, MAX_DEPTH);
    out
}

fn write_message(out: &mut Vec<u8>, raw: &[u8], extended: bool, depth: usize) {
    match MessageParser::default().parse(raw) {
        Some(message) => write_part(out, raw, &message, 0, extended, depth),
        None => out.extend_from_slice(OPAQUE),
    }
}

fn write_part(
    out: &mut Vec<u8>,
    raw: &[u8],
    message: &Message<'_>,
    id: u32,
    extended: bool,
    depth: usize,
) {
    let (Some(part), Some(depth)) = (message.parts.get(id as usize), depth.checked_sub(1)) else {
        out.extend_from_slice(OPAQUE);
        return;
    };
    match &part.body {
        PartType::Multipart(parts) => {
            out.push(b'(');
            for id in parts {
                write_part(out, raw, message, *id, extended, depth);
            }
            if parts.is_empty() {
                out.extend_from_slice(OPAQUE);
            }
            out.push(b' ');
            let kind = part.content_type().and_then(ContentType::subtype);
            string(out, kind.unwrap_or("mixed").as_bytes());
            if extended {
                out.push(b' ');
                parameters(out, part.content_type());
                disposition(out, part);
            }
            out.push(b')');
        }
        PartType::Message(_) => {
            let Some(inner) = section::body(raw, part) else {
                out.extend_from_slice(OPAQUE);
                return;
            };
            out.push(b'(');
            basic(out, part, "message", "rfc822", inner);
            out.push(b' ');
            out.extend(envelope(inner));
            out.push(b' ');
            write_message(out, inner, extended, depth);
            number(out, lines(inner));
            leaf_extension(out, part, extended);
        }
        _ => {
            let content = section::body(raw, part).unwrap_or_default();
            let (kind, subtype) = kind(part);
            out.push(b'(');
            basic(out, part, kind, subtype, content);
            if kind.eq_ignore_ascii_case("text") {
                number(out, lines(content));
            }
            leaf_extension(out, part, extended);
        }
    }
}

/// The type of a part that has no parts. A container that could not be read as one is only octets.
fn kind<'a>(part: &'a MessagePart<'_>) -> (&'a str, &'a str) {
    match part.content_type() {
        None => ("text", "plain"),
        Some(kind) => match (kind.ctype(), kind.subtype()) {
            ("multipart" | "message", _) => ("application", "octet-stream"),
            ("text", None) => ("text", "plain"),
            (kind, Some(subtype)) => (kind, subtype),
            (_, None) => ("application", "octet-stream"),
        },
    }
}

/// `body-type body-subtype body-fields`
fn basic(out: &mut Vec<u8>, part: &MessagePart<'_>, kind: &str, subtype: &str, content: &[u8]) {
    string(out, kind.as_bytes());
    out.push(b' ');
    string(out, subtype.as_bytes());
    out.push(b' ');
    match part.content_type() {
        None => out.extend_from_slice(b"(\"charset\" \"us-ascii\")"),
        some => parameters(out, some),
    }
    out.push(b' ');
    let id = part.content_id().map(|id| format!("<{id}>"));
    nstring(out, id.as_deref());
    out.push(b' ');
    nstring(out, part.content_description());
    out.push(b' ');
    let encoding = part.content_transfer_encoding();
    string(out, encoding.unwrap_or("7bit").as_bytes());
    number(out, content.len());
}

/// `body-ext-1part` and the end of a part.
fn leaf_extension(out: &mut Vec<u8>, part: &MessagePart<'_>, extended: bool) {
    if extended {
        out.extend_from_slice(b" NIL"); // Content-MD5
        disposition(out, part);
    }
    out.push(b')');
}

/// Disposition, language and location.
fn disposition(out: &mut Vec<u8>, part: &MessagePart<'_>) {
    out.push(b' ');
    match part.content_disposition() {
        None => out.extend_from_slice(b"NIL"),
        Some(disposition) => {
            out.push(b'(');
            string(out, disposition.ctype().as_bytes());
            out.push(b' ');
            parameters(out, Some(disposition));
            out.push(b')');
        }
    }
    out.extend_from_slice(b" NIL ");
    nstring(out, part.content_location());
}

fn parameters(out: &mut Vec<u8>, kind: Option<&ContentType<'_>>) {
    let attributes = kind.and_then(ContentType::attributes).unwrap_or_default();
    if attributes.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        string(out, attribute.name.as_bytes());
        out.push(b' ');
        string(out, attribute.value.as_bytes());
    }
    out.push(b')');
}

fn write_envelope(out: &mut Vec<u8>, message: &Message<'_>) {
    let raw = |name| raw_field(message, name);
    let of = |name| message.header(name).and_then(|value| value.as_address());
    let from = of(HeaderName::From);
    out.push(b'(');
    optional(out, raw(HeaderName::Date));
    out.push(b' ');
    optional(out, raw(HeaderName::Subject));
    // Sender and Reply-To default to From (RFC 3501 §7.4.2).
    for people in [
        from,
        of(HeaderName::Sender).or(from),
        of(HeaderName::ReplyTo).or(from),
        of(HeaderName::To),
        of(HeaderName::Cc),
        of(HeaderName::Bcc),
    ] {
        out.push(b' ');
        addresses(out, people);
    }
    for name in [HeaderName::InReplyTo, HeaderName::MessageId] {
        out.push(b' ');
        optional(out, raw(name));
    }
    out.push(b')');
}

/// A field as it stands in the message, unfolded: encoded words are for the mail program to decode.
fn raw_field(message: &Message<'_>, name: HeaderName<'_>) -> Option<Vec<u8>> {
    let mut headers = message.headers().iter();
    let header = headers.find(|header| header.name == name)?;
    let range = header.offset_start as usize..header.offset_end as usize;
    let value = message.raw_message.get(range)?;
    let is_fold = |octet: &&u8| !matches!(octet, b'\r' | b'\n');
    let unfolded: Vec<u8> = value.iter().filter(is_fold).copied().collect();
    Some(unfolded.trim_ascii().to_vec())
}

fn addresses(out: &mut Vec<u8>, people: Option<&Address<'_>>) {
    let before = out.len();
    out.push(b'(');
    match people {
        None => {}
        Some(Address::List(list)) => list.iter().for_each(|addr| address(out, addr)),
        Some(Address::Group(groups)) => {
            for group in groups {
                // A group without a name is what the library makes of single addresses among groups.
                if let Some(name) = &group.name {
                    out.extend_from_slice(b"(NIL NIL ");
                    string(out, encoded(name).as_bytes());
                    out.extend_from_slice(b" NIL)");
                }
                group.addresses.iter().for_each(|addr| address(out, addr));
                if group.name.is_some() {
                    out.extend_from_slice(b"(NIL NIL NIL NIL)");
                }
            }
        }
    }
    out.push(b')');
    if out.len() == before + 2 {
        out.truncate(before);
        out.extend_from_slice(b"NIL");
    }
}

fn address(out: &mut Vec<u8>, addr: &Addr<'_>) {
    let whole = addr.address.as_deref().unwrap_or_default();
    let (mailbox, host) = whole.rsplit_once('@').unwrap_or((whole, ""));
    out.push(b'(');
    nstring(out, addr.name.as_deref().map(encoded).as_deref());
    out.extend_from_slice(b" NIL ");
    string(out, mailbox.as_bytes());
    out.push(b' ');
    // NIL would begin or end a group (RFC 3501 §7.4.2).
    string(out, host.as_bytes());
    out.push(b')');
}

/// A name that the library decoded, in encoded words again where it is not ASCII (RFC 2047).
fn encoded(text: &str) -> String {
    use base64::Engine as _;
    if text.is_ascii() {
        return text.to_owned();
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    format!("=?UTF-8?B?{encoded}?=")
}

fn lines(content: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', content).count()
}

fn number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(format!(" {number}").as_bytes());
}

fn optional(out: &mut Vec<u8>, text: Option<Vec<u8>>) {
    match text {
        None => out.extend_from_slice(b"NIL"),
        Some(text) => string(out, &text),
    }
}

fn nstring(out: &mut Vec<u8>, text: Option<&str>) {
    optional(out, text.map(|text| text.as_bytes().to_vec()));
}

/// A quoted string where that can hold it, else a literal; which cannot hold NUL.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|octet| matches!(octet, 0x20..=0x7e)) {
        out.push(b'"');
        for octet in text {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*octet);
        }
        out.push(b'"');
    } else {
        literal(out, text);
    }
}

/// A literal.
pub(super) fn literal(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(format!("{{{}}}\r\n", octets.len()).as_bytes());
    out.extend(octets.iter().map(|octet| match octet {
        0 => b' ', // which no literal may hold; the length stays
        other => *other,
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::demo::imap::command::{Section, What};

    /// Parentheses outside of strings, which must come in pairs.
    fn is_balanced(text: &[u8]) -> bool {
        let (mut depth, mut at) = (0_i32, 0);
        while let Some(octet) = text.get(at) {
            match octet {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'"' => {
                    at += 1;
                    while text[at] != b'"' {
                        at += if text[at] == b'\\' { 2 } else { 1 };
                    }
                }
                b'{' => {
                    let end = at + memchr::memchr(b'}', &text[at..]).unwrap();
                    let count = std::str::from_utf8(&text[at + 1..end]).unwrap();
                    at = end + 2 + count.parse::<usize>().unwrap();
                }
                _ => {}
            }
            if depth < 0 {
                return false;
            }
            at += 1;
        }
        depth == 0
    }

    fn words(raw: &str) -> String {
        String::from_utf8(envelope(raw.as_bytes())).unwrap()
    }

    #[test]
    fn an_envelope_leaves_encoded_words_and_quotes_the_rest() {
        let raw = "Subject: =?utf-8?q?=C3=BC?=\r\n folded \"x\"\r\nFrom: =?utf-8?q?J=C3=B6rg?= <a@b.test>\r\nTo: friends: c@d.test;\r\n\r\n";
        let words = words(raw);
        assert!(
            words.contains(r#""=?utf-8?q?=C3=BC?= folded \"x\"""#),
            "{words}"
        );
        assert!(
            words.contains(r#"(("=?UTF-8?B?SsO2cmc=?=" NIL "a" "b.test"))"#),
            "{words}"
        );
        assert!(
            words.contains(r#"((NIL NIL "friends" NIL)(NIL NIL "c" "d.test")(NIL NIL NIL NIL))"#),
            "{words}"
        );
        assert!(is_balanced(words.as_bytes()));
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(200);
        assert!(is_balanced(&structure(deep.as_bytes(), true)));
        let mut parts = String::new();
        for n in 0..200 {
            parts += &format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
        }
        assert!(is_balanced(&structure(parts.as_bytes(), true)));
    }

    proptest! {
        #[test]
        fn whatever_a_message_is_its_description_is_whole(
            raw in r#"((Content-Type|From|To|Subject|Content-Disposition): (multipart/mixed; boundary=b|message/rfc822|text/plain; charset="x"|a@b|"x" <c@d>|e: f@g;|\PC{0,9})\r\n|\r\n|--b(--)?\r\n|[\x00-\x7f]{0,9}){0,30}"#,
            parts in proptest::collection::vec(1_usize..4, 0..4),
        ) {
            let raw = raw.as_bytes();
            prop_assert!(is_balanced(&envelope(raw)));
            prop_assert!(is_balanced(&structure(raw, true)));
            for what in [What::Whole, What::Header, What::Text, What::Mime] {
                let section = Section { name: String::new(), parts: parts.clone(), what, partial: Some((1, 5)), peeks: true };
                let found = section::section(raw, &section);
                prop_assert!(found.is_none_or(|octets| octets.len() <= 5));
            }
        }
    }
}
