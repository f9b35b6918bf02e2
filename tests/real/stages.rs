//! Dialling and TLS: other ways in, other addresses, and certificates that must not be believed.

use crate::lab::{PROTOCOLS, lab};
use crate::wicket::{PASSWORD, Plan, is_temporary};

#[test]
fn starttls_leads_to_the_same_session() {
    let account = &lab().mailbox("starttls");
    let wicket = Plan::new().starttls().account(account).run();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
}

#[test]
fn both_mechanisms_log_in() {
    for mechanism in ["xoauth2", "oauthbearer"] {
        let account = &lab().mailbox(mechanism);
        let keys = format!("client-id = \"native-public\"\nmechanism = \"{mechanism}\"\n");
        let wicket = Plan::new().provider(&keys).account(account).run();
        for protocol in PROTOCOLS {
            wicket.logs_in(protocol, account);
        }
    }
}

#[test]
fn a_certificate_for_another_host_ends_the_login_before_any_token_is_sent() {
    for way in ["implicit", "starttls"] {
        let account = &lab().mailbox(&format!("elsewhere-{way}"));
        let (ports, logs) = lab().wrongly_named(way);
        let plan = Plan::new().account(account);
        let plan = if way == "starttls" {
            plan.starttls()
        } else {
            plan
        };
        let wicket = plan.upstream(ports).run();
        for protocol in ["imap", "pop3"] {
            let answer = wicket.login(protocol, account, PASSWORD);
            assert!(is_temporary(&answer), "{way}: {answer}");
        }
        // SMTP has no profile to show, so the refusal may come as early as EHLO.
        let answer = smtp_refusal(&mut wicket.connect("smtp"), account);
        assert!(
            answer.starts_with("421 4.3.0") || is_temporary(&answer),
            "{way}: {answer}"
        );
        for log in logs {
            let log = std::fs::read_to_string(log).expect("a log");
            assert!(
                !log.contains("method=XOAUTH2") && !log.contains(account),
                "{log}"
            );
        }
    }
}

fn smtp_refusal(smtp: &mut crate::wire::Wire, account: &str) -> String {
    smtp.smtp_reply("220");
    smtp.send(b"EHLO localhost\r\n");
    let mut line = smtp.line();
    while line.starts_with("250-") {
        line = smtp.line();
    }
    if !line.starts_with("250") {
        return line;
    }
    let response = crate::wicket::plain(account, PASSWORD);
    smtp.send(format!("AUTH PLAIN {response}\r\n").as_bytes());
    smtp.line()
}

#[test]
fn the_second_address_is_tried_when_the_first_refuses() {
    let account = &lab().mailbox("addresses");
    // The lab listens on 127.0.0.1 alone.
    let plan = Plan::new().hosts("::1 localhost\n127.0.0.1 localhost\n");
    let wicket = plan.account(account).run();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
}
