//! Who connects and has no password: browsers, scanners, and those who never come to the point.

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::scripts::*;
use super::upstream::{Step, Upstream};
use super::words::PASSWORD;

/// A program that nobody but its own start ever made dial.
fn house(protocol: Protocol, more: &'static str) -> (Upstream, House) {
    let upstream = Upstream::start(vec![visitor(protocol)]);
    let plan = Plan {
        more,
        ..Plan::new(protocol)
    };
    let house = House::open(&plan, &upstream);
    (upstream, house)
}

#[test]
fn a_browser_is_hung_up_on_before_its_body_is_read() {
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol, "");
        let body = format!("EHLO x\r\n{}", login(protocol, PASSWORD));
        for request in [
            format!("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{body}"),
            format!("OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{body}"),
            format!("Host: 127.0.0.1\r\n{body}"),
            format!("\x16\x03\x01\x02\x00{body}"),
        ] {
            let mut browser = house.visit();
            browser.says(request);
            let heard = browser.hears_out();
            let lines = heard.iter().filter(|octet| **octet == b'\n').count();
            assert_eq!(lines, 1, "only the greeting: {}", heard.escape_ascii());
        }
        upstream.is_done();
        assert!(!house.log().contains(" login outcome="));
        house.close();
    }
}

#[test]
fn a_line_without_end_costs_nothing() {
    let flood = vec![b'x'; 20 * 1024 * 1024];
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol, "");
        let before = house.memory();
        let mut flooder = house.visit();
        greets(&mut flooder, protocol);
        let said = flooder.floods(&flood);
        assert!(said < flood.len(), "all of it was read");
        let grown = house.memory().saturating_sub(before);
        assert!(grown < 3 * 1024, "memory has grown by {grown} KiB");
        upstream.is_done();
        house.close();
    }
}

#[test]
fn the_time_before_a_login_is_limited_as_a_whole() {
    for (protocol, farewell) in [
        (Protocol::Imap, "* BYE Login timeout.\r\n"),
        (Protocol::Pop3, "-ERR [SYS/TEMP] Login timeout.\r\n"),
        (Protocol::Smtp, "421 4.4.2 Login timeout.\r\n"),
    ] {
        let (upstream, house) = house(protocol, "[timeouts]\nbefore-login = \"1s\"");
        let mut idler = house.visit();
        greets(&mut idler, protocol);
        idler.says("half a comma");
        idler.hears(farewell);
        idler.is_hung_up_on();
        upstream.is_done();
        house.close();
    }
}

#[test]
fn strangers_beyond_the_limit_are_turned_away_and_logged_in_sessions_do_not_count() {
    let limit = "[limits]\nbefore-login = 2\nbefore-login-per-source = 2";
    for (protocol, farewell) in [
        (
            Protocol::Imap,
            "* BYE Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
        (
            Protocol::Pop3,
            "-ERR [IN-USE] Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
        (
            Protocol::Smtp,
            "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
    ] {
        let visit = [lets_in(protocol, 1), vec![Step::HearEnd]].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let plan = Plan {
            more: limit,
            ..Plan::new(protocol)
        };
        let house = House::open(&plan, &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        let mut strangers = [house.visit(), house.visit()];
        strangers
            .iter_mut()
            .for_each(|stranger| greets(stranger, protocol));
        let heard = house.visit().hears_out();
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.ends_with(farewell), "{heard}");
        drop(program);
        upstream.is_done();
        house.close();
    }
}
