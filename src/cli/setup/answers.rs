//! What was answered, and the configuration that it makes.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};
use toml_edit::Value;
use zeroize::Zeroizing;

use super::guess::Kind;
use crate::protocol::Protocol;

/// The answers so far; also what the next round of questions begins with.
#[derive(Clone, Default)]
pub struct Answers {
    /// The mailbox.
    pub address: String,
    /// Its provider.
    pub kind: Option<Kind>,
    /// Microsoft's directory.
    pub tenant: Option<String>,
    /// Whether the application signs in by itself.
    pub is_unattended: bool,
    /// The issuer of another provider.
    pub issuer: Option<String>,
    /// Its endpoints, where it publishes none.
    pub authorize_url: Option<String>,
    /// See there.
    pub token_url: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The registration.
    pub client_id: String,
    /// Its secret.
    pub secret: Option<SecretString>,
    /// What mail programs speak, the port for it here, and the server of another provider.
    pub listeners: Vec<Served>,
}

/// A protocol that is served.
#[derive(Clone)]
pub struct Served {
    pub protocol: Protocol,
    pub port: u16,
    pub host: Option<String>,
}

/// How the secret stands in the file.
#[derive(Clone, Copy)]
pub enum SecretPlace<'p> {
    /// As it is.
    Inline,
    /// As dots, for a screen.
    Hidden,
    /// In a file of this name.
    File(&'p str),
}

impl Answers {
    /// The name of the provider's table.
    pub fn provider(&self) -> &'static str {
        self.kind.unwrap_or(Kind::Other).word()
    }

    /// The configuration, with comments.
    pub fn config(&self, place: SecretPlace<'_>, state_dir: Option<&str>) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        line(
            &mut text,
            "# Written by `mailwicket setup`. Every key: man mailwicket.toml, or docs/configuration.md.",
        );
        if let Some(folder) = state_dir {
            line(
                &mut text,
                "\n# Where tokens and local passwords are kept; for the user of the daemon only.",
            );
            key(&mut text, "state-dir", folder);
        }
        self.provider_table(&mut text, place);
        for served in &self.listeners {
            listener(&mut text, served, self.provider());
        }
        line(
            &mut text,
            "\n# The mailbox. Mail programs log in with its address and a local password (mailwicket password add).",
        );
        line(&mut text, "[[account]]");
        key(&mut text, "address", &self.address);
        key(&mut text, "provider", self.provider());
        text
    }

    fn provider_table(&self, text: &mut String, place: SecretPlace<'_>) {
        line(
            text,
            "\n# The application that was registered at the provider.",
        );
        line(text, &format!("[provider.{}]", self.provider()));
        match self.kind.unwrap_or(Kind::Other) {
            Kind::Microsoft => {
                key(text, "preset", "microsoft");
                if let Some(tenant) = &self.tenant {
                    key(text, "tenant", tenant);
                }
            }
            Kind::Personal => personal(text),
            Kind::Google => key(text, "preset", "google"),
            Kind::Other => self.endpoints(text),
        }
        key(text, "client-id", &self.client_id);
        self.client_secret(text, place);
        if self.is_unattended {
            line(
                text,
                "# Nobody signs in: the application has permissions of its own.",
            );
            key(text, "flow", "client-credentials");
        }
    }

    fn endpoints(&self, text: &mut String) {
        for (name, value) in [
            ("issuer", &self.issuer),
            ("authorize-url", &self.authorize_url),
            ("token-url", &self.token_url),
        ] {
            if let Some(value) = value {
                key(text, name, value);
            }
        }
        if !self.scopes.is_empty() {
            let scopes: Vec<_> = self.scopes.iter().map(|scope| quoted(scope)).collect();
            line(text, &format!("scopes = [{}]", scopes.join(", ")));
        }
        for served in &self.listeners {
            if let Some(host) = &served.host {
                line(
                    text,
                    &format!("{} = {{ host = {} }}", served.protocol.word(), quoted(host)),
                );
            }
        }
    }

    fn client_secret(&self, text: &mut String, place: SecretPlace<'_>) {
        let Some(secret) = &self.secret else {
            return;
        };
        match place {
            SecretPlace::Inline => key(text, "client-secret", secret.expose_secret()),
            SecretPlace::Hidden => line(text, "client-secret = \"…\""),
            SecretPlace::File(file) => line(
                text,
                &format!("client-secret = {{ file = {} }}", quoted(file)),
            ),
        }
    }
}

fn personal(text: &mut String) {
    line(
        text,
        "# Personal mailboxes have a directory and a sending server of their own.",
    );
    key(text, "preset", "microsoft");
    key(text, "tenant", "consumers");
    line(
        text,
        "smtp = { host = \"smtp-mail.outlook.com\", port = 587, tls = \"starttls\" }",
    );
}

fn listener(text: &mut String, served: &Served, provider: &str) {
    let (protocol, port) = (served.protocol, served.port);
    line(
        text,
        &format!(
            "\n# Where mail programs on this machine speak {}; encryption: none.",
            protocol.word().to_uppercase()
        ),
    );
    line(text, "[[listener]]");
    key(text, "protocol", protocol.word());
    key(text, "provider", provider);
    line(
        text,
        &format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]"),
    );
}

fn key(text: &mut String, key: &str, value: &str) {
    line(
        text,
        &Zeroizing::new(format!("{key} = {}", *Zeroizing::new(quoted(value)))),
    );
}

fn line(text: &mut String, line: &str) {
    // Writing into memory cannot fail.
    let _ = writeln!(text, "{line}");
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
