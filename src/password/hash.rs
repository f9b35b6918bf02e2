//! Argon2id hashes of passwords, as PHC strings. Everything here is slow on purpose and blocks.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Without `0`, `o`, `1` and `l`, which look alike on a scanner's display; 32 characters, so five bits each.
const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
/// 16 characters are 80 bits, and as much as many devices take.
const GENERATED_LEN: usize = 16;

/// Why no hash or password was made: the system has no randomness, or the password is longer than 4 GiB.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a password hash: {0}")]
pub struct HashError(String);

/// What one hash costs.
#[derive(Clone)]
pub(super) struct Cost {
    kib: u32,
    passes: u32,
}

impl Cost {
    /// OWASP's first choice for Argon2id: 19 MiB and two passes; some 30 ms.
    pub(super) const STANDARD: Self = Self {
        kib: 19 * 1024,
        passes: 2,
    };

    /// The least that Argon2 allows.
    #[cfg(test)]
    pub(super) const LEAST: Self = Self { kib: 8, passes: 1 };

    fn argon2(&self) -> Result<Argon2<'static>, HashError> {
        let params = Params::new(self.kib, self.passes, 1, None);
        let params = params.map_err(|error| HashError(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// Hashes a password with a random salt, for the vault or the configuration. Blocks for some 30 ms.
///
/// # Errors
/// [`HashError`].
pub fn hash(password: &[u8]) -> Result<String, HashError> {
    hash_at(&Cost::STANDARD, password)
}

pub(super) fn hash_at(cost: &Cost, password: &[u8]) -> Result<String, HashError> {
    let hash = cost.argon2()?.hash_password(password);
    Ok(hash
        .map_err(|error| HashError(error.to_string()))?
        .to_string())
}

/// The hash that is checked where there is none: what it is of does not matter, what it costs does.
pub(super) fn dummy(cost: &Cost) -> Result<String, HashError> {
    let hash = cost
        .argon2()?
        .hash_password_with_salt(b"", b"mailwicket dummy");
    Ok(hash
        .map_err(|error| HashError(error.to_string()))?
        .to_string())
}

/// Whether `password` is what was hashed. A string that is no Argon2 hash is the hash of nothing.
pub(super) fn verify(hash: &str, password: &[u8]) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    // The cost is taken from the hash, not from this value.
    Argon2::default().verify_password(password, &hash).is_ok()
}

/// A new password that can be typed on a device: 16 characters of `[a-z0-9]`, 80 random bits.
///
/// # Errors
/// If the system has no randomness.
pub fn generate() -> Result<SecretString, HashError> {
    let mut random = Zeroizing::new([0; GENERATED_LEN]);
    getrandom::fill(&mut *random).map_err(|error| HashError(error.to_string()))?;
    let character = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    let text: String = random.iter().map(character).collect();
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_hash_verifies_its_password_only() {
        let hash = hash(b"caf\xe9").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(verify(&hash, b"caf\xe9"));
        assert!(!verify(&hash, "café".as_bytes()));
        assert!(!verify("no hash", b"caf\xe9"));
    }

    #[test]
    fn the_dummy_costs_what_a_hash_costs() {
        let dummy = dummy(&Cost::STANDARD).unwrap();
        assert!(
            dummy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{dummy}"
        );
    }

    #[test]
    fn generated_passwords_are_typable_and_differ() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(one.expose_secret().len(), 16);
        assert!(one.expose_secret().bytes().all(|b| ALPHABET.contains(&b)));
    }
}
