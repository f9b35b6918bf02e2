//! The questions about a provider as fields of a form, and the answers as [`Answers`].

use std::net::TcpListener;
use std::sync::Arc;

use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::super::gate::Session;
use super::super::page::{self, Field};
use super::{free_name, has_listener};
use crate::config::preset::{PRESETS, Preset, Registration, Secret, Tenants};
use crate::config::{Config, Provider};
use crate::protocol::Protocol;
use crate::setup::{Answers, Assertion, Choice, Served, TenantNeed, Way};

/// Before the name of a provider that the configuration has.
const KNOWN: &str = "known:";
/// The field of the client secret, which no page ever shows.
const SECRET: &str = "client-secret";
/// The box that somebody has to tick for a way with a warning.
const AGREED: &str = "agreed";
/// Ports that are tried after the usual one.
const PORT_TRIES: u16 = 100;

/// The value that stands for a provider that the configuration has.
pub fn known(provider: &Provider) -> String {
    format!("{KNOWN}{}", provider.name)
}

/// What the page is about; it stands in its address.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    address: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    way: String,
    #[serde(default)]
    region: String,
}

impl Asked {
    /// Address, provider and way; another choice loads the page again with other questions.
    pub fn provider_form(&self, config: &Config) -> Markup {
        let choice = Choice::of(&self.provider);
        let ways = choice.map(Choice::ways).unwrap_or_default();
        let way = choice.map(|choice| self.way(choice));
        html! {
            section {
                form method="get" action="/add/account" {
                    (Field::new("address", "The mailbox").value(&self.address).required().show())
                    div.field {
                        label for="provider" { "Its provider" }
                        select #provider name="provider" {
                            option value="" { "Please choose" }
                            @for provider in &config.providers {
                                @let value = known(provider);
                                option value=(value) selected[value == self.provider] { (provider.name) ", as in the configuration" }
                            }
                            @for preset in PRESETS {
                                option value=(preset.name) selected[preset.name == self.provider] { (preset.title) }
                            }
                            option value=(Choice::OTHER) selected[self.provider == Choice::OTHER] { "Any other, by its issuer or URLs" }
                        }
                    }
                    @if ways.len() > 1 {
                        div.field {
                            label for="way" { "Who signs in" }
                            select #way name="way" {
                                @for each in &ways { option value=(each.word()) selected[Some(*each) == way] { (each.words()) } }
                            }
                        }
                    }
                    @if !self.region.is_empty() { input type="hidden" name="region" value=(self.region); }
                    button.quiet type="submit" { "Show what it needs" }
                }
            }
        }
    }

    fn way(&self, choice: Choice) -> Way {
        let ways = choice.ways();
        let wanted = ways.iter().find(|way| way.word() == self.way);
        wanted.or(ways.first()).copied().unwrap_or_default()
    }

    /// What is to be asked; nothing, as long as no provider is chosen.
    pub fn question(&self, config: &Config) -> Option<Question> {
        let subject = match self.provider.strip_prefix(KNOWN) {
            Some(name) => {
                let mut providers = config.providers.iter();
                Subject::Known(providers.find(|known| known.name == name)?.clone())
            }
            None => {
                let choice = Choice::of(&self.provider)?;
                Subject::New(choice, self.way(choice))
            }
        };
        Some(Question {
            subject,
            asked: self.clone(),
        })
    }
}

/// What is asked about a provider.
pub struct Question {
    subject: Subject,
    asked: Asked,
}

enum Subject {
    Known(Arc<Provider>),
    New(Choice, Way),
}

impl Question {
    /// Whether the configuration does not have the provider.
    pub const fn is_new(&self) -> bool {
        matches!(self.subject, Subject::New(..))
    }

    // ---- the fields ----

    /// The form; `typed` is what was answered before.
    pub fn form(&self, session: &Session, config: &Config, typed: &[(String, String)]) -> Markup {
        let show = Show { typed };
        let hidden = [
            ("address", self.asked.address.as_str()),
            ("provider", &self.asked.provider),
            ("way", &self.asked.way),
        ];
        let fields = html! {
            @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
            @if let Subject::New(choice, way) = self.subject {
                @if let Some(Registration::OnRequest(words)) = choice.preset().map(|preset| preset.registration) { p.reason { (words) "." } }
                p.hint { (choice.place(way)) "." }
                (self.registration(choice, way, &show))
            }
            (self.listeners(config, &show))
            (show.field("authorize-as", "Who signs in, if not the mailbox itself").hint("For a shared mailbox: a person who may open it.").show())
        };
        page::form(session, "/add/account", &fields, "Add the account")
    }

    fn registration(&self, choice: Choice, way: Way, show: &Show<'_>) -> Markup {
        let preset = choice.preset();
        html! {
            @match preset {
                Some(preset) => { (tenant(preset, way, show)) (self.region(preset, show)) }
                None => { (endpoints(way, show)) }
            }
            @match way {
                Way::ServiceAccount => (show.field("service-account", "The JSON file with the service account's key").hint(FILE).required().show()),
                Way::ManagedIdentity => (show.field("client-id", "Client id of the identity").hint("Only of a user-assigned one.").show()),
                _ => (show.field("client-id", "Client id of the registration").required().show()),
            }
            @match (way, preset.map_or(Secret::Possible, |preset| preset.secret)) {
                (Way::ServiceAccount | Way::ManagedIdentity, _) => {}
                (Way::Federation, _) => {
                    (show.field("assertion", "The file that the platform keeps its token in").hint(FILE).required().show())
                }
                (Way::Certificate, _) => {
                    (show.field("certificate", "The file of the certificate that was uploaded there (PEM)").hint(FILE).required().show())
                    (show.field("certificate-key", "The file with its private key").hint("If it is another.").show())
                }
                (Way::Secret, _) | (_, Secret::Wanted) => {
                    (Field::secret(SECRET, "Client secret").hint("Its value, not its id. It is kept in a file of its own, and never shown.").show())
                }
                (_, Secret::Refused) => {}
                (_, Secret::Possible) => {
                    (Field::secret(SECRET, "Client secret, if the registration has one").hint("It is kept in a file of its own, and never shown.").show())
                }
            }
            @if let Some(warning) = way.warning() {
                p.reason { (warning) }
                label.field {
                    input type="checkbox" name=(AGREED) value="on" required checked[show.typed(AGREED).is_some()]; " Use it all the same"
                }
            }
        }
    }

    fn region(&self, preset: &Preset, show: &Show<'_>) -> Markup {
        let Some(usual) = preset.regions.first() else {
            return html! {};
        };
        let chosen = show.typed("region").unwrap_or(&self.asked.region);
        let chosen = if chosen.is_empty() { usual } else { chosen };
        html! {
            div.field {
                label for="region" { "Region, as in the address of its web site" }
                select #region name="region" {
                    @for region in preset.regions { option value=(region) selected[*region == chosen] { (region) } }
                }
            }
        }
    }

    /// What mail programs speak: only what has no listener yet.
    fn listeners(&self, config: &Config, show: &Show<'_>) -> Markup {
        let missing = self.missing(config);
        if missing.is_empty() {
            return html! { p.hint { "The configuration has listeners for this provider already." } };
        }
        let is_other = matches!(self.subject, Subject::New(Choice::Other, _));
        html! {
            fieldset {
                legend { "What mail programs speak" }
                @for protocol in missing {
                    @let (word, name) = (protocol.word(), protocol.word().to_uppercase());
                    @let is_usual = self.is_new() && protocol != Protocol::Pop3;
                    @let is_checked = if show.typed.is_empty() { is_usual } else { show.typed(word).is_some() };
                    label { input type="checkbox" name=(word) value="on" checked[is_checked]; " " (name) }
                    @if is_other {
                        (show.field(&format!("{word}-host"), &format!("The provider's {name} server")).hint("HOST or HOST:PORT").show())
                    }
                    @let port = free_port(protocol, config).to_string();
                    (show.field(&format!("{word}-port"), &format!("Port for {name} on this machine")).value(show.typed(&format!("{word}-port")).unwrap_or(&port)).show())
                }
                @let others = show.typed("where") == Some("others");
                label { input type="radio" name="where" value="here" checked[!others]; " Mail programs run on this machine only" }
                label { input type="radio" name="where" value="others" checked[others]; " On others too (with TLS)" }
            }
        }
    }

    fn missing(&self, config: &Config) -> Vec<Protocol> {
        match &self.subject {
            Subject::New(choice, _) => choice.protocols(),
            Subject::Known(provider) => {
                let is_missing = |protocol: &Protocol| {
                    provider.endpoint(*protocol).is_some()
                        && !has_listener(config, &provider.name, *protocol)
                };
                Protocol::ALL.into_iter().filter(is_missing).collect()
            }
        }
    }

    // ---- the answers ----

    /// What was answered.
    ///
    /// # Errors
    /// In words, if something is missing. Whether the rest is right the check of the configuration says.
    pub fn answers(&self, answered: &Answered, config: &Config) -> Result<Answers, String> {
        let mut answers = Answers {
            address: answered.needed("address", "the mailbox")?,
            authorize_as: answered.optional("authorize-as"),
            is_for_others: answered.get("where") == Some("others"),
            ..Answers::default()
        };
        match &self.subject {
            Subject::Known(provider) => answers.name = Some(provider.name.clone()),
            Subject::New(choice, way) => {
                (answers.choice, answers.way) = (Some(*choice), *way);
                answers.name = Some(free_name(config, *choice));
                register(&mut answers, *choice, *way, answered)?;
            }
        }
        let is_other = matches!(self.subject, Subject::New(Choice::Other, _));
        for protocol in self.missing(config) {
            if answered.get(protocol.word()).is_some() {
                answers
                    .listeners
                    .push(served(protocol, is_other, answered)?);
            }
        }
        if self.is_new() && answers.listeners.is_empty() {
            return Err("Choose at least one protocol that mail programs speak.".into());
        }
        Ok(answers)
    }
}

fn register(
    answers: &mut Answers,
    choice: Choice,
    way: Way,
    answered: &Answered,
) -> Result<(), String> {
    match choice.preset() {
        Some(preset) => {
            let has_tenant = way.tenant() != TenantNeed::None;
            answers.tenant = answered.optional("tenant").filter(|_| has_tenant);
            let has_regions = !preset.regions.is_empty();
            answers.region = answered.optional("region").filter(|_| has_regions);
        }
        None => {
            answers.issuer = answered.optional("issuer");
            answers.permission_url = answered.optional("permission-url");
            answers.token_url = answered.optional("token-url");
            answers.ca_file = answered.optional("ca-file");
            let scopes = answered.optional("scopes").unwrap_or_default();
            answers.scopes = scopes.split_whitespace().map(str::to_owned).collect();
        }
    }
    if way.warning().is_some() && answered.get(AGREED).is_none() {
        return Err(
            "Nobody agreed to the password grant: tick the box, or choose another way.".into(),
        );
    }
    credentials(answers, way, answered)
}

/// The id of the registration, and what it proves itself with.
fn credentials(answers: &mut Answers, way: Way, answered: &Answered) -> Result<(), String> {
    match way {
        Way::ServiceAccount => {
            let key = answered.needed("service-account", "the service account's key")?;
            answers.service_account = Some(key);
            return Ok(());
        }
        Way::ManagedIdentity => {
            answers.client_id = answered.optional("client-id").unwrap_or_default();
            return Ok(());
        }
        _ => answers.client_id = answered.needed("client-id", "the client id")?,
    }
    match way {
        Way::Certificate => {
            let file = answered.needed("certificate", "the certificate")?;
            let key = answered.optional("certificate-key");
            answers.certificate = Some((file.clone(), key.unwrap_or(file)));
        }
        Way::Federation => {
            let file = answered.needed("assertion", "the file with the platform's token")?;
            answers.assertion = Some(Assertion::File(file));
        }
        _ => answers.secret = answered.secret(),
    }
    if way == Way::Secret && answers.secret.is_none() {
        return Err("Nobody signs in, so a client secret is needed.".into());
    }
    Ok(())
}

fn served(protocol: Protocol, is_other: bool, answered: &Answered) -> Result<Served, String> {
    let (word, name) = (protocol.word(), protocol.word().to_uppercase());
    let port = answered
        .optional(&format!("{word}-port"))
        .unwrap_or_default();
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| format!("The port for {name} is a number from 1 to 65535."))?;
    let host = match is_other {
        true => Some(answered.needed(
            &format!("{word}-host"),
            &format!("the provider's {name} server"),
        )?),
        false => None,
    };
    Ok(Served {
        protocol,
        port,
        host,
    })
}

const FILE: &str =
    "Its path on the machine of mailwicket; without a folder, in that of the configuration.";

fn tenant(preset: &Preset, way: Way, show: &Show<'_>) -> Markup {
    let field = show.field("tenant", "Tenant: its id or a domain");
    match way.tenant() {
        _ if preset.tenants != Tenants::Own => html! {},
        TenantNeed::None => html! {},
        TenantNeed::One => field.required().show(),
        TenantNeed::Possible => field.hint("Nothing means: whoever signs in.").show(),
    }
}

fn endpoints(way: Way, show: &Show<'_>) -> Markup {
    let permission = match way {
        Way::Browser => Some("Authorization URL"),
        Way::Device => Some("Device authorization URL"),
        Way::Secret
        | Way::Certificate
        | Way::Federation
        | Way::ManagedIdentity
        | Way::ServiceAccount
        | Way::Password => None,
    };
    html! {
        (show.field("issuer", "Issuer URL").hint("If the provider publishes its endpoints (OpenID Connect). Else these:").show())
        @if let Some(label) = permission { (show.field("permission-url", label).show()) }
        (show.field("token-url", "Token URL").show())
        (show.field("scopes", "Scopes for mail").hint("With spaces between them. With openid and email it can be checked who signed in; offline_access is often needed.").show())
        (show.field("ca-file", "The file of the CA of its servers").hint("Only if it is one that this system does not trust by itself. The path on the machine of mailwicket.").show())
    }
}

/// A port that nothing listens on, as far as can be seen: the usual one, or one above.
fn free_port(protocol: Protocol, config: &Config) -> u16 {
    let usual: u16 = match protocol {
        Protocol::Imap => 1143,
        Protocol::Pop3 => 1110,
        Protocol::Smtp => 1587,
    };
    let addresses = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.addresses);
    let taken: Vec<u16> = addresses.map(|address| address.port()).collect();
    let is_free = |port: &u16| {
        !taken.contains(port) && TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    let mut ports = usual..usual + PORT_TRIES;
    ports.find(is_free).unwrap_or(usual)
}

/// Fields that begin with what was typed before.
struct Show<'a> {
    typed: &'a [(String, String)],
}

impl<'a> Show<'a> {
    fn typed(&self, name: &str) -> Option<&'a str> {
        let mut typed = self.typed.iter();
        let found = typed.find(|(typed, _)| typed == name);
        found.map(|(_, value)| value.as_str())
    }

    fn field<'f>(&self, name: &'f str, label: &'f str) -> Field<'f>
    where
        'a: 'f,
    {
        Field::new(name, label).value(self.typed(name).unwrap_or_default())
    }
}

/// What was posted. The secret is apart, so that no page can show it.
pub struct Answered {
    shown: Vec<(String, String)>,
    secret: Option<SecretString>,
}

impl Answered {
    /// Takes the secret out.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        let (secrets, shown) = pairs
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| name == SECRET);
        let mut secrets = secrets
            .into_iter()
            .map(|(_, value)| SecretString::from(value));
        Self {
            shown,
            secret: secrets.next(),
        }
    }

    /// What a page may show again.
    pub fn shown(&self) -> &[(String, String)] {
        &self.shown
    }

    /// What the page was about.
    pub fn asked(&self) -> Asked {
        let get = |name| self.optional(name).unwrap_or_default();
        Asked {
            address: get("address"),
            provider: get("provider"),
            way: get("way"),
            region: get("region"),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut shown = self.shown.iter();
        let found = shown.find(|(shown, _)| shown == name);
        found.map(|(_, value)| value.as_str())
    }

    fn optional(&self, name: &str) -> Option<String> {
        let value = self.get(name)?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn needed(&self, name: &str, words: &str) -> Result<String, String> {
        self.optional(name)
            .ok_or_else(|| format!("Something is missing: {words}."))
    }

    fn secret(&self) -> Option<SecretString> {
        let secret = self.secret.as_ref()?.expose_secret().trim();
        (!secret.is_empty()).then(|| SecretString::from(secret))
    }
}
