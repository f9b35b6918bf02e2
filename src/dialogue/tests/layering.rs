//! The dialogues stay pure: their sources do not speak of what they must not know.

use std::fs;
use std::path::{Path, PathBuf};

/// Sockets, tasks, clocks, files, randomness and shared state.
const FOREIGN: [&str; 22] = [
    "tokio",
    "rustls",
    "hyper",
    "tracing",
    "std::net",
    "std::time",
    "Instant",
    "SystemTime",
    "Duration",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "getrandom",
    "rand::",
    "Mutex",
    "RwLock",
    "Atomic",
    "RefCell",
    "async ",
    "println!",
];

#[test]
fn the_dialogues_know_no_sockets_clocks_files_or_randomness() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dialogue");
    let mut sources = Vec::new();
    gather(&root, &mut sources);
    assert!(sources.len() > 15, "the sources are not where they were");
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        for (at, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in FOREIGN {
                let place = format!("{}:{}", source.display(), at + 1);
                assert!(!code.contains(word), "{place} mentions {word}");
            }
        }
    }
}

fn gather(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("tests") => {}
            true => gather(&path, sources),
            false => sources.push(path),
        }
    }
}
