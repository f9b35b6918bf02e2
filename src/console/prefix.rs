//! The secret path of a session: off a request before it is routed, and in front of every address in the answer.
//!
//! Browsers send cookies to every port of a host, so a cookie alone would reach whoever listens on another port of this machine. Ours is
//! for the path of its session only, which no other origin can read; a request needs both. Handlers and pages know nothing of it: they
//! write addresses from `/` on.

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, REFRESH};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};

use super::page::Fault;

/// The attributes that hold addresses, the one that the script reads among them.
const LINKS: [&str; 5] = [" href", " action", " formaction", " src", " data-live"];
/// What everybody may have stays where it is.
const PUBLIC: &str = "assets/";

/// The first segment of the path, and the address below it.
pub fn split(uri: &Uri) -> Option<(&str, Uri)> {
    let whole = uri.path_and_query()?.as_str().strip_prefix('/')?;
    let end = uri.path().strip_prefix('/')?.find('/')?;
    let below = PathAndQuery::try_from(&whole[end..]).ok()?;
    Some((&whole[..end], Uri::from(below)))
}

/// Puts the path of a session in front of the addresses in what one of its pages is made of.
///
/// Text and values of attributes have their quotes escaped, so `="/` can only be the beginning of a value, and what stands before it the
/// attribute's name. Fields of forms hold paths of files, so the name has to be one of an address.
pub fn put_in_html(html: &str, path: &str) -> String {
    let mut parts = html.split("=\"/");
    let mut led = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_address = LINKS.iter().any(|name| led.ends_with(name));
        led.push_str("=\"/");
        if is_address && !part.starts_with(PUBLIC) {
            led.push_str(path);
            led.push('/');
        }
        led.push_str(part);
    }
    led
}

/// The same for a whole answer. Events are made as long as the page is open, so `live` does it for each.
pub async fn put_in(response: Response, path: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    for (name, before) in [(LOCATION, ""), (REFRESH, "url=")] {
        put_in_header(&mut parts.headers, &name, before, path);
    }
    let kind = parts.headers.get(CONTENT_TYPE);
    let is_html = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_html {
        return Response::from_parts(parts, body);
    }
    // A page of ours is in memory as a whole.
    let page = to_bytes(body, usize::MAX).await.ok();
    let page = page.and_then(|page| String::from_utf8(page.into()).ok());
    let Some(page) = page else {
        return Fault::internal().into_response();
    };
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(put_in_html(&page, path)))
}

fn put_in_header(headers: &mut http::HeaderMap, name: &HeaderName, before: &str, path: &str) {
    let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let at = value.find(before).map_or(0, |at| at + before.len());
    let (start, address) = value.split_at(at);
    if address.starts_with('/')
        && let Ok(led) = HeaderValue::from_str(&format!("{start}/{path}{address}"))
    {
        headers.insert(name, led);
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn the_first_segment_is_taken_off_and_the_query_stays() {
        let split = |text: &str| {
            let uri: Uri = text.parse().expect("an address");
            split(&uri).map(|(path, below)| (path.to_owned(), below.to_string()))
        };
        let found = |path: &str, below: &str| Some((path.to_owned(), below.to_owned()));
        assert_eq!(split("/k3y/"), found("k3y", "/"));
        assert_eq!(split("/k3y/a/b?c=/d"), found("k3y", "/a/b?c=/d"));
        assert_eq!(split("http://host/k3y/a"), found("k3y", "/a"));
        assert_eq!(split("//a"), found("", "/a"));
        for none in ["/", "/k3y", "/k3y?a=/b", "*"] {
            assert_eq!(split(none), None, "{none}");
        }
    }

    #[test]
    fn addresses_get_the_path_and_nothing_else_does() {
        let page = html! {
            a href="/events" { "/events" }
            form action="/" { input name="file" value="/etc/cert.pem"; button formaction="/x" {} }
            link href="/assets/a.css";
            script src="/assets/a.js" {}
            a href="https://provider.example/" {}
            a href="#passwords" {}
            body data-live="/live?page=events" {}
        };
        let led = put_in_html(&page.into_string(), "k3y");
        for wanted in [
            "<a href=\"/k3y/events\">/events</a>",
            " action=\"/k3y/\"",
            " value=\"/etc/cert.pem\"",
            " formaction=\"/k3y/x\"",
            " href=\"/assets/a.css\"",
            " src=\"/assets/a.js\"",
            " href=\"https://provider.example/\"",
            " href=\"#passwords\"",
            " data-live=\"/k3y/live?page=events\"",
        ] {
            assert!(led.contains(wanted), "no {wanted} in {led}");
        }
    }

    #[test]
    fn what_strangers_wrote_never_gets_the_path() {
        for hostile in [
            " href=\"/",
            "<a href=\"/x\">",
            "x\" href=\"/x",
            " href=",
            " href=&quot;/",
            "/ href=\"/",
        ] {
            let page = html! {
                p { (hostile) } "/"
                input value=(hostile);
                div title=(hostile) { "/" }
                option label=(hostile) value="/" {}
            };
            let page = page.into_string();
            assert_eq!(put_in_html(&page, "k3y"), page, "{hostile}");
        }
    }
}
