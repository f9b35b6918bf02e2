//! The seeds of the fuzzer, and every input that it has ever found a fault with, as an ordinary test.
//!
//! `fuzz/README.md` says how to make the fuzzer look for more.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use mailwicket::protocol::Protocol;

#[path = "../fuzz/src/lib.rs"]
mod targets;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<String> = entries.map(name).map(Result::unwrap).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_seed_holds() {
    for (name, target) in targets::ALL {
        let folder = corpora().join(name);
        let seeds = names(&folder);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let data = fs::read(folder.join(&seed)).unwrap();
            let outcome = panic::catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "fuzz/corpus/{name}/{seed} does not hold");
        }
    }
}

/// Seeds that end at the first line would leave the fuzzer there.
#[test]
fn the_logins_of_real_mail_programs_succeed() {
    for protocol in Protocol::ALL {
        let folder = corpora().join(protocol.to_string());
        let clients: Vec<String> = names(&folder)
            .into_iter()
            .filter(|name| name.starts_with("client-"))
            .collect();
        assert!(clients.len() > 5, "{protocol}: the seeds are gone");
        for client in clients {
            let data = fs::read(folder.join(&client)).unwrap();
            assert!(targets::session::play(protocol, &data), "{client}");
        }
    }
}

/// A corpus that no target reads, or a target that the fuzzer does not build, would be forgotten.
#[test]
fn every_target_has_its_corpus_its_program_and_its_line() {
    let known: Vec<String> = targets::ALL.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names(&corpora()), known);
    let programs = names(&corpora().with_file_name("fuzz_targets"));
    let expected: Vec<String> = known.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(programs, expected);
    let manifest = fs::read_to_string(corpora().with_file_name("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\npath = ")));
    }
}
