//! Passwords that were just made up, for the form that asked for one and is sent again at once.
//!
//! A browser drops the first answer when a button is pressed twice. The hash is kept by then, and what it is of would be lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// How long a password can be told again.
const LIFE: Duration = Duration::from_secs(30);
/// Passwords that are made or remembered at a time; another takes the place of the oldest.
const MOST: usize = 16;

/// What was asked for, by whom, in which form. Whoever goes back and asks for another thing gets that.
#[derive(PartialEq, Eq)]
pub struct Asked {
    pub session: u64,
    /// The form's own word; without one, nothing is remembered.
    pub form: String,
    pub address: String,
    /// What was typed into its fields.
    pub typed: [String; 4],
}

type Slot = Arc<OnceCell<SecretString>>;

/// Those there are. A password is wiped with its place.
#[derive(Clone, Default)]
pub struct Made(Arc<Mutex<Vec<(Asked, Slot)>>>);

impl Made {
    /// The password that was made for this form, or else a new one. Whoever asks meanwhile waits for the same.
    ///
    /// # Errors
    /// What `make` says; nothing is remembered then.
    pub async fn once(
        &self,
        asked: Asked,
        session: CancellationToken,
        make: impl Future<Output = Result<SecretString, String>>,
    ) -> Result<SecretString, String> {
        if asked.form.is_empty() {
            return make.await;
        }
        let slot = self.slot(asked);
        let is_first = !slot.initialized();
        let made = slot.get_or_try_init(|| make).await.cloned();
        if made.is_err() {
            self.forget(|_, other| Arc::ptr_eq(other, &slot));
        } else if is_first {
            let made = self.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(LIFE) => {}
                    () = session.cancelled() => {}
                }
                made.forget(|_, other| Arc::ptr_eq(other, &slot));
            });
        }
        made
    }

    /// Forgets those of an account.
    pub fn forget_of(&self, address: &str) {
        self.forget(|asked, _| asked.address == address);
    }

    fn slot(&self, asked: Asked) -> Slot {
        let mut all = self.all();
        if let Some((_, slot)) = all.iter().find(|(known, _)| *known == asked) {
            return Arc::clone(slot);
        }
        if all.len() == MOST {
            all.remove(0);
        }
        let slot = Slot::default();
        all.push((asked, Arc::clone(&slot)));
        slot
    }

    fn forget(&self, which: impl Fn(&Asked, &Slot) -> bool) {
        self.all().retain(|(asked, slot)| !which(asked, slot));
    }

    fn all(&self) -> MutexGuard<'_, Vec<(Asked, Slot)>> {
        // Every change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A word for a form that no other form has; empty if the system gives no randomness.
pub fn word() -> String {
    getrandom::u64().map_or_else(|_| String::new(), |number| format!("{number:016x}"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn asked(form: &str) -> Asked {
        Asked {
            session: 1,
            form: form.into(),
            address: "alice@example.com".into(),
            typed: Default::default(),
        }
    }

    async fn told(made: &Made, form: &str, session: &CancellationToken, new: &str) -> String {
        let make = async { Ok(new.to_owned().into()) };
        let told = made.once(asked(form), session.clone(), make).await;
        told.expect("made").expose_secret().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_gets_the_same_password_again_for_a_short_time() {
        let (made, session) = (Made::default(), CancellationToken::new());
        assert_eq!(told(&made, "f", &session, "first").await, "first");
        assert_eq!(told(&made, "f", &session, "second").await, "first");
        assert_eq!(told(&made, "g", &session, "other").await, "other");
        tokio::time::sleep(LIFE + Duration::from_millis(1)).await;
        assert!(made.all().is_empty());
        assert_eq!(told(&made, "f", &session, "third").await, "third");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_remembered_after_the_session_or_without_a_word_or_if_it_failed() {
        let (made, session) = (Made::default(), CancellationToken::new());
        told(&made, "", &session, "x").await;
        let failing = made.once(asked("f"), session.clone(), async { Err("no".into()) });
        assert_eq!(failing.await.expect_err("it failed"), "no");
        assert!(made.all().is_empty());
        told(&made, "f", &session, "x").await;
        assert_eq!(made.all().len(), 1);
        session.cancel();
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert!(made.all().is_empty());
    }
}
