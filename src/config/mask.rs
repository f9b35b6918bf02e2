//! Hides secrets in the text of a configuration before any of its lines is shown: problems end up in logs.

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

/// The text with every octet of a secret replaced by `*`; all other octets keep their place.
///
/// `broken`: the text has syntax errors, so the document may lack some of it, and lines are judged by their words as well.
pub fn mask(text: &str, document: &DeTable<'_>, broken: bool) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in secrets(text, document, broken) {
        // Quotes and brackets stay, so that a missing one can be seen.
        for byte in bytes.get_mut(span).into_iter().flatten() {
            if !b"\r\n\"'[]".contains(byte) {
                *byte = b'*';
            }
        }
    }
    // Spans begin and end between characters, and ASCII replaces whole characters: the result is UTF-8. Were it not, nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Where the secrets of a text are; places may overlap.
pub fn secrets(text: &str, document: &DeTable<'_>, broken: bool) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    collect(document, &mut spans);
    if broken {
        suspicious_lines(text, &mut spans);
    }
    spans
}

fn collect(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if is_secret(key.get_ref()) {
            hide(value, spans);
        } else {
            descend(value, spans);
        }
    }
}

fn descend(value: &Spanned<DeValue<'_>>, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => collect(table, spans),
        DeValue::Array(array) => array.iter().for_each(|item| descend(item, spans)),
        DeValue::String(text) if has_user(text) => spans.push(value.span()),
        _ => {}
    }
}

/// Whether a text may be a URL with a password in it.
fn has_user(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| rest.contains('@'))
}

/// Everything within the value of a secret key, except the names of where the secret is.
fn hide(value: &Spanned<DeValue<'_>>, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => table
            .iter()
            .filter(|(key, _)| !["file", "env", "credential"].contains(&key.get_ref().as_ref()))
            .for_each(|(_, value)| hide(value, spans)),
        DeValue::Array(array) => array.iter().for_each(|item| hide(item, spans)),
        _ => spans.push(value.span()),
    }
}

/// Whether the value of a key may be or hold a secret. Misspelt keys count as well.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let named = [
        "secret",
        "passw",
        "command",
        "webhook",
        "postgres",
        "egress",
        "assertion",
        "service-account",
    ];
    (named.iter().any(|word| key.contains(word)) || key.ends_with("key"))
        && !key.contains("expires")
}

/// What follows a secret's key on its line.
fn suspicious_lines(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut at = 0;
        for part in line.split_inclusive(['=', ',', '{']) {
            at += part.len();
            let word = part.trim_end_matches('=').trim();
            if part.ends_with('=') && is_secret(word) {
                spans.push(start + at..start + line.len());
                break;
            }
        }
        if let Some(url) = line.find("://").filter(|_| has_user(line)) {
            spans.push(start + url..start + line.len());
        }
        start += line.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let (document, errors) = DeTable::parse_recoverable(text);
        mask(text, document.get_ref(), !errors.is_empty())
    }

    #[test]
    fn secrets_are_hidden_and_nothing_moves() {
        let text = "[provider.a]\nclient-secret = \"hünter2\" # why\nclient_secret='x'\nclient-secret-expires = 2027-01-01\n[vault]\nkey = { file = 'vault.key' }\n[[account]]\npassword-hash = ['hunter2']\n[x]\nkey = { command = ['pass', 'hunter2'] }";
        let out = masked(text);
        assert!(!masked("token-url = 'https://a:hunter2@b'").contains("hunter2"));
        assert_eq!(out.len(), text.len());
        assert!(!out.contains("nter2"), "{out}");
        for text in [
            "certificate = { file = 'a', key = \"\"\"\n-BEGIN\nhunter2\n\"\"\" }",
            "assertion = 'hunter2'",
            "service-account = '{\"private_key\": \"hunter2\"}'",
        ] {
            assert!(!masked(text).contains("hunter2"), "{text}");
        }
        assert!(out.contains("client-secret = \"********\" # why"), "{out}");
        assert!(
            out.contains("2027-01-01") && out.contains("vault.key"),
            "{out}"
        );
    }

    #[test]
    fn secrets_are_hidden_in_a_broken_file_too() {
        for text in [
            "client-secret = \"hunter2\n",
            "client-secret = hunter2\n",
            "[a\nclient-secret = 'hunter2'",
            "a = { client-secret = \"hunter2 }",
            "password-hash = [\"hunter2]\nx",
            "token-url = 'https://a:hunter2@b",
        ] {
            let out = masked(text);
            assert!(!out.contains("hunter2"), "{out}");
            assert_eq!(out.len(), text.len());
        }
    }
}
