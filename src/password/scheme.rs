//! The kinds of password hashes that are taken, and what each may cost. It reads the text of a hash and computes nothing.
//!
//! A hash says itself how dear it is, and strangers decide how often it is computed. So one that costs more than about a second of one
//! core is refused, wherever it comes from.

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;

/// About a second; each step doubles it. The usual ones are 5 to 12.
const BCRYPT_COST_MAX: u32 = 14;
/// Passlib makes hashes of 656 000 rounds; the usual ones have 5 000.
const SHA_ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=700_000;
/// Two are computed at once.
const ARGON2_KIB_MAX: u32 = 256 * 1024;
/// Memory times passes: what it takes of time.
const ARGON2_WORK_MAX: u64 = 1024 * 1024;
/// What the reference gives to a hash of SHA-512.
const SHA512_LEN: usize = 86;
const SHA256_LEN: usize = 43;
/// A salt has no more (the reference cuts it off).
const SHA_SALT_MAX: usize = 16;

/// How a password was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `$argon2id$`, a PHC string; what mailwicket makes itself.
    Argon2id,
    /// `$2y$`, `$2b$` and `$2a$`: htpasswd -B, `{BLF-CRYPT}`.
    Bcrypt,
    /// `$5$` and `$6$`: openssl passwd, `{SHA256-CRYPT}` and `{SHA512-CRYPT}`.
    ShaCrypt,
}

/// Why a text is not taken as a hash. The text is in no message: it may be a password put there by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It does not begin as any of them.
    #[error("it begins with none of $argon2id$, $2y$, $2b$, $2a$, $6$ and $5$")]
    Unknown,
    /// A kind of hash that is known, and that nobody should rely on.
    #[error(
        "{0} is not a safe kind of hash; make a new one, or let `mailwicket password learn` adopt what the device has"
    )]
    Weak(&'static str),
    /// It begins well and does not go on so.
    #[error("it is cut off or damaged")]
    Damaged,
    /// Something in it is beyond what its kind allows.
    #[error("its parameters, salt or hash are missing or out of range")]
    Incomplete,
    /// Each login would cost too much.
    #[error("it costs too much ({0}), so that strangers could keep mailwicket busy")]
    Dear(String),
}

impl Scheme {
    /// How the hash `text` was made, if it is one that is taken.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn of(text: &str) -> Result<Self, Unfit> {
        let starts = |start: &str| text.starts_with(start);
        if starts("$argon2id$") {
            argon2id(text).map(|()| Self::Argon2id)
        } else if ["$2y$", "$2b$", "$2a$"].into_iter().any(starts) {
            bcrypt(text).map(|()| Self::Bcrypt)
        } else if let Some(rest) = text.strip_prefix("$6$") {
            sha_crypt(rest, SHA512_LEN).map(|()| Self::ShaCrypt)
        } else if let Some(rest) = text.strip_prefix("$5$") {
            sha_crypt(rest, SHA256_LEN).map(|()| Self::ShaCrypt)
        } else {
            Err(weak(text).map_or(Unfit::Unknown, Unfit::Weak))
        }
    }
}

/// What a hash is that is known and not taken.
fn weak(text: &str) -> Option<&'static str> {
    const WEAK: [(&str, &str); 5] = [
        ("$apr1$", "an MD5 hash of htpasswd"),
        ("$1$", "an MD5 hash"),
        ("$argon2i$", "Argon2i"),
        ("$argon2d$", "Argon2d"),
        ("$2x$", "bcrypt with a known fault"),
    ];
    let mut all = WEAK.into_iter();
    all.find_map(|(start, name)| text.starts_with(start).then_some(name))
}

fn argon2id(text: &str) -> Result<(), Unfit> {
    let hash = PasswordHash::new(text).map_err(|_| Unfit::Damaged)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(Unfit::Incomplete);
    }
    let params = Params::try_from(&hash).map_err(|_| Unfit::Incomplete)?;
    let (kib, passes) = (params.m_cost(), params.t_cost());
    if kib > ARGON2_KIB_MAX || u64::from(kib) * u64::from(passes) > ARGON2_WORK_MAX {
        return Err(Unfit::Dear(format!(
            "{passes} passes over {} MiB; 256 MiB are allowed, and 4 passes over them",
            kib / 1024
        )));
    }
    Ok(())
}

fn bcrypt(text: &str) -> Result<(), Unfit> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| Unfit::Damaged)?;
    match parts.get_cost() {
        // The crate's least.
        ..4 => Err(Unfit::Incomplete),
        4..=BCRYPT_COST_MAX => Ok(()),
        cost => Err(Unfit::Dear(format!(
            "cost {cost}; {BCRYPT_COST_MAX} is allowed"
        ))),
    }
}

/// `[rounds=N$]salt$hash`.
fn sha_crypt(rest: &str, hash_len: usize) -> Result<(), Unfit> {
    let fields: Vec<_> = rest.split('$').collect();
    let (rounds, salt, hash) = match fields[..] {
        [rounds, salt, hash] => (rounds.strip_prefix("rounds="), salt, hash),
        [salt, hash] => (Some("5000"), salt, hash),
        _ => return Err(Unfit::Damaged),
    };
    let rounds: u32 = rounds
        .and_then(|rounds| rounds.parse().ok())
        .ok_or(Unfit::Damaged)?;
    let is_written = |text: &str| {
        let written = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
        text.bytes().all(written)
    };
    if !is_written(salt) || !is_written(hash) || hash.len() != hash_len {
        return Err(Unfit::Damaged);
    }
    if !(1..=SHA_SALT_MAX).contains(&salt.len()) || rounds < *SHA_ROUNDS.start() {
        return Err(Unfit::Incomplete);
    }
    if rounds > *SHA_ROUNDS.end() {
        let most = SHA_ROUNDS.end();
        return Err(Unfit::Dear(format!("{rounds} rounds; {most} are allowed")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA512: &str =
        "w2mbEFgAFKLA5.2Xh2rlACVYN3x/WkM5p0ancwSGBJmVeJRHQ0n5w.iIEk2LJbN7TXLZELR88InvKcY7sPgmT.";

    #[test]
    fn a_hash_that_would_stall_logins_is_refused() {
        let cost =
            |cost| format!("$2y${cost}$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG");
        let rounds = |rounds| format!("$6$rounds={rounds}$saltstring${SHA512}");
        let argon2 = |kib, passes| {
            format!(
                "$argon2id$v=19$m={kib},t={passes},p=1$UANyINmI+KZiCLA0BwvBAg\
                 $we+luoA8POhKXeuLLB4SD6nJeRs3Ytu0XF6bXNPSulA"
            )
        };
        for good in [cost("14"), rounds(700_000), argon2(262_144, 4)] {
            assert!(Scheme::of(&good).is_ok(), "{good}: {:?}", Scheme::of(&good));
        }
        let dear = [
            cost("15"),
            cost("31"),
            rounds(700_001),
            rounds(999_999_999),
            argon2(262_145, 1),
            argon2(262_144, 5),
            argon2(19_456, 4_000_000_000_u32),
        ];
        for dear in dear {
            assert!(matches!(Scheme::of(&dear), Err(Unfit::Dear(_))), "{dear}");
        }
    }

    #[test]
    fn what_is_weak_or_damaged_is_no_hash() {
        for weak in [
            "$apr1$saltstri$Nsh4aeu5w3fGisXo.AzSA.",
            "$1$saltstri$g91DHKtJFlHP.xNLjDt6v.",
            "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$JVaN",
        ] {
            assert!(matches!(Scheme::of(weak), Err(Unfit::Weak(_))), "{weak}");
        }
        let odd = [
            format!("$6$rounds=x$saltstring${SHA512}"),
            format!("$6$rounds=999$saltstring${SHA512}"),
            format!("$6$${SHA512}"),
            format!("$6$seventeen-letters${SHA512}"),
            format!("$6$saltstring${SHA512}$"),
            format!("$5$saltstring${SHA512}"),
            format!("$6$saltstring${}", &SHA512[1..]),
            "$2y$05$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9J".to_owned(),
            "$2y$03$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG".to_owned(),
            "/5yIjtp0kPdGc".to_owned(),
            String::new(),
        ];
        for odd in odd {
            assert!(Scheme::of(&odd).is_err(), "{odd}");
        }
    }
}
