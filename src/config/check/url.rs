//! Checks of URLs: what may be sent where, and in clear only on this machine.

use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};
use serde_spanned::Spanned;
use url::{Host, Url};

use super::super::problem::Problem;
use super::value::{Checked, is_loopback};

/// Whether a URL stays on this machine.
fn stays_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => is_loopback(address.into()),
        None => false,
    }
}

/// An endpoint of OAuth: https, or http on this machine (RFC 6749 §3.1, §3.2).
pub fn endpoint_url(text: &Spanned<String>) -> Checked<Url> {
    let url = plain_url(text)?;
    if url.scheme() == "http" && !stays_here(&url) {
        let message = format!("`{}` would send secrets in clear", text.get_ref());
        return Err(Problem::at(text.span(), message)
            .hint("use https://; http:// is for 127.0.0.1, [::1] and localhost only"));
    }
    Ok(url)
}

/// An issuer identifier (RFC 8414 §2); it stays as it is written, since it is compared octet by octet.
pub fn issuer(text: &Spanned<String>) -> Checked<String> {
    let url = endpoint_url(text)?;
    if url.query().is_some() {
        return Err(Problem::at(text.span(), "an issuer has no query (`?…`)"));
    }
    Ok(text.get_ref().clone())
}

/// Where the browser comes back to: this machine, always.
pub fn redirect_url(text: &Spanned<String>) -> Checked<Url> {
    let url = plain_url(text)?;
    if !stays_here(&url) {
        let message = format!("`{}` leads away from this machine", text.get_ref());
        let hint = "use http://localhost or http://127.0.0.1, as registered at the provider; if the browser is on another machine, \
                    `mailwicket authorize --method paste` takes the address it ends at";
        return Err(Problem::at(text.span(), message).hint(hint));
    }
    Ok(url)
}

/// Where notices are sent. The address of a webhook is often all that is needed to post there, so no message quotes it.
pub fn webhook(address: &SecretString, span: Range<usize>) -> Checked<()> {
    let url = Url::parse(address.expose_secret()).map_err(|error| {
        Problem::at(span.clone(), format!("this URL is not one: {error}"))
            .hint("write it in full, beginning with https://")
    })?;
    match webhook_fault(&url) {
        None => Ok(()),
        Some((fault, hint)) => Err(Problem::at(span, fault).hint(hint)),
    }
}

/// What is wrong with the address of a webhook, and what to do; it is told without quoting it.
pub fn webhook_fault(url: &Url) -> Option<(&'static str, &'static str)> {
    let is_sound = url.scheme() == "https" || (url.scheme() == "http" && stays_here(url));
    match () {
        () if !is_sound => Some((
            "a webhook must begin with https://",
            "http:// is for 127.0.0.1, [::1] and localhost only",
        )),
        () if has_login(url) => Some((
            "a webhook must not hold a user name or password",
            "nothing would send them; use a `command` where the other side wants a login",
        )),
        () => None,
    }
}

fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// An http or https URL without user, password and fragment.
fn plain_url(text: &Spanned<String>) -> Checked<Url> {
    let wrong = |why: &str| Problem::at(text.span(), format!("this URL {why}"));
    let url = Url::parse(text.get_ref()).map_err(|error| {
        wrong(&format!("is not one: {error}")).hint("write it in full, beginning with https://")
    })?;
    match () {
        () if !["http", "https"].contains(&url.scheme()) => Err(wrong("must begin with https://")),
        () if !url.has_host() => Err(wrong("has no host")),
        () if has_login(&url) => Err(wrong("must not hold a user name or password")),
        () if url.fragment().is_some() => Err(wrong("must not have a fragment (`#…`)")),
        () => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Spanned<String> {
        Spanned::new(0..text.len(), text.to_owned())
    }

    #[test]
    fn a_webhook_is_sent_nothing_in_clear_and_is_not_quoted() {
        let check = |address: &str| webhook(&address.into(), 0..1);
        assert!(check("https://hooks.example/T0/B0/x").is_ok());
        assert!(check("http://127.0.0.1:8065/hooks/x").is_ok());
        for address in [
            "http://hooks.example/T0",
            "hooks.example/T0",
            "ftp://hooks.example",
            "https://user:s3cret@hooks.example/x",
            "https://s3cret@hooks.example/x",
        ] {
            let problem = format!("{:?}", check(address).unwrap_err());
            assert!(!problem.contains("hooks.example"), "{problem}");
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in [
            "https://a.example/token",
            "http://127.0.0.1:1/x",
            "http://127.9.9.9/",
            "http://[::1]/",
            "http://localhost/",
            "http://LOCALHOST:8/",
        ] {
            assert!(endpoint_url(&text(url)).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/",
            "http://localhost.evil.example/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "localhost",
            "https://u:p@a.example/",
            "https://a.example/#x",
            "http://127.0.0.1.evil.example/",
            "",
        ] {
            assert!(endpoint_url(&text(url)).is_err(), "{url}");
        }
        assert!(redirect_url(&text("https://mail.example.com/callback")).is_err());
        assert!(redirect_url(&text("http://localhost:0/callback")).is_ok());
        assert!(issuer(&text("https://a.example/?x")).is_err());
        assert_eq!(
            issuer(&text("https://a.example")).unwrap(),
            "https://a.example"
        );
    }
}
