//! What the console's pages cost a browser: octets, requests, and the time to the first paint. The figures are printed:
//! `cargo test --test real weight -- --nocapture`.

use serde_json::Value;

use crate::console::link;
use crate::driver::Browser;
use crate::lab::lab;
use crate::wicket::Plan;

/// More than any page has: the page itself, its style, its script, its icon, and the stream of news.
const REQUESTS: u64 = 5;
/// Octets, with nothing compressed. A page of this size is there at once, over a slow line too.
const WEIGHT: u64 = 96 * 1024;

const FIGURES: &str = "
    const [page] = performance.getEntriesByType('navigation');
    const parts = performance.getEntriesByType('resource');
    const paint = performance.getEntriesByName('first-paint')[0];
    return {
        requests: 1 + parts.length,
        octets: page.encodedBodySize + parts.reduce((sum, part) => sum + part.encodedBodySize, 0),
        cached: parts.filter((part) => part.transferSize === 0).length,
        answer: page.responseEnd,
        paint: paint ? paint.startTime : null,
        foreign: parts.filter((part) => !part.name.startsWith(location.origin)).length,
    };";

#[test]
fn every_page_of_the_console_is_light_and_has_nothing_of_others() {
    let account = &lab().mailbox("weight");
    let wicket = Plan::new().console().account(account).run();
    let browser = Browser::start(wicket.folder());
    browser.open(&link(&wicket));
    let hrefs = "return [...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href'))";
    let hrefs = browser.run(hrefs);
    let hrefs = hrefs.as_array().expect("a list");
    assert!(hrefs.len() >= 4, "{hrefs:?}");
    println!("page                     requests  octets  answer ms  first paint ms");
    for href in hrefs.iter().filter_map(Value::as_str) {
        browser.click(&format!("nav a[href='{href}']"));
        browser.comes_to_see("nav a[aria-current=page]", "");
        let figures = browser.run(FIGURES);
        let number = |name: &str| figures[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:24} {:8}  {:6}  {:9.1}  {:14.1}",
            browser.address().split('/').next_back().unwrap_or_default(),
            number("requests"),
            number("octets"),
            number("answer"),
            number("paint"),
        );
        assert_eq!(figures["foreign"], 0, "{figures}");
        assert!(
            figures["requests"].as_u64() <= Some(REQUESTS),
            "{href}: {figures}"
        );
        assert!(
            figures["octets"].as_u64() <= Some(WEIGHT),
            "{href}: {figures}"
        );
    }
}
