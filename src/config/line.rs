//! Lines of a new configuration file, as `setup` and `import` write them.

use std::fmt::Write as _;

use toml_edit::Value;
use zeroize::Zeroizing;

/// `key = "value"`, without a copy of the value left behind: it may be a secret.
pub fn key(text: &mut String, key: &str, value: &str) {
    line(
        text,
        &Zeroizing::new(format!("{key} = {}", *Zeroizing::new(quoted(value)))),
    );
}

/// A line.
pub fn line(text: &mut String, line: &str) {
    // Writing into memory cannot fail.
    let _ = writeln!(text, "{line}");
}

/// A string on one line, for it may stand in a comment; what ends a line would have `Value` write several.
pub fn quoted(text: &str) -> String {
    if !text.contains(char::is_control) {
        return Value::from(text).to_string();
    }
    let mut quoted = String::with_capacity(6 * text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        // Writing into memory cannot fail.
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            _ if c.is_control() => write!(quoted, "\\u{:04X}", u32::from(c)),
            _ => write!(quoted, "{c}"),
        };
    }
    quoted.push('"');
    quoted
}
