//! Guesses, too many sessions, and the line that every login leaves in the log.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::mail_program::MailProgram;
use super::scripts::*;
use super::upstream::{Step, Upstream, wait};
use super::words::{ALICE, PASSWORD, WRONG_PASSWORD};

/// A server that lets in so many, one after the other or at once, and hears each out.
fn upstream(protocol: Protocol, logins: usize) -> Upstream {
    let visit = [lets_in(protocol, 1), vec![Step::HearEnd]].concat();
    let visits = std::iter::repeat_n(visit, logins);
    Upstream::start(std::iter::once(visitor(protocol)).chain(visits).collect())
}

fn logs_in(program: &mut MailProgram, protocol: Protocol) {
    greets(program, protocol);
    program.says(login(protocol, PASSWORD));
    program.hears(welcome(protocol));
}

/// Does it for all protocols at once, because it takes its time.
fn for_each(test: impl Fn(Protocol) + Sync) {
    thread::scope(|scope| {
        for protocol in PROTOCOLS {
            let test = &test;
            scope.spawn(move || test(protocol));
        }
    });
}

#[test]
fn guesses_beyond_the_limit_are_refused_unseen_and_lock_nobody_else_out() {
    for_each(|protocol| {
        let upstream = upstream(protocol, 3);
        let plan = Plan {
            more: "[limits]\nfailed-logins-per-minute = 2\nfailed-logins = 9",
            ..Plan::new(protocol)
        };
        let house = House::open(&plan, &upstream);
        let mut before = house.visit();
        logs_in(&mut before, protocol);
        let mut guesser = house.visit();
        greets(&mut guesser, protocol);
        for _ in 0..3 {
            let begun = Instant::now();
            guesser.says(login(protocol, WRONG_PASSWORD));
            guesser.hears(wrong(protocol));
            assert!(begun.elapsed() >= Duration::from_secs(1));
        }
        // From elsewhere, and from the same address with the password that was right before.
        let mut elsewhere = house.visit_from(Ipv4Addr::new(127, 0, 0, 2));
        logs_in(&mut elsewhere, protocol);
        let begun = Instant::now();
        let mut again = house.visit();
        logs_in(&mut again, protocol);
        assert!(begun.elapsed() < Duration::from_secs(1));
        drop((before, guesser, elsewhere, again));
        upstream.is_done();
        wait(|| house.logins().len() == 6, "six logins");
        let codes: Vec<_> = house
            .logins()
            .iter()
            .map(|line| line.split(' ').nth(1).unwrap().to_owned())
            .collect();
        let expected = ["-", "MW-PASSWORD", "MW-PASSWORD", "MW-THROTTLED", "-", "-"];
        assert_eq!(codes, expected.map(|code| format!("code={code}")));
        house.close();
    });
}

#[test]
fn a_stranger_hears_and_waits_the_same_for_a_wrong_password_and_an_unknown_login_when_throttled() {
    let upstream = upstream(Protocol::Imap, 0);
    let plan = Plan {
        more: "[limits]\nfailed-logins-per-minute = 1\nfailed-logins = 9",
        ..Plan::new(Protocol::Imap)
    };
    let house = House::open(&plan, &upstream);
    thread::scope(|scope| {
        for name in [ALICE, "nobody@example.com"] {
            let house = &house;
            scope.spawn(move || {
                let mut guesser = house.visit();
                greets(&mut guesser, Protocol::Imap);
                for seconds in [1, 1, 1, 2] {
                    let begun = Instant::now();
                    guesser.says(format!("a LOGIN {name} {WRONG_PASSWORD}\r\n"));
                    guesser.hears(wrong(Protocol::Imap));
                    assert_eq!(begun.elapsed().as_secs(), seconds, "{name}");
                }
            });
        }
    });
    upstream.is_done();
    house.close();
}

#[test]
fn every_login_leaves_one_line_whatever_becomes_of_it() {
    for_each(|protocol| {
        let upstream = upstream(protocol, 1);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut good = house.visit();
        logs_in(&mut good, protocol);
        let mut guesser = house.visit_from(Ipv4Addr::new(127, 0, 0, 9));
        greets(&mut guesser, protocol);
        guesser.says(login(protocol, WRONG_PASSWORD));
        guesser.hears(wrong(protocol));
        // Gone before the answer, which takes a second.
        guesser.says(login(protocol, WRONG_PASSWORD));
        let is_read = || house.log().matches("stage=dialogue outcome=\"ok\"").count() == 3;
        wait(is_read, "the third login");
        guesser.breaks_off();
        wait(|| house.logins().len() == 3, "three lines");
        drop(good);
        upstream.is_done();
        let port = |line: &str| {
            let word = line.split(' ').find(|word| word.starts_with("port="));
            word.unwrap().to_owned()
        };
        let lines: Vec<_> = house
            .logins()
            .iter()
            .map(|line| line.replace(&format!(" {}", port(line)), ""))
            .collect();
        let listener = house.address;
        let wrong = format!(
            "protocol={protocol} source=127.0.0.9 listener={listener} account=- stage=password login=\"{ALICE}\""
        );
        assert_eq!(
            lines,
            [
                format!(
                    "outcome=ok code=- protocol={protocol} source=127.0.0.1 listener={listener} account={ALICE} stage=login login=\"{ALICE}\""
                ),
                format!("outcome=refused code=MW-PASSWORD {wrong}"),
                format!("outcome=refused code=MW-ABORTED {wrong}"),
            ]
        );
        house.close();
    });
}

#[test]
fn a_session_beyond_the_accounts_number_waits_and_gets_the_place_that_becomes_free() {
    for_each(|protocol| {
        let upstream = upstream(protocol, 3);
        let plan = Plan {
            account: "max-upstream = 1",
            ..Plan::new(protocol)
        };
        let house = House::open(&plan, &upstream);
        let mut first = house.visit();
        logs_in(&mut first, protocol);
        let mut second = house.visit();
        greets(&mut second, protocol);
        second.says(login(protocol, PASSWORD));
        wait(
            || house.log().matches("stage=password outcome=\"ok\"").count() == 2,
            "the second password",
        );
        // It has not been let in, and is as soon as the first has gone, however that went.
        assert_eq!(house.logins().len(), 1);
        drop(first);
        second.hears(welcome(protocol));
        second.falls_silent();
        second.is_hung_up_on();
        let mut third = house.visit();
        logs_in(&mut third, protocol);
        drop(third);
        upstream.is_done();
        house.close();
    });
}

#[test]
fn a_session_for_which_no_place_becomes_free_is_told_to_come_back() {
    for_each(|protocol| {
        let upstream = upstream(protocol, 1);
        let plan = Plan {
            account: "max-upstream = { imap = 1, pop3 = 1, smtp = 1 }",
            ..Plan::new(protocol)
        };
        let house = House::open(&plan, &upstream);
        let mut first = house.visit();
        logs_in(&mut first, protocol);
        let mut second = house.visit();
        greets(&mut second, protocol);
        second.says(login(protocol, PASSWORD));
        let words = "Too many connections, try again later. (MW-LIMIT)\r\n";
        match protocol {
            Protocol::Imap => second.hears(format!("a NO [LIMIT] {words}")),
            Protocol::Pop3 => second.hears(format!("+OK\r\n-ERR [IN-USE] {words}")),
            Protocol::Smtp => {
                second.hears(format!("421 4.7.0 {words}"));
                second.is_hung_up_on(); // as 421 promises
            }
        }
        wait(|| house.logins().len() == 2, "two logins");
        let line = house.logins().pop().unwrap();
        assert!(line.starts_with("outcome=failed code=MW-LIMIT"), "{line}");
        let advice = format!("max-upstream = {{ {protocol} = 1 }}");
        assert!(line.contains(&advice), "{line}");
        drop((first, second));
        upstream.is_done();
        house.close();
    });
}
