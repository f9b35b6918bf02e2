//! Configurations of email-oauth2-proxy, as anybody may have written them.
//!
//! Whatever the text is, what is made of it is TOML, and as a file of ours it is a configuration or problems with a place. The report
//! speaks of lines that are there, drives no terminal, and tells no client secret.

use mailwicket::import::emailproxy;

use super::setting::secret;

/// The key whose value nobody may read in a report.
const KEY: &str = "client_secret";

/// Any octets, as a file that was read as text.
pub fn run(data: &[u8]) {
    let secret = secret(data);
    let text = with_secret(&String::from_utf8_lossy(data), &secret);
    let Ok(import) = emailproxy::convert(&text, "emailproxy.config") else {
        return;
    };
    let parsed: Result<toml::Table, _> = import.toml.parse();
    if let Err(error) = parsed {
        panic!("{error}\n{}", &*import.toml);
    }
    super::config::run(import.toml.as_bytes());
    for note in &import.notes {
        let shown = note.to_string();
        assert!((1..=text.lines().count()).contains(&note.line), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(!shown.contains(&secret), "the report tells a secret");
    }
}

/// With the secret as the value of each client secret. Where a line is not indented, it cannot be part of another key's value.
fn with_secret(text: &str, secret: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let value = line.strip_prefix(KEY).map(str::trim_start);
        match value.is_some_and(|value| value.starts_with(['=', ':'])) {
            true => format!("{KEY} = {secret}\n"),
            false => line.to_owned(),
        }
    });
    lines.collect()
}
