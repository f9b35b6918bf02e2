//! Beyond loopback, where machines can be told apart: in a network namespace, with two addresses for two machines.

use std::fs;

use crate::wait::{program, succeeds};

const CONFIG: &str = r#"
state-dir = "state"

[console]
listen = "0.0.0.0:0"
allow-from = ["10.9.8.7"]

[timeouts]
drain = "1s"

[provider.nowhere]
client-id = "x"
issuer = "https://localhost:9"
imap = { host = "localhost", port = 9 }

[[listener]]
protocol = "imap"
provider = "nowhere"
listen = "0.0.0.0:0"
tls = "none"
allow-plaintext-from = ["10.9.8.7"]

[[listener]]
protocol = "imap"
provider = "nowhere"
listen = "0.0.0.0:0"
tls = "auto"
allow-plaintext-from = ["10.9.8.7"]
"#;

/// What two machines hear from a mailwicket on a third.
fn seen_from_the_network() -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("mailwicket.toml");
    fs::write(&config, CONFIG).expect("written");
    let mut unshare = program("unshare");
    unshare.args(["--net", "python3", "-c", include_str!("scripts/lan.py")]);
    unshare.arg(env!("CARGO_BIN_EXE_mailwicket")).arg(&config);
    let output = succeeds(&mut unshare);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_console_beyond_loopback_has_tls_and_is_for_the_named_addresses_only() {
    let said = seen_from_the_network();
    for line in [
        "link: https",
        "stranger's browser: hung up on",
        "listed browser in clear: hung up on",
        "listed browser by another name: 421",
        "listed browser without a link: 403",
        "listed browser with the link: 303",
        "cookie: __Secure- ; Secure HttpOnly SameSite=Strict",
        "listed browser with the cookie alone: 403",
        "listed browser with the cookie: 200",
    ] {
        assert!(said.contains(&format!("{line}\n")), "{line}\n{said}");
    }
}

#[test]
fn only_the_listed_device_may_speak_in_clear_and_the_certificate_is_for_the_address_that_was_dialled()
 {
    let said = seen_from_the_network();
    let checked = "a NO [AUTHENTICATIONFAILED] Authentication failed. (MW-PASSWORD)";
    let refused = "a NO [PRIVACYREQUIRED] Encryption required; switch STARTTLS on in the mail program (MW-TLS)";
    let ready = "* OK mailwicket ready";
    for line in [
        "stranger none: * BYE No connection without TLS is taken from your address. (MW-PLAINTEXT)",
        &format!("scanner tls=none: {ready} {checked}"),
        &format!("scanner tls=auto: {ready} {checked}"),
        &format!("stranger auto: {ready} {refused}"),
        &format!("stranger tls: {ready} {checked}"),
        "stranger asks: s OK Begin TLS now.",
        &format!("stranger starttls: {checked}"),
    ] {
        assert!(said.contains(&format!("{line}\n")), "{line}\n{said}");
    }
    assert!(
        said.contains("log: ") && said.contains("allow-plaintext-from"),
        "{said}"
    );
}
