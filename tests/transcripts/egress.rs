//! Logins through a proxy, to a mail server whose name only the proxy can resolve.

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::logins::{behind, clear, visitor_behind};
use super::proxy::{Proxy, Talk};
use super::scripts::*;
use super::upstream::{Step, Upstream, hear, say, wait};
use super::words::{self, PASSWORD, PROXY_PASSWORD};

/// The mail server's name. No resolver knows it (RFC 6761 §6.4), and its certificate has it.
const HIDDEN: &str = super::certificates::HIDDEN;

/// CONNECT as the program says it.
fn connect(port: u16, login: Option<&str>, answer: &str) -> Talk {
    let login = login.map_or_else(String::new, |login| {
        format!("Proxy-Authorization: Basic {}\r\n", words::base64(login))
    });
    let request = format!(
        "CONNECT {HIDDEN}:{port} HTTP/1.1\r\nHost: {HIDDEN}:{port}\r\nUser-Agent: mailwicket/{}\r\n{login}\r\n",
        env!("CARGO_PKG_VERSION")
    );
    vec![(
        request.into_bytes(),
        format!("{answer}\r\n\r\n").into_bytes(),
    )]
}

/// SOCKS5 with a user and a password (RFC 1928 §3, §4, §6; RFC 1929).
fn socks5(port: u16, granted: u8) -> Talk {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut login = vec![1, length("scanner")];
    login.extend_from_slice(b"scanner");
    login.push(length(PROXY_PASSWORD));
    login.extend_from_slice(PROXY_PASSWORD.as_bytes());
    let mut request = vec![5, 1, 0, 3, length(HIDDEN)];
    request.extend_from_slice(HIDDEN.as_bytes());
    request.extend(port.to_be_bytes());
    vec![
        (vec![5, 2, 0, 2], vec![5, 2]),
        (login, vec![1, 0]),
        (request, vec![5, granted, 0, 1, 0, 0, 0, 0, 0, 0]),
    ]
}

fn hidden(protocol: Protocol, proxy: &Proxy, scheme: &str) -> Plan {
    Plan {
        host: HIDDEN,
        egress: format!(
            "egress = \"{scheme}://scanner:{PROXY_PASSWORD}@127.0.0.1:{}\"",
            proxy.port
        ),
        ..Plan::new(protocol)
    }
}

/// A login, and a line each way.
fn goes_through(plan: &Plan, upstream: &Upstream) {
    let house = House::open(plan, upstream);
    let mut program = house.visit();
    greets(&mut program, plan.protocol);
    program.says(login(plan.protocol, PASSWORD));
    program.hears(welcome(plan.protocol));
    program.says("x COMMAND\r\n");
    program.hears("x ANSWER\r\n");
    drop(program);
    upstream.is_done();
    house.close();
}

fn talk() -> Vec<Step> {
    vec![hear("x COMMAND"), say("x ANSWER\r\n"), Step::HearEnd]
}

/// Two visits, with STARTTLS or without.
fn visits(protocol: Protocol, starttls: bool) -> Vec<Vec<Step>> {
    match starttls {
        true => vec![
            [clear(protocol, "[127.0.0.1]"), visitor_behind(protocol)].concat(),
            [clear(protocol, "vm"), behind(protocol), talk()].concat(),
        ],
        false => vec![visitor(protocol), [lets_in(protocol, 1), talk()].concat()],
    }
}

#[test]
fn a_login_goes_through_connect_and_loses_nothing_of_the_greeting() {
    for protocol in PROTOCOLS {
        for starttls in [false, true] {
            let upstream = Upstream::start(visits(protocol, starttls));
            let login = format!("scanner:{PROXY_PASSWORD}");
            let talk = connect(
                upstream.port,
                Some(&login),
                "HTTP/1.1 200 Connection established\r\nVia: 1.1 a",
            );
            let proxy = Proxy::start(talk, Some(upstream.port));
            let plan = Plan {
                starttls,
                ..hidden(protocol, &proxy, "http")
            };
            goes_through(&plan, &upstream);
            assert_eq!(proxy.opened(), 2);
        }
    }
}

#[test]
fn a_login_goes_through_socks5_and_the_proxy_resolves_the_name() {
    for protocol in PROTOCOLS {
        for starttls in [false, true] {
            let upstream = Upstream::start(visits(protocol, starttls));
            let proxy = Proxy::start(socks5(upstream.port, 0), Some(upstream.port));
            let plan = Plan {
                starttls,
                ..hidden(protocol, &proxy, "socks5")
            };
            goes_through(&plan, &upstream);
            assert_eq!(proxy.opened(), 2);
        }
    }
}

#[test]
fn mail_follows_all_proxy_and_not_https_proxy() {
    let protocol = Protocol::Smtp;
    let upstream = Upstream::start(visits(protocol, true));
    let talk = connect(upstream.port, None, "HTTP/1.0 200 OK");
    let proxy = Proxy::start(talk, Some(upstream.port));
    let plan = Plan {
        starttls: true,
        host: HIDDEN,
        environment: vec![
            ("ALL_PROXY", format!("127.0.0.1:{}", proxy.port)),
            ("HTTPS_PROXY", "127.0.0.1:1".to_owned()),
        ],
        ..Plan::new(protocol)
    };
    goes_through(&plan, &upstream);
    assert_eq!(proxy.opened(), 2);
}

/// What the log says of a login that does not get through, and what the mail program hears.
fn fails(plan: &Plan, answer: &str, said: &[&str]) {
    let house = House::start(plan, 993);
    let mut program = house.visit();
    greets_blindly(&mut program, plan.protocol);
    program.says(login(plan.protocol, PASSWORD));
    program.hears(answer);
    for said in said {
        wait(|| house.log().contains(said), said);
    }
    house.close();
}

const MENDED: &str = "* NO [ALERT] mailwicket: Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n\
                      a NO [CONTACTADMIN] Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n";

#[test]
fn a_proxy_that_refuses_is_named_with_what_to_do() {
    let protocol = Protocol::Imap;
    let login = format!("scanner:{PROXY_PASSWORD}");
    let refusals = [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic",
            MENDED,
            "it does not accept our user name and password",
        ),
        (
            "HTTP/1.1 403 Forbidden",
            MENDED,
            "it refuses to connect to mail.hidden.invalid:993 (403)",
        ),
        (
            "HTTP/1.1 502 Bad Gateway",
            unavailable(protocol),
            "it cannot reach mail.hidden.invalid:993 (502)",
        ),
    ];
    for (answer, heard, said) in refusals {
        let proxy = Proxy::start(connect(993, Some(&login), answer), None);
        let plan = hidden(protocol, &proxy, "http");
        let name = format!("through the proxy http://127.0.0.1:{} (egress)", proxy.port);
        fails(&plan, heard, &[said, &name]);
    }
    let proxy = Proxy::start(socks5(993, 2), None);
    fails(
        &hidden(protocol, &proxy, "socks5"),
        MENDED,
        &["it refuses to connect to mail.hidden.invalid:993 (not allowed by its rules)"],
    );
}

#[test]
fn a_silent_proxy_costs_no_more_than_the_time_for_one_address() {
    let proxy = Proxy::start(vec![(vec![0; 1 << 20], vec![])], None);
    let plan = Plan {
        more: "timeouts = { connect = \"300ms\" }",
        ..hidden(Protocol::Imap, &proxy, "http")
    };
    fails(
        &plan,
        unavailable(Protocol::Imap),
        &["no answer within 300ms"],
    );
}

#[test]
fn who_cannot_get_out_is_told_of_the_proxy_that_tokens_take() {
    let plan = Plan {
        host: HIDDEN,
        environment: vec![("HTTPS_PROXY", "http://proxy.corp:3128".to_owned())],
        ..Plan::new(Protocol::Imap)
    };
    let said = "tokens take the proxy http://proxy.corp:3128 ($HTTPS_PROXY) and mail goes directly";
    fails(&plan, unavailable(Protocol::Imap), &[said]);
}
