//! Our IMAP client, against servers of every kind.

use super::super::*;
use super::playbook::*;

const READY: &str =
    "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER IDLE] ready\r\n";
/// The tag of the first command.
const TAG: &str = "mw4444444444444444";

fn server() -> Server {
    Server::new(Protocol::Imap, UpstreamTls::Implicit)
}

/// A server that waits for the answer to its greeting.
fn ready() -> Server {
    let mut server = server();
    server.says(READY);
    server.is_ready(&["IMAP4rev1", "IDLE"]);
    server.hears("");
    server
}

/// A server that has our message in hand.
fn asked() -> Server {
    let mut server = ready();
    server.login();
    server.hears(&format!("{TAG} AUTHENTICATE XOAUTH2 {XOAUTH2}\r\n"));
    server
}

#[test]
fn a_login_with_an_initial_response_is_one_line() {
    let mut server = asked();
    server.says(format!("{TAG} OK [CAPABILITY IMAP4rev1] Hello \u{e9}\r\n"));
    server.lets_in(" [CAPABILITY IMAP4rev1] Hello \u{e9}", "");
}

#[test]
fn without_sasl_ir_the_message_waits_for_its_invitation() {
    let mut server = server();
    server.says("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready\r\n");
    server.is_ready(&["IMAP4rev1"]);
    server.login();
    server.hears(&format!("{TAG} AUTHENTICATE XOAUTH2\r\n"));
    server.asks("* OK still here\r\n", "");
    server.asks("+\r\n", &format!("{XOAUTH2}\r\n"));
    server.says(format!("{TAG} OK done\r\n"));
    server.lets_in(" done", "");
}

#[test]
fn a_greeting_without_a_list_is_followed_by_a_question() {
    let mut server = server();
    server.asks("* OK ready\r\n", &format!("{TAG} CAPABILITY\r\n"));
    server.says("* OK news\r\n* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n");
    server.hears("");
    server.says(format!("{TAG} OK\r\n"));
    server.is_ready(&["IMAP4rev1"]);
    server.login();
    server.hears(&format!(
        "mw3333333333333333 AUTHENTICATE XOAUTH2 {XOAUTH2}\r\n"
    ));
}

#[test]
fn greetings_that_promise_nothing_good_are_the_end() {
    for greeting in [
        "* PREAUTH [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] welcome alice",
        "* BYE too many",
        "* NO x",
        "* BAD x",
        "HTTP/1.1 400 Bad Request",
        "+OK POP3",
        "220 smtp.example.com ESMTP",
        "a OK",
        "+ go ahead",
        "",
        "* ",
        "*",
        "* OK \0",
        "* OK\rx",
    ] {
        for tls in [UpstreamTls::Implicit, UpstreamTls::StartTls] {
            let mut server = Server::new(Protocol::Imap, tls);
            server.says(format!("{greeting}\r\n"));
            server.fails(UpstreamFailureKind::Unavailable);
        }
    }
}

#[test]
fn an_answer_before_the_question_is_never_taken() {
    for early in [
        format!("{TAG} OK x\r\n"),
        "a1 OK x\r\n".to_owned(),
        "+ \r\n".to_owned(),
        "* OK more\r\n".to_owned(),
        "x".to_owned(),
    ] {
        let mut server = server();
        server.says(format!("{READY}{early}"));
        server.is_ready(&["IMAP4rev1", "IDLE"]);
        server.login();
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn an_answer_to_another_tag_is_no_answer() {
    for wrong in [
        "a1 OK x",
        "mw3333333333333333 OK x",
        "mw4444444444444444x OK x",
        "* PREAUTH x",
    ] {
        let mut server = asked();
        server.says(format!("{wrong}\r\n"));
        if !wrong.starts_with('*') {
            server.fails(UpstreamFailureKind::Unavailable);
        }
        server.hears("");
    }
}

#[test]
fn news_before_success_is_dropped() {
    let mut server = asked();
    server.says("* 5 EXISTS\r\n* OK [ALERT] call 555\r\n* CAPABILITY X\r\n* LIST () \"/\" x\r\n");
    server.hears("");
    server.says(format!("{TAG} OK in\r\n* 6 EXISTS\r\n\0\r"));
    server.lets_in(" in", "* 6 EXISTS\r\n\0\r");
}

#[test]
fn news_without_end_is_cut_off() {
    let mut server = asked();
    server.says("* OK wait\r\n".repeat(300));
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn a_line_without_end_is_cut_off() {
    let mut server = asked();
    server.says(format!("{TAG} OK {}", "x".repeat(8192)));
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn an_error_challenge_is_dismissed_with_an_empty_line() {
    let mut server = asked();
    server.asks(format!("+ {CHALLENGE}\r\n"), "\r\n");
    server.says(format!(
        "{TAG} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n"
    ));
    let detail = server.fails(UpstreamFailureKind::TokenRefused);
    let (said, meant) = detail.split_once(" (the token is").expect("an explanation");
    assert_eq!(
        said,
        "the server answered the login with: (status 401) [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
    );
    assert!(meant.contains("who signed in"), "{meant}");
}

#[test]
fn oauthbearer_is_preferred_and_dismissed_with_its_own_mark() {
    let mut server = ready();
    server.login_with(TOKEN, MechanismChoice::Auto);
    server.hears(&format!(
        "{TAG} AUTHENTICATE OAUTHBEARER bixhPWFsaWNlQGV4YW1wbGUuY29tLAFob3N0PW1haWwuZXhhbXBsZS5jb20BcG9ydD05OTMBYXV0aD1CZWFyZXIgeWEyOS5URVNUVE9LRU4BAQ==\r\n"
    ));
    server.asks("+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\r\n", "AQ==\r\n");
    server.says(format!("{TAG} NO [AUTHENTICATIONFAILED] no\r\n"));
    assert!(
        server
            .fails(UpstreamFailureKind::TokenRefused)
            .contains("(status invalid_token)")
    );
}

#[test]
fn challenges_without_end_are_cut_off() {
    let mut server = asked();
    server.asks("+ \r\n", "\r\n");
    server.asks("+ \r\n", "\r\n");
    server.says("+ \r\n");
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn refusals_are_sorted_by_what_helps() {
    let answers = [
        (
            "NO [AUTHENTICATIONFAILED] x",
            UpstreamFailureKind::TokenRefused,
        ),
        ("NO", UpstreamFailureKind::TokenRefused),
        ("BAD x", UpstreamFailureKind::TokenRefused),
        ("NO [UNAVAILABLE] x", UpstreamFailureKind::Unavailable),
        ("NO [LIMIT] x", UpstreamFailureKind::Busy),
        (
            "NO [ALERT] Too many simultaneous connections. (Failure)",
            UpstreamFailureKind::Busy,
        ),
        (
            "NO [ALERT] Your account is not enabled for IMAP use. Please visit your settings (Failure)",
            UpstreamFailureKind::Forbidden,
        ),
        ("NO AUTHENTICATE failed.", UpstreamFailureKind::TokenRefused),
        ("OK \x1b[2J", UpstreamFailureKind::Unavailable),
        ("OKAY", UpstreamFailureKind::Unavailable),
    ];
    for (answer, kind) in answers {
        let mut server = asked();
        server.says(format!("{TAG} {answer}\r\n"));
        server.fails(kind);
    }
    let mut server = asked();
    server.says("* BYE [UNAVAILABLE] later\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn a_server_without_an_oauth_mechanism_gets_no_token() {
    let mut server = server();
    server.says("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN] ready\r\n");
    server.is_ready(&["IMAP4rev1"]);
    server.login_with(TOKEN, MechanismChoice::Auto);
    assert!(
        server
            .fails(UpstreamFailureKind::Unavailable)
            .contains("PLAIN LOGIN")
    );
}

#[test]
fn success_that_comes_for_the_asking_is_no_success() {
    let mut server = server();
    server.says("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready\r\n");
    server.is_ready(&["IMAP4rev1"]);
    server.login();
    server.hears(&format!("{TAG} AUTHENTICATE XOAUTH2\r\n"));
    server.says(format!("{TAG} OK no token needed\r\n"));
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn starttls_forgets_everything_that_was_said_in_clear() {
    let mut server = Server::new(Protocol::Imap, UpstreamTls::StartTls);
    server.asks(READY, &format!("{TAG} CAPABILITY\r\n"));
    server.asks(
        format!("* CAPABILITY STARTTLS AUTH=XOAUTH2 SASL-IR EVIL\r\n{TAG} OK\r\n"),
        "mw3333333333333333 STARTTLS\r\n",
    );
    server.says("mw3333333333333333 OK begin\r\n");
    server.shakes_hands();
    server.hears("mw2222222222222222 CAPABILITY\r\n");
    server.says("* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nmw2222222222222222 OK\r\n");
    server.is_ready(&["IMAP4rev1"]);
    server.login();
    server.hears("mw1111111111111111 AUTHENTICATE XOAUTH2\r\n");
}

#[test]
fn without_starttls_nothing_is_said_in_clear() {
    let begun = || {
        let mut server = Server::new(Protocol::Imap, UpstreamTls::StartTls);
        server.asks("* OK\r\n", &format!("{TAG} CAPABILITY\r\n"));
        server
    };
    let mut server = begun();
    server.says(format!(
        "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR\r\n{TAG} OK\r\n"
    ));
    assert!(
        server
            .fails(UpstreamFailureKind::Unavailable)
            .contains("does not offer STARTTLS")
    );
    for refusal in ["NO", "BAD", "NO [UNAVAILABLE] x"] {
        let mut server = begun();
        server.asks(
            format!("* CAPABILITY STARTTLS\r\n{TAG} OK\r\n"),
            "mw3333333333333333 STARTTLS\r\n",
        );
        server.says(format!("mw3333333333333333 {refusal}\r\n"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn bytes_in_clear_behind_starttls_are_never_read_as_secured() {
    for injected in [
        "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n",
        "x",
        "\x16\x03\x01",
    ] {
        let mut server = Server::new(Protocol::Imap, UpstreamTls::StartTls);
        server.asks("* OK\r\n", &format!("{TAG} CAPABILITY\r\n"));
        server.asks(
            format!("* CAPABILITY STARTTLS\r\n{TAG} OK\r\n"),
            "mw3333333333333333 STARTTLS\r\n",
        );
        server.says(format!("mw3333333333333333 OK begin\r\n{injected}"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn a_visitor_takes_its_leave() {
    let mut server = ready();
    server.quit();
    server.hears(&format!("{TAG} LOGOUT\r\n"));
}
