//! The configuration, changed in a real browser: the file keeps what is in it, and mail goes where it says.

use std::fs;
use std::net::TcpListener;

use crate::console::{beside, is_for_everybody, link};
use crate::driver::Browser;
use crate::lab::lab;
use crate::mail;
use crate::wait::{program, succeeds};
use crate::wicket::{PASSWORD, Plan, Wicket};

/// The form of a page, not the ones that log out or remove.
const SEND: &str = "main form:not(.removal) button";

fn text(wicket: &Wicket) -> String {
    fs::read_to_string(wicket.folder().join("mailwicket.toml")).expect("a configuration")
}

/// Puts the first listener, which is the one for IMAP, to another port, up to the page with the difference.
fn moves_imap(browser: &Browser, port: u16) {
    browser.open(&beside(browser, "/listeners"));
    browser.click("tbody a[href$='/listeners/1']");
    browser.comes_to_see("h1", "Listener 1");
    browser.fill("#listen", &format!("127.0.0.1:{port}"));
    browser.click(SEND);
    browser.comes_to_see("ins", &format!("+ listen = [\"127.0.0.1:{port}\"] # mine"));
}

#[test]
fn a_person_moves_a_listener_and_a_mail_program_finds_it_there() {
    let account = &lab().mailbox("console-edit");
    lab().deliver(account, &mail::plain("moved"));
    let wicket = Plan::new().console().account(account).lay_out();
    // Comments where a person writes them.
    let commented = text(&wicket)
        .replace("127.0.0.1:0\"]\n", "127.0.0.1:0\"] # mine\n")
        .replace("[[listener]]", "# for the scanner\n[[listener]] # old");
    fs::write(wicket.folder().join("mailwicket.toml"), &commented).expect("written");
    let mut wicket = wicket;
    wicket.authorize(account);
    wicket.start();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));

    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    moves_imap(&browser, port);
    assert_eq!(
        text(&wicket),
        commented,
        "nothing is written before it was seen"
    );
    is_for_everybody(&browser, "change");

    // Somebody sits on the port: what was, stays, and the file can be restored.
    browser.click(SEND);
    browser.comes_to_see("main", "The old configuration stays in force");
    browser.comes_to_see("main", &port.to_string());
    wicket.logs_in("imap", account);
    browser.click(SEND);
    browser.comes_to_see("main", "The file is restored and in force.");
    assert_eq!(text(&wicket), commented);

    drop(free);
    moves_imap(&browser, port);
    browser.click(SEND);
    browser.comes_to_see("main", "The change is saved and in force.");
    browser.comes_to_see("main", &format!("imap on 127.0.0.1:{port}"));
    is_for_everybody(&browser, "changed");
    let wanted = commented.replacen(
        "127.0.0.1:0\"] # mine",
        &format!("127.0.0.1:{port}\"] # mine"),
        1,
    );
    // The console's own address is the first in the file.
    assert_ne!(text(&wicket), commented);
    assert_eq!(text(&wicket), wanted);
    let mut curl = program("curl");
    curl.args(["-sS", "--user", &format!("{account}:{PASSWORD}")]);
    curl.arg(format!("imap://127.0.0.1:{port}/INBOX;MAILINDEX=1"));
    let fetched = succeeds(&mut curl).stdout;
    assert!(fetched.ends_with(&mail::plain("moved")));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_pages_of_the_configuration_are_for_everybody() {
    let account = &lab().mailbox("console-pages");
    let wicket = Plan::new().console().account(account).run_unauthorised();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));
    for (path, title, name) in [
        ("/providers", "Providers", "providers"),
        ("/providers/lab", "Provider lab", "provider"),
        ("/new-provider", "New provider", "new-provider"),
        ("/listeners", "Listeners", "listeners"),
        ("/listeners/1", "Listener 1", "listener"),
        ("/configuration", "Configuration", "configuration"),
    ] {
        browser.open(&beside(&browser, path));
        browser.comes_to_see("h1", title);
        is_for_everybody(&browser, name);
    }
    // A form that is refused says so at its field.
    browser.open(&beside(&browser, "/listeners/1"));
    browser.fill("#listen", "0.0.0.0:1143");
    browser.click(SEND);
    browser.comes_to_see("#about-listen .fault", "in clear");
    is_for_everybody(&browser, "refused");
}
