//! Devices that cannot log in: known by their addresses, limited in their senders.

use std::net::Ipv4Addr;

use mailwicket::protocol::Protocol::Smtp;

use super::house::{House, Plan};
use super::mail_program::MailProgram;
use super::scripts::*;
use super::sign_in::Then;
use super::upstream::{Script, Step, Upstream, hear, say};
use super::words::PASSWORD;

/// An address of this machine that is in no list.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const ANY_SENDER: &str =
    r#"without-login = { account = "alice@example.com", from = ["127.0.0.1", "192.0.2.0/24"] }"#;
const FEW_SENDERS: &str = r#"without-login = { account = "alice@example.com", from = ["127.0.0.1"], senders = ["scanner@example.com", "*@print.example.com"] }"#;

const NOT_ALLOWED: &str = "550 5.7.1 This sender is not allowed here. (MW-SENDER)\r\n";
const LOG_IN_FIRST: &str =
    "530 5.7.0 Authentication required; switch it on in the mail program (MW-NOAUTH)\r\n";

fn plan(listener: &'static str) -> Plan {
    Plan {
        listener,
        ..Plan::new(Smtp)
    }
}

fn house(listener: &'static str, visits: &[Script]) -> (Upstream, House) {
    let mut scripts = vec![visitor(Smtp)];
    scripts.extend_from_slice(visits);
    let upstream = Upstream::start(scripts);
    let house = House::open(&plan(listener), &upstream);
    (upstream, house)
}

fn greeted(mut device: MailProgram) -> MailProgram {
    greets(&mut device, Smtp);
    device
}

#[test]
fn a_device_sends_without_a_login_and_octet_for_octet() {
    for listener in [ANY_SENDER, FEW_SENDERS] {
        let visit = vec![
            hear("mail from:<Scanner@example.com> SIZE=3"),
            hear("RCPT TO:<a@b>"),
            say("250 2.1.0 Ok\r\n250-2.1.5 Ok\r\n250 2.1.5 Ok\r\n"),
            hear("DATA"),
            say("354 go\r\n"),
            hear("MAIL FROM:<evil@example.com>"),
            hear("."),
            say("250 queued\r\n"),
            hear("QUIT"),
            say("221 bye\r\n"),
            Step::Close,
        ];
        let (upstream, house) = house(listener, &[[lets_in(Smtp, 1), visit].concat()]);
        let mut device = greeted(house.visit());
        device.says("mail from:<Scanner@example.com> SIZE=3\r\nRCPT TO:<a@b>\r\n");
        device.hears("250 2.1.0 Ok\r\n250-2.1.5 Ok\r\n250 2.1.5 Ok\r\n");
        device.says("DATA\r\n");
        device.hears("354 go\r\n");
        device.says("MAIL FROM:<evil@example.com>\r\n.\r\n");
        device.hears("250 queued\r\n");
        device.says("QUIT\r\n");
        device.hears("221 bye\r\n");
        device.is_hung_up_on();
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_sender_that_is_not_listed_never_reaches_the_mail_server() {
    let first = [lets_in(Smtp, 1), vec![Step::HearEnd, Step::Close]].concat();
    let later = [
        lets_in(Smtp, 1),
        vec![
            hear("MAIL FROM:<a@print.example.com>"),
            hear("RSET"),
            say("250 one\r\n250 two\r\n"),
            Step::HearEnd,
            Step::Close,
        ],
    ]
    .concat();
    let (upstream, house) = house(FEW_SENDERS, &[first, later]);
    let mut device = greeted(house.visit());
    device.says("MAIL FROM:<alice@example.com>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    device.hears(NOT_ALLOWED);
    device.is_hung_up_on();
    let mut device = greeted(house.visit());
    device.says("MAIL FROM:<a@print.example.com>\r\nRSET\r\nMAIL FROM:<a@example.com>\r\n");
    device.hears(format!("250 one\r\n250 two\r\n{NOT_ALLOWED}"));
    device.is_hung_up_on();
    upstream.is_done();
    house.says("the sender <alice@example.com> is not in the listener's list of allowed senders");
    assert!(house.log().contains("MW-SENDER"));
    house.close();
}

#[test]
fn from_another_address_a_login_is_needed_and_from_a_listed_one_it_is_possible() {
    let (upstream, house) = house(
        FEW_SENDERS,
        &[[
            lets_in(Smtp, 1),
            vec![hear("MAIL FROM:<any@where>"), Step::HearEnd],
        ]
        .concat()],
    );
    let mut stranger = greeted(house.visit_from(ELSEWHERE));
    stranger.says("MAIL FROM:<scanner@example.com>\r\nQUIT\r\n");
    stranger.hears(format!("{LOG_IN_FIRST}221 2.0.0 Bye\r\n"));
    // Whoever knows the password is not limited.
    let mut device = greeted(house.visit());
    device.says(login(Smtp, PASSWORD));
    device.hears(welcome(Smtp));
    device.says("MAIL FROM:<any@where>\r\n");
    drop(device);
    upstream.is_done();
    house.close();
}

#[test]
fn a_device_hears_of_trouble_in_the_answer_to_its_mail_and_may_try_again() {
    let good = [
        lets_in(Smtp, 2),
        vec![
            hear("MAIL FROM:<scanner@example.com>"),
            say("250 ok\r\n"),
            Step::HearEnd,
        ],
    ]
    .concat();
    let upstream = Upstream::start(vec![
        visitor(Smtp),
        refuses(Smtp, 1),
        refuses(Smtp, 2),
        good,
    ]);
    let plan = Plan {
        tokens: 2,
        then: Then::More,
        ..plan(FEW_SENDERS)
    };
    let house = House::open(&plan, &upstream);
    let mut device = greeted(house.visit());
    device.says("MAIL FROM:<scanner@example.com>\r\n");
    device.hears("451 4.7.0 Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n");
    device.says("RSET\r\n");
    device.hears("250 2.0.0 Ok\r\n");
    device.says("MAIL FROM:<scanner@example.com>\r\n");
    device.hears("250 ok\r\n");
    drop(device);
    upstream.is_done();
    house.says("(without login)");
    house.close();
}
