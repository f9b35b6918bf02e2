//! The plan as a report: a note for every line of the source that says something.

use super::super::ini::{Entry, Ini, Section};
use super::super::{Note, Outcome};
use super::hindrance::hindrances;
use super::plan::{Plan, Provider};
use super::registration::{Redirect, Scopes, Secret, has_browser, is_sample};
use super::source::{
    LocalAddress, SWITCHES, Server, Source, TEXT_SECTIONS, is_account, is_true, server_name,
};
use super::write::{address, endpoint, key_file, secret_file, whole_domain};

use crate::config::Flow;

use Outcome::{Became, NotNeeded, ToDo};

/// Keys whose values are text for people.
const TEXTS: [&str; 2] = ["documentation", "format"];

/// Keys under which tokens are kept.
const TOKENS: [&str; 8] = [
    "token_salt",
    "token_iterations",
    "token_expiry",
    "access_token",
    "access_token_expiry",
    "refresh_token",
    "last_activity",
    "token_last_activity",
];

/// What became of each line, in their order.
pub fn notes(ini: &Ini, source: &Source, plan: &Plan<'_>) -> Vec<Note> {
    let mut report = Report {
        source,
        plan,
        notes: Vec::new(),
    };
    for section in &ini.sections {
        report.section(section);
    }
    for line in &ini.strays {
        report.note(*line, "this line", ToDo("it is neither a section nor a key with a value, so it says nothing; see what was meant".into()));
    }
    report.notes.sort_by_key(|note| note.line);
    report.notes
}

struct Report<'r, 's> {
    source: &'r Source,
    plan: &'r Plan<'s>,
    notes: Vec<Note>,
}

impl Report<'_, '_> {
    fn note(&mut self, line: usize, subject: &str, outcome: Outcome) {
        self.notes.push(Note {
            line,
            subject: subject.to_owned(),
            outcome,
        });
    }

    fn section(&mut self, section: &Section) {
        let name = format!("[{}]", section.name);
        match () {
            () if section.name == "DEFAULT" => {
                self.note(
                    section.line,
                    &name,
                    Became("its keys stand behind every section".into()),
                );
                self.entries(section, |_, _| {
                    NotNeeded("it was taken where a section has no such key".into())
                });
            }
            () if TEXT_SECTIONS.contains(&section.name.as_str()) => {
                self.note(section.line, &name, NotNeeded("a heading".into()));
                self.entries(section, |_, _| {
                    ToDo(
                        "it stands under a heading, where it had no effect; see what was meant"
                            .into(),
                    )
                });
            }
            () if section.name == SWITCHES => {
                self.note(section.line, &name, NotNeeded("see its keys".into()));
                self.entries(section, |_, entry| switch(entry));
            }
            () if server_name(&section.name).is_some() => self.server(section, &name),
            () if is_account(&section.name) => self.account(section, &name),
            () => {
                let words = "this is no server ([IMAP-1993], [POP-1995], [SMTP-1587]) and no account, so it was not converted";
                self.note(section.line, &name, ToDo(words.into()));
                self.entries(section, |_, _| ToDo("its section was not converted".into()));
            }
        }
    }

    /// A note for each key of a section but those for people. Of a key that is there twice, only the last one counts.
    fn entries(&mut self, section: &Section, outcome: impl Fn(&Self, &Entry) -> Outcome) {
        for entry in &section.entries {
            if TEXTS.contains(&entry.key.as_str()) {
                continue;
            }
            let counts = section
                .entry(&entry.key)
                .is_some_and(|last| last.line == entry.line);
            let outcome = match counts {
                true => outcome(self, entry),
                false => ToDo("it is there twice in its section; the last one was taken".into()),
            };
            self.note(entry.line, &entry.key, outcome);
        }
    }

    fn server(&mut self, section: &Section, name: &str) {
        let found = self
            .source
            .servers
            .iter()
            .find(|server| server.line == section.line);
        let Some(server) = found else {
            let words = "not converted: it needs a server_address and a server_port";
            self.note(section.line, name, ToDo(words.into()));
            self.entries(section, |_, _| ToDo("its section was not converted".into()));
            return;
        };
        for outcome in self.listeners(server) {
            self.note(section.line, name, outcome);
        }
        let is_used = self.plan.listeners_of(server).next().is_some();
        if is_used && server.address == LocalAddress::Unsaid {
            self.note(section.line, name, ToDo(narrowed(server)));
        }
        self.entries(section, |report, entry| report.server_key(server, entry));
    }

    /// What a server became: a listener for each provider that has it.
    fn listeners(&self, server: &Server) -> Vec<Outcome> {
        let made = self.plan.listeners_of(server).map(|listener| {
            let provider = &self.plan.providers[listener.provider];
            let name = &provider.name;
            let addresses: Vec<_> = listener.addresses().iter().map(ToString::to_string).collect();
            let words = format!("[[listener]] {} at {} for provider {name:?}", server.protocol, addresses.join(" and "));
            match listener.port == server.port {
                true if !hindrances(provider).is_empty() => ToDo(format!("{words}, in comments until [provider.{name}] is completed")),
                true => Became(words),
                false => ToDo(format!(
                    "{words}: a listener serves one provider, and port {} serves another; set the mail programs of {} to port {}",
                    server.port,
                    self.addresses_of(listener.provider),
                    listener.port
                )),
            }
        });
        let made: Vec<_> = made.collect();
        match made.is_empty() {
            true => vec![ToDo(
                "no account here has its provider, so it stands in comments at the end of the file; remove it, or complete it with a registration".into(),
            )],
            false => made,
        }
    }

    fn addresses_of(&self, provider: usize) -> String {
        let accounts = self
            .plan
            .accounts
            .iter()
            .filter(|mailbox| mailbox.provider == provider);
        let addresses: Vec<_> = accounts
            .map(|mailbox| address(&mailbox.account.section))
            .collect();
        addresses.join(", ")
    }

    fn server_key(&self, server: &Server, entry: &Entry) -> Outcome {
        let listener = self.plan.listeners_of(server).next();
        let provider = listener.map(|listener| &self.plan.providers[listener.provider]);
        match entry.key.as_str() {
            "server_address" | "server_port" | "server_starttls" | "starttls" => match provider {
                None => NotNeeded("see the section".into()),
                Some(provider) => upstream(provider, server),
            },
            "local_address" if listener.is_none() => NotNeeded("see the section".into()),
            "local_address" => local_address(server),
            "local_certificate_path" | "local_key_path" if server.tls.is_some() => Became(format!(
                "certificate of the listener{}",
                relative(&entry.value)
            )),
            "local_certificate_path" | "local_key_path" => {
                ToDo("local TLS needs both local_certificate_path and local_key_path; the listener has no TLS now".into())
            }
            "local_starttls" if server.tls.is_some() => {
                Became(format!("tls = \"{}\" of the listener", if is_true(entry) { "starttls" } else { "implicit" }))
            }
            "local_starttls" => match is_true(entry) {
                true => ToDo("it needs a certificate; the listener has no TLS now".into()),
                false => NotNeeded("the default".into()),
            },
            "plugins" => ToDo("mailwicket passes every byte unchanged and has no plugins; do without, or keep the other proxy for this".into()),
            _ => unknown(),
        }
    }

    fn account(&mut self, section: &Section, name: &str) {
        let (outcome, is_converted) = self.mailbox(section);
        self.note(section.line, name, outcome);
        if !is_converted {
            self.entries(section, |_, _| {
                NotNeeded("its section was not converted".into())
            });
            return;
        }
        self.sign_in(section, name);
        self.entries(section, |report, entry| {
            match report.plan.provider_of(&section.name) {
                Some(provider) => account_key(provider, entry),
                None => unknown(),
            }
        });
    }

    /// What an account became, and whether it became anything.
    fn mailbox(&self, section: &Section) -> (Outcome, bool) {
        if section.name.starts_with('@') && !self.source.has_catch_all {
            let words =
                "sections for whole domains had no effect without allow_catch_all_accounts = True";
            return (NotNeeded(words.into()), false);
        }
        let Some(mailbox) = self.plan.mailbox(&section.name) else {
            let words = "not converted: it has no token_url, or stands here twice; write an [[account]] by hand if it is still needed";
            return (ToDo(words.into()), false);
        };
        let provider = &self.plan.providers[mailbox.provider];
        let name = &provider.name;
        let words = format!(
            "[[account]] {:?} with provider {name:?}",
            address(&section.name)
        );
        let outcome = match mailbox.account.is_kept() {
            false => ToDo(format!(
                "{words} would stand for many mailboxes, but {}; it stands in comments: write an [[account]] for each mailbox that is used",
                whole_domain(mailbox)
            )),
            true if !hindrances(provider).is_empty() => ToDo(format!(
                "{words}, in comments until [provider.{name}] is completed"
            )),
            true => Became(words),
        };
        (outcome, true)
    }

    /// What a person has to do for an account in any case.
    fn sign_in(&mut self, section: &Section, name: &str) {
        let Some(provider) = self.plan.provider_of(&section.name) else {
            return;
        };
        if provider.first.section == section.name {
            for words in hindrances(provider) {
                let words = format!("[provider.{}]: {words}", provider.name);
                self.note(section.line, name, ToDo(words));
            }
        }
        if let Some(domain) = section.name.strip_prefix('@') {
            let is_kept = self.plan.mailbox(&section.name);
            if is_kept.is_some_and(|mailbox| mailbox.account.is_kept()) {
                let words = format!(
                    "a mailbox of the domain is there once it has a local password: mailwicket password add NAME@{domain} --stdin"
                );
                self.note(section.line, name, ToDo(words));
            }
            return;
        }
        let (flow, address) = (provider.settings.flow(), address(&section.name));
        if !flow.is_unattended() {
            let tokens = section
                .entries
                .iter()
                .any(|entry| TOKENS.contains(&entry.key.as_str()));
            let why = match tokens {
                true => {
                    "its tokens are sealed with the mail program's password and cannot be taken along"
                }
                false => "it has no sign-in here",
            };
            self.note(
                section.line,
                name,
                ToDo(format!("{why}: mailwicket authorize {address}")),
            );
        }
        let words = format!(
            "give it the password that its mail program has now, and nothing changes there: mailwicket password add {address} --stdin"
        );
        self.note(section.line, name, ToDo(words));
    }
}

/// What an account's key became.
fn account_key(provider: &Provider<'_>, entry: &Entry) -> Outcome {
    let settings = provider.settings;
    match entry.key.as_str() {
        key if TOKENS.contains(&key) => NotNeeded("tokens are not taken along".into()),
        "permission_url" | "token_url" => url(provider, entry),
        "oauth2_scope" => match settings.scopes() {
            Scopes::Default => Became("the scopes of the preset".into()),
            Scopes::Keep(_) => Became("scopes".into()),
            Scopes::Refused => ToDo(
                "Exchange takes no tokens for these, so the preset's scopes are asked for: see that the registration has these permissions"
                    .into(),
            ),
        },
        "oauth2_flow" => match settings.is_flow_known() {
            true => flow(settings.flow()),
            false => ToDo("this flow is not known; a person's sign-in with a browser was taken".into()),
        },
        "oauth2_resource" => match has_browser(settings.flow()) {
            true => Became("resource in authorize-params".into()),
            false => ToDo("there is no key for it in this flow; see whether the scopes of [provider] are right without it".into()),
        },
        "redirect_uri" => redirect(provider),
        "redirect_listen_address" => NotNeeded("mailwicket authorize listens on this machine, or takes a pasted address (--method paste)".into()),
        "client_id" => client_id(provider, entry),
        "client_secret" => client_secret(provider),
        "client_secret_encrypted" => match settings.secret() {
            Secret::Text(_) | Secret::Sample => NotNeeded("there is a client_secret".into()),
            Secret::None | Secret::Certificate => NotNeeded("a certificate stands in its place".into()),
            Secret::ByHand => ToDo(format!(
                "it is sealed with the mail program's password: write the client secret into {} beside the new file, with mode 0600",
                secret_file(provider)
            )),
        },
        "jwt_certificate_path" | "jwt_key_path" => match (&settings.certificate, &settings.key) {
            (Some(_), Some(_)) => Became(format!("certificate{}", relative(&entry.value))),
            _ => ToDo("a certificate needs both jwt_certificate_path and jwt_key_path".into()),
        },
        "use_pkce" => NotNeeded("PKCE is always used".into()),
        _ => unknown(),
    }
}

fn url(provider: &Provider<'_>, entry: &Entry) -> Outcome {
    let settings = provider.settings;
    let is_unused = entry.key == "permission_url" && !has_browser(settings.flow());
    match settings.fit() {
        _ if is_unused => NotNeeded("nobody signs in with a browser in this flow".into()),
        Some(fit) => {
            let lines = fit.lines();
            let lines: Vec<_> = lines
                .iter()
                .map(|(key, value)| format!("{key} = {value:?}"))
                .collect();
            Became(lines.join(", "))
        }
        None if entry.key == "token_url" => Became("token-url".into()),
        None if settings.flow() == Flow::DeviceCode => Became("device-url".into()),
        None => Became("authorize-url".into()),
    }
}

fn flow(flow: Flow) -> Outcome {
    match flow {
        Flow::AuthorizationCode => Became("the default flow".into()),
        Flow::Password => ToDo(
            "flow = \"password\": it works only for users without a second factor, and providers are ending it; authorize asks once for the \
             password of the mailbox"
                .into(),
        ),
        other => Became(format!("flow = {:?}", other.word())),
    }
}

fn redirect(provider: &Provider<'_>) -> Outcome {
    match (provider.settings.redirect(), provider.redirect()) {
        (Redirect::Refused, _) => ToDo(
            "the browser comes back to this machine, or the address that it ends at is pasted (authorize --method paste): register \
             http://localhost at the provider, or set redirect-url to a registered loopback URL"
                .into(),
        ),
        (_, Some(url)) if provider.has_several_redirects => Became(format!(
            "redirect-url = {url:?}, with any free port; if only some ports are registered, write one of them"
        )),
        (_, Some(url)) => Became(format!("redirect-url = {url:?}")),
        (_, None) => NotNeeded("the default, with any free port".into()),
    }
}

fn client_id(provider: &Provider<'_>, entry: &Entry) -> Outcome {
    match provider.settings.flow() {
        Flow::ServiceAccount => NotNeeded("it says where the key is: see client_secret".into()),
        _ if is_sample(&entry.value) => ToDo(
            "it is the text of an example: write the id of your registration as client-id".into(),
        ),
        _ => Became("client-id".into()),
    }
}

fn client_secret(provider: &Provider<'_>) -> Outcome {
    let settings = provider.settings;
    if settings.flow() == Flow::ServiceAccount {
        return match settings.service_account_file() {
            Some(file) => Became(format!(
                "service-account = {{ file = … }}{}",
                relative(file)
            )),
            None => ToDo(format!(
                "the key of the service account belongs into a file of its own: write its JSON into {} beside the new file, with mode 0600",
                key_file(provider)
            )),
        };
    }
    match settings.secret() {
        Secret::Certificate => ToDo("the certificate stands in its place, so it was left out; if the secret is what is used, swap them".into()),
        Secret::Sample => ToDo("it is the text of an example: write client-secret, or leave it away if your registration has none".into()),
        _ => Became("client-secret, in the file itself; better into a file of its own: client-secret = { file = \"…\" }".into()),
    }
}

fn upstream(provider: &Provider<'_>, server: &Server) -> Outcome {
    let name = &provider.name;
    match provider.has_another(server) {
        Some(own) => ToDo(format!(
            "provider {name:?} has one {} server, {}:{}, and this listener leads there as well",
            server.protocol, own.host, own.upstream_port
        )),
        None if provider.is_usual(server) => {
            Became(format!("the server of the preset of [provider.{name}]"))
        }
        None => Became(format!("{} in [provider.{name}]", endpoint(server))),
    }
}

/// Newer releases of that program listen on every address if none is named, older ones on loopback.
fn narrowed(server: &Server) -> String {
    let clear = match server.tls {
        Some(_) => "",
        None => ", and see tls and allow-plaintext-from",
    };
    format!(
        "no local_address, so only this machine is served; if devices on the network use it, name the address in listen{clear}"
    )
}

fn local_address(server: &Server) -> Outcome {
    match &server.address {
        LocalAddress::Name(_) => ToDo(
            "listen takes numbers only, so the listener is for this machine only now; for others, set listen, and tls or allow-plaintext-from"
                .into(),
        ),
        _ if server.is_open() => ToDo(
            "listen; passwords crossed the network in clear, which now needs leave: let mail programs on other machines use TLS \
             (tls = \"auto\"; mailwicket ca export gives out the certificate to trust), or name them in allow-plaintext-from, which stands there in comments"
                .into(),
        ),
        LocalAddress::Unsaid => NotNeeded("it is empty; see the section".into()),
        _ => Became("listen".into()),
    }
}

fn switch(entry: &Entry) -> Outcome {
    let is_on = is_true(entry);
    match entry.key.as_str() {
        "delete_account_token_on_password_error" => {
            NotNeeded("a wrong password never touches a token".into())
        }
        "encrypt_client_secret_on_first_use" if is_on => {
            NotNeeded("secrets stand in the file, or better in files of their own: client-secret = { file = \"…\" }".into())
        }
        "encrypt_client_secret_on_first_use" => NotNeeded("nothing rewrites the file".into()),
        "use_login_password_as_client_credentials_secret" if is_on => ToDo(
            "the mail program's password is never sent to the provider: write the client secret of such accounts into the files that \
             client-secret names"
                .into(),
        ),
        "use_login_password_as_client_credentials_secret" => NotNeeded("the default".into()),
        "allow_catch_all_accounts" if is_on => NotNeeded("see the sections for domains".into()),
        "allow_catch_all_accounts" => NotNeeded("the default".into()),
        _ => unknown(),
    }
}

fn unknown() -> Outcome {
    ToDo("this key is not known here, so it was not converted; see whether it matters".into())
}

/// What has to be said of a path that is not absolute.
fn relative(path: &str) -> &'static str {
    match std::path::Path::new(path).is_absolute() {
        true => "",
        false => "; a relative path counts from the folder of the new file",
    }
}
