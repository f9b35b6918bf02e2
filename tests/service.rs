//! The life of `mailwicket run`: start, reload, stop. No provider is reachable here; none is needed.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A configuration in a folder of its own, and perhaps a running service.
struct Service {
    folder: tempfile::TempDir,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
}

impl Service {
    /// With these listeners; each is a protocol and an address.
    fn with(listeners: &[(&str, &str)]) -> Self {
        let service = Self {
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
            log: Arc::default(),
        };
        service.configure(listeners);
        service
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mailwicket.toml")
    }

    fn configure(&self, listeners: &[(&str, &str)]) {
        // Nobody listens on the discard port here, so the provider is down.
        let mut text = String::from(
            r#"state-dir = "state"
[provider.down]
client-id = "x1"
token-url = "http://127.0.0.1:9/token"
authorize-url = "http://127.0.0.1:9/auth"
scopes = ["mail"]
imap = { host = "127.0.0.1", port = 9, tls = "implicit" }
smtp = { host = "127.0.0.1", port = 9, tls = "implicit" }
pop3 = { host = "127.0.0.1", port = 9, tls = "implicit" }
[[account]]
address = "alice@example.com"
provider = "down"
[timeouts]
drain = "1s"
"#,
        );
        for (protocol, address) in listeners {
            text += &format!(
                "[[listener]]\nprotocol = \"{protocol}\"\nprovider = \"down\"\nlisten = \"{address}\"\n"
            );
        }
        fs::write(self.path(), text).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwicket"));
        command.arg("--config").arg(self.path()).args(arguments);
        command
    }

    fn start(&mut self) {
        let mut child = self
            .command(&["run"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("mailwicket");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *log.lock().expect("the log") += &format!("{line}\n");
            }
        });
        self.child = Some(child);
    }

    fn logged(&self, words: &str) -> bool {
        self.log.lock().expect("the log").contains(words)
    }

    fn waits_for(&self, words: &str) {
        let log = || self.log.lock().expect("the log").clone();
        eventually(
            || self.logged(words),
            || format!("no {words:?} in:\n{}", log()),
        );
    }

    /// Where a protocol is listened to, by the newest line that says so.
    fn address(&self, protocol: &str) -> SocketAddr {
        let word = format!("listening {protocol} ");
        self.waits_for(&word);
        let log = self.log.lock().expect("the log").clone();
        let line = log
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(&word))
            .expect("a line");
        line.split(' ')
            .next()
            .expect("an address")
            .parse()
            .expect("an address")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("running").id().to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let child = self.child.as_mut().expect("started");
        eventually(
            || {
                status = child.try_wait().expect("a child");
                status.is_some()
            },
            || "it still runs".to_owned(),
        );
        status.expect("an end")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it has already ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn eventually(mut is_so: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{}", complaint());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The first line that a mail program hears.
fn greeting(address: SocketAddr) -> String {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a line");
    line
}

#[test]
fn a_dead_provider_is_no_reason_not_to_start_and_is_told_as_temporary() {
    let mut service = Service::with(&[
        ("imap", "127.0.0.1:0"),
        ("smtp", "127.0.0.1:0"),
        ("pop3", "127.0.0.1:0"),
    ]);
    service.start();
    assert_eq!(
        greeting(service.address("imap")),
        "* OK mailwicket ready\r\n"
    );
    assert_eq!(
        greeting(service.address("pop3")),
        "+OK mailwicket ready\r\n"
    );
    let mut program = TcpStream::connect(service.address("smtp")).expect("a connection");
    program.set_read_timeout(Some(LIMIT)).expect("a time-out");
    program.write_all(b"EHLO printer\r\n").expect("sent");
    let mut heard = String::new();
    program.read_to_string(&mut heard).expect("an end");
    assert_eq!(
        heard,
        "220 localhost ESMTP mailwicket\r\n421 4.3.0 Mail server unreachable, try again later. (MW-UPSTREAM)\r\n"
    );
}

#[test]
fn an_occupied_port_stops_the_start_with_its_reason_and_nothing_else_is_bound() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("bound").to_string();
    let output = Service::with(&[("imap", "127.0.0.1:0"), ("smtp", &taken)])
        .command(&["run"])
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains(&format!("cannot listen on {taken}")),
        "{words}"
    );
    assert!(!words.contains("listening "), "{words}");
}

#[test]
fn term_ends_it_well_and_tells_who_is_connected() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    service.start();
    let mut program =
        BufReader::new(TcpStream::connect(service.address("imap")).expect("a connection"));
    program
        .get_ref()
        .set_read_timeout(Some(LIMIT))
        .expect("a time-out");
    let mut heard = String::new();
    program.read_line(&mut heard).expect("a greeting");
    service.signal("-TERM");
    program.read_to_string(&mut heard).expect("an end");
    assert!(
        heard.ends_with("* BYE mailwicket is shutting down.\r\n"),
        "{heard}"
    );
    assert!(service.ended().success());
    let status = service
        .command(&["status", "--json"])
        .output()
        .expect("status");
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("\"running\": false"));
}

#[test]
fn hup_takes_a_good_configuration_up_and_leaves_the_old_one_in_force_for_a_bad_one() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    service.start();
    let imap = service.address("imap");
    let old = BufReader::new(TcpStream::connect(imap).expect("a connection"));

    fs::write(service.path(), "[provider.down]\nclient = 1\n").expect("written");
    service.signal("-HUP");
    service.waits_for("mailwicket.toml:2:1");
    service.waits_for("the old one stays in force");
    assert!(greeting(imap).starts_with("* OK"));

    service.configure(&[("imap", "127.0.0.1:0"), ("pop3", "127.0.0.1:0")]);
    service.signal("-HUP");
    service.waits_for("configuration taken up");
    assert!(greeting(service.address("pop3")).starts_with("+OK"));
    assert!(
        greeting(imap).starts_with("* OK"),
        "a listener that stays was never closed"
    );
    assert!(
        !service.logged("shutting down"),
        "a conversation goes on through a reload"
    );
    drop(old);

    service.configure(&[("pop3", "127.0.0.1:0")]);
    service.signal("-HUP");
    eventually(
        || TcpStream::connect(imap).is_err(),
        || "the removed listener still accepts".to_owned(),
    );
}

#[test]
fn status_of_a_running_service_names_every_account_and_listener() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    service.start();
    let imap = service.address("imap").to_string();
    let status = service.command(&["status"]).output().expect("status");
    let lines = String::from_utf8_lossy(&status.stdout);
    assert!(
        lines.contains("alice@example.com  unauthorized  provider down"),
        "{lines}"
    );
    assert!(
        lines.contains("mailwicket authorize alice@example.com"),
        "{lines}"
    );
    assert!(
        lines.contains(&format!("imap {imap}  provider down  tls none  sessions 0")),
        "{lines}"
    );
    assert_eq!(status.status.code(), Some(1), "an account is not ok");
}

#[test]
fn a_second_service_on_the_same_state_folder_is_refused() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    service.start();
    service.address("imap");
    let second = service.command(&["run"]).output().expect("run");
    assert_eq!(second.status.code(), Some(1));
    let words = String::from_utf8_lossy(&second.stderr);
    assert!(words.contains("another mailwicket uses it"), "{words}");
    let status = service
        .command(&["status", "--json"])
        .output()
        .expect("status");
    assert!(String::from_utf8_lossy(&status.stdout).contains("\"running\": true"));
}

#[test]
fn a_mail_program_that_never_logs_in_is_named_in_the_log() {
    let mut service = Service::with(&[("smtp", "127.0.0.1:0")]);
    service.start();
    let mut scanner = TcpStream::connect(service.address("smtp")).expect("a connection");
    scanner
        .write_all(b"HELO scanner\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n")
        .expect("sent");
    let mut heard = String::new();
    scanner.read_to_string(&mut heard).expect("an end");
    assert!(
        heard.contains("530 5.7.0 Authentication required"),
        "{heard}"
    );
    service.waits_for("code=\"MW-NOAUTH\"");
}

#[test]
fn a_login_that_fails_for_another_reason_than_its_password_shows_in_status() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    let added = service
        .command(&["password", "add", "alice@example.com", "--generate"])
        .output()
        .expect("password");
    let password = String::from_utf8(added.stdout).expect("a password");
    service.start();
    let mut program = TcpStream::connect(service.address("imap")).expect("a connection");
    let login = format!(
        "a1 LOGIN alice@example.com {}\r\na2 LOGOUT\r\n",
        password.trim_end()
    );
    program.write_all(login.as_bytes()).expect("sent");
    let mut heard = String::new();
    program.read_to_string(&mut heard).expect("an end");
    assert!(heard.contains("a1 NO [UNAVAILABLE] "), "{heard}");
    let status = service.command(&["status"]).output().expect("status");
    let lines = String::from_utf8_lossy(&status.stdout);
    assert!(
        lines.contains("last login failed") && lines.contains("MW-"),
        "{lines}"
    );
}

impl Service {
    /// What a mail program hears that logs in by IMAP or POP3 and goes.
    fn login(&self, protocol: &str, password: &str) -> String {
        let mut program = TcpStream::connect(self.address(protocol)).expect("a connection");
        let lines = match protocol {
            "imap" => format!("a1 LOGIN alice@example.com {password}\r\na2 LOGOUT\r\n"),
            _ => format!("USER alice@example.com\r\nPASS {password}\r\nQUIT\r\n"),
        };
        program.write_all(lines.as_bytes()).expect("sent");
        let mut heard = String::new();
        program.read_to_string(&mut heard).expect("an end");
        heard
    }

    fn passwords(&self, arguments: &[&str]) -> String {
        let mut words = vec!["password"];
        words.extend(arguments);
        let output = self.command(&words).output().expect("password");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }
}

#[test]
fn a_window_that_is_opened_while_it_runs_lets_one_device_in() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    service.start();
    assert!(
        service
            .login("imap", "as-ever")
            .contains("a1 NO [AUTHENTICATIONFAILED] ")
    );
    service.passwords(&["learn", "alice@example.com", "--from", "127.0.0.1"]);
    // The password is right now; what is missing is the provider.
    assert!(
        service
            .login("imap", "as-ever")
            .contains("a1 NO [UNAVAILABLE] ")
    );
    assert!(
        service
            .login("imap", "another")
            .contains("a1 NO [AUTHENTICATIONFAILED] ")
    );
    service.waits_for("learned the password that was presented");
    assert!(!service.logged("as-ever"));
}

#[test]
fn what_was_used_last_is_written_when_it_stops() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0"), ("pop3", "127.0.0.1:0")]);
    let password = service.passwords(&["add", "alice@example.com"]);
    service.start();
    let list = || service.passwords(&["list", "alice@example.com"]);
    assert!(list().ends_with("not used yet\n"), "{}", list());
    service.login("imap", password.trim_end());
    eventually(|| list().ends_with("from 127.0.0.1 over imap\n"), list);
    // So soon after that write, it stays in memory.
    service.login("pop3", password.trim_end());
    assert!(list().ends_with("over imap\n"), "{}", list());
    service.signal("-TERM");
    service.ended();
    let list = service.passwords(&["list", "alice@example.com"]);
    assert!(list.ends_with("from 127.0.0.1 over pop3\n"), "{list}");
}

#[test]
fn hashes_of_an_htpasswd_file_open_their_account() {
    let mut service = Service::with(&[("imap", "127.0.0.1:0")]);
    let file = service.folder.path().join("users");
    let line = "alice@example.com:$2y$05$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG\n";
    fs::write(&file, line).expect("written");
    let told = service.passwords(&["import", file.to_str().expect("a path")]);
    assert!(told.starts_with("1: alice@example.com: imported"), "{told}");
    service.start();
    assert!(
        service
            .login("imap", "open-sesame-7")
            .contains("a1 NO [UNAVAILABLE] ")
    );
    assert!(
        service
            .login("imap", "open-sesame-8")
            .contains("a1 NO [AUTHENTICATIONFAILED] ")
    );
}
