//! Names and passwords in every form that a mail program may send them in.
//!
//! What a response in base64 means is decoded here once more, octet by octet; and one name and one password are the same login
//! whether they come as PLAIN, as LOGIN, as a quoted string, as a literal, or as USER and PASS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailwicket::dialogue::{Bounds, LocalEvent, Privacy, Profile, Step, local};
use mailwicket::protocol::Protocol;
use secrecy::ExposeSecret;

/// Long enough for every field that may be one.
const BOUNDS: Bounds = Bounds {
    line: 8192,
    failed_logins: 3,
    octets: 64 * 1024,
};
/// Octets of the longest name and password.
const FIELD: usize = 1024;

/// What became of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    /// A name and a password, to be checked.
    Whole(Vec<u8>, Vec<u8>),
    /// It fails like a wrong password.
    Unusable,
    /// It was not even a message.
    None,
}

/// Any octets: as a response, and as a name and a password with a line end between them.
pub fn run(data: &[u8]) {
    response(data);
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (name, password) = data.split_at(at);
    fields(name, password.get(1..).unwrap_or_default());
}

// ---- as a response

fn response(data: &[u8]) {
    let is_word = !data.is_empty() && data.iter().all(u8::is_ascii_graphic);
    if !is_word || data.len() > 4096 {
        return;
    }
    let expected = match data {
        b"*" => Login::None,
        b"=" => Login::Unusable,
        _ => decode(data).map_or(Login::None, |message| plain(&message)),
    };
    for protocol in Protocol::ALL {
        for asked in [false, true] {
            let auth = match protocol {
                Protocol::Imap => &b"a AUTHENTICATE PLAIN"[..],
                Protocol::Pop3 | Protocol::Smtp => b"AUTH PLAIN",
            };
            let between: &[u8] = if asked { b"\r\n" } else { b" " };
            let input = [auth, between, data, b"\r\n"].concat();
            assert_eq!(login(protocol, &input), expected, "{protocol} {asked}");
        }
    }
}

/// Canonical base64 (RFC 4648 §4): whole groups, no strange octets, padding at the end alone, and nothing in the bits that pad.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut bits = Vec::new();
    for octet in body {
        let value = ALPHABET.iter().position(|known| known == octet)?;
        bits.extend((0..6).rev().map(|bit| (value >> bit) & 1));
    }
    let whole = bits.len() / 8 * 8;
    let is_clean = bits[whole..].iter().all(|bit| *bit == 0);
    let octet = |bits: &[usize]| bits.iter().fold(0, |octet, bit| octet << 1 | *bit as u8);
    (text.len().is_multiple_of(4) && is_clean).then(|| bits[..whole].chunks(8).map(octet).collect())
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2), with no other authorization identity than the name itself.
fn plain(message: &[u8]) -> Login {
    let fields: Vec<&[u8]> = message.split(|b| *b == 0).collect();
    match fields[..] {
        [authzid, name, password] if authzid.is_empty() || authzid == name => {
            usable(name, password)
        }
        _ => Login::Unusable,
    }
}

fn usable(name: &[u8], password: &[u8]) -> Login {
    let is_name = std::str::from_utf8(name).is_ok_and(|name| !name.contains(char::is_control));
    let is_password = !password.iter().any(|b| b"\0\r\n".contains(b));
    let fits = |field: &[u8]| (1..=FIELD).contains(&field.len());
    match is_name && is_password && fits(name) && fits(password) {
        true => Login::Whole(name.to_vec(), password.to_vec()),
        false => Login::Unusable,
    }
}

// ---- as a name and a password

fn fields(name: &[u8], password: &[u8]) {
    let expected = usable(name, password);
    let encoded = |field: &[u8]| STANDARD.encode(field).into_bytes();
    if !name.is_empty() && !password.is_empty() && name.len() + password.len() < 4096 {
        let message = encoded(&[b"\0", name, b"\0", password].concat());
        let (name, password) = (encoded(name), encoded(password));
        for protocol in Protocol::ALL {
            let tag = if protocol == Protocol::Imap { "a " } else { "" };
            let auth = if protocol == Protocol::Imap {
                "AUTHENTICATE"
            } else {
                "AUTH"
            };
            let begin = format!("{tag}{auth} ").into_bytes();
            if !name.contains(&0) {
                let input = [&begin, &b"PLAIN "[..], &message, b"\r\n"].concat();
                assert_eq!(login(protocol, &input), expected, "{protocol} PLAIN");
            }
            let input = [
                &begin,
                &b"LOGIN\r\n"[..],
                &name,
                b"\r\n",
                &password,
                b"\r\n",
            ]
            .concat();
            assert_eq!(login(protocol, &input), expected, "{protocol} LOGIN");
        }
    }
    if let Login::Whole(..) = expected {
        in_clear(name, password, &expected);
    }
}

/// The forms without base64.
fn in_clear(name: &[u8], password: &[u8], expected: &Login) {
    let literal = |field: &[u8]| [format!("{{{}+}}\r\n", field.len()).as_bytes(), field].concat();
    let imap = |name: Vec<u8>, password: Vec<u8>| {
        let input = [b"a LOGIN ", &name[..], b" ", &password, b"\r\n"].concat();
        assert_eq!(&login(Protocol::Imap, &input), expected, "IMAP LOGIN");
    };
    imap(literal(name), literal(password));
    imap(quoted(name), quoted(password));
    imap(quoted(name), literal(password));
    imap(literal(name), quoted(password));
    // POP3 commands are short, and a name may not end in a blank.
    if name.len() < 400 && password.len() < 400 && name.trim_ascii() == name {
        let input = [b"USER ", name, b"\r\nPASS ", password, b"\r\n"].concat();
        assert_eq!(&login(Protocol::Pop3, &input), expected, "USER and PASS");
    }
}

fn quoted(field: &[u8]) -> Vec<u8> {
    let escaped = field.iter().flat_map(|&octet| match octet {
        b'"' | b'\\' => vec![b'\\', octet],
        _ => vec![octet],
    });
    [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
}

// ---- what the server makes of it

/// The first login in `input`.
fn login(protocol: Protocol, input: &[u8]) -> Login {
    let mut machine = local(protocol, BOUNDS, Privacy::Clear, Some(Profile::default()));
    let greeting: &[u8] = match protocol {
        Protocol::Smtp => b"EHLO x\r\n",
        Protocol::Imap | Protocol::Pop3 => b"",
    };
    let input = [greeting, input].concat();
    assert!(input.len() <= machine.room());
    machine.receive(&input);
    loop {
        match machine.step() {
            Step::Send(_) => {}
            Step::Event(LocalEvent::Credentials(credentials)) => {
                let password = credentials.password.expose_secret().to_vec();
                return match credentials.login.is_empty() && password.is_empty() {
                    true => Login::Unusable,
                    false => Login::Whole(credentials.login.into_bytes(), password),
                };
            }
            Step::Event(LocalEvent::NeedProfile) => machine.profile(Ok(&Profile::default())),
            Step::Event(event @ (LocalEvent::StartTls(_) | LocalEvent::Mail)) => {
                panic!("{event:?} was not offered")
            }
            Step::NeedInput | Step::Event(LocalEvent::Close(_)) => return Login::None,
        }
    }
}
