//! Marks of passwords that were found right, so that a mail program with ten connections pays for one Argon2.
//!
//! A mark is a keyed hash whose key lives as long as the process: a dump of the vault cannot be searched with it, and nothing of it is
//! ever written down. It covers the hash that the password was checked against, so a changed password is a forgotten one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Makes marks that only this process can make.
pub(super) struct Marker {
    key: Zeroizing<[u8; 32]>,
}

impl Marker {
    /// Draws a key; fails only where the system has no randomness.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        Ok(Self { key })
    }

    /// The mark of a sequence of octet strings; no other sequence has it.
    pub(super) fn mark(&self, parts: [&[u8]; 3]) -> Mark {
        // HMAC takes keys of any length (RFC 2104 §2).
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.key);
        let mut mac = mac.expect("a key of any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Mark(mac.finalize().into_bytes().into())
    }
}

/// A keyed hash; compared in constant time.
#[derive(Clone, Copy)]
pub(super) struct Mark([u8; 32]);

impl Mark {
    /// Whether both are marks of the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// A number below `bound` (at most 65536, and not 0) that nobody outside can foresee.
    pub(super) fn below(&self, bound: usize) -> usize {
        usize::from(u16::from_be_bytes([self.0[0], self.0[1]])) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_parts_and_processes_apart() {
        let (one, two) = (Marker::new().unwrap(), Marker::new().unwrap());
        let mark = one.mark([b"a", b"b", b"c"]);
        assert!(mark.is(&one.mark([b"a", b"b", b"c"])));
        assert!(!mark.is(&one.mark([b"ab", b"", b"c"])));
        assert!(!mark.is(&two.mark([b"a", b"b", b"c"])));
    }
}
