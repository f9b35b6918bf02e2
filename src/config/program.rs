//! Programs that the configuration names, and what of our environment they do not see.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// A program and its arguments; no shell is involved.
#[derive(Clone, Default)]
pub struct Program {
    words: Vec<String>,
    hidden: Hidden,
}

/// The variables of the environment that the configuration takes secrets from. All programs of a configuration share it: while the file
/// is checked, it is not complete.
#[derive(Clone, Debug, Default)]
pub struct Hidden(Arc<Mutex<BTreeSet<String>>>);

impl Hidden {
    /// Adds a variable.
    pub(super) fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned());
    }
}

impl Program {
    /// The program that is the first of these words.
    pub fn new(words: Vec<String>, hidden: Hidden) -> Self {
        Self { words, hidden }
    }

    /// What it is called; the arguments may be secret.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Ready to start: with our environment, but for other people's secrets.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.name());
        command.args(self.words.iter().skip(1));
        let hidden = self.hidden.0.lock();
        for name in hidden.unwrap_or_else(PoisonError::into_inner).iter() {
            command.env_remove(name);
        }
        command
    }
}

impl From<Vec<String>> for Program {
    fn from(words: Vec<String>) -> Self {
        Self::new(words, Hidden::default())
    }
}

impl fmt::Debug for Program {
    /// Leaves out the arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.name()).finish()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use crate::config::Config;

    #[test]
    fn no_program_sees_the_variables_that_hold_secrets() {
        // This variable is there in every test; what comes before it in the file hides it too.
        let show =
            r#"["sh", "-c", "echo https://${CARGO_MANIFEST_DIR-hidden}.example ${PATH:+seen}"]"#;
        let text = format!(
            "state-dir = 'state'\n[notify]\ncommand = {show}\nwebhook = {{ command = {show} }}\n\
             [provider.lab]\nclient-id = 'x1'\nclient-secret = {{ env = 'CARGO_MANIFEST_DIR' }}\n\
             token-url = 'https://a.example/t'\nauthorize-url = 'https://a.example/a'\nscopes = ['mail']\n\
             imap = {{ host = 'a.example', port = 993, tls = 'implicit' }}\n"
        );
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let config = Config::parse(&text, Path::new("/x.toml")).expect("sound");
        let webhook = config.notify.webhook.expect("a source").read();
        let seen = webhook.expect("a secret");
        assert_eq!(seen.expose_secret(), "https://hidden.example seen");
        let command = config.notify.command.expect("a command");
        let output = command.command().output().expect("it runs").stdout;
        assert_eq!(output, b"https://hidden.example seen\n");
        assert_eq!(format!("{command:?}"), "Program(\"sh\")");
    }
}
