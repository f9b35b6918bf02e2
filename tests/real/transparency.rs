//! After the login every byte arrives, in order, exactly once, both ways.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::lab::lab;
use crate::mail::{self, Road};
use crate::wait::{program, succeeds};
use crate::wicket::{PASSWORD, Plan, plain};
use crate::wire::Wire;

fn digests(messages: &[Vec<u8>]) -> Vec<String> {
    messages.iter().map(|message| digest(message)).collect()
}

fn digest(message: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(message) {
        write!(text, "{byte:02x}").expect("a string");
    }
    text
}

#[test]
fn three_hundred_strange_messages_are_fetched_as_they_are() {
    let account = &lab().mailbox("fetched");
    let mut messages = mail::corpus(304, Road::Delivery);
    messages.push(mail::large(5));
    lab().deliver_all(account, &messages);
    let wicket = Plan::new().account(account).run();

    let direct = lab().imap_directly(account).imap_fetch_all();
    assert_eq!(direct.len(), messages.len());
    for (fetched, sent) in direct.iter().zip(&messages) {
        // Dovecot does not store NULs.
        let sent: Vec<u8> = sent
            .iter()
            .map(|&byte| if byte == 0 { 0x80 } else { byte })
            .collect();
        assert!(
            fetched.ends_with(&sent),
            "{}",
            String::from_utf8_lossy(&sent)
        );
    }
    let relayed = wicket.session("imap", account).imap_fetch_all();
    assert_eq!(digests(&relayed), digests(&direct));

    let direct = lab().pop3_directly(account).pop3_fetch_all();
    let relayed = wicket.session("pop3", account).pop3_fetch_all();
    assert_eq!(digests(&relayed), digests(&direct));
}

#[test]
fn strange_messages_are_sent_as_they_are() {
    let account = &lab().mailbox("sent");
    let wicket = Plan::new().account(account).run();
    let mut smtp = wicket.session("smtp", account);
    let messages = mail::corpus(128, Road::Submission);
    for (number, message) in messages.iter().enumerate() {
        envelope(&mut smtp, account);
        if number % 8 == 7 {
            send_in_chunks(&mut smtp, message);
        } else {
            smtp.smtp("DATA", "354");
            smtp.send(&mail::dotted(message));
            smtp.smtp_reply("250");
        }
    }
    smtp.smtp("QUIT", "221");
    for (number, message) in messages.iter().enumerate() {
        let arrived = lab().arrived(account, &format!("X-Number: {number}\r\n"));
        assert!(
            arrived.ends_with(message),
            "{}\nbecame\n{}",
            String::from_utf8_lossy(message),
            String::from_utf8_lossy(&arrived),
        );
    }
}

fn envelope(smtp: &mut Wire, account: &str) {
    smtp.smtp(&format!("MAIL FROM:<{account}> BODY=8BITMIME"), "250");
    smtp.smtp(&format!("RCPT TO:<{account}>"), "250");
}

/// Chunks that end anywhere, within lines too.
fn send_in_chunks(smtp: &mut Wire, message: &[u8]) {
    let middle = message.len() / 3;
    smtp.send(format!("BDAT {middle}\r\n").as_bytes());
    smtp.send(&message[..middle]);
    smtp.smtp_reply("250");
    smtp.send(format!("BDAT {} LAST\r\n", message.len() - middle).as_bytes());
    smtp.send(&message[middle..]);
    smtp.smtp_reply("250");
}

#[test]
fn five_megabytes_are_sent_as_they_are() {
    let account = &lab().mailbox("large");
    let wicket = Plan::new().account(account).run();
    let message = mail::large(5);
    let mut smtp = wicket.session("smtp", account);
    envelope(&mut smtp, account);
    smtp.send(format!("BDAT {} LAST\r\n", message.len()).as_bytes());
    smtp.send(&message);
    smtp.smtp_reply("250");
    assert!(lab().arrived(account, "Subject: large").ends_with(&message));
}

#[test]
fn idle_tells_of_new_mail() {
    let account = &lab().mailbox("idle");
    let wicket = Plan::new().account(account).run();
    let mut imap = wicket.session("imap", account);
    imap.imap("b", "SELECT INBOX");
    imap.send(b"c IDLE\r\n");
    assert!(imap.line().starts_with('+'));
    lab().deliver(account, &mail::plain("while-idle"));
    while imap.line() != "* 1 EXISTS" {}
    imap.send(b"DONE\r\n");
    imap.imap_until("c");
}

#[test]
fn compression_passes() {
    let account = &lab().mailbox("compressed");
    lab().deliver(account, &mail::plain("deflated"));
    let wicket = Plan::new().account(account).run();
    let mut python = program("python3");
    python.args(["-c", include_str!("scripts/compress.py")]);
    python.args([&wicket.port("imap").to_string(), account, PASSWORD]);
    let output = succeeds(&mut python);
    assert!(output.stdout.ends_with(&mail::plain("deflated")));
}

#[test]
fn imap_commands_in_one_write_with_the_login_are_answered() {
    let account = &lab().mailbox("ahead-imap");
    let wicket = Plan::new().account(account).run();
    let mut imap = wicket.connect("imap");
    let login = format!("a1 LOGIN {account} {PASSWORD}\r\na2 SELECT INBOX\r\na3 LOGOUT\r\n");
    imap.send(login.as_bytes());
    for tag in ["a1", "a2", "a3"] {
        let lines = imap.imap_until(tag);
        let answer = lines.last().expect("a line");
        assert!(answer.starts_with(&format!("{tag} OK")), "{lines:?}");
    }
    assert!(imap.rest().is_empty());
}

#[test]
fn pop3_commands_in_one_write_with_the_login_are_answered() {
    let account = &lab().mailbox("ahead-pop3");
    lab().deliver(account, &mail::plain("counted"));
    let wicket = Plan::new().account(account).run();
    let mut pop3 = wicket.connect("pop3");
    pop3.send(format!("USER {account}\r\nPASS {PASSWORD}\r\nSTAT\r\nQUIT\r\n").as_bytes());
    let answers = String::from_utf8(pop3.rest()).expect("text");
    let lines: Vec<_> = answers.lines().collect();
    assert_eq!(lines.len(), 5, "{answers}");
    assert!(
        lines.iter().all(|line| line.starts_with("+OK")),
        "{answers}"
    );
    assert!(lines[3].starts_with("+OK 1 "), "{answers}");
}

#[test]
fn smtp_commands_in_one_write_with_the_login_are_answered() {
    let account = &lab().mailbox("ahead-smtp");
    let wicket = Plan::new().account(account).run();
    let mut smtp = wicket.connect("smtp");
    let auth = plain(account, PASSWORD);
    let words = format!("EHLO localhost\r\nAUTH PLAIN {auth}\r\nMAIL FROM:<{account}>\r\nQUIT\r\n");
    smtp.send(words.as_bytes());
    for code in ["220", "250", "235", "250", "221"] {
        smtp.smtp_reply(code);
    }
    assert!(smtp.rest().is_empty());
}

/// As Exim does it: the last chunk and QUIT together, and then no more from this side. In one write, because Postfix
/// forgets its goodbye when QUIT and the end of the TLS stream come apart from the rest. It resets the connection
/// after its answers, which must be heard all the same.
#[test]
fn a_client_may_close_its_half_and_still_hear_the_end() {
    let account = &lab().mailbox("half");
    let wicket = Plan::new().account(account).run();
    let mut smtp = wicket.session("smtp", account);
    envelope(&mut smtp, account);
    let message = mail::plain("half-closed");
    let mut last = format!("BDAT {} LAST\r\n", message.len()).into_bytes();
    last.extend_from_slice(&message);
    last.extend_from_slice(b"QUIT\r\n");
    smtp.send(&last);
    smtp.finish_sending();
    smtp.smtp_reply("250");
    smtp.smtp_reply("221");
    assert!(lab().arrived(account, "half-closed").ends_with(&message));
}

/// Compared without the words about authentication and TLS.
#[test]
fn the_capabilities_before_login_are_those_of_the_provider() {
    let account = &lab().mailbox("capable");
    let wicket = Plan::new().account(account).run();
    let direct = lab().ports("starttls");
    for (protocol, list) in [
        ("smtp", ehlo_words as fn(&mut Wire) -> Vec<String>),
        ("imap", imap_words),
        ("pop3", pop3_words),
    ] {
        let ours = list(&mut wicket.connect(protocol));
        let theirs = list(&mut Wire::connect(direct[protocol]));
        assert_eq!(ours, theirs, "{protocol}");
    }
}

fn ehlo_words(smtp: &mut Wire) -> Vec<String> {
    smtp.smtp_reply("220");
    let reply = smtp.smtp("EHLO localhost", "250");
    others(reply.lines().skip(1).filter_map(|line| line.get(4..)))
}

fn imap_words(imap: &mut Wire) -> Vec<String> {
    imap.line();
    let lines = imap.imap("a", "CAPABILITY");
    others(lines[0].split(' '))
}

fn pop3_words(pop3: &mut Wire) -> Vec<String> {
    pop3.line();
    pop3.pop3("CAPA");
    let lines: Vec<_> =
        std::iter::from_fn(|| Some(pop3.line()).filter(|line| line != ".")).collect();
    others(lines.iter().map(String::as_str))
}

/// What is not about authentication or TLS, in the order of the alphabet.
fn others<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    const LOGIN: [&str; 10] = [
        "AUTH",
        "STARTTLS",
        "STLS",
        "LOGINDISABLED",
        "LOGIN-REFERRALS",
        "SASL",
        "USER",
        "APOP",
        "RESP-CODES",
        "AUTH-RESP-CODE",
    ];
    let of_login = |word: &str| {
        let end = word.find([' ', '=']).unwrap_or(word.len());
        LOGIN.contains(&&word[..end]) || word == "SASL-IR"
    };
    let mut words: Vec<_> = words
        .filter(|word| !of_login(word))
        .map(str::to_owned)
        .collect();
    words.sort_unstable();
    words
}
