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
    key: SecretString,
    csrf: SecretString,
    used: Instant,
    until: Instant,
    flashes: Vec<Flash>,
    ended: CancellationToken,
}

/// What a session's key opens.
#[derive(Clone)]
pub struct Pass {
    /// The session's number; no secret.
    pub number: u64,
    /// What every form has to carry.
    pub csrf: SecretString,
    /// Set when the session is over.
    pub ended: CancellationToken,
}

impl Sessions {
    /// A new link's key.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn link(&mut self, now: Instant) -> io::Result<SecretString> {
        let key = random()?;
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

    /// Uses a link up: the key of the session that it opened; `None` if there is no such link (any more).
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn redeem(&mut self, key: &str, now: Instant) -> io::Result<Option<SecretString>> {
        self.links.retain(|link| now < link.until);
        let Some(at) = place(self.links.iter().map(|link| &link.key), key) else {
            return Ok(None);
        };
        let (key, csrf) = (random()?, random()?);
        self.links.remove(at);
        self.sweep(now);
        self.make_room();
        self.opened += 1;
        self.open.push(Open {
            number: self.opened,
            key: key.clone(),
            csrf,
            used: now,
            until: now + LIFE,
            flashes: Vec::new(),
            ended: CancellationToken::new(),
        });
        Ok(Some(key))
    }

    /// Notes a use of the session with this key, and says what it opens.
    pub fn enter(&mut self, key: &str, now: Instant) -> Option<Pass> {
        let pass = self.look(key, now)?;
        self.numbered(pass.number)?.used = now;
        Some(pass)
    }

    /// The same without noting a use.
    pub fn look(&mut self, key: &str, now: Instant) -> Option<Pass> {
        self.sweep(now);
        let at = place(self.open.iter().map(|open| &open.key), key)?;
        let open = &self.open[at];
        Some(Pass {
            number: open.number,
            csrf: open.csrf.clone(),
            ended: open.ended.clone(),
        })
    }

    /// Whether the session is not over.
    pub fn is_open(&mut self, number: u64, now: Instant) -> bool {
        self.sweep(now);
        self.numbered(number).is_some()
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

/// Where the key is. Every key is compared, each in constant time.
fn place<'a>(keys: impl Iterator<Item = &'a SecretString>, wanted: &str) -> Option<usize> {
    let mut found = None;
    for (at, key) in keys.enumerate() {
        if is_same(key, wanted) {
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

/// 256 bits that nobody guesses.
fn random() -> io::Result<SecretString> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(sessions: &mut Sessions, now: Instant) -> SecretString {
        let link = sessions.link(now).expect("randomness");
        let key = sessions.redeem(link.expose_secret(), now);
        key.expect("randomness").expect("a session")
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
        assert!(
            sessions
                .enter(key.expect("a session").expose_secret(), now)
                .is_some()
        );
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
        let pass = sessions.enter(key.expose_secret(), now + IDLE - second);
        let pass = pass.expect("it was used in time");
        // Looking is no use.
        assert!(
            sessions
                .look(key.expose_secret(), now + 2 * IDLE - 2 * second)
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
            assert!(sessions.enter(key.expose_secret(), at).is_some());
            at += IDLE / 2;
        }
        assert!(sessions.enter(key.expose_secret(), now + LIFE).is_none());
    }

    #[test]
    fn links_and_sessions_are_bounded_and_the_oldest_goes() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let keys: Vec<_> = (0..=MOST_SESSIONS)
            .map(|_| opened(&mut sessions, now))
            .collect();
        assert!(sessions.enter(keys[0].expose_secret(), now).is_none());
        assert!(sessions.enter(keys[1].expose_secret(), now).is_some());
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
        let pass = sessions.enter(key.expose_secret(), now).expect("a session");
        sessions.close(pass.number);
        assert!(sessions.enter(key.expose_secret(), now).is_none());
        assert!(pass.ended.is_cancelled());
    }
}
