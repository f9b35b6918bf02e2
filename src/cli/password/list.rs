//! `mailwicket password list`: names, what they are good for and when they were used; no hash.

use jiff::Timestamp;

use super::{PasswordError, Streams};
use crate::config::Account;
use crate::password::values::good_for;
use crate::password::{self, NamedPassword, Use, Window};
use crate::vault::Vault;

/// What stands where a name would, of what is no password yet.
const LEARNING: &str = "(learning)";

pub(super) fn list(
    vault: &Vault,
    account: &Account,
    streams: &mut Streams<'_>,
) -> Result<(), PasswordError> {
    let now = Timestamp::now();
    let kept = password::read(vault, &account.address)?;
    let uses = password::last_uses(vault, &account.address)
        .inspect_err(|error| {
            // The rest is worth showing; where nobody listens, there is nobody to tell.
            let _ = writeln!(
                streams.words,
                "It is not known when they were used: {error}"
            );
        })
        .ok();
    let used = |hash: &str| {
        uses.as_ref()
            .map_or_else(String::new, |uses| used(uses.of(hash)))
    };
    let mut lines: Vec<(String, String)> = Vec::new();
    for named in &kept.passwords {
        let line = format!("{}{}", about(named, now), used(&named.hash));
        lines.push((named.name.clone(), line));
    }
    for (number, hash) in (1..).zip(&account.password_hashes) {
        let line = format!("any protocol from anywhere{}", used(hash));
        lines.push((format!("configuration {number}"), line));
    }
    let none = lines.is_empty();
    let window = kept.learning.filter(|window| window.is_open(now));
    lines.extend(window.map(|window| (LEARNING.to_owned(), learning(&window))));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or(0);
    for (name, line) in lines {
        writeln!(streams.out, "{name:width$}  {line}")?;
    }
    if none {
        writeln!(
            streams.words,
            "{0} has no password yet; see: mailwicket password add {0}",
            account.address
        )?;
    }
    Ok(())
}

fn about(named: &NamedPassword, now: Timestamp) -> String {
    let uses = good_for(named.protocol, &named.from);
    let end = match named.expires {
        None => String::new(),
        Some(end) if named.is_over(now) => format!("  expired {end}"),
        Some(end) => format!("  expires {end}"),
    };
    format!("added {}  {uses}{end}", named.created)
}

fn used(last: Option<&Use>) -> String {
    match last {
        None => "  not used yet".to_owned(),
        Some(Use { at, from, protocol }) => format!("  last used {at} from {from} over {protocol}"),
    }
}

fn learning(window: &Window) -> String {
    let uses = good_for(window.protocol, &window.from);
    format!(
        "until {}  {uses}  to be named {:?}",
        window.until, window.name
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Printed, with_streams};
    use super::*;
    use crate::password::tests::Bench;
    use crate::protocol::Protocol;

    fn listed(bench: &Bench) -> Printed {
        with_streams(b"", |streams| list(&bench.vault, &bench.alice, streams)).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_list_tells_names_restrictions_ends_and_last_uses_and_no_hash() {
        let bench = Bench::with_password_of_configuration(b"of the file");
        bench.add("scanner", b"right", |named| {
            named.protocol = Some(Protocol::Smtp);
            named.from = vec![
                "127.0.0.0/8".parse().unwrap(),
                "192.0.2.7/32".parse().unwrap(),
            ];
            named.expires = Some(at("2999-01-01T00:00:00Z"));
        });
        bench.add("visitor", b"gone", |named| {
            named.expires = Some(at("2026-01-01T00:00:00Z"))
        });
        let (out, words) = listed(&bench);
        assert_eq!(
            out,
            "scanner          added 1970-01-01T00:00:00Z  smtp from 127.0.0.0/8, 192.0.2.7  expires 2999-01-01T00:00:00Z  not used yet\n\
             visitor          added 1970-01-01T00:00:00Z  any protocol from anywhere  expired 2026-01-01T00:00:00Z  not used yet\n\
             configuration 1  any protocol from anywhere  not used yet\n"
        );
        assert_eq!(words, "");
        bench.use_at_once(b"right").await;
        bench.use_at_once(b"of the file").await;
        let (out, _) = listed(&bench);
        let lines: Vec<_> = out.lines().collect();
        for (line, is_used) in lines.iter().zip([true, false, true]) {
            let used =
                line.contains("  last used 20") && line.ends_with("Z from 127.0.0.1 over smtp");
            assert_eq!(used, is_used, "{line}");
        }
        assert!(!out.contains("argon2"), "{out}");
    }

    #[test]
    fn without_a_password_the_list_tells_how_to_add_one() {
        let bench = Bench::new(&[]);
        let (out, words) = listed(&bench);
        assert_eq!(out, "");
        assert!(
            words.contains("mailwicket password add alice@contoso.com"),
            "{words}"
        );
    }
}
