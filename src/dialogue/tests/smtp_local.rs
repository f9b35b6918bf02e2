//! Our SMTP server, as mail programs and others speak to it.

use super::super::*;
use super::playbook::*;
use crate::failure::Cause;

const WRONG: &str = "535 5.7.8 Authentication failed. (MW-PASSWORD)\r\n";
const FIRST: &str =
    "530 5.7.0 Authentication required; switch it on in the mail program (MW-NOAUTH)\r\n";
const LIST: &str = "250-localhost\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n";
const TOO_LONG: &str = "500 5.5.6 Line too long.\r\n";

fn client() -> Client {
    Client::greeted(Protocol::Smtp, &["SIZE 1000", "8BITMIME"])
}

/// A client that has said EHLO.
fn introduced() -> Client {
    let mut client = client();
    client.asks("EHLO vm\r\n", LIST);
    client
}

#[test]
fn the_greeting_comes_at_once() {
    Client::new(Protocol::Smtp, None).hears("220 localhost ESMTP mailwicket\r\n");
}

#[test]
fn ehlo_shows_the_providers_list_with_one_line_about_authentication() {
    let words = [
        "AUTH LOGIN PLAIN XOAUTH2",
        "AUTH=LOGIN PLAIN",
        "STARTTLS",
        "XCLIENT NAME",
        "XFORWARD NAME",
        "SIZE 1000",
        "8BITMIME ",
    ];
    let mut client = Client::new(Protocol::Smtp, Some(profile(Protocol::Smtp, &words)));
    client.forgets();
    client.asks("ehlo vm\r\n", LIST);
    assert_eq!(client.name(), Some("vm"));
}

#[test]
fn ehlo_waits_for_the_providers_list_and_what_follows_waits_with_it() {
    let list = profile(Protocol::Smtp, &["SIZE 1000", "8BITMIME"]);
    let mut client = Client::new(Protocol::Smtp, None);
    client.forgets();
    client.says("EHLO vm\r\nNOOP\r\nEHLO other\r\n");
    client.wants_profile();
    client.is_told(Ok(&list));
    client.hears(&format!("{LIST}250 2.0.0 Ok\r\n{LIST}"));
    assert_eq!(client.name(), Some("other"));
}

#[test]
fn ehlo_without_a_provider_to_ask_ends_the_conversation() {
    let mut client = Client::new(Protocol::Smtp, None);
    client.forgets();
    client.says("EHLO vm\r\nQUIT\r\n");
    client.wants_profile();
    client.is_told(Err(Cause::Upstream));
    client.parts(
        "421 4.3.0 Mail server unreachable, try again later. (MW-UPSTREAM)\r\n",
        Ending::NoProfile,
    );
}

#[test]
fn a_name_is_repeated_only_where_it_is_sound() {
    let longest = "x".repeat(255);
    let names = [
        ("[127.0.0.1]", Some("[127.0.0.1]")),
        ("m.eml", Some("m.eml")),
        ("[IPv6:::ffff:10.0.0.1] ", Some("[IPv6:::ffff:10.0.0.1]")),
        ("under_score.", Some("under_score.")),
        (longest.as_str(), Some(longest.as_str())),
        ("two names", None),
        ("", None),
        ("tab\x0b", None),
        ("caf\u{e9}", None),
    ];
    for (name, repeated) in names {
        let mut client = client();
        client.asks(format!("EHLO {name}\r\n"), LIST);
        assert_eq!(client.name(), repeated);
    }
    let mut client = client();
    client.asks(format!("EHLO {longest}x\r\n"), LIST);
    assert_eq!(client.name(), None);
    client.asks("EHLO\r\n", LIST);
    assert_eq!(client.name(), None);
}

#[test]
fn plain_with_and_without_an_initial_response() {
    let mut client = introduced();
    client.says(format!("AUTH PLAIN {PLAIN}\r\n"));
    client.presents_alice();
    client.refused(Cause::Upstream);
    client.hears("454 4.7.0 Mail server unreachable, try again later. (MW-UPSTREAM)\r\n");
    client.asks("AUTH plain\r\n", "334 \r\n");
    client.says(format!("{PLAIN}\r\n"));
    client.presents_alice();
    let (reply, leftovers) = client
        .accepted("235-2.7.0 Hello\r\n235 2.7.0 Accepted\r\n")
        .unwrap();
    assert_eq!(reply, "235-2.7.0 Hello\\r\\n235 2.7.0 Accepted\\r\\n");
    assert_eq!(leftovers, "");
}

#[test]
fn login_with_and_without_an_initial_response() {
    let mut client = introduced();
    client.asks("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n");
    client.asks("YWxpY2VAZXhhbXBsZS5jb20=\r\n", "334 UGFzc3dvcmQ6\r\n");
    client.says("d2lja2V0LTE=\r\n");
    client.presents_alice();
    client.refused(Cause::Token);
    client.hears("454 4.7.0 Sign-in service unreachable, try again later. (MW-TOKEN)\r\n");
    client.asks(
        "auth login YWxpY2VAZXhhbXBsZS5jb20=\r\n",
        "334 UGFzc3dvcmQ6\r\n",
    );
    client.says("d2lja2V0LTE=\r\n");
    client.presents_alice();
}

#[test]
fn an_asterisk_cancels_and_nothing_of_the_attempt_remains() {
    let mut client = introduced();
    client.asks(
        "AUTH PLAIN\r\n*\r\n",
        "334 \r\n501 5.7.0 Authentication cancelled.\r\n",
    );
    client.asks("AUTH LOGIN Ym9i\r\n", "334 UGFzc3dvcmQ6\r\n");
    client.asks("*\r\n", "501 5.7.0 Authentication cancelled.\r\n");
    client.asks("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n");
    client.asks("YWxpY2VAZXhhbXBsZS5jb20=\r\n", "334 UGFzc3dvcmQ6\r\n");
    client.says("d2lja2V0LTE=\r\n");
    client.presents_alice();
}

#[test]
fn an_empty_password_fails_at_once() {
    let mut client = introduced();
    client.asks("AUTH LOGIN Ym9i\r\n", "334 UGFzc3dvcmQ6\r\n");
    client.says("\r\n");
    client.presents_nobody();
    client.refused(Cause::Password);
    client.hears(WRONG);
}

#[test]
fn bad_arguments_of_auth_are_told_apart() {
    let mut client = introduced();
    client.asks("AUTH PLAIN !!!!\r\n", "501 5.5.2 Invalid base64.\r\n");
    client.asks("AUTH PLAIN =AAA\r\n", "501 5.5.2 Invalid base64.\r\n");
    client.asks(
        "AUTH FOO\r\n",
        "504 5.5.4 Only PLAIN and LOGIN are supported.\r\n",
    );
    client.asks(
        "AUTH\r\n",
        "501 5.5.4 AUTH takes a mechanism and at most one response.\r\n",
    );
    client.asks(
        "AUTH PLAIN a b\r\n",
        "501 5.5.4 AUTH takes a mechanism and at most one response.\r\n",
    );
    client.asks("AUTH PLAIN \r\n", "334 \r\n");
    client.asks(
        format!("{} {}\r\n", &PLAIN[..8], &PLAIN[8..]),
        "501 5.5.2 Invalid base64.\r\n",
    );
    client.says(format!("AUTH PLAIN {PLAIN}  \r\n"));
    client.presents_alice();
}

#[test]
fn an_overlong_response_ends_the_conversation() {
    let mut client = introduced();
    client.asks("AUTH PLAIN\r\n", "334 \r\n");
    client.says("A".repeat(12_288));
    client.hears("");
    client.says("A".repeat(3));
    client.parts(TOO_LONG, Ending::TooLong);
    let mut client = introduced();
    client.says("x".repeat(8194));
    client.parts(TOO_LONG, Ending::TooLong);
}

#[test]
fn auth_needs_a_greeting_and_helo_is_one() {
    let mut client = client();
    client.asks(
        format!("AUTH PLAIN {PLAIN}\r\n"),
        "503 5.5.1 Send EHLO or HELO first.\r\n",
    );
    client.asks("AUTH\r\n", "503 5.5.1 Send EHLO or HELO first.\r\n");
    client.asks("HELO x\r\n", "250 localhost\r\n");
    client.asks("EHLO y\r\n", LIST);
    client.asks("HELO \r\n", "250 localhost\r\n");
    assert_eq!(client.name(), None);
    client.says(format!("AUTH PLAIN {PLAIN}\r\n"));
    client.presents_alice();
}

#[test]
fn helo_needs_no_list() {
    let mut client = Client::new(Protocol::Smtp, None);
    client.forgets();
    client.asks("HELO x\r\n", "250 localhost\r\n");
    client.says(format!("AUTH PLAIN {PLAIN}\r\n"));
    client.presents_alice();
}

#[test]
fn mail_needs_a_login() {
    let mut client = introduced();
    for command in [
        "MAIL FROM:<a@b>",
        "RCPT TO:<a@b>",
        "DATA",
        "VRFY x",
        "EXPN x",
        "ETRN x",
        "HELP",
    ] {
        client.asks(format!("{command}\r\n"), FIRST);
    }
    client.asks("RSET\r\nNOOP x\r\n", "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
    client.asks(
        "STARTTLS\r\n",
        "502 5.5.1 TLS is not available on this port.\r\n",
    );
    client.asks(
        "XCLIENT ADDR=1.2.3.4\r\n",
        "550 5.7.0 Not accepted here.\r\n",
    );
    client.says("\r\n");
    client.parts(
        "500 5.5.2 Command not recognised.\r\n421 4.7.0 Too many bad commands.\r\n",
        Ending::BadCommands,
    );
}

#[test]
fn chunks_are_never_read_as_commands() {
    let mut client = introduced();
    client.says(format!("BDAT 30 LAST\r\nAUTH PLAIN {PLAIN}\r\n"));
    client.parts(FIRST, Ending::DataBeforeLogin);
}

#[test]
fn mail_behind_a_login_waits_and_is_handed_over() {
    let mut client = client();
    client.says(format!(
        "EHLO vm\r\nAUTH PLAIN {PLAIN}\r\nMAIL FROM:<alice@example.com>\r\nDATA\r\n.\r\nAUTH PLAIN x\r\n"
    ));
    client.presents_alice();
    client.hears(LIST);
    let (_, leftovers) = client.accepted("235 ok\r\n").unwrap();
    assert_eq!(
        leftovers,
        "MAIL FROM:<alice@example.com>\\r\\nDATA\\r\\n.\\r\\nAUTH PLAIN x\\r\\n"
    );
}

#[test]
fn a_login_behind_a_login_is_not_handed_over() {
    for second in [
        "AUTH PLAIN",
        "MAIL FROM:<a@b>\r\nauth login\r\n",
        "\r\n AUTH PLAIN x\r\n",
    ] {
        let mut client = introduced();
        client.says(format!("AUTH PLAIN {PLAIN}\r\n{second}"));
        client.presents_alice();
        assert_eq!(
            client.accepted("235 ok\r\n").unwrap_err(),
            Ending::SecondLogin
        );
    }
}

#[test]
fn what_follows_a_refused_login_is_answered_by_us() {
    let mut client = introduced();
    client.says("AUTH PLAIN AGFsaWNlAG5vcGU=\r\nMAIL FROM:<x@y>\r\nQUIT\r\n");
    client.presents("alice", "nope");
    client.refused(Cause::Password);
    client.parts(&format!("{WRONG}{FIRST}221 2.0.0 Bye\r\n"), Ending::Quit);
}

#[test]
fn the_third_wrong_password_ends_the_conversation() {
    let mut client = introduced();
    for _ in 0..2 {
        client.says("AUTH PLAIN AGFsaWNlAG5vcGU=\r\n");
        client.presents("alice", "nope");
        client.refused(Cause::Password);
        client.hears(WRONG);
    }
    client.says("AUTH PLAIN AGFsaWNlAG5vcGU=\r\nMAIL FROM:<x@y>\r\n");
    client.presents("alice", "nope");
    client.refused(Cause::Password);
    client.parts(
        &format!("{WRONG}421 4.7.0 Too many failed logins, closing.\r\n"),
        Ending::FailedLogins,
    );
}

#[test]
fn what_is_not_the_mail_programs_fault_is_temporary() {
    let mut client = introduced();
    for (cause, answer) in [
        (
            Cause::Consent,
            "454 4.7.0 Sign-in needed; run: mailwicket authorize ACCOUNT (MW-CONSENT)\r\n",
        ),
        (
            Cause::Config,
            "454 4.7.0 Configuration must be mended; run: mailwicket doctor ACCOUNT (MW-CONFIG)\r\n",
        ),
        (
            Cause::Refused,
            "454 4.7.0 Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n",
        ),
        (
            Cause::Busy,
            "454 4.7.0 Mail server has too many sessions of this account, try again later. (MW-BUSY)\r\n",
        ),
    ] {
        client.says(format!("AUTH PLAIN {PLAIN}\r\n"));
        client.presents_alice();
        client.refused(cause);
        client.hears(answer);
    }
    for (cause, answer) in [
        (
            Cause::Changed,
            "421 4.3.0 Mail server changed its features, connect again. (MW-CHANGED)\r\n",
        ),
        (
            Cause::Limit,
            "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
    ] {
        let mut client = introduced();
        client.says(format!("AUTH PLAIN {PLAIN}\r\n"));
        client.presents_alice();
        client.refused(cause);
        client.parts(answer, Ending::Refused);
    }
}

#[test]
fn a_browser_or_tls_is_cut_off_before_its_body_is_read() {
    for before in ["", "EHLO x\r\n", "NOOP\r\n"] {
        for (start, ending) in [
            (
                "POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nAUTH PLAIN x\r\n",
                Ending::Http,
            ),
            ("origin: http://evil.example\r\n", Ending::Http),
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
fn nul_and_stray_cr_spoil_a_line_in_every_state() {
    let mut client = introduced();
    client.asks("NO\0OP\r\n", "500 5.5.2 NUL or CR inside a line.\r\n");
    client.asks("AUTH PLAIN\r\n", "334 \r\n");
    client.asks("AAAA\rAAAA\r\n", "500 5.5.2 NUL or CR inside a line.\r\n");
    client.asks("NOOP\n", "250 2.0.0 Ok\r\n");
}

#[test]
fn an_interruption_is_told() {
    for (interruption, words) in [
        (Interruption::Timeout, "421 4.4.2 Login timeout.\r\n"),
        (
            Interruption::Shutdown,
            "421 4.3.2 mailwicket is shutting down.\r\n",
        ),
        (
            Interruption::Limit,
            "421 4.7.0 Too many connections, try again later. (MW-LIMIT)\r\n",
        ),
    ] {
        let mut client = client();
        client.interrupted(interruption);
        client.interrupted(Interruption::Timeout); // which finds nothing left to interrupt
        client.drops_an_event();
        client.parts(words, Ending::Interrupted(interruption));
    }
}
