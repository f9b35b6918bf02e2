//! Our IMAP server, as mail programs and others speak to it.

use super::super::*;
use super::playbook::*;
use crate::failure::Cause;

const NOT_AUTHENTICATED: &str =
    "NO [AUTHENTICATIONFAILED] Authentication failed. (MW-PASSWORD)\r\n";
const FIRST: &str =
    "BAD Log in first; is authentication switched on in the mail program? (MW-NOAUTH)\r\n";
const LIST: &str = "IMAP4rev1 IDLE SASL-IR AUTH=PLAIN AUTH=LOGIN";

fn client() -> Client {
    Client::greeted(Protocol::Imap, &["IMAP4rev1", "IDLE"])
}

#[test]
fn the_greeting_is_one_line_with_the_providers_rewritten_list() {
    let words = [
        "IMAP4rev1",
        "AUTH=XOAUTH2",
        "STARTTLS",
        "IDLE",
        "LOGINDISABLED",
        "SASL-IR",
    ];
    let mut client = Client::new(Protocol::Imap, Some(profile(Protocol::Imap, &words)));
    client.hears(&format!("* OK [CAPABILITY {LIST}] mailwicket ready\r\n"));
}

#[test]
fn the_greeting_has_no_list_while_none_is_known() {
    Client::new(Protocol::Imap, None).hears("* OK mailwicket ready\r\n");
}

#[test]
fn capability_repeats_the_greetings_list() {
    client().asks(
        "a CAPABILITY\r\n",
        &format!("* CAPABILITY {LIST}\r\na OK CAPABILITY completed.\r\n"),
    );
}

#[test]
fn capability_waits_for_the_providers_list_and_what_follows_waits_with_it() {
    let mut client = Client::new(Protocol::Imap, None);
    client.hears("* OK mailwicket ready\r\n");
    client.says("a CAPABILITY\r\nb NOOP\r\nc LOGIN alice@example.com wicket-1\r\n");
    client.wants_profile();
    client.hears("");
    client.is_told(Ok(&profile(Protocol::Imap, &["IMAP4rev1", "IDLE"])));
    client.presents_alice();
    client.hears(&format!(
        "* CAPABILITY {LIST}\r\na OK CAPABILITY completed.\r\nb OK NOOP completed.\r\n"
    ));
}

#[test]
fn capability_without_a_provider_to_ask_ends_the_conversation() {
    let mut client = Client::new(Protocol::Imap, None);
    client.hears("* OK mailwicket ready\r\n");
    client.says("a CAPABILITY\r\nb NOOP\r\n");
    client.wants_profile();
    client.is_told(Err(Cause::Upstream));
    client.parts(
        "* BYE [UNAVAILABLE] Mail server unreachable, try again later. (MW-UPSTREAM)\r\n",
        Ending::NoProfile,
    );
}

#[test]
fn plain_with_an_initial_response() {
    let mut client = client();
    client.says(format!("a1 AUTHENTICATE PLAIN {PLAIN}\r\n"));
    client.presents_alice();
    client.hears("");
    let (reply, leftovers) = client.accepted(" [CAPABILITY IMAP4rev1] Hello").unwrap();
    assert_eq!(reply, "a1 OK [CAPABILITY IMAP4rev1] Hello\\r\\n");
    assert_eq!(leftovers, "");
}

#[test]
fn plain_in_lower_case_after_an_empty_challenge() {
    let mut client = client();
    client.asks("a1 authenticate plain\r\n", "+ \r\n");
    client.says(format!("{PLAIN}\r\n"));
    client.presents_alice();
}

#[test]
fn a_success_without_text_gets_one() {
    for silence in ["", " "] {
        let mut client = client();
        client.says(format!("a1 AUTHENTICATE PLAIN {PLAIN}\r\n"));
        client.presents_alice();
        assert_eq!(
            client.accepted(silence).unwrap().0,
            "a1 OK Logged in.\\r\\n"
        );
    }
}

#[test]
fn an_authorization_identity_may_repeat_the_name_and_nothing_else() {
    let mut client = client();
    client.says(
        "a1 AUTHENTICATE PLAIN YWxpY2VAZXhhbXBsZS5jb20AYWxpY2VAZXhhbXBsZS5jb20Ad2lja2V0LTE=\r\n",
    );
    client.presents_alice();
    client.refused(Cause::Upstream);
    client.hears("a1 NO [UNAVAILABLE] Mail server unreachable, try again later. (MW-UPSTREAM)\r\n");
    client.says("a2 AUTHENTICATE PLAIN Ym9iAGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n");
    client.presents_nobody();
}

#[test]
fn login_mechanism_takes_the_name_as_initial_response() {
    let mut client = client();
    client.asks(
        "a1 AUTHENTICATE LOGIN YWxpY2VAZXhhbXBsZS5jb20=\r\n",
        "+ UGFzc3dvcmQ6\r\n",
    );
    client.says("d2lja2V0LTE=\r\n");
    client.presents_alice();
}

#[test]
fn login_mechanism_asks_for_name_and_password_in_the_words_that_devices_compare() {
    let mut client = client();
    client.asks("a1 AUTHENTICATE LOGIN\r\n", "+ VXNlcm5hbWU6\r\n");
    client.asks("YWxpY2VAZXhhbXBsZS5jb20=\r\n", "+ UGFzc3dvcmQ6\r\n");
    client.says("d2lja2V0LTE=\r\n");
    client.presents_alice();
}

#[test]
fn an_asterisk_cancels_and_the_next_login_works() {
    let mut client = client();
    client.asks("a1 AUTHENTICATE PLAIN\r\n", "+ \r\n");
    client.asks("*\r\n", "a1 BAD Authentication cancelled.\r\n");
    client.asks("a2 AUTHENTICATE LOGIN\r\n", "+ VXNlcm5hbWU6\r\n");
    client.asks("Ym9i\r\n", "+ UGFzc3dvcmQ6\r\n");
    client.asks("*\r\n", "a2 BAD Authentication cancelled.\r\n");
    client.says(format!("a3 AUTHENTICATE PLAIN {PLAIN}\r\n"));
    client.presents_alice();
}

#[test]
fn messages_that_hold_no_credentials_fail_like_a_wrong_password() {
    let messages = [
        "=",                                            // present and empty
        "AGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldAAtMQ==",     // three NULs
        "YWxpY2VAZXhhbXBsZS5jb20Ad2lja2V0LTE=",         // one NUL
        "AGFsaWNlQGV4YW1wbGUuY29tDQpOT09QAHdpY2tldC0x", // CRLF in the name
        "AGFsaWNlAA==",                                 // no password
        "AAB3aWNrZXQtMQ==",                             // no name
        "AP/+AHdpY2tldC0x",                             // a name that is not UTF-8
        "AAA=",
    ];
    for message in messages {
        let mut client = client();
        client.says(format!("a1 AUTHENTICATE PLAIN {message}\r\n"));
        client.presents_nobody();
        client.refused(Cause::Password);
        client.hears(&format!("a1 {NOT_AUTHENTICATED}"));
    }
}

#[test]
fn an_overlong_name_or_password_is_nobodys() {
    let long = "x".repeat(1025);
    let longest = "x".repeat(1024);
    let mut client = client();
    client.says(format!("a LOGIN {longest} {longest}\r\n"));
    client.presents(&longest, &longest);
    client.refused(Cause::Password);
    client.hears(&format!("a {NOT_AUTHENTICATED}"));
    client.says(format!("b LOGIN alice {long}\r\n"));
    client.presents_nobody();
    client.refused(Cause::Password);
    client.hears(&format!("b {NOT_AUTHENTICATED}"));
    client.says(format!("c LOGIN {long} secret\r\n"));
    client.presents_nobody();
}

#[test]
fn base64_must_be_canonical() {
    let inner_space = format!("{} {}", &PLAIN[..8], &PLAIN[8..]);
    let url_alphabet = "AGFsaWNlAP_-_w==";
    let trailing_bits = "AGEAYh==";
    for sloppy in [
        &inner_space,
        &format!("{PLAIN}===="),
        url_alphabet,
        trailing_bits,
        "AGEAYg",
    ] {
        let mut client = client();
        client.asks("a1 AUTHENTICATE PLAIN\r\n", "+ \r\n");
        client.asks(format!("{sloppy}\r\n"), "a1 BAD Invalid base64.\r\n");
        client.asks("a2 NOOP\r\n", "a2 OK NOOP completed.\r\n");
        client.asks("a3 AUTHENTICATE PLAIN !\r\n", "a3 BAD Invalid base64.\r\n");
        client.says("a4 AUTHENTICATE PLAIN !\r\n");
        client.parts(
            "a4 BAD Invalid base64.\r\n* BYE Too many bad commands.\r\n",
            Ending::BadCommands,
        );
    }
}

#[test]
fn blanks_behind_a_response_are_no_part_of_it() {
    let mut client = client();
    client.asks("a1 AUTHENTICATE PLAIN  \r\n", "+ \r\n");
    client.says(format!("{PLAIN}  \r\n"));
    client.presents_alice();
}

#[test]
fn a_response_may_be_longer_than_a_command() {
    let mut client = client();
    client.asks("a AUTHENTICATE PLAIN\r\n", "+ \r\n");
    client.says(format!("{}\r\n", "AAAA".repeat(12_288 / 4)));
    client.presents_nobody();
    client.refused(Cause::Password);
    client.hears(&format!("a {NOT_AUTHENTICATED}"));
    client.asks("b AUTHENTICATE PLAIN\r\n", "+ \r\n");
    client.says("A".repeat(12_290));
    client.parts(
        "* BYE [TOOBIG] Line or literal too long.\r\n",
        Ending::TooLong,
    );
}

#[test]
fn a_nul_spoils_a_command() {
    let mut client = client();
    client.asks(
        "a1 LOGIN \"alice@example.com\" \"wicket\0-1\"\r\n",
        "a1 BAD NUL or CR inside a line.\r\n",
    );
    client.asks("a2 NO\rOP\r\n", "a2 BAD NUL or CR inside a line.\r\n");
}

#[test]
fn quoted_strings_escape_quotes_and_backslashes_only() {
    let mut client = client();
    client.says("a1 LOGIN alice@example.com \"a\\\"b\\\\c\"\r\n");
    client.presents("alice@example.com", "a\"b\\c");
    client.refused(Cause::Token);
    client
        .hears("a1 NO [UNAVAILABLE] Sign-in service unreachable, try again later. (MW-TOKEN)\r\n");
    client.asks(
        "a2 LOGIN alice@example.com \"a\\\"b\\xc\"\r\n",
        "a2 BAD Invalid arguments.\r\n",
    );
}

#[test]
fn one_password_is_the_same_in_every_form() {
    let forms = [
        "a LOGIN alice@example.com \"a\\\\b\\\"c d\"\r\n",
        "a LOGIN alice@example.com {7+}\r\na\\b\"c d\r\n",
        "a LOGIN \"alice@example.com\" {7+}\r\na\\b\"c d\r\n",
        "a LOGIN {17+}\r\nalice@example.com a\\b\"c d\r\n",
        "a LOGIN alice@example.com a\\b\"c d\r\n",
        "a LOGIN alice@example.com a\\b\"c d\n",
        "a AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUuY29tAGFcYiJjIGQ=\r\n",
    ];
    for form in forms {
        let mut client = client();
        client.says(form);
        client.presents("alice@example.com", "a\\b\"c d");
    }
}

#[test]
fn a_password_may_have_octets_above_ascii() {
    let mut client = client();
    client.says(b"a LOGIN alice \"caf\xe9\"\r\n");
    client.presents("alice", b"caf\xe9");
    client.refused(Cause::Password);
    client.hears(&format!("a {NOT_AUTHENTICATED}"));
    client.says("b LOGIN \"zo\u{eb}\" geheim\r\n");
    client.presents("zo\u{eb}", "geheim");
    client.refused(Cause::Password);
    client.hears(&format!("b {NOT_AUTHENTICATED}"));
    client.says(b"c LOGIN \"zo\xeb\" geheim\r\n");
    client.presents_nobody();
}

#[test]
fn literals_in_one_packet_need_no_invitation() {
    let mut client = client();
    client.says("a1 LOGIN {17+}\r\nalice@example.com {8+}\r\nwicket-1\r\n");
    client.presents_alice();
    client.hears("");
}

#[test]
fn synchronising_literals_are_invited_one_by_one() {
    let mut client = client();
    client.asks("a1 LOGIN {17}\r\n", "+ OK\r\n");
    client.asks("alice@exam", "");
    client.asks("ple.com {8}\r\n", "+ OK\r\n");
    client.asks("wicket-1", "");
    client.says("\r\n");
    client.presents_alice();
    client.hears("");
}

#[test]
fn a_client_that_does_not_wait_for_the_invitation_is_understood() {
    let mut client = client();
    client.says("a1 LOGIN {17}\r\nalice@example.com {8}\r\nwicket-1\r\na2 SELECT INBOX\r\n");
    client.presents_alice();
    let (reply, leftovers) = client.accepted(" Welcome").unwrap();
    assert_eq!(reply, "a1 OK Welcome\\r\\n");
    assert_eq!(leftovers, "a2 SELECT INBOX\\r\\n");
}

#[test]
fn octets_of_a_literal_are_counted_and_then_judged() {
    let mut client = client();
    client.asks("a1 LOGIN {17}\r\n", "+ OK\r\n");
    client.says("alice\r\nexampl.com wicket-1\r\na2 NOOP\r\n");
    client.presents_nobody();
    client.refused(Cause::Password);
    client.hears(&format!("a1 {NOT_AUTHENTICATED}a2 OK NOOP completed.\r\n"));
}

#[test]
fn nothing_inside_a_literal_is_a_command() {
    let mut client = client();
    client.says("a LOGIN alice {23+}\r\nx\r\nb LOGOUT\r\nGET / HTTP\r\nc NOOP\r\n");
    client.presents_nobody();
    client.refused(Cause::Password);
    client.hears(&format!("a {NOT_AUTHENTICATED}c OK NOOP completed.\r\n"));
}

#[test]
fn an_empty_literal_is_no_password() {
    let mut client = client();
    client.asks("a LOGIN alice {0}\r\n", "+ OK\r\n");
    client.says("\r\n");
    client.presents_nobody();
}

#[test]
fn a_literal_that_is_coming_and_too_large_ends_the_conversation() {
    let mut client = client();
    client.says("a1 LOGIN {1025+}\r\nalice");
    client.parts(
        "* BYE [TOOBIG] Line or literal too long.\r\n",
        Ending::TooLong,
    );
}

#[test]
fn a_literal_that_is_announced_and_too_large_is_refused() {
    for size in ["1025", "99999999999999999999", "4294967297"] {
        let mut client = client();
        client.asks(
            format!("a1 LOGIN {{{size}}}\r\n"),
            "a1 BAD [TOOBIG] Literal too large.\r\n",
        );
        client.asks("a2 NOOP\r\n", "a2 OK NOOP completed.\r\n");
    }
}

#[test]
fn what_is_no_literal_is_no_argument_either() {
    for strange in [
        "{-1}",
        "{5}x",
        "{}",
        "{+}",
        "{1++}",
        "alice {5}x",
        "alice {5+}x",
    ] {
        client().asks(
            format!("a1 LOGIN {strange}\r\n"),
            "a1 BAD Invalid arguments.\r\n",
        );
    }
}

#[test]
fn a_third_literal_is_one_too_many() {
    client().asks(
        "a LOGIN {1+}\r\nx {1+}\r\ny {1}\r\n",
        "a BAD [TOOBIG] Literal too large.\r\n",
    );
    let mut client = client();
    client.says("a LOGIN {1+}\r\nx {1+}\r\ny {1+}\r\nz\r\n");
    client.parts(
        "* BYE [TOOBIG] Line or literal too long.\r\n",
        Ending::TooLong,
    );
}

#[test]
fn no_command_but_login_and_id_takes_literals() {
    let mut client = client();
    client.asks("a NOOP {5}\r\n", "a BAD No literal is expected here.\r\n");
    client.asks(
        "b AUTHENTICATE PLAIN {8+}\r\nc LOGOUT\r\n",
        "b BAD Invalid arguments.\r\n",
    );
}

#[test]
fn the_octets_of_a_literal_in_a_broken_command_are_no_commands() {
    let mut client = client();
    client.says("a LOGIN \0 {10+}\r\nb LOGOUT\r\n");
    client.parts(
        "* BYE [TOOBIG] Line or literal too long.\r\n",
        Ending::TooLong,
    );
}

#[test]
fn a_line_without_an_end_is_cut_off_early() {
    let mut client = client();
    client.says("x".repeat(9000));
    client.parts(
        "* BYE [TOOBIG] Line or literal too long.\r\n",
        Ending::TooLong,
    );
}

#[test]
fn the_longest_line_is_heard_and_a_longer_one_not() {
    let line = |octets: usize| format!("a NOOP{}", " ".repeat(octets - 6));
    for end in ["\r\n", "\n"] {
        client().asks(line(8192) + end, "a OK NOOP completed.\r\n");
        let mut client = client();
        client.says(line(8193) + end);
        client.parts(
            "* BYE [TOOBIG] Line or literal too long.\r\n",
            Ending::TooLong,
        );
    }
}

#[test]
fn id_is_answered_with_our_name_and_kept_to_the_rfcs_size() {
    let pair = |count: usize| vec!["\"a\" \"b\""; count].join(" ");
    let ok = "* ID (\"name\" \"mailwicket\")\r\na OK ID completed.\r\n";
    let mut client = client();
    client.asks("a ID NIL\r\n", ok);
    client.asks("a ID ()\r\n", ok);
    client.asks("a ID (\"name\" \"OfflineIMAP\" \"version\" NIL)\r\n", ok);
    client.asks(format!("a ID ({})\r\n", pair(30)), ok);
    client.asks("a ID ({4+}\r\nname {3+}\r\nfoo)\r\n", ok);
    client.asks("a ID (\"name\" \"foo\" \"os\" {7}\r\n", "+ OK\r\n");
    client.asks("Windows)\r\n", ok);
    client.asks(
        format!("a ID ({})\r\n", pair(31)),
        "a BAD Invalid arguments.\r\n",
    );
    client.asks("a ID (\r\n", "a BAD Invalid arguments.\r\n");
    client.says("a ID ((((\r\n");
    client.parts(
        "a BAD Invalid arguments.\r\n* BYE Too many bad commands.\r\n",
        Ending::BadCommands,
    );
}

#[test]
fn commands_that_need_a_login_are_refused_and_the_third_is_the_last() {
    let mut client = client();
    client.asks("a FOO\r\n", &format!("a {FIRST}"));
    client.asks("b SELECT INBOX\r\n", &format!("b {FIRST}"));
    client.says("c IDLE\r\n");
    client.parts(
        &format!("c {FIRST}* BYE Too many bad commands.\r\n"),
        Ending::BadCommands,
    );
}

#[test]
fn a_bad_tag_is_never_repeated() {
    let long = format!("{} NOOP", "t".repeat(65));
    for line in [
        "",
        "+ NOOP",
        "* NOOP",
        &long,
        "a\"b NOOP",
        "a\u{7f} NOOP",
        "NOOP",
        "a(b NOOP",
    ] {
        client().asks(
            format!("{line}\r\n"),
            "* BAD Invalid tag or missing command.\r\n",
        );
    }
    client().asks(
        format!("{} NOOP\r\n", "t".repeat(64)),
        &format!("{} OK NOOP completed.\r\n", "t".repeat(64)),
    );
    client().asks(
        "A0.]-_/:;<=>?@1! NOOP\r\n",
        "A0.]-_/:;<=>?@1! OK NOOP completed.\r\n",
    );
}

#[test]
fn logout_is_answered_in_two_lines() {
    let mut client = client();
    client.asks("a NOOP\r\n", "a OK NOOP completed.\r\n");
    client.says("b LOGOUT\r\nc NOOP\r\n");
    client.parts(
        "* BYE Logging out.\r\nb OK LOGOUT completed.\r\n",
        Ending::Quit,
    );
}

#[test]
fn enable_and_unknown_mechanisms_are_not_counted() {
    let mut client = client();
    for _ in 0..5 {
        client.asks("a ENABLE UTF8=ACCEPT\r\n", "a BAD Log in first.\r\n");
        client.asks(
            "a AUTHENTICATE XOAUTH2 abc\r\n",
            "a NO Only PLAIN and LOGIN are supported.\r\n",
        );
    }
    client.asks(
        "a STARTTLS\r\n",
        "a BAD TLS is not available on this port.\r\n",
    );
}

#[test]
fn the_third_wrong_password_ends_the_conversation() {
    let mut client = client();
    for tag in ["a", "b"] {
        client.says(format!("{tag} LOGIN alice@example.com nope\r\n"));
        client.presents("alice@example.com", "nope");
        client.refused(Cause::Password);
        client.hears(&format!("{tag} {NOT_AUTHENTICATED}"));
    }
    client.says("c LOGIN alice@example.com nope\r\n");
    client.presents("alice@example.com", "nope");
    client.refused(Cause::Password);
    client.parts(
        &format!("c {NOT_AUTHENTICATED}* BYE Too many failed logins.\r\n"),
        Ending::FailedLogins,
    );
}

#[test]
fn failures_that_are_not_the_mail_programs_are_told_apart() {
    let answers = [
        (
            Cause::Consent,
            "* NO [ALERT] mailwicket: Sign-in needed; run: mailwicket authorize ACCOUNT (MW-CONSENT)\r\n\
             a NO [UNAVAILABLE] Sign-in needed; run: mailwicket authorize ACCOUNT (MW-CONSENT)\r\n",
        ),
        (
            Cause::Refused,
            "* NO [ALERT] mailwicket: Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n\
             a NO [CONTACTADMIN] Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n",
        ),
        (
            Cause::Config,
            "* NO [ALERT] mailwicket: Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n\
             a NO [CONTACTADMIN] Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n",
        ),
        (
            Cause::Busy,
            "a NO [LIMIT] Mail server has too many sessions of this account, try again later. (MW-BUSY)\r\n",
        ),
        (
            Cause::Limit,
            "a NO [LIMIT] Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
    ];
    let mut client = client();
    for (cause, answer) in answers {
        client.says("a LOGIN alice@example.com wicket-1\r\n");
        client.presents_alice();
        client.refused(cause);
        client.hears(answer);
    }
    client.says("a LOGIN alice@example.com wicket-1\r\n");
    client.presents_alice();
    client.refused(Cause::Changed);
    client.parts(
        "a NO [UNAVAILABLE] Mail server changed its features, connect again. (MW-CHANGED)\r\n* BYE Connect again.\r\n",
        Ending::Refused,
    );
}

#[test]
fn what_follows_a_login_waits_and_is_handed_over() {
    let mut client = client();
    client.says("a1 LOGIN alice@example.com wicket-1\r\na2 SELECT INBOX\r\n");
    client.presents_alice();
    client.says("a3 IDLE\r\n\0\x16raw");
    client.hears("");
    let (_, leftovers) = client.accepted(" ok").unwrap();
    assert_eq!(leftovers, "a2 SELECT INBOX\\r\\na3 IDLE\\r\\n\\x00\\x16raw");
}

#[test]
fn what_follows_a_refused_login_is_answered_by_us() {
    let mut client = client();
    client.says("a1 LOGIN alice@example.com nope\r\na2 SELECT INBOX\r\na3 LOGOUT\r\n");
    client.presents("alice@example.com", "nope");
    client.refused(Cause::Password);
    client.parts(
        &format!(
            "a1 {NOT_AUTHENTICATED}a2 {FIRST}* BYE Logging out.\r\na3 OK LOGOUT completed.\r\n"
        ),
        Ending::Quit,
    );
}

#[test]
fn a_login_behind_a_login_is_not_handed_over() {
    for second in [
        "a2 LOGIN alice@example.com wicket-1\r\n",
        "a2 login {17+}\r\nalice@example.com wicket-1\r\n",
        "a2 NOOP\r\na3 AUTHENTICATE PLAIN\r\n",
        "a2 AUTHENTICATE PLAIN",
    ] {
        let mut client = client();
        client.says("a1 LOGIN alice@example.com wicket-1\r\n");
        client.presents_alice();
        client.says(second);
        assert_eq!(
            client.accepted(" ok").unwrap_err(),
            Ending::SecondLogin,
            "{second}"
        );
    }
}

#[test]
fn what_only_looks_like_a_login_is_handed_over() {
    for harmless in [
        "a2 SELECT LOGIN\r\n",
        "LOGIN NOOP\r\n",
        "a2 APPEND INBOX {15+}\r\nx LOGIN alice y\r\n",
        "a2 COMPRESS DEFLATE\r\na LOGIN\r\n",
    ] {
        let mut client = client();
        client.says("a1 LOGIN alice@example.com wicket-1\r\n");
        client.presents_alice();
        client.says(harmless);
        let (_, leftovers) = client.accepted(" ok").unwrap();
        assert_eq!(leftovers, harmless.escape_default().to_string());
    }
}

#[test]
fn a_browser_or_tls_is_cut_off_at_its_first_octets() {
    let starts: [(&[u8], Ending); 5] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Ending::Http),
        (b"post / HTTP/1.1\r\n", Ending::Http),
        (b"Content-Type: text/plain\r\n", Ending::Http),
        (b"\x16\x03\x01\x02\x00\x01", Ending::Tls),
        (b"a NOOP\r\nUser-Agent: x\r\n", Ending::Http),
    ];
    for (start, ending) in starts {
        let mut client = client();
        client.says(start);
        client.forgets();
        client.is_closed(ending);
    }
}

#[test]
fn an_interruption_is_told_in_any_state() {
    let mut client = client();
    client.says("a LOGIN alice@example.com wicket-1\r\n");
    client.presents_alice();
    client.interrupted(Interruption::Shutdown);
    client.parts(
        "* BYE mailwicket is shutting down.\r\n",
        Ending::Interrupted(Interruption::Shutdown),
    );
    let mut client = self::client();
    client.interrupted(Interruption::Timeout);
    client.parts(
        "* BYE Login timeout.\r\n",
        Ending::Interrupted(Interruption::Timeout),
    );
    let mut client = self::client();
    client.says("a LOGIN {5}\r\n");
    client.hears("+ OK\r\n");
    client.interrupted(Interruption::Limit);
    client.parts(
        "* BYE Too many connections, try again later. (MW-LIMIT)\r\n",
        Ending::Interrupted(Interruption::Limit),
    );
}

#[test]
fn what_programs_of_debian_send_is_understood() {
    let logins = [
        "A001 CAPABILITY\r\nA002 AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n", // curl
        "1 LOGIN \"alice@example.com\" \"wicket-1\"\r\n", // mbsync
        "XXXX0 CAPABILITY\r\nXXXX1 LOGIN alice@example.com \"wicket-1\"\r\n", // getmail6
        "X1 CAPABILITY\r\nX2 ID (\"name\" \"OfflineIMAP\" \"version\" \"8.0.0\")\r\nX3 AUTHENTICATE PLAIN\r\nAGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n",
        "01 CAPABILITY\r\n02 LOGIN alice@example.com wicket-1\r\n", // mailutils
        "00000000 AUTHENTICATE PLAIN\r\nAGFsaWNlQGV4YW1wbGUuY29tAHdpY2tldC0x\r\n", // c-client
        "A0001 STARTTLS\r\nA0002 LOGIN \"alice@example.com\" \"wicket-1\"\r\n", // fetchmail
    ];
    for login in logins {
        let mut client = client();
        client.says(login);
        client.presents_alice();
    }
}
