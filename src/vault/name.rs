//! The names of the vault's files: an account's address, readable and safe in every file system.

use super::Kind;

/// Longest encoded account: with the longest ending it stays within the 255 octets that file systems allow.
const MAX_LEN: usize = 230;

/// The file name of a record, without folder; `None` if the account is empty or too long.
pub(super) fn file_name(kind: Kind, account: &str) -> Option<String> {
    let encoded = encode(account);
    let fits = !encoded.is_empty() && encoded.len() <= MAX_LEN;
    fits.then(|| format!("{encoded}.{}", kind.word()))
}

/// The account whose record of `kind` has this file name, if it is one.
pub(super) fn account(kind: Kind, file_name: &str) -> Option<String> {
    decode(file_name.strip_suffix(kind.word())?.strip_suffix('.')?)
}

/// Folds ASCII case and writes everything but `[a-z0-9@._-]` as `%` with two hexadecimal digits. A dot at the start is written
/// so too: no account names a hidden file.
fn encode(account: &str) -> String {
    let mut encoded = String::with_capacity(account.len());
    for (at, byte) in account.to_ascii_lowercase().bytes().enumerate() {
        match byte {
            b'.' if at == 0 => encoded.push_str("%2e"),
            b'a'..=b'z' | b'0'..=b'9' | b'@' | b'.' | b'_' | b'-' => encoded.push(byte.into()),
            other => encoded.push_str(&format!("%{other:02x}")),
        }
    }
    encoded
}

fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    let account = String::from_utf8(bytes).ok()?;
    // Only names that `encode` makes are ours.
    (!account.is_empty() && encode(&account) == encoded).then_some(account)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_stays_readable() {
        let name = file_name(Kind::Grant, "Alice.Smith@Contoso.com").unwrap();
        assert_eq!(name, "alice.smith@contoso.com.grant");
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let name = file_name(Kind::Grant, "../é/x").unwrap();
        assert_eq!(name, "%2e.%2f%c3%a9%2fx.grant");
    }

    #[test]
    fn no_name_is_empty_or_longer_than_a_file_system_takes() {
        assert_eq!(file_name(Kind::Grant, ""), None);
        assert_eq!(file_name(Kind::Grant, &"x".repeat(231)), None);
        assert!(file_name(Kind::Passwords, &"x".repeat(230)).is_some());
    }

    #[test]
    fn the_files_beside_a_record_are_no_records() {
        for name in [
            "a@x.grant.lock",
            "a@x.grant.new",
            ".grant",
            "A@x.grant",
            "%zz.grant",
        ] {
            assert_eq!(account(Kind::Grant, name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_account(text in "\\PC{1,60}") {
            if let Some(name) = file_name(Kind::Passwords, &text) {
                prop_assert_eq!(account(Kind::Passwords, &name), Some(text.to_ascii_lowercase()));
            }
        }
    }
}
