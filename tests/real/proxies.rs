//! mailwicket behind real proxies that tell it whose connections they pass on.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use crate::lab::lab;
use crate::mail;
use crate::wait::{eventually, program, succeeds};
use crate::wicket::{PASSWORD, Plan, Wicket};

/// An address of this machine that is not the proxy's.
const CLIENT: &str = "127.0.0.3";
/// Another one.
const OTHER: &str = "127.0.0.4";

/// A proxy before the listener of one protocol, until this is dropped.
struct Proxy {
    process: Child,
    port: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Proxy {
    /// HAProxy with a health check; `word` is what makes it send a header.
    fn haproxy(wicket: &Wicket, protocol: &str, word: &str) -> Self {
        let port = free_port();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen mail\n bind 127.0.0.1:{port}\n \
             server wicket 127.0.0.1:{} {word} check check-send-proxy inter 100ms\n",
            wicket.port(protocol)
        );
        let config = wicket.folder().join(format!("haproxy-{protocol}.cfg"));
        fs::write(&config, text).expect("written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(config);
        Self::start(command, port)
    }

    fn nginx(wicket: &Wicket, protocol: &str) -> Self {
        let port = free_port();
        let folder = wicket.folder().join(format!("nginx-{protocol}"));
        fs::create_dir(&folder).expect("a folder");
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
             daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\n\
             stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{}; proxy_protocol on; }} }}\n",
            wicket.port(protocol)
        );
        fs::write(folder.join("nginx.conf"), text).expect("written");
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "error.log"]);
        Self::start(command, port)
    }

    fn start(mut command: Command, port: u16) -> Self {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the proxy is missing: run tests/lab/install");
        let mut proxy = Self { process, port };
        eventually("the proxy's port", || {
            let ended = proxy.process.try_wait().expect("a child");
            assert!(ended.is_none(), "the proxy has ended");
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        proxy
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// A mailbox with a message, and mailwicket that knows its proxy.
fn behind_a_proxy(name: &str) -> (Wicket, String) {
    let account = lab().mailbox(name);
    let keys = "proxy-protocol-from = [\"127.0.0.1\"]\n";
    let wicket = Plan::new().account(&account).listeners(keys).run();
    lab().deliver(&account, &mail::plain(name));
    (wicket, account)
}

fn curl(at: &str, url: &str, account: &str, password: &str) -> Output {
    let mut curl = program("curl");
    curl.args([
        "-sS",
        "--interface",
        at,
        "--user",
        &format!("{account}:{password}"),
        url,
    ]);
    curl.output().expect("curl starts")
}

/// Waits until the log has these words.
fn says(wicket: &Wicket, words: &str) {
    eventually(words, || wicket.words().contains(words).then_some(()));
}

#[test]
fn haproxy_tells_the_address_in_both_versions() {
    let (wicket, account) = behind_a_proxy("haproxy");
    for (protocol, word, path) in [
        ("imap", "send-proxy", "INBOX;MAILINDEX=1"),
        ("pop3", "send-proxy-v2", "1"),
    ] {
        let proxy = Proxy::haproxy(&wicket, protocol, word);
        let url = format!("{protocol}://127.0.0.1:{}/{path}", proxy.port);
        let fetched = curl(CLIENT, &url, &account, PASSWORD);
        let words = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "{words}\n{}", wicket.words());
        assert!(fetched.stdout.ends_with(&mail::plain("haproxy")));
        let source = format!("code=- protocol={protocol} source={CLIENT} ");
        eventually("the address at the login", || {
            let log = wicket.words();
            let told = |line: &str| line.contains("outcome=ok") && line.contains(&source);
            log.lines().any(told).then_some(())
        });
    }
    // Health checks were made all the time.
    let log = wicket.words();
    assert!(
        !log.contains("MW-") && !log.contains("closed before a login"),
        "{log}"
    );
}

#[test]
fn a_password_for_one_address_is_good_for_that_address_behind_the_proxy() {
    let (wicket, account) = behind_a_proxy("haproxy-from");
    let added = wicket.command(&[
        "password",
        "add",
        &account,
        "--name",
        "desk",
        "--generate",
        "--from",
        CLIENT,
    ]);
    assert!(added.status.success());
    let password = String::from_utf8(added.stdout).expect("text");
    let password = password.trim();
    let proxy = Proxy::haproxy(&wicket, "imap", "send-proxy-v2");
    let url = format!("imap://127.0.0.1:{}/INBOX;MAILINDEX=1", proxy.port);
    assert!(curl(CLIENT, &url, &account, password).status.success());
    let refused = curl(OTHER, &url, &account, password);
    assert_eq!(refused.status.code(), Some(67), "{}", wicket.words()); // login denied
    says(&wicket, &format!("source={OTHER}"));
}

#[test]
fn nginx_tells_the_address() {
    let (wicket, account) = behind_a_proxy("nginx");
    let proxy = Proxy::nginx(&wicket, "smtp");
    let mut swaks = program("swaks");
    swaks.args(["--server", "127.0.0.1", "--local-interface", CLIENT]);
    swaks.args(["--port", &proxy.port.to_string(), "--auth", "PLAIN"]);
    swaks.args(["--auth-user", &account, "--auth-password", PASSWORD]);
    swaks.args([
        "--from",
        &account,
        "--to",
        &account,
        "--body",
        "through-nginx",
    ]);
    succeeds(&mut swaks);
    lab().arrived(&account, "through-nginx");
    says(&wicket, &format!("source={CLIENT}:"));
}

#[test]
fn a_header_that_nobody_expects_is_named_in_the_log() {
    let account = lab().mailbox("unexpected-proxy");
    let wicket = Plan::new().account(&account).run();
    let proxy = Proxy::haproxy(&wicket, "imap", "send-proxy-v2");
    let url = format!("imap://127.0.0.1:{}/INBOX", proxy.port);
    assert!(!curl(CLIENT, &url, &account, PASSWORD).status.success());
    says(&wicket, "write: proxy-protocol-from = [\"127.0.0.1\"]");
}
