//! The real binary: its configuration, its passwords, its consent, its life and its death.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::lab::{PROTOCOLS, Ports, lab};
use crate::mail::contains;
use crate::wait::{eventually, program, succeeds, within};
use crate::wire::Wire;

/// The local password of every account.
pub const PASSWORD: &str = "open-sesame-7";

/// `[timeouts] drain` is 10 s.
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// What differs between the tests.
pub struct Plan {
    accounts: Vec<String>,
    /// The accounts have no tables of their own, but one for their domain.
    is_whole_domain: bool,
    way: &'static str,
    ports: Ports,
    provider: String,
    more: String,
    /// More keys of every listener, and of the one for SMTP.
    listeners: String,
    smtp_listener: String,
    hosts: Option<&'static str>,
    host: String,
    token_url: String,
    console: &'static str,
}

impl Plan {
    /// Implicit TLS to the lab's servers.
    pub fn new() -> Self {
        Self {
            accounts: Vec::new(),
            is_whole_domain: false,
            way: "implicit",
            ports: lab().ports("implicit"),
            provider: "client-id = \"native-public\"\n".to_owned(),
            more: String::new(),
            listeners: String::new(),
            smtp_listener: String::new(),
            hosts: None,
            host: "localhost".to_owned(),
            token_url: lab().fact("token_url").to_owned(),
            console: "off",
        }
    }

    /// Mail servers at another host and with this way to TLS, and another token endpoint.
    pub fn at(mut self, host: &str, way: &'static str, token_url: &str) -> Self {
        self.way = way;
        host.clone_into(&mut self.host);
        token_url.clone_into(&mut self.token_url);
        self
    }

    pub fn starttls(mut self) -> Self {
        self.way = "starttls";
        self.ports = lab().ports("starttls");
        self
    }

    pub fn account(mut self, address: &str) -> Self {
        self.accounts.push(address.to_owned());
        self
    }

    /// One table for the domain in place of one for each account.
    pub fn whole_domain(mut self) -> Self {
        self.is_whole_domain = true;
        self
    }

    /// Other upstream ports than the lab's own.
    pub fn upstream(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Another client than the public one with a human, or more words about the provider.
    pub fn provider(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.provider);
        self
    }

    /// More tables at the end of the configuration.
    pub fn with(mut self, more: &str) -> Self {
        self.more.push_str(more);
        self
    }

    /// More keys of every listener.
    pub fn listeners(mut self, keys: &str) -> Self {
        self.listeners.push_str(keys);
        self
    }

    /// More keys of the listener for SMTP.
    pub fn smtp_listener(mut self, keys: &str) -> Self {
        self.smtp_listener.push_str(keys);
        self
    }

    /// With a web console.
    pub fn console(mut self) -> Self {
        self.console = "127.0.0.1:0";
        self
    }

    /// The hosts file that the daemon sees.
    pub fn hosts(mut self, text: &'static str) -> Self {
        self.hosts = Some(text);
        self
    }

    /// Writes it all down and sets the local passwords; nobody is authorised and nothing runs.
    pub fn lay_out(&self) -> Wicket {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let wicket = Wicket {
            config: folder.path().join("mailwicket.toml"),
            hosts: self.hosts.map(|text| {
                let path = folder.path().join("hosts");
                fs::write(&path, text).expect("written");
                path
            }),
            folder,
            daemon: None,
            ports: BTreeMap::new(),
        };
        fs::write(&wicket.config, self.text()).expect("written");
        for account in &self.accounts {
            wicket.add_password(account);
        }
        wicket
    }

    /// Laid out and running, with nobody's consent.
    pub fn run_unauthorised(&self) -> Wicket {
        let mut wicket = self.lay_out();
        wicket.start();
        wicket
    }

    /// Laid out, every account authorised, and running.
    pub fn run(&self) -> Wicket {
        let mut wicket = self.lay_out();
        for account in &self.accounts {
            wicket.authorize(account);
        }
        wicket.start();
        wicket
    }

    fn text(&self) -> String {
        let lab = lab();
        let mut text = format!(
            "state-dir = \"state\"\n\n[console]\nlisten = \"{}\"\n\n[provider.lab]\n{}\
             authorize-url = \"{}\"\ntoken-url = \"{}\"\nca-file = \"{}\"\n",
            self.console,
            self.provider,
            lab.fact("authorize_url"),
            self.token_url,
            lab.fact("ca_file"),
        );
        if !self.provider.contains("scopes") {
            text.push_str("scopes = [\"openid\", \"offline_access\", \"email\", \"mail\"]\n");
        }
        let way = self.way;
        for (protocol, port) in &self.ports {
            let host = &self.host;
            let endpoint = format!("{{ host = \"{host}\", port = {port}, tls = \"{way}\" }}");
            writeln!(text, "{protocol} = {endpoint}").expect("a string");
        }
        for protocol in self.ports.keys() {
            let table = "provider = \"lab\"\nlisten = [\"127.0.0.1:0\"]";
            let smtp = if *protocol == "smtp" {
                &self.smtp_listener
            } else {
                ""
            };
            let keys = format!("{table}\n{}\n{smtp}", self.listeners);
            writeln!(text, "\n[[listener]]\nprotocol = \"{protocol}\"\n{keys}").expect("a string");
        }
        let domain = format!("*@{}", lab.fact("domain"));
        let tables = match self.is_whole_domain {
            true => std::slice::from_ref(&domain),
            false => &self.accounts,
        };
        for account in tables {
            let table = format!("address = \"{account}\"\nprovider = \"lab\"");
            writeln!(text, "\n[[account]]\n{table}").expect("a string");
        }
        text + "\n" + &self.more
    }
}

/// One mailwicket with a directory of its own.
pub struct Wicket {
    folder: tempfile::TempDir,
    config: PathBuf,
    hosts: Option<PathBuf>,
    daemon: Option<Daemon>,
    ports: BTreeMap<String, u16>,
}

/// A child that does not outlive a test that fails.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Daemon {
    process: Child,
    words: Arc<Mutex<String>>,
}

impl Wicket {
    /// A place for the files of this test's mail programs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self, protocol: &str) -> u16 {
        *self.ports.get(protocol).expect("a running daemon")
    }

    pub fn connect(&self, protocol: &str) -> Wire {
        Wire::connect(self.port(protocol))
    }

    /// Everything the daemon has said.
    pub fn words(&self) -> String {
        let daemon = self.daemon.as_ref().expect("a running daemon");
        daemon.words.lock().expect("no test panics here").clone()
    }

    // ---- commands ----

    fn binary(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwicket"));
        command.arg("--config").arg(&self.config);
        command
    }

    /// A command of the binary, to its end.
    pub fn command(&self, words: &[&str]) -> Output {
        let mut command = self.binary();
        command.args(words).stdin(Stdio::null());
        command.output().expect("the binary runs")
    }

    pub fn add_password(&self, account: &str) {
        let mut command = self.binary();
        command.args(["password", "add", account, "--name", "test", "--stdin"]);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary runs");
        let mut input = process.stdin.take().expect("piped");
        writeln!(input, "{PASSWORD}").expect("it reads");
        drop(input);
        let output = process.wait_with_output().expect("it ends");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "password add: {words}");
    }

    /// Gets consent: reads the sign-in address and follows it as a browser does.
    pub fn authorize(&self, account: &str) {
        self.authorize_by(account, "browser", |url, _| self.browse(account, url));
    }

    /// Gets consent by `method`: `person` is handed the sign-in address and the input of the command.
    pub fn authorize_by(&self, account: &str, method: &str, person: impl FnOnce(&str, ChildStdin)) {
        let mut command = self.binary();
        command.args(["authorize", account, "--no-open", "--method", method]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded(command.spawn().expect("the binary runs"));
        let input = process.0.stdin.take().expect("piped");
        let mut lines = BufReader::new(process.0.stdout.take().expect("piped")).lines();
        let url = lines.find_map(|line| line.ok().filter(|line| line.starts_with("http")));
        person(&url.expect("authorize prints a sign-in address"), input);
        lines.for_each(drop);
        let status = process.0.wait().expect("it ends");
        assert!(status.success(), "authorize {account}: {status}");
    }

    /// Gets consent on another device: `person` is handed the code.
    pub fn authorize_on_device(&self, account: &str, person: impl FnOnce(&str)) {
        let (done, said) = self.sign_in_on_device(account, person);
        assert!(done, "authorize {account}: {said}");
    }

    /// The same when it must fail; what is said.
    pub fn refused_on_device(&self, account: &str, person: impl FnOnce(&str)) -> String {
        let (done, said) = self.sign_in_on_device(account, person);
        assert!(!done, "authorize {account}: {said}");
        said
    }

    fn sign_in_on_device(&self, account: &str, person: impl FnOnce(&str)) -> (bool, String) {
        let mut command = self.binary();
        command.args(["authorize", account, "--method", "device"]);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded(command.spawn().expect("the binary runs"));
        let said = Arc::new(Mutex::new(String::new()));
        let all_said = collect(process.0.stderr.take().expect("piped"), Arc::clone(&said));
        let mut lines = BufReader::new(process.0.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        assert!(line().starts_with("http"), "an address comes first");
        person(&line());
        let status = process.0.wait().expect("it ends");
        all_said.join().expect("its words");
        let said = said.lock().expect("nobody panics with it").clone();
        (status.success(), said)
    }

    /// A command that is given something on its input: whether it was done, and what it said.
    pub fn command_with_input(
        &self,
        words: &[&str],
        give: impl FnOnce(ChildStdin),
    ) -> (bool, String) {
        let mut command = self.binary();
        command.args(words).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary runs");
        give(process.stdin.take().expect("piped"));
        let output = process.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    }

    /// Whether these octets are in any file beside the configuration or below.
    pub fn has_on_disk(&self, octets: &[u8]) -> bool {
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if contains(&fs::read(path).expect("a file"), octets) => return true,
                    false => {}
                }
            }
        }
        false
    }

    /// A browser with a cookie jar; the provider signs in whom the hint names.
    fn browse(&self, account: &str, url: &str) {
        let hint = format!("&login_hint={account}");
        let hint = if url.contains("login_hint=") {
            ""
        } else {
            &hint
        };
        let jar = self.folder().join(format!("cookies-{account}"));
        let mut curl = program("curl");
        curl.args(["-sSL", "--fail-with-body", "-c"]).arg(&jar);
        curl.arg("-b").arg(&jar).arg(format!("{url}{hint}"));
        succeeds(&mut curl);
        fs::remove_file(jar).expect("curl made a jar");
    }

    /// What `status --json` says about an account's state.
    pub fn state(&self, account: &str) -> String {
        let state = self.status(account)["state"].clone();
        state.as_str().expect("a state").to_owned()
    }

    /// Returns when mailwicket, too, knows that the access token is over: it counts whole seconds from the answer.
    pub fn wait_for_expiry(&self, account: &str) {
        eventually("the end of the access token", || {
            let end = self.token_ends(account);
            end.is_none_or(|end| end < jiff::Timestamp::now())
                .then_some(())
        });
    }

    /// When the access token ends, as mailwicket has it.
    pub fn token_ends(&self, account: &str) -> Option<jiff::Timestamp> {
        let end = self.status(account)["expires-at"].clone();
        serde_json::from_value(end).expect("a time")
    }

    fn status(&self, account: &str) -> serde_json::Value {
        let output = self.command(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let accounts = status["accounts"].as_array().expect("accounts");
        let line = accounts.iter().find(|line| line["account"] == account);
        line.expect("a line about the account").clone()
    }

    // ---- life ----

    /// A configuration without a provider, a listener or an account.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let config = folder.path().join("mailwicket.toml");
        let text = "# Everything is at its default but these.\nstate-dir = \"state\"\n\n[console]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(&config, text).expect("written");
        Self {
            config,
            hosts: None,
            folder,
            daemon: None,
            ports: BTreeMap::new(),
        }
    }

    /// Starts the daemon and waits until every listener is bound.
    pub fn start(&mut self) {
        self.spawn();
        self.ports = eventually("the listeners", || self.bound());
    }

    /// Starts the daemon and waits until its console is served.
    pub fn start_console(&mut self) {
        self.spawn();
        eventually("the console", || {
            self.words().contains("the console is open").then_some(())
        });
    }

    fn spawn(&mut self) {
        let mut command = match &self.hosts {
            None => self.binary(),
            Some(hosts) => self.binary_with_hosts(hosts),
        };
        command
            .arg("run")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary runs");
        let words = Arc::new(Mutex::new(String::new()));
        collect(process.stderr.take().expect("piped"), Arc::clone(&words));
        self.daemon = Some(Daemon { process, words });
    }

    /// The same binary in a mount namespace where /etc/hosts is another file.
    fn binary_with_hosts(&self, hosts: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"");
        command.arg(hosts).arg(env!("CARGO_BIN_EXE_mailwicket"));
        command.arg("--config").arg(&self.config);
        command
    }

    fn bound(&mut self) -> Option<BTreeMap<String, u16>> {
        let words = self.words();
        let daemon = self.daemon.as_mut().expect("just started");
        let ended = daemon.process.try_wait().expect("a child");
        assert!(ended.is_none(), "mailwicket run ended: {words}");
        let ports: BTreeMap<_, _> = words.lines().filter_map(listening).collect();
        (ports.len() == PROTOCOLS.len()).then_some(ports)
    }

    /// Changes a word of the configuration, and has the daemon take it up.
    pub fn reload_with(&self, old: &str, new: &str) {
        let text = fs::read_to_string(&self.config).expect("a configuration");
        fs::write(&self.config, text.replace(old, new)).expect("written");
        let taken_up = || self.words().matches("configuration taken up").count();
        let before = taken_up();
        self.hang_up();
        eventually("the reload", || (taken_up() > before).then_some(()));
    }

    /// Writes more to the end of the configuration, and has the daemon read it again.
    pub fn reload_with_more(&self, more: &str) {
        let mut file = fs::File::options().append(true).open(&self.config);
        let file = file.as_mut().expect("the configuration");
        file.write_all(more.as_bytes()).expect("written");
        self.hang_up();
    }

    fn hang_up(&self) {
        let daemon = self.daemon.as_ref().expect("a running daemon");
        let pid = daemon.process.id().to_string();
        succeeds(Command::new("kill").args(["-HUP", &pid]));
    }

    /// As a service manager does.
    pub fn stop(&mut self) {
        self.daemon.take().expect("a running daemon").stop();
    }

    /// As a power cut would.
    pub fn kill_9(&mut self) {
        let mut daemon = self.daemon.take().expect("a running daemon");
        daemon.process.kill().expect("a child");
        daemon.process.wait().expect("a child");
    }

    // ---- logins, and what came of them ----

    /// The answer of one login, whatever it is.
    pub fn login(&self, protocol: &str, account: &str, password: &str) -> String {
        let mut wire = self.connect(protocol);
        log_in(&mut wire, protocol, account, password)
    }

    /// A session after a login that must work.
    pub fn session(&self, protocol: &str, account: &str) -> Wire {
        let mut wire = self.connect(protocol);
        let answer = log_in(&mut wire, protocol, account, PASSWORD);
        assert!(is_success(&answer), "{answer}\n{}", self.words());
        wire
    }

    pub fn logs_in(&self, protocol: &str, account: &str) {
        drop(self.session(protocol, account));
    }
}

impl Drop for Wicket {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            if std::thread::panicking() {
                let words = daemon.words.lock().map(|words| words.clone());
                eprintln!("--- mailwicket\n{}", words.unwrap_or_default());
            }
            daemon.stop();
        }
    }
}

impl Daemon {
    fn stop(&mut self) {
        let pid = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        let ended = within(DRAINED_WITHIN, || self.process.try_wait().ok().flatten());
        if ended.is_none() {
            self.process.kill().ok();
        }
        drop(asked);
        self.process.wait().expect("a child");
    }
}

/// Keeps what the daemon says, line by line.
/// Ends when the process has said everything.
fn collect(stderr: ChildStderr, words: Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut words = words.lock().expect("nobody panics with it");
            words.push_str(&line);
            words.push('\n');
        }
    })
}

/// `… listening imap 127.0.0.1:1143 provider=lab`
fn listening(line: &str) -> Option<(String, u16)> {
    let (_, rest) = line.split_once("listening ")?;
    let mut words = rest.split_whitespace();
    let protocol = words.next()?;
    let port = words.next()?.rsplit_once(':')?.1.parse().ok()?;
    Some((protocol.to_owned(), port))
}

/// Logs in on a fresh connection; the last line of the answer.
pub fn log_in(wire: &mut Wire, protocol: &str, account: &str, password: &str) -> String {
    match protocol {
        "imap" => {
            wire.line();
            wire.send(format!("a LOGIN {account} {password}\r\n").as_bytes());
            wire.imap_until("a").pop().expect("a line")
        }
        "pop3" => {
            wire.line();
            wire.send(format!("USER {account}\r\n").as_bytes());
            wire.line();
            wire.send(format!("PASS {password}\r\n").as_bytes());
            wire.line()
        }
        _ => {
            wire.smtp_reply("220");
            wire.smtp("EHLO localhost", "250");
            wire.send(format!("AUTH PLAIN {}\r\n", plain(account, password)).as_bytes());
            wire.line()
        }
    }
}

/// The response of SASL PLAIN, in base64.
pub fn plain(account: &str, password: &str) -> String {
    BASE64.encode(format!("\0{account}\0{password}"))
}

pub fn is_success(answer: &str) -> bool {
    ["a OK", "+OK", "235"]
        .iter()
        .any(|start| answer.starts_with(start))
}

/// What a mail program must hear when it may try again later.
pub fn is_temporary(answer: &str) -> bool {
    let starts = ["a NO [UNAVAILABLE]", "-ERR [SYS/TEMP]", "454 4.7.0"];
    starts.iter().any(|start| answer.starts_with(start))
}

/// What a mail program must hear when the password is wrong.
pub fn is_wrong_password(answer: &str) -> bool {
    let starts = ["a NO [AUTHENTICATIONFAILED]", "-ERR [AUTH]", "535 5.7.8"];
    starts.iter().any(|start| answer.starts_with(start))
}
