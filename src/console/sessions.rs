//! Who may use the console: links that open it once, and the sessions that they open.
//!
//! Knows no clock and no HTTP. Everything is in memory: a restart forgets all of it.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::page::Flash;

/// How long a link may wait for its one use.
pub const LINK_LIFE: Duration = Duration::from_secs(5 * 60);
/// How long a session lives without a request. What a page fetches by itself does not count.
pub const IDLE: Duration = Duration::from_secs(60 * 60);
/// How long a session lives at most.
pub const LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Links that wait at a time; another takes the place of the oldest.
const MOST_LINKS: usize = 8;
/// Sessions at a time; another takes the place of the one that was used least lately.
const MOST_SESSIONS: usize = 16;
/// Messages that wait to be shown.
const MOST_FLASHES: usize = 8;

/// The links and sessions there are.
#[derive(Default)]
pub struct Sessions {
    links: VecDeque<Link>,
    open: Vec<Open>,
    /// Sessions that were ever opened; numbers are never used twice.
    opened: u64,
}

struct Link {
    key: SecretString,
    until: Instant,
}

struct Open {
    number: u64,
    path: SecretString,
    key: SecretString,
    csrf: SecretString,
    used: Instant,
    until: Instant,
    flashes: Vec<Flash>,
    ended: CancellationToken,
}

/// What a new session is reached with; each is of no use without the other.
pub struct Keys {
    /// The path that its pages are below.
    pub path: SecretString,
    /// What its cookie holds.
    pub key: SecretString,
}

/// What a session's keys open.
#[derive(Clone)]
pub struct Pass {
    /// The session's number; no secret.
    pub number: u64,
    /// What every form has to carry.
    pub csrf: SecretString,
    /// The path that its pages are below.
    pub path: SecretString,
    /// Set when the session is over.
    pub ended: CancellationToken,
}

impl Sessions {
    /// A new link's key.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn link(&mut self, now: Instant) -> io::Result<SecretString> {
        let key = random::<32>()?;
        if self.links.len() == MOST_LINKS {
            self.links.pop_front();
        }
        let until = now + LINK_LIFE;
        self.links.push_back(Link {
            key: key.clone(),
            until,
        });
        Ok(key)
    }

    /// Uses a link up: the keys of the session that it opened; `None` if there is no such link (any more).
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn redeem(&mut self, key: &str, now: Instant) -> io::Result<Option<Keys>> {
        self.links.retain(|link| now < link.until);
        let Some(at) = place(self.links.iter().map(|link| is_same(&link.key, key))) else {
            return Ok(None);
        };
        let (path, key, csrf) = (random::<16>()?, random::<32>()?, random::<32>()?);
        self.links.remove(at);
        self.sweep(now);
        self.make_room();
        self.opened += 1;
        self.open.push(Open {
            number: self.opened,
            path: path.clone(),
            key: key.clone(),
            csrf,
            used: now,
            until: now + LIFE,
            flashes: Vec::new(),
            ended: CancellationToken::new(),
        });
        Ok(Some(Keys { path, key }))
    }

    /// Notes a use of the session with this path and this key, and says what they open.
    pub fn enter(&mut self, path: &str, key: &str, now: Instant) -> Option<Pass> {
        let pass = self.look(path, key, now)?;
        self.numbered(pass.number)?.used = now;
        Some(pass)
    }

    /// The same without noting a use.
    pub fn look(&mut self, path: &str, key: &str, now: Instant) -> Option<Pass> {
        self.sweep(now);
        // Both are compared whatever comes of the first.
        let is_it = |open: &Open| is_same(&open.path, path) & is_same(&open.key, key);
        let at = place(self.open.iter().map(is_it))?;
        let open = &self.open[at];
        Some(Pass {
            number: open.number,
            csrf: open.csrf.clone(),
            path: open.path.clone(),
            ended: open.ended.clone(),
        })
    }

    /// Whether the session is not over.
    pub fn is_open(&mut self, number: u64, now: Instant) -> bool {
        self.sweep(now);
        self.numbered(number).is_some()
    }

    /// The path of a session that is not over.
    pub fn path(&mut self, number: u64, now: Instant) -> Option<SecretString> {
        self.sweep(now);
        self.numbered(number).map(|open| open.path.clone())
    }

    /// Ends a session.
    pub fn close(&mut self, number: u64) {
        self.keep(|open| open.number != number);
    }

    /// Keeps a message for the next page of a session.
    pub fn flash(&mut self, number: u64, flash: Flash) {
        if let Some(open) = self.numbered(number)
            && open.flashes.len() < MOST_FLASHES
        {
            open.flashes.push(flash);
        }
    }

    /// The messages that the next page shows.
    pub fn take_flashes(&mut self, number: u64) -> Vec<Flash> {
        let open = self.numbered(number);
        open.map(|open| std::mem::take(&mut open.flashes))
            .unwrap_or_default()
    }

    fn numbered(&mut self, number: u64) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.number == number)
    }

    fn sweep(&mut self, now: Instant) {
        self.keep(|open| now < open.until && now < open.used + IDLE);
    }

    fn make_room(&mut self) {
        if self.open.len() >= MOST_SESSIONS {
            let oldest = self.open.iter().min_by_key(|open| open.used);
            let oldest = oldest.map(|open| open.number);
            self.keep(|open| Some(open.number) != oldest);
        }
    }

    /// Ends the sessions that are not to be kept.
    fn keep(&mut self, is_kept: impl Fn(&Open) -> bool) {
        self.open.retain(|open| {
            let is_kept = is_kept(open);
            if !is_kept {
                open.ended.cancel();
            }
            is_kept
        });
    }
}

/// Where it is. Every one is compared, each in constant time.
fn place(compared: impl Iterator<Item = bool>) -> Option<usize> {
    let mut found = None;
    for (at, is_same) in compared.enumerate() {
        if is_same {
            found = Some(at);
        }
    }
    found
}

/// Whether it is the secret, in constant time.
pub fn is_same(secret: &SecretString, given: &str) -> bool {
    secret
        .expose_secret()
        .as_bytes()
        .ct_eq(given.as_bytes())
        .into()
}

/// As many octets that nobody guesses, in letters that stand in addresses.
fn random<const OCTETS: usize>() -> io::Result<SecretString> {
    let mut bytes = Zeroizing::new([0; OCTETS]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(sessions: &mut Sessions, now: Instant) -> Keys {
        let link = sessions.link(now).expect("randomness");
        let key = sessions.redeem(link.expose_secret(), now);
        key.expect("randomness").expect("a session")
    }

    fn enter(sessions: &mut Sessions, keys: &Keys, now: Instant) -> Option<Pass> {
        sessions.enter(keys.path.expose_secret(), keys.key.expose_secret(), now)
    }

    #[test]
    fn a_session_needs_its_path_and_its_key_which_have_128_and_256_bits() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (opened(&mut sessions, now), opened(&mut sessions, now));
        let octets = |key: &SecretString| URL_SAFE_NO_PAD.decode(key.expose_secret());
        assert_eq!(octets(&one.path).expect("base64").len(), 16);
        assert_eq!(octets(&one.key).expect("base64").len(), 32);
        let mut opens = |path: &str, key: &str| sessions.enter(path, key, now).is_some();
        let (path, key) = (one.path.expose_secret(), one.key.expose_secret());
        assert!(opens(path, key));
        assert!(!opens(path, ""));
        assert!(!opens("", key));
        assert!(!opens(other.path.expose_secret(), key));
        assert!(!opens(path, other.key.expose_secret()));
    }

    #[test]
    fn a_link_opens_one_session_and_has_256_bits() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let link = sessions.link(now).expect("randomness");
        let octets = URL_SAFE_NO_PAD
            .decode(link.expose_secret())
            .expect("base64");
        assert_eq!(octets.len(), 32);
        let key = sessions
            .redeem(link.expose_secret(), now)
            .expect("randomness");
        assert!(enter(&mut sessions, &key.expect("a session"), now).is_some());
        let again = sessions.redeem(link.expose_secret(), now);
        assert!(again.expect("randomness").is_none(), "it was used");
    }

    #[test]
    fn a_link_lives_five_minutes() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let link = sessions.link(now).expect("randomness");
        let late = sessions.redeem(link.expose_secret(), now + LINK_LIFE);
        assert!(late.expect("randomness").is_none());
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it_and_at_the_latest_after_its_life() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let key = opened(&mut sessions, now);
        let second = Duration::from_secs(1);
        let pass = enter(&mut sessions, &key, now + IDLE - second);
        let pass = pass.expect("it was used in time");
        // Looking is no use.
        assert!(
            sessions
                .look(
                    key.path.expose_secret(),
                    key.key.expose_secret(),
                    now + 2 * IDLE - 2 * second
                )
                .is_some()
        );
        assert!(!sessions.is_open(pass.number, now + 2 * IDLE));
        assert!(
            pass.ended.is_cancelled(),
            "whatever waits for its end hears of it"
        );

        let key = opened(&mut sessions, now);
        let mut at = now;
        while at < now + LIFE {
            assert!(enter(&mut sessions, &key, at).is_some());
            at += IDLE / 2;
        }
        assert!(enter(&mut sessions, &key, now + LIFE).is_none());
    }

    #[test]
    fn links_and_sessions_are_bounded_and_the_oldest_goes() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let keys: Vec<_> = (0..=MOST_SESSIONS)
            .map(|_| opened(&mut sessions, now))
            .collect();
        assert!(enter(&mut sessions, &keys[0], now).is_none());
        assert!(enter(&mut sessions, &keys[1], now).is_some());
        let links: Vec<_> = (0..=MOST_LINKS)
            .map(|_| sessions.link(now).expect("randomness"))
            .collect();
        let mut opens = |link: &SecretString| sessions.redeem(link.expose_secret(), now);
        assert!(opens(&links[0]).expect("randomness").is_none());
        assert!(opens(&links[1]).expect("randomness").is_some());
    }

    #[test]
    fn who_logs_out_is_out() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let key = opened(&mut sessions, now);
        let pass = enter(&mut sessions, &key, now).expect("a session");
        sessions.close(pass.number);
        assert!(enter(&mut sessions, &key, now).is_none());
        assert!(pass.ended.is_cancelled());
    }
}
