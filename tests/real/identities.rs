//! Whose token opens which mailbox under which name: shared mailboxes, free login names, whole domains.

use std::fs;

use serde_json::json;

use crate::flows::{assertions, with_service_account};
use crate::lab::{PROTOCOLS, lab};
use crate::mail;
use crate::wicket::{PASSWORD, Plan, Wicket, is_success, is_wrong_password, log_in};

/// Logs in under a name that may have a backslash in it, which a quoted string of IMAP escapes.
fn login_as(wicket: &Wicket, protocol: &str, name: &str) -> String {
    let name = match protocol {
        "imap" => format!("\"{}\"", name.replace('\\', "\\\\")),
        _ => name.to_owned(),
    };
    log_in(&mut wicket.connect(protocol), protocol, &name, PASSWORD)
}

/// Everything that is kept, by name.
fn kept(wicket: &Wicket) -> Vec<String> {
    let files = fs::read_dir(wicket.folder().join("state/vault")).expect("a vault");
    let names = files.map(|file| file.expect("a file").file_name().into_string());
    let mut names: Vec<_> = names.map(|name| name.expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_delegate_opens_a_shared_mailbox_and_sends_under_the_own_name() {
    let (shared, delegate) = (lab().mailbox("team"), lab().mailbox("delegate"));
    let account = format!(
        "[[account]]\naddress = \"{shared}\"\nprovider = \"lab\"\nauthorize-as = \"{delegate}\"\n\
         logins = [\"desk 7\", \"{shared}\"]\n\
         identity = {{ imap = \"{shared}\", pop3 = \"{shared}\", smtp = \"{delegate}\" }}\n"
    );
    let mut wicket = Plan::new().with(&account).lay_out();
    wicket.add_password(&shared);
    // The delegate signs in; mailwicket would refuse anybody else.
    wicket.authorize(&shared);
    wicket.start();
    assert!(!is_success(&login_as(&wicket, "imap", &shared)));
    lab().control("delegate", &json!({"mailbox": shared, "to": delegate}));

    let names = [
        shared.clone(),
        "desk 7".to_owned(),
        format!("{delegate}\\{shared}"),
        format!("{delegate}\\team"),
        format!("{delegate}/team"),
    ];
    for name in &names {
        for protocol in PROTOCOLS {
            let answer = login_as(&wicket, protocol, name);
            assert!(
                is_success(&answer),
                "{protocol} {name}: {answer}\n{}",
                wicket.words()
            );
        }
    }
    let stranger = lab().mailbox("stranger");
    for name in [
        format!("{stranger}\\team"),
        format!("{shared}\\delegate"),
        delegate.clone(),
    ] {
        for protocol in PROTOCOLS {
            let answer = login_as(&wicket, protocol, &name);
            assert!(is_wrong_password(&answer), "{protocol} {name}: {answer}");
        }
    }

    // What is read is the shared mailbox; who sends is the delegate.
    lab().deliver(&shared, &mail::plain("for-the-desk"));
    lab().arrived(&shared, "for-the-desk");
    let mut imap = wicket.session("imap", &shared);
    let fetched = imap.imap_fetch_all();
    assert!(
        fetched
            .iter()
            .any(|text| mail::contains(text, b"for-the-desk"))
    );
    let mut smtp = wicket.session("smtp", &shared);
    smtp.smtp(&format!("MAIL FROM:<{shared}>"), "250");
    smtp.smtp(&format!("RCPT TO:<{shared}>"), "250");
    smtp.smtp("DATA", "354");
    smtp.send(&mail::dotted(&mail::plain("from-the-desk")));
    smtp.smtp_reply("250");
    lab().arrived(&shared, "from-the-desk");
    lab().logged(&format!("sasl_username={delegate}"));
}

#[test]
fn of_a_whole_domain_those_exist_who_have_a_password() {
    let (first, second) = (lab().mailbox("staff-1"), lab().mailbox("staff-2"));
    let mut wicket =
        with_service_account("whole-domain", Plan::new().account(&first).whole_domain());
    wicket.start();
    let before = kept(&wicket);
    for protocol in PROTOCOLS {
        let answer = wicket.login(protocol, &second, PASSWORD);
        assert!(is_wrong_password(&answer), "{protocol}: {answer}");
    }
    let of_second = |names: &[String]| names.iter().any(|name| name.starts_with("staff-2"));
    assert!(!of_second(&before) && !of_second(&kept(&wicket)));

    // From the next login on, while it runs.
    wicket.add_password(&second.to_uppercase());
    for account in [&first, &second] {
        for protocol in PROTOCOLS {
            wicket.logs_in(protocol, account);
        }
        assert_eq!(wicket.state(account), "ok");
    }
    let status = wicket.command(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let domain = format!("*@{}", lab().fact("domain"));
    let line = status.lines().find(|line| line.starts_with(&domain));
    assert!(
        line.expect("a line of the template")
            .ends_with("mailboxes with a password 2"),
        "{status}"
    );

    for words in [
        &["doctor", &second][..],
        &["authorize", &second],
        &["password", "list", &second],
        &["revoke", &second, "--local"],
        &["password", "remove", &second, "test"],
    ] {
        let output = wicket.command(words);
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
    let answer = wicket.login("imap", &second, PASSWORD);
    assert!(is_wrong_password(&answer), "{answer}");
    wicket.logs_in("imap", &first);
    let output = wicket.command(&["authorize", &domain]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("name one of them"), "{said}");
}

#[test]
fn an_application_with_a_secret_opens_the_mailboxes_of_a_domain_that_it_may() {
    let pool = ["pool-1", "pool-2"].map(|name| lab().mailbox(name));
    for mailbox in &pool {
        lab().control("delegate", &json!({"mailbox": mailbox, "to": "daemon"}));
    }
    let keys = "client-id = \"daemon\"\nclient-secret = \"daemon-secret\"\nflow = \"client-credentials\"\n\
                scopes = [\"mail\"]\n";
    let plan = Plan::new().provider(keys).whole_domain();
    let other = lab().mailbox("not-in-the-pool");
    let plan = pool
        .iter()
        .chain([&other])
        .fold(plan, |plan, mailbox| plan.account(mailbox));
    let wicket = plan.run_unauthorised();
    for mailbox in &pool {
        for protocol in PROTOCOLS {
            wicket.logs_in(protocol, mailbox);
        }
    }
    // A local password is no permission at the provider.
    let answer = wicket.login("imap", &other, PASSWORD);
    assert!(!is_success(&answer), "{answer}");
}

#[test]
fn a_reload_keeps_the_places_and_tokens_of_a_whole_domain() {
    let account = &lab().mailbox("staff-3");
    let plan = Plan::new().account(account).whole_domain();
    let plan = plan.with("max-upstream = { imap = 1 }\n");
    let mut wicket = with_service_account("reloaded", plan);
    wicket.start();
    let _session = wicket.session("imap", account);
    wicket.reload_with("", "");
    let answer = wicket.login("imap", account, PASSWORD);
    assert!(answer.contains("MW-LIMIT"), "{answer}");
    wicket.reload_with("{ imap = 1 }", "{ imap = 2 }");
    wicket.logs_in("imap", account);
    assert_eq!(assertions(account), 1);
}
