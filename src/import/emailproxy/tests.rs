use super::*;
use crate::import::{Note, Outcome};

const ACCOUNT: &str = "
[alice@example.com]
permission_url = https://id.example.com/authorize
token_url = https://id.example.com/token
oauth2_scope = mail
redirect_uri = http://localhost
client_id = app
";

const SERVER: &str = "
[IMAP-1993]
server_address = imap.example.com
server_port = 993
";

fn import(text: &str) -> Import {
    convert(text, "emailproxy.config").unwrap_or_else(|error| panic!("{error}"))
}

fn table(import: &Import) -> toml::Table {
    import.toml.parse().expect("TOML")
}

/// What the report says of a key or section.
fn said<'i>(import: &'i Import, subject: &str) -> Vec<&'i Note> {
    let notes = import.notes.iter();
    notes.filter(|note| note.subject == subject).collect()
}

fn is_to_do(import: &Import, subject: &str) -> bool {
    said(import, subject).iter().any(|note| note.is_to_do())
}

#[test]
fn every_key_has_a_note_with_its_line() {
    let text = format!("{SERVER}{ACCOUNT}client_secret = s3cret\nsurprise = s3cret\n");
    let import = import(&text);
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    for (number, line) in lines {
        let noted = import.notes.iter().any(|note| note.line == number + 1);
        assert!(noted, "{line}");
    }
    assert!(is_to_do(&import, "surprise"));
    let report: String = import
        .notes
        .iter()
        .map(|note| format!("{note}\n"))
        .collect();
    assert!(!report.contains("s3cret"), "{report}");
}

#[test]
fn equal_settings_make_one_provider_whatever_the_ports_of_the_browser() {
    let second = ACCOUNT
        .replace("alice", "bob")
        .replace("localhost", "localhost:8081");
    let import = import(&format!("{SERVER}{ACCOUNT}{second}"));
    let table = table(&import);
    assert_eq!(table["provider"].as_table().unwrap().len(), 1);
    let provider = &table["provider"]["example"];
    assert_eq!(provider["redirect-url"].as_str(), Some("http://localhost/"));
    let other = ACCOUNT
        .replace("alice", "carol")
        .replace("= app", "= other");
    let text = format!("{SERVER}{ACCOUNT}{other}");
    let import = self::import(&text);
    assert_eq!(
        self::table(&import)["provider"].as_table().unwrap().len(),
        2
    );
}

#[test]
fn a_second_provider_at_the_same_server_gets_a_port_of_its_own() {
    let other = ACCOUNT
        .replace("alice", "carol")
        .replace("= app", "= other");
    let taken = SERVER.replace("IMAP-1993", "IMAP-1994");
    let import = import(&format!("{SERVER}{taken}{ACCOUNT}{other}"));
    let table = table(&import);
    let listen = |listener: &toml::Value| listener["listen"][0].as_str().unwrap().to_owned();
    let listeners: Vec<_> = table["listener"]
        .as_array()
        .unwrap()
        .iter()
        .map(listen)
        .collect();
    assert_eq!(
        listeners,
        [
            "127.0.0.1:1993",
            "127.0.0.1:1995",
            "127.0.0.1:1994",
            "127.0.0.1:1996"
        ]
    );
    let told = said(&import, "[IMAP-1993]")
        .iter()
        .any(|note| match &note.outcome {
            Outcome::ToDo(words) => words.contains("carol@example.com") && words.contains("1995"),
            _ => false,
        });
    assert!(told, "somebody has to change a mail program");
}

#[test]
fn listeners_that_others_can_reach_take_nothing_in_clear_from_them() {
    for (address, listen) in [
        ("0.0.0.0", "0.0.0.0:1993"),
        ("::", "[::]:1993"),
        ("192.0.2.1", "192.0.2.1:1993"),
    ] {
        let import = import(&format!("{SERVER}local_address = {address}\n{ACCOUNT}"));
        let listener = &table(&import)["listener"][0];
        assert_eq!(listener["listen"].as_array().unwrap().len(), 1);
        assert_eq!(listener["listen"][0].as_str(), Some(listen));
        assert_eq!(listener["tls"].as_str(), Some("auto"));
        assert!(listener.get("allow-plaintext-from").is_none());
        assert!(import.toml.contains("# allow-plaintext-from = "));
        assert!(is_to_do(&import, "local_address"));
    }
    let named = import(&format!(
        "{SERVER}local_address = mail.example.com\n{ACCOUNT}"
    ));
    let listen = &table(&named)["listener"][0]["listen"];
    assert_eq!(listen.as_array().unwrap().len(), 2, "{listen}");
    assert!(is_to_do(&named, "local_address"));
    let local = import(&format!("{SERVER}local_address = ::1\n{ACCOUNT}"));
    let listener = &table(&local)["listener"][0];
    assert_eq!(listener["listen"][0].as_str(), Some("[::1]:1993"));
    assert!(listener.get("tls").is_none());
    assert!(!is_to_do(&local, "local_address"));
}

#[test]
fn a_server_without_an_address_serves_this_machine_and_the_report_says_so() {
    let narrowed = |more: &str| -> Option<String> {
        let import = import(&format!("{SERVER}{more}{ACCOUNT}"));
        let listen = &table(&import)["listener"][0]["listen"];
        assert_eq!(listen[0].as_str(), Some("127.0.0.1:1993"), "{more}");
        assert_eq!(listen[1].as_str(), Some("[::1]:1993"), "{more}");
        let notes = said(&import, "[IMAP-1993]");
        notes.iter().find_map(|note| match &note.outcome {
            Outcome::ToDo(words) if words.contains("only this machine") => Some(words.clone()),
            _ => None,
        })
    };
    for more in ["", "local_address =\n"] {
        let words = narrowed(more).expect(more);
        assert!(words.contains("allow-plaintext-from"), "{words}");
    }
    let tls = "local_certificate_path = /c.pem\nlocal_key_path = /k.pem\n";
    let words = narrowed(tls).expect("a word");
    assert!(!words.contains("allow-plaintext-from"), "{words}");
    assert_eq!(narrowed("local_address = localhost\n"), None);
    assert_eq!(narrowed("\n[DEFAULT]\nlocal_address = localhost\n"), None);
}

#[test]
fn a_certificate_for_mail_programs_is_kept_with_its_address() {
    let tls = "local_address = 0.0.0.0\nlocal_certificate_path = /c.pem\nlocal_key_path = /k.pem\n";
    for (more, word) in [("", "implicit"), ("local_starttls = True\n", "starttls")] {
        let import = import(&format!("{SERVER}{tls}{more}{ACCOUNT}"));
        let table = table(&import);
        let listener = &table["listener"][0];
        assert_eq!(listener["tls"].as_str(), Some(word));
        assert_eq!(
            listener["certificate"]["key"]["file"].as_str(),
            Some("/k.pem")
        );
        assert_eq!(listener["listen"][0].as_str(), Some("0.0.0.0:1993"));
    }
    let half = import(&format!(
        "{SERVER}local_certificate_path = /c.pem\n{ACCOUNT}"
    ));
    assert!(is_to_do(&half, "local_certificate_path"));
    assert!(table(&half)["listener"][0].get("tls").is_none());
}

#[test]
fn a_catch_all_counts_only_where_it_is_switched_on() {
    let domain = ACCOUNT.replace("[alice@", "[@");
    let on = "[emailproxy]\nallow_catch_all_accounts = True\n";
    let import = import(&format!(
        "{SERVER}{domain}[bob@example.com]\nrefresh_token = x\n{on}"
    ));
    let table = table(&import);
    let addresses: Vec<_> = table["account"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| account["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, ["bob@example.com"]);
    assert!(import.toml.contains("# address = \"*@example.com\""));
    assert!(is_to_do(&import, "[@example.com]"));
    assert_eq!(table["provider"].as_table().unwrap().len(), 1);
    let off = self::import(&format!(
        "{SERVER}{domain}{}",
        ACCOUNT.replace("example.com]", "other.test]")
    ));
    assert_eq!(self::table(&off)["account"].as_array().unwrap().len(), 1);
    assert!(
        said(&off, "[@example.com]")
            .iter()
            .all(|note| matches!(note.outcome, Outcome::NotNeeded(_)))
    );
}

#[test]
fn a_domain_whose_mailboxes_the_application_opens_becomes_a_template() {
    let app = format!("{ACCOUNT}oauth2_flow = client_credentials\nclient_secret = s3cret\n");
    let on = "[emailproxy]\nallow_catch_all_accounts = True\n";
    let import = import(&format!("{SERVER}{}{on}", app.replace("[alice@", "[@")));
    let table = table(&import);
    assert_eq!(table["account"].as_array().unwrap().len(), 1);
    assert_eq!(
        table["account"][0]["address"].as_str(),
        Some("*@example.com")
    );
    let notes: Vec<_> = said(&import, "[@example.com]")
        .iter()
        .map(|note| note.to_string())
        .collect();
    let notes = notes.join("\n");
    assert!(
        notes.contains("mailwicket password add NAME@example.com --stdin"),
        "{notes}"
    );
    // What is no domain is no template either.
    for section in ["[@]", "[@a@example.com]", "[@*.example.com]"] {
        let odd = app.replace("[alice@example.com]", section);
        let import = self::import(&format!("{SERVER}{odd}{on}"));
        assert!(is_to_do(&import, section));
        assert!(self::table(&import).get("account").is_none(), "{section}");
    }
}

#[test]
fn all_domains_at_once_are_left_to_a_person() {
    let all = ACCOUNT.replace("[alice@example.com]", "[@]");
    let import = import(&format!(
        "{SERVER}{all}[emailproxy]\nallow_catch_all_accounts = 1\n"
    ));
    assert!(is_to_do(&import, "[@]"));
    assert!(table(&import).get("account").is_none());
}

#[test]
fn a_server_without_an_account_stands_in_comments() {
    let gmail = SERVER
        .replace("imap.example.com", "imap.gmail.com")
        .replace("1993", "2993");
    let import = import(&format!("{SERVER}{gmail}{ACCOUNT}"));
    assert_eq!(table(&import)["listener"].as_array().unwrap().len(), 1);
    assert!(is_to_do(&import, "[IMAP-2993]"));
    assert!(import.toml.contains("# preset = \"google\""));
    // Taken out of the comments, it is sound TOML.
    let (_, idle) = import.toml.split_once("# [provider.google]").unwrap();
    let opened: String = idle
        .lines()
        .map(|line| format!("{}\n", line.trim_start_matches(['#', ' '])))
        .collect();
    assert!(
        format!("[provider.google]{opened}")
            .parse::<toml::Table>()
            .is_ok()
    );
}

#[test]
fn endpoints_that_differ_from_a_preset_are_written_out() {
    let entra = |token: &str| {
        let server = SERVER.replace("imap.example.com", "outlook.office365.com");
        format!("{server}{ACCOUNT}")
            .replace(
                "https://id.example.com/authorize",
                "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize",
            )
            .replace("https://id.example.com/token", token)
    };
    let same = import(&entra(
        "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token",
    ));
    let provider = &table(&same)["provider"]["microsoft"];
    assert_eq!(provider["preset"].as_str(), Some("microsoft"));
    assert_eq!(provider["tenant"].as_str(), Some("contoso.example"));
    assert!(provider.get("scopes").is_none(), "Graph's");
    assert!(is_to_do(&same, "oauth2_scope"));
    assert!(provider.get("token-url").is_none());
    for other in [
        "https://login.microsoftonline.com/fabrikam.example/oauth2/v2.0/token",
        "https://login.microsoftonline.com/contoso.example/oauth2/token",
    ] {
        let import = import(&entra(other));
        let provider = &table(&import)["provider"]["microsoft"];
        assert_eq!(provider["token-url"].as_str(), Some(other));
        assert!(provider.get("preset").is_none());
    }
}

/// An account of Microsoft without a browser.
fn entra(tenant: &str, flow: &str, more: &str) -> String {
    format!(
        "{SERVER}[alice@example.com]\ntoken_url = https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token\n\
         oauth2_flow = {flow}\nclient_id = app\n{more}"
    )
    .replace("imap.example.com", "outlook.office365.com")
}

#[test]
fn what_only_a_person_can_complete_stands_in_comments_with_the_reason() {
    let sample = ACCOUNT.replace("= app", "= *** your client id here ***");
    let pathless = ACCOUNT.replace("permission_url = https://id.example.com/authorize\n", "");
    for (text, reason) in [
        (entra("common", "password", ""), "one tenant"),
        (
            entra("organizations", "client_credentials", "client_secret = x\n"),
            "one tenant",
        ),
        (
            entra("contoso.example", "client_credentials", ""),
            "client-secret or a certificate",
        ),
        (
            entra("consumers", "client_credentials", "client_secret = x\n"),
            "has no flow",
        ),
        (format!("{SERVER}{sample}"), "client-id"),
        (format!("{SERVER}{pathless}"), "authorize-url"),
        (ACCOUNT.to_owned(), "imap, pop3 or smtp"),
    ] {
        let import = import(&text);
        assert!(table(&import).is_empty(), "{text}\n{}", *import.toml);
        let words = |note: &&&Note| note.is_to_do() && note.to_string().contains(reason);
        let notes = said(&import, "[alice@example.com]");
        assert!(notes.iter().any(|note| words(&note)), "{reason}: {notes:?}");
        assert!(import.toml.contains(reason) && import.toml.contains("# [[account]]"));
    }
    let whole = import(&entra("contoso.example", "password", ""));
    let provider = &table(&whole)["provider"]["microsoft-password"];
    assert_eq!(provider["allow-password-grant"].as_bool(), Some(true));
    assert_eq!(provider["tenant"].as_str(), Some("contoso.example"));
}

#[test]
fn a_certificate_stands_in_place_of_a_secret() {
    let import = import(&entra(
        "contoso.example",
        "client_credentials",
        "client_secret = x\njwt_certificate_path = /c.pem\njwt_key_path = /k.pem\n",
    ));
    let provider = &table(&import)["provider"]["microsoft-app"];
    assert_eq!(
        provider["certificate"]["key"]["file"].as_str(),
        Some("/k.pem")
    );
    assert!(provider.get("client-secret").is_none());
    assert!(is_to_do(&import, "client_secret"));
}

#[test]
fn every_preset_is_used_where_the_urls_are_its_own() {
    let zoho = ACCOUNT
        .replace(
            "https://id.example.com/authorize",
            "https://accounts.zoho.eu/oauth/v2/auth",
        )
        .replace(
            "https://id.example.com/token",
            "https://accounts.zoho.eu/oauth/v2/token",
        )
        .replace(
            "= mail\n",
            "= ZOHOMAIL.PROTOCOL.IMAP,ZOHOMAIL.PROTOCOL.POP\n",
        );
    let import = import(&format!(
        "{}{zoho}",
        SERVER.replace("imap.example.com", "imap.zoho.eu")
    ));
    let provider = &table(&import)["provider"]["zoho"];
    assert_eq!(provider["preset"].as_str(), Some("zoho"));
    assert_eq!(provider["region"].as_str(), Some("eu"));
    for key in ["scopes", "imap", "token-url", "authorize-url"] {
        assert!(provider.get(key).is_none(), "{key}: the preset has it");
    }
}

#[test]
fn secrets_that_cannot_be_read_are_expected_in_files() {
    let sealed = import(&format!(
        "{SERVER}{ACCOUNT}client_secret_encrypted = gAAAA\n"
    ));
    let file =
        |import: &Import| table(import)["provider"]["example"]["client-secret"]["file"].clone();
    assert_eq!(file(&sealed).as_str(), Some("example.secret"));
    assert!(is_to_do(&sealed, "client_secret_encrypted"));
    let sample = import(&format!(
        "{SERVER}{ACCOUNT}client_secret = *** your client secret here ***\n"
    ));
    assert!(
        table(&sample)["provider"]["example"]
            .get("client-secret")
            .is_none()
    );
    assert!(is_to_do(&sample, "client_secret"));
}

#[test]
fn names_and_values_cannot_become_toml() {
    let evil = "evil\"]\\n[x]@example.com";
    let text = format!(
        "{SERVER}{}client_secret = \"quoted\\\"\n",
        ACCOUNT.replace("alice@example.com", evil)
    );
    let import = import(&text);
    let table = table(&import);
    assert_eq!(table["account"][0]["address"].as_str(), Some(evil));
    assert_eq!(
        table["provider"]["example"]["client-secret"].as_str(),
        Some("\"quoted\\\"")
    );
}

#[test]
fn values_of_several_lines_stay_on_one_even_in_comments() {
    let host = "imap.example.com\n  [[listener]]\n  \"x\\\u{7f}\t";
    let idle = SERVER.replace("imap.example.com", host);
    let commented = import(&idle).toml.to_string();
    let active: Vec<&str> = commented.lines().filter(|l| !l.starts_with('#')).collect();
    assert!(active.iter().all(|line| line.is_empty()), "{commented}");

    let used = import(&format!("{idle}{ACCOUNT}"));
    let kept = table(&used)["provider"]["example"]["imap"]["host"].clone();
    let host = "imap.example.com\n[[listener]]\n\"x\\\u{7f}";
    assert_eq!(kept.as_str(), Some(host), "{}", *used.toml);
}

#[test]
fn what_has_neither_servers_nor_accounts_is_no_configuration() {
    for text in ["", "hello", "[section]\nkey = 1\n"] {
        assert!(convert(text, "x").is_err(), "{text:?}");
    }
}

#[test]
fn control_characters_of_the_file_drive_no_terminal() {
    let account = ACCOUNT.replace("alice", "al\u{1b}[2Jice");
    let import = import(&format!("{SERVER}{account}"));
    let report: Vec<String> = import.notes.iter().map(Note::to_string).collect();
    assert!(report.iter().any(|note| note.contains("al\\u{1b}[2Jice")));
    assert!(!report.concat().contains(char::is_control), "{report:?}");
}
