//! Real mail programs over TLS, with the exported CA as all that they trust; and OpenSSL, which is in most of the others.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use std::io::Write as _;

use crate::clients::{Scene, fetched_into, make_maildir, succeeds_with_input};
use crate::lab::PROTOCOLS;
use crate::mail;
use crate::wait::{eventually, fetchmail, program, succeeds};
use crate::wicket::{PASSWORD, Plan};

fn scene(name: &str, listener: &'static str) -> Scene {
    Scene::of(name, Plan::new().listeners(listener))
}

/// Every way on one port.
fn auto(name: &str) -> Scene {
    scene(name, "tls = \"auto\"")
}

/// What `mailwicket ca export` gives out, in a file.
fn ca(scene: &Scene) -> PathBuf {
    let path = scene.wicket.folder().join("mailwicket-ca.pem");
    let words = ["ca", "export", "--out", path.to_str().expect("text")];
    let output = scene.wicket.command(&words);
    assert!(output.status.success(), "{output:?}");
    path
}

fn waits_for(scene: &Scene, words: &str) {
    eventually(words, || scene.wicket.words().contains(words).then_some(()));
}

// ---- OpenSSL ------------------------------------------------------------------------------------------------

fn s_client(scene: &Scene, protocol: &str, options: &[&str], input: &str) -> Output {
    let mut openssl = program("openssl");
    openssl.args(["s_client", "-quiet", "-crlf", "-verify_return_error"]);
    openssl.args(["-verify_hostname", "localhost", "-connect"]);
    openssl.arg(format!("127.0.0.1:{}", scene.port(protocol)));
    openssl.args(options).stdin(Stdio::piped());
    openssl.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = openssl.spawn().expect("openssl starts");
    let mut pipe = process.stdin.take().expect("piped");
    pipe.write_all(input.as_bytes()).ok(); // it may have ended by then
    let output = process.wait_with_output().expect("it ends");
    drop(pipe);
    output
}

#[test]
fn openssl_logs_in_by_every_protocol_and_every_way() {
    let scene = auto("openssl");
    let ca = ca(&scene);
    let ca = ca.to_str().expect("text");
    let user = &scene.account;
    for protocol in PROTOCOLS {
        let (input, success) = match protocol {
            "imap" => (format!("a LOGIN {user} {PASSWORD}\nb LOGOUT\n"), "a OK"),
            "pop3" => (format!("USER {user}\nPASS {PASSWORD}\nQUIT\n"), "+OK"),
            _ => {
                let plain = crate::wicket::plain(user, PASSWORD);
                (format!("EHLO x\nAUTH PLAIN {plain}\nQUIT\n"), "235 ")
            }
        };
        let ways: [&[&str]; 5] = [
            &[],
            &["-starttls", protocol],
            &["-tls1_2"],
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"],
        ];
        for way in ways {
            let options = [&["-CAfile", ca], way].concat();
            let output = s_client(&scene, protocol, &options, &input);
            let said = String::from_utf8_lossy(&output.stdout);
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(success), "{protocol} {way:?}: {said}{words}");
        }
    }
}

#[test]
fn openssl_hears_clearly_that_it_is_too_old_or_has_nothing_in_common() {
    let scene = auto("openssl-old");
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let output = s_client(&scene, "smtp", &old, "");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("alert protocol version"), "{words}");
    waits_for(&scene, "offers nothing newer than TLS 1.1");
    let weak = ["-tls1_2", "-cipher", "AES128-SHA@SECLEVEL=0"];
    let output = s_client(&scene, "smtp", &weak, "");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("alert handshake failure"), "{words}");
    waits_for(&scene, "no secure cipher in common");
}

// ---- curl ---------------------------------------------------------------------------------------------------

fn curl(scene: &Scene) -> Command {
    let mut curl = program("curl");
    curl.args(["-sS", "--user", &scene.user_and_password(), "--cacert"]);
    curl.arg(ca(scene));
    curl
}

#[test]
fn curl_fetches_and_sends_by_both_ways() {
    let scene = auto("curl-tls").and_mail();
    for (scheme, option) in [("imaps", None), ("imap", Some("--ssl-reqd"))] {
        let port = scene.port("imap");
        let mut curl = curl(&scene);
        curl.args(option);
        curl.arg(format!("{scheme}://localhost:{port}/INBOX;MAILINDEX=1"));
        scene.is_the_stored_message(&succeeds(&mut curl).stdout);
    }
    for (scheme, option) in [("pop3s", None), ("pop3", Some("--ssl-reqd"))] {
        let port = scene.port("pop3");
        let mut curl = curl(&scene);
        curl.args(option);
        curl.arg(format!("{scheme}://localhost:{port}/1"));
        scene.is_the_stored_message(&succeeds(&mut curl).stdout);
    }
}

#[test]
fn curl_sends_where_tls_is_required() {
    for (name, listener, scheme, option) in [
        (
            "curl-starttls",
            "tls = \"starttls\"",
            "smtp",
            Some("--ssl-reqd"),
        ),
        ("curl-implicit", "tls = \"implicit\"", "smtps", None),
    ] {
        let scene = scene(name, listener);
        let mut curl = curl(&scene);
        curl.args(["--mail-from", &scene.account, "--mail-rcpt", &scene.account]);
        curl.args(option).arg("--upload-file");
        curl.arg(scene.message_file());
        curl.arg(format!("{scheme}://localhost:{}", scene.port("smtp")));
        succeeds(&mut curl);
        scene.message_arrived();
    }
}

#[test]
fn curl_that_was_not_told_to_trust_is_named_with_the_remedy() {
    let scene = auto("curl-distrust");
    let mut curl = program("curl");
    curl.arg("-sS")
        .arg(format!("imaps://localhost:{}", scene.port("imap")));
    let output = curl.output().expect("curl starts");
    assert_eq!(output.status.code(), Some(60), "{output:?}");
    waits_for(&scene, "mailwicket ca export");
}

// ---- senders ------------------------------------------------------------------------------------------------

#[test]
fn msmtp_sends_with_its_trust_file() {
    for (name, starttls) in [("msmtp-starttls", "on"), ("msmtp-smtps", "off")] {
        let scene = auto(name);
        let mut msmtp = program("msmtp");
        msmtp.args(["--file=/dev/null", "--host=localhost", "--tls=on"]);
        msmtp.arg(format!("--tls-starttls={starttls}"));
        msmtp.arg(format!("--tls-trust-file={}", ca(&scene).display()));
        msmtp.arg(format!("--port={}", scene.port("smtp")));
        msmtp.arg("--auth=on"); // which refuses to send a password in clear
        msmtp.arg(format!("--user={}", scene.account));
        msmtp.arg(format!("--passwordeval=echo {PASSWORD}"));
        msmtp.arg(format!("--from={}", scene.account));
        msmtp.arg(&scene.account);
        succeeds_with_input(&mut msmtp, &mail::with_lf(&mail::plain(&scene.mark)));
        scene.message_arrived();
    }
}

#[test]
fn swaks_sends_by_both_ways() {
    for (name, way) in [("swaks-starttls", "--tls"), ("swaks-smtps", "--tlsc")] {
        let scene = auto(name);
        let mut swaks = program("swaks");
        swaks.args(["--server", "localhost", "--port", &scene.port("smtp")]);
        swaks.args(["--auth", "PLAIN", "--auth-user", &scene.account]);
        swaks.args(["--auth-password", PASSWORD]);
        swaks.args(["--from", &scene.account, "--to", &scene.account]);
        swaks
            .args([way, "--tls-verify", "--tls-ca-path"])
            .arg(ca(&scene));
        let message = mail::plain(&scene.mark);
        let file = scene.file("message.eml", message.strip_suffix(b"\r\n").expect("lines"));
        swaks.arg("--data").arg(format!("@{}", file.display()));
        succeeds(&mut swaks);
        scene.message_arrived();
    }
}

// ---- fetchers -----------------------------------------------------------------------------------------------

#[test]
fn mbsync_fetches_by_both_ways() {
    for (name, way) in [("mbsync-starttls", "STARTTLS"), ("mbsync-imaps", "IMAPS")] {
        let scene = auto(name).and_mail();
        let folder = scene.wicket.folder().join("mbsync");
        fs::create_dir(&folder).expect("a folder");
        let rc = format!(
            "IMAPStore far\nHost localhost\nPort {port}\nUser {user}\nPass {PASSWORD}\nSSLType {way}\n\
             CertificateFile {ca}\nSystemCertificates no\n\n\
             MaildirStore near\nPath {folder}/\nInbox {folder}/INBOX\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n",
            port = scene.port("imap"),
            user = scene.account,
            ca = ca(&scene).display(),
            folder = folder.display(),
        );
        let rc = scene.file("mbsyncrc", rc);
        let mut mbsync = program("mbsync");
        mbsync.arg("--config").arg(rc).arg("--all");
        succeeds(&mut mbsync);
        scene.is_among_headers(&fetched_into(&folder));
    }
}

/// fetchmail tries STARTTLS unasked.
#[test]
fn fetchmail_fetches_as_it_comes() {
    for protocol in ["imap", "pop3"] {
        let name = format!("fetchmail-tls-{protocol}");
        let scene = scene(&name, "tls = \"starttls\"").and_mail();
        let target = scene.wicket.folder().join("fetched");
        let rc = format!(
            "poll localhost service {port} protocol {protocol} auth password\n  \
             username \"{user}\" password \"{PASSWORD}\" sslcertck sslcertfile \"{ca}\" keep fetchall no rewrite\n  \
             mda \"cat >> {target}\"\n",
            port = scene.port(protocol),
            user = scene.account,
            ca = ca(&scene).display(),
            target = target.display(),
        );
        let rc = scene.file("fetchmailrc", rc);
        let mut fetchmail = fetchmail(scene.wicket.folder());
        fetchmail.arg("--fetchmailrc").arg(rc);
        succeeds(&mut fetchmail);
        scene.is_among_headers(&fs::read(target).expect("a message"));
    }
}

#[test]
fn mutt_fetches_with_its_own_defaults() {
    let scene = scene("mutt-tls", "tls = \"starttls\"").and_mail();
    let maildir = scene.wicket.folder().join("mutt");
    make_maildir(&maildir);
    let rc = format!(
        "set ssl_force_tls=yes\nset ssl_usesystemcerts=no\nset certificate_file=\"{ca}\"\nset copy=no\n\
         set header_cache=\"\"\nset confirmappend=no\nset confirmcreate=no\nset mark_old=no\n\
         set mbox_type=Maildir\nset folder=\"imap://localhost:{port}/\"\nset spoolfile=\"+INBOX\"\n\
         set imap_user=\"{user}\"\nset imap_pass=\"{PASSWORD}\"\n\
         push \"<copy-message>{maildir}<enter><exit>\"\n",
        ca = ca(&scene).display(),
        port = scene.port("imap"),
        user = scene.account,
        maildir = maildir.display(),
    );
    let rc = scene.file("muttrc", rc);
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
