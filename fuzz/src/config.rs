//! Configuration files that anybody may have written.
//!
//! Any text gives a configuration or problems. Each problem has its place inside of the text and is shown with it, and the words
//! that people read drive no terminal. An account that is added by command is there, and can be removed again.

use std::path::Path;

use mailwicket::config::edit::{self, NewAccount};
use mailwicket::config::{Config, Problems, Surroundings};

/// An account that is in no file.
const ADDRESS: &str = "one.more@fuzz.example";

/// Any octets, as a file that was read as text.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match check(&text) {
        Ok(config) => is_editable(&text, &config),
        Err(problems) => {
            assert!(!problems.list().is_empty(), "refused without a reason");
            for problem in problems.list() {
                assert!(!problem.message.is_empty());
                if let Some(span) = &problem.span {
                    assert!(span.start <= span.end && span.end <= text.len(), "{span:?}");
                }
            }
            let shown = problems.render(false);
            assert!(shown.starts_with("error: "), "{shown}");
            assert!(!shown.contains('\u{1b}'), "it drives a terminal");
            assert!(problems.render(true).len() >= shown.len());
        }
    }
}

fn check(text: &str) -> Result<Config, Problems> {
    Config::parse_in(text, Path::new("/etc/mailwicket.toml"), &around())
}

/// What of the environment the configuration depends on.
fn around() -> Surroundings {
    Surroundings {
        state_dir: Some("/var/lib/mailwicket".into()),
        ..Surroundings::default()
    }
}

/// One more account is one more account, and without it everything is as before.
fn is_editable(text: &str, config: &Config) {
    let Some(provider) = config.providers.first() else {
        return;
    };
    let account = NewAccount {
        address: ADDRESS.to_owned(),
        provider: provider.name.clone(),
        ..NewAccount::default()
    };
    let is_taken = config.roster.accounts().iter().any(|account| {
        let names = account.logins.iter().chain([&account.address]);
        names
            .into_iter()
            .any(|name| name.eq_ignore_ascii_case(ADDRESS))
    });
    // Where the accounts are written in a way that no edit is safe, it says so.
    let edited = match edit::add_account(text, &account) {
        Ok(edited) if !is_taken => edited,
        _ => return,
    };
    let added = addresses(&check(&edited).expect("an edit that breaks the file"));
    let mut expected = addresses(config);
    expected.push(ADDRESS.to_owned());
    assert_eq!(added, expected);
    let removed = edit::remove_account(&edited, ADDRESS).expect("it is there");
    let removed = check(&removed).expect("an edit that breaks the file");
    assert_eq!(addresses(&removed), addresses(config));
}

fn addresses(config: &Config) -> Vec<String> {
    let accounts = config.roster.accounts().iter();
    accounts.map(|account| account.address.clone()).collect()
}
