//! The last capability list seen from each mail server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::dial::Dialler;
use crate::dialogue::Profile;
use crate::failure::Failure;

/// How long a list is shown without asking again; every login renews it.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a server that took something back is believed only in what all its answers have in common. Behind some names there
/// are several machines that are not alike.
const UNSTEADY: Duration = Duration::from_secs(60 * 60);

/// The lists, by mail server.
#[derive(Default)]
pub struct Profiles {
    servers: Mutex<HashMap<String, Arc<Server>>>,
}

#[derive(Default)]
struct Server {
    known: Mutex<Option<Known>>,
    /// Held while the server is asked; keeps when and how that failed last.
    asking: tokio::sync::Mutex<Option<(Failure, Instant)>>,
}

impl Profiles {
    /// The list, if a fresh one is known.
    pub fn known(&self, dialler: &Dialler) -> Option<Profile> {
        self.server(dialler).known()
    }

    /// Keeps what a server has just said.
    pub fn learn(&self, dialler: &Dialler, profile: &Profile) {
        self.server(dialler).learn(profile);
    }

    /// The list, asking the server for it where none is known. However many ask, one connection is made; they share its failure.
    pub async fn get(&self, dialler: &Dialler) -> Result<Profile, Failure> {
        let server = self.server(dialler);
        let since = Instant::now();
        let mut last = server.asking.lock().await;
        if let Some(profile) = server.known() {
            return Ok(profile);
        }
        if let Some((failure, _)) = last.as_ref().filter(|(_, failed)| *failed > since) {
            return Err(failure.clone());
        }
        match dialler.ask_profile().await {
            Ok(profile) => {
                server.learn(&profile);
                Ok(profile)
            }
            Err(failure) => {
                *last = Some((failure.clone(), Instant::now()));
                Err(failure)
            }
        }
    }

    fn server(&self, dialler: &Dialler) -> Arc<Server> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{} {}", dialler.protocol, dialler.endpoint);
        Arc::clone(servers.entry(key).or_default())
    }
}

struct Known {
    profile: Profile,
    at: Instant,
    unsteady_until: Option<Instant>,
}

impl Server {
    fn known(&self) -> Option<Profile> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|known| known.at.elapsed() < FRESH);
        fresh.map(|known| known.profile.clone())
    }

    fn learn(&self, profile: &Profile) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let former = known.take().filter(|known| known.at.elapsed() < FRESH);
        let is_less = |former: &Known| profile.lacks(&former.profile).is_some();
        let unsteady_until = match &former {
            Some(former) if is_less(former) => Some(now + UNSTEADY),
            Some(former) => former.unsteady_until.filter(|until| *until > now),
            None => None,
        };
        let profile = match (&former, unsteady_until) {
            (Some(former), Some(_)) => profile.in_common_with(&former.profile),
            _ => profile.clone(),
        };
        *known = Some(Known {
            profile,
            at: now,
            unsteady_until,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    fn profile(words: &[&str]) -> Profile {
        Profile::new(Protocol::Smtp, words.iter().map(|word| word.as_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_offers_only_now_and_then_is_not_promised() {
        let server = Server::default();
        for words in [
            &["MOVE", "SIZE 100"][..],
            &["SIZE 50"],
            &["MOVE", "SIZE 100"],
        ] {
            server.learn(&profile(words));
        }
        assert_eq!(server.known(), Some(profile(&["SIZE 50"])));
        tokio::time::advance(UNSTEADY + Duration::from_secs(1)).await;
        server.learn(&profile(&["MOVE", "SIZE 100"]));
        assert_eq!(server.known(), Some(profile(&["MOVE", "SIZE 100"])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_shown_for_a_day() {
        let server = Server::default();
        server.learn(&profile(&["MOVE"]));
        tokio::time::advance(FRESH).await;
        assert_eq!(server.known(), None);
    }
}
