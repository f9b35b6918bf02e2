//! From the shape of the file to a [`Config`], or to everything that is wrong with it.
//!
//! A check that finds a problem tells it and goes on with any value at hand: as soon as there is one problem, no `Config` is made.

mod account;
mod credential;
mod device;
mod egress;
mod listener;
mod network;
mod provider;
mod scope;
mod settings;
mod template;
mod url;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_spanned::Spanned;

pub use self::settings::{LEVEL_HINT, MOST_SESSIONS, is_log_level};
pub use self::url::webhook_fault;

use super::egress::Environment;
use super::problem::Problem;
use super::shape::{self, Field};
use super::sift::{Dropped, Sifted, nearest};
use super::surroundings::Surroundings;
use super::{Config, Hidden, Program, Provider, SecretSource};

/// Checks what `sift` has let through. `path` is the file, for the relative paths in it.
pub fn check(sifted: Sifted, path: &Path, around: &Surroundings) -> Result<Config, Vec<Problem>> {
    let mut checker = Checker {
        problems: sifted.problems,
        dropped: sifted.dropped,
        folder: folder_of(path),
        environment: Arc::clone(&around.egress),
        hidden: Hidden::default(),
    };
    let config = checker.file(sifted.file, path, around);
    match config {
        Some(config) if checker.problems.is_empty() => Ok(config),
        _ => Err(checker.problems),
    }
}

/// The absolute folder of the file.
fn folder_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// The registrations by name; `None` for one that has problems of its own.
type Providers = BTreeMap<String, Option<Arc<Provider>>>;

struct Checker {
    problems: Vec<Problem>,
    dropped: Dropped,
    folder: PathBuf,
    environment: Arc<Environment>,
    /// Variables that hold secrets.
    hidden: Hidden,
}

impl Checker {
    fn file(&mut self, file: shape::File, path: &Path, around: &Surroundings) -> Option<Config> {
        let state_dir = self.state_dir(file.state_dir, around);
        let vault_key = self.vault(file.vault, state_dir.as_deref());
        let console = self.console(file.console);
        let notify = self.notify(file.notify);
        let ca_names = self.ca_names(file.ca);
        self.metrics(file.metrics);
        let providers = self.providers(file.provider);
        let roster = self.roster(file.account, &providers);
        let listeners = self.listeners(
            file.listener,
            &providers,
            &roster,
            console.as_ref().map(|console| console.listen),
        );
        let timeouts = self.timeouts(file.timeouts);
        let limits = self.limits(file.limits);
        let log = self.log(file.log);
        Some(Config {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            state_dir: state_dir?,
            vault_key,
            console,
            ca_names,
            providers: providers.into_values().flatten().collect(),
            listeners,
            roster,
            timeouts,
            limits,
            log,
            notify,
            around: around.clone(),
        })
    }

    fn providers(
        &mut self,
        tables: BTreeMap<Spanned<String>, Spanned<shape::Provider>>,
    ) -> Providers {
        let mut providers = Providers::new();
        for (name, table) in tables {
            let before = self.problems.len();
            let sound = !self.dropped.any(&table.span());
            let name_text = name.get_ref().clone();
            let provider = self.provider(name, table);
            let sound = sound && self.problems.len() == before;
            providers.insert(name_text, provider.filter(|_| sound).map(Arc::new));
        }
        providers
    }

    /// The provider that an account or a listener names; `None` if there is none, or if it is not sound.
    fn named_provider(
        &mut self,
        field: Field<String>,
        table: &Range<usize>,
        providers: &Providers,
    ) -> Option<Arc<Provider>> {
        let name = self.required(
            field,
            table,
            "provider",
            "provider = \"NAME\" refers to [provider.NAME]",
        )?;
        if let Some(provider) = providers.get(name.get_ref()) {
            return provider.clone();
        }
        let known = || providers.keys().map(String::as_str);
        let hint = match nearest(name.get_ref(), known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if providers.is_empty() => format!("write a table [provider.{}]", name.get_ref()),
            None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
        };
        self.tell(
            Problem::at(
                name.span(),
                format!("unknown provider `{}`", name.get_ref()),
            )
            .hint(hint),
        );
        None
    }

    fn tell(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The value, if the result is one; else its problem is told.
    fn ok<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.tell(problem)).ok()
    }

    /// A key that must be there. One that is there, but was refused before, is not reported again.
    fn required<T>(
        &mut self,
        field: Field<T>,
        table: &Range<usize>,
        key: &str,
        hint: &str,
    ) -> Option<Spanned<T>> {
        if field.is_none() && !self.dropped.contains(table, key) {
            self.tell(Problem::at(table.clone(), format!("`{key}` is missing here")).hint(hint));
        }
        field
    }

    /// Something that is known, but without effect in this version: silence would be a lie.
    fn not_yet(&mut self, span: Range<usize>, what: &str) {
        self.tell(
            Problem::at(span, format!("{what} is not in this version yet")).hint("remove it"),
        );
    }

    /// A path of the file, which is relative to the file's folder.
    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    fn secret(&mut self, secret: Spanned<shape::Secret>, key: &str) -> Option<SecretSource> {
        let span = secret.span();
        match secret.into_inner() {
            shape::Secret::Inline(text) => self.ok(value::inline_secret(text, span, key)),
            shape::Secret::From(source) => self.source(source, span, key),
        }
    }

    fn source(
        &mut self,
        source: shape::Source,
        span: Range<usize>,
        key: &str,
    ) -> Option<SecretSource> {
        let mut found = Vec::new();
        if let Some(file) = source.file {
            let text = self.ok(value::filled(file, "the file name"));
            found.push(text.map(|file| SecretSource::File(self.path(&file))));
        }
        if let Some(name) = source.env {
            let name = self.ok(value::variable_name(name));
            found.push(
                name.inspect(|name| self.hidden.add(name))
                    .map(SecretSource::Env),
            );
        }
        if let Some(name) = source.credential {
            found.push(
                self.ok(value::credential_name(name))
                    .map(SecretSource::Credential),
            );
        }
        if let Some(words) = source.command {
            let words = self.ok(value::command(words));
            found.push(words.map(|words| SecretSource::Command(self.program(words))));
        }
        if found.len() == 1 {
            return found.remove(0);
        }
        let refused = ["file", "env", "credential", "command"]
            .iter()
            .any(|source| self.dropped.contains(&span, source));
        if !refused {
            let message = format!("`{key}` needs one source, not {}", found.len());
            self.tell(Problem::at(span, message).hint(
                "give one of { file = … }, { env = … }, { credential = … }, { command = […] }",
            ));
        }
        None
    }

    /// A program that is named by a relative path is relative to the file's folder; a bare name is looked up in `PATH`.
    fn program(&self, mut words: Vec<String>) -> Program {
        if let Some(program) = words.first_mut().filter(|program| program.contains('/')) {
            *program = self.path(program).to_string_lossy().into_owned();
        }
        Program::new(words, self.hidden.clone())
    }
}
