//! What pages of others and forged addresses can do to the console, in a real browser that is logged in to it: nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::console::link;
use crate::driver::{Browser, REBOUND};
use crate::lab::lab;
use crate::wicket::Plan;

/// A site that shows this page to whoever comes, on a port of its own: cookies know no ports, so it is the worst neighbour there is.
fn neighbour(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // What it is asked for is all the same, and whether the browser stays for the answer too.
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{page}", page.len());
        }
    });
    address
}

/// `http://host:port` of an address.
fn origin(address: &str) -> String {
    address.split('/').take(3).collect::<Vec<_>>().join("/")
}

#[test]
fn pages_of_others_and_forged_addresses_do_nothing_to_a_console_that_is_open() {
    let account = &lab().mailbox("intruders");
    let wicket = Plan::new().console().account(account).run();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));
    browser.comes_to_see("#summary", "1 account, and all is well.");
    let home = browser.address();
    let form = "return document.querySelector('header form').action";
    let action = browser.run(form);
    let action = action.as_str().expect("the address of the log-out");

    // Another site has a form for it, and the browser is made to send it.
    let page = format!("<form method=post action='{action}'><button>Win a prize</button></form>");
    browser.open(&format!("http://{}/", neighbour(page)));
    browser.click("button");
    browser.comes_to_see("h1", "Refused");

    // Another site's name points at this machine.
    let port = origin(&home).rsplit(':').next().expect("a port").to_owned();
    browser.open(&format!("http://{REBOUND}:{port}/"));
    browser.comes_to_see("h1", "Wrong address");

    // A link that looks like the end of a sign-in.
    browser.open(&format!("{}/?code=forged&state=forged", origin(&home)));
    browser.comes_to_see("h1", "This sign-in is over");

    browser.open(&home);
    browser.comes_to_see("#summary", "1 account, and all is well.");
    assert_eq!(wicket.state(account), "ok");
}
