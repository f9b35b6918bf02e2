//! Devices that cannot log in, as real programs without a password play them, before a real submission server.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::lab::lab;
use crate::mail;
use crate::wait::{eventually, program, succeeds};
use crate::wicket::{Plan, Wicket};

/// A mailbox that devices at 127.0.0.1 send as, with two allowed senders.
fn office(name: &str) -> (Wicket, String) {
    let account = lab().mailbox(name);
    let keys = format!(
        "without-login = {{ account = \"{account}\", from = [\"127.0.0.1\"], senders = [\"{account}\", \"*@print.example.test\"] }}\n"
    );
    let wicket = Plan::new().account(&account).smtp_listener(&keys).run();
    (wicket, account)
}

fn swaks(wicket: &Wicket, at: &str, from: &str, to: &str, mark: &str) -> Command {
    let mut swaks = program("swaks");
    swaks.args(["--server", "127.0.0.1", "--local-interface", at]);
    swaks.args(["--port", &wicket.port("smtp").to_string()]);
    swaks.args(["--from", from, "--to", to, "--body", mark]);
    swaks
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_device_without_a_password_sends_as_an_allowed_sender() {
    let (wicket, account) = office("device-swaks");
    for (number, from) in [&account, "Scanner@Print.example.test"].iter().enumerate() {
        let mark = format!("device-swaks-{number}");
        succeeds(&mut swaks(&wicket, "127.0.0.1", from, &account, &mark));
        lab().arrived(&account, &mark);
    }
}

#[test]
fn msmtp_without_auth_sends_a_message_as_it_is() {
    let (wicket, account) = office("device-msmtp");
    let message = mail::plain("device-msmtp");
    let mut msmtp = program("msmtp");
    msmtp.args([
        "--file=/dev/null",
        "--host=127.0.0.1",
        "--tls=off",
        "--auth=off",
    ]);
    msmtp.arg(format!("--port={}", wicket.port("smtp")));
    msmtp.arg(format!("--from={account}")).arg(&account);
    let mut process = msmtp.stdin(Stdio::piped()).spawn().expect("msmtp starts");
    let mut input = process.stdin.take().expect("piped");
    input.write_all(&mail::with_lf(&message)).expect("it reads");
    drop(input);
    assert!(process.wait().expect("it ends").success());
    let arrived = lab().arrived(&account, "device-msmtp");
    assert!(
        arrived.ends_with(&message),
        "{}",
        String::from_utf8_lossy(&arrived)
    );
}

#[test]
fn a_large_message_passes_the_guard_unchanged() {
    let (wicket, account) = office("device-large");
    let message = mail::large(4);
    let file = wicket.folder().join("large.eml");
    std::fs::write(&file, &message).expect("written");
    let mut curl = program("curl");
    curl.args(["-sS", "--mail-from", &account, "--mail-rcpt", &account]);
    curl.arg("--upload-file").arg(file);
    curl.arg(format!("smtp://127.0.0.1:{}", wicket.port("smtp")));
    succeeds(&mut curl);
    let arrived = lab().arrived(&account, "Subject: large");
    assert!(arrived.ends_with(&message), "{} octets", arrived.len());
}

#[test]
fn another_sender_is_refused_and_the_log_says_who_it_was() {
    let (wicket, account) = office("device-denied");
    let sent = swaks(
        &wicket,
        "127.0.0.1",
        "boss@example.test",
        &account,
        "device-denied",
    )
    .output()
    .expect("swaks starts");
    assert!(!sent.status.success());
    let words = words(&sent);
    assert!(
        words.contains("<** 550 5.7.1 This sender is not allowed here. (MW-SENDER)"),
        "{words}"
    );
    eventually("a word about the sender", || {
        let named = "the sender <boss@example.test> is not in";
        wicket.words().contains(named).then_some(())
    });
    assert_eq!(lab().stored(&account).len(), 0);
}

#[test]
fn the_same_device_at_another_address_must_log_in() {
    let (wicket, account) = office("device-elsewhere");
    let sent = swaks(&wicket, "127.0.0.2", &account, &account, "device-elsewhere")
        .output()
        .expect("swaks starts");
    assert!(!sent.status.success());
    assert!(words(&sent).contains("<** 530 5.7.0"), "{}", words(&sent));
    wicket.logs_in("smtp", &account);
    assert_eq!(lab().stored(&account).len(), 0);
}

#[test]
fn devices_change_nothing_for_doctor_and_status() {
    let (wicket, account) = office("device-doctor");
    succeeds(&mut swaks(
        &wicket,
        "127.0.0.1",
        &account,
        &account,
        "device-doctor",
    ));
    for command in [&["doctor", &account][..], &["status"]] {
        let output = wicket.command(command);
        assert!(output.status.success(), "{command:?}: {}", words(&output));
    }
    assert_eq!(wicket.state(&account), "ok");
}
