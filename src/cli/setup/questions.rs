//! The questions. Each is asked only where its answer is needed.

use super::SetupError;
use super::talk::{Talk, TalkError};
use crate::config::preset::{Preset, Registration, Secret, Tenants};
use crate::config::{Guess, guess};
use crate::protocol::Protocol;
use crate::setup::{Answers, Assertion, Choice, Served, TenantNeed, Way};

/// All of them; what was answered before is the default.
pub fn ask(talk: &mut Talk<'_>, answers: &mut Answers) -> Result<(), SetupError> {
    let guessed = mailbox(talk, answers)?;
    let choice = provider(talk, answers.choice.or(guessed.map(|(choice, _)| choice)))?;
    if let Some(preset) = choice.preset() {
        registration(talk, preset)?;
    }
    answers.choice = Some(choice);
    answers.way = way(talk, choice)?;
    if choice.preset().is_none() {
        endpoints(talk, answers)?;
    }
    talk.say(&format!("{}.", choice.place(answers.way)))?;
    if let Some(preset) = choice.preset() {
        let region = guessed.and_then(|(_, region)| region);
        answers.tenant = tenant(talk, preset, answers)?;
        answers.region = self::region(talk, preset, region)?;
    }
    credentials(talk, choice, answers)?;
    answers.listeners = listeners(talk, choice)?;
    answers.is_for_others = is_for_others(talk)?;
    Ok(())
}

/// The mailbox, and what its address says. Who takes no tokens has no use for the rest.
fn mailbox(
    talk: &mut Talk<'_>,
    answers: &mut Answers,
) -> Result<Option<(Choice, Option<&'static str>)>, TalkError> {
    loop {
        answers.address = ask_again(talk, "The mailbox (NAME@DOMAIN)", &answers.address)?;
        match guess(&answers.address) {
            Some(Guess::NoOAuth(words)) => {
                talk.say(&format!("{words}. For another mailbox:"))?;
                answers.address.clear();
            }
            Some(Guess::Preset(preset, region)) => {
                return Ok(Some((Choice::Preset(preset), region)));
            }
            None => return Ok(None),
        }
    }
}

fn provider(talk: &mut Talk<'_>, suggestion: Option<Choice>) -> Result<Choice, TalkError> {
    if suggestion.is_none() {
        talk.say(&Choice::list())?;
    }
    let default = suggestion.map_or("microsoft", Choice::word);
    loop {
        let answer = talk.ask("The provider", Some(default))?;
        match Choice::of(&answer) {
            Some(choice) => return Ok(choice),
            None => talk.say(&format!(
                "Please answer one of these words. {}",
                Choice::list()
            ))?,
        }
    }
}

/// Says so before further questions, if a registration cannot be had at once.
fn registration(talk: &mut Talk<'_>, preset: &Preset) -> Result<(), SetupError> {
    let Registration::OnRequest(words) = preset.registration else {
        return Ok(());
    };
    talk.say(&format!("{}: {words}.", preset.title))?;
    match talk.agrees("Do you have such a registration?")? {
        true => Ok(()),
        false => Err(SetupError::Unregistered(preset.title)),
    }
}

fn way(talk: &mut Talk<'_>, choice: Choice) -> Result<Way, TalkError> {
    let ways = choice.ways();
    if let [only] = ways[..] {
        return Ok(only);
    }
    let lines = ways
        .iter()
        .map(|way| format!("\n  {:<20} {}", way.word(), way.words()));
    talk.say(&format!("Who signs in:{}", lines.collect::<String>()))?;
    loop {
        let answer = talk.ask("Who signs in", Some(Way::Browser.word()))?;
        match ways
            .iter()
            .find(|way| way.word().eq_ignore_ascii_case(&answer))
        {
            Some(way) if is_wanted(talk, *way)? => return Ok(*way),
            Some(_) => talk.say("Another way, then.")?,
            None => talk.say("Please answer one of the words on the left.")?,
        }
    }
}

/// Whether somebody agrees to what there is to say of a way.
fn is_wanted(talk: &mut Talk<'_>, way: Way) -> Result<bool, TalkError> {
    let Some(warning) = way.warning() else {
        return Ok(true);
    };
    talk.say(warning)?;
    talk.permits("Use it all the same?")
}

// ---- the registration ----

fn tenant(
    talk: &mut Talk<'_>,
    preset: &Preset,
    answers: &Answers,
) -> Result<Option<String>, TalkError> {
    if preset.tenants != Tenants::Own {
        return Ok(None);
    }
    let tenant = match (answers.way.tenant(), &answers.tenant) {
        (TenantNeed::None, _) => return Ok(None),
        (_, Some(tenant)) => talk.ask("Tenant: its id or a domain", Some(tenant))?,
        (TenantNeed::One, None) => talk.ask("Tenant: its id or a domain", None)?,
        (TenantNeed::Possible, None) => talk.ask(
            "Tenant: its id or a domain, or common for all",
            Some("common"),
        )?,
    };
    Ok(Some(tenant).filter(|tenant| tenant != "common"))
}

fn region(
    talk: &mut Talk<'_>,
    preset: &Preset,
    guessed: Option<&str>,
) -> Result<Option<String>, TalkError> {
    let Some(usual) = preset.regions.first() else {
        return Ok(None);
    };
    let question = format!(
        "Region, as in the address of its web site: {}",
        preset.regions.join(", ")
    );
    let region = talk.ask(&question, Some(guessed.unwrap_or(usual)))?;
    Ok(Some(region))
}

fn endpoints(talk: &mut Talk<'_>, answers: &mut Answers) -> Result<(), TalkError> {
    let way = answers.way;
    answers.issuer =
        talk.ask_optional("Issuer URL, if the provider publishes its endpoints (OpenID Connect)")?;
    answers.permission_url = None;
    answers.token_url = None;
    if answers.issuer.is_none() {
        answers.permission_url = match way {
            Way::Browser => Some(talk.ask("Authorization URL", None)?),
            Way::Device => Some(talk.ask("Device authorization URL", None)?),
            Way::Secret
            | Way::Certificate
            | Way::Federation
            | Way::ManagedIdentity
            | Way::ServiceAccount
            | Way::Password => None,
        };
        answers.token_url = Some(talk.ask("Token URL", None)?);
    }
    let scopes = talk.ask_optional("Scopes for mail, with spaces between them")?;
    answers.scopes = scopes
        .iter()
        .flat_map(|scopes| scopes.split_whitespace())
        .map(str::to_owned)
        .collect();
    Ok(())
}

const RELATIVE: &str =
    "A file without a whole path is looked for in the folder of the configuration.";

/// The id of the registration, and what it proves itself with.
fn credentials(
    talk: &mut Talk<'_>,
    choice: Choice,
    answers: &mut Answers,
) -> Result<(), TalkError> {
    (answers.secret, answers.certificate) = (None, None);
    (answers.assertion, answers.service_account) = (None, None);
    match answers.way {
        Way::ServiceAccount => {
            talk.say(RELATIVE)?;
            let file = talk.ask("The JSON file with the service account's key", None)?;
            answers.service_account = Some(file);
            return Ok(());
        }
        Way::ManagedIdentity => {
            let id =
                talk.ask_optional("Client id of the identity, if it is a user-assigned one")?;
            answers.client_id = id.unwrap_or_default();
            return Ok(());
        }
        _ => {}
    }
    answers.client_id = ask_again(talk, "Client id of the registration", &answers.client_id)?;
    let secret = choice
        .preset()
        .map_or(Secret::Possible, |preset| preset.secret);
    match (answers.way, secret) {
        (Way::Certificate, _) => {
            talk.say(RELATIVE)?;
            let file = talk.ask(
                "The file of the certificate that was uploaded there (PEM)",
                None,
            )?;
            let key = talk.ask("The file with its private key", Some(&file))?;
            answers.certificate = Some((file, key));
        }
        (Way::Federation, _) => answers.assertion = Some(assertion(talk)?),
        (Way::Secret, _) => answers.secret = needed_secret(talk)?,
        (_, Secret::Refused) => {}
        (_, Secret::Wanted) => answers.secret = talk.ask_secret("Client secret")?,
        (_, Secret::Possible) => {
            answers.secret = talk.ask_secret("Client secret, if the registration has one")?;
        }
    }
    Ok(())
}

fn assertion(talk: &mut Talk<'_>) -> Result<Assertion, TalkError> {
    loop {
        let question = "The platform's token comes from a file or from a command (file or command)";
        match talk
            .ask(question, Some("file"))?
            .to_ascii_lowercase()
            .as_str()
        {
            "file" => {
                talk.say(RELATIVE)?;
                let file = talk.ask("The file that the platform keeps the token in", None)?;
                return Ok(Assertion::File(file));
            }
            "command" => {
                talk.say("No shell is involved: the words between the spaces are the program and its arguments.")?;
                let command = talk.ask("The command that prints the token", None)?;
                let words = command.split_whitespace().map(str::to_owned);
                return Ok(Assertion::Command(words.collect()));
            }
            _ => talk.say("Please answer file or command.")?,
        }
    }
}

fn needed_secret(talk: &mut Talk<'_>) -> Result<Option<secrecy::SecretString>, TalkError> {
    loop {
        match talk.ask_secret("Client secret (its value, not its id)")? {
            Some(secret) => return Ok(Some(secret)),
            None => talk.say("Nobody signs in, so a secret is needed.")?,
        }
    }
}

// ---- the listeners ----

fn listeners(talk: &mut Talk<'_>, choice: Choice) -> Result<Vec<Served>, TalkError> {
    let known = choice.protocols();
    let words = |protocols: &[Protocol], between: &str| {
        let words: Vec<_> = protocols.iter().map(|protocol| protocol.word()).collect();
        words.join(between)
    };
    let usual: Vec<_> = known
        .iter()
        .copied()
        .filter(|protocol| *protocol != Protocol::Pop3)
        .collect();
    loop {
        let answer = talk.ask(
            &format!("What mail programs speak: {}", words(&known, ", ")),
            Some(&words(&usual, " ")),
        )?;
        let protocol = |word: &str| {
            known
                .iter()
                .copied()
                .find(|known| known.word().eq_ignore_ascii_case(word))
        };
        let answered = answer.split([' ', ',']).filter(|word| !word.is_empty());
        let protocols: Option<Vec<_>> = answered.map(protocol).collect();
        match protocols {
            Some(protocols) if !protocols.is_empty() => {
                let served = protocols.into_iter();
                return served
                    .map(|protocol| served_at(talk, protocol, choice))
                    .collect();
            }
            _ => talk.say(&format!(
                "Please answer one or several of {}.",
                words(&known, ", ")
            ))?,
        }
    }
}

fn served_at(talk: &mut Talk<'_>, protocol: Protocol, choice: Choice) -> Result<Served, TalkError> {
    let (usual, name) = match protocol {
        Protocol::Imap => ("1143", "IMAP"),
        Protocol::Pop3 => ("1110", "POP3"),
        Protocol::Smtp => ("1587", "SMTP"),
    };
    let host = match choice {
        Choice::Other => Some(talk.ask(&format!("The provider's {name} server"), None)?),
        Choice::Preset(_) => None,
    };
    loop {
        let answer = talk.ask(&format!("Port for {name} on this machine"), Some(usual))?;
        match answer.parse().ok().filter(|port| *port != 0) {
            Some(port) => {
                return Ok(Served {
                    protocol,
                    port,
                    host,
                });
            }
            None => talk.say("Please answer a number from 1 to 65535.")?,
        }
    }
}

fn is_for_others(talk: &mut Talk<'_>) -> Result<bool, TalkError> {
    loop {
        let question = "Mail programs run on this machine only, or on others too (here or others)";
        match talk
            .ask(question, Some("here"))?
            .to_ascii_lowercase()
            .as_str()
        {
            "here" => return Ok(false),
            "others" => return Ok(true),
            _ => talk.say("Please answer here or others.")?,
        }
    }
}

/// A question whose default is the answer of the last round.
fn ask_again(talk: &mut Talk<'_>, question: &str, before: &str) -> Result<String, TalkError> {
    talk.ask(question, Some(before).filter(|before| !before.is_empty()))
}
