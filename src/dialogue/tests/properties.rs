//! What holds for any bytes at all, cut in any way.

use proptest::prelude::*;
use proptest::sample::select;
use secrecy::ExposeSecret;

use super::super::*;
use super::playbook::*;
use crate::failure::Cause;

/// A token that stands nowhere else, and whose message does not either.
const SECRET: &str = "SecretSecretSecretSecretSecretSecret";

const PROTOCOLS: [Protocol; 3] = Protocol::ALL;

// ---- inputs

/// Pieces of conversations with our servers, right and wrong.
const LOCAL: [&str; 56] = [
    "a CAPABILITY\r\n",
    "a LOGIN alice@example.com wicket-1\r\n",
    "a LOGIN \"al\\\"ice\" \"wi\\\\cket\"\r\n",
    "a LOGIN {5}\r\n",
    "a LOGIN {5+}\r\n",
    "alice {8+}\r\n",
    "alice {8}\r\n",
    "wicket-1",
    " {1024+}\r\n",
    " {1025+}\r\n",
    " {0}\r\n",
    "a LOGIN {99999999999}\r\n",
    "a AUTHENTICATE PLAIN\r\n",
    "a AUTHENTICATE LOGIN\r\n",
    "a AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n",
    "a ID (\"name\" \"x\")\r\n",
    "a ID ({4+}\r\nname NIL)\r\n",
    "a NOOP\r\n",
    "a LOGOUT\r\n",
    "a STARTTLS\r\n",
    "a ENABLE X\r\n",
    "a SELECT x\r\n",
    "AGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n",
    "YWxpY2U=\r\n",
    "=\r\n",
    "*\r\n",
    "!\r\n",
    "CAPA\r\n",
    "USER alice\r\n",
    "PASS wicket-1\r\n",
    "PASS  \r\n",
    "AUTH\r\n",
    "AUTH PLAIN\r\n",
    "AUTH LOGIN\r\n",
    "AUTH LOGIN YWxpY2U=\r\n",
    "AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n",
    "APOP a b\r\n",
    "STLS\r\n",
    "QUIT\r\n",
    "NOOP\r\n",
    "STAT\r\n",
    "EHLO vm\r\n",
    "EHLO \x0b\r\n",
    "HELO\r\n",
    "MAIL FROM:<a@b>\r\n",
    "DATA\r\n",
    "BDAT 3\r\n",
    "XCLIENT x\r\n",
    "RSET\r\n",
    "GET / HTTP/1.1\r\n",
    "Host: x\r\n",
    "\x16\x03\x01",
    "\r\n",
    "\n",
    "\r",
    "\0",
];

/// Pieces of what mail servers say, right and wrong.
const UPSTREAM: [&str; 48] = [
    "* OK ready\r\n",
    "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 IDLE] ready\r\n",
    "* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER] ready\r\n",
    "* CAPABILITY IMAP4rev1 STARTTLS AUTH=XOAUTH2\r\n",
    "* PREAUTH x\r\n",
    "* BYE x\r\n",
    "* 5 EXISTS\r\n",
    "mw4444444444444444 OK x\r\n",
    "mw3333333333333333 OK x\r\n",
    "mw2222222222222222 OK x\r\n",
    "mw1111111111111111 OK x\r\n",
    "mw0000000000000000 OK x\r\n",
    "mw4444444444444444 NO [LIMIT] x\r\n",
    "mw3333333333333333 BAD x\r\n",
    "a OK x\r\n",
    "+ \r\n",
    "+\r\n",
    "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n",
    "+OK x\r\n",
    "+OK\r\n",
    "-ERR [AUTH] x\r\n",
    "-ERR [IN-USE] x\r\n",
    "SASL PLAIN XOAUTH2\r\n",
    "STLS\r\n",
    "TOP\r\n",
    ".\r\n",
    "220 x ESMTP\r\n",
    "220-x\r\n",
    "250-x\r\n",
    "250-AUTH XOAUTH2 PLAIN\r\n",
    "250-STARTTLS\r\n",
    "250-SIZE 1000\r\n",
    "250 8BITMIME\r\n",
    "250 AUTH OAUTHBEARER\r\n",
    "334 \r\n",
    "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n",
    "235-x\r\n",
    "235 2.7.0 Accepted\r\n",
    "235\r\n",
    "535 5.7.8 x\r\n",
    "421 x\r\n",
    "HTTP/1.1 400 Bad Request\r\n",
    "\x16\x03\x01",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\u{e9}\r\n",
];

/// Whole conversations that go far; random pieces seldom do.
fn far(protocol: Protocol, tls: bool) -> Vec<&'static str> {
    match (protocol, tls) {
        (Protocol::Imap, false) => vec![
            "* OK ready\r\n",
            "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nmw4444444444444444 OK x\r\n",
            "* 5 EXISTS\r\n+ eyJzdGF0dXMiOiI0MDEifQ==\r\n",
            "mw3333333333333333 OK x\r\n",
        ],
        (Protocol::Imap, true) => vec![
            "* OK ready\r\n",
            "* CAPABILITY IMAP4rev1 STARTTLS\r\nmw4444444444444444 OK x\r\n",
            "mw3333333333333333 OK x\r\n",
            "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nmw2222222222222222 OK x\r\n",
            "+ \r\n",
            "mw1111111111111111 OK x\r\n",
        ],
        (Protocol::Pop3, false) => vec![
            "+OK ready\r\n",
            "+OK\r\nTOP\r\nSASL XOAUTH2\r\n.\r\n",
            "+ \r\n",
            "+OK x\r\n",
        ],
        (Protocol::Pop3, true) => vec![
            "+OK ready\r\n",
            "+OK\r\nSTLS\r\n.\r\n",
            "+OK\r\n",
            "+OK\r\nTOP\r\nSASL XOAUTH2\r\n.\r\n",
            "+ \r\n",
            "+OK x\r\n",
        ],
        (Protocol::Smtp, false) => vec![
            "220 x\r\n",
            "250-x\r\n250-SIZE 5\r\n250 AUTH XOAUTH2\r\n",
            "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n",
            "235-x\r\n235 x\r\n",
        ],
        (Protocol::Smtp, true) => vec![
            "220 x\r\n",
            "250-x\r\n250 STARTTLS\r\n",
            "220 x\r\n",
            "250-x\r\n250 AUTH XOAUTH2\r\n",
            "235 x\r\n",
        ],
    }
}

/// Pieces in any order, raw bytes, and runs around the bounds.
fn pieces(known: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => select(known).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => (select(vec![b'x', b' ', b'A', b'\n', b'"']), near_a_bound()).prop_map(|(b, n)| vec![b; n]),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn near_a_bound() -> impl Strategy<Value = usize> {
    (
        select(vec![0, 64, 1024, 8192, 9216, 12_288, 14_400]),
        0..12_usize,
    )
        .prop_map(|(bound, more)| (bound + more).saturating_sub(8))
}

/// Where something is cut: lengths that repeat from the start.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        Just(vec![usize::MAX]),
        prop::collection::vec(1..40_usize, 1..8),
        prop::collection::vec(1..6000_usize, 1..8),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Refuse(Cause),
    Accept,
    Interrupt(Interruption),
}

fn verdicts() -> impl Strategy<Value = Vec<Verdict>> {
    let cause = select(vec![
        Cause::Password,
        Cause::Password,
        Cause::Consent,
        Cause::Refused,
        Cause::Busy,
        Cause::Changed,
        Cause::Limit,
    ]);
    let verdict = prop_oneof![
        6 => cause.prop_map(Verdict::Refuse),
        1 => Just(Verdict::Accept),
        1 => select(vec![Interruption::Timeout, Interruption::Shutdown, Interruption::Limit])
            .prop_map(Verdict::Interrupt),
    ];
    prop::collection::vec(verdict, 1..6)
}

// ---- drivers

/// What a conversation looked like from outside: what was said and what happened, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    said: Vec<u8>,
    /// With how much had been said by then.
    happened: Vec<(usize, String)>,
}

impl Seen {
    fn happens(&mut self, event: String) {
        self.happened.push((self.said.len(), event));
    }
}

/// Runs one of our servers over `input`, in pieces.
fn serve(protocol: Protocol, input: &[u8], cuts: &[usize], verdicts: &[Verdict]) -> Seen {
    let mut machine = local(protocol, BOUNDS, Privacy::Clear, None);
    let capacity = machine.room();
    assert!(
        capacity <= SASL_LINE + 4096,
        "a bound that is none: {capacity}"
    );
    let mut seen = Seen::default();
    let mut rest = input;
    let mut cuts = cuts.iter().cycle();
    let mut verdicts = verdicts.iter().cycle();
    loop {
        match machine.step() {
            Step::Send(bytes) => {
                assert!(!bytes.is_empty(), "an empty send would spin the driver");
                seen.said.extend_from_slice(&bytes);
            }
            Step::NeedInput => {
                assert!(
                    machine.room() > 0,
                    "{machine:?} wants input and has no room"
                );
                let count = rest.len().min(*cuts.next().unwrap()).min(machine.room());
                if count == 0 {
                    return seen;
                }
                machine.receive(&rest[..count]);
                rest = &rest[count..];
            }
            // Where it is offered, the cut behind it does matter; see `tls`.
            Step::Event(LocalEvent::StartTls(_)) => panic!("TLS is not offered"),
            Step::Event(LocalEvent::NeedProfile) => {
                seen.happens("NeedProfile".to_owned());
                machine.profile(Ok(&profile(protocol, &["IMAP4rev1"])));
            }
            Step::Event(LocalEvent::Mail) => panic!("nobody has waived the login"),
            Step::Event(LocalEvent::Credentials(credentials)) => {
                let password = credentials.password.expose_secret();
                seen.happens(format!("{:?} {password:?}", credentials.login));
                assert!(!credentials.login.contains(char::is_control));
                assert!(memchr::memchr3(0, b'\r', b'\n', password).is_none());
                // A parked machine says nothing and takes what fits.
                let count = rest.len().min(machine.room());
                machine.receive(&rest[..count]);
                rest = &rest[count..];
                assert!(matches!(machine.step(), Step::NeedInput));
                match verdicts.next().unwrap() {
                    Verdict::Refuse(cause) => machine.refuse(&failure(*cause)),
                    Verdict::Interrupt(interruption) => machine.interrupt(*interruption),
                    Verdict::Accept => {
                        match machine.accept(&logged_in(b" ok")) {
                            Ok(opening) => {
                                assert!(opening.leftovers.len() <= capacity);
                                seen.said.extend_from_slice(&opening.reply);
                                seen.happens(format!("accepted {:?}", &opening.leftovers[..]));
                            }
                            Err(ending) => seen.happens(format!("{ending:?}")),
                        }
                        return seen;
                    }
                }
            }
            Step::Event(LocalEvent::Close(ending)) => {
                seen.happens(format!("{ending:?}"));
                assert!(matches!(machine.step(), Step::Event(LocalEvent::Close(_))));
                return seen;
            }
        }
        assert!(capacity >= machine.room());
    }
}

/// Runs one of our clients over what a server says. Each of `replies` comes when the machine has nothing more to say.
fn call(protocol: Protocol, tls: UpstreamTls, replies: &[Vec<u8>], cuts: &[usize]) -> Seen {
    let mut machine = upstream(protocol, tls, &[7; 40], Some("vm"));
    let token = token(SECRET);
    let message = |mechanism: &str| match mechanism {
        "XOAUTH2" => sasl::Mechanism::Xoauth2,
        _ => sasl::Mechanism::Oauthbearer,
    };
    let login = Login {
        identity: IDENTITY,
        token: &token,
        mechanism: MechanismChoice::Auto,
        host: "mail.example.com",
        port: 993,
    };
    let messages = ["XOAUTH2", "OAUTHBEARER"].map(|name| message(name).message(&login));
    let mut seen = Seen::default();
    let mut is_ready = false;
    let mut cuts = cuts.iter().cycle();
    let mut replies = replies.iter();
    let mut rest: &[u8] = &[];
    let capacity = machine.room();
    assert!(capacity <= 16 * 1024, "a bound that is none: {capacity}");
    loop {
        match machine.step() {
            Step::Send(bytes) => {
                assert!(!bytes.is_empty());
                seen.said.extend_from_slice(&bytes);
                let holds =
                    |needle: &str| memchr::memmem::find_iter(&seen.said, needle.as_bytes()).count();
                let times: usize = messages.iter().map(|message| holds(message)).sum();
                assert!(
                    times <= usize::from(is_ready),
                    "the token was sent too early or twice"
                );
                assert_eq!(holds(SECRET), 0, "the token was sent as it is");
                assert_grammar(&seen.said, &messages);
            }
            Step::NeedInput => {
                assert!(machine.room() > 0);
                if rest.is_empty() {
                    match replies.next() {
                        Some(reply) => rest = reply,
                        None => return seen,
                    }
                }
                let count = rest.len().min(*cuts.next().unwrap()).min(machine.room());
                machine.receive(&rest[..count]);
                rest = &rest[count..];
            }
            Step::Event(UpstreamEvent::StartTls) => {
                assert_eq!(tls, UpstreamTls::StartTls);
                seen.happens("StartTls".to_owned());
                machine.tls_started();
            }
            Step::Event(UpstreamEvent::Ready(profile)) => {
                assert!(!is_ready, "ready twice");
                let is_secured = seen.happened.iter().any(|(_, event)| event == "StartTls");
                assert_eq!(is_secured, tls == UpstreamTls::StartTls);
                is_ready = true;
                seen.happens(format!("{profile:?}"));
                machine.login(&login);
            }
            Step::Event(UpstreamEvent::LoggedIn(logged_in)) => {
                assert!(messages.iter().any(|message| {
                    memchr::memmem::find(&seen.said, message.as_bytes()).is_some()
                }));
                assert!(logged_in.leftovers.len() <= capacity);
                // What had not yet come is relayed as well, so it belongs to the same picture.
                let mut leftovers = logged_in.leftovers.to_vec();
                leftovers.extend_from_slice(rest);
                seen.happens(format!("{:?} {leftovers:?}", &logged_in.reply[..]));
                return seen;
            }
            Step::Event(UpstreamEvent::Failed(failure)) => {
                assert!(!failure.detail.contains(char::is_control));
                let holds = |secret: &str| failure.detail.contains(secret);
                assert!(!holds(SECRET) && !messages.iter().any(|message| holds(message)));
                seen.happens(format!("{:?} {}", failure.kind, failure.detail));
                return seen;
            }
        }
    }
}

/// Whatever a server says, these are all the lines that it ever hears.
fn assert_grammar(said: &[u8], messages: &[zeroize::Zeroizing<String>]) {
    let said = std::str::from_utf8(said).expect("ASCII");
    for line in said
        .strip_suffix("\r\n")
        .expect("whole lines")
        .split("\r\n")
    {
        let command = line.strip_prefix("mw0707070707070707 ").unwrap_or(line);
        let command = messages.iter().fold(command, |command, m| {
            command.strip_suffix(m.as_str()).unwrap_or(command)
        });
        let known = [
            "",
            "AQ==",
            "CAPABILITY",
            "STARTTLS",
            "CAPA",
            "STLS",
            "EHLO vm",
            "AUTHENTICATE XOAUTH2",
            "AUTHENTICATE OAUTHBEARER",
            "AUTH XOAUTH2",
            "AUTH OAUTHBEARER",
        ];
        assert!(
            known.contains(&command.trim_end()),
            "{line:?} is nothing that we say"
        );
    }
}

/// Whether a conversation ended because an answer came before its question, which only shows when both come together.
fn came_early(seen: &Seen) -> bool {
    seen.happened.last().is_some_and(|(_, event)| {
        event.contains("answered before it was asked")
            || event.contains("sent bytes in clear behind")
    })
}

/// Whether two pictures of the same bytes agree. An early answer may go unnoticed when it is cut from the one before it; up to
/// there everything must be the same.
fn agree(whole: &Seen, cut: &Seen) -> bool {
    let (short, long) = match (came_early(whole), came_early(cut)) {
        (false, false) => return whole == cut,
        (true, _) => (whole, cut),
        (false, true) => (cut, whole),
    };
    let events = short.happened.len() - 1;
    long.said.starts_with(&short.said) && long.happened.starts_with(&short.happened[..events])
}

fn mutate(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for (at, byte) in changes {
        let count = bytes.len().max(1);
        if let Some(place) = bytes.get_mut(at % count) {
            *place = *byte;
        }
    }
    bytes
}

// ---- properties

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn our_servers_do_not_care_how_their_input_is_cut(
        protocol in select(&PROTOCOLS[..]),
        input in pieces(&LOCAL),
        cuts in cuts(),
        verdicts in verdicts(),
    ) {
        let whole = serve(protocol, &input, &[usize::MAX], &verdicts);
        let cut = serve(protocol, &input, &cuts, &verdicts);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn our_servers_survive_mutated_logins(
        protocol in select(&PROTOCOLS[..]),
        first in select(&LOCAL[..]),
        second in select(&LOCAL[..]),
        third in select(&LOCAL[..]),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
        cuts in cuts(),
        verdicts in verdicts(),
    ) {
        let input = mutate([first, second, third].concat().into_bytes(), &changes);
        let whole = serve(protocol, &input, &[usize::MAX], &verdicts);
        let cut = serve(protocol, &input, &cuts, &verdicts);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn our_clients_keep_the_token_and_the_grammar_whatever_a_server_says(
        protocol in select(&PROTOCOLS[..]),
        tls in select(vec![UpstreamTls::Implicit, UpstreamTls::StartTls]),
        replies in prop::collection::vec(pieces(&UPSTREAM), 0..6),
        cuts in cuts(),
    ) {
        let whole = call(protocol, tls, &replies, &[usize::MAX]);
        let cut = call(protocol, tls, &replies, &cuts);
        prop_assert!(agree(&whole, &cut), "{:?}\n{:?}", whole, cut);
    }

    #[test]
    fn our_clients_keep_them_near_the_end_of_a_conversation_too(
        protocol in select(&PROTOCOLS[..]),
        tls in any::<bool>(),
        sound in 0..7_usize,
        strange in pieces(&UPSTREAM),
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 0..2),
        cuts in cuts(),
    ) {
        let tags = |reply: &str| {
            let reply = (0..5).fold(reply.to_owned(), |reply, digit| {
                reply.replace(&format!("mw{}", digit.to_string().repeat(16)), "mw0707070707070707")
            });
            reply.into_bytes()
        };
        let mut replies: Vec<Vec<u8>> = far(protocol, tls).into_iter().map(tags).collect();
        for (which, at, byte) in changes {
            let count = replies.len();
            let reply = std::mem::take(&mut replies[which % count]);
            replies[which % count] = mutate(reply, &[(at, byte)]);
        }
        replies.insert(sound.min(replies.len()), strange);
        let tls = if tls { UpstreamTls::StartTls } else { UpstreamTls::Implicit };
        let whole = call(protocol, tls, &replies, &[usize::MAX]);
        let cut = call(protocol, tls, &replies, &cuts);
        prop_assert!(agree(&whole, &cut), "{:?}\n{:?}", whole, cut);
    }

    #[test]
    fn our_servers_part_once_whenever_they_are_interrupted(
        protocol in select(&PROTOCOLS[..]),
        input in pieces(&LOCAL),
        interruption in select(vec![Interruption::Timeout, Interruption::Shutdown, Interruption::Limit]),
    ) {
        let mut machine = local(protocol, BOUNDS, Privacy::Clear, None);
        let fits = input.len().min(machine.room());
        machine.receive(&input[..fits]);
        // As far as it gets without a verdict; verdicts that nobody asked for change nothing.
        let ending = loop {
            match machine.step() {
                Step::Send(_) => {}
                Step::NeedInput => break None,
                Step::Event(LocalEvent::Close(ending)) => break Some(ending),
                Step::Event(_) => break None,
            }
        };
        machine.interrupt(interruption);
        while let Step::Send(_) = machine.step() {}
        machine.interrupt(Interruption::Timeout);
        machine.refuse(&failure(Cause::Upstream));
        machine.profile(Ok(&Profile::default()));
        let expected = ending.unwrap_or(Ending::Interrupted(interruption));
        match machine.step() {
            Step::Event(LocalEvent::Close(closed)) => prop_assert_eq!(closed, expected),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_list_that_is_shown_holds_nothing_but_sound_words(
        protocol in select(&PROTOCOLS[..]),
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10),
    ) {
        let profile = Profile::new(protocol, words.iter().map(Vec::as_slice));
        for word in profile.words() {
            prop_assert!(word.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            prop_assert!(!word.starts_with(' ') && !word.is_empty());
        }
        prop_assert_eq!(profile.lacks(&profile), None);
    }
}

#[test]
fn the_conversations_that_go_far_do_so() {
    for protocol in PROTOCOLS {
        for tls in [false, true] {
            let replies: Vec<Vec<u8>> = far(protocol, tls)
                .into_iter()
                .map(|reply| {
                    (0..5)
                        .fold(reply.to_owned(), |reply, digit| {
                            let tag = format!("mw{}", digit.to_string().repeat(16));
                            reply.replace(&tag, "mw0707070707070707")
                        })
                        .into_bytes()
                })
                .collect();
            let tls = if tls {
                UpstreamTls::StartTls
            } else {
                UpstreamTls::Implicit
            };
            let seen = call(protocol, tls, &replies, &[usize::MAX]);
            let (_, last) = seen.happened.last().unwrap();
            assert!(last.ends_with("[]"), "{protocol} {tls:?}: {seen:?}");
        }
    }
}

#[test]
fn a_login_that_comes_too_early_or_twice_sends_nothing() {
    let token = token(SECRET);
    let login = Login {
        identity: IDENTITY,
        token: &token,
        mechanism: MechanismChoice::Auto,
        host: "mail.example.com",
        port: 993,
    };
    for protocol in PROTOCOLS {
        for tls in [UpstreamTls::Implicit, UpstreamTls::StartTls] {
            let mut machine = upstream(protocol, tls, &[7; 40], None);
            machine.login(&login);
            assert!(matches!(machine.step(), Step::NeedInput));
            machine.tls_started();
            assert!(matches!(machine.step(), Step::NeedInput));
        }
    }
    let mut machine = upstream(Protocol::Imap, UpstreamTls::Implicit, &[7; 40], None);
    machine.receive(b"* OK [CAPABILITY SASL-IR AUTH=XOAUTH2] x\r\n");
    assert!(matches!(
        machine.step(),
        Step::Event(UpstreamEvent::Ready(_))
    ));
    machine.login(&login);
    machine.login(&login);
    assert!(matches!(machine.step(), Step::Send(_)));
    assert!(matches!(machine.step(), Step::NeedInput));
}

#[test]
fn nothing_that_a_mail_program_says_is_repeated_but_the_name_in_ehlo() {
    for protocol in PROTOCOLS {
        let mut machine = local(
            protocol,
            BOUNDS,
            Privacy::Clear,
            Some(profile(protocol, &["X"])),
        );
        machine.receive(b"EHLO fit\x1bfor-nothing\r\nEHLO fit.for.repeating\r\n");
        while let Step::Send(_) = machine.step() {}
        let name = machine.name().map(str::to_owned);
        assert_eq!(name.is_some(), protocol == Protocol::Smtp);
        let mut upstream = upstream(protocol, UpstreamTls::Implicit, &[7; 40], name.as_deref());
        upstream.receive(b"220 x\r\n");
        if let (Step::Send(said), Some(name)) = (upstream.step(), name) {
            assert_eq!(&said[..], format!("EHLO {name}\r\n").as_bytes());
        }
    }
}

#[test]
fn a_parked_machine_fills_up_and_still_goes_on() {
    for protocol in PROTOCOLS {
        let mut machine = local(protocol, BOUNDS, Privacy::Clear, None);
        machine.receive(b"EHLO x\r\nUSER alice\r\nAUTH PLAIN AGEAYg==\r\n");
        if protocol == Protocol::Imap {
            machine = local(protocol, BOUNDS, Privacy::Clear, None);
            machine.receive(b"a LOGIN a b\r\n");
        }
        loop {
            match machine.step() {
                Step::Send(_) => {}
                Step::Event(LocalEvent::NeedProfile) => machine.profile(Ok(&Profile::default())),
                Step::Event(LocalEvent::Credentials(_)) => break,
                other => panic!("{protocol}: {other:?}"),
            }
        }
        let noop: &[u8] = if protocol == Protocol::Imap {
            b"a NOOP\r\n"
        } else {
            b"NOOP\r\n"
        };
        let held = noop.repeat(machine.room() / noop.len());
        machine.receive(&held);
        machine.receive(&noop[..machine.room()]);
        assert_eq!(machine.room(), 0);
        assert!(matches!(machine.step(), Step::NeedInput));
        machine.refuse(&failure(Cause::Upstream));
        while let Step::Send(_) = machine.step() {}
        assert!(machine.room() > 0);
    }
}

#[test]
fn debug_shows_states_and_lengths_only() {
    for protocol in PROTOCOLS {
        let mut machine = local(protocol, BOUNDS, Privacy::Clear, None);
        machine.receive(b"x LOGIN wicket-1 wicket-1");
        assert!(!format!("{machine:?}").contains("wicket"));
        let mut outgoing = Outgoing::default();
        outgoing.push(b"wicket");
        assert_eq!(format!("{outgoing:?}"), "6 octets");
        let credentials = Credentials {
            login: "alice".to_owned(),
            password: b"wicket".to_vec().into(),
        };
        let shown = format!("{credentials:?} {:?}", logged_in(b"wicket"));
        assert!(!shown.contains("wicket") && !shown.contains("alice"));
    }
}
