//! The sign-ins that have been begun and are not forgotten yet: few, each of one session for one account, and none for long.
//!
//! Knows no HTTP and no page. What a redirect brings is given out once: whoever gets it makes the tokens of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::authorize::Authorization;
use crate::oauth::SignIn;
use crate::oauth::redirect::{RedirectError, SIGN_IN_LIMIT};

/// Sign-ins that are remembered at a time, over all sessions.
pub const MOST: usize = 16;
/// How long the outcome of one can be read.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The sign-ins.
#[derive(Default)]
pub struct Ongoing {
    list: Mutex<Vec<Entry>>,
}

/// One of them.
struct Entry {
    /// What its page is called by. Not the `state`: this one stands in addresses.
    id: String,
    session: u64,
    authorization: Arc<Authorization>,
    begun: Instant,
    /// What the redirect is compared with and the code exchanged with; gone once it was.
    sign_in: Option<SignIn>,
    /// Where the person uses the console, to lead them back there.
    origin: String,
    standing: Standing,
    /// Ends what waits for it when this is forgotten.
    given_up: CancellationToken,
    _end: DropGuard,
}

/// Where a browser ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// At the console.
    Here,
    /// At another port that is listened on.
    Elsewhere,
    /// Nowhere; the address is pasted.
    Pasted,
}

/// How a sign-in stands. Without `Debug`: addresses of providers hold the state, which alone decides a redirect.
#[derive(Clone)]
pub enum Standing {
    /// Somebody has to sign in with a browser, which comes back by itself or whose last address is pasted.
    Browser {
        /// Where.
        url: Url,
        /// How it comes back.
        back: Back,
    },
    /// Somebody has to type a code.
    Device {
        /// The code.
        code: String,
        /// Where.
        url: Url,
        /// The same with the code in it.
        complete: Option<Url>,
        /// Until when.
        until: Timestamp,
    },
    /// The provider is asked for tokens, or they are checked and stored.
    Working {
        /// Why it takes longer; may be empty.
        words: String,
    },
    /// The account is authorised.
    Done {
        /// Who signed in, where the provider says so.
        by: Option<String>,
        /// What may be a mistake.
        warnings: Vec<String>,
    },
    /// It is not.
    Failed {
        /// Why, and what to do.
        words: String,
    },
    /// Nobody came in time.
    Late,
}

impl Standing {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. } | Self::Late)
    }
}

/// What a page shows of a sign-in.
#[derive(Clone)]
pub struct Seen {
    /// What its page is called by.
    pub id: String,
    /// The mailbox.
    pub account: String,
    /// Who has to sign in.
    pub who: String,
    /// How it stands.
    pub standing: Standing,
}

/// The redirect of a sign-in has come; whoever has this ends it.
pub struct Arrived {
    /// What its page is called by.
    pub id: String,
    /// Where the person uses the console.
    pub origin: String,
    /// The session that began it.
    pub session: u64,
    /// What ends it.
    pub authorization: Arc<Authorization>,
    /// What it was begun with.
    pub sign_in: SignIn,
    /// The code, or why there is none.
    pub code: Result<SecretString, RedirectError>,
}

/// What is known at the beginning.
pub struct Begun {
    /// The session that began it.
    pub session: u64,
    /// Where the person uses the console.
    pub origin: String,
    /// What ends it.
    pub authorization: Arc<Authorization>,
    /// What a redirect is compared with, if one will come.
    pub sign_in: Option<SignIn>,
    /// How it stands.
    pub standing: Standing,
}

/// There are as many as may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Ongoing {
    /// Remembers a sign-in, in the place of one that the same session had begun for the same account. What comes back is
    /// cancelled when it is forgotten.
    ///
    /// # Errors
    /// If there are too many.
    pub fn begin(&self, id: String, begun: Begun) -> Result<CancellationToken, Full> {
        let now = Instant::now();
        let mut list = self.list(now);
        let account = begun.authorization.account().address.clone();
        list.retain(|entry| entry.session != begun.session || entry.account() != account);
        if list.len() >= MOST {
            // One that has ended has been read, most likely.
            let over = list.iter().position(|entry| entry.standing.is_over());
            list.remove(over.ok_or(Full)?);
        }
        let given_up = CancellationToken::new();
        list.push(Entry {
            id,
            session: begun.session,
            authorization: begun.authorization,
            begun: now,
            sign_in: begun.sign_in,
            origin: begun.origin,
            standing: begun.standing,
            _end: given_up.clone().drop_guard(),
            given_up: given_up.clone(),
        });
        Ok(given_up)
    }

    /// What there is to see of one, for the session that began it.
    pub fn see(&self, id: &str, session: u64) -> Option<Seen> {
        let list = self.list(Instant::now());
        let entry = list
            .iter()
            .find(|entry| entry.id == id && entry.session == session)?;
        Some(Seen {
            id: entry.id.clone(),
            account: entry.account().to_owned(),
            who: entry.authorization.who().to_owned(),
            standing: entry.standing.clone(),
        })
    }

    /// The sign-in that ends with a request for this path and query. Its `state` alone decides: the browser brings no cookie from
    /// another site. `None` if it belongs to none that is waited for.
    pub fn redirected(&self, path: &str, query: &str) -> Option<Arrived> {
        self.arrive(|entry, sign_in| {
            let expected = &sign_in.expected;
            // Each is compared, so that the time tells nothing.
            let outcome = expected.read_query(query);
            let is_there = expected.path == path && !entry.standing.is_over();
            (is_there && !matches!(outcome, Err(RedirectError::Stray(_)))).then_some(outcome)
        })
    }

    /// What somebody pasted as the end of a sign-in of theirs.
    ///
    /// # Errors
    /// What is wrong with it; the sign-in goes on.
    pub fn pasted(&self, id: &str, session: u64, text: &str) -> Result<Arrived, &'static str> {
        let mut why = "this sign-in is over; begin it again";
        let arrived = self.arrive(|entry, sign_in| {
            if entry.id != id || entry.session != session {
                return None;
            }
            match sign_in.expected.read_pasted(text) {
                Err(RedirectError::Stray(reason)) => {
                    why = reason;
                    None
                }
                outcome => Some(outcome),
            }
        });
        arrived.ok_or(why)
    }

    /// What came of one in another way than through the console's own address.
    pub fn returned(&self, id: &str, code: Result<SecretString, RedirectError>) -> Option<Arrived> {
        let mut code = Some(code);
        self.arrive(|entry, _| (entry.id == id).then(|| code.take()).flatten())
    }

    fn arrive(
        &self,
        mut ends: impl FnMut(&Entry, &SignIn) -> Option<Result<SecretString, RedirectError>>,
    ) -> Option<Arrived> {
        let mut list = self.list(Instant::now());
        let mut found = None;
        for (at, entry) in list.iter().enumerate() {
            let outcome = entry.sign_in.as_ref();
            if let Some(code) = outcome.and_then(|sign_in| ends(entry, sign_in)) {
                found = Some((at, code));
            }
        }
        let (at, code) = found?;
        let entry = &mut list[at];
        entry.standing = Standing::Working {
            words: String::new(),
        };
        Some(Arrived {
            id: entry.id.clone(),
            origin: entry.origin.clone(),
            session: entry.session,
            authorization: Arc::clone(&entry.authorization),
            sign_in: entry.sign_in.take()?,
            code,
        })
    }

    /// Notes how one stands, unless it is over or forgotten.
    pub fn note(&self, id: &str, standing: Standing) {
        let mut list = self.list(Instant::now());
        let entry = list.iter_mut().find(|entry| entry.id == id);
        if let Some(entry) = entry.filter(|entry| !entry.standing.is_over()) {
            entry.standing = standing;
        }
    }

    /// Forgets one of this session; what waits for it ends.
    pub fn give_up(&self, id: &str, session: u64) {
        let mut list = self.list(Instant::now());
        list.retain(|entry| entry.id != id || entry.session != session);
    }

    /// The list, without what is too old.
    fn list(&self, now: Instant) -> MutexGuard<'_, Vec<Entry>> {
        // A poisoned lock only says that a thread panicked; every change under it is whole.
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|entry| now.duration_since(entry.begun) < REMEMBERED);
        for entry in list.iter_mut() {
            entry.grow_old(now);
        }
        list
    }
}

impl Entry {
    fn account(&self) -> &str {
        &self.authorization.account().address
    }

    /// A browser that did not come in time may come no more. Codes of devices have an end of their own.
    fn grow_old(&mut self, now: Instant) {
        let is_late = now.duration_since(self.begun) >= SIGN_IN_LIMIT;
        if is_late && matches!(self.standing, Standing::Browser { .. }) {
            self.standing = Standing::Late;
            self.sign_in = None;
            self.given_up.cancel();
        }
    }
}
