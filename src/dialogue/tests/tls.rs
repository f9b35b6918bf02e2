//! Our servers before, at and after STARTTLS, where it is offered and where it is required.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::playbook::*;
use crate::failure::Cause;

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop3, Protocol::Smtp];

/// The word for it, and the answer.
fn starttls(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::Imap => ("s STARTTLS\r\n", "s OK Begin TLS now.\r\n"),
        Protocol::Pop3 => ("STLS\r\n", "+OK Begin TLS now.\r\n"),
        Protocol::Smtp => ("STARTTLS\r\n", "220 2.0.0 Ready to start TLS.\r\n"),
    }
}

fn client(protocol: Protocol, privacy: Privacy) -> Client {
    let words: &[&str] = match protocol {
        Protocol::Imap => &["IMAP4rev1", "IDLE"],
        Protocol::Pop3 => &["TOP"],
        Protocol::Smtp => &["SIZE 1000"],
    };
    let mut client = Client::with(protocol, privacy, Some(profile(protocol, words)));
    client.forgets();
    client
}

/// What a client asks for capabilities, and the list for each degree of privacy.
fn lists(protocol: Protocol) -> (&'static str, [(Privacy, &'static str); 4]) {
    use Privacy::{Clear, Offered, Required, Secured};
    match protocol {
        Protocol::Imap => {
            let plain = "* CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=PLAIN AUTH=LOGIN\r\nc OK CAPABILITY completed.\r\n";
            (
                "c CAPABILITY\r\n",
                [
                    (Clear, plain),
                    (
                        Offered,
                        "* CAPABILITY IMAP4rev1 IDLE SASL-IR STARTTLS AUTH=PLAIN AUTH=LOGIN\r\nc OK CAPABILITY completed.\r\n",
                    ),
                    (
                        Required,
                        "* CAPABILITY IMAP4rev1 IDLE SASL-IR STARTTLS LOGINDISABLED\r\nc OK CAPABILITY completed.\r\n",
                    ),
                    (Secured, plain),
                ],
            )
        }
        Protocol::Pop3 => {
            let plain = "+OK Capabilities follow.\r\nTOP\r\nUSER\r\nSASL PLAIN LOGIN\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n";
            (
                "CAPA\r\n",
                [
                    (Clear, plain),
                    (
                        Offered,
                        "+OK Capabilities follow.\r\nTOP\r\nUSER\r\nSASL PLAIN LOGIN\r\nSTLS\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n",
                    ),
                    (
                        Required,
                        "+OK Capabilities follow.\r\nTOP\r\nSTLS\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n",
                    ),
                    (Secured, plain),
                ],
            )
        }
        Protocol::Smtp => {
            let plain = "250-localhost\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n";
            (
                "EHLO vm\r\n",
                [
                    (Clear, plain),
                    (
                        Offered,
                        "250-localhost\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
                    ),
                    (
                        Required,
                        "250-localhost\r\n250-SIZE 1000\r\n250 STARTTLS\r\n",
                    ),
                    (Secured, plain),
                ],
            )
        }
    }
}

#[test]
fn the_capabilities_say_what_is_offered_and_what_is_required() {
    for protocol in PROTOCOLS {
        let (question, answers) = lists(protocol);
        for (privacy, answer) in answers {
            client(protocol, privacy).asks(question, answer);
        }
    }
}

#[test]
fn the_imap_greeting_says_it_too() {
    let list = profile(Protocol::Imap, &["IMAP4rev1"]);
    let mut client = Client::with(Protocol::Imap, Privacy::Required, Some(list));
    client.hears("* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS LOGINDISABLED] mailwicket ready\r\n");
}

#[test]
fn after_the_handshake_everything_begins_anew_without_a_second_greeting() {
    for protocol in PROTOCOLS {
        let (question, answers) = lists(protocol);
        let (command, reply) = starttls(protocol);
        for privacy in [Privacy::Offered, Privacy::Required] {
            let mut client = client(protocol, privacy);
            client.says(command);
            client.shakes_hands(reply);
            client.hears("");
            client.asks(question, answers[3].1);
            client.says(command);
            client.hears(match protocol {
                Protocol::Imap => "s BAD TLS is on already.\r\n",
                Protocol::Pop3 => "-ERR TLS is on already.\r\n",
                Protocol::Smtp => "503 5.5.1 TLS is on already.\r\n",
            });
        }
    }
}

#[test]
fn what_was_said_in_clear_is_forgotten() {
    let mut smtp = client(Protocol::Smtp, Privacy::Offered);
    smtp.says("EHLO clear\r\n");
    smtp.forgets();
    smtp.says("STARTTLS\r\n");
    smtp.shakes_hands("220 2.0.0 Ready to start TLS.\r\n");
    assert_eq!(smtp.name(), None);
    smtp.asks(
        format!("AUTH PLAIN {PLAIN}\r\n"),
        "503 5.5.1 Send EHLO or HELO first.\r\n",
    );
    let mut pop3 = client(Protocol::Pop3, Privacy::Offered);
    pop3.asks("USER alice\r\n", "+OK\r\n");
    pop3.says("STLS\r\n");
    pop3.shakes_hands("+OK Begin TLS now.\r\n");
    pop3.asks("PASS wicket-1\r\n", "-ERR No username given.\r\n");
}

#[test]
fn bytes_behind_starttls_end_the_conversation_without_a_handshake() {
    let hello = "\x16\x03\x01\x02\x00";
    for protocol in PROTOCOLS {
        let (command, _) = starttls(protocol);
        for privacy in [Privacy::Offered, Privacy::Required] {
            for behind in [hello, "x LOGIN a b\r\n", "\r\n", "x"] {
                let mut client = client(protocol, privacy);
                client.says(format!("{command}{behind}"));
                client.parts("", Ending::Injected);
            }
        }
    }
}

#[test]
fn bytes_that_come_in_clear_before_the_handshake_end_the_conversation_too() {
    for protocol in PROTOCOLS {
        let mut machine = local(protocol, BOUNDS, Privacy::Offered, None);
        machine.receive(starttls(protocol).0.as_bytes());
        while !matches!(machine.step(), Step::Event(LocalEvent::StartTls(_))) {}
        machine.receive(b"NOOP\r\n");
        machine.tls_started();
        let step = machine.step();
        assert!(
            matches!(step, Step::Event(LocalEvent::Close(Ending::Injected))),
            "{step:?}"
        );
    }
}

#[test]
fn a_login_in_clear_is_refused_where_tls_is_required() {
    const IMAP: &str = "NO [PRIVACYREQUIRED] Encryption required; switch STARTTLS on in the mail program (MW-TLS)\r\n";
    let mut imap = client(Protocol::Imap, Privacy::Required);
    imap.asks("a LOGIN alice wicket-1\r\n", &format!("a {IMAP}"));
    imap.asks(
        format!("b AUTHENTICATE PLAIN {PLAIN}\r\n"),
        &format!("b {IMAP}"),
    );
    assert!(imap.missed_tls());
    // No continuation is asked for: it would be the password.
    for command in [
        "AUTHENTICATE LOGIN\r\n",
        "LOGIN {5}\r\n",
        "LOGIN alice {8}\r\n",
    ] {
        let mut imap = client(Protocol::Imap, Privacy::Required);
        imap.asks(format!("c {command}"), &format!("c {IMAP}"));
    }

    const POP3: &str =
        "-ERR Encryption required; switch STLS (STARTTLS) on in the mail program (MW-TLS)\r\n";
    let mut pop3 = client(Protocol::Pop3, Privacy::Required);
    pop3.asks("USER alice\r\n", POP3);
    pop3.asks("PASS wicket-1\r\n", POP3);
    assert!(pop3.missed_tls());
    for command in ["AUTH PLAIN\r\n", &format!("AUTH PLAIN {PLAIN}\r\n")] {
        client(Protocol::Pop3, Privacy::Required).asks(command, POP3);
    }
    client(Protocol::Pop3, Privacy::Required).asks("AUTH\r\n", "+OK\r\n.\r\n");

    let mut smtp = client(Protocol::Smtp, Privacy::Required);
    smtp.says("EHLO vm\r\n");
    smtp.forgets();
    const SMTP: &str =
        "538 5.7.11 Encryption required; switch STARTTLS on in the mail program (MW-TLS)\r\n";
    for command in [
        "AUTH LOGIN\r\n",
        "AUTH PLAIN\r\n",
        "AUTH\r\n",
        &format!("AUTH PLAIN {PLAIN}\r\n"),
    ] {
        smtp.asks(command, SMTP);
    }
    smtp.asks(
        "MAIL FROM:<a@b>\r\n",
        "530 5.7.0 Must issue a STARTTLS command first (MW-TLS)\r\n",
    );
    assert!(smtp.missed_tls());
}

#[test]
fn a_login_in_clear_is_taken_where_tls_is_only_offered() {
    let mut imap = client(Protocol::Imap, Privacy::Offered);
    imap.says("a LOGIN alice@example.com wicket-1\r\n");
    imap.presents_alice();
    assert!(!imap.missed_tls());
    let mut smtp = client(Protocol::Smtp, Privacy::Offered);
    smtp.says("EHLO vm\r\n");
    smtp.forgets();
    smtp.says(format!("AUTH PLAIN {PLAIN}\r\n"));
    smtp.presents_alice();
}

#[test]
fn what_was_done_wrong_in_clear_still_counts() {
    let mut imap = client(Protocol::Imap, Privacy::Offered);
    for _ in 0..2 {
        imap.says("a LOGIN alice@example.com wicket-1\r\n");
        imap.presents_alice();
        imap.refused(Cause::Password);
        imap.forgets();
    }
    imap.says("s STARTTLS\r\n");
    imap.shakes_hands("s OK Begin TLS now.\r\n");
    imap.says("a LOGIN alice@example.com wicket-1\r\n");
    imap.presents_alice();
    imap.refused(Cause::Password);
    imap.parts(
        "a NO [AUTHENTICATIONFAILED] Authentication failed. (MW-PASSWORD)\r\n* BYE Too many failed logins.\r\n",
        Ending::FailedLogins,
    );
}

#[test]
fn whoever_is_turned_away_hears_why_in_its_own_protocol() {
    for (protocol, start) in [
        (Protocol::Imap, "* BYE "),
        (Protocol::Pop3, "-ERR [SYS/PERM] "),
        (Protocol::Smtp, "421 4.7.0 "),
    ] {
        for (interruption, code) in [
            (Interruption::Plaintext, NOT_IN_CLEAR),
            (Interruption::ExpectedTls, TLS_FIRST),
        ] {
            let words = farewell(protocol, interruption);
            assert!(words.starts_with(start), "{words}");
            assert!(words.ends_with(&format!("({code})\r\n")), "{words}");
        }
    }
}

/// Pieces of conversations, logins among them.
const PIECES: [&str; 16] = [
    "a LOGIN alice wicket\r\n",
    "a LOGIN {5}\r\n",
    "a LOGIN {5+}\r\nalice {6+}\r\nwicket\r\n",
    "alice",
    "a AUTHENTICATE PLAIN\r\n",
    "a AUTHENTICATE PLAIN AGEAYg==\r\n",
    "EHLO vm\r\n",
    "AUTH PLAIN AGEAYg==\r\n",
    "AUTH LOGIN\r\n",
    "AGEAYg==\r\n",
    "USER alice\r\n",
    "PASS wicket\r\n",
    "a CAPABILITY\r\n",
    "CAPA\r\n",
    "NOOP\r\n",
    "\r\n",
];

proptest! {
    #[test]
    fn no_password_is_taken_in_clear_where_tls_is_required(
        protocol in select(PROTOCOLS.to_vec()),
        pieces in prop::collection::vec(select(PIECES.to_vec()), 0..12),
        cut in 1..40usize,
    ) {
        let mut machine = local(protocol, BOUNDS, Privacy::Required, Some(Profile::default()));
        for piece in pieces.concat().as_bytes().chunks(cut) {
            loop {
                match machine.step() {
                    Step::Send(said) => {
                        // Nor asked for.
                        let said = String::from_utf8_lossy(&said).into_owned();
                        prop_assert!(!said.starts_with("+ ") && !said.contains("\n+ ") && !said.starts_with("334"), "{said}");
                    }
                    Step::NeedInput => break,
                    Step::Event(LocalEvent::Close(_)) => return Ok(()),
                    Step::Event(other) => prop_assert!(false, "{other:?}"),
                }
            }
            let count = piece.len().min(machine.room());
            machine.receive(&piece[..count]);
        }
    }
}
