//! What was answered, and the configuration that it makes.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::choice::{Choice, Way};
use crate::config::line::{key, line, quoted};
use crate::protocol::Protocol;

/// The answers so far; also what the next round of questions begins with.
#[derive(Default)]
pub struct Answers {
    /// The mailbox.
    pub address: String,
    /// Who signs in at the provider, if it is not the mailbox itself.
    pub authorize_as: Option<String>,
    /// Its provider.
    pub choice: Option<Choice>,
    /// The name of the provider's table, if it is not that of the choice.
    pub name: Option<String>,
    /// How tokens are got.
    pub way: Way,
    /// Microsoft's directory.
    pub tenant: Option<String>,
    /// Zoho's data centre.
    pub region: Option<String>,
    /// The issuer of another provider.
    pub issuer: Option<String>,
    /// Where a person signs in, where the provider publishes no endpoints.
    pub permission_url: Option<String>,
    /// See there.
    pub token_url: Option<String>,
    /// The CA of another provider's servers, if it is one of its own.
    pub ca_file: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The registration; empty for a machine whose identity is its only one.
    pub client_id: String,
    /// Its secret.
    pub secret: Option<SecretString>,
    /// The files of its certificate and of the key.
    pub certificate: Option<(String, String)>,
    /// Where the platform's token comes from.
    pub assertion: Option<Assertion>,
    /// The file of a service account's key.
    pub service_account: Option<String>,
    /// What mail programs speak, the port for it here, and the server of another provider.
    pub listeners: Vec<Served>,
    /// Whether mail programs run on other machines as well.
    pub is_for_others: bool,
}

/// Where a token comes from that stands for the secret.
pub enum Assertion {
    /// A file, which the platform keeps fresh.
    File(String),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// A protocol that is served.
pub struct Served {
    /// What mail programs speak.
    pub protocol: Protocol,
    /// The port for it here.
    pub port: u16,
    /// The server of a provider that is not known by name: `HOST` or `HOST:PORT`.
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
    pub fn provider(&self) -> &str {
        let usual = self.choice.unwrap_or(Choice::Other).word();
        self.name.as_deref().unwrap_or(usual)
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
        self.listeners_and_account(&mut text);
        text
    }

    /// What is added to a configuration that has no such provider.
    pub fn addition(&self, place: SecretPlace<'_>) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        self.provider_table(&mut text, place);
        self.listeners_and_account(&mut text);
        text
    }

    /// What is added to a configuration that has the provider.
    pub fn addition_to_known(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::default();
        self.listeners_and_account(&mut text);
        text
    }

    fn listeners_and_account(&self, text: &mut String) {
        for served in &self.listeners {
            self.listener(text, served);
        }
        line(
            text,
            "\n# The mailbox. Mail programs log in with its address and a local password (mailwicket password add).",
        );
        line(text, "[[account]]");
        key(text, "address", &self.address);
        key(text, "provider", self.provider());
        if let Some(name) = &self.authorize_as {
            key(text, "authorize-as", name);
        }
    }

    fn provider_table(&self, text: &mut String, place: SecretPlace<'_>) {
        line(
            text,
            match self.way {
                Way::ManagedIdentity => {
                    "\n# The identity of this machine in Azure; nothing is registered, and no secret is kept."
                }
                _ => "\n# The application that was registered at the provider.",
            },
        );
        line(text, &format!("[provider.{}]", self.provider()));
        match self.choice.and_then(Choice::preset) {
            Some(preset) => {
                let lines = [
                    ("preset", Some(preset.name)),
                    ("tenant", self.tenant.as_deref()),
                    ("region", self.region.as_deref()),
                ];
                for (name, value) in lines {
                    if let Some(value) = value {
                        key(text, name, value);
                    }
                }
            }
            None => self.endpoints(text),
        }
        self.client(text);
        self.client_secret(text, place);
        if let Some((file, private)) = &self.certificate {
            line(
                text,
                &format!(
                    "certificate = {{ file = {}, key = {{ file = {} }} }}",
                    quoted(file),
                    quoted(private)
                ),
            );
        }
        if let Some(assertion) = &self.assertion {
            line(
                text,
                "# The token that the platform gives this program in place of a secret; it is read for each request.",
            );
            line(text, &assertion.line());
        }
        if self.way != Way::Browser {
            line(text, &format!("# Who signs in: {}.", self.way.words()));
            key(text, "flow", self.way.flow().word());
        }
        if self.way == Way::Password {
            line(
                text,
                "# It fails with a second factor and for federated users; remove both lines as soon as another way can be had.",
            );
            line(text, "allow-password-grant = true");
        }
    }

    fn client(&self, text: &mut String) {
        match &self.service_account {
            Some(file) => line(
                text,
                &format!("service-account = {{ file = {} }}", quoted(file)),
            ),
            None if self.way == Way::ManagedIdentity && self.client_id.is_empty() => line(
                text,
                "# client-id = \"…\"    # of a user-assigned identity; without it, the system-assigned one",
            ),
            None => key(text, "client-id", &self.client_id),
        }
    }

    fn endpoints(&self, text: &mut String) {
        let permission = match self.way {
            Way::Device => "device-url",
            _ => "authorize-url",
        };
        for (name, value) in [
            ("issuer", &self.issuer),
            (permission, &self.permission_url),
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
                let server = server(host);
                line(text, &format!("{} = {server}", served.protocol.word()));
            }
        }
        if let Some(file) = &self.ca_file {
            key(text, "ca-file", file);
        }
    }

    fn listener(&self, text: &mut String, served: &Served) {
        let (protocol, port) = (served.protocol, served.port);
        let name = protocol.word().to_uppercase();
        let words = match self.is_for_others {
            true => format!(
                "Where mail programs speak {name}; those on other machines with TLS (STARTTLS or SSL/TLS)."
            ),
            false => {
                format!("Where mail programs on this machine speak {name}; encryption: none.")
            }
        };
        line(text, &format!("\n# {words}"));
        line(text, "[[listener]]");
        key(text, "protocol", protocol.word());
        key(text, "provider", self.provider());
        let hosts = match self.is_for_others {
            true => ["0.0.0.0", "[::]"],
            false => ["127.0.0.1", "[::1]"],
        };
        let listen = hosts.map(|host| quoted(&format!("{host}:{port}")));
        line(text, &format!("listen = [{}]", listen.join(", ")));
        if self.is_for_others {
            key(text, "tls", "auto");
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

impl Assertion {
    fn line(&self) -> String {
        match self {
            Self::File(file) => format!("assertion = {{ file = {} }}", quoted(file)),
            Self::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                format!("assertion = {{ command = [{}] }}", words.join(", "))
            }
        }
    }
}

/// `HOST` or `HOST:PORT` as the file has it.
fn server(answer: &str) -> String {
    let parts = answer.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parts.filter(|(host, _)| !host.contains(':')) {
        Some((host, port)) => format!("{{ host = {}, port = {port} }}", quoted(host)),
        None => format!("{{ host = {} }}", quoted(answer)),
    }
}
