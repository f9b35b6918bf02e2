//! Chromium, steered over the W3C WebDriver protocol: only what the tests of the console need.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::wait::{PATIENCE, eventually};

/// The key under which WebDriver names an element (W3C WebDriver §12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How a page is looked at.
#[derive(Clone, Copy)]
pub struct Look {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub scheme: &'static str,
}

/// Light and dark, on a desk and on a telephone.
pub const LOOKS: [Look; 4] = [
    Look {
        name: "desk",
        width: 1280,
        height: 900,
        scheme: "light",
    },
    Look {
        name: "desk-dark",
        width: 1280,
        height: 900,
        scheme: "dark",
    },
    Look {
        name: "phone",
        width: 360,
        height: 740,
        scheme: "light",
    },
    Look {
        name: "phone-dark",
        width: 360,
        height: 740,
        scheme: "dark",
    },
];

/// A name that the browser takes for this machine, as after DNS rebinding.
pub const REBOUND: &str = "rebound.example";

/// A browser with a profile of its own.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts it; its files are in `folder`.
    pub fn start(folder: &Path) -> Self {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is missing: run tests/lab/install");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let port = line.split_once("started successfully on port ")?.1;
            port.trim_end_matches('.').parse().ok()
        });
        // It must not stop because nobody reads on.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("the port of chromedriver");
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
        };
        let profile = format!("--user-data-dir={}", folder.join("chromium").display());
        let rebound = format!("--host-resolver-rules=MAP {REBOUND} 127.0.0.1");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
            &rebound,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
        } } });
        let made = browser.call("POST", "/session", &wanted);
        made["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        browser
    }

    pub fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    pub fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    pub fn address(&self) -> String {
        text(&self.command("GET", "/url", &Value::Null))
    }

    /// What a person sees of an element; nothing if it is not there, or is replaced at this moment.
    pub fn sees(&self, selector: &str) -> Option<String> {
        let using = json!({ "using": "css selector", "value": selector });
        let found = self.try_command("POST", "/element", &using)?;
        let element = text(&found[ELEMENT]);
        let seen = self.try_command("GET", &format!("/element/{element}/text"), &Value::Null)?;
        Some(text(&seen))
    }

    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.command("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types a text in place of the one that is there.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.command("POST", &format!("/element/{element}/clear"), &json!({}));
        let text = json!({ "text": text });
        self.command("POST", &format!("/element/{element}/value"), &text);
    }

    /// Presses a key, whoever has the focus.
    pub fn press(&self, key: &str) {
        let keys = [
            json!({ "type": "keyDown", "value": key }),
            json!({ "type": "keyUp", "value": key }),
        ];
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        self.command("POST", "/actions", &actions);
    }

    /// Waits until a person sees these words.
    pub fn comes_to_see(&self, selector: &str, words: &str) {
        let has_words = |seen: String| seen.contains(words).then_some(());
        eventually(words, || self.sees(selector).and_then(has_words));
    }

    /// Runs a script in the page, past its policy, as only a driver can.
    pub fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "/execute/sync",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// The same for a script that calls its last argument when it is done.
    pub fn run_async(&self, script: &str) -> Value {
        self.command(
            "POST",
            "/execute/async",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// A command of the DevTools.
    pub fn devtools(&self, name: &str, parameters: &Value) -> Value {
        let command = json!({ "cmd": name, "params": parameters });
        self.command("POST", "/goog/cdp/execute", &command)
    }

    pub fn look(&self, look: Look) {
        let media =
            json!({ "features": [{ "name": "prefers-color-scheme", "value": look.scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &media);
        let size = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Keeps what is shown as target/screenshots/NAME.png.
    pub fn picture(&self, name: &str) {
        let shot = text(&self.command("GET", "/screenshot", &Value::Null));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&folder).expect("a folder");
        let picture = BASE64.decode(shot).expect("base64");
        fs::write(folder.join(format!("{name}.png")), picture).expect("written");
    }

    /// What the browser has complained about since the last question: its policy, scripts that fail, what cannot be loaded.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().expect("a list").iter();
        lines.map(|line| text(&line["message"])).collect()
    }

    /// What axe finds in the page: rules of accessibility that it breaks, and where.
    pub fn violations(&self) -> Vec<String> {
        let axe = fs::read_to_string(lab_file("node_modules/axe-core/axe.min.js"));
        self.run(&axe.expect("axe-core is missing: run tests/lab/install"));
        let found = self.run_async(
            "const done = arguments[arguments.length - 1];
             axe.run().then(
               (found) => done(found.violations.map((rule) => rule.id + ': ' + rule.nodes.map((node) => node.html).join(' | '))),
               (error) => done(['axe failed: ' + error]));",
        );
        let found = found.as_array().expect("a list").iter();
        found.map(text).collect()
    }

    fn find(&self, selector: &str) -> String {
        let using = json!({ "using": "css selector", "value": selector });
        text(&self.command("POST", "/element", &using)[ELEMENT])
    }

    /// The answer of a command about elements that may not be there.
    fn try_command(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let path = format!("/session/{}{path}", self.session);
        let (status, answer) = exchange(self.port, method, &path, body);
        match (status, answer["value"]["error"].as_str()) {
            (200, _) => Some(answer["value"].clone()),
            (_, Some("no such element" | "stale element reference")) => None,
            _ => panic!("{method} {path}: {answer}"),
        }
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = exchange(self.port, method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // It ends the browser; without it, the browser would stay.
            exchange(
                self.port,
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            );
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn lab_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/lab")
        .join(name)
}

/// One request of HTTP/1.1 and its answer.
fn exchange(port: u16, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("chromedriver listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        let count = reader.read_line(&mut line).expect("a line");
        if count == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.to_ascii_lowercase());
    }
    let status = head
        .first()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut answer = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut answer).expect("a body");
    let answer = serde_json::from_slice(&answer).unwrap_or(Value::Null);
    (status.expect("a status"), answer)
}
