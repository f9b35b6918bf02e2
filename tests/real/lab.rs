//! The provider's side: starts `tests/lab/lab.py` once and speaks with what it started.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::mail;
use crate::wait::eventually;
use crate::wire::Wire;

/// The three protocols, as the configuration spells them.
pub const PROTOCOLS: [&str; 3] = ["imap", "pop3", "smtp"];

/// The upstream ports of the three protocols.
pub type Ports = BTreeMap<&'static str, u16>;

/// Servers that stand until this process ends: the lab's input ends with it.
pub struct Lab {
    facts: Value,
    talk: Mutex<Talk>,
    _process: Child,
}

struct Talk {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Talk {
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the lab is there");
        serde_json::from_str(&line).expect("the lab did not start: its words are above")
    }
}

/// The one lab of this test run.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(Lab::start)
}

impl Lab {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is missing: run tests/lab/install");
        let mut talk = Talk {
            commands: process.stdin.take().expect("piped"),
            answers: BufReader::new(process.stdout.take().expect("piped")),
        };
        let facts = talk.answer();
        Self {
            facts,
            talk: Mutex::new(talk),
            _process: process,
        }
    }

    /// What the lab said about itself under this name.
    pub fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().expect("a word of the lab")
    }

    /// The ports of one way to TLS, `implicit` or `starttls`.
    pub fn ports(&self, way: &str) -> Ports {
        ports(&self.facts, way)
    }

    /// A mailbox nobody else uses: the test's own name for it.
    pub fn mailbox(&self, name: &str) -> String {
        format!("{name}@{}", self.fact("domain"))
    }

    /// A command that the lab obeys beside its servers' work.
    fn command(&self, order: &Value) -> Value {
        let mut talk = self.talk.lock().expect("no test panics here");
        writeln!(talk.commands, "{order}").expect("the lab is there");
        let answer = talk.answer();
        assert!(answer.get("error").is_none(), "the lab: {answer}");
        answer
    }

    /// A Postfix that relays through this port of 127.0.0.1 with a plain login; its own address.
    pub fn relay_through(&self, port: u16, user: &str, password: &str) -> String {
        let order = json!({"relay": {"port": port, "user": user, "password": password}});
        self.command(&order)["smtp"]
            .as_str()
            .expect("an address")
            .to_owned()
    }

    /// Servers whose certificate is for another host: their ports, and their logs.
    pub fn wrongly_named(&self, way: &str) -> (Ports, Vec<PathBuf>) {
        static SERVERS: OnceLock<Value> = OnceLock::new();
        let facts = SERVERS.get_or_init(|| self.command(&json!({"wrong-name": true})));
        let logs = facts["logs"].as_array().expect("a list").iter();
        let logs = logs.map(|path| PathBuf::from(path.as_str().expect("a path")));
        (ports(facts, way), logs.collect())
    }

    /// What stands behind the proxies, and the proxies themselves.
    pub fn proxies(&self) -> &Value {
        static PROXIES: OnceLock<Value> = OnceLock::new();
        PROXIES.get_or_init(|| self.command(&json!({"proxies": true})))
    }

    // ---- the OAuth provider ----

    /// One of the control calls of `oidc-server.mjs`.
    pub fn control(&self, call: &str, order: &Value) -> Value {
        let issuer = self.fact("issuer").trim_start_matches("http://");
        let mut stream = TcpStream::connect(issuer).expect("the OAuth provider is there");
        let body = order.to_string();
        let length = body.len();
        write!(
            stream,
            "POST /ctl/{call} HTTP/1.0\r\nhost: {issuer}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{call}: {answer}");
        let body = answer.split_once("\r\n\r\n").expect("an HTTP answer").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// How often this account's tokens were asked for with this grant type.
    pub fn token_requests(&self, grant_type: &str, account: &str) -> u64 {
        let stats = self.control("stats", &json!({}));
        stats[format!("/token {grant_type} {account}")]
            .as_u64()
            .unwrap_or(0)
    }

    /// The lifetime of this account's access tokens from now on.
    pub fn access_tokens_live(&self, account: &str, seconds: u32) {
        self.control(
            "access-token-ttl",
            &json!({"account": account, "seconds": seconds}),
        );
    }

    /// Returns when no access token of this account is good any more.
    pub fn wait_for_expiry(&self, account: &str) {
        eventually("the access token expires", || {
            let answer = self.control("live-access-tokens", &json!({"account": account}));
            (answer["live"] == 0).then_some(())
        });
    }

    /// The token endpoint answers this account with a status until `heal`.
    pub fn token_endpoint_fails(&self, account: &str, status: u16) {
        self.control(
            "fault",
            &json!({"path": "/token", "account": account, "count": -1, "status": status}),
        );
    }

    /// Ends this account's faults.
    pub fn heal(&self, account: &str) {
        self.control("heal", &json!({"account": account}));
    }

    // ---- the mail servers ----

    /// Puts a message into a mailbox as another mail server would.
    pub fn deliver(&self, mailbox: &str, message: &[u8]) {
        self.deliver_all(mailbox, &[message.to_vec()]);
    }

    /// The same for many, over one connection.
    pub fn deliver_all(&self, mailbox: &str, messages: &[Vec<u8>]) {
        let port = self.facts["lmtp"].as_u64().expect("a port");
        let mut lmtp = Wire::connect(u16::try_from(port).expect("a port"));
        lmtp.smtp_reply("220");
        lmtp.smtp("LHLO localhost", "250");
        for message in messages {
            lmtp.smtp("MAIL FROM:<somebody@example.test>", "250");
            lmtp.smtp(&format!("RCPT TO:<{mailbox}>"), "250");
            lmtp.smtp("DATA", "354");
            lmtp.send(&mail::dotted(message));
            lmtp.smtp_reply("250");
        }
        lmtp.smtp("QUIT", "221");
    }

    /// What lies in a mailbox, with the lines as they travel.
    pub fn stored(&self, mailbox: &str) -> Vec<Vec<u8>> {
        let maildir = Path::new(self.fact("mail_root"))
            .join(mailbox)
            .join("Maildir");
        let folders = ["new", "cur"].map(|folder| maildir.join(folder));
        let files = folders.iter().filter_map(|folder| folder.read_dir().ok());
        files
            .flatten()
            .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
            .map(|text| mail::with_crlf(&text))
            .collect()
    }

    /// Waits until one of the servers has logged this.
    pub fn logged(&self, words: &str) {
        let logs = self.facts["logs"].as_array().expect("a list");
        let says = |log: &Value| {
            let text = std::fs::read(log.as_str().expect("a path")).unwrap_or_default();
            mail::contains(&text, words.as_bytes())
        };
        eventually(&format!("{words} in a log"), || {
            logs.iter().any(says).then_some(())
        });
    }

    /// Waits for the message that holds these bytes.
    pub fn arrived(&self, mailbox: &str, mark: &str) -> Vec<u8> {
        eventually(&format!("{mark} in {mailbox}"), || {
            let mut stored = self.stored(mailbox).into_iter();
            stored.find(|message| mail::contains(message, mark.as_bytes()))
        })
    }

    /// A login straight to Dovecot, which takes tokens in the clear from this machine.
    pub fn imap_directly(&self, mailbox: &str) -> Wire {
        let mut imap = Wire::connect(self.ports("starttls")["imap"]);
        imap.line();
        imap.imap(
            "a",
            &format!("AUTHENTICATE XOAUTH2 {}", self.xoauth2(mailbox)),
        );
        imap
    }

    /// The same by POP3.
    pub fn pop3_directly(&self, mailbox: &str) -> Wire {
        let mut pop3 = Wire::connect(self.ports("starttls")["pop3"]);
        pop3.line();
        pop3.pop3(&format!("AUTH XOAUTH2 {}", self.xoauth2(mailbox)));
        pop3
    }

    fn xoauth2(&self, mailbox: &str) -> String {
        let answer = self.control("issue", &json!({"account": mailbox}));
        let token = answer["access_token"].as_str().expect("a token");
        BASE64.encode(format!("user={mailbox}\x01auth=Bearer {token}\x01\x01"))
    }
}

/// The ports of one way to TLS among what the lab said.
pub fn ports(facts: &Value, way: &str) -> Ports {
    let port = |protocol: &str| {
        let number = facts[protocol][way].as_u64().expect("a port");
        u16::try_from(number).expect("a port")
    };
    PROTOCOLS.map(|protocol| (protocol, port(protocol))).into()
}
