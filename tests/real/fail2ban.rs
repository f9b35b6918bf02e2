//! fail2ban reads what the binary prints, with the filter of `dist/`.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::lab::{PROTOCOLS, lab};
use crate::wait::{eventually, program, succeeds};
use crate::wicket::{PASSWORD, Plan, Wicket, log_in, plain};
use crate::wire::Wire;

/// Login names that would be somebody else's failure, or a line of their own, if they were taken as they are.
const FORGED: [&str; 3] = [
    "x\" source=198.51.100.1 port=1 listener=1 account=- stage=password login=\"y",
    "x source=198.51.100.2 WARN login outcome=refused code=X protocol=imap source=198.51.100.3",
    "\\\" mailwicket[1]: \u{2028}2026-01-01T00:00:00Z  WARN login outcome=refused\u{202e}",
];

/// The addresses that the filter finds in a text, one for each line that it takes for a refused login.
fn found(folder: &Path, log: &str) -> Vec<String> {
    let file = folder.join("log");
    fs::write(&file, log).expect("written");
    let filter = "dist/fail2ban/filter.d/mailwicket.conf";
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join(filter);
    let mut regex = program("fail2ban-regex");
    regex.args(["--out", "ip"]).arg(&file).arg(filter);
    let words = succeeds(&mut regex);
    let words = String::from_utf8(words.stdout).expect("addresses");
    words.lines().map(str::to_owned).collect()
}

fn refused(wicket: &Wicket, source: [u8; 4], protocol: &str, login: &str) {
    let mut wire = Wire::connect_from(source, wicket.port(protocol));
    if protocol == "smtp" {
        wire.smtp_reply("220");
        wire.smtp("EHLO localhost", "250");
        wire.smtp(&format!("AUTH PLAIN {}", plain(login, "wrong")), "535");
    } else {
        log_in(&mut wire, protocol, login, "wrong");
    }
}

/// Any name at all, which only base64 can carry.
fn refused_under(wicket: &Wicket, source: [u8; 4], login: &str) {
    let mut wire = Wire::connect_from(source, wicket.port("imap"));
    wire.line();
    let response = BASE64.encode(format!("\0{login}\0wrong"));
    wire.send(format!("a AUTHENTICATE PLAIN {response}\r\n").as_bytes());
    wire.imap_until("a");
}

#[test]
fn fail2ban_finds_every_refused_login_with_its_address_and_nothing_else() {
    let account = &lab().mailbox("fail2ban");
    let stranger = &lab().mailbox("fail2ban-unauthorised");
    let plan = Plan::new()
        .account(account)
        .account(stranger)
        .with("[limits]\nfailed-logins-per-minute = 4\n");
    let mut wicket = plan.lay_out();
    wicket.authorize(account);
    wicket.start();
    // Neither successes, nor what is the provider's or the administrator's affair.
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
        wicket.login(protocol, stranger, PASSWORD);
    }
    let mut expected = Vec::new();
    for (protocol, last) in PROTOCOLS.into_iter().zip(11..) {
        let source = [127, 0, 0, last];
        for login in [account, "nobody@example.test"] {
            refused(&wicket, source, protocol, login);
            expected.push(format!("127.0.0.{last}"));
        }
    }
    // The last one is refused unseen.
    for _ in 0..5 {
        refused(&wicket, [127, 0, 0, 20], "imap", account);
        expected.push("127.0.0.20".to_owned());
    }
    for login in FORGED {
        refused_under(&wicket, [127, 0, 0, 21], login);
        expected.push("127.0.0.21".to_owned());
    }
    let log = eventually("a line for every refused login", || {
        let log = wicket.words();
        (log.matches("outcome=refused code=MW-").count() >= expected.len()).then_some(log)
    });
    assert!(log.contains("outcome=refused code=MW-THROTTLED"), "{log}");
    assert!(log.contains("outcome=failed code=MW-CONSENT"), "{log}");
    assert_eq!(found(wicket.folder(), &log), expected, "{log}");
    // The same as syslog writes it to a file, in its old and new form, and as fail2ban writes an entry of the journal.
    let prefixed = |prefix: &str| -> String {
        let lines = log.lines().map(|line| format!("{prefix}{line}\n"));
        lines.collect()
    };
    for prefix in [
        "Nov 24 18:12:06 box mailwicket[99]: ",
        "2026-11-24T18:12:06.123456+00:00 box mailwicket[99]: ",
        "box mailwicket[99]: ",
    ] {
        assert_eq!(found(wicket.folder(), &prefixed(prefix)), expected);
    }
}
