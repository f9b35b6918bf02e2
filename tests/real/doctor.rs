//! `doctor` before real servers: all well, a message there and back, and tokens that are for somebody or something else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::lab::{PROTOCOLS, lab};
use crate::wicket::{Plan, Wicket};

/// What `doctor --json` tells, and whether it was content.
fn examined(wicket: &Wicket, account: &str, more: &[&str]) -> (Vec<Value>, bool) {
    let output = wicket.command(&[&["doctor", account, "--json"], more].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    let steps = text.lines().map(serde_json::from_str);
    let steps = steps.collect::<Result<_, _>>().expect("JSON");
    (steps, output.status.success())
}

#[track_caller]
fn step<'a>(steps: &'a [Value], name: &str, stage: &str) -> &'a Value {
    let is_it = |step: &&Value| step["name"] == name && step["stage"] == stage;
    let found = steps.iter().find(is_it);
    found.unwrap_or_else(|| panic!("no {stage} of {name}: {steps:#?}"))
}

fn words<'a>(step: &'a Value, name: &str) -> &'a str {
    step[name].as_str().unwrap_or_else(|| panic!("{step:#}"))
}

fn authorised(plan: Plan, account: &str) -> Wicket {
    let wicket = plan.account(account).lay_out();
    wicket.authorize(account);
    wicket
}

#[test]
fn doctor_is_content_with_all_three_protocols() {
    for (way, plan) in [
        ("implicit", Plan::new()),
        ("starttls", Plan::new().starttls()),
    ] {
        let account = &lab().mailbox(&format!("doctor-{way}"));
        lab().deliver(account, b"Subject: one\r\n\r\none\r\n");
        let wicket = authorised(plan, account);
        let (steps, is_well) = examined(&wicket, account, &[]);
        assert!(is_well, "{steps:#?}");
        for protocol in PROTOCOLS {
            for stage in ["dns", "tcp", "tls", "greeting", "login", "command"] {
                assert_eq!(step(&steps, protocol, stage)["ok"], true);
            }
            let tls = words(step(&steps, protocol, "tls"), "detail");
            assert!(
                tls.contains("signed by mailwicket lab CA of `ca-file`"),
                "{tls}"
            );
        }
        for protocol in ["imap", "pop3"] {
            let detail = words(step(&steps, protocol, "command"), "detail");
            assert!(detail.ends_with("messages: 1"), "{detail}");
        }
        assert_eq!(step(&steps, "smtp", "sender")["ok"], true);
        assert_eq!(step(&steps, "token", "clock")["warning"], false);
    }
}

#[test]
fn a_message_to_itself_is_found_by_imap_and_removed() {
    let account = &lab().mailbox("doctor-send");
    let marked = b"Subject: somebody else's\r\n\r\nto stay\r\n";
    lab().deliver(account, marked);
    let mut imap = lab().imap_directly(account);
    imap.imap("b", "SELECT INBOX");
    imap.imap("c", "STORE 1 +FLAGS (\\Deleted)");
    let wicket = authorised(Plan::new(), account);
    let (steps, is_well) = examined(&wicket, account, &["--send"]);
    assert!(is_well, "{steps:#?}");
    let found = words(step(&steps, "imap", "find"), "detail");
    assert!(found.starts_with("arrived in INBOX, "), "{found}");
    let compared = words(step(&steps, "imap", "compare"), "detail");
    assert!(
        compared.starts_with("sender, subject and text came back"),
        "{compared}"
    );
    let removed = words(step(&steps, "imap", "remove"), "detail");
    assert_eq!(removed, "the message is removed again");
    // Its own message is gone, and another that somebody marked is not.
    let stored = lab().stored(account);
    assert_eq!(stored.len(), 1);
    assert!(crate::mail::contains(&stored[0], b"to stay"));
}

#[test]
fn a_message_to_itself_is_found_by_pop3_where_nothing_else_is_set_up() {
    let account = &lab().mailbox("doctor-send-pop3");
    lab().deliver(account, b"Subject: to stay\r\n\r\nto stay\r\n");
    let mut ports = lab().ports("implicit");
    ports.remove("imap");
    let wicket = authorised(Plan::new().upstream(ports), account);
    let (steps, is_well) = examined(&wicket, account, &["--send"]);
    assert!(is_well, "{steps:#?}");
    assert!(
        steps.iter().all(|step| step["name"] != "imap"),
        "{steps:#?}"
    );
    for stage in ["find", "compare", "remove"] {
        assert_eq!(step(&steps, "pop3", stage)["ok"], true);
    }
    let stored = lab().stored(account);
    assert_eq!(stored.len(), 1);
    assert!(crate::mail::contains(&stored[0], b"Subject: to stay"));
}

/// A token endpoint that gives out this one token.
fn endpoint(token: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a visitor");
            let mut request = BufReader::new(stream.try_clone().expect("a socket"));
            let (mut line, mut length) = (String::new(), 0);
            while request.read_line(&mut line).is_ok_and(|octets| octets > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(octets) = lower.strip_prefix("content-length:") {
                    length = octets.trim().parse().expect("a number");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            request.read_exact(&mut body).expect("a request");
            let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
            let answer = answer.to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            )
            .ok();
        }
    });
    url
}

/// An application that gets this token.
fn with_token(account: &str, token: String) -> Wicket {
    let keys = "client-id = \"daemon\"\nclient-secret = \"daemon-secret\"\nflow = \"client-credentials\"\n\
                scopes = [\"https://outlook.office365.com/.default\"]\n";
    let plan = Plan::new().at("localhost", "implicit", &endpoint(token));
    plan.provider(keys).account(account).lay_out()
}

#[test]
fn a_token_for_another_audience_is_named_before_the_mail_server_refuses_it() {
    let account = &lab().mailbox("doctor-audience");
    let claims = json!({"aud": "https://graph.microsoft.com", "roles": ["Mail.Send"]});
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let token = format!("eyJhbGciOiJub25lIn0.{payload}.bm8gc2lnbmF0dXJl");
    let wicket = with_token(account, token);
    let output = wicket.command(&["doctor", account]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!shown.contains(&payload), "{shown}");
    let (steps, is_well) = examined(&wicket, account, &[]);
    assert!(!is_well);
    let claims = step(&steps, "token", "claims");
    assert!(
        words(claims, "detail").starts_with("the token is for Microsoft Graph"),
        "{claims:#}"
    );
    assert!(words(claims, "remedy").contains("https://outlook.office365.com/.default"));
    for protocol in PROTOCOLS {
        assert_eq!(step(&steps, protocol, "login")["ok"], false);
    }
}

#[test]
fn another_users_token_is_refused_by_every_server_and_each_says_so() {
    let account = &lab().mailbox("doctor-alice");
    let issued = lab().control("issue", &json!({"account": lab().mailbox("doctor-bob")}));
    let token = issued["access_token"].as_str().expect("a token").to_owned();
    let wicket = with_token(account, token);
    let (steps, is_well) = examined(&wicket, account, &["--send"]);
    assert!(!is_well);
    for protocol in PROTOCOLS {
        let login = step(&steps, protocol, "login");
        assert_eq!(login["code"], "MW-REFUSED", "{login:#}");
    }
    assert!(lab().stored(account).is_empty());
}
