//! Our SMTP server, as devices speak to it that need not log in.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::playbook::*;
use crate::failure::Cause;

const LIST: &str = "250-localhost\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n";
const MAIL_FIRST: &str = "503 5.5.1 Send MAIL first.\r\n";

fn device() -> Client {
    Client::greeted(Protocol::Smtp, &["SIZE 1000"]).known()
}

#[test]
fn mail_is_handed_over_with_all_that_came_behind_it_and_no_word_about_a_login() {
    for mail in [
        "MAIL FROM:<scanner@example.com>\r\n",
        "mail from: <scanner@example.com> SIZE=9\r\n",
        "MAIL FROM:<scanner@example.com>\n",
        "MAIL whatever\r\n",
    ] {
        for behind in [
            "",
            "RCPT TO:<a@b>\r\nDATA\r\n",
            "RCPT TO:<a@b>\nBDAT 3\r\nx",
            "RCPT",
        ] {
            let mut device = device();
            device.asks("EHLO scanner\r\n", LIST);
            device.says(format!("NOOP\r\n{mail}{behind}"));
            device.sends();
            device.hears("250 2.0.0 Ok\r\n");
            assert_eq!(device.name(), Some("scanner"));
            let (reply, leftovers) = device.accepted("235 2.7.0 Accepted\r\n").unwrap();
            assert_eq!(reply, "");
            let whole = format!("{mail}{behind}");
            assert_eq!(leftovers, whole.as_bytes().escape_ascii().to_string());
        }
    }
}

#[test]
fn a_device_must_use_tls_like_anybody_where_that_is_required() {
    let list = Some(profile(Protocol::Smtp, &[]));
    let mut device = Client::with(Protocol::Smtp, Privacy::Required, list).known();
    device.hears("220 localhost ESMTP mailwicket\r\n");
    device.asks(
        "MAIL FROM:<scanner@example.com>\r\n",
        "530 5.7.0 Must issue a STARTTLS command first (MW-TLS)\r\n",
    );
}

#[test]
fn a_device_needs_no_greeting_and_may_be_slow() {
    let mut device = device();
    "HELO x\r\nMAIL FROM:<a@b>\r"
        .chars()
        .for_each(|octet| device.says(octet.to_string()));
    device.hears("250 localhost\r\n");
    device.says("\n");
    device.sends();
    device.says("RCPT TO:<c@d>\r\n");
    device.hears("");
    let (_, leftovers) = device.accepted("235 ok\r\n").unwrap();
    assert_eq!(leftovers, "MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\n");
}

#[test]
fn a_refusal_answers_the_mail_and_the_conversation_goes_on() {
    let mut device = device();
    for (cause, answer) in [
        (
            Cause::Consent,
            "451 4.7.0 Sign-in needed; run: mailwicket authorize ACCOUNT (MW-CONSENT)\r\n",
        ),
        (
            Cause::Upstream,
            "451 4.7.0 Mail server unreachable, try again later. (MW-UPSTREAM)\r\n",
        ),
        (
            Cause::Password,
            "530 5.7.0 Authentication required; switch it on in the mail program (MW-NOAUTH)\r\n",
        ),
    ] {
        device.says("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
        device.sends();
        device.refused(cause);
        device.hears(&format!("{answer}{MAIL_FIRST}{MAIL_FIRST}"));
    }
    device.says("MAIL FROM:<a@b>\r\nNOOP\r\n");
    device.sends();
    device.refused(Cause::Limit);
    device.parts(
        "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
        Ending::Refused,
    );
}

#[test]
fn a_device_may_log_in_all_the_same() {
    let mut device = device();
    device.asks("EHLO x\r\n", LIST);
    device.says(format!("AUTH PLAIN {PLAIN}\r\nMAIL FROM:<a@b>\r\n"));
    device.presents_alice();
    device.refused(Cause::Token);
    device.sends();
    device.hears("454 4.7.0 Sign-in service unreachable, try again later. (MW-TOKEN)\r\n");
    device.refused(Cause::Token);
    device.hears("451 4.7.0 Sign-in service unreachable, try again later. (MW-TOKEN)\r\n");
    device.says(format!("AUTH PLAIN {PLAIN}\r\n"));
    device.presents_alice();
    let (reply, leftovers) = device.accepted("235 ok\r\n").unwrap();
    assert_eq!((reply.as_str(), leftovers.as_str()), ("235 ok\\r\\n", ""));
}

#[test]
fn only_mail_begins_a_session_without_login() {
    let mut device = device();
    for command in ["RCPT TO:<a@b>", "DATA", "VRFY x", "HELP"] {
        device.asks(format!("{command}\r\n"), MAIL_FIRST);
    }
    device.asks(
        "MAIL\0 FROM:<a@b>\r\n",
        "500 5.5.2 NUL or CR inside a line.\r\n",
    );
    device.asks("MAILX\r\n", "500 5.5.2 Command not recognised.\r\n");
    device.says("BDAT 5 LAST\r\nMAIL\n");
    device.forgets();
    device.is_closed(Ending::DataBeforeLogin);
}

#[test]
fn a_login_behind_the_mail_is_not_handed_over() {
    let mut device = device();
    device.says("MAIL FROM:<a@b>\r\nAUTH PLAIN x\r\n");
    device.sends();
    assert_eq!(
        device.accepted("235 ok\r\n").unwrap_err(),
        Ending::SecondLogin
    );
}

const SAID: [&str; 14] = [
    "EHLO x\r\n",
    "HELO x\n",
    "NOOP\r\n",
    "RSET\r\n",
    // No AUTH: behind a MAIL it ends the conversation, if it is there in time.
    "VRFY x\r\n",
    "*\r\n",
    "RCPT TO:<c@d>\r\n",
    "MAIL FROM:<a@b>\r\n",
    "mail\n",
    "MAIL",
    "\0\r\n",
    " ",
    "\r",
    "\n",
];

proptest! {
    #[test]
    fn what_is_handed_over_is_the_end_of_what_was_said_however_it_was_cut(
        said in prop::collection::vec(select(SAID.to_vec()), 0..20),
        cut in 1..30_usize,
    ) {
        let said = said.concat();
        let run = |cut: usize| {
            let mut machine = local(
                Protocol::Smtp,
                BOUNDS,
                Privacy::Clear,
                Some(profile(Protocol::Smtp, &[])),
            );
            machine.waive_login();
            let (mut heard, mut rest) = (Vec::new(), said.as_bytes());
            loop {
                match machine.step() {
                    Step::Send(bytes) => heard.extend_from_slice(&bytes),
                    Step::NeedInput if rest.is_empty() => return (heard, None),
                    Step::NeedInput => {
                        let (now, later) = rest.split_at(rest.len().min(cut));
                        machine.receive(now);
                        rest = later;
                    }
                    Step::Event(LocalEvent::Mail) => {
                        // What comes behind it goes on its own way to the relay.
                        let opening = machine.accept(&logged_in(b"235 ok\r\n")).unwrap();
                        assert!(opening.reply.is_empty());
                        return (heard, Some([&opening.leftovers, rest].concat()));
                    }
                    Step::Event(_) => return (heard, None),
                }
            }
        };
        let (heard, handed_over) = run(cut);
        if let Some(handed_over) = &handed_over {
            prop_assert!(said.as_bytes().ends_with(handed_over));
            prop_assert!(handed_over.to_ascii_uppercase().starts_with(b"MAIL"));
        }
        prop_assert_eq!(run(usize::MAX), (heard, handed_over));
    }
}
