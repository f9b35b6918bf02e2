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

/// The lists, by mail server.
#[derive(Default)]
pub struct Profiles {
    servers: Mutex<HashMap<String, Arc<Server>>>,
}

#[derive(Default)]
struct Server {
    known: Mutex<Option<(Profile, Instant)>>,
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

impl Server {
    fn known(&self) -> Option<Profile> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|(_, at)| at.elapsed() < FRESH);
        fresh.map(|(profile, _)| profile.clone())
    }

    fn learn(&self, profile: &Profile) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((profile.clone(), Instant::now()));
    }
}
