//! Logins that succeed, in the forms that mail programs use.

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::scripts::*;
use super::upstream::{Step, Upstream, hear, say};
use super::words::{self, ALICE, PASSWORD};

#[test]
fn a_plain_login_becomes_an_oauth_login_and_then_a_line() {
    for protocol in PROTOCOLS {
        let talk = vec![hear("x COMMAND"), say("x ANSWER\r\n"), Step::Close];
        let upstream = Upstream::start(vec![
            visitor(protocol),
            [lets_in(protocol, 1), talk].concat(),
        ]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        program.says("x COMMAND\r\n");
        program.hears("x ANSWER\r\n");
        program.falls_silent();
        program.is_hung_up_on();
        upstream.is_done();
        house.close();
    }
}

#[test]
fn without_an_initial_response_the_token_waits_for_its_invitation() {
    let list = vec![
        Step::Tls,
        say("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready\r\n"),
    ];
    let login = vec![
        hear("TAG AUTHENTICATE XOAUTH2"),
        say("+\r\n"),
        hear(words::xoauth2(1)),
        say("TAG OK Welcome\r\n"),
        Step::HearEnd,
    ];
    let visitor = [list.clone(), farewell(Protocol::Imap)].concat();
    let upstream = Upstream::start(vec![visitor, [list, login].concat()]);
    let house = House::open(&Plan::new(Protocol::Imap), &upstream);
    let mut program = house.visit();
    program.hears("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN] mailwicket ready\r\n");
    program.says(format!("a LOGIN {{{}}}\r\n", ALICE.len()));
    program.hears("+ OK\r\n");
    program.says(format!("{ALICE} {{{}}}\r\n", PASSWORD.len()));
    program.hears("+ OK\r\n");
    program.says(format!("{PASSWORD}\r\n"));
    program.hears("a OK Welcome\r\n");
    drop(program);
    upstream.is_done();
    house.close();
}

#[test]
fn a_conversation_in_single_octets_is_the_same_conversation() {
    for protocol in PROTOCOLS {
        for starttls in [false, true] {
            let drip = |script: Vec<Step>| -> Vec<Step> {
                let each = |step| match step {
                    Step::Say(text) => Step::Drip(text),
                    other => other,
                };
                script.into_iter().map(each).collect()
            };
            let mut visitor = visitor(protocol);
            let mut visit = lets_in(protocol, 1);
            if starttls {
                visitor = [clear(protocol, "[127.0.0.1]"), visitor_behind(protocol)].concat();
                visit = [clear(protocol, "vm"), behind(protocol)].concat();
            }
            visit.extend([say("more\r\n"), Step::HearEnd]);
            let upstream = Upstream::start(vec![drip(visitor), drip(visit)]);
            let plan = Plan {
                starttls,
                ..Plan::new(protocol)
            };
            let house = House::open(&plan, &upstream);
            let mut program = house.visit();
            match starttls && protocol == Protocol::Imap {
                true => program.hears("* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=PLAIN AUTH=LOGIN] mailwicket ready\r\n"),
                false => greets(&mut program, protocol),
            }
            program.drips(login(protocol, PASSWORD));
            program.hears(welcome(protocol));
            program.hears("more\r\n");
            drop(program);
            upstream.is_done();
            house.close();
        }
    }
}

/// The part of a conversation that goes before STARTTLS, and STARTTLS.
/// A server before STARTTLS.
pub fn clear(protocol: Protocol, name: &str) -> Vec<Step> {
    match protocol {
        Protocol::Imap => vec![
            say("* OK hello\r\n"),
            hear("TAG CAPABILITY"),
            say("* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nTAG OK\r\n"),
            hear("TAG STARTTLS"),
            say("TAG OK begin\r\n"),
            Step::Tls,
        ],
        Protocol::Pop3 => vec![
            say("+OK hello\r\n"),
            hear("CAPA"),
            say("+OK\r\nSTLS\r\n.\r\n"),
            hear("STLS"),
            say("+OK begin\r\n"),
            Step::Tls,
        ],
        Protocol::Smtp => vec![
            say("220 hello\r\n"),
            hear(format!("EHLO {name}")),
            say("250-hello\r\n250-FORGET\r\n250 STARTTLS\r\n"),
            hear("STARTTLS"),
            say("220 begin\r\n"),
            Step::Tls,
        ],
    }
}

/// The list as it is asked for again behind the handshake.
fn list_behind(protocol: Protocol, name: &str) -> Vec<Step> {
    match protocol {
        Protocol::Imap => vec![
            hear("TAG CAPABILITY"),
            say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 IDLE\r\nTAG OK\r\n"),
        ],
        // Without the greeting.
        Protocol::Pop3 | Protocol::Smtp => list(protocol, name).split_off(1),
    }
}

/// The visit at the program's start, behind STARTTLS.
pub fn visitor_behind(protocol: Protocol) -> Vec<Step> {
    [list_behind(protocol, "[127.0.0.1]"), farewell(protocol)].concat()
}

/// A server that lets in whoever has the first token, behind STARTTLS.
pub fn behind(protocol: Protocol) -> Vec<Step> {
    [
        list_behind(protocol, "vm"),
        asked(protocol, 1),
        vec![say(yes(protocol))],
    ]
    .concat()
}

#[test]
fn news_before_success_is_not_passed_on_and_news_behind_it_is() {
    let news = "* 5 EXISTS\r\n* OK [ALERT] call 555\r\n* CAPABILITY X\r\n";
    let visit = [
        opening(Protocol::Imap, ""),
        asked(Protocol::Imap, 1),
        vec![
            say(format!(
                "{news}TAG OK [CAPABILITY Y] Welcome\r\n* 6 EXISTS\r\n"
            )),
            Step::HearEnd,
        ],
    ];
    let upstream = Upstream::start(vec![visitor(Protocol::Imap), visit.concat()]);
    let house = House::open(&Plan::new(Protocol::Imap), &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Imap);
    program.says(login(Protocol::Imap, PASSWORD));
    program.hears("a OK [CAPABILITY Y] Welcome\r\n* 6 EXISTS\r\n");
    drop(program);
    upstream.is_done();
    house.close();
}

#[test]
fn a_success_of_many_lines_is_passed_on_as_it_came() {
    let visit = [
        opening(Protocol::Smtp, "vm"),
        asked(Protocol::Smtp, 1),
        vec![
            say("235-2.7.0 Hello\r\n235 2.7.0 Welcome\r\n"),
            Step::HearEnd,
        ],
    ];
    let upstream = Upstream::start(vec![visitor(Protocol::Smtp), visit.concat()]);
    let house = House::open(&Plan::new(Protocol::Smtp), &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Smtp);
    program.says(login(Protocol::Smtp, PASSWORD));
    program.hears("235-2.7.0 Hello\r\n235 2.7.0 Welcome\r\n");
    drop(program);
    upstream.is_done();
    house.close();
}

#[test]
fn what_came_behind_a_login_goes_upstream_after_its_success_and_unchanged() {
    for protocol in PROTOCOLS {
        let visit = [
            lets_in(protocol, 1),
            vec![
                hear("x ONE"),
                hear("x TWO \u{1}"),
                say("x DONE\r\n"),
                Step::HearEnd,
            ],
        ];
        let upstream = Upstream::start(vec![visitor(protocol), visit.concat()]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD) + "x ONE\r\nx TWO \u{1}\r\n");
        program.hears(welcome(protocol));
        program.hears("x DONE\r\n");
        drop(program);
        upstream.is_done();
        house.close();
    }
}
