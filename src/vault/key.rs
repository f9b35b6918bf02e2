//! Where the vault's key comes from, and how the default key file is made at first use.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::permissions::{self, Owner};
use super::seal::Key;
use super::{VaultError, atomic, lock};
use crate::config::SecretSource;

const FILE_MAX: u64 = 4096;
const FILE_HEADER: &str = "\
# The key of mailwicket's vault: whoever has it and the vault has the tokens.
# Without it the vault cannot be opened. Keep a copy in a safe place, apart from the vault's.
";

/// The folder that the key is for.
pub(super) struct Folder<'a> {
    pub path: &'a Path,
    pub owner: &'a Owner,
    /// Something in it is sealed already, so a new key would be of no use.
    pub sealed: bool,
}

/// Reads the key, or makes the key file if there is neither a key nor anything sealed.
pub(super) fn load(source: &SecretSource, folder: &Folder<'_>) -> Result<Key, VaultError> {
    if let SecretSource::File(path) = source {
        return from_file(path, folder);
    }
    let text = source.read().map_err(|error| error.to_string());
    let secret = text.and_then(|text| decode(text.expose_secret()));
    let key = |why| VaultError::Key {
        origin: format!("{source:?}"),
        why,
    };
    secret.map(Key::new).map_err(key)
}

fn from_file(path: &Path, folder: &Folder<'_>) -> Result<Key, VaultError> {
    if let Some(key) = read_file(path, folder.owner)? {
        return Ok(key);
    }
    // Of several processes at their first start, one makes the key and the others find it.
    let lock = folder.path.join("key.lock");
    let _lock = lock::acquire(&lock, folder.owner, lock::PATIENCE)?;
    if let Some(key) = read_file(path, folder.owner)? {
        return Ok(key);
    }
    if folder.sealed {
        return Err(VaultError::KeyLost {
            key: path.to_owned(),
            folder: folder.path.to_owned(),
        });
    }
    make_file(path, folder.owner)
}

fn read_file(path: &Path, owner: &Owner) -> Result<Option<Key>, VaultError> {
    let Some(file) = permissions::open(path, owner)? else {
        return Ok(None);
    };
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(VaultError::io("read", path))?;
    let secret = decode(&text).map_err(|why| VaultError::Key {
        origin: path.display().to_string(),
        why,
    })?;
    Ok(Some(Key::new(secret)))
}

fn make_file(path: &Path, owner: &Owner) -> Result<Key, VaultError> {
    let mut secret = Zeroizing::new([0; Key::LEN]);
    getrandom::fill(&mut *secret).map_err(|error| VaultError::Key {
        origin: "the system's randomness".into(),
        why: error.to_string(),
    })?;
    let line = Zeroizing::new(BASE64.encode(secret.as_slice()));
    let text = Zeroizing::new([FILE_HEADER, &line, "\n"].concat());
    atomic::replace(path, text.as_bytes(), owner)?;
    Ok(Key::new(secret))
}

/// The key in a text: base64 of 32 octets on the only line that is neither empty nor a comment.
fn decode(text: &str) -> Result<Zeroizing<[u8; Key::LEN]>, String> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err("one line with the base64 of 32 octets is wanted".into());
    };
    let bytes = BASE64.decode(line).map(Zeroizing::new);
    // What the decoder says could quote the key.
    let bytes = bytes.map_err(|_| "it is not base64".to_owned())?;
    let secret = bytes.as_slice().try_into().map(Zeroizing::new);
    secret.map_err(|_| {
        format!(
            "it has {} octets instead of 32; try: openssl rand -base64 32",
            bytes.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_of_base64_among_comments() {
        let text = format!("# words\n\n  {}\r\n", BASE64.encode([7; 32]));
        assert_eq!(*decode(&text).unwrap(), [7; 32]);
    }

    #[test]
    fn what_is_no_key_is_told_without_quoting_it() {
        let short = BASE64.encode([7; 16]);
        let two = format!("{0}\n{0}", BASE64.encode([7; 32]));
        for text in ["", "# only words", "p@ssword!", &short, &two] {
            let why = decode(text).unwrap_err();
            assert!(text.is_empty() || !why.contains(text), "{why}");
        }
    }
}
