//! Sign-in as a person does it: in a real browser, or by pasting what the browser ended at.

use std::io::Write as _;
use std::process::ChildStdin;

use crate::lab::{PROTOCOLS, lab};
use crate::wait::{program, succeeds};
use crate::wicket::{Plan, Wicket};

/// What a browser shows at the end of its way, as text.
fn shown_by_chromium(wicket: &Wicket, url: &str) -> String {
    let mut chromium = program("chromium");
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
    ]);
    // It would look for updates and its maker's services, which no test needs.
    chromium.args([
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    chromium.arg(format!(
        "--user-data-dir={}",
        wicket.folder().join("chromium").display()
    ));
    chromium.args(["--dump-dom", url]);
    String::from_utf8_lossy(&succeeds(&mut chromium).stdout).into_owned()
}

#[test]
fn a_person_signs_in_with_a_real_browser_and_reads_that_it_worked() {
    let account = &lab().mailbox("browser");
    let wicket = Plan::new().account(account).run_unauthorised();
    wicket.authorize_by(account, "browser", |url, _: ChildStdin| {
        let page = shown_by_chromium(&wicket, url);
        assert!(page.contains("Sign-in received."), "{page}");
        assert!(
            !page.contains("code="),
            "the page does not repeat the code: {page}"
        );
    });
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
}

#[test]
fn a_person_without_a_browser_on_this_machine_pastes_the_last_address() {
    let account = &lab().mailbox("paste");
    let wicket = Plan::new().account(account).run_unauthorised();
    wicket.authorize_by(account, "paste", |url, mut input| {
        let jar = wicket.folder().join("cookies");
        let mut curl = program("curl");
        curl.args(["-sL", "-o", "/dev/null", "-w", "%{url_effective}", "-c"])
            .arg(&jar);
        curl.arg("-b").arg(&jar).arg(url);
        // The last page cannot be shown, because nobody listens there; its address is all that is wanted.
        let output = curl.output().expect("curl runs");
        let address = String::from_utf8(output.stdout).expect("an address");
        assert!(address.contains("code="), "{address}");
        writeln!(input, "not an address").expect("it reads");
        writeln!(input, "  {address}  ").expect("it reads");
    });
    wicket.logs_in("imap", account);
}
