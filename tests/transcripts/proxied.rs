//! Listeners behind a proxy: the PROXY protocol, from whom it is expected and from whom not.

use std::net::Ipv4Addr;

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::scripts::*;
use super::upstream::{Step, Upstream, hear, wait};
use super::words::PASSWORD;

/// An address of this machine that is no proxy.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The addresses behind the proxy are other machines'.
const PROXIED: &str =
    "proxy-protocol-from = [\"127.0.0.1\"]\nallow-plaintext-from = [\"192.0.2.0/24\"]";

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 143\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\x0a\0\0\x01\x30\x39\0\x8f\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn house(protocol: Protocol, listener: &'static str, more: &'static str) -> (Upstream, House) {
    let upstream = Upstream::start(vec![visitor(protocol)]);
    let plan = Plan {
        listener,
        more,
        ..Plan::new(protocol)
    };
    let house = House::open(&plan, &upstream);
    (upstream, house)
}

#[test]
fn the_address_in_the_header_is_the_one_that_counts() {
    for protocol in PROTOCOLS {
        let visit = || [lets_in(protocol, 1), vec![hear("x COMMAND"), Step::HearEnd]].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit(), visit()]);
        let plan = Plan {
            listener: PROXIED,
            ..Plan::new(protocol)
        };
        let house = House::open(&plan, &upstream);
        for header in [TEXT, BINARY] {
            let mut program = house.visit();
            program.drips(header);
            greets(&mut program, protocol);
            program.says(login(protocol, PASSWORD) + "x COMMAND\r\n");
            program.hears(welcome(protocol));
        }
        upstream.is_done();
        let source = "source=192.0.2.7 port=12345";
        wait(|| house.logins().len() == 2, "two logins");
        let lines = house.logins();
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("outcome=ok") && line.contains(source)),
            "{lines:?}"
        );
        house.says("source=192.0.2.7:12345");
        assert!(!house.log().contains("source=127.0.0.1"), "{}", house.log());
        house.close();
    }
}

#[test]
fn a_proxy_must_say_whose_connection_it_is() {
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol, PROXIED, "");
        let mut program = house.visit();
        program.says("EHLO vm\r\n");
        program.is_hung_up_on();
        house.says("what it sent is no PROXY protocol header");
        let mut silent = house.visit();
        silent.is_hung_up_on();
        house.says("it has sent no PROXY protocol header in time");
        wait(
            || house.log().matches("MW-PROXY").count() == 2,
            "two words about them",
        );
        // Others come without one.
        greets(&mut house.visit_from(ELSEWHERE), protocol);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn health_checks_are_no_news() {
    let (upstream, house) = house(Protocol::Imap, PROXIED, "");
    let warnings = |house: &House| house.log().matches(" WARN ").count();
    let before = warnings(&house);
    drop(house.visit());
    house.says("the proxy left without a word, as health checks do");
    let mut check = house.visit();
    check.says(LOCAL);
    greets(&mut check, Protocol::Imap);
    drop(check);
    house.says("left without logging in");
    assert_eq!(warnings(&house), before, "{}", house.log());
    upstream.is_done();
    house.close();
}

#[test]
fn limits_are_those_of_the_address_behind_the_proxy() {
    let limits = "[limits]\nbefore-login = 4\nbefore-login-per-source = 1";
    let (upstream, house) = house(Protocol::Imap, PROXIED, limits);
    let visit = |source: &str| {
        let mut program = house.visit();
        program.says(format!("PROXY TCP4 {source} 10.0.0.1 1 143\r\n"));
        program
    };
    let mut first = visit("192.0.2.1");
    greets(&mut first, Protocol::Imap);
    let mut second = visit("192.0.2.2");
    greets(&mut second, Protocol::Imap);
    let mut third = visit("192.0.2.1");
    greets(&mut third, Protocol::Imap);
    let heard = String::from_utf8(first.hears_out()).unwrap();
    assert!(heard.ends_with("(MW-LIMIT)\r\n"), "{heard}");
    // Those that have not said who they are do not count for a source, but they count, and go first where they are most.
    let mut silent: Vec<_> = (0..3).map(|_| house.visit()).collect();
    silent[0].is_hung_up_on();
    greets(&mut visit("192.0.2.3"), Protocol::Imap);
    silent[1].is_hung_up_on();
    drop((second, third));
    upstream.is_done();
    house.close();
}

#[test]
fn a_header_from_somebody_else_is_named_with_its_remedy() {
    for protocol in PROTOCOLS {
        for (listener, from) in [("", Ipv4Addr::LOCALHOST), (PROXIED, ELSEWHERE)] {
            let (upstream, house) = house(protocol, listener, "");
            for header in [TEXT, BINARY] {
                let mut program = house.visit_from(from);
                program.says(header);
                program.hears_out();
            }
            let remedy =
                format!("if this peer is your proxy, write: proxy-protocol-from = [\"{from}\"]");
            let told = || house.log().matches(&remedy).count() == 2;
            wait(told, "two words about the header");
            upstream.is_done();
            house.close();
        }
    }
}

#[test]
fn a_header_that_nobody_expects_is_named_where_tls_begins_with_the_first_octet_too() {
    for header in [TEXT, BINARY] {
        let (upstream, house) = house(Protocol::Imap, r#"tls = "implicit""#, "");
        let mut program = house.visit();
        program.says(header);
        program.is_hung_up_on();
        house.says("code=\"MW-PROXY\"");
        house.says("proxy-protocol-from = [");
        upstream.is_done();
        house.close();
    }
}
