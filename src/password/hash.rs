//! Hashes of passwords: Argon2id is made, and what other programs made is checked too. Everything here is slow on purpose and blocks.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use secrecy::SecretString;
use sha_crypt::ShaCrypt;
use zeroize::Zeroizing;

use super::scheme::Scheme;

/// Longer ones no other program hashes: htpasswd takes 255 octets. SHA-crypt costs more the longer a password is, so it needs a bound.
const CRYPT_PASSWORD_MAX: usize = 256;
/// Without `0`, `o`, `1` and `l`, which look alike on a scanner's display; 32 characters, so five bits each.
const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
/// 16 characters are 80 bits, and as much as many devices take.
const GENERATED_LEN: usize = 16;

/// Why no hash or password was made: the system has no randomness, the password is longer than 4 GiB, or mailwicket is ending.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a password hash: {0}")]
pub struct HashError(pub(super) String);

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

/// Whether `password` is what was hashed. A string that is no hash, or one that costs too much, is the hash of nothing.
pub(super) fn verify(hash: &str, password: &[u8]) -> bool {
    // Other programs end passwords at NUL.
    let is_plain = password.len() <= CRYPT_PASSWORD_MAX && !password.contains(&0);
    match Scheme::of(hash) {
        Ok(Scheme::Argon2id) => verify_argon2(hash, password),
        // Beyond 72 octets nothing counts, here and in the programs that make such hashes.
        Ok(Scheme::Bcrypt) => is_plain && bcrypt::verify(password, hash).unwrap_or(false),
        Ok(Scheme::ShaCrypt) => {
            is_plain
                && PasswordVerifier::<str>::verify_password(&ShaCrypt::SHA512, password, hash)
                    .is_ok()
        }
        Err(_) => false,
    }
}

fn verify_argon2(hash: &str, password: &[u8]) -> bool {
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

    /// What other programs made of `open-sesame-7`.
    const FOREIGN: [(&str, &str); 9] = [
        (
            "htpasswd -B -C 5",
            "$2y$05$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG",
        ),
        (
            "htpasswd -B -C 10",
            "$2y$10$UqhRrGHpJ6NjCdENbz73juqEGG9Jx3BLiI44sIoWT47xm9aGSqdJ2",
        ),
        (
            "htpasswd -5",
            "$6$rowSOeOeLDIBUoaP$pF1ks7Lauwal0wQZKjCmeswG1xq65Cln/E/tr9zJLPwMD/O8HCi0VQe9vt3fK3/uNsxCtpDAZw8dHi8Ju9fta0",
        ),
        (
            "htpasswd -5 -r 656000",
            "$6$rounds=656000$jNdgW2JHTr39ZRYP$NVt4KIvVT6lk3/gjXmEbHrvP4wC8SivFdSNdBgeCjRMhI.bUMcXCEc9DEW.pa0YAF.rL8QPS8vUhWIFZZDmir1",
        ),
        (
            "htpasswd -2",
            "$5$HFVpd6ZlY0OdAPIF$2nrJxvBI3XSaxf4i9Z6mG8Tw.4iwbKw5wrDH/qTAaP3",
        ),
        (
            "openssl passwd -6",
            "$6$saltstring$w2mbEFgAFKLA5.2Xh2rlACVYN3x/WkM5p0ancwSGBJmVeJRHQ0n5w.iIEk2LJbN7TXLZELR88InvKcY7sPgmT.",
        ),
        (
            "doveadm pw -s BLF-CRYPT -r 6",
            "$2y$06$WiSz7qhUvFB3axkK.lNK3eIGh8g486yrmp/XpHBXkuzlXi7GhryV6",
        ),
        (
            "doveadm pw -s SHA512-CRYPT",
            "$6$O5ZzeV7rU4b8VQmI$sVvztYwxa7sz.SyEdJEHBl5o9dgskB6fLcirOXv9Uu.cQq0HHZcK.QOcZ9LbAYZG1xEhmBD8CAH4thMkNE4Cj0",
        ),
        (
            "doveadm pw -s ARGON2ID",
            "$argon2id$v=19$m=65536,t=3,p=1$UANyINmI+KZiCLA0BwvBAg$we+luoA8POhKXeuLLB4SD6nJeRs3Ytu0XF6bXNPSulA",
        ),
    ];

    #[test]
    fn hashes_of_other_programs_verify_their_password_only() {
        for (program, hash) in FOREIGN {
            assert!(verify(hash, b"open-sesame-7"), "{program}");
            for wrong in [&b"open-sesame-8"[..], b"", b"open-sesame-7\0"] {
                assert!(!verify(hash, wrong), "{program}: {wrong:?}");
            }
        }
    }

    #[test]
    fn passwords_are_octets_for_other_programs_too() {
        let bcrypt = "$2y$04$vyQdOY4eSpp1Y8pRvFIHgO8VfvdRcpFrSfPjG2NwjJLHpfScRGvIm";
        let sha = "$6$saltstring$OsBbehWQB2y8HtgWgUho6Q3IwXG.mzDDU8Nf.FCJeHVOnqzVIjqZVfuG8IO9gsA9ZZiwzn9ov19JRTjkTzgpu/";
        for hash in [bcrypt, sha] {
            assert!(verify(hash, b"caf\xe9-7"));
            assert!(!verify(hash, "caf\u{e9}-7".as_bytes()));
        }
        // htpasswd cut 80 octets off after 72, and so do we.
        let cut = "$2y$04$aNZDK5YuBcKFwT1zqTN8RO6L3Y4xBseZypaiGvqQUb2S27sNvcHzW";
        assert!(verify(cut, &[b'x'; 72]) && verify(cut, &[b'x'; 80]));
        assert!(!verify(cut, &[b'x'; 71]) && !verify(cut, &[b'x'; 257]));
    }

    #[test]
    fn a_hash_that_costs_too_much_is_not_computed() {
        let dear = "$2y$31$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG";
        assert!(!verify(dear, b"open-sesame-7"));
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
