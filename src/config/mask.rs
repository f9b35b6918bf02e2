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

/// Where the secrets of a text are; places may overlap. Comments count: what was commented out may be good still.
pub fn secrets(text: &str, document: &DeTable<'_>, broken: bool) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    collect(document, &mut spans);
    suspicious_lines(text, broken, &mut spans);
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

/// What follows a secret's key on its line, in comments or everywhere; and as many lines more as its value may have.
fn suspicious_lines(text: &str, everywhere: bool, spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    // A value that began on an earlier line: what ends it, and whether it stands in a comment.
    let mut open: Option<(&str, bool)> = None;
    for line in text.split_inclusive('\n') {
        let here = start..start + line.len();
        start = here.end;
        let is_comment = line.trim_start().starts_with('#');
        // Nothing of a comment goes on after it.
        if let Some((end, _)) = open.filter(|(_, in_comment)| !in_comment || is_comment) {
            spans.push(here);
            open = open.filter(|_| !closes(line, end));
            continue;
        }
        open = None;
        // A `#` may stand in a string of a whole file; what is masked for nothing there is little, and what goes on is not believed.
        let from = if everywhere { Some(0) } else { line.find('#') };
        let Some(from) = from else { continue };
        let judged = here.start + from..here.end;
        if let Some(at) = after_secret_key(&line[from..]) {
            let value = &line[from + at..];
            spans.push(judged.start + at..judged.end);
            if everywhere || is_comment {
                open = unclosed(value).map(|end| (end, is_comment));
            }
        }
        if let Some(url) = line[from..].find("://").filter(|_| has_user(&line[from..])) {
            spans.push(judged.start + url..judged.end);
        }
    }
}

/// Where the value of a secret's key begins in a line.
fn after_secret_key(line: &str) -> Option<usize> {
    let mut at = 0;
    for part in line.split_inclusive(['=', ',', '{', '#']) {
        at += part.len();
        let word = part.trim_end_matches('=').trim();
        if part.ends_with('=') && is_secret(word.trim_matches(['"', '\''])) {
            return Some(at);
        }
    }
    None
}

/// Whether a value that goes on ends on this line. Of a list, a bracket in the midst may be part of an item.
fn closes(line: &str, end: &str) -> bool {
    if end != "]" {
        return line.contains(end);
    }
    let last = |line: &str| {
        line.trim_end_matches([' ', '\t', '\r', '\n', ',', '}'])
            .ends_with(']')
    };
    last(line) || line.rsplit_once(" #").is_some_and(|(line, _)| last(line))
}

/// What ends a value that does not end on its line.
fn unclosed(value: &str) -> Option<&'static str> {
    for quotes in ["\"\"\"", "'''"] {
        if value.matches(quotes).count() % 2 == 1 {
            return Some(quotes);
        }
    }
    let value = value.trim();
    let is_list = !value.starts_with(['"', '\'']) && value.contains('[');
    (is_list && !closes(value, "]")).then_some("]")
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
    fn secrets_that_were_commented_out_are_hidden() {
        for text in [
            "# client-secret = \"hunter2\"\na = 1",
            "[a] # client-secret = 'hunter2'\n",
            "  ## Client_Secret='hunter2'\n",
            "# \"client-secret\" = 'hunter2'\n",
            "# x = { client-secret = 'hunter2' }",
            "# token-url = 'https://a:hunter2@b'\n",
            "# password-hash = [\n#   'hunter2',\n# ]\n",
            "# key = \"\"\"\n# hunter2\n# \"\"\"\n",
            "# was: client-secret = hunter2\n",
        ] {
            let out = masked(text);
            assert!(!out.contains("hunter2"), "{out}");
            assert_eq!(out.len(), text.len());
        }
        let text = "# The client-secret is in the vault.\n# password-hash = [\na = 'shown'\n# b = 'shown'\n";
        let out = masked(text);
        assert_eq!(out.matches("shown").count(), 2, "{out}");
        assert!(out.contains("is in the vault"), "{out}");
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
            "client-secret = \"\"\"\nhunter2\n",
            "a = = 1\nclient-secret = '''\nx\nhunter2\n'''\n",
            "certificate = { key = \"\"\"-BEGIN\n# a\nhunter2",
            "client-secret = { command = ['a]',\n  \"hunter2\"",
            "password-hash = [\n  \"x\",\n  \"hunter2\n",
        ] {
            let out = masked(text);
            assert!(!out.contains("hunter2"), "{out}");
            assert_eq!(out.len(), text.len());
        }
        let out = masked("a = = 1\npassword-hash = [\n  'x',\n]\nb = 'shown'\n");
        assert!(out.contains("b = 'shown'"), "{out}");
    }
}
