//! Nothing that opens a mailbox is ever written down where people look.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::lab::{PROTOCOLS, lab};
use crate::wicket::{PASSWORD, Plan, is_temporary, is_wrong_password, plain};

#[test]
fn the_most_verbose_log_holds_no_secret() {
    let account = &lab().mailbox("secrecy");
    let wrong = "quite-another-word";
    let plan = Plan::new().account(account);
    let wicket = plan.with("[log]\nlevel = \"trace\"\n").run();
    let mut secrets = tokens(account);
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
        let answer = wicket.login(protocol, account, wrong);
        assert!(is_wrong_password(&answer), "{answer}");
    }
    lab().control("kill-access-tokens", &json!({"account": account}));
    wicket.logs_in("imap", account);
    secrets.extend(tokens(account));
    lab().control("revoke-grant", &json!({"account": account}));
    let answer = wicket.login("imap", account, PASSWORD);
    assert!(is_temporary(&answer), "{answer}");

    assert!(secrets.len() >= 4, "two of each kind");
    for password in [PASSWORD, wrong] {
        secrets.push(password.to_owned());
        secrets.push(BASE64.encode(password));
        secrets.push(plain(account, password));
    }
    let words = wicket.words();
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
