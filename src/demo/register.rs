//! The provider's book: codes, access tokens and refresh tokens. Takes the time as an argument; knows no HTTP.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Entries of one kind; the oldest are dropped when there are more.
const MOST: usize = 1000;
/// How long a code is good for (RFC 6749 §4.1.2 recommends ten minutes at most).
const CODE_LIFE: Duration = Duration::from_secs(60);
/// How long somebody may look at the consent page.
const PAGE_LIFE: Duration = Duration::from_secs(600);

/// A request for consent that passed the checks, while its page is shown.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) redirect: url::Url,
    pub(super) state: Option<String>,
    /// S256, the only method that is taken.
    pub(super) challenge: String,
    pub(super) scope: String,
}

/// What a token request gets.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    pub(super) scope: String,
    pub(super) life: Duration,
}

/// A grant is a family: all refresh tokens that follow from one sign-in (RFC 9700 §4.14.2).
type Family = u64;

struct Code {
    asked: Asked,
    until: Timestamp,
    /// Set when it was used: a second use ends what the first brought (RFC 6749 §4.1.2).
    used: Option<Family>,
}

struct Access {
    until: Timestamp,
    family: Family,
}

struct Refresh {
    family: Family,
    is_current: bool,
    scope: String,
}

#[derive(Default)]
struct Book {
    pages: HashMap<String, (Asked, Timestamp)>,
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    families: u64,
}

/// The book, shared by the provider and the mail server.
pub(super) struct Register {
    book: Mutex<Book>,
    token_life: Duration,
    consent_key: String,
    client_secret: String,
}

/// A refusal in the words of RFC 6749 §5.2: the code and the description.
pub(super) type Refusal = (&'static str, &'static str);

impl Register {
    pub(super) fn new(token_life: Duration) -> Result<Self, getrandom::Error> {
        Ok(Self {
            book: Mutex::default(),
            token_life,
            consent_key: random()?,
            client_secret: random()?,
        })
    }

    /// What the application proves itself with where no person signs in.
    pub(super) fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// What stands for a click on "Allow", for the demonstration itself. Known to this process only, so that no web page can use it.
    pub(super) fn consent_key(&self) -> &str {
        &self.consent_key
    }

    /// Remembers a request while its page is shown; the answer names the page.
    pub(super) fn show(&self, asked: Asked, now: Timestamp) -> Result<String, getrandom::Error> {
        let page = random()?;
        let mut book = self.book();
        book.tidy(now);
        book.pages.insert(page.clone(), (asked, now + PAGE_LIFE));
        Ok(page)
    }

    /// Takes the request of a page, once.
    pub(super) fn answered(&self, page: &str, now: Timestamp) -> Option<Asked> {
        let (asked, until) = self.book().pages.remove(page)?;
        (now < until).then_some(asked)
    }

    /// A code for a request that was allowed.
    pub(super) fn allow(&self, asked: Asked, now: Timestamp) -> Result<String, getrandom::Error> {
        let code = random()?;
        let mut book = self.book();
        book.tidy(now);
        let until = now + CODE_LIFE;
        let entry = Code {
            asked,
            until,
            used: None,
        };
        book.codes.insert(code.clone(), entry);
        Ok(code)
    }

    /// Exchanges a code (RFC 6749 §4.1.3, RFC 7636 §4.6). Whatever is wrong, the code is used up.
    pub(super) fn exchange(
        &self,
        code: &str,
        redirect: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let mut book = self.book();
        book.families += 1;
        let family = book.families;
        let Some(entry) = book.codes.get_mut(code) else {
            return Err(("invalid_grant", "the code is unknown or was used"));
        };
        if let Some(earlier) = entry.used.replace(family) {
            book.end(earlier);
            return Err(("invalid_grant", "the code was used before"));
        }
        if now >= entry.until {
            return Err(("invalid_grant", "the code has expired"));
        }
        if entry.asked.redirect.as_str() != redirect {
            return Err(("invalid_grant", "redirect_uri is not that of the sign-in"));
        }
        if !proves(verifier, &entry.asked.challenge) {
            return Err(("invalid_grant", "code_verifier does not match"));
        }
        let scope = entry.asked.scope.clone();
        let lasting = scope.split(' ').any(|word| word == "offline_access");
        book.grant(family, scope, lasting, self.token_life, now)
    }

    /// A new pair for a refresh token, which is replaced. One that was replaced before ends the whole family.
    pub(super) fn refresh(&self, token: &str, now: Timestamp) -> Result<Issued, Refusal> {
        let mut book = self.book();
        let Some(entry) = book.refresh.get_mut(token) else {
            return Err(("invalid_grant", "the refresh token is unknown or was ended"));
        };
        let (family, scope) = (entry.family, entry.scope.clone());
        if !std::mem::replace(&mut entry.is_current, false) {
            book.end(family);
            return Err((
                "invalid_grant",
                "the refresh token was used before; all tokens of this sign-in are ended",
            ));
        }
        book.grant(family, scope, true, self.token_life, now)
    }

    /// An access token alone, for an application that proved itself or for a test.
    pub(super) fn issue(&self, now: Timestamp) -> Result<Issued, getrandom::Error> {
        let mut book = self.book();
        book.families += 1;
        let family = book.families;
        let scope = super::SCOPE.to_owned();
        book.add(family, scope, false, self.token_life, now)
    }

    /// Whether a mail server should take this access token.
    pub(super) fn is_good(&self, token: &str, now: Timestamp) -> bool {
        let book = self.book();
        book.access
            .get(token)
            .is_some_and(|entry| now < entry.until)
    }

    /// A poisoned lock only says that a thread panicked; an entry more or less harms nobody.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn grant(
        &mut self,
        family: Family,
        scope: String,
        lasting: bool,
        life: Duration,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        self.add(family, scope, lasting, life, now)
            .map_err(|_| ("server_error", "no randomness"))
    }

    fn add(
        &mut self,
        family: Family,
        scope: String,
        lasting: bool,
        life: Duration,
        now: Timestamp,
    ) -> Result<Issued, getrandom::Error> {
        self.tidy(now);
        let access_token = random()?;
        let until = now + life;
        self.access
            .insert(access_token.clone(), Access { until, family });
        let refresh_token = lasting.then(random).transpose()?;
        if let Some(token) = &refresh_token {
            let entry = Refresh {
                family,
                is_current: true,
                scope: scope.clone(),
            };
            self.refresh.insert(token.clone(), entry);
        }
        Ok(Issued {
            access_token,
            refresh_token,
            scope,
            life,
        })
    }

    fn end(&mut self, family: Family) {
        self.access.retain(|_, entry| entry.family != family);
        self.refresh.retain(|_, entry| entry.family != family);
    }

    /// Drops what is over. If a kind is full of what is not, all of it goes: a sandbox that is flooded owes nobody anything.
    fn tidy(&mut self, now: Timestamp) {
        self.pages.retain(|_, (_, until)| now < *until);
        // A used code is kept as long as its life, so that a second use is noticed.
        self.codes.retain(|_, entry| now < entry.until);
        self.access.retain(|_, entry| now < entry.until);
        if self.pages.len() >= MOST {
            self.pages.clear();
        }
        if self.codes.len() >= MOST {
            self.codes.clear();
        }
        if self.access.len() >= MOST {
            self.access.clear();
        }
        if self.refresh.len() >= MOST {
            self.refresh.retain(|_, entry| entry.is_current);
        }
        if self.refresh.len() >= MOST {
            self.refresh.clear();
        }
    }
}

/// `BASE64URL(SHA256(code_verifier)) == code_challenge` (RFC 7636 §4.6).
fn proves(verifier: &str, challenge: &str) -> bool {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    digest.as_bytes().ct_eq(challenge.as_bytes()).into()
}

/// 256 bits of randomness, in characters that are good everywhere.
pub(super) fn random() -> Result<String, getrandom::Error> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets)?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const REDIRECT: &str = "http://127.0.0.1:1/";

    fn register() -> Register {
        Register::new(Duration::from_secs(60)).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn code(register: &Register) -> String {
        let asked = Asked {
            redirect: REDIRECT.parse().unwrap(),
            state: None,
            challenge: CHALLENGE.into(),
            scope: "mail offline_access".into(),
        };
        register.allow(asked, now()).unwrap()
    }

    #[test]
    fn a_code_is_good_once_for_who_began() {
        let register = register();
        for (redirect, verifier) in [("http://127.0.0.1:2/", VERIFIER), (REDIRECT, "another")] {
            let code = code(&register);
            let refused = register.exchange(&code, redirect, verifier, now());
            assert_eq!(refused.unwrap_err().0, "invalid_grant");
            assert!(register.exchange(&code, REDIRECT, VERIFIER, now()).is_err());
        }
        let code = code(&register);
        let late = now() + CODE_LIFE;
        assert!(register.exchange(&code, REDIRECT, VERIFIER, late).is_err());
    }

    #[test]
    fn a_code_that_comes_back_ends_what_it_brought() {
        let register = register();
        let code = code(&register);
        let issued = register.exchange(&code, REDIRECT, VERIFIER, now()).unwrap();
        assert!(register.is_good(&issued.access_token, now()));
        assert!(register.exchange(&code, REDIRECT, VERIFIER, now()).is_err());
        assert!(!register.is_good(&issued.access_token, now()));
    }

    #[test]
    fn a_refresh_token_that_comes_back_ends_its_family() {
        let register = register();
        let code = code(&register);
        let first = register.exchange(&code, REDIRECT, VERIFIER, now()).unwrap();
        let old = first.refresh_token.unwrap();
        let second = register.refresh(&old, now()).unwrap();
        assert!(register.is_good(&second.access_token, now()));
        assert!(register.refresh(&old, now()).is_err());
        assert!(!register.is_good(&second.access_token, now()));
        assert!(
            register
                .refresh(&second.refresh_token.unwrap(), now())
                .is_err()
        );
    }

    #[test]
    fn an_access_token_ends() {
        let register = register();
        let token = register.issue(now()).unwrap().access_token;
        assert!(register.is_good(&token, now() + Duration::from_secs(59)));
        assert!(!register.is_good(&token, now() + Duration::from_secs(60)));
    }

    #[test]
    fn the_book_stays_small() {
        let register = register();
        for _ in 0..2 * MOST {
            register.issue(now()).unwrap();
        }
        assert!(register.book().access.len() <= MOST);
    }
}
