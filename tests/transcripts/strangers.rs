//! Who connects and has no password: browsers, scanners, and those who never come to the point.

use std::time::{Duration, Instant};

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::mail_program::MailProgram;
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
fn the_oldest_stranger_makes_room_for_the_newest_and_logged_in_sessions_stay() {
    let limit = "[limits]\nbefore-login = 2\nbefore-login-per-source = 2";
    for protocol in PROTOCOLS {
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
        let mut strangers = [house.visit(), house.visit(), house.visit()];
        strangers[1..]
            .iter_mut()
            .for_each(|stranger| greets(stranger, protocol));
        let heard = String::from_utf8(strangers[0].hears_out()).unwrap();
        assert!(heard.ends_with(full(protocol)), "{heard}");
        drop(program);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn beyond_all_sessions_nobody_is_let_in() {
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol, "[limits]\nsessions = 1");
        let mut first = house.visit();
        greets(&mut first, protocol);
        let heard = String::from_utf8(house.visit().hears_out()).unwrap();
        assert!(heard.ends_with(full(protocol)), "{heard}");
        upstream.is_done();
        house.close();
    }
}

#[test]
fn whoever_says_good_bye_and_stays_keeps_nobody_out() {
    let limit = "[limits]\nsessions = 3\nbefore-login = 1";
    for (protocol, good_bye) in [
        (Protocol::Imap, "a LOGOUT\r\n"),
        (Protocol::Pop3, "QUIT\r\n"),
        (Protocol::Smtp, "QUIT\r\n"),
    ] {
        let (upstream, house) = house(protocol, limit);
        let mut staying = Vec::new();
        for _ in 0..5 {
            let mut stranger = house.visit();
            greets(&mut stranger, protocol);
            stranger.says(good_bye);
            stranger.hears_out();
            staying.push(stranger);
        }
        drop(staying);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_flood_beyond_all_sessions_is_closed_without_words_after_a_while() {
    let (upstream, house) = house(Protocol::Pop3, "[limits]\nsessions = 1");
    let mut first = house.visit();
    greets(&mut first, Protocol::Pop3);
    // All of them stay, so each good-bye takes a second.
    let mut flood: Vec<_> = (0..300).map(|_| house.visit()).collect();
    let heard: Vec<_> = flood.iter_mut().map(MailProgram::hears_out).collect();
    assert!(heard[0].ends_with(full(Protocol::Pop3).as_bytes()));
    assert!(
        heard.iter().any(Vec::is_empty),
        "each of them took its time"
    );
    upstream.is_done();
    house.close();
}

/// What somebody hears for whom there is no place.
fn full(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "* BYE Too many connections, try again later. (MW-LIMIT)\r\n",
        Protocol::Pop3 => "-ERR [IN-USE] Too many connections, try again later. (MW-LIMIT)\r\n",
        Protocol::Smtp => "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
    }
}

#[test]
fn a_flood_of_connections_that_say_nothing_keeps_nobody_out() {
    for protocol in PROTOCOLS {
        let visit = [lets_in(protocol, 1), vec![Step::HearEnd]].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let flood: Vec<_> = (0..300).map(|_| house.visit()).collect();
        let begun = Instant::now();
        let mut program = house.visit(); // even from the same address
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        assert!(begun.elapsed() < Duration::from_secs(1));
        drop((program, flood));
        upstream.is_done();
        house.close();
    }
}

#[test]
fn who_says_much_and_never_logs_in_is_hung_up_on() {
    for (protocol, idle, answer, farewell) in [
        (
            Protocol::Imap,
            "a NOOP\r\n",
            "a OK ",
            "* BYE Too much was said without a login.\r\n",
        ),
        (
            Protocol::Pop3,
            "CAPA\r\n",
            "+OK ",
            "-ERR Too much was said without a login.\r\n",
        ),
        (
            Protocol::Smtp,
            "NOOP\r\n",
            "250 2.0.0 Ok",
            "421 4.7.0 Too much was said without a login.\r\n",
        ),
    ] {
        let (upstream, house) = house(protocol, "");
        let mut talker = house.visit();
        greets(&mut talker, protocol);
        let mut mouth = talker.twin();
        let flood = idle.repeat(66 * 1024 / idle.len());
        let talking = std::thread::spawn(move || mouth.floods(flood.as_bytes()));
        let heard = String::from_utf8(talker.hears_out()).unwrap();
        talking.join().unwrap();
        let answers = heard.matches(answer).count();
        let allowed = 64 * 1024 / idle.len();
        assert!((allowed - 20..=allowed + 1).contains(&answers), "{answers}");
        assert!(heard.ends_with(farewell), "{protocol}");
        upstream.is_done();
        house.close();
    }
}
