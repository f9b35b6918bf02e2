//! Logins that fail, and what each side hears of it.

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::scripts::*;
use super::sign_in::Then;
use super::upstream::{Step, Upstream, hear, say, wait};
use super::words::{self, PASSWORD, WRONG_PASSWORD};

#[test]
fn a_refused_token_is_renewed_once_and_tried_once_more() {
    for protocol in PROTOCOLS {
        let scripts = vec![
            visitor(protocol),
            refuses(protocol, 1),
            refuses(protocol, 2),
        ];
        let upstream = Upstream::start(scripts);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(refused(protocol));
        upstream.is_done();
        assert_eq!(house.sign_in.asked(), 2);
        house.close();
    }
}

#[test]
fn a_renewed_token_may_be_welcome() {
    for protocol in PROTOCOLS {
        let visit = [lets_in(protocol, 2), vec![Step::HearEnd]].concat();
        let scripts = vec![visitor(protocol), refuses(protocol, 1), visit];
        let upstream = Upstream::start(scripts);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        drop(program);
        upstream.is_done();
        assert_eq!(house.sign_in.asked(), 2);
        house.close();
    }
}

#[test]
fn a_sign_in_service_without_tokens_is_no_reason_to_stop_trying() {
    for (protocol, answer) in [
        (
            Protocol::Imap,
            "a NO [UNAVAILABLE] Sign-in service unreachable, try again later. (MW-TOKEN)\r\n",
        ),
        (
            Protocol::Pop3,
            "+OK\r\n-ERR [SYS/TEMP] Sign-in service unreachable, try again later. (MW-TOKEN)\r\n",
        ),
        (
            Protocol::Smtp,
            "454 4.7.0 Sign-in service unreachable, try again later. (MW-TOKEN)\r\n",
        ),
    ] {
        let upstream = Upstream::start(vec![visitor(protocol)]);
        let plan = Plan {
            tokens: 0,
            then: Then::Error(503, "temporarily_unavailable"),
            ..Plan::new(protocol)
        };
        // Whether the mail server was dialled meanwhile is a matter of luck, so nobody counts.
        let house = House::open(&plan, &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(answer);
        assert!(!upstream.heard_a_token());
        house.close();
    }
}

#[test]
fn a_wrong_registration_needs_a_person() {
    let upstream = Upstream::start(vec![visitor(Protocol::Imap)]);
    let plan = Plan {
        tokens: 0,
        then: Then::Error(401, "invalid_client"),
        ..Plan::new(Protocol::Imap)
    };
    let house = House::open(&plan, &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Imap);
    program.says(login(Protocol::Imap, PASSWORD));
    program.hears(
        "* NO [ALERT] mailwicket: Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n\
         a NO [CONTACTADMIN] Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n",
    );
    house.close();
}

#[test]
fn wrong_passwords_reach_nobody_and_the_third_is_the_last() {
    for protocol in PROTOCOLS {
        let upstream = Upstream::start(vec![visitor(protocol)]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            program.says(login(protocol, WRONG_PASSWORD));
            program.hears(wrong(protocol));
        }
        assert!(
            begun.elapsed().as_secs() >= 3,
            "wrong passwords are answered too fast"
        );
        match protocol {
            Protocol::Imap => program.hears("* BYE Too many failed logins.\r\n"),
            Protocol::Pop3 => {}
            Protocol::Smtp => program.hears("421 4.7.0 Too many failed logins, closing.\r\n"),
        }
        program.is_hung_up_on();
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_session_in_one_packet_with_a_wrong_password_goes_nowhere() {
    let upstream = Upstream::start(vec![visitor(Protocol::Smtp)]);
    let house = House::open(&Plan::new(Protocol::Smtp), &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Smtp);
    let login = login(Protocol::Smtp, WRONG_PASSWORD);
    program.says(login + "MAIL FROM:<x@example.com>\r\nQUIT\r\n");
    program.hears(wrong(Protocol::Smtp));
    program.hears(
        "530 5.7.0 Authentication required; switch it on in the mail program (MW-NOAUTH)\r\n221 2.0.0 Bye\r\n",
    );
    program.is_hung_up_on();
    upstream.is_done();
    house.close();
}

#[test]
fn a_broken_promise_ends_the_session_and_the_next_one_sees_the_new_list() {
    let shrunk = |protocol| match protocol {
        Protocol::Imap => vec![
            Step::Tls,
            say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n"),
            Step::HearEnd,
        ],
        Protocol::Pop3 => vec![
            Step::Tls,
            say("+OK ready\r\n"),
            hear("CAPA"),
            say("+OK\r\nTOP\r\nSASL XOAUTH2\r\n.\r\n"),
            Step::HearEnd,
        ],
        Protocol::Smtp => vec![
            Step::Tls,
            say("220 ready\r\n"),
            hear("EHLO vm"),
            say("250-ready\r\n250-SIZE 999\r\n250 AUTH XOAUTH2\r\n"),
            Step::HearEnd,
        ],
    };
    for protocol in PROTOCOLS {
        let upstream = Upstream::start(vec![visitor(protocol), shrunk(protocol)]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says("CAPA\r\n".repeat(usize::from(protocol == Protocol::Pop3)));
        program.says(login(protocol, PASSWORD));
        let told = String::from_utf8(program.hears_out()).unwrap();
        assert!(told.contains("(MW-CHANGED)"), "{told}");
        upstream.is_done();
        assert!(!upstream.heard_a_token());
        let mut next = house.visit();
        match protocol {
            Protocol::Imap => {
                next.hears("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN]")
            }
            Protocol::Pop3 => {
                next.says("CAPA\r\n");
                next.hears("+OK mailwicket ready\r\n+OK Capabilities follow.\r\nTOP\r\nUSER\r\n");
            }
            Protocol::Smtp => {
                next.says("EHLO vm\r\n");
                next.hears("220 localhost ESMTP mailwicket\r\n250-localhost\r\n250-SIZE 999\r\n");
            }
        }
        house.close();
    }
}

#[test]
fn a_second_login_behind_the_first_is_never_passed_on() {
    for protocol in PROTOCOLS {
        let visit = [lets_in(protocol, 1), vec![Step::HearEnd]].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD) + &login(protocol, PASSWORD));
        if protocol == Protocol::Pop3 {
            program.hears("+OK\r\n");
        }
        program.is_hung_up_on();
        upstream.is_done();
        for trace in words::traces(PASSWORD) {
            assert!(!words::contains(&upstream.heard(), trace));
        }
        house.close();
    }
}

#[test]
fn a_mail_program_that_goes_away_during_its_login_harms_nobody() {
    for protocol in PROTOCOLS {
        // The first visit never gets an answer; the second, meanwhile, is let in.
        let asked = [opening(protocol, "vm"), asked(protocol, 1)].concat();
        let forsaken = [asked, vec![Step::HearEnd]].concat();
        let visit = [lets_in(protocol, 1), vec![Step::HearEnd]].concat();
        let scripts = vec![visitor(protocol), forsaken, visit];
        let upstream = Upstream::start(scripts);
        let plan = Plan {
            more: "[timeouts]\nupstream-login = \"3s\"",
            ..Plan::new(protocol)
        };
        let house = House::open(&plan, &upstream);
        let mut first = house.visit();
        greets(&mut first, protocol);
        first.says(login(protocol, PASSWORD));
        wait(|| upstream.heard_a_token(), "the first login");
        drop(first);
        let mut second = house.visit();
        greets(&mut second, protocol);
        second.says(login(protocol, PASSWORD));
        second.hears(welcome(protocol));
        drop(second);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_sender_that_is_refused_behind_its_message_is_explained_in_the_log() {
    let message = vec![
        hear("MAIL FROM:<scanner@example.com>"),
        say("250 2.1.0 Sender OK\r\n"),
        hear("RCPT TO:<bob@example.com>"),
        say("250 2.1.5 Recipient OK\r\n"),
        hear("DATA"),
        say("354 Start mail input\r\n"),
        hear("x"),
        hear("."),
        say("554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException; no\r\n"),
        Step::HearEnd,
    ];
    let visit = [lets_in(Protocol::Smtp, 1), message].concat();
    let upstream = Upstream::start(vec![visitor(Protocol::Smtp), visit]);
    let house = House::open(&Plan::new(Protocol::Smtp), &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Smtp);
    program.says(login(Protocol::Smtp, PASSWORD));
    program.hears(welcome(Protocol::Smtp));
    for (said, heard) in [
        (
            "MAIL FROM:<scanner@example.com>\r\n",
            "250 2.1.0 Sender OK\r\n",
        ),
        (
            "RCPT TO:<bob@example.com>\r\n",
            "250 2.1.5 Recipient OK\r\n",
        ),
        ("DATA\r\n", "354 Start mail input\r\n"),
        (
            "x\r\n.\r\n",
            "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException; no\r\n",
        ),
    ] {
        program.says(said);
        program.hears(heard);
    }
    house.says("grant Send As");
    drop(program);
    upstream.is_done();
    house.close();
}

#[test]
fn a_provider_that_says_for_how_long_it_wants_no_login_hears_none() {
    let throttled = [
        opening(Protocol::Imap, "vm"),
        asked(Protocol::Imap, 1),
        vec![
            say("TAG NO Request is throttled. Suggested Backoff Time: 299923 milliseconds\r\n"),
            Step::HearEnd,
        ],
    ];
    let upstream = Upstream::start(vec![visitor(Protocol::Imap), throttled.concat()]);
    let house = House::open(&Plan::new(Protocol::Imap), &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Imap);
    program.says(login(Protocol::Imap, PASSWORD));
    program.hears(
        "a NO [LIMIT] Mail server has too many sessions of this account, try again later. (MW-BUSY)\r\n",
    );
    program.says(login(Protocol::Imap, PASSWORD));
    program.hears("a NO [LIMIT] Too many connections, try again later. (MW-LIMIT)\r\n");
    // With another visit, the mail server would complain.
    upstream.is_done();
    house.close();
}
