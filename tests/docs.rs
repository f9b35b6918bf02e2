//! The documents tell the truth: every key, command, option and code stands in them, and what they show works.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use mailwicket::cli::man::{self, Page};
use mailwicket::dialogue::{NOT_IN_CLEAR, TLS_FIRST};
use mailwicket::doctor::Step;
use mailwicket::failure::Cause;
use mailwicket::status::Status;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words of a document that stand in backquotes, or in code blocks.
fn code_words(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '-';
    let code = text.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c| !is_part(c)).map(str::to_owned))
        .collect()
}

/// Every key of a TOML table, at any depth; `skip` holds the tables whose keys are the user's own words.
fn keys(table: &toml::Table, skip: &[&str], found: &mut BTreeSet<String>) {
    for (key, value) in table {
        found.insert(key.clone());
        values(value, skip.contains(&key.as_str()), skip, found);
    }
}

fn values(value: &toml::Value, is_free: bool, skip: &[&str], found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) if is_free => {
            table
                .values()
                .for_each(|value| values(value, false, skip, found));
        }
        toml::Value::Table(table) => keys(table, skip, found),
        toml::Value::Array(array) => array
            .iter()
            .for_each(|value| values(value, false, skip, found)),
        _ => {}
    }
}

fn fields(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => object.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            fields(value, found);
        }),
        serde_json::Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_status_is_documented() {
    let some = serde_json::json!({
        "running": true,
        "version": null,
        "accounts": [{
            "account": "a@b", "provider": "p", "state": "ok", "since": "2026-01-01T00:00:00Z", "sessions": 0,
            "last-failure": { "at": "2026-01-01T00:00:00Z", "code": "MW-REFUSED", "detail": "no" },
        }],
        "templates": [{ "template": "*@b", "provider": "p", "mailboxes": 0 }],
        "listeners": [{
            "protocol": "imap", "address": "127.0.0.1:1", "provider": "p", "sessions": 0, "logins": 0, "up": 0, "down": 0,
        }],
    });
    let status: Status = serde_json::from_value(some).expect("a status");
    let mut found = BTreeSet::new();
    fields(&serde_json::to_value(status).expect("JSON"), &mut found);
    assert!(found.contains("expires-at"), "{found:?}");
    let told = code_words(&document("docs/commands.md"));
    let missing: Vec<_> = found.difference(&told).collect();
    assert!(
        missing.is_empty(),
        "docs/commands.md does not mention {missing:?}"
    );
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let full: toml::Table = document("tests/config/full.toml").parse().expect("TOML");
    let mut found = BTreeSet::new();
    keys(&full, &["provider", "authorize-params"], &mut found);
    let told = code_words(&document("docs/configuration.md"));
    let missing: Vec<_> = found.difference(&told).collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md does not mention {missing:?}"
    );
}

#[test]
fn every_command_and_option_is_documented() {
    let text = document("docs/commands.md");
    let told = code_words(&text);
    let mut missing = Vec::new();
    let mut commands = vec![mailwicket::cli::command()];
    while let Some(command) = commands.pop() {
        let name = command.get_name();
        if !told.contains(name) {
            missing.push(name.to_owned());
        }
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            if !text.contains(&format!("--{option}")) {
                missing.push(format!("{name} --{option}"));
            }
        }
        commands.extend(command.get_subcommands().cloned());
    }
    assert!(
        missing.is_empty(),
        "docs/commands.md does not mention {missing:?}"
    );
}

/// `pub token_url: …` in the shape of the file is the key `token-url`.
#[test]
fn every_key_that_the_program_reads_is_documented() {
    let shape = document("src/config/shape.rs");
    let fields = shape
        .lines()
        .filter_map(|line| line.strip_prefix("    pub "));
    let names = fields.filter_map(|field| field.split_once(": "));
    let keys: BTreeSet<_> = names.map(|(name, _)| name.replace('_', "-")).collect();
    assert!(keys.len() > 40, "the shape is read as it is written");
    let told = code_words(&document("docs/configuration.md"));
    let missing: Vec<_> = keys.difference(&told).collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md does not mention {missing:?}"
    );
}

#[test]
fn every_step_of_doctor_is_explained() {
    let troubleshooting = document("docs/troubleshooting.md");
    let commands = code_words(&document("docs/commands.md"));
    for step in Step::ALL {
        let row = format!("\n| `{}` | ", step.word());
        assert!(troubleshooting.contains(&row), "{row}");
        assert!(commands.contains(step.word()), "{}", step.word());
    }
}

/// The words of a manual page, without the escapes of its language.
fn manual(page: Page) -> String {
    let source = man::page(page).expect("a page");
    let plain = ["\\fB", "\\fR", "\\fI", "\\&"]
        .iter()
        .fold(source, |text, escape| text.replace(escape, ""));
    plain
        .replace("\\-", "-")
        .replace("\\(aq", "'")
        .replace("\\*(Aq", "'")
}

#[test]
fn the_manual_has_every_command_and_option_of_the_program() {
    let text = manual(Page::Commands);
    let mut commands = vec![(String::new(), mailwicket::cli::command())];
    while let Some((above, command)) = commands.pop() {
        let name = format!("{above} {}", command.get_name());
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(text.contains(&format!("--{option}")), "{name} --{option}");
        }
        let below = command.get_subcommands();
        if command.get_subcommands().next().is_none() {
            assert!(text.contains(&format!(".SS \"{}\"", name.trim())), "{name}");
        }
        commands.extend(below.map(|below| (name.clone(), below.clone())));
    }
}

#[test]
fn the_manual_has_every_word_of_the_configuration_page() {
    let page = manual(Page::Configuration);
    let words = |text: &str| -> BTreeSet<String> {
        let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        text.split(|c| !is_part(c))
            .map(|word| word.trim_matches('-').to_owned())
            .collect()
    };
    let source = document("docs/configuration.md");
    // The head of a table tells the columns apart, which the manual does with its layout.
    let below = source.lines().skip(1).chain([""]);
    let source: String = source
        .lines()
        .zip(below)
        .filter(|(line, below)| !line.starts_with("# ") && !below.starts_with("|---"))
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let missing: Vec<_> = words(&source).difference(&words(&page)).cloned().collect();
    assert!(missing.is_empty(), "mailwicket.toml(5) lacks {missing:?}");
}

#[test]
fn the_manual_pages_are_sound() {
    for (page, name) in [
        (Page::Commands, "mailwicket.1"),
        (Page::Configuration, "mailwicket.toml.5"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        fs::write(&path, man::page(page).expect("a page")).expect("written");
        let lint = Command::new("mandoc")
            .args(["-Tlint", "-Wwarning"])
            .arg(&path)
            .output()
            .expect("mandoc is missing: run tests/lab/install");
        let found = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && found.is_empty(), "{found}");
    }
}

#[test]
fn every_short_code_is_in_the_troubleshooting_page_with_its_replies() {
    let text = document("docs/troubleshooting.md");
    for cause in Cause::ALL {
        let row = format!("| `{}` |", cause.code());
        assert!(text.contains(&row), "no row for {}", cause.code());
    }
    for code in [
        "MW-NOAUTH",
        "MW-SENDER",
        "MW-PROXY",
        TLS_FIRST,
        NOT_IN_CLEAR,
        mailwicket::password::THROTTLED,
        "MW-ABORTED",
    ] {
        assert!(text.contains(&format!("| `{code}` |")), "no row for {code}");
    }
}

#[test]
fn the_configurations_in_the_readme_pass_the_check() {
    let readme = document("README.md");
    let examples: Vec<_> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(
        examples.len() >= 2,
        "the README shows a configuration for each preset"
    );
    for example in examples {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mailwicket.toml");
        // The id that stands there is refused as a sample, as it should be.
        let example = example.replace("-xxxx.", "-a1b2.");
        fs::write(&path, &example).expect("written");
        let checked = Command::new(env!("CARGO_BIN_EXE_mailwicket"))
            .args(["check", "--state-dir", "state", "--config"])
            .arg(&path)
            .output()
            .expect("mailwicket");
        let words = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{example}\n{words}");
    }
}

#[test]
fn the_providers_in_the_documents_pass_the_check_once_they_have_an_id() {
    let text = document("docs/providers.md");
    let examples = text.split("```toml\n").skip(1);
    let examples = examples.filter_map(|rest| rest.split("```").next());
    let tables: Vec<_> = examples
        .filter(|text| text.starts_with("[provider."))
        .collect();
    assert!(tables.len() >= 10, "an example for each kind");
    for table in tables {
        let id = "11111111-2222-3333-4444-555555555555";
        let table = table.replace("APPLICATION-ID", id).replace("CLIENT-ID", id);
        let table = table
            .replace("-xxxx.", "-a1b2.")
            .replace("XXXXXXXX", "A1B2C3D4");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mailwicket.toml");
        fs::write(&path, &table).expect("written");
        let checked = Command::new(env!("CARGO_BIN_EXE_mailwicket"))
            .args(["check", "--state-dir", "state", "--config"])
            .arg(&path)
            .output()
            .expect("mailwicket");
        let words = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{table}\n{words}");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/configuration.md",
        "docs/console.md",
        "docs/logging.md",
        "docs/providers.md",
    ] {
        let text = document(name);
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            let target = folder.parent().expect("a folder").join(link);
            assert!(target.exists(), "{name} links to {link}");
        }
    }
}

/// The names of all tests in the Rust files below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let mut lines = text.lines();
            // A test's name is on the first line with `fn` behind its mark.
            while lines
                .any(|line| line.trim_start().starts_with("#[test") || line.contains("::test"))
            {
                let name = lines.find_map(|line| line.split_once("fn ")?.1.split('(').next());
                found.extend(name.map(|name| name.trim().to_owned()));
            }
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests_below(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut tests,
        );
    }
    let text = document("docs/threat-model.md");
    let named: BTreeSet<_> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() > 1)
        .collect();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !tests.contains(**name))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/threat-model.md names tests that are not there: {missing:?}"
    );
}
