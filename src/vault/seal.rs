//! The format of a sealed file, as pure functions: no files, no clock, no randomness.
//!
//! ```text
//! sealed = "MWVAULT" version key-id nonce ciphertext tag
//!             7         1       8     24       n       16   octets
//! ```
//!
//! The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): its nonce is long enough to be drawn at random for every write.
//! What stands before the nonce is authenticated together with the kind and the account, so that a record moved to another name
//! does not open. The key id only tells a wrong key from damage; it says nothing about the key.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Kind;

const MAGIC: &[u8; 7] = b"MWVAULT";
const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 8;
const PREFIX_LEN: usize = MAGIC.len() + 1 + KEY_ID_LEN;
const TAG_LEN: usize = 16;

/// Octets of the random part of a sealed file.
pub(super) const NONCE_LEN: usize = 24;
/// Octets before the ciphertext.
pub(super) const HEADER_LEN: usize = PREFIX_LEN + NONCE_LEN;
/// What sealing adds to the octets of a record.
pub(super) const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// A number that is used once: 192 random bits.
pub(super) type Nonce = [u8; NONCE_LEN];

/// The key of the whole vault.
pub(super) struct Key {
    secret: Zeroizing<[u8; Self::LEN]>,
    id: [u8; KEY_ID_LEN],
}

impl Key {
    /// Octets of a key.
    pub(super) const LEN: usize = 32;

    /// Whether it seals as the other does.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Takes 256 secret bits.
    pub(super) fn new(secret: Zeroizing<[u8; Self::LEN]>) -> Self {
        let id = key_id(&secret);
        Self { secret, id }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.secret).into())
    }

    fn prefix(&self) -> [u8; PREFIX_LEN] {
        let mut prefix = [0; PREFIX_LEN];
        prefix[..MAGIC.len()].copy_from_slice(MAGIC);
        prefix[MAGIC.len()] = VERSION;
        prefix[MAGIC.len() + 1..].copy_from_slice(&self.id);
        prefix
    }
}

fn key_id(secret: &[u8; Key::LEN]) -> [u8; KEY_ID_LEN] {
    // HMAC takes keys of any length (RFC 2104 §2).
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("a key of any length");
    mac.update(b"mailwicket vault key id");
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let mut id = [0; KEY_ID_LEN];
    id.copy_from_slice(&digest[..KEY_ID_LEN]);
    id
}

/// Why a file did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is shorter than anything that was ever sealed.
    Truncated,
    /// It does not begin as a sealed file does.
    Foreign,
    /// It has a format of another release.
    Version(u8),
    /// Another key sealed it.
    OtherKey,
    /// It was changed, or belongs to another account.
    Damaged,
}

/// Seals `plain` for one kind and account. `None` only if it is longer than the cipher can take (256 GiB).
pub(super) fn seal(
    key: &Key,
    nonce: Nonce,
    kind: Kind,
    account: &str,
    plain: &[u8],
) -> Option<Vec<u8>> {
    let prefix = key.prefix();
    let payload = Payload {
        msg: plain,
        aad: &associated(&prefix, kind, account),
    };
    let ciphertext = key.cipher().encrypt(&XNonce::from(nonce), payload).ok()?;
    Some([&prefix[..], &nonce, &ciphertext].concat())
}

/// Opens what [`seal`] made with the same key, kind and account.
pub(super) fn open(
    key: &Key,
    kind: Kind,
    account: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let nonce = nonce_of(sealed)?;
    if sealed.len() < OVERHEAD {
        return Err(Refusal::Truncated);
    }
    let prefix = &sealed[..PREFIX_LEN];
    if prefix != key.prefix() {
        return Err(Refusal::OtherKey);
    }
    let payload = Payload {
        msg: &sealed[HEADER_LEN..],
        aad: &associated(prefix, kind, account),
    };
    key.cipher()
        .decrypt(&XNonce::from(nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| Refusal::Damaged)
}

/// The nonce of a sealed file, from its first [`HEADER_LEN`] octets. Every write draws a new one.
pub(super) fn nonce_of(sealed: &[u8]) -> Result<Nonce, Refusal> {
    if !sealed.starts_with(&MAGIC[..sealed.len().min(MAGIC.len())]) {
        return Err(Refusal::Foreign);
    }
    let header = sealed.first_chunk::<HEADER_LEN>();
    let header = header.ok_or(Refusal::Truncated)?;
    match header[MAGIC.len()] {
        VERSION => {}
        other => return Err(Refusal::Version(other)),
    }
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&header[PREFIX_LEN..]);
    Ok(nonce)
}

/// Neither the fixed length before nor the kind's word holds a NUL, so no two contexts read the same.
fn associated(prefix: &[u8], kind: Kind, account: &str) -> Vec<u8> {
    [
        prefix,
        kind.word().as_bytes(),
        b"\0",
        account.to_ascii_lowercase().as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(fill: u8) -> Key {
        Key::new(Zeroizing::new([fill; Key::LEN]))
    }

    fn sealed() -> Vec<u8> {
        seal(&key(1), [9; NONCE_LEN], Kind::Grant, "a@x.test", b"secret").unwrap()
    }

    #[test]
    fn what_was_sealed_opens_whatever_the_case_of_the_account() {
        let plain = open(&key(1), Kind::Grant, "A@X.test", &sealed()).unwrap();
        assert_eq!(plain.as_slice(), b"secret");
    }

    #[test]
    fn another_account_kind_or_key_does_not_open() {
        let open = |fill, kind, account| open(&key(fill), kind, account, &sealed()).unwrap_err();
        assert_eq!(open(1, Kind::Grant, "b@x.test"), Refusal::Damaged);
        assert_eq!(open(1, Kind::Passwords, "a@x.test"), Refusal::Damaged);
        assert_eq!(open(2, Kind::Grant, "a@x.test"), Refusal::OtherKey);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_opens() {
        let sealed = sealed();
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key(1), Kind::Grant, "a@x.test", &bent).is_err());
        }
        for len in 0..sealed.len() {
            assert!(open(&key(1), Kind::Grant, "a@x.test", &sealed[..len]).is_err());
        }
    }

    #[test]
    fn a_later_format_is_named() {
        let mut later = sealed();
        later[MAGIC.len()] = 7;
        let refusal = open(&key(1), Kind::Grant, "a@x.test", &later).unwrap_err();
        assert_eq!(refusal, Refusal::Version(7));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&key(1), Kind::Grant, "a@x.test", &bytes).is_err());
        }

        #[test]
        fn no_bytes_behind_a_true_header_panic_or_open(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&key(1).prefix()[..], &tail].concat();
            prop_assert!(open(&key(1), Kind::Grant, "a@x.test", &bytes).is_err());
        }
    }
}
