//! Behind a firewall: a provider whose name only the proxies can resolve, through tinyproxy and microsocks.

use std::fs;

use serde_json::{Value, json};

use crate::lab::{PROTOCOLS, lab, ports};
use crate::wicket::{PASSWORD, Plan, Wicket, is_temporary};

fn word<'a>(facts: &'a Value, name: &str) -> &'a str {
    facts[name].as_str().expect("a word of the lab")
}

/// The way out through one of the proxies, with its password in a file of the folder of the configuration.
fn egress(scheme: &str) -> String {
    let proxies = lab().proxies();
    format!(
        "egress = {{ url = \"{scheme}://127.0.0.1:{}\", user = \"{}\", password = {{ file = \"proxy.secret\" }} }}\n",
        proxies[scheme],
        word(proxies, "user"),
    )
}

/// Authorised, with everything about the provider behind the proxy, and running.
fn hidden(account: &str, way: &'static str, egress: &str) -> Wicket {
    let proxies = lab().proxies();
    let host = word(proxies, "host");
    let plan = Plan::new()
        .provider(&format!("client-id = \"native-public\"\n{egress}"))
        .account(account)
        .upstream(ports(proxies, way))
        .at(
            host,
            way,
            &format!("https://{host}:{}/token", proxies["https"]),
        );
    let mut wicket = plan.lay_out();
    let secret = wicket.folder().join("proxy.secret");
    fs::write(&secret, word(proxies, "password")).expect("written");
    let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&secret, only_ours).expect("our own file");
    wicket.authorize(account);
    wicket.start();
    wicket
}

/// What tinyproxy says it has connected to.
fn connections(port: &Value) -> usize {
    let proxies = lab().proxies();
    let log = fs::read_to_string(word(proxies, "log")).expect("a log");
    let line = format!("CONNECT {}:{port} ", word(proxies, "host"));
    log.lines().filter(|said| said.contains(&line)).count()
}

#[test]
fn tokens_and_mail_go_through_http_connect() {
    let account = &lab().mailbox("connect");
    let proxies = lab().proxies();
    let before = PROTOCOLS.map(|protocol| connections(&proxies[protocol]["starttls"]));
    let tokens = connections(&proxies["https"]);
    // SMTP and the others speak first: their greeting comes with the proxy's own answer, or right behind it.
    let wicket = hidden(account, "starttls", &egress("http"));
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
    lab().control("kill-access-tokens", &json!({"account": account}));
    wicket.logs_in("imap", account);
    assert_eq!(lab().token_requests("refresh_token", account), 1);
    // The exchange at `authorize`, and the renewal.
    assert!(connections(&proxies["https"]) >= tokens + 2);
    for (protocol, before) in PROTOCOLS.iter().zip(before) {
        assert!(
            connections(&proxies[*protocol]["starttls"]) > before,
            "{protocol}"
        );
    }
}

#[test]
fn tokens_and_mail_go_through_socks5() {
    for way in ["implicit", "starttls"] {
        let account = &lab().mailbox(&format!("socks5-{way}"));
        let wicket = hidden(account, way, &egress("socks5"));
        for protocol in PROTOCOLS {
            wicket.logs_in(protocol, account);
        }
        lab().control("kill-access-tokens", &json!({"account": account}));
        wicket.logs_in("imap", account);
        assert_eq!(lab().token_requests("refresh_token", account), 1);
    }
}

#[test]
fn doctor_names_the_proxy_in_every_step_it_has_a_part_in() {
    let account = &lab().mailbox("doctor-egress");
    let wicket = hidden(account, "implicit", &egress("http"));
    let output = wicket.command(&["doctor", account]);
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{told}");
    let proxy = format!("http://127.0.0.1:{} (egress)", lab().proxies()["http"]);
    for said in [
        format!("tokens and mail go through the proxy {proxy}"),
        "it resolves hidden.test itself".to_owned(),
        format!("answers through the proxy {proxy}"),
    ] {
        assert!(told.contains(&said), "{said}: {told}");
    }
}

#[test]
fn a_wrong_password_of_the_proxy_is_told_and_shown_nowhere() {
    for scheme in ["http", "socks5"] {
        let account = &lab().mailbox(&format!("wrong-proxy-login-{scheme}"));
        let wicket = hidden(account, "implicit", &egress(scheme));
        wicket.logs_in("imap", account);
        // It is read anew for each connection.
        fs::write(wicket.folder().join("proxy.secret"), "wrong-sesame-3").expect("written");
        let answer = wicket.login("imap", account, PASSWORD);
        assert!(answer.starts_with("a NO [CONTACTADMIN]"), "{answer}");
        let answer = wicket.login("smtp", account, PASSWORD);
        assert!(is_temporary(&answer), "{answer}");
        let words = wicket.words();
        assert!(
            words.contains("it does not accept our user name and password"),
            "{words}"
        );
        assert!(!words.contains("sesame"), "{words}");
    }
}
