//! The demonstration with the real program, and its sandbox with Python's mail libraries and curl.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mailwicket::demo::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;

const STAGES: [&str; 8] = [
    "accept", "tls", "dialogue", "password", "token", "dial", "login", "relay",
];

/// The program, with a folder of its own for what it writes.
fn demo(place: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwicket"));
    command.arg("demo").env("TMPDIR", place.path());
    for variable in ["MAILWICKET_CONFIG", "STATE_DIRECTORY"] {
        command.env_remove(variable);
    }
    command
}

fn is_empty(place: &TempDir) -> bool {
    std::fs::read_dir(place.path()).unwrap().next().is_none()
}

/// Runs a part of the Python script.
fn python(part: &str, arguments: &Value) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo/clients.py");
    let mut child = Command::new("python3")
        .args(["-W", "ignore"])
        .arg(script)
        .arg(part)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(arguments.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{part}: {words}");
}

#[test]
fn the_round_trip_is_told_stage_by_stage_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let output = demo(&place).arg("--once").output().unwrap();
    let took = start.elapsed();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert_eq!(err, "");
    assert!(took < Duration::from_secs(30), "{took:?}");
    for stage in STAGES {
        let words = out.lines().map(|line| line.split_whitespace().next());
        let told = words.filter(|word| *word == Some(stage));
        assert_eq!(told.count(), 3, "{stage} in\n{out}");
    }
    assert_eq!(
        out.matches("XOAUTH2: the sandbox took the token").count(),
        3
    );
    assert_eq!(out.matches("octet for octet").count(), 2, "{out}");
    assert!(!out.contains('\x1b'), "colours without a terminal");
    assert!(is_empty(&place));
}

/// A demonstration that stays up.
struct Running {
    child: Child,
    /// What it printed until it was ready.
    out: String,
}

impl Running {
    fn start(place: &TempDir) -> Self {
        let mut child = demo(place).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut out = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            out.push_str(&line);
            out.push('\n');
            if line.ends_with("Sessions from here on:") {
                break;
            }
        }
        // What follows is read by nobody, but must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, out }
    }

    /// The words of the line of the access data that begins with this word.
    fn access(&self, word: &str) -> Vec<String> {
        let (_, access) = self.out.split_once("your own mail program").unwrap();
        let mut lines = access.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with(word)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn port(&self, protocol: &str) -> u16 {
        self.access(protocol)[3].parse().unwrap()
    }

    /// Every command that it suggests and that begins with one of these words, as a shell reads it.
    fn commands(&self, words: &[&str]) -> Vec<String> {
        let joined = self.out.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim);
        let is_wanted = |line: &&str| words.iter().any(|word| line.starts_with(word));
        lines.filter(is_wanted).map(str::to_owned).collect()
    }

    fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an interrupt it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_printed_works_as_it_is_printed() {
    let place = tempfile::tempdir().unwrap();
    let running = Running::start(&place);
    let arguments = json!({
        "imap": running.port("IMAP"),
        "pop3": running.port("POP3"),
        "smtp": running.port("SMTP"),
        "password": running.access("password")[1],
    });
    python("plain", &arguments);

    let curl = running.commands(&["printf", "curl"]);
    assert_eq!(curl.len(), 3, "{curl:?}");
    let said: Vec<String> = curl.iter().map(|command| shell(command)).collect();
    assert!(said[1].contains("Hello from curl."), "the newest: {said:?}");
    assert!(
        said[2].contains("Subject: mailwicket demo"),
        "the first: {said:?}"
    );

    let own = running.commands(&[env!("CARGO_BIN_EXE_mailwicket"), "target/"]);
    let of = |word: &str| own.iter().find(|line| line.contains(word)).unwrap();
    assert!(shell(of(" status")).contains("demo@example.test  ok"));
    shell(of(" doctor"));
    assert!(of(" authorize").ends_with("authorize demo@example.test"));

    // A mail program that stays connected delays the end by a moment only.
    let _idle = logged_in(running.port("IMAP"), &running.access("password")[1]);
    let start = Instant::now();
    assert_eq!(running.interrupt(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(is_empty(&place));
}

/// An IMAP session that idles.
fn logged_in(port: u16, password: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let commands = format!("a LOGIN demo@example.test {password}\r\nb SELECT INBOX\r\nc IDLE\r\n");
    stream.get_mut().write_all(commands.as_bytes()).unwrap();
    let mut line = String::new();
    while !line.starts_with('+') {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0);
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_takes_tokens_and_nothing_else() {
    let sandbox = Sandbox::start(Duration::from_secs(60)).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let ca = place.path().join("ca.pem");
    std::fs::write(&ca, &sandbox.ca).unwrap();
    let arguments = json!({
        "imap": sandbox.imap.port(),
        "pop3": sandbox.pop3.port(),
        "smtp": sandbox.smtp.port(),
        "ca": ca,
        "token": sandbox.access_token().unwrap(),
    });
    let script = move || python("token", &arguments);
    tokio::task::spawn_blocking(script).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_s_provider_keeps_the_rules() {
    let sandbox = Sandbox::start(Duration::from_secs(60)).await.unwrap();
    let arguments = json!({
        "issuer": sandbox.issuer,
        "secret": sandbox.client_secret(),
    });
    let script = move || python("provider", &arguments);
    tokio::task::spawn_blocking(script).await.unwrap();
}
