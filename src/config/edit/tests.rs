//! Edits of providers and listeners, in every spelling, over files with comments everywhere.

use proptest::prelude::*;
use toml_edit::{Array, InlineTable, Value};

use super::key::{Found, Node, Step, walk};
use super::*;

const HEADINGS: &str = "\
# top c00
state-dir   =   'x'   # c01

# about a c02
[provider.a] # c03
# before c04
preset = \"microsoft\" # c05
  tenant   =  't.example'# c06
# between c07
client-id='id'
scopes = [
  \"one\", # c08
  # alone c09
  'two' , # c10
  \"three\"   # c11
]
# after c12

# sub c13
[ provider . a . imap ] # c14
host = 'i' # c15
# c16

# b c17
[provider.\"b\"]
client-id = '''x''' # c18
smtp = { host = \"s\", port = 587 , tls='starttls' } # c19
# c20

# first c21
[[listener]] # c22
protocol = \"imap\"
provider = 'a' # c23
listen = [ '127.0.0.1:1143',  \"[::1]:1143\" ] # c24
# c25
[[listener]]
listen = \"127.0.0.1:1025\" # c26
protocol = 'smtp'
provider = 'b'

# log c27
[log]
level = 'info' # c28
# end c29";

const ONE_HEADING: &str = "\
[provider] # c00
# c01
a.preset = 'google' # c02
a . client-id = \"id\"
  a.imap.host = 'i' # c03
b = { client-id = 'x', imap = { host = 'i', port = 1 }, scopes = ['u' , 'v'] } # c04

# c05
[[listener]]
\tprotocol = 'imap' # c06
\tprovider = 'a'
\tlisten = [
\t\t'127.0.0.1:1',
\t\t# c07
\t\t'127.0.0.1:2', # c08
\t] # c09
";

const DOTTED: &str = "\
# c00
provider.a.client-id = 'x' # c01
provider.a.smtp.host = 's' # c02
provider.a.scopes = [ 'u' ] # c03
# c04
provider . b . client-id = 'y' # c05
state-dir = 'x' # c06
listener = [ { protocol = 'smtp', provider = 'a', listen = '127.0.0.1:1' } ] # c07
# c08
";

const BRACES: &str = "\
provider = { a = { client-id = 'x', imap.host = 'i', imap.port = 1 }, b = { preset = 'google' } } # c00
listener = [ # c01
  { protocol = 'imap', provider = 'a', listen = ['127.0.0.1:1'] }, # c02
  # c03
  { protocol = 'imap', provider = 'b', listen = '127.0.0.1:2' } # c04
] # c05
# c06";

fn text(which: usize, crlf: bool) -> String {
    let text = [HEADINGS, ONE_HEADING, DOTTED, BRACES][which];
    if crlf {
        text.replace('\n', "\r\n")
    } else {
        text.to_owned()
    }
}

fn provider(name: &str) -> Place {
    Place::Provider(name.into())
}

fn words(key: &[&str]) -> Vec<String> {
    key.iter().map(|&word| word.to_owned()).collect()
}

fn set(place: Place, key: &[&str], value: impl Into<Value>) -> Edit {
    Edit::Set(place, words(key), value.into())
}

fn unset(place: Place, key: &[&str]) -> Edit {
    Edit::Unset(place, words(key))
}

fn list(items: &[&str]) -> Array {
    items.iter().copied().collect()
}

/// Every edit here changes exactly what is said, in words: `(from, to)`.
fn assert_replaces(text: &str, edit: &Edit, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    assert_eq!(edit.apply(text).unwrap(), text.replace(from, to));
}

#[test]
fn a_key_is_changed_where_it_stands() {
    let a = || provider("a");
    assert_replaces(
        HEADINGS,
        &set(a(), &["tenant"], "new"),
        "'t.example'",
        "\"new\"",
    );
    assert_replaces(
        HEADINGS,
        &set(a(), &["imap", "host"], "j"),
        "host = 'i'",
        "host = \"j\"",
    );
    assert_replaces(
        HEADINGS,
        &set(provider("b"), &["smtp", "port"], 25),
        "587",
        "25",
    );
    assert_replaces(
        ONE_HEADING,
        &set(a(), &["imap", "host"], "j"),
        "host = 'i' #",
        "host = \"j\" #",
    );
    assert_replaces(DOTTED, &set(a(), &["smtp", "host"], "j"), "'s'", "\"j\"");
    assert_replaces(
        BRACES,
        &set(a(), &["imap", "port"], 2),
        "port = 1",
        "port = 2",
    );
    assert_replaces(
        BRACES,
        &set(Place::Listener(1), &["listen"], "127.0.0.1:3"),
        "'127.0.0.1:2'",
        "\"127.0.0.1:3\"",
    );
}

#[test]
fn a_key_that_says_the_same_stays_as_it_is_written() {
    for edit in [
        set(provider("a"), &["tenant"], "t.example"),
        set(provider("a"), &["scopes"], list(&["one", "two", "three"])),
        unset(provider("a"), &["issuer"]),
    ] {
        assert_eq!(edit.apply(HEADINGS).unwrap(), HEADINGS);
    }
}

#[test]
fn a_new_key_stands_after_its_neighbours() {
    let a = || provider("a");
    assert_replaces(
        HEADINGS,
        &set(a(), &["imap", "port"], 993),
        "host = 'i' # c15\n",
        "host = 'i' # c15\nport = 993\n",
    );
    assert_replaces(
        HEADINGS,
        &set(a(), &["flow"], "device-code"),
        "# c11\n]\n",
        "# c11\n]\nflow = \"device-code\"\n",
    );
    assert_replaces(
        ONE_HEADING,
        &set(a(), &["tenant"], "t"),
        "# c03\n",
        "# c03\n  a.tenant = \"t\"\n",
    );
    assert_replaces(
        ONE_HEADING,
        &set(provider("b"), &["imap", "tls"], "implicit"),
        "port = 1",
        "port = 1, tls = \"implicit\"",
    );
    assert_replaces(
        DOTTED,
        &set(provider("b"), &["imap", "host"], "i"),
        "# c05\n",
        "# c05\nprovider.b.imap = { host = \"i\" }\n",
    );
    assert_replaces(
        BRACES,
        &set(a(), &["imap", "tls"], "x"),
        "imap.port = 1",
        "imap.port = 1, imap.tls = \"x\"",
    );
    let crlf = text(1, true);
    assert_replaces(
        &crlf,
        &set(Place::Listener(0), &["tls"], "auto"),
        "# c09\r\n",
        "# c09\r\n\ttls = \"auto\"\r\n",
    );
}

#[test]
fn a_list_keeps_the_lines_and_comments_of_what_stays() {
    let edit = set(
        provider("a"),
        &["scopes"],
        list(&["zero", "one", "three", "four"]),
    );
    let edited = edit.apply(HEADINGS).unwrap();
    let wanted = "scopes = [\n  \"zero\",\n  \"one\", # c08\n  # alone c09\n  \"three\",   # c11\n  \"four\"\n]";
    assert!(edited.contains(wanted), "{edited}");
    let back = set(provider("a"), &["scopes"], list(&["one", "three"]));
    let back = back.apply(&edited).unwrap();
    assert!(
        back.contains("# alone c09\n  \"three\"   # c11\n]"),
        "{back}"
    );
}

#[test]
fn a_key_goes_with_the_comment_on_its_line_only() {
    let a = || provider("a");
    assert_replaces(
        HEADINGS,
        &unset(a(), &["tenant"]),
        "  tenant   =  't.example'# c06\n",
        "",
    );
    assert_replaces(
        HEADINGS,
        &unset(provider("b"), &["smtp", "port"]),
        ", port = 587",
        "",
    );
    assert_replaces(
        ONE_HEADING,
        &unset(provider("b"), &["client-id"]),
        "client-id = 'x', ",
        "",
    );
    assert_replaces(
        DOTTED,
        &unset(a(), &["smtp"]),
        "provider.a.smtp.host = 's' # c02\n",
        "",
    );
    assert_replaces(
        BRACES,
        &unset(a(), &["imap"]),
        ", imap.host = 'i', imap.port = 1",
        "",
    );
}

#[test]
fn a_provider_or_listener_goes_with_its_own_comment() {
    let edited = Edit::Remove(provider("b")).apply(HEADINGS).unwrap();
    for gone in ["c17", "c18", "c19", "c20"] {
        assert!(!edited.contains(gone), "{edited}");
    }
    assert!(edited.contains("# c16\n\n# first c21\n"), "{edited}");
    let edited = Edit::Remove(Place::Listener(0)).apply(HEADINGS).unwrap();
    assert!(
        edited.contains("# c20\n\n# c25\n[[listener]]\nlisten = \"127"),
        "{edited}"
    );
    assert_replaces(
        BRACES,
        &Edit::Remove(provider("b")),
        ", b = { preset = 'google' }",
        "",
    );
    let edited = Edit::Remove(Place::Listener(0)).apply(BRACES).unwrap();
    assert!(edited.contains("# c01\n  # c03\n  { protocol"), "{edited}");
    assert_replaces(
        DOTTED,
        &Edit::Remove(provider("b")),
        "provider . b . client-id = 'y' # c05\n",
        "",
    );
}

#[test]
fn what_is_not_there_and_what_is_there_already_is_told() {
    assert!(matches!(
        set(provider("c"), &["tenant"], "t").apply(HEADINGS),
        Err(EditError::NoPlace { .. })
    ));
    assert!(matches!(
        Edit::Remove(Place::Listener(2)).apply(HEADINGS),
        Err(EditError::NoPlace { .. })
    ));
    assert!(matches!(
        Edit::AddProvider("a".into(), Vec::new()).apply(HEADINGS),
        Err(EditError::Taken { .. })
    ));
    assert!(matches!(
        set(provider("a"), &["tenant"], "t").apply("[provider.a\n"),
        Err(EditError::Syntax)
    ));
}

#[test]
fn what_is_entangled_is_left_alone() {
    let mixed =
        "[provider.a]\nclient-id = 'x'\n[log]\nlevel = 'info'\n[provider.a.imap]\nhost = 'i'\n";
    let refused = Edit::Remove(provider("a")).apply(mixed).unwrap_err();
    assert!(matches!(refused, EditError::Knotted { .. }), "{refused}");
    let headless = "[provider.a.imap]\nhost = 'i'\n";
    let refused = set(provider("a"), &["client-id"], "x")
        .apply(headless)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`provider.a.client-id` is written in a way that cannot be changed here without touching other parts of the file; edit it by hand"
    );
    let commented = "[provider.a]\nscopes = ['a', # why\n 'b', 'c']\n";
    let refused = set(provider("a"), &["scopes"], list(&["b"])).apply(commented);
    assert!(matches!(refused, Err(EditError::Knotted { .. })));
}

#[test]
fn a_problem_is_told_at_its_key() {
    let text = HEADINGS.replace(
        "level = 'info'",
        "level = 'info'\n[[account]]\naddress='x@y'\nprovider='a'",
    );
    let edits = [
        set(Place::Listener(1), &["listen"], "127.0.0.1"),
        set(provider("b"), &["smtp", "port"], 0),
        unset(provider("a"), &["client-id"]),
    ];
    let today = jiff::civil::date(2026, 1, 1);
    let around = crate::config::Surroundings::default();
    let proposal = propose(&text, &edits, Path::new("/x.toml"), &around, today).unwrap();
    assert!(proposal.config.is_none());
    let about: Vec<_> = proposal
        .problems
        .iter()
        .filter_map(|remark| remark.about.clone())
        .collect();
    for wanted in [
        (Place::Listener(1), words(&["listen"])),
        (provider("b"), words(&["smtp", "port"])),
        (provider("a"), words(&[])),
    ] {
        assert!(about.contains(&wanted), "{:#?}", proposal.problems);
    }
    assert!(
        proposal
            .problems
            .iter()
            .all(|remark| remark.shown.contains("/x.toml:"))
    );
}

#[test]
fn a_sound_proposal_has_a_configuration_and_a_difference() {
    let text = "[provider.g]\npreset = 'google'\nclient-id = 'x'\n[[listener]]\nprotocol = 'imap'\nprovider = 'g'\nlisten = '127.0.0.1:1143' # mine\n";
    let edits = [set(Place::Listener(0), &["listen"], "127.0.0.1:2143")];
    let around = crate::config::Surroundings {
        state_home: Some("/s".into()),
        ..Default::default()
    };
    let proposal = propose(
        text,
        &edits,
        Path::new("/x.toml"),
        &around,
        jiff::civil::date(2026, 1, 1),
    )
    .unwrap();
    assert_eq!(proposal.problems, []);
    let config = proposal.config.expect("a configuration");
    assert_eq!(config.listeners[0].addresses[0].port(), 2143);
    let changed: Vec<_> = proposal
        .diff
        .iter()
        .filter(|line| line.sign != Sign::Same)
        .map(|line| (line.sign.mark(), line.number, line.text.as_str()))
        .collect();
    assert_eq!(
        changed,
        [
            ('-', 7, "listen = '127.0.0.1:1143' # mine"),
            ('+', 7, "listen = \"127.0.0.1:2143\" # mine")
        ]
    );
    assert!(
        proposal
            .warnings
            .iter()
            .any(|warning| warning.contains("no account"))
    );
}

// ---- whatever is edited ----

const KEYS: [&[&str]; 9] = [
    &["preset"],
    &["tenant"],
    &["client-id"],
    &["scopes"],
    &["imap"],
    &["imap", "host"],
    &["smtp", "port"],
    &["listen"],
    &["new \"key\".x"],
];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[^#c]{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::collection::vec("[a-c]|one|two|three|u|v|127.0.0.1:[1-3]", 0..5)
            .prop_map(|items| Value::Array(items.iter().collect())),
        "[a-z]{1,3}".prop_map(|host| {
            Value::InlineTable(InlineTable::from_iter([
                ("host", Value::from(host)),
                ("port", 7.into()),
            ]))
        }),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        "[ab]".prop_map(Place::Provider),
        (0..2usize).prop_map(Place::Listener),
    ]
}

fn steps(place: &Place, key: &[&str]) -> Vec<Step> {
    let (kind, at) = match place {
        Place::Provider(name) => ("provider", Step::from(name.as_str())),
        Place::Listener(at) => ("listener", Step::Index(*at)),
    };
    let keys = key.iter().map(|&key| Step::from(key));
    [Step::from(kind), at].into_iter().chain(keys).collect()
}

fn with_node<T>(text: &str, way: &[Step], look: impl FnOnce(&Found<'_>) -> T) -> Option<T> {
    let document = toml_edit::Document::parse(text).ok()?;
    let found = walk(document.as_table(), way);
    (found.depth == way.len()).then(|| look(&found))
}

/// The value of a key as it is written, if it is written as one.
fn written(text: &str, way: &[Step]) -> Option<Value> {
    with_node(text, way, |found| match found.node {
        Node::Value(Value::InlineTable(table)) if table.is_dotted() => None,
        Node::Value(value) => value.span().map(|span| text[span].parse().unwrap()),
        _ => None,
    })?
}

/// The comments of the fixtures, which all end with a number. No value has a space and such a number in it.
fn comments(text: &str) -> Vec<&str> {
    let marks = text.match_indices(" c").map(|(at, _)| at + 1);
    let is_number = |mark: &&str| mark[1..].bytes().all(|digit| digit.is_ascii_digit());
    let marks = marks.filter_map(|at| text.get(at..at + 3));
    marks.filter(is_number).collect()
}

/// What stands before the first difference and after the last one.
fn common(a: &str, b: &str) -> (usize, usize) {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[head..], &b[head..]);
    let tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b);
    (head, tail.count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Only the lines of the key differ, and no comment goes but with what it stands at.
    #[test]
    fn what_is_not_edited_keeps_its_octets(which in 0..4usize, crlf: bool, place in place(), key in 0..KEYS.len(), value in value()) {
        let before = text(which, crlf);
        let key = KEYS[key];
        let way = steps(&place, key);
        let is_list = value.is_array();
        let Ok(after) = Edit::Set(place, words(key), value).apply(&before) else { return Ok(()) };
        let (head, tail) = common(&before, &after);
        // What changed lies in one place: in the value that was there, or nothing was there and nothing went.
        match written(&before, &way) {
            Some(_) => {
                let span = with_node(&before, &way, |found| match found.node {
                    Node::Value(value) => value.span(),
                    _ => None,
                }).flatten().unwrap();
                prop_assert!(head >= span.start && before.len() - tail <= span.end || before == after, "{after}");
            }
            None if with_node(&before, &way, |_| ()).is_none() => {
                prop_assert_eq!(before.len(), (head + tail).min(before.len()), "{}", after);
            }
            None => {}
        }
        if !is_list && written(&before, &way).is_none_or(|value| !value.is_array()) {
            prop_assert_eq!(comments(&before), comments(&after));
        }
        let is_mixed = after.matches('\n').count() != after.matches("\r\n").count();
        prop_assert!(!crlf || !is_mixed);
    }

    /// A comment goes only with the line of an element that goes.
    #[test]
    fn a_list_loses_no_comment_of_what_stays(items in proptest::collection::vec("one|two|three|new", 0..5), crlf: bool) {
        let before = text(0, crlf);
        let edit = Edit::Set(provider("a"), words(&["scopes"]), Value::Array(items.iter().collect()));
        let after = edit.apply(&before).unwrap();
        let has = |item: &str| items.iter().any(|other| other == item);
        let mut wanted = comments(&before);
        wanted.retain(|comment| match *comment {
            // Of two that changed their places, one has to be written anew.
            "c08" | "c10" | "c11" => after.contains(comment),
            _ => true,
        });
        prop_assert_eq!(comments(&after), wanted);
        if items.is_sorted_by_key(|item| ["one", "two", "three", "new"].iter().position(|name| name == item)) {
            for (item, comment) in [("one", "c08"), ("two", "c10"), ("three", "c11")] {
                prop_assert_eq!(has(item), after.contains(comment), "{}", after);
            }
        }
    }

    /// Whatever was done is undone octet for octet.
    #[test]
    fn an_edit_and_its_contrary_are_no_change(which in 0..4usize, crlf: bool, place in place(), key in 0..KEYS.len(), value in value()) {
        let before = text(which, crlf);
        let key = KEYS[key];
        let way = steps(&place, key);
        let former = written(&before, &way);
        let parent_is_there = with_node(&before, &way[..way.len() - 1], |_| ()).is_some();
        let is_there = with_node(&before, &way, |_| ()).is_some();
        // Lists and tables are changed element by element: what was in the way of one spelling is gone then.
        prop_assume!(former.as_ref().map_or(!is_there, |value| !value.is_array() && !value.is_inline_table()));
        let Ok(after) = Edit::Set(place.clone(), words(key), value).apply(&before) else { return Ok(()) };
        let back = match former {
            Some(former) => {
                prop_assume!(!written(&after, &way).is_some_and(|value| value.is_inline_table() && former.is_inline_table()));
                Edit::Set(place, words(key), former)
            }
            None if parent_is_there => Edit::Unset(place, words(key)),
            None => Edit::Unset(place, words(&key[..1])),
        };
        prop_assert_eq!(back.apply(&after).unwrap(), before);
    }

    #[test]
    fn a_new_provider_and_its_removal_are_no_change(which in 0..4usize, crlf: bool, id in "[^#c]{0,9}") {
        let before = text(which, crlf);
        let entries = vec![("preset".to_owned(), Value::from("google")), ("client-id".to_owned(), Value::from(id))];
        let after = Edit::AddProvider("new.one".into(), entries).apply(&before).unwrap();
        prop_assert_eq!(comments(&before), comments(&after));
        prop_assert_eq!(Edit::Remove(provider("new.one")).apply(&after).unwrap(), before);
    }

    #[test]
    fn a_new_listener_and_its_removal_are_no_change(which in 0..4usize, crlf: bool) {
        let before = text(which, crlf);
        let count = value_of(&before, "listener").as_array().unwrap().len();
        let entries = vec![("protocol".to_owned(), Value::from("pop3")), ("listen".to_owned(), Value::from("127.0.0.1:9"))];
        let after = Edit::AddListener(entries).apply(&before).unwrap();
        prop_assert_eq!(comments(&before), comments(&after));
        prop_assert_eq!(Edit::Remove(Place::Listener(count)).apply(&after).unwrap(), before);
    }
}

fn value_of(text: &str, key: &str) -> toml::Value {
    plain(text).unwrap()[key].clone()
}

#[test]
fn a_problem_of_a_listener_is_told_at_its_key_without_any_provider() {
    let text = "[[listener]]\nlisten = '127.0.0.1'\n";
    let octet = text.find("'127").unwrap();
    let about = super::change::key_at(text, octet);
    assert_eq!(about, Some((Place::Listener(0), words(&["listen"]))));
}
