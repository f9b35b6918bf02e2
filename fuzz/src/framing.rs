//! Lines before grammar, in our three small servers.
//!
//! A line may end in CRLF or in LF alone, and it makes no difference which. A conversation ends for the length of a line exactly
//! when a line is too long; until then nothing is ever without an answer for more octets than a line may have.

use mailwicket::dialogue::{Ending, LocalEvent, Privacy, Profile, Step, local};
use mailwicket::failure::{Cause, Failure};
use mailwicket::protocol::Protocol;
use mailwicket::stage::Stage;
use secrecy::ExposeSecret;

use super::setting::{BOUNDS, lines};

/// Octets of a SASL response (RFC 4954 §4), the longest line that there is.
const SASL_LINE: usize = 12_288;

/// What a mail program was told, and what happened.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    said: Vec<u8>,
    logins: Vec<(String, Vec<u8>)>,
    ending: Option<Ending>,
    /// Octets that were not even taken.
    left: usize,
}

/// Any octets, as all that a mail program says.
pub fn run(data: &[u8]) {
    for protocol in Protocol::ALL {
        let seen = serve(protocol, data);
        // The octets of a literal are counted, so there the line ends are not ours to change.
        if protocol != Protocol::Imap || !data.contains(&b'{') {
            let with_cr = serve(protocol, &with_crs(data));
            // Their line ends are what makes the first octets a header of the PROXY protocol.
            if with_cr.ending == Some(Ending::ProxyHeader) {
                continue;
            }
            assert_eq!(
                (&seen.said, &seen.logins, seen.ending),
                (&with_cr.said, &with_cr.logins, with_cr.ending),
                "{protocol}: the line ends make a difference"
            );
            check_lengths(protocol, data, &seen);
        }
    }
}

/// With the longest line given, it is known whether one may be too long and whether one must be.
fn check_lengths(protocol: Protocol, data: &[u8], seen: &Seen) {
    let length = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).len();
    let lines: Vec<usize> = data.split(|b| *b == b'\n').map(length).collect();
    let longest = lines.iter().copied().max().unwrap_or(0);
    let is_over = seen.ending == Some(Ending::TooLong);
    assert!(!is_over || longest > BOUNDS.line, "{protocol}: no line is");
    if seen.ending.is_none() {
        let has_responses = data.to_ascii_uppercase().windows(4).any(|w| w == b"AUTH");
        let most = if has_responses {
            SASL_LINE
        } else {
            BOUNDS.line
        };
        let (unended, ended) = lines.split_last().expect("at least one part");
        assert!(ended.iter().all(|line| *line <= most), "{protocol}: a line");
        assert!(*unended <= most + 1, "{protocol}: a line without end");
        assert_eq!(seen.left, 0);
    }
}

/// The same with CRLF at the end of each line.
fn with_crs(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    for &octet in data {
        if octet == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(octet);
    }
    out
}

/// Runs our server over `input`; every password is wrong.
fn serve(protocol: Protocol, mut input: &[u8]) -> Seen {
    let mut machine = local(protocol, BOUNDS, Privacy::Clear, None);
    let wrong = Failure::new(Stage::Password, Cause::Password, "");
    let mut seen = Seen {
        said: Vec::new(),
        logins: Vec::new(),
        ending: None,
        left: 0,
    };
    loop {
        match machine.step() {
            Step::Send(bytes) => {
                lines(&bytes);
                seen.said.extend_from_slice(&bytes);
            }
            Step::NeedInput if input.is_empty() => return seen,
            Step::NeedInput => {
                let count = input.len().min(machine.room());
                assert!(count > 0, "{machine:?} wants input without room");
                machine.receive(&input[..count]);
                input = &input[count..];
            }
            Step::Event(LocalEvent::NeedProfile) => machine.profile(Ok(&Profile::default())),
            Step::Event(LocalEvent::Credentials(credentials)) => {
                let password = credentials.password.expose_secret().to_vec();
                seen.logins.push((credentials.login, password));
                machine.refuse(&wrong);
            }
            Step::Event(event @ (LocalEvent::StartTls(_) | LocalEvent::Mail)) => {
                panic!("{event:?} was not offered")
            }
            Step::Event(LocalEvent::Close(ending)) => {
                seen.ending = Some(ending);
                seen.left = input.len();
                return seen;
            }
        }
    }
}
