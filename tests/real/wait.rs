//! Waiting without guessing how long, and running programs that must not hang.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; nobody waits for it when things go well.
pub const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// Asks until there is an answer or no time left.
pub fn within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// An installed program, stopped when it takes too long.
pub fn program(name: &str) -> Command {
    let found = Command::new("which")
        .arg(name)
        .stdout(Stdio::null())
        .status();
    assert!(
        found.expect("which runs").success(),
        "{name} is missing: run tests/lab/install"
    );
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", name]);
    command.stdin(Stdio::null());
    command
}

/// fetchmail with its files in `home`: for root, all of them would share one lock.
pub fn fetchmail(home: &Path) -> Command {
    let mut command = program("fetchmail");
    command.env("FETCHMAILHOME", home);
    command.args(["--nodetach", "--nosyslog", "--pidfile"]);
    command.arg(home.join("fetchmail.pid"));
    command
}

/// Runs to the end; the words of a failure become the test's.
pub fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}
