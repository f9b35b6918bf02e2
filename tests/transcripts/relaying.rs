//! After the login: every octet, in order, once, both ways, to the end.

use std::thread;

use mailwicket::protocol::Protocol;

use super::house::{House, Plan};
use super::scripts::*;
use super::upstream::{Step, Upstream, hear, say};
use super::words::PASSWORD;

const MEBIBYTE: usize = 1024 * 1024;

/// Octets of every kind, the same for the same seed.
fn octets(mut seed: u64, count: usize) -> Vec<u8> {
    let mut next = || {
        // xorshift: even enough, and no lines, NULs or dots are spared.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_mebibyte_each_way_at_once_arrives_unchanged_and_a_half_closed_side_still_hears() {
    for protocol in PROTOCOLS {
        let (up, down) = (octets(7, MEBIBYTE), octets(11, MEBIBYTE));
        let talk = vec![
            Step::Exchange(down.clone(), up.clone()),
            Step::HearEnd,
            say("last words"),
            Step::Close,
        ];
        let visit = [lets_in(protocol, 1), talk].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        let mut mouth = program.twin();
        let speaking = thread::spawn(move || {
            mouth.says(&up);
            mouth.falls_silent();
        });
        assert!(program.reads(MEBIBYTE) == down);
        program.hears("last words");
        program.is_hung_up_on();
        speaking.join().unwrap();
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_server_that_closes_without_a_word_takes_nothing_back() {
    for protocol in PROTOCOLS {
        let down = octets(5, 300_000);
        let talk = vec![Step::Exchange(down.clone(), Vec::new()), Step::Drop];
        let visit = [lets_in(protocol, 1), talk].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        assert!(program.hears_out() == down);
        drop(program);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_server_that_takes_its_leave_is_followed_by_the_end_of_the_session() {
    for protocol in PROTOCOLS {
        let talk = vec![hear("x QUIT"), say("x BYE\r\n"), Step::Close, Step::HearEnd];
        let visit = [lets_in(protocol, 1), talk].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        program.says("x QUIT\r\n");
        program.hears("x BYE\r\n");
        program.is_hung_up_on();
        drop(program);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn message_data_keeps_its_dots_line_ends_and_octets() {
    let data = b"x\n.\ny\r\n.\nz\r.\r\n..dots\r\n\r\n.\r\n\0.\r\n\xff\xfe\r\r\n.\r"
        .iter()
        .copied()
        .chain(std::iter::repeat_n(b'l', 2000))
        .collect::<Vec<u8>>();
    for protocol in PROTOCOLS {
        let talk = vec![
            Step::Exchange(b"354 \n\0".to_vec(), data.clone()),
            Step::HearEnd,
        ];
        let visit = [lets_in(protocol, 1), talk].concat();
        let upstream = Upstream::start(vec![visitor(protocol), visit]);
        let house = House::open(&Plan::new(protocol), &upstream);
        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        program.hears(b"354 \n\0");
        program.says(&data);
        drop(program);
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_mailbox_that_is_refused_behind_its_login_is_explained_in_the_log_and_passed_on_as_it_came() {
    let talk = vec![
        hear("a2 SELECT INBOX"),
        say("a2 BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n"),
        Step::Close,
    ];
    let visit = [lets_in(Protocol::Imap, 1), talk].concat();
    let upstream = Upstream::start(vec![visitor(Protocol::Imap), visit]);
    let house = House::open(&Plan::new(Protocol::Imap), &upstream);
    let mut program = house.visit();
    greets(&mut program, Protocol::Imap);
    program.says(login(Protocol::Imap, PASSWORD));
    program.hears(welcome(Protocol::Imap));
    program.says("a2 SELECT INBOX\r\n");
    program.hears(
        "a2 BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n",
    );
    program.is_hung_up_on();
    upstream.is_done();
    let log = house.log();
    assert!(log.contains("may not open this mailbox"), "{log}");
    house.close();
}
