//! Accounts in the console, by a person with a real browser, before the real provider and mail servers.

use std::fs;

use serde_json::json;

use crate::console::{is_for_everybody, link};
use crate::driver::Browser;
use crate::lab::lab;
use crate::wait::{eventually, program, succeeds};
use crate::wicket::{Plan, Wicket};

/// The button of a form, by the end of its address.
fn button(of: &str) -> String {
    format!("form[action$='{of}'] button[type=submit]")
}

/// From the first page to the page of an account.
fn to_account(browser: &Browser, account: &str) {
    browser.click("nav li:first-child a");
    let local = account.split('@').next().expect("a name");
    let link = local.replace('-', "%2D");
    browser.click(&format!("#accounts a[href*='/account/{link}%40']"));
    browser.comes_to_see("h1", account);
}

/// Begins a sign-in on the page of an account, up to the link to the provider.
fn begin(browser: &Browser) {
    browser.click(&button("/authorize"));
    browser.comes_to_see("#sign-in", "Sign in as");
}

#[test]
fn a_person_comes_from_an_empty_configuration_to_a_message_that_a_mail_program_fetches() {
    let account = &lab().mailbox("wizard");
    lab().deliver(account, b"Subject: from nothing\r\n\r\nIt works.\r\n");
    let mut wicket = Wicket::empty();
    wicket.start_console();
    let profile = tempfile::tempdir().expect("a temporary directory");
    let browser = Browser::start(profile.path());
    browser.open(&link(&wicket));
    browser.comes_to_see("#summary", "There is no account yet");

    // The address, then the provider.
    browser.click("nav a[href$='/add']");
    is_for_everybody(&browser, "add");
    browser.fill("#address", account);
    browser.click("input[name=dns]");
    browser.click(&button("/add/guess"));
    browser.comes_to_see("main", "Its provider");
    browser.click("#provider option[value=other]");
    browser.click("form[action$='/add/account'] button.quiet");
    browser.comes_to_see("main", "What it needs");
    let ports = lab().ports("implicit");
    let (imap, smtp) = (
        format!("localhost:{}", ports["imap"]),
        format!("localhost:{}", ports["smtp"]),
    );
    for (field, text) in [
        ("issuer", lab().fact("issuer")),
        ("scopes", "openid offline_access email mail"),
        ("ca-file", lab().fact("ca_file")),
        ("client-id", "native-public"),
        ("imap-host", &imap),
    ] {
        browser.fill(&format!("[id='{field}']"), text);
    }
    is_for_everybody(&browser, "add-provider");
    // The server for SMTP is missing: the page says so, and keeps the answers.
    let add = "form[method=post][action$='/add/account'] button";
    browser.click(add);
    browser.comes_to_see(".flash.fault", "the provider's SMTP server");
    browser.fill("[id='smtp-host']", &smtp);
    browser.click(add);
    browser.comes_to_see("h1", account);
    browser.comes_to_see("main", "What is left to do");
    is_for_everybody(&browser, "account-new");

    // Consent: to the provider and back, by the browser alone.
    begin(&browser);
    is_for_everybody(&browser, "sign-in");
    browser.click("#provider");
    browser.comes_to_see("#sign-in", &format!("is authorised by {account}"));
    assert!(
        !browser.address().contains("code="),
        "{}",
        browser.address()
    );
    browser.click("#sign-in a.button");

    // A password, which is shown once.
    browser.click(&button("/passwords"));
    let password = eventually("a password", || browser.sees("#made"));
    is_for_everybody(&browser, "password-made");
    browser.click("main > p a.button");
    browser.comes_to_see("#passwords", "mail program");
    let page = browser.run("return document.documentElement.outerHTML");
    assert!(!page.to_string().contains(&password));
    assert!(!wicket.has_on_disk(password.as_bytes()));

    browser.click(&button("/test"));
    browser.comes_to_see("#test", "all well");
    is_for_everybody(&browser, "test");
    browser.click(".buttons form:nth-child(2) button");
    browser.comes_to_see("#test", "with a message");
    browser.comes_to_see("#test", "imap remove");
    to_account(&browser, account);
    is_for_everybody(&browser, "account");
    let port = "#program dl:nth-of-type(1) dd:nth-of-type(2)";
    let port = eventually("a port", || browser.sees(port));

    let mut curl = program("curl");
    curl.args(["-sS", "--user", &format!("{account}:{password}")]);
    curl.arg(format!("imap://127.0.0.1:{port}/INBOX;MAILINDEX=1"));
    let fetched = succeeds(&mut curl).stdout;
    let fetched = String::from_utf8_lossy(&fetched);
    assert!(fetched.contains("It works."), "{fetched}");
    let file = fs::read_to_string(wicket.folder().join("mailwicket.toml")).expect("the file");
    assert!(file.starts_with("# Everything is at its default"), "{file}");
    let complaints = browser.complaints();
    let unexpected: Vec<_> = complaints
        .iter()
        .filter(|line| !line.contains("422"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn what_a_person_does_wrong_at_the_provider_is_explained_and_can_be_done_again() {
    let (first, second) = (&lab().mailbox("wizard-no"), &lab().mailbox("wizard-two"));
    let plan = Plan::new().console().account(first).account(second);
    let wicket = plan.run_unauthorised();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));

    // The person says no, and thinks better of it.
    to_account(&browser, first);
    lab().control("deny", &json!({"account": first, "deny": true}));
    begin(&browser);
    browser.click("#provider");
    browser.comes_to_see("#sign-in", "The sign-in was declined");
    is_for_everybody(&browser, "sign-in-declined");
    lab().control("deny", &json!({"account": first, "deny": false}));
    browser.click(&button("/authorize"));
    browser.comes_to_see("#sign-in", "Sign in as");

    // A second tab begins again: the first one's way ends at a page that says so, and harms nothing.
    let old = "return document.getElementById('provider').href";
    let old = browser.run(old).as_str().expect("an address").to_owned();
    to_account(&browser, first);
    begin(&browser);
    let here = browser.address();
    browser.open(&old);
    browser.comes_to_see("h1", "This sign-in is over");
    is_for_everybody(&browser, "sign-in-over");
    assert_eq!(wicket.state(first), "unauthorized");
    browser.open(&here);
    browser.click("#provider");
    browser.comes_to_see("#sign-in", &format!("is authorised by {first}"));
    wicket.logs_in("imap", first);

    // The provider remembers the first person when the second account is to be authorised.
    to_account(&browser, second);
    begin(&browser);
    browser.click("#provider");
    let words = format!("{first} signed in, but the account needs {second}");
    browser.comes_to_see("#sign-in", &words);
    assert_eq!(wicket.state(second), "unauthorized");
}

#[test]
fn an_account_is_authorised_without_javascript_and_revoked_after_a_question() {
    let account = &lab().mailbox("wizard-plain");
    let wicket = Plan::new().console().account(account).run_unauthorised();
    let browser = Browser::start(wicket.folder());
    let off = json!({ "value": true });
    browser.devtools("Emulation.setScriptExecutionDisabled", &off);
    browser.open(&link(&wicket));
    to_account(&browser, account);
    begin(&browser);
    browser.click("#provider");
    browser.comes_to_see("#sign-in", "is authorised");
    browser.click("#sign-in a.button");
    browser.click(&button("/test"));
    browser.comes_to_see("#test", "all well");
    to_account(&browser, account);
    browser.click("a[href$='/revoke']");
    browser.comes_to_see("h1", "Revoke the sign-in");
    browser.click("button.danger");
    browser.comes_to_see(".flash", "are forgotten here");
    assert_eq!(wicket.state(account), "unauthorized");
}
