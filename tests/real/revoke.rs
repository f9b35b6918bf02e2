//! `mailwicket revoke` against the real OAuth server: what is revoked is dead there, and what could not be revoked is kept.

use std::process::Output;

use serde_json::json;

use crate::lab::{PROTOCOLS, lab};
use crate::wait::{program, succeeds};
use crate::wicket::{PASSWORD, Plan, Wicket, is_temporary};

/// The lab's public client, and where it gives tokens back.
fn plan(account: &str) -> Plan {
    let keys = format!(
        "client-id = \"native-public\"\nrevoke-url = \"{}\"\n",
        lab().fact("revoke_url")
    );
    Plan::new().provider(&keys).account(account)
}

fn words(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty(), "words go to stderr");
    words
}

/// Every token that the account ever got; a rotated refresh token is dead already.
fn tokens_of(account: &str) -> Vec<String> {
    let answer = lab().control("tokens", &json!({"account": account}));
    let tokens = answer["tokens"].as_array().expect("a list").iter();
    tokens
        .map(|token| token.as_str().expect("a token").to_owned())
        .collect()
}

/// What the token endpoint says to a refresh with this token.
fn refresh(token: &str) -> String {
    let mut curl = program("curl");
    curl.args([
        "-sS",
        "-d",
        "grant_type=refresh_token&client_id=native-public",
    ]);
    curl.args(["--data-urlencode", &format!("refresh_token={token}")]);
    curl.arg(lab().fact("token_url"));
    String::from_utf8(succeeds(&mut curl).stdout).expect("JSON")
}

fn hears_that_consent_is_needed(wicket: &Wicket, account: &str) {
    for protocol in PROTOCOLS {
        let answer = wicket.login(protocol, account, PASSWORD);
        assert!(is_temporary(&answer), "{answer}");
        assert!(answer.contains("MW-CONSENT"), "{answer}");
    }
}

#[test]
fn a_revoked_sign_in_is_dead_at_the_provider_and_forgotten_here() {
    let account = &lab().mailbox("given-back");
    let wicket = plan(account).run();
    wicket.logs_in("imap", account);
    // Somebody signs in once more: the provider keeps both.
    wicket.authorize(account);
    let tokens = tokens_of(account);
    assert!(tokens.len() >= 4, "two access and two refresh tokens");
    let output = wicket.command(&["revoke", account]);
    assert!(output.status.success(), "{}", words(&output));
    for token in &tokens {
        let answer = refresh(token);
        assert!(answer.contains("invalid_grant"), "{answer}");
    }
    let alive = lab().control("live-access-tokens", &json!({"account": account}));
    assert_eq!(alive["live"], 0);
    // The daemon was running all the time, with an access token in its memory.
    hears_that_consent_is_needed(&wicket, account);
    assert_eq!(wicket.state(account), "unauthorized");
    wicket.authorize(account);
    wicket.logs_in("imap", account);
    assert_eq!(wicket.state(account), "ok");
}

#[test]
fn a_failed_revocation_keeps_the_tokens_and_says_so() {
    let account = &lab().mailbox("kept");
    let wicket = plan(account).run();
    lab().control(
        "fault",
        &json!({"path": "/token/revocation", "account": account, "count": 1, "status": 503}),
    );
    let output = wicket.command(&["revoke", account]);
    assert_eq!(output.status.code(), Some(1));
    let said = words(&output);
    assert!(
        said.contains("not revoked") && said.contains("kept"),
        "{said}"
    );
    wicket.logs_in("imap", account);
    assert_eq!(wicket.state(account), "ok");
    let output = wicket.command(&["revoke", account]);
    assert!(output.status.success(), "{}", words(&output));
    hears_that_consent_is_needed(&wicket, account);
}

#[test]
fn forgetting_here_alone_asks_nothing_of_the_provider() {
    let account = &lab().mailbox("forgotten");
    let wicket = plan(account).run();
    let output = wicket.command(&["revoke", account, "--local"]);
    assert!(output.status.success(), "{}", words(&output));
    hears_that_consent_is_needed(&wicket, account);
    let alive = lab().control("live-access-tokens", &json!({"account": account}));
    assert_eq!(alive["live"], 1, "the token was not given back");
    let again = wicket.command(&["revoke", account]);
    assert!(again.status.success());
    assert!(words(&again).contains("no tokens"), "{}", words(&again));
}

#[test]
fn without_a_place_for_revocations_the_person_is_told_what_to_do() {
    let account = &lab().mailbox("by-hand");
    let wicket = Plan::new().account(account).run();
    let output = wicket.command(&["revoke", account]);
    assert!(output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(said.contains("provider's own pages"), "{said}");
    hears_that_consent_is_needed(&wicket, account);
}

#[test]
fn an_application_that_signs_in_by_itself_has_no_grant_to_revoke() {
    let account = &lab().mailbox("no-grant");
    let keys = "client-id = \"daemon\"\nclient-secret = \"daemon-secret\"\nflow = \"client-credentials\"\n\
                scopes = [\"mail\"]\n";
    let wicket = Plan::new().provider(keys).account(account).lay_out();
    let output = wicket.command(&["revoke", account]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("no grant to revoke"));
}
