//! Mail servers, and what pretends to be one, that do not speak as they should: no token for them, and a plain answer.

use mailwicket::protocol::Protocol;

use super::certificates::Certificate;
use super::house::{House, Plan};
use super::mail_program::MailProgram;
use super::scripts::*;
use super::upstream::{Script, Step, Upstream, hear, say};
use super::words::PASSWORD;

/// Starts the program, and lets a mail program log in once for every script but the first, which the visit at the start gets. Each
/// time it must hear that the server is out of reach.
#[track_caller]
fn are_unavailable(plan: &Plan, scripts: Vec<Script>) -> Upstream {
    are_unavailable_after(greets_blindly, plan, scripts)
}

/// As [`are_unavailable`], where only the logins go wrong.
#[track_caller]
fn are_unavailable_at_login(plan: &Plan, mut scripts: Vec<Script>) -> Upstream {
    scripts.insert(0, visitor(plan.protocol));
    are_unavailable_after(greets, plan, scripts)
}

#[track_caller]
fn are_unavailable_after(
    greets: impl Fn(&mut MailProgram, Protocol),
    plan: &Plan,
    scripts: Vec<Script>,
) -> Upstream {
    let logins = scripts.len() - 1;
    let upstream = Upstream::start(scripts);
    let house = House::open(plan, &upstream);
    let mut program = house.visit();
    greets(&mut program, plan.protocol);
    for _ in 0..logins {
        program.says(login(plan.protocol, PASSWORD));
        program.hears(unavailable(plan.protocol));
    }
    upstream.is_done();
    house.close();
    upstream
}

#[test]
fn a_certificate_that_is_not_the_servers_ends_it_before_the_first_octet() {
    for protocol in PROTOCOLS {
        let mut scripts: Vec<Script> = Certificate::BAD.map(|bad| vec![Step::NoTls(bad)]).into();
        scripts.push(scripts[0].clone());
        let upstream = are_unavailable(&Plan::new(protocol), scripts);
        assert_eq!(upstream.heard(), b"");
    }
}

#[test]
fn a_bad_certificate_behind_starttls_ends_it_as_well() {
    for protocol in PROTOCOLS {
        let clear = |name: &str, bad| {
            let mut script = in_clear(protocol, name, offer(protocol));
            let yes = match protocol {
                Protocol::Imap => "TAG OK\r\n",
                Protocol::Pop3 => "+OK\r\n",
                Protocol::Smtp => "220 x\r\n",
            };
            script.extend([hear(starttls(protocol)), say(yes), Step::NoTls(bad)]);
            script
        };
        let mut scripts: Vec<Script> = Certificate::BAD.map(|bad| clear("vm", bad)).into();
        scripts.insert(0, clear("[127.0.0.1]", Certificate::WrongName));
        let upstream = are_unavailable(&with_starttls(protocol), scripts);
        assert!(!upstream.heard_a_token());
    }
}

fn with_starttls(protocol: Protocol) -> Plan {
    Plan {
        starttls: true,
        ..Plan::new(protocol)
    }
}

/// From the greeting to this list, without TLS.
fn in_clear(protocol: Protocol, name: &str, list: &str) -> Script {
    match protocol {
        Protocol::Imap => vec![say("* OK x\r\n"), hear("TAG CAPABILITY"), say(list)],
        Protocol::Pop3 => vec![say("+OK x\r\n"), hear("CAPA"), say(list)],
        Protocol::Smtp => vec![say("220 x\r\n"), hear(format!("EHLO {name}")), say(list)],
    }
}

/// A list that offers TLS, and a login in clear beside it.
fn offer(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "* CAPABILITY STARTTLS SASL-IR AUTH=XOAUTH2\r\nTAG OK\r\n",
        Protocol::Pop3 => "+OK\r\nSTLS\r\nSASL XOAUTH2\r\n.\r\n",
        Protocol::Smtp => "250-x\r\n250-AUTH XOAUTH2\r\n250 STARTTLS\r\n",
    }
}

fn starttls(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "TAG STARTTLS",
        Protocol::Pop3 => "STLS",
        Protocol::Smtp => "STARTTLS",
    }
}

#[test]
fn a_greeting_that_is_none_gets_no_token() {
    for (protocol, greetings) in [
        (
            Protocol::Imap,
            vec![
                "* PREAUTH [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi alice\r\n",
                "* BYE [UNAVAILABLE] later\r\n",
                "* NO x\r\n",
                "HTTP/1.1 400 Bad Request\r\n\r\n",
                "\0\0\0\0\r\n",
            ],
        ),
        (
            Protocol::Pop3,
            vec![
                "-ERR [SYS/TEMP] x\r\n",
                "HTTP/1.1 400 Bad Request\r\n\r\n",
                "+OK one\r\n+OK two\r\n",
            ],
        ),
        (
            Protocol::Smtp,
            vec![
                "554 go away\r\n",
                "421 busy\r\n",
                "HTTP/1.1 400 Bad Request\r\n\r\n",
                "220 x\r\n235 in\r\n",
                "22\r\n",
            ],
        ),
    ] {
        let script = |greeting: &&str| vec![Step::Tls, say(*greeting), Step::HearEnd];
        let mut scripts: Vec<Script> = greetings.iter().map(script).collect();
        scripts.push(scripts[0].clone());
        let upstream = are_unavailable(&Plan::new(protocol), scripts);
        assert_eq!(upstream.heard(), b"");
    }
}

#[test]
fn an_answer_before_its_question_gets_no_token() {
    for (protocol, answers) in [
        (
            Protocol::Imap,
            ["mw0000000000000000 OK x\r\na OK x\r\n", "+ \r\n"],
        ),
        (Protocol::Pop3, ["+ \r\n", "+OK in\r\n"]),
        (Protocol::Smtp, ["235 2.7.0 in\r\n", "334 \r\n"]),
    ] {
        let glued = |answer| {
            let mut script = opening(protocol, "vm");
            let Some(Step::Say(list)) = script.pop() else {
                unreachable!("an opening ends with what the server says")
            };
            script.extend([say(list + answer), Step::HearEnd]);
            script
        };
        let plan = Plan::new(protocol);
        let upstream = are_unavailable_at_login(&plan, answers.map(glued).into());
        assert!(!upstream.heard_a_token());
    }
}

#[test]
fn an_answer_under_another_tag_is_no_success() {
    let answered = |answer| {
        [
            opening(Protocol::Imap, ""),
            asked(Protocol::Imap, 1),
            vec![say(answer), Step::HearEnd],
        ]
        .concat()
    };
    let answers = [
        "a OK in\r\n",
        "mw0000000000000000 OK in\r\n",
        "* BYE x\r\n",
        "TAG OKAY\r\n",
    ];
    are_unavailable_at_login(&Plan::new(Protocol::Imap), answers.map(answered).into());
}

#[test]
fn a_server_that_closes_at_any_step_is_out_of_reach() {
    for protocol in PROTOCOLS {
        let whole = [opening(protocol, "vm"), asked(protocol, 1)].concat();
        let mut scripts = Vec::new();
        for steps in 0..=whole.len() {
            for end in [Step::Close, Step::Drop] {
                scripts.push([&whole[..steps], &[end]].concat());
            }
        }
        are_unavailable_at_login(&Plan::new(protocol), scripts);
    }
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    for protocol in PROTOCOLS {
        let plan = Plan {
            more: "[timeouts]\nupstream-login = \"1s\"",
            ..Plan::new(protocol)
        };
        let asked = [opening(protocol, "vm"), asked(protocol, 1)].concat();
        let silences = vec![
            vec![Step::Tls, Step::HearEnd],
            [asked.clone(), vec![Step::HearEnd]].concat(),
            [asked, vec![say("* half a line"), Step::HearEnd]].concat(),
        ];
        are_unavailable_at_login(&plan, silences);
    }
}

#[test]
fn without_starttls_no_token_is_sent_in_clear() {
    for (protocol, list) in [
        (
            Protocol::Imap,
            "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nTAG OK\r\n",
        ),
        (Protocol::Pop3, "+OK\r\nSASL XOAUTH2\r\n.\r\n"),
        (Protocol::Smtp, "250-x\r\n250 AUTH XOAUTH2\r\n"),
    ] {
        let stripped = |name: &str| [in_clear(protocol, name, list), vec![Step::HearEnd]].concat();
        let scripts = vec![stripped("[127.0.0.1]"), stripped("vm")];
        assert!(!are_unavailable(&with_starttls(protocol), scripts).heard_a_token());
    }
}

#[test]
fn a_refusal_of_starttls_or_octets_behind_it_end_the_conversation() {
    for (protocol, answers) in [
        (
            Protocol::Imap,
            [
                "TAG NO x\r\n",
                "TAG BAD x\r\n",
                "TAG OK go\r\n* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n",
                "* PREAUTH\r\n",
            ],
        ),
        (
            Protocol::Pop3,
            [
                "-ERR x\r\n",
                "+OK go\r\n+OK injected\r\n",
                "+ \r\n",
                "hm\r\n",
            ],
        ),
        (
            Protocol::Smtp,
            [
                "454 no\r\n",
                "502 no\r\n",
                "220 go\r\n250-x\r\n250 AUTH XOAUTH2\r\n",
                "354 go\r\n",
            ],
        ),
    ] {
        let answered = |name: &str, answer: &str| {
            let end = vec![hear(starttls(protocol)), say(answer), Step::HearEnd];
            [in_clear(protocol, name, offer(protocol)), end].concat()
        };
        let mut scripts = vec![answered("[127.0.0.1]", answers[0])];
        scripts.extend(answers.map(|answer| answered("vm", answer)));
        assert!(!are_unavailable(&with_starttls(protocol), scripts).heard_a_token());
    }
}

#[test]
fn a_server_that_is_down_is_told_apart_at_ehlo() {
    let upstream = Upstream::start(vec![vec![Step::Drop], vec![Step::Drop]]);
    let house = House::open(&Plan::new(Protocol::Smtp), &upstream);
    let mut program = house.visit();
    program.hears("220 localhost ESMTP mailwicket\r\n");
    program.says("EHLO vm\r\n");
    program.hears("421 4.3.0 Mail server unreachable, try again later. (MW-UPSTREAM)\r\n");
    program.is_hung_up_on();
    house.close();
}

#[test]
fn lines_without_end_are_not_read_to_the_end() {
    for protocol in PROTOCOLS {
        let script = vec![Step::Tls, say("x".repeat(100_000)), Step::HearEnd];
        // The server may find that nobody listens while it still talks.
        let upstream = Upstream::start(vec![script.clone(), script]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets_blindly(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(unavailable(protocol));
        assert!(!upstream.heard_a_token());
        house.close();
    }
}
