//! Many strangers at once, on purpose or not: what they cost is bounded, what they leave behind is nothing, and who has a password
//! gets in meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::mail_program::MailProgram;
use super::scripts::*;
use super::upstream::{Step, Upstream, wait};
use super::words::PASSWORD;

/// Connections at once; a single source may have 64 that have not logged in.
const STRANGERS: usize = 50;

/// One program behind which one login will succeed.
fn house(protocol: Protocol) -> (Upstream, House) {
    let visit = [lets_in(protocol, 1), vec![Step::HearEnd]].concat();
    let upstream = Upstream::start(vec![visitor(protocol), visit]);
    let house = House::open(&Plan::new(protocol), &upstream);
    (upstream, house)
}

/// Somebody who has the password; it takes no longer than a person waits.
#[track_caller]
fn gets_in(house: &House, protocol: Protocol) {
    let begun = Instant::now();
    let mut program = house.visit();
    greets(&mut program, protocol);
    program.says(login(protocol, PASSWORD));
    program.hears(welcome(protocol));
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(5), "it took {waited:?}");
}

/// What is said without an end.
fn floods(protocol: Protocol) -> Vec<Vec<u8>> {
    const FLOOD: usize = 20 * 1024 * 1024;
    let of = |start: &str, octet: u8| [start.as_bytes(), &vec![octet; FLOOD]].concat();
    match protocol {
        Protocol::Imap => vec![
            of("a LOGIN alice ", b'x'),
            of("a ID ", b'('),
            of("a LOGIN {4294967297+}\r\n", b'x'),
            of("a AUTHENTICATE PLAIN\r\n", b'A'),
        ],
        Protocol::Pop3 => vec![of("USER ", b'x'), of("AUTH PLAIN\r\n", b'A')],
        Protocol::Smtp => vec![of("EHLO ", b'x'), of("AUTH PLAIN\r\n", b'A')],
    }
}

#[test]
fn fifty_floods_at_once_cost_next_to_nothing() {
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol);
        let before = house.memory();
        let floods = floods(protocol);
        thread::scope(|scope| {
            for stranger in 0..STRANGERS {
                let flood = &floods[stranger % floods.len()];
                let mut program = house.visit();
                scope.spawn(move || {
                    greets(&mut program, protocol);
                    let said = program.floods(flood);
                    assert!(said < flood.len(), "all of it was read");
                });
            }
        });
        let grown = house.memory().saturating_sub(before);
        assert!(grown < 5 * 1024, "memory has grown by {grown} KiB");
        gets_in(&house, protocol);
        upstream.is_done();
        house.close();
    }
}

/// Everything that a stranger may leave off in the middle of.
fn beginnings(protocol: Protocol) -> Vec<&'static str> {
    match protocol {
        Protocol::Imap => vec![
            "",
            "a LOG",
            "a LOGIN {5}\r\n",
            "a LOGIN {5+}\r\nal",
            "a AUTHENTICATE LOGIN\r\n",
            "a LOGIN nobody nothing\r\n",
            "a LOGIN nobody nothing\r\nb LOGIN nobody nothing\r\n",
        ],
        Protocol::Pop3 => vec![
            "",
            "US",
            "USER nobody\r\n",
            "AUTH PLAIN\r\nAAA",
            "USER nobody\r\nPASS nothing\r\n",
        ],
        Protocol::Smtp => vec![
            "",
            "MAI",
            "AUTH LOGIN\r\n",
            "AUTH PLAIN\r\nAAA",
            "AUTH PLAIN AGEAYg==\r\nQUIT\r\n",
        ],
    }
}

#[test]
fn who_never_comes_to_the_point_keeps_nobody_out() {
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol);
        let beginnings = beginnings(protocol);
        let idlers: Vec<MailProgram> = (0..STRANGERS)
            .map(|stranger| {
                let mut idler = house.visit();
                greets(&mut idler, protocol);
                idler.says(beginnings[stranger % beginnings.len()]);
                idler
            })
            .collect();
        gets_in(&house, protocol);
        drop(idlers);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_storm_of_connections_and_resets_leaves_nothing_behind() {
    const ROUNDS: usize = 40;
    for protocol in PROTOCOLS {
        let (upstream, house) = house(protocol);
        let before = house.descriptors();
        for round in 0..ROUNDS {
            for beginning in beginnings(protocol) {
                let mut program = house.visit();
                if round % 2 == 0 {
                    greets(&mut program, protocol);
                }
                program.says(beginning);
                match round % 4 {
                    0 | 1 => program.breaks_off(),
                    2 => drop(program),
                    _ => program.falls_silent(),
                }
            }
        }
        wait(
            || house.descriptors() <= before,
            "the end of every connection",
        );
        gets_in(&house, protocol);
        upstream.is_done();
        house.close();
    }
}
