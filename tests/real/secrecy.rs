//! Nothing that opens a mailbox is ever written down where people look.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::lab::{PROTOCOLS, lab};
use crate::wicket::{PASSWORD, Plan, is_temporary, is_wrong_password, plain};

#[test]
fn the_most_verbose_log_holds_no_secret() {
    let renewed = &lab().mailbox("secrecy-renewed");
    let revoked = &lab().mailbox("secrecy-revoked");
    let wrong = "quite-another-word";
    let plan = Plan::new().account(renewed).account(revoked);
    let wicket = plan
        .with("[log]\nlevel = \"trace,mailwicket=trace\"\n")
        .run();
    let mut secrets = [tokens(renewed), tokens(revoked)].concat();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, renewed);
        let answer = wicket.login(protocol, renewed, wrong);
        assert!(is_wrong_password(&answer), "{answer}");
    }
    lab().control("kill-access-tokens", &json!({"account": renewed}));
    wicket.logs_in("imap", renewed);
    secrets.extend(tokens(renewed));
    lab().control("revoke-grant", &json!({"account": revoked}));
    let answer = wicket.login("imap", revoked, PASSWORD);
    assert!(is_temporary(&answer), "{answer}");

    for password in [PASSWORD, wrong] {
        secrets.push(password.to_owned());
        secrets.push(BASE64.encode(password));
        secrets.push(plain(renewed, password));
    }
    let words = wicket.words();
    assert!(words.contains("TRACE"), "a verbose log: {words}");
    for secret in secrets {
        assert!(!words.contains(&secret), "{secret} is in\n{words}");
    }
}

fn tokens(account: &str) -> Vec<String> {
    let answer = lab().control("tokens", &json!({"account": account}));
    let tokens = answer["tokens"].as_array().expect("a list").iter();
    let tokens = tokens.map(|token| token.as_str().expect("a token").to_owned());
    tokens.collect()
}
