use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Command {
    command(text.as_bytes()).unwrap_or_else(|| panic!("not a command: {text}"))
}

fn items(text: &str) -> Vec<Item> {
    match read(&format!("FETCH 1 {text}")) {
        Command::Fetch { items, .. } => items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sets_know_the_last_message() {
    let Command::Expunge(Some(set)) = read("UID EXPUNGE 2,4:*") else {
        panic!("no set");
    };
    let named: Vec<u32> = (1..=6).filter(|n| set.has(*n, 6)).collect();
    assert_eq!(named, [2, 4, 5, 6]);
    // The last one is always in `n:*`, whatever n is.
    assert!(set.has(3, 3));
}

#[test]
fn sections_have_parts_fields_and_partials() {
    let all = items("(UID BODY.PEEK[1.2.HEADER.FIELDS (From \"To\")]<5.10> BODY[] RFC822.HEADER)");
    let Item::Section(first) = &all[1] else {
        panic!("no section");
    };
    assert_eq!(first.parts, [1, 2]);
    assert_eq!(first.partial, Some((5, 10)));
    assert_eq!(first.name, "BODY[1.2.HEADER.FIELDS (From \"To\")]<5>");
    assert!(first.peeks);
    assert!(matches!(&all[2], Item::Section(s) if !s.peeks && s.what == What::Whole));
    assert!(matches!(&all[3], Item::Section(s) if s.peeks && s.what == What::Header));
    assert_eq!(items("FULL").len(), 5);
    assert_eq!(items("BODY"), [Item::Body]);
    assert!(matches!(items("BODY[1.MIME]")[0], Item::Section(_)));
}

#[test]
fn an_append_has_a_literal() {
    let text = "APPEND INBOX (\\seen x) \" 5-Jan-2024 10:00:00 +0100\" {3+}\r\nabc";
    let Command::Append {
        flags,
        date,
        content,
        ..
    } = read(text)
    else {
        panic!("no append");
    };
    assert_eq!(flags.into_iter().collect::<Vec<_>>(), ["\\Seen", "x"]);
    assert_eq!(date.unwrap().to_string(), "2024-01-05T09:00:00Z");
    assert_eq!(content, b"abc");
}

#[test]
fn searches_nest_within_bounds() {
    read("SEARCH CHARSET UTF-8 OR (FROM a SINCE 1-Feb-2024) NOT HEADER X-A {2}\r\nbc");
    read("UID SEARCH 1:* UID 4 UNSEEN SENTON 01-Feb-2024 LARGER 5 SUBJECT \"x y\"");
    let deep = format!("SEARCH {}ALL", "NOT ".repeat(1000));
    assert!(command(deep.as_bytes()).is_none());
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        word in "(UID )?(FETCH|STORE|SEARCH|APPEND|LIST|STATUS|COPY|ID) ",
        rest in r#"([ ()"\\\[\]<>{}+.,:*%0-9A-Za-z]|BODY\[|HEADER.FIELDS|\{3\+\}\r\n|OR |NOT ){0,40}"#,
    ) {
        let _ = command((word + &rest).as_bytes());
    }
}

#[test]
fn what_is_malformed_is_no_command() {
    for odd in [
        "",
        "FETCH",
        "FETCH 0 FLAGS",
        "FETCH 1 (FLAGS",
        "FETCH 1 BODY[",
        "FETCH 1 BODY[0]",
        "NOOP x",
        "APPEND INBOX {9}\r\nabc",
        "STORE 1 FLAGS (\\Recent)",
        "SELECT \"INBOX",
    ] {
        assert!(command(odd.as_bytes()).is_none(), "{odd}");
    }
    assert!(tag(b"a+ NOOP").is_none());
    assert_eq!(tag(b"a1 NOOP"), Some(("a1".into(), &b"NOOP"[..])));
}
