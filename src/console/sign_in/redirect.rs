//! The way back from the provider.
//!
//! The browser comes from another site, so it leaves our strict cookie out: nobody is logged in here. What decides is the `state`, which
//! only the session that began the sign-in and the provider have seen; it is good once, for ten minutes, while that session is open. Even
//! who knew it could only bring a code, whose tokens are taken if the right person signed in ([`crate::authorize::check`]). So the page
//! that is shown here names no account and no outcome. It begins a way of its own, from a page of ours, and there the cookie comes along.
//!
//! Providers that compare the path of a redirect want the registered one, which is `/` as a rule; so every path is looked at, and
//! the query decides whether it is a redirect.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::REFRESH;
use http::{HeaderValue, Method, StatusCode};
use maud::html;
use secrecy::ExposeSecret;
use url::{Host, Url, form_urlencoded};

use super::super::gate::Door;
use super::super::page::{self, Fault};
use super::super::{Console, Own, sign_in};
use super::ongoing::Arrived;
use crate::authorize::redirect_to_paste;
use crate::oauth::redirect::RedirectError;

/// Where a page of ours is that leads on to a sign-in's own.
const BRIDGE: &str = "/signed-in/";

/// What everybody may have.
pub fn routes() -> Router<Arc<Console>> {
    Router::new().route(&format!("{BRIDGE}{{path}}/{{id}}"), get(bridge))
}

/// How a sign-in comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Return {
    /// To the console's own address.
    Here(Url),
    /// To another port of this machine, which is listened on for it.
    Elsewhere(Url),
    /// Not by itself: the address that the browser ends at is pasted.
    Pasted(Url),
}

impl Return {
    /// As the configured `redirect-url` has it, for a console that is found there. Where the port is free, it is the console's: it is forwarded with
    /// the console where that is, and no other has to be. Host and path stay, because they are what providers compare.
    pub fn of(configured: &Url, own: Option<&Own>) -> Self {
        if configured.scheme() != "http" {
            return Self::Pasted(redirect_to_paste(configured));
        }
        let Some(own) = own.filter(|own| leads_to(configured, own)) else {
            return Self::Elsewhere(configured.clone());
        };
        let mut here = configured.clone();
        // Only URLs without a host refuse a port, and this has one.
        let _ = here.set_port(own.url.port());
        match configured.port() {
            None | Some(0) => Self::Here(here),
            port if port == own.url.port() => Self::Here(here),
            _ => Self::Elsewhere(configured.clone()),
        }
    }
}

/// Whether somebody at the host of `url`, which is loopback, finds the console and nobody else. Where TLS is spoken, no.
fn leads_to(url: &Url, own: &Own) -> bool {
    own.url.scheme() == "http"
        && match url.host() {
            // The browser chooses the family; the other one's port may be another user's.
            Some(Host::Domain(name)) => own.has_localhost && name.eq_ignore_ascii_case("localhost"),
            host => host == own.url.host(),
        }
}

/// Takes redirects out of the requests, in front of the gate.
pub async fn catch(
    State(console): State<Arc<Console>>,
    Extension(door): Extension<Arc<Door>>,
    request: Request,
    next: Next,
) -> Response {
    let (path, query) = (
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
    );
    if request.method() != Method::GET || !is_redirect(query) {
        return next.run(request).await;
    }
    let arrived = console.sign_ins.redirected(path, query);
    let arrived = arrived.map(|arrived| {
        let path = console.sessions().path(arrived.session, Instant::now());
        (arrived, path)
    });
    match arrived {
        Some((arrived, Some(path))) => {
            let host = request.headers().get(http::header::HOST);
            let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
            let page = received(&arrived, path.expose_secret(), &door.origin(host));
            sign_in::end(&console, arrived);
            page
        }
        Some((arrived, None)) => {
            let over = RedirectError::Stray("the session that began it is over");
            sign_in::fail(&console, &arrived.id, &over.into());
            stray()
        }
        None => stray(),
    }
}

/// RFC 6749 §4.1.2: a state, and a code or an error. No page of ours has such a query.
fn is_redirect(query: &str) -> bool {
    let has = |wanted: &str| {
        let mut names = form_urlencoded::parse(query.as_bytes());
        names.any(|(name, _)| name == wanted)
    };
    has("state") && (has("code") || has("error"))
}

/// Back to where the person uses the console: another name of this machine has other cookies, and a way from one to the other counts as
/// one from another site.
fn received(arrived: &Arrived, path: &str, here: &str) -> Response {
    let (origin, id) = (&arrived.origin, &arrived.id);
    let on = match here.eq_ignore_ascii_case(origin) {
        true => page_of(path, id),
        false => format!("{origin}{BRIDGE}{path}/{id}"),
    };
    lead("Sign-in received", &on)
}

/// A sign-in's own page, below the path of its session.
fn page_of(path: &str, id: &str) -> String {
    format!("/{path}{}{id}", super::PATH)
}

fn lead(title: &str, to: &str) -> Response {
    let content = html! {
        p { "mailwicket looks at what the provider granted." }
        p { a href=(to) { "On to the result" } }
    };
    let mut response = page::plain(StatusCode::OK, title, &content);
    if let Ok(to) = HeaderValue::from_str(&format!("0; url={to}")) {
        response.headers_mut().insert(REFRESH, to);
    }
    response
}

fn stray() -> Response {
    let content = html! {
        p {
            "This sign-in was received already, was begun again in another tab, or took too long. Nothing was done with it. You may close "
            "this page, or go back to the console in it."
        }
    };
    page::plain(StatusCode::BAD_REQUEST, "This sign-in is over", &content)
}

/// From our page under this name to the sign-in's own; it shows nothing.
async fn bridge(Path((path, id)): Path<(String, String)>) -> Response {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_name = |text: &str| text.len() <= 64 && text.chars().all(is_letter);
    match is_name(&path) && is_name(&id) {
        true => lead("Sign-in received", &page_of(&path, &id)),
        false => Fault::not_found().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_comes_back_to_the_console_where_the_provider_lets_it() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let own = |at: &str, has_localhost| Own {
            url: url(at),
            has_localhost,
        };
        let both = own("http://127.0.0.1:8047/", true);
        let here = |text| Return::Here(url(text));
        for (configured, comes_back) in [
            ("http://localhost", here("http://localhost:8047/")),
            ("http://127.0.0.1/", here("http://127.0.0.1:8047/")),
            ("http://localhost:0/a", here("http://localhost:8047/a")),
            ("http://localhost:8047/b", here("http://localhost:8047/b")),
            (
                "http://localhost:8048/",
                Return::Elsewhere(url("http://localhost:8048/")),
            ),
            ("http://[::1]/", Return::Elsewhere(url("http://[::1]/"))),
            (
                "https://127.0.0.1",
                Return::Pasted(url("https://127.0.0.1/")),
            ),
        ] {
            assert_eq!(Return::of(&url(configured), Some(&both)), comes_back);
        }
        let elsewhere = |text| Return::Elsewhere(url(text));
        let of = |text: &str, own| Return::of(&url(text), Some(&own));
        let secured = own("https://mail.example:8047/", false);
        assert_eq!(
            of("http://localhost", secured),
            elsewhere("http://localhost/")
        );
        // Whoever has the port of the other family would get what comes to localhost.
        let half = || own("http://127.0.0.1:8047/", false);
        for at in ["http://localhost/", "http://localhost:8047/"] {
            assert_eq!(of(at, half()), elsewhere(at));
        }
        assert_eq!(
            of("http://127.0.0.1", half()),
            here("http://127.0.0.1:8047/")
        );
    }

    #[test]
    fn only_the_query_of_a_redirect_is_one() {
        assert!(is_redirect("code=a&state=b"));
        assert!(is_redirect("state=b&error=access_denied&iss=x"));
        for other in ["", "state=b", "code=a", "account=a%26state=b%26code=c"] {
            assert!(!is_redirect(other), "{other}");
        }
    }
}
