//! Nothing that opens a mailbox is ever written down where people look.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::lab::{PROTOCOLS, lab};
use crate::wicket::{PASSWORD, Plan, is_temporary, is_wrong_password, plain};

#[test]
fn the_most_verbose_log_holds_no_secret() {
    let renewed = &lab().mailbox("secrecy-renewed");
    let revoked = &lab().mailbox("secrecy-revoked");
    let wrong = "quite-another-word";
    let plan = Plan::new().account(renewed).account(revoked);
    let wicket = plan
        .with("[log]\nlevel = \"trace,mailwicket=trace\"\n")
        .run();
    let mut secrets = [tokens(renewed), tokens(revoked)].concat();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, renewed);
        let answer = wicket.login(protocol, renewed, wrong);
        assert!(is_wrong_password(&answer), "{answer}");
    }
    lab().control("kill-access-tokens", &json!({"account": renewed}));
    wicket.logs_in("imap", renewed);
    secrets.extend(tokens(renewed));
    lab().control("revoke-grant", &json!({"account": revoked}));
    let answer = wicket.login("imap", revoked, PASSWORD);
    assert!(is_temporary(&answer), "{answer}");

    for password in [PASSWORD, wrong] {
        secrets.push(password.to_owned());
        secrets.push(BASE64.encode(password));
        secrets.push(plain(renewed, password));
    }
    let words = wicket.words();
    assert!(words.contains("TRACE"), "a verbose log: {words}");
    for secret in secrets {
        assert!(!words.contains(&secret), "{secret} is in\n{words}");
    }
}

/// Every token that the provider gave for an account.
pub fn tokens(account: &str) -> Vec<String> {
    let answer = lab().control("tokens", &json!({"account": account}));
    let tokens = answer["tokens"].as_array().expect("a list").iter();
    let tokens = tokens.map(|token| token.as_str().expect("a token").to_owned());
    tokens.collect()
}

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// Ended when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether another process of `nobody` may read what `pid` was started with.
fn lets_others_look(pid: u32) -> bool {
    let mut look = Command::new("cat");
    look.arg(format!("/proc/{pid}/environ"));
    let look = look.uid(NOBODY).gid(NOBODY).output().expect("cat");
    look.status.success()
}

#[test]
fn the_memory_of_the_daemon_is_closed_to_other_processes_of_its_user_and_to_core_dumps() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    // A folder that `nobody` may enter; the one of the build may be closed to it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
    fs::copy(env!("CARGO_BIN_EXE_mailwicket"), place("mailwicket")).expect("a copy");
    let config = "state-dir = \"state\"\n[provider.down]\nclient-id = \"x1\"\nscopes = [\"mail\"]\n\
        token-url = \"http://127.0.0.1:9/token\"\nauthorize-url = \"http://127.0.0.1:9/auth\"\n\
        imap = { host = \"127.0.0.1\", port = 9 }\n\
        [[listener]]\nprotocol = \"imap\"\nprovider = \"down\"\nlisten = \"127.0.0.1:0\"\n";
    fs::write(place("mailwicket.toml"), config).expect("written");

    let ordinary = Command::new("sleep")
        .arg("60")
        .uid(NOBODY)
        .gid(NOBODY)
        .spawn();
    let ordinary = Running(ordinary.expect("sleep"));
    assert!(
        lets_others_look(ordinary.0.id()),
        "an ordinary process does"
    );

    let mut daemon = Command::new("sh");
    daemon
        .args([
            "-c",
            "ulimit -c $(ulimit -H -c) && exec \"$0\" --config \"$1\" run",
        ])
        .args([place("mailwicket"), place("mailwicket.toml")]);
    let daemon = daemon
        .uid(NOBODY)
        .gid(NOBODY)
        .stderr(Stdio::piped())
        .spawn();
    let mut daemon = Running(daemon.expect("mailwicket"));
    let mut words = BufReader::new(daemon.0.stderr.take().expect("piped")).lines();
    let listens = words.find(|line| line.as_ref().expect("text").starts_with("listening "));
    assert!(listens.is_some(), "it runs");

    let pid = daemon.0.id();
    assert!(!lets_others_look(pid));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
    let abort = Command::new("kill")
        .args(["-ABRT", &pid.to_string()])
        .status();
    assert!(abort.expect("kill").success());
    assert!(!daemon.0.wait().expect("its end").core_dumped());
}
