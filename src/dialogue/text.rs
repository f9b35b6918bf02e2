//! Text from peers, made fit for people and logs.

/// At most 200 characters of what a peer said, with everything escaped that could forge a log line or drive a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(200)
        .flat_map(|c| c.escape_debug().collect::<Vec<_>>())
        .filter(|c| !is_directional(*c))
        .collect()
}

/// Whether a character changes the direction of the text around it.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The octets that may stand in the text of a success reply: what a mail program shows must not hold control characters.
pub(super) fn is_reply_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f))
}
