//! One program through success and every failure, at the most verbose level: nothing is given away. Every other test looks for the
//! same at its end, but none says so much to one program.

use super::house::{House, Plan};
use super::scripts::*;
use super::upstream::{Script, Step, Upstream, say};
use super::words::{self, PASSWORD, WRONG_PASSWORD};

#[test]
fn no_secret_is_given_away_by_success_or_any_failure() {
    for protocol in PROTOCOLS {
        // A server that repeats what it heard, as some do.
        let (said, refusal) = (words::xoauth2(1), words::token(1));
        let no = match protocol {
            mailwicket::protocol::Protocol::Imap => "TAG BAD what is",
            mailwicket::protocol::Protocol::Pop3 => "-ERR [SYS/TEMP] what is",
            mailwicket::protocol::Protocol::Smtp => "454 what is",
        };
        let echo = |words: &str| -> Script {
            [
                opening(protocol, "vm"),
                asked(protocol, 1),
                vec![say(format!("{no} {words}\r\n")), Step::HearEnd],
            ]
            .concat()
        };
        let nonsense: Script = [
            opening(protocol, "vm"),
            asked(protocol, 1),
            vec![say(format!("{said}\r\n")), Step::HearEnd],
        ]
        .concat();
        let mut scripts = vec![
            visitor(protocol),
            [lets_in(protocol, 1), vec![Step::HearEnd]].concat(),
            nonsense,
        ];
        let mut failures = 1;
        // IMAP's BAD may come from a bad token, so it would be renewed.
        if protocol != mailwicket::protocol::Protocol::Imap {
            scripts.extend([echo(&said), echo(&refusal)]);
            failures += 2;
        }
        let upstream = Upstream::start(scripts);
        let house = House::open(&Plan::new(protocol), &upstream);

        let mut program = house.visit();
        greets(&mut program, protocol);
        program.says(login(protocol, WRONG_PASSWORD));
        program.hears(wrong(protocol));
        program.says(login(protocol, PASSWORD));
        program.hears(welcome(protocol));
        drop(program);

        let mut program = house.visit();
        greets(&mut program, protocol);
        for _ in 0..failures {
            program.says(login(protocol, PASSWORD));
            program.hears(unavailable(protocol));
        }
        drop(program);
        upstream.is_done();

        // A password where a name should be, and other things that people get wrong.
        let mut program = house.visit();
        program.says(format!(
            "{PASSWORD}\r\nLOGIN {PASSWORD}\r\na LOGIN\r\nUSER\r\nPASS {PASSWORD}\r\n"
        ));
        program.falls_silent();
        program.hears_out();
        house.close();
    }
}
