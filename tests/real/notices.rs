//! What people hear of an account that needs them, through a command of the daemon.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::lab::lab;
use crate::secrecy::tokens;
use crate::wait::eventually;
use crate::wicket::{PASSWORD, Plan, is_temporary};

/// A file that the notify command writes to, a line for each message.
struct Told(PathBuf);

impl Told {
    fn by(folder: &Path) -> Self {
        Self(folder.join("told"))
    }

    fn table(&self) -> String {
        let file = self.0.display();
        let script = format!("M=$(cat); printf '%s\\\\n' \\\"$M\\\" >> {file}");
        format!("[notify]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n")
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }

    /// The only notice of the message at this place; waits until it is there.
    fn notice(&self, at: usize) -> Value {
        let message = eventually("a message", || {
            let text = self.text();
            text.lines().nth(at).map(str::to_owned)
        });
        let message: Value = serde_json::from_str(&message).expect("JSON");
        let notices = message["notices"].as_array().expect("a list");
        assert_eq!(notices.len(), 1, "{message}");
        notices[0].clone()
    }
}

#[test]
fn a_refused_renewal_is_told_once_and_once_when_somebody_has_signed_in() {
    let account = &lab().mailbox("noticed");
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::by(folder.path());
    let wicket = Plan::new().account(account).with(&told.table()).run();
    let mut secrets = tokens(account);
    assert!(secrets.len() > 1, "an access token and a refresh token");
    secrets.push(PASSWORD.to_owned());

    lab().control("revoke-grant", &json!({"account": account}));
    let answer = wicket.login("imap", account, PASSWORD);
    assert!(is_temporary(&answer), "{answer}");
    let notice = told.notice(0);
    let of = |key: &str| notice[key].as_str().expect("text").to_owned();
    assert_eq!(of("event"), "began");
    assert_eq!(of("subject"), *account);
    assert_eq!(of("state"), "needs-consent");
    assert!(of("reason").contains("invalid_grant"), "{notice}");
    let command = format!("mailwicket authorize {account}");
    assert!(of("remedy").contains(&command), "{notice}");
    // It stays so, and nobody hears of it again.
    let answer = wicket.login("imap", account, PASSWORD);
    assert!(is_temporary(&answer), "{answer}");

    wicket.authorize(account);
    secrets.extend(tokens(account));
    let notice = told.notice(1);
    assert_eq!(notice["event"], "over", "{notice}");
    assert_eq!(notice["state"], "ok", "{notice}");
    wicket.logs_in("imap", account);

    let words = wicket.words();
    for line in ["needs-consent", "ok again"] {
        let line = format!("{account}: {line}");
        assert_eq!(words.matches(&line).count(), 1, "{line} in\n{words}");
    }
    let text = told.text();
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in\n{text}");
    }
}
