//! The proxies that are measured, as child processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::client::PASSWORD;
use super::upstream::Upstream;

/// A running proxy; it ends with this value.
pub struct Peer {
    pub name: &'static str,
    pub port: u16,
    child: Child,
}

impl Peer {
    /// The process and its own children.
    pub fn pids(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Politely: a master that is killed leaves its workers behind, and they hold our standard output open. Both fail only if the
        // child has already ended.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Starts every peer that is there.
pub fn start(upstream: &Upstream) -> Vec<Peer> {
    let mut peers = vec![mailwicket(upstream), bare(upstream)];
    match nginx(upstream) {
        Some(nginx) => peers.push(nginx),
        None => eprintln!(
            "nginx with its stream module is not installed (nginx-light, libnginx-mod-stream); measured without it"
        ),
    }
    peers
}

fn mailwicket(upstream: &Upstream) -> Peer {
    let hash = mailwicket::password::hash(PASSWORD.as_bytes()).expect("a hash");
    let config = upstream.folder.path().join("mailwicket.toml");
    let text = format!(
        r#"state-dir = "state"
[provider.bench]
client-id = "bench"
client-secret = "bench-secret"
flow = "client-credentials"
token-url = "http://127.0.0.1:{}/token"
scopes = ["mail"]
ca-file = "{}"
imap = {{ host = "localhost", port = {}, tls = "implicit" }}
[[listener]]
protocol = "imap"
provider = "bench"
listen = "127.0.0.1:0"
[[account]]
address = "bench@example.test"
provider = "bench"
password-hash = ["{hash}"]
[console]
listen = "off"
[limits]
before-login = 2048
before-login-per-source = 2048
"#,
        upstream.token_port,
        upstream.ca.display(),
        upstream.port
    );
    fs::write(&config, text).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mailwicket"))
        .args(["run", "--log-level", "error", "--config"])
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailwicket");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut lines = lines
        .map_while(Result::ok)
        .inspect(|line| eprintln!("mailwicket: {line}"));
    let line = lines
        .find(|line| line.starts_with("listening imap "))
        .expect("an address");
    std::thread::spawn(move || lines.for_each(drop));
    let port = line
        .split([':', ' '])
        .nth(3)
        .and_then(|port| port.parse().ok())
        .expect("a port");
    Peer {
        name: "mailwicket",
        port,
        child,
    }
}

fn bare(upstream: &Upstream) -> Peer {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg("--bare")
        .arg(upstream.port.to_string())
        .arg(&upstream.ca)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bare relay");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("a line");
    let port = line.trim().parse().expect("a port");
    Peer {
        name: "bare",
        port,
        child,
    }
}

fn nginx(upstream: &Upstream) -> Option<Peer> {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !Path::new(MODULE).exists() {
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let folder = upstream.folder.path();
    let config = folder.join("nginx.conf");
    let text = format!(
        "load_module {MODULE};\ndaemon off;\nworker_processes 2;\npid {0}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 4096; }}\n\
         stream {{\n  tcp_nodelay on;\n  server {{\n    listen 127.0.0.1:{port} backlog=1024;\n    proxy_pass 127.0.0.1:{1};\n    proxy_ssl on;\n    \
         proxy_ssl_verify on;\n    proxy_ssl_trusted_certificate {2};\n    proxy_ssl_name localhost;\n    \
         proxy_ssl_session_reuse on;\n    proxy_ssl_protocols TLSv1.3;\n    proxy_timeout 1h;\n  }}\n}}\n",
        folder.display(),
        upstream.port,
        upstream.ca.display()
    );
    fs::write(&config, text).expect("written");
    let child = Command::new("nginx").arg("-c").arg(&config).spawn().ok()?;
    super::client::wait_for(port);
    Some(Peer {
        name: "nginx",
        port,
        child,
    })
}
