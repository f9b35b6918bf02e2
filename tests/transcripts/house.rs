//! The program itself, with a configuration of its own, its log in hand.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use mailwicket::protocol::Protocol;
use tempfile::TempDir;

use super::certificates;
use super::mail_program::MailProgram;
use super::sign_in::{SignIn, Then};
use super::upstream::{Upstream, wait};
use super::words;

/// How the program is set up, where a test wants it different.
pub struct Plan {
    pub protocol: Protocol,
    pub starttls: bool,
    pub tokens: usize,
    pub then: Then,
    /// More lines of configuration.
    pub more: &'static str,
    /// More keys of the account.
    pub account: &'static str,
    /// The mail server's host.
    pub host: &'static str,
    /// A line about the way out.
    pub egress: String,
    /// Variables that the program gets.
    pub environment: Vec<(&'static str, String)>,
    /// More lines about the listener.
    pub listener: &'static str,
    /// Files beside the configuration.
    pub files: Vec<(&'static str, String)>,
}

impl Plan {
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            starttls: false,
            tokens: 9,
            then: Then::More,
            more: "",
            account: "",
            host: "localhost",
            egress: String::new(),
            environment: Vec::new(),
            listener: "",
            files: Vec::new(),
        }
    }
}

/// A running mailwicket before one mail server.
pub struct House {
    pub address: SocketAddr,
    pub sign_in: SignIn,
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    folder: TempDir,
}

impl House {
    /// Starts the program, and waits until it has asked the mail server for its capabilities.
    pub fn open(plan: &Plan, upstream: &Upstream) -> Self {
        let house = Self::start(plan, upstream.port);
        upstream.has_seen(1);
        let outcomes = [
            "capabilities are known",
            "could not be asked for its capabilities",
        ];
        let is_told = || outcomes.iter().any(|outcome| house.log().contains(outcome));
        wait(is_told, "the mail server's capabilities");
        house
    }

    /// Starts the program.
    pub fn start(plan: &Plan, port: u16) -> Self {
        let sign_in = SignIn::start(plan.tokens, plan.then);
        let (folder, config) = laid_out(plan, port, &sign_in);
        let mut child = program()
            .arg("run")
            .args(["--log-level", "trace,mailwicket=trace", "--color", "never"])
            .arg("--config")
            .arg(&config)
            .env("HOME", folder.path())
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        gather(child.stdout.take().unwrap(), Arc::clone(&log));
        gather(child.stderr.take().unwrap(), Arc::clone(&log));
        let mut house = Self {
            address: ([127, 0, 0, 1], 0).into(),
            sign_in,
            child,
            log,
            folder,
        };
        house.address = house.listens();
        house
    }

    fn listens(&mut self) -> SocketAddr {
        let mut address = None;
        wait(
            || {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "the program has ended:\n{}", self.log());
                address = self.log().lines().find_map(|line| {
                    let words = line.strip_prefix("listening ")?;
                    words.split(' ').nth(1)?.parse().ok()
                });
                address.is_some()
            },
            "the program's address",
        );
        address.unwrap()
    }

    pub fn visit(&self) -> MailProgram {
        MailProgram::connect(self.address)
    }

    /// The lines about logins so far, from the word `outcome` on.
    pub fn logins(&self) -> Vec<String> {
        let log = self.log();
        let fields = log.lines().filter_map(|line| line.split_once(" login "));
        let fields = fields.map(|(_, fields)| fields.to_owned());
        fields
            .filter(|fields| fields.starts_with("outcome="))
            .collect()
    }

    /// Runs a command of the program with the same configuration, and gives what it printed on standard output.
    pub fn command(&self, words: &[&str]) -> String {
        let output = program()
            .args(words)
            .arg("--config")
            .arg(self.file("mailwicket.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Has the program read its configuration again.
    pub fn reload(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(sent.success());
        self.says("configuration taken up");
    }

    /// A file beside the configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A visit from another address of this machine.
    pub fn visit_from(&self, source: Ipv4Addr) -> MailProgram {
        MailProgram::connect_from(source, self.address)
    }

    /// Waits until the log has these words.
    #[track_caller]
    pub fn says(&self, words: &str) {
        wait(|| self.log().contains(words), words);
    }

    /// Everything that the program has printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// Kilobytes of memory that the program has in use.
    pub fn memory(&self) -> usize {
        let status = self.proc("status");
        let status = String::from_utf8_lossy(&status);
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Descriptors that the program has open.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).unwrap().count()
    }

    fn proc(&self, file: &str) -> Vec<u8> {
        fs::read(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// The end of a test: the program is still there, and has given no secret away.
    #[track_caller]
    pub fn close(mut self) {
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "the program has ended"
        );
        assert!(!self.log().contains("panicked"), "a task has panicked");
        let places = [
            ("its log", self.log().into_bytes()),
            ("its arguments", self.proc("cmdline")),
            ("its environment", self.proc("environ")),
        ];
        for secret in words::secrets() {
            for trace in words::traces(&secret) {
                for (place, text) in &places {
                    assert!(
                        !words::contains(text, &trace),
                        "{secret} stands in {place} as {trace}"
                    );
                }
            }
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("the program's log:\n{}", self.log());
        }
    }
}

fn gather(stream: impl Read + Send + 'static, log: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            log.lock().unwrap().append(&mut line);
        }
    });
}

/// A folder with the configuration and what it names.
fn laid_out(plan: &Plan, port: u16, sign_in: &SignIn) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mailwicket.toml");
    fs::write(folder.path().join("ca.pem"), certificates::authority()).unwrap();
    for (name, text) in &plan.files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::write(&config, configuration(plan, port, &sign_in.url)).unwrap();
    (folder, config)
}

/// Another command than `run`, to its end; it has given no secret away.
#[track_caller]
pub fn command(plan: &Plan, port: u16, words: &[&str]) -> Output {
    let sign_in = SignIn::start(plan.tokens, plan.then);
    let (folder, config) = laid_out(plan, port, &sign_in);
    let output = program()
        .args(words)
        .arg("--config")
        .arg(&config)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    for secret in words::secrets() {
        for trace in words::traces(&secret) {
            let is_in = |text: &[u8]| words::contains(text, &trace);
            assert!(
                !is_in(&output.stdout) && !is_in(&output.stderr),
                "{secret} was printed as {trace}"
            );
        }
    }
    output
}

fn configuration(plan: &Plan, port: u16, token_url: &str) -> String {
    let protocol = plan.protocol;
    let tls = if plan.starttls {
        "starttls"
    } else {
        "implicit"
    };
    format!(
        r#"
state-dir = "state"
{more}

[console]
listen = "off"

[provider.x]
client-id = "the-client"
client-secret = "{secret}"
flow = "client-credentials"
token-url = "{token_url}"
scopes = ["mail"]
mechanism = "xoauth2"
ca-file = "ca.pem"
{egress}
{protocol} = {{ host = "{host}", port = {port}, tls = "{tls}" }}

[[listener]]
protocol = "{protocol}"
provider = "x"
listen = ["127.0.0.1:0"]
{listener}

[[account]]
address = "{alice}"
provider = "x"
password-hash = ["{hash}"]
{account}
"#,
        more = plan.more,
        account = plan.account,
        host = plan.host,
        egress = plan.egress,
        listener = plan.listener,
        secret = words::CLIENT_SECRET,
        alice = words::ALICE,
        hash = hash(),
    )
}

/// The password's hash, made by the program once.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut child = program()
            .args(["password", "hash", "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{}", words::PASSWORD).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwicket"));
    for variable in [
        "MAILWICKET_CONFIG",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "STATE_DIRECTORY",
        "NOTIFY_SOCKET",
        "HOME",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(variable);
    }
    command
}
