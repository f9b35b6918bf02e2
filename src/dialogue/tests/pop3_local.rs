//! Our POP3 server, as mail programs and others speak to it.

use super::super::*;
use super::playbook::*;
use crate::failure::Cause;

const WRONG: &str = "-ERR [AUTH] Authentication failed. (MW-PASSWORD)\r\n";
const FIRST: &str =
    "-ERR Not logged in; is authentication switched on in the mail program? (MW-NOAUTH)\r\n";
const LIST: &str = "+OK Capabilities follow.\r\nTOP\r\nUIDL\r\nEXPIRE NEVER\r\n\
    USER\r\nSASL PLAIN LOGIN\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n";

fn client() -> Client {
    Client::greeted(Protocol::Pop3, &["TOP", "UIDL", "EXPIRE NEVER"])
}

#[test]
fn the_greeting_has_no_timestamp() {
    Client::new(Protocol::Pop3, None).hears("+OK mailwicket ready\r\n");
}

#[test]
fn the_list_is_the_providers_with_our_words_about_authentication() {
    let words = [
        "TOP",
        "USER",
        "SASL XOAUTH2",
        "AUTH LOGIN",
        "STLS",
        "UIDL ",
        "UTF8",
        "LANG",
        "EXPIRE NEVER",
        "RESP-CODES",
    ];
    let mut client = Client::new(Protocol::Pop3, Some(profile(Protocol::Pop3, &words)));
    client.forgets();
    client.asks("CAPA\r\n", LIST);
    client.asks("capa \r\n", LIST);
}

#[test]
fn a_capability_that_looks_like_a_reply_is_not_passed_on() {
    let words = ["+ e", "+OK", "-ERR", ".", "TOP", "UIDL", "EXPIRE NEVER"];
    let mut client = Client::new(Protocol::Pop3, Some(profile(Protocol::Pop3, &words)));
    client.forgets();
    client.asks("CAPA\r\n", LIST);
}

#[test]
fn every_name_is_welcome_and_every_refusal_the_same() {
    let mut client = client();
    for (name, password) in [("nobody", "x"), ("alice@example.com", "wrong")] {
        client.asks(format!("USER {name}\r\n"), "+OK\r\n");
        client.says(format!("PASS {password}\r\n"));
        client.presents(name, password);
        client.refused(Cause::Password);
        client.hears(WRONG);
    }
}

#[test]
fn a_password_is_the_rest_of_the_line_with_all_its_blanks() {
    for password in ["a  b ", " a", "a\tb", "\"q\"", "a b c", "{5}", " "] {
        let mut client = client();
        client.asks("user alice@example.com\r\n", "+OK\r\n");
        client.says(format!("pass {password}\r\n"));
        client.presents("alice@example.com", password);
    }
    let mut client = client();
    client.asks("USER alice\r\n", "+OK\r\n");
    client.says(b"PASS caf\xe9\n");
    client.presents("alice", b"caf\xe9");
}

#[test]
fn a_name_is_forgotten_with_its_wrong_password() {
    let mut client = client();
    client.asks("PASS wicket-1\r\n", "-ERR No username given.\r\n");
    client.asks("USER alice@example.com\r\n", "+OK\r\n");
    client.says("PASS bad\r\n");
    client.presents("alice@example.com", "bad");
    client.refused(Cause::Password);
    client.hears(WRONG);
    client.asks("PASS wicket-1\r\n", "-ERR No username given.\r\n");
}

#[test]
fn the_last_name_counts() {
    let mut client = client();
    client.asks("USER bob\r\nUSER  alice \r\n", "+OK\r\n+OK\r\n");
    client.says("PASS wicket-1\r\n");
    client.presents("alice", "wicket-1");
}

#[test]
fn capa_between_user_and_pass_changes_nothing() {
    let list = profile(Protocol::Pop3, &["TOP", "UIDL", "EXPIRE NEVER"]);
    let mut client = Client::new(Protocol::Pop3, None);
    client.forgets();
    client.asks("USER alice@example.com\r\n", "+OK\r\n");
    client.says("CAPA\r\n");
    client.wants_profile();
    client.is_told(Ok(&list));
    client.hears(LIST);
    client.asks("CAPA\r\n", LIST);
    client.says("PASS wicket-1\r\n");
    client.presents_alice();
}

#[test]
fn capa_without_a_provider_to_ask_ends_the_conversation() {
    let mut client = Client::new(Protocol::Pop3, None);
    client.forgets();
    client.says("CAPA\r\nQUIT\r\n");
    client.wants_profile();
    client.is_told(Err(Cause::Upstream));
    client.parts(
        "-ERR [SYS/TEMP] Mail server unreachable, try again later. (MW-UPSTREAM)\r\n",
        Ending::NoProfile,
    );
}

#[test]
fn auth_lists_cancels_and_logs_in() {
    let mut client = client();
    client.asks("AUTH\r\n", "+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n");
    client.asks("AUTH PLAIN\r\n", "+ \r\n");
    client.asks("*\r\n", "-ERR Authentication cancelled.\r\n");
    client.asks("APOP a b\r\n", "-ERR APOP is not supported.\r\n");
    client.asks(
        "AUTH XOAUTH2 abc\r\n",
        "-ERR Only PLAIN and LOGIN are supported.\r\n",
    );
    client.asks("auth login\r\n", "+ VXNlcm5hbWU6\r\n");
    client.asks("YWxpY2VAZXhhbXBsZS5jb20=\r\n", "+ UGFzc3dvcmQ6\r\n");
    client.says("d2lja2V0LTE=\r\n");
    client.presents_alice();
    client.refused(Cause::Refused);
    client.hears(
        "-ERR [SYS/PERM] Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n",
    );
    client.asks("AUTH PLAIN\r\n", "+ \r\n");
    client.says(format!("{PLAIN}\r\n"));
    client.presents_alice();
    client.refused(Cause::Consent);
    client.hears(
        "-ERR [SYS/TEMP] Sign-in needed; run: mailwicket authorize ACCOUNT (MW-CONSENT)\r\n",
    );
    client.says(format!("AUTH PLAIN {PLAIN}\r\n"));
    client.presents_alice();
    client.refused(Cause::Busy);
    client.hears(
        "-ERR [IN-USE] Mail server has too many sessions of this account, try again later. (MW-BUSY)\r\n",
    );
    client.says("AUTH PLAIN =\r\n");
    client.presents_nobody();
}

#[test]
fn a_session_in_one_packet_is_held_behind_its_password() {
    let mut client = client();
    client.says("USER alice@example.com\r\nPASS wicket-1\r\nSTAT\r\nQUIT\r\n");
    client.presents_alice();
    client.hears("+OK\r\n");
    let (reply, leftovers) = client.accepted(" Welcome.").unwrap();
    assert_eq!(reply, "+OK Welcome.\\r\\n");
    assert_eq!(leftovers, "STAT\\r\\nQUIT\\r\\n");
}

#[test]
fn what_follows_a_refused_login_is_answered_by_us() {
    let mut client = client();
    client.says("USER alice@example.com\r\nPASS nope\r\nSTAT\r\nQUIT\r\n");
    client.presents("alice@example.com", "nope");
    client.hears("+OK\r\n");
    client.refused(Cause::Password);
    client.parts(&format!("{WRONG}{FIRST}+OK Bye.\r\n"), Ending::Quit);
}

#[test]
fn a_login_behind_a_login_is_not_handed_over() {
    for second in [
        "USER bob\r\nPASS x\r\n",
        "STAT\r\npass x\r\n",
        "AUTH PLAIN x\r\n",
        "APOP a b\r\n",
    ] {
        let mut client = client();
        client.says("USER alice@example.com\r\nPASS wicket-1\r\n");
        client.presents_alice();
        client.hears("+OK\r\n");
        client.says(second);
        assert_eq!(client.accepted("").unwrap_err(), Ending::SecondLogin);
    }
}

#[test]
fn commands_that_need_a_login_are_refused_and_the_third_is_the_last() {
    let mut client = client();
    client.asks("NOOP\r\n", "+OK\r\n");
    client.asks("STAT\r\n", FIRST);
    client.asks("\r\n", FIRST);
    client.says("LIST\r\n");
    client.parts(
        &format!("{FIRST}-ERR Too many bad commands.\r\n"),
        Ending::BadCommands,
    );
}

#[test]
fn the_third_wrong_password_ends_the_conversation() {
    let mut client = client();
    for _ in 0..2 {
        client.says("USER alice\r\nPASS no\r\n");
        client.presents("alice", "no");
        client.refused(Cause::Password);
        client.hears(&format!("+OK\r\n{WRONG}"));
    }
    client.says("USER alice\r\nPASS no\r\n");
    client.presents("alice", "no");
    client.refused(Cause::Password);
    client.parts(&format!("+OK\r\n{WRONG}"), Ending::FailedLogins);
}

#[test]
fn a_promise_that_the_provider_broke_ends_the_conversation() {
    let mut client = client();
    client.says("USER alice@example.com\r\nPASS wicket-1\r\n");
    client.presents_alice();
    client.refused(Cause::Changed);
    client.parts(
        "+OK\r\n-ERR [SYS/TEMP] Mail server changed its features, connect again. (MW-CHANGED)\r\n",
        Ending::Refused,
    );
}

#[test]
fn nul_stray_cr_and_sloppy_base64_are_refused() {
    let mut client = client();
    client.asks("USER alice\r\n", "+OK\r\n");
    client.asks("PASS a\0b\r\n", "-ERR NUL or CR inside a line.\r\n");
    client.asks("PASS ab\r\n", "-ERR No username given.\r\n");
    client.asks("AUTH PLAIN\r\n", "+ \r\n");
    client.asks(format!("{PLAIN}=\r\n"), "-ERR Invalid base64.\r\n");
    client.says("NO\rOP\r\n");
    client.parts(
        "-ERR NUL or CR inside a line.\r\n-ERR Too many bad commands.\r\n",
        Ending::BadCommands,
    );
}

#[test]
fn a_line_beyond_the_limit_ends_the_conversation() {
    let mut client = client();
    client.asks("USER alice\r\n", "+OK\r\n");
    client.says(format!("PASS {}\r\n", "x".repeat(8188)));
    client.parts("-ERR Line too long.\r\n", Ending::TooLong);
    let mut client = self::client();
    client.asks("AUTH PLAIN\r\n", "+ \r\n");
    client.says("A".repeat(13_000));
    client.parts("-ERR Line too long.\r\n", Ending::TooLong);
}

#[test]
fn a_browser_or_tls_is_cut_off_wherever_a_command_may_come() {
    for before in ["", "USER alice\r\n", "NOOP\r\n"] {
        for (start, ending) in [
            ("GET / HTTP/1.1\r\n", Ending::Http),
            ("Host: 127.0.0.1:1110\r\n", Ending::Http),
            ("\x16\x03\x01", Ending::Tls),
        ] {
            let mut client = client();
            client.says(before);
            client.says(start);
            client.forgets();
            client.is_closed(ending);
        }
    }
}

#[test]
fn stls_is_refused_and_not_counted() {
    let mut client = client();
    for _ in 0..5 {
        client.asks(
            "STLS\r\n",
            "-ERR TLS is not available on this port; set the mail program to no encryption.\r\n",
        );
    }
}

#[test]
fn an_interruption_is_told() {
    for (interruption, words) in [
        (Interruption::Timeout, "-ERR [SYS/TEMP] Login timeout.\r\n"),
        (
            Interruption::Shutdown,
            "-ERR [SYS/TEMP] mailwicket is shutting down.\r\n",
        ),
        (
            Interruption::Limit,
            "-ERR [IN-USE] Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
    ] {
        let mut client = client();
        client.interrupted(interruption);
        client.parts(words, Ending::Interrupted(interruption));
    }
}
