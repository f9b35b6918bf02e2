//! Starts the person's browser, without a shell.

use std::process::{Command, Stdio};

use url::Url;

use crate::oauth::http::is_loopback;

/// Opens `url` in a browser if it is one for the web and there is a desktop to show it on; false if not.
pub fn open(url: &Url) -> bool {
    if !is_for_a_browser(url) {
        return false;
    }
    let Some((program, before)) = opener() else {
        return false;
    };
    let child = Command::new(program)
        .args(before)
        .arg(url.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(mut child) => {
            // Waited for on the side, so that it leaves no zombie; a browser may run as long as it likes.
            std::thread::spawn(move || child.wait());
            true
        }
        Err(_) => false,
    }
}

/// Metadata of an issuer could name any URL; only those that a browser shows as a page are handed to the system.
fn is_for_a_browser(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && url.host_str().is_some_and(is_loopback))
}

fn opener() -> Option<(&'static str, &'static [&'static str])> {
    if cfg!(target_os = "macos") {
        Some(("open", &[]))
    } else if cfg!(windows) {
        // Not `cmd /c start`: that is a shell, and `&` would end the address.
        Some(("rundll32", &["url.dll,FileProtocolHandler"]))
    } else {
        let has_desktop = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        (has_desktop("DISPLAY") || has_desktop("WAYLAND_DISPLAY"))
            .then_some(("xdg-open", &[] as &[_]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_pages_are_handed_to_the_system() {
        for (url, fits) in [
            ("https://login.example/auth?a=b", true),
            ("http://127.0.0.1:8080/auth", true),
            ("http://login.example/auth", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
        ] {
            assert_eq!(
                is_for_a_browser(&Url::parse(url).expect("url")),
                fits,
                "{url}"
            );
        }
    }
}
