//! A device whose password nobody knows is adopted, and nobody touches the device.

use std::process::{Command, Output};

use crate::lab::lab;
use crate::mail;
use crate::wait::{eventually, program, succeeds};
use crate::wicket::{PASSWORD, Plan, Wicket};

/// What the device has had for years.
const OF_THE_DEVICE: &str = "typed-in-2009";

fn swaks(wicket: &Wicket, account: &str, password: &str, mark: &str) -> Command {
    let mut swaks = program("swaks");
    swaks.args(["--server", "127.0.0.1", "--auth", "LOGIN"]);
    swaks.args(["--port", &wicket.port("smtp").to_string()]);
    swaks.args(["--auth-user", account, "--auth-password", password]);
    swaks.args(["--from", account, "--to", account]);
    // swaks ends the text with a line end of its own.
    let message = String::from_utf8(mail::plain(mark)).expect("text");
    let file = wicket.folder().join(format!("{mark}.eml"));
    std::fs::write(&file, message.strip_suffix("\r\n").expect("lines")).expect("written");
    swaks.arg("--data").arg(format!("@{}", file.display()));
    swaks
}

fn is_refused(output: &Output) -> bool {
    let words = String::from_utf8_lossy(&output.stdout);
    !output.status.success() && words.contains("535 5.7.8")
}

fn listed(wicket: &Wicket, account: &str) -> String {
    let output = wicket.command(&["password", "list", account]);
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

fn line_of(list: &str, name: &str) -> Option<String> {
    let mut lines = list.lines();
    let line = lines.find(|line| line.split_whitespace().next() == Some(name));
    line.map(str::to_owned)
}

#[test]
fn a_device_that_was_never_registered_is_adopted_with_the_password_it_has() {
    let account = &lab().mailbox("learning");
    let wicket = Plan::new().account(account).run();
    let stranger = |mark| swaks(&wicket, account, OF_THE_DEVICE, mark).output();
    assert!(is_refused(&stranger("too-early").expect("swaks runs")));

    let learn = "password learn --name scanner --from 127.0.0.1 --protocol smtp";
    let words: Vec<_> = learn.split(' ').chain([account.as_str()]).collect();
    assert!(wicket.command(&words).status.success());
    assert!(line_of(&listed(&wicket, account), "(learning)").is_some());

    // A known password leaves the window open, an unknown one closes it.
    wicket.logs_in("smtp", account);
    succeeds(&mut swaks(&wicket, account, OF_THE_DEVICE, "adopted"));
    lab().arrived(account, "adopted");
    let other = swaks(&wicket, account, "another-one", "too-late").output();
    assert!(is_refused(&other.expect("swaks runs")));
    succeeds(&mut swaks(&wicket, account, OF_THE_DEVICE, "as-ever"));
    lab().arrived(account, "as-ever");

    let list = listed(&wicket, account);
    assert!(line_of(&list, "(learning)").is_none(), "{list}");
    let scanner = line_of(&list, "scanner").expect("a line");
    assert!(scanner.contains("smtp from 127.0.0.1"), "{scanner}");
    let log = wicket.words();
    assert!(log.contains("learned the password"), "{log}");
    for secret in [OF_THE_DEVICE, "another-one", PASSWORD] {
        assert!(!log.contains(secret) && !list.contains(secret));
    }
}

#[test]
fn the_list_tells_when_and_from_where_a_learned_password_was_last_used() {
    let account = &lab().mailbox("learning-used");
    let wicket = Plan::new().account(account).run();
    let learn = ["password", "learn", account, "--from", "127.0.0.1"];
    assert!(wicket.command(&learn).status.success());
    succeeds(&mut swaks(&wicket, account, OF_THE_DEVICE, "first"));
    let used = eventually("the last use", || {
        line_of(&listed(&wicket, account), "learned").filter(|line| line.contains("last used"))
    });
    assert!(used.ends_with("Z from 127.0.0.1 over smtp"), "{used}");
    let never = line_of(&listed(&wicket, account), "test").expect("a line");
    assert!(never.ends_with("not used yet"), "{never}");
}
