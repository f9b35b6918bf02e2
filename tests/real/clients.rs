//! Real mail programs with nothing but a password, each as its users run it. Every test proves content: what was sent
//! lies in the mailbox, what lay in the mailbox was fetched.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::lab;
use crate::mail;
use crate::wait::{fetchmail, program, succeeds};
use crate::wicket::{PASSWORD, Plan, Wicket};

/// A mailbox with one message in it, and mailwicket before it.
pub struct Scene {
    pub wicket: Wicket,
    pub account: String,
    pub mark: String,
}

impl Scene {
    fn new(name: &str) -> Self {
        Self::of(name, Plan::new())
    }

    /// With other words in the configuration.
    pub fn of(name: &str, plan: Plan) -> Self {
        let account = lab().mailbox(name);
        let wicket = plan.account(&account).run();
        let mark = format!("by-{name}");
        Self {
            wicket,
            account,
            mark,
        }
    }

    /// The message is there before the mail program comes.
    fn with_mail(name: &str) -> Self {
        Self::new(name).and_mail()
    }

    pub fn and_mail(self) -> Self {
        lab().deliver(&self.account, &mail::plain(&self.mark));
        self
    }

    pub fn port(&self, protocol: &str) -> String {
        self.wicket.port(protocol).to_string()
    }

    pub fn user_and_password(&self) -> String {
        format!("{}:{PASSWORD}", self.account)
    }

    /// A file in the test's own directory that only its owner may read, as mail programs demand.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.wicket.folder().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        path
    }

    pub fn message_file(&self) -> PathBuf {
        self.file("message.eml", mail::plain(&self.mark))
    }

    /// The message lies in the mailbox as it was sent.
    pub fn message_arrived(&self) {
        let arrived = lab().arrived(&self.account, &self.mark);
        let text = String::from_utf8_lossy(&arrived);
        assert!(arrived.ends_with(&mail::plain(&self.mark)), "{text}");
    }

    /// The same from a program that writes its own headers.
    fn body_arrived(&self) {
        let arrived = lab().arrived(&self.account, &self.mark);
        let text = String::from_utf8_lossy(&arrived);
        assert!(arrived.ends_with(&mail::plain_body(&self.mark)), "{text}");
    }

    /// Exactly the stored message, with the headers of its delivery.
    pub fn is_the_stored_message(&self, fetched: &[u8]) {
        let stored = lab().arrived(&self.account, &self.mark);
        let stored = String::from_utf8_lossy(&stored);
        assert_eq!(String::from_utf8_lossy(fetched), stored);
    }

    /// The message as it was delivered, below and between the headers that the program adds, with the line ends of
    /// files.
    pub fn is_among_headers(&self, fetched: &[u8]) {
        let message = mail::with_lf(&mail::plain(&self.mark));
        let lines = fetched.split_inclusive(|&byte| byte == b'\n');
        let kept = lines.filter(|line| !ADDED.iter().any(|name| line.starts_with(name)));
        let fetched = kept.collect::<Vec<_>>().concat();
        let text = String::from_utf8_lossy(&fetched);
        assert!(mail::contains(&fetched, &message), "{text}");
    }
}

/// What mbsync, mutt and getmail put among the headers of a message that they store.
const ADDED: [&[u8]; 4] = [b"X-TUID:", b"Content-Length:", b"Lines:", b"X-getmail-"];

/// The files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The one message that a program put into a Maildir.
pub fn fetched_into(maildir: &Path) -> Vec<u8> {
    let mut files = files_below(maildir);
    files.retain(|path| {
        let folder = path.parent().and_then(Path::file_name);
        folder.is_some_and(|name| name == "new" || name == "cur")
    });
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read(&files[0]).expect("a message")
}

pub fn make_maildir(path: &Path) {
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(folder)).expect("a folder");
    }
}

pub fn succeeds_with_input(command: &mut Command, input: &[u8]) {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the program starts");
    let mut pipe = process.stdin.take().expect("piped");
    pipe.write_all(input).expect("it reads");
    drop(pipe);
    let output = process.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = words + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {words}");
}

// ---- curl ---------------------------------------------------------------------------------------------------

fn curl(scene: &Scene) -> Command {
    let mut curl = program("curl");
    curl.args(["-sS", "--user", &scene.user_and_password()]);
    curl
}

#[test]
fn curl_fetches_by_imap() {
    let scene = Scene::with_mail("curl-imap");
    let url = format!("imap://127.0.0.1:{}/INBOX;MAILINDEX=1", scene.port("imap"));
    scene.is_the_stored_message(&succeeds(curl(&scene).arg(url)).stdout);
}

#[test]
fn curl_fetches_by_pop3() {
    let scene = Scene::with_mail("curl-pop3");
    let url = format!("pop3://127.0.0.1:{}/1", scene.port("pop3"));
    scene.is_the_stored_message(&succeeds(curl(&scene).arg(url)).stdout);
}

#[test]
fn curl_sends() {
    let scene = Scene::new("curl-smtp");
    let url = format!("smtp://127.0.0.1:{}", scene.port("smtp"));
    let mut curl = curl(&scene);
    curl.args(["--mail-from", &scene.account, "--mail-rcpt", &scene.account]);
    curl.arg("--upload-file").arg(scene.message_file()).arg(url);
    succeeds(&mut curl);
    scene.message_arrived();
}

// ---- Python's standard library ------------------------------------------------------------------------------

fn python(scene: &Scene, script: &str, protocol: &str) -> Command {
    let mut python = program("python3");
    python.args([
        "-c",
        script,
        &scene.port(protocol),
        &scene.account,
        PASSWORD,
    ]);
    python
}

#[test]
fn python_fetches_by_imap() {
    let scene = Scene::with_mail("python-imap");
    let output = succeeds(&mut python(&scene, include_str!("scripts/imap.py"), "imap"));
    scene.is_the_stored_message(&output.stdout);
}

#[test]
fn python_fetches_by_pop3() {
    let scene = Scene::with_mail("python-pop3");
    let output = succeeds(&mut python(&scene, include_str!("scripts/pop3.py"), "pop3"));
    scene.is_the_stored_message(&output.stdout);
}

#[test]
fn python_sends() {
    let scene = Scene::new("python-smtp");
    let mut python = python(&scene, include_str!("scripts/smtp.py"), "smtp");
    succeeds_with_input(&mut python, &mail::plain(&scene.mark));
    scene.message_arrived();
}

// ---- senders ------------------------------------------------------------------------------------------------

fn msmtp_sends(method: &str) {
    let scene = Scene::new(&format!("msmtp-{method}"));
    let mut msmtp = program("msmtp");
    msmtp.args(["--file=/dev/null", "--host=127.0.0.1", "--tls=off"]);
    msmtp.arg(format!("--port={}", scene.port("smtp")));
    msmtp.arg(format!("--auth={method}"));
    msmtp.arg(format!("--user={}", scene.account));
    msmtp.arg(format!("--passwordeval=echo {PASSWORD}"));
    msmtp.arg(format!("--from={}", scene.account));
    msmtp.arg(&scene.account);
    // msmtp takes the line ends of files.
    succeeds_with_input(&mut msmtp, &mail::with_lf(&mail::plain(&scene.mark)));
    scene.message_arrived();
}

#[test]
fn msmtp_sends_with_auth_plain() {
    msmtp_sends("plain");
}

#[test]
fn msmtp_sends_with_auth_login() {
    msmtp_sends("login");
}

fn swaks_sends(method: &str) {
    let scene = Scene::new(&format!("swaks-{}", method.to_lowercase()));
    let mut swaks = program("swaks");
    swaks.args(["--server", "127.0.0.1", "--port", &scene.port("smtp")]);
    swaks.args(["--auth", method, "--auth-user", &scene.account]);
    swaks.args(["--auth-password", PASSWORD]);
    swaks.args(["--from", &scene.account, "--to", &scene.account]);
    // swaks ends the text with a line end of its own.
    let message = mail::plain(&scene.mark);
    let file = scene.file("message.eml", message.strip_suffix(b"\r\n").expect("lines"));
    swaks.arg("--data").arg(format!("@{}", file.display()));
    succeeds(&mut swaks);
    scene.message_arrived();
}

#[test]
fn swaks_sends_with_auth_plain() {
    swaks_sends("PLAIN");
}

#[test]
fn swaks_sends_with_auth_login() {
    swaks_sends("LOGIN");
}

#[test]
fn git_sends_a_patch() {
    let scene = Scene::new("git");
    let patch = format!(
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n\
         From: Alice <{account}>\nDate: Tue, 1 Oct 2024 12:00:00 +0000\nSubject: [PATCH] {mark}\n\n{body}",
        account = scene.account,
        mark = scene.mark,
        body =
            "---\n a | 1 +\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -0,0 +1 @@\n+.\n--\n2.39\n",
    );
    let patch = scene.file("0001.patch", patch);
    let mut git = program("git");
    git.current_dir(scene.wicket.folder());
    git.env("HOME", scene.wicket.folder());
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Alice");
        git.env(format!("GIT_{role}_EMAIL"), &scene.account);
    }
    git.args([
        "send-email",
        "--quiet",
        "--confirm=never",
        "--suppress-cc=all",
    ]);
    git.arg("--smtp-server=127.0.0.1");
    git.arg(format!("--smtp-server-port={}", scene.port("smtp")));
    git.arg(format!("--smtp-user={}", scene.account));
    git.arg(format!("--smtp-pass={PASSWORD}"));
    git.arg(format!("--from={}", scene.account));
    git.arg(format!("--to={}", scene.account));
    git.arg(patch);
    succeeds(&mut git);
    let arrived = lab().arrived(&scene.account, &scene.mark);
    let end = b"@@ -0,0 +1 @@\r\n+.\r\n--\r\n2.39\r\n";
    assert!(
        arrived.ends_with(end),
        "{}",
        String::from_utf8_lossy(&arrived)
    );
}

#[test]
fn a_postfix_relays_its_mail() {
    let scene = Scene::new("postfix");
    let relay = lab().relay_through(scene.wicket.port("smtp"), &scene.account, PASSWORD);
    let mut curl = program("curl");
    curl.args(["-sS", "--mail-from", "root@example.test"]);
    curl.args(["--mail-rcpt", &scene.account]);
    curl.arg("--upload-file").arg(scene.message_file());
    curl.arg(format!("smtp://{relay}"));
    succeeds(&mut curl);
    scene.message_arrived();
}

// ---- fetchers -----------------------------------------------------------------------------------------------

fn mbsync_fetches(mechanism: &str) {
    let scene = Scene::with_mail(&format!("mbsync-{}", mechanism.to_lowercase()));
    let folder = scene.wicket.folder().join("mbsync");
    fs::create_dir(&folder).expect("a folder");
    let rc = format!(
        "IMAPStore far\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {PASSWORD}\nSSLType None\n\
         AuthMechs {mechanism}\n\nMaildirStore near\nPath {folder}/\nInbox {folder}/INBOX\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n",
        port = scene.port("imap"),
        user = scene.account,
        folder = folder.display(),
    );
    let rc = scene.file("mbsyncrc", rc);
    let mut mbsync = program("mbsync");
    mbsync.arg("--config").arg(rc).arg("--all");
    succeeds(&mut mbsync);
    scene.is_among_headers(&fetched_into(&folder));
}

#[test]
fn mbsync_fetches_with_login() {
    mbsync_fetches("LOGIN");
}

#[test]
fn mbsync_fetches_with_authenticate_plain() {
    mbsync_fetches("PLAIN");
}

fn fetchmail_fetches(protocol: &str) {
    let scene = Scene::with_mail(&format!("fetchmail-{protocol}"));
    let target = scene.wicket.folder().join("fetched");
    let rc = format!(
        "poll 127.0.0.1 service {port} protocol {protocol} auth password\n  \
         username \"{user}\" password \"{PASSWORD}\" sslproto \"\" keep fetchall no rewrite\n  \
         mda \"cat >> {target}\"\n",
        port = scene.port(protocol),
        user = scene.account,
        target = target.display(),
    );
    let rc = scene.file("fetchmailrc", rc);
    let mut fetchmail = fetchmail(scene.wicket.folder());
    fetchmail.arg("--fetchmailrc").arg(rc);
    succeeds(&mut fetchmail);
    scene.is_among_headers(&fs::read(target).expect("a message"));
}

#[test]
fn fetchmail_fetches_by_imap() {
    fetchmail_fetches("imap");
}

#[test]
fn fetchmail_fetches_by_pop3() {
    fetchmail_fetches("pop3");
}

fn getmail_fetches(protocol: &str) {
    let scene = Scene::with_mail(&format!("getmail-{protocol}"));
    let target = scene.wicket.folder().join("fetched");
    // As root, getmail writes to no mailbox by itself.
    let rc = format!(
        "[retriever]\ntype = Simple{kind}Retriever\nserver = 127.0.0.1\nport = {port}\nusername = {user}\n\
         password = {PASSWORD}\n\n[destination]\ntype = MDA_external\npath = /bin/cp\n\
         arguments = (\"/dev/stdin\", \"{target}\")\nallow_root_commands = true\n\n\
         [options]\ndelete = false\nread_all = true\ndelivered_to = false\nreceived = false\n",
        kind = protocol.to_uppercase(),
        port = scene.port(protocol),
        user = scene.account,
        target = target.display(),
    );
    let rc = scene.file("getmailrc", rc);
    let mut getmail = program("getmail");
    getmail.arg("--getmaildir").arg(scene.wicket.folder());
    getmail.arg("--rcfile").arg(rc);
    succeeds(&mut getmail);
    scene.is_among_headers(&fs::read(target).expect("a message"));
}

#[test]
fn getmail_fetches_by_imap() {
    getmail_fetches("imap");
}

#[test]
fn getmail_fetches_by_pop3() {
    getmail_fetches("pop3");
}

// ---- mutt ---------------------------------------------------------------------------------------------------

fn muttrc(scene: &Scene, more: &str) -> PathBuf {
    let user = &scene.account;
    let text = format!(
        "set ssl_starttls=no\nset ssl_force_tls=no\nset from=\"{user}\"\nset copy=no\nset charset=utf-8\n\
         set header_cache=\"\"\nset confirmappend=no\nset confirmcreate=no\nset mark_old=no\n{more}\n"
    );
    scene.file("muttrc", text)
}

#[test]
fn mutt_fetches() {
    let scene = Scene::with_mail("mutt-imap");
    let maildir = scene.wicket.folder().join("mutt");
    make_maildir(&maildir);
    let rc = format!(
        "set mbox_type=Maildir\nset folder=\"imap://127.0.0.1:{port}/\"\nset spoolfile=\"+INBOX\"\n\
         set imap_user=\"{user}\"\nset imap_pass=\"{PASSWORD}\"\n\
         push \"<copy-message>{maildir}<enter><exit>\"\n",
        port = scene.port("imap"),
        user = scene.account,
        maildir = maildir.display(),
    );
    let rc = muttrc(&scene, &rc);
    // mutt reads mail only on a terminal; script(1) is one.
    let mut script = program("script");
    script
        .env("TERM", "xterm")
        .env("HOME", scene.wicket.folder());
    script.args(["--quiet", "--return", "--command"]);
    script
        .arg(format!("mutt -n -F {}", rc.display()))
        .arg("/dev/null");
    succeeds(&mut script);
    scene.is_among_headers(&fetched_into(&maildir));
}

#[test]
fn mutt_sends() {
    let scene = Scene::new("mutt-smtp");
    let rc = format!(
        "set smtp_url=\"smtp://{user}@127.0.0.1:{port}/\"\nset smtp_pass=\"{PASSWORD}\"\n\
         set smtp_authenticators=\"plain\"\nset allow_8bit=yes\n",
        user = scene.account,
        port = scene.port("smtp"),
    );
    let mut mutt = program("mutt");
    mutt.env("HOME", scene.wicket.folder())
        .env("LANG", "C.UTF-8");
    mutt.arg("-n").arg("-F").arg(muttrc(&scene, &rc));
    mutt.args(["-s", &scene.mark, "--", &scene.account]);
    succeeds_with_input(&mut mutt, &mail::with_lf(&mail::plain_body(&scene.mark)));
    scene.body_arrived();
}
