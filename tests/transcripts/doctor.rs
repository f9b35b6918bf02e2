//! `doctor` before mail servers that fail at one step each.

use mailwicket::protocol::Protocol;
use serde_json::Value;

use super::certificates::Certificate;
use super::house::{self, Plan};
use super::scripts::{asked, opening, yes};
use super::upstream::{Script, Step, Upstream, hear, say};
use super::words::ALICE;

/// Everything up to a login that succeeds.
fn welcomed(protocol: Protocol) -> Script {
    let login = vec![say(yes(protocol))];
    [opening(protocol, "[127.0.0.1]"), asked(protocol, 1), login].concat()
}

/// The steps that `doctor --json` tells, and whether it was content.
fn examined(plan: &Plan, upstream: &Upstream, more: &[&str]) -> (Vec<Value>, bool) {
    let words = [&["doctor", ALICE, "--json"], more].concat();
    let output = house::command(plan, upstream.port, &words);
    let text = String::from_utf8(output.stdout).unwrap();
    let steps = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let steps: Vec<Value> = steps.collect();
    upstream.is_done();
    let fails = steps.iter().any(|step| step["ok"] == false);
    assert_eq!(output.status.code(), Some(i32::from(fails)), "{text}");
    (steps, !fails)
}

fn words<'a>(step: &'a Value, name: &str) -> &'a str {
    step[name].as_str().unwrap_or_else(|| panic!("{step:#}"))
}

/// The one step that failed, which is the last of its server.
#[track_caller]
fn failed(steps: &[Value]) -> &Value {
    let mut failed = steps.iter().filter(|step| step["ok"] == false);
    let first = failed.next().expect("a step that failed");
    assert!(failed.next().is_none(), "{steps:#?}");
    assert!(words(first, "code").starts_with("MW-"), "{first:#}");
    assert!(!words(first, "remedy").is_empty(), "{first:#}");
    first
}

#[test]
fn every_step_is_told_with_the_same_fields() {
    let good_bye = [hear("a LOGOUT"), say("a OK bye\r\n"), Step::HearEnd];
    let script = [
        welcomed(Protocol::Imap),
        vec![
            hear("a STATUS INBOX (MESSAGES)"),
            say("* STATUS INBOX (MESSAGES 3)\r\na OK done\r\n"),
        ],
        good_bye.to_vec(),
    ];
    let upstream = Upstream::start(vec![script.concat()]);
    let (steps, is_well) = examined(&Plan::new(Protocol::Imap), &upstream, &[]);
    assert!(is_well, "{steps:#?}");
    let told: Vec<_> = steps
        .iter()
        .map(|step| (words(step, "name"), words(step, "stage")))
        .collect();
    assert_eq!(
        told,
        [
            ("account", "config"),
            ("account", "password"),
            ("token", "dns"),
            ("token", "tcp"),
            ("token", "clock"),
            ("token", "token"),
            ("token", "claims"),
            ("imap", "dns"),
            ("imap", "tcp"),
            ("imap", "tls"),
            ("imap", "greeting"),
            ("imap", "login"),
            ("imap", "command"),
        ]
    );
    for step in &steps {
        let fields: Vec<_> = step.as_object().unwrap().keys().collect();
        let expected = [
            "account",
            "code",
            "detail",
            "milliseconds",
            "name",
            "ok",
            "remedy",
            "stage",
            "warning",
        ];
        assert_eq!(fields, expected);
    }
    let detail = |stage: &str| {
        let of_imap = |step: &&Value| step["name"] == "imap" && step["stage"] == stage;
        words(steps.iter().find(of_imap).unwrap(), "detail")
    };
    assert!(detail("tcp").contains("127.0.0.1"), "{}", detail("tcp"));
    assert!(detail("tls").contains("TLS 1.3"), "{}", detail("tls"));
    assert!(
        detail("tls").contains("signed by mailwicket test authority")
            && detail("tls").contains("of `ca-file`"),
        "{}",
        detail("tls")
    );
    assert!(detail("command").ends_with("messages: 3"));
}

#[test]
fn a_login_that_opens_no_mailbox_is_explained() {
    let script = [
        welcomed(Protocol::Imap),
        vec![
            hear("a STATUS INBOX (MESSAGES)"),
            say(
                "a BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n",
            ),
            Step::Close,
        ],
    ];
    let upstream = Upstream::start(vec![script.concat()]);
    let (steps, _) = examined(&Plan::new(Protocol::Imap), &upstream, &[]);
    let step = failed(&steps);
    assert_eq!(
        (words(step, "name"), words(step, "stage")),
        ("imap", "command")
    );
    assert!(words(step, "detail").contains("User is authenticated but not connected"));
    assert!(words(step, "remedy").contains("Full Access"), "{step:#}");
}

#[test]
fn a_refused_token_is_told_with_what_the_server_said_and_what_may_help() {
    let refusal = vec![
        say("+ eyJzdGF0dXMiOiI0MDEifQ==\r\n"),
        hear(""),
        say("TAG NO AUTHENTICATE failed.\r\n"),
        Step::HearEnd,
    ];
    let script = [
        opening(Protocol::Imap, ""),
        asked(Protocol::Imap, 1),
        refusal,
    ];
    let upstream = Upstream::start(vec![script.concat()]);
    let (steps, _) = examined(&Plan::new(Protocol::Imap), &upstream, &[]);
    let step = failed(&steps);
    assert_eq!(words(step, "stage"), "login");
    assert!(
        words(step, "detail").ends_with("AUTHENTICATE failed."),
        "{step:#}"
    );
    assert!(words(step, "remedy").contains("New-ServicePrincipal"));
}

#[test]
fn a_certificate_that_is_not_believed_is_shown_and_no_token_is_sent() {
    for (certificate, said, remedy) in [
        (Certificate::Expired, "ended on 2020-01-02", "renew"),
        (Certificate::NotYetValid, "begins on 2199-01-01", "clock"),
        (
            Certificate::UnknownAuthority,
            "worth nothing, whom this machine does not trust: a firewall that inspects TLS",
            "`ca-file`",
        ),
        (Certificate::SelfSigned, "signed itself", "`ca-file`"),
        (
            Certificate::WrongName,
            "another host than localhost",
            "`host`",
        ),
    ] {
        let upstream = Upstream::start(vec![vec![Step::NoTls(certificate)]]);
        let (steps, _) = examined(&Plan::new(Protocol::Imap), &upstream, &[]);
        let step = failed(&steps);
        assert_eq!(words(step, "stage"), "tls", "{certificate:?}");
        assert!(words(step, "detail").contains(said), "{step:#}");
        assert!(words(step, "remedy").contains(remedy), "{step:#}");
        assert!(!upstream.heard_a_token());
    }
}

#[test]
fn a_certificate_behind_starttls_is_shown_too() {
    let script = vec![
        say("220 mail.example.com ESMTP\r\n"),
        hear("EHLO [127.0.0.1]"),
        say("250-mail.example.com\r\n250 STARTTLS\r\n"),
        hear("STARTTLS"),
        say("220 go\r\n"),
        Step::NoTls(Certificate::UnknownAuthority),
    ];
    let upstream = Upstream::start(vec![script]);
    let plan = Plan {
        starttls: true,
        ..Plan::new(Protocol::Smtp)
    };
    let (steps, _) = examined(&plan, &upstream, &[]);
    let step = failed(&steps);
    assert_eq!(words(step, "stage"), "tls");
    assert!(words(step, "detail").contains("signed by somebody else"));
}

/// A server that lets in and takes RSET, and then this.
fn smtp(then: Vec<Step>) -> Script {
    let reset = vec![hear("RSET"), say("250 ok\r\n")];
    [welcomed(Protocol::Smtp), reset, then].concat()
}

fn leaves() -> Vec<Step> {
    vec![hear("QUIT"), say("221 bye\r\n"), Step::HearEnd]
}

#[test]
fn a_sender_that_is_not_allowed_is_told_without_sending() {
    let denied = vec![
        hear(format!("MAIL FROM:<{ALICE}>")),
        say("550 5.7.60 SMTP; Client does not have permissions to send as this sender\r\n"),
    ];
    let upstream = Upstream::start(vec![smtp([denied, leaves()].concat())]);
    let (steps, _) = examined(&Plan::new(Protocol::Smtp), &upstream, &["--send"]);
    let step = failed(&steps);
    assert_eq!(words(step, "stage"), "sender");
    assert!(words(step, "remedy").contains("Send As"), "{step:#}");
    assert!(!String::from_utf8_lossy(&upstream.heard()).contains("RCPT"));
}

#[test]
fn a_message_that_is_refused_is_told_with_the_right_that_is_missing() {
    let taken = vec![
        hear(format!("MAIL FROM:<{ALICE}>")),
        say("250 ok\r\n"),
        hear("RSET"),
        say("250 ok\r\n"),
    ];
    let refused = vec![
        hear(format!("MAIL FROM:<{ALICE}>")),
        say("250 ok\r\n"),
        hear(format!("RCPT TO:<{ALICE}>")),
        say("250 ok\r\n"),
        hear("DATA"),
        say("554 5.2.252 SendAsDenied; alice is not allowed to send as alice\r\n"),
    ];
    let upstream = Upstream::start(vec![
        smtp([taken, leaves()].concat()),
        [welcomed(Protocol::Smtp), refused, leaves()].concat(),
    ]);
    let (steps, _) = examined(&Plan::new(Protocol::Smtp), &upstream, &["--send"]);
    let step = failed(&steps);
    assert_eq!(words(step, "stage"), "send");
    // The step before did not know it, and does not say so.
    let sender = steps.iter().find(|step| step["stage"] == "sender").unwrap();
    assert!(words(sender, "detail").ends_with("whether the message goes out shows with --send"));
    assert!(words(step, "detail").contains("SendAsDenied"), "{step:#}");
    assert!(words(step, "remedy").contains("Send As"), "{step:#}");
}

#[test]
fn people_read_a_line_for_each_step_and_the_next_step_under_a_failure() {
    let upstream = Upstream::start(vec![vec![Step::NoTls(Certificate::Expired)]]);
    let plan = Plan::new(Protocol::Imap);
    let output = house::command(&plan, upstream.port, &["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("FAIL"));
    let failure = lines.next().expect("a failure");
    assert!(
        failure.contains("  imap     tls       MW-UPSTREAM: "),
        "{text}"
    );
    assert!(lines.next().unwrap().starts_with("      -> "), "{text}");
    assert_eq!(lines.next(), None, "{text}");
}
