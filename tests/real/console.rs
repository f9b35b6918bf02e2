//! The console in a real browser, before the real binary.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Duration;

use serde_json::json;

use crate::driver::{Browser, LOOKS};
use crate::lab::lab;
use crate::wicket::{Plan, Wicket};

/// Tab, as WebDriver spells it (W3C WebDriver §17.4.2).
const TAB: &str = "\u{e004}";

/// A link to the console, as a person gets it.
pub fn link(wicket: &Wicket) -> String {
    let output = wicket.command(&["console", "--no-open"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = printed.lines().collect();
    let [link] = lines[..] else {
        panic!("one line, not {printed}")
    };
    assert!(link.starts_with("http://127.0.0.1:"), "{link}");
    link.to_owned()
}

/// The address of a page beside the one that is open: below the path of the same session.
pub fn beside(browser: &Browser, path: &str) -> String {
    let address = browser.address();
    let session = address.split('/').take(4).collect::<Vec<_>>().join("/");
    format!("{session}{path}")
}

/// Looks at the page in every way, keeps pictures, and lets axe judge.
pub fn is_for_everybody(browser: &Browser, name: &str) {
    for look in LOOKS {
        browser.look(look);
        browser.picture(&format!("{name}-{}", look.name));
        let violations = browser.violations();
        assert!(
            violations.is_empty(),
            "{name} {}: {violations:#?}",
            look.name
        );
        let sideways = "return document.documentElement.scrollWidth > window.innerWidth";
        assert_eq!(
            browser.run(sideways),
            json!(false),
            "{name} {} is too wide",
            look.name
        );
    }
    browser.look(LOOKS[0]);
}

#[test]
fn a_person_opens_the_console_sees_every_account_live_and_logs_out() {
    let (signed_in, new) = (&lab().mailbox("console"), &lab().mailbox("console-new"));
    let plan = Plan::new().console().account(signed_in).account(new);
    let mut wicket = plan.lay_out();
    wicket.authorize(signed_in);
    wicket.start();
    let browser = Browser::start(wicket.folder());

    let link = link(&wicket);
    browser.open(&link);
    assert_eq!(
        browser.address(),
        beside(&browser, "/"),
        "the key has left the address bar"
    );
    browser.comes_to_see("#summary", "2 accounts; 1 needs somebody.");
    browser.comes_to_see("#accounts", signed_in);
    browser.comes_to_see("#accounts", "unauthorized");
    browser.comes_to_see("#listeners", &wicket.port("imap").to_string());

    // A session begins and ends while the page is open; a reload would lose the mark.
    browser.run("window.isSame = true");
    let of_signed_in = "#accounts tbody tr:nth-child(2)";
    browser.comes_to_see(of_signed_in, signed_in);
    let mut session = wicket.session("imap", signed_in);
    session.send(b"b NOOP\r\n");
    session.imap_until("b");
    let sessions = "#accounts tbody tr:nth-child(2) td[data-label=Sessions]";
    browser.comes_to_see(sessions, "1");
    browser.comes_to_see(of_signed_in, "just now");
    drop(session);
    browser.comes_to_see(sessions, "0");
    browser.comes_to_see(of_signed_in, "fetched");
    assert_eq!(browser.run("return window.isSame === true"), json!(true));
    is_for_everybody(&browser, "overview");

    wicket.login("imap", signed_in, "wrong");
    browser.click("nav a[href$='/events']");
    browser.comes_to_see("#events", "login refused");
    browser.comes_to_see("#events", "login ok");
    is_for_everybody(&browser, "events");

    browser.click("header button");
    browser.comes_to_see("h1", "You are logged out");
    is_for_everybody(&browser, "logged-out");
    browser.open(&beside(&browser, "/"));
    browser.comes_to_see("h1", "The console is closed");
    let complaints = browser.complaints();
    let unexpected: Vec<_> = complaints
        .iter()
        .filter(|line| !line.contains("403"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    browser.open(&link);
    browser.comes_to_see("h1", "This link is over");
    is_for_everybody(&browser, "link-over");
    browser.run("document.documentElement.removeAttribute('lang')");
    let found = browser.violations();
    assert!(!found.is_empty(), "axe would find something");
}

#[test]
fn the_console_works_without_javascript_and_with_the_keyboard() {
    let account = &lab().mailbox("console-plain");
    let wicket = Plan::new().console().account(account).run();
    let browser = Browser::start(wicket.folder());
    let off = json!({ "value": true });
    browser.devtools("Emulation.setScriptExecutionDisabled", &off);
    browser.open(&link(&wicket));
    browser.comes_to_see("#summary", "1 account, and all is well.");
    let session = wicket.session("imap", account);
    browser.reload();
    browser.comes_to_see("#accounts td[data-label=Sessions]", "1");
    drop(session);

    browser.press(TAB);
    let focus = "return document.activeElement.textContent";
    assert_eq!(browser.run(focus), json!("Skip to the content"));
    browser.press(TAB);
    assert_eq!(browser.run(focus), json!("Overview"));
    browser.click("header button");
    browser.comes_to_see("h1", "You are logged out");
}

/// A server of somebody else on this machine, whose page sets a cookie and loads a picture; its port, and what it is sent.
fn another_server() -> (u16, Receiver<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    let (sender, heads) = channel();
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: strangers=1; Path=/; SameSite=Strict\r\n\
                  Connection: close\r\n\r\n<img src=/picture>";
    spawn(move || {
        for stream in socket.incoming() {
            let (sender, mut stream) = (sender.clone(), stream.expect("a browser"));
            // Browsers also connect ahead and say nothing.
            spawn(move || {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                stream.write_all(answer.as_bytes()).ok();
                sender.send(head.join("\n")).ok();
            });
        }
    });
    (port, heads)
}

#[test]
fn a_server_on_another_port_is_not_sent_the_cookie() {
    let account = &lab().mailbox("console-port");
    let wicket = Plan::new().console().account(account).run();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));
    browser.comes_to_see("#summary", "1 account");
    let first = browser.address();
    let (port, heads) = another_server();
    browser.open(&format!("http://127.0.0.1:{port}/"));
    let next = || heads.recv_timeout(Duration::from_secs(20)).expect("a head");
    let mut all = next();
    while !all.contains("GET /picture") {
        all = format!("{all}\n{}", next());
    }
    // It is of the same site, so it gets what is strict, but for nothing of ours.
    assert!(all.contains("strangers=1"), "{all}");
    assert!(!all.contains("mailwicket"), "{all}");
    browser.open(&first);
    browser.comes_to_see("#summary", "1 account");
}

#[test]
fn an_open_page_says_when_its_session_or_mailwicket_is_over() {
    let account = &lab().mailbox("console-over");
    let mut wicket = Plan::new().console().account(account).run();
    let browser = Browser::start(wicket.folder());
    let enter = || {
        browser.open(&link(&wicket));
        browser.comes_to_see("#summary", "1 account");
    };
    enter();
    // As from another tab of the same browser.
    browser.run(
        "const csrf = document.querySelector('[name=csrf]').value;
         fetch(document.querySelector('header form').action, { method: 'POST', body: new URLSearchParams({ csrf }) });",
    );
    browser.comes_to_see("#notice", "Your session is over");
    enter();
    wicket.stop();
    browser.comes_to_see("#notice", "mailwicket has stopped");
}

#[test]
fn an_open_page_follows_reloads_and_tells_of_those_that_were_refused() {
    let account = &lab().mailbox("console-reload");
    let wicket = Plan::new().console().account(account).run();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));
    browser.comes_to_see("#summary", "1 account, and all is well.");
    wicket
        .reload_with_more("\n[[account]]\naddress = \"second@example.test\"\nprovider = \"lab\"\n");
    browser.comes_to_see("#summary", "2 accounts; 1 needs somebody.");
    browser.click("nav a[href$='/events']");
    browser.comes_to_see("#events", "configuration taken up");
    wicket.reload_with_more("bogus = 1\n");
    browser.comes_to_see("#events", "configuration refused");
    browser.comes_to_see("#events", "unknown key `bogus`");
}

#[test]
fn without_a_daemon_or_with_the_console_off_there_is_no_link_and_a_reason() {
    let account = &lab().mailbox("console-off");
    let mut wicket = Plan::new().account(account).lay_out();
    let reason = |wicket: &Wicket| {
        let output = wicket.command(&["console", "--no-open"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(reason(&wicket).contains("no mailwicket runs"));
    wicket.start();
    assert!(reason(&wicket).contains("serves no console"));
}
