//! Our SMTP client, against servers of every kind.

use super::super::*;
use super::playbook::*;

const LIST: &str = "250-smtp.example.com at your service\r\n250-SIZE 35882577\r\n\
    250-AUTH LOGIN XOAUTH2 OAUTHBEARER\r\n250-AUTH=LOGIN XOAUTH2\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n";

fn server() -> Server {
    Server::named(Protocol::Smtp, UpstreamTls::Implicit, Some("vm"))
}

fn ready() -> Server {
    let mut server = server();
    server.asks("220 smtp.example.com ESMTP\r\n", "EHLO vm\r\n");
    server.says(LIST);
    server.is_ready(&["SIZE 35882577", "SMTPUTF8"]);
    server.hears("");
    server
}

fn asked() -> Server {
    let mut server = ready();
    server.login();
    server.hears(&format!("AUTH XOAUTH2 {XOAUTH2}\r\n"));
    server
}

/// A server that is about to invite a message too long for one command.
fn inviting() -> (Server, String) {
    let long = "t".repeat(400);
    let mut server = ready();
    server.login_with(&long, MechanismChoice::Xoauth2);
    server.hears("AUTH XOAUTH2\r\n");
    let message = format!("user={IDENTITY}\x01auth=Bearer {long}\x01\x01");
    use base64::Engine as _;
    (
        server,
        base64::engine::general_purpose::STANDARD.encode(message),
    )
}

#[test]
fn a_short_message_goes_with_the_command() {
    let mut server = asked();
    server.says("235 2.7.0 Accepted\r\n");
    server.lets_in("235 2.7.0 Accepted\r\n", "");
}

#[test]
fn a_long_message_waits_for_its_invitation() {
    for invitation in ["334 ", "334", "334 x", "+ "] {
        let (mut server, message) = inviting();
        server.asks(format!("{invitation}\r\n"), &format!("{message}\r\n"));
        server.says("235 ok\r\n");
        server.lets_in("235 ok\r\n", "");
    }
}

#[test]
fn no_command_is_longer_than_the_rfc_allows() {
    for octets in 300..400 {
        let mut server = ready();
        server.login_with(&"t".repeat(octets), MechanismChoice::Xoauth2);
        let line = server.heard();
        assert!(
            line.len() <= 512 && (line.len() > 500 || octets < 330 || line == "AUTH XOAUTH2\r\n")
        );
    }
}

#[test]
fn a_nameless_mail_program_is_introduced_by_its_address() {
    let mut server = Server::new(Protocol::Smtp, UpstreamTls::Implicit);
    server.asks("220-x\r\n220 y\r\n", "EHLO [127.0.0.1]\r\n");
}

#[test]
fn a_success_of_many_lines_is_passed_on_as_it_came() {
    let mut server = asked();
    server.says("235-2.7.0 Hello\r\n235-\r\n235 2.7.0 Accepted\r\n250 early\r\n");
    server.lets_in(
        "235-2.7.0 Hello\r\n235-\r\n235 2.7.0 Accepted\r\n",
        "250 early\r\n",
    );
}

#[test]
fn a_success_with_too_many_lines_or_control_characters_is_none() {
    for success in [
        "235-x\r\n".repeat(16) + "235 x\r\n",
        "235 \x1b[2J\r\n".to_owned(),
        "236 x\r\n".to_owned(),
        "250 x\r\n".to_owned(),
    ] {
        let mut server = asked();
        server.says(success);
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn an_answer_before_the_question_is_never_taken() {
    let mut server = server();
    server.says("220 x\r\n235 in\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
    let mut server = self::server();
    server.asks("220 x\r\n", "EHLO vm\r\n");
    server.says(format!("{LIST}235 in\r\n"));
    server.is_ready(&["SIZE 35882577", "SMTPUTF8"]);
    server.login();
    server.fails(UpstreamFailureKind::Unavailable);
    let (mut server, _) = inviting();
    server.says("334 \r\n235 in\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
    let (mut server, _) = inviting();
    server.says("235 in\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn replies_that_are_none_are_the_end() {
    for reply in [
        "250-x\r\n251 y",
        "25",
        "HTTP/1.1 400",
        "* OK",
        "+OK",
        "999 x",
        "250x",
        "",
        "199 x",
        "+ x",
    ] {
        let mut server = server();
        server.asks("220 x\r\n", "EHLO vm\r\n");
        server.says(format!("{reply}\r\n"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
    for greeting in ["554 go away", "421 busy", "250 x", "220-x\r\n221 y"] {
        let mut server = server();
        server.says(format!("{greeting}\r\n"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn an_error_challenge_is_dismissed_and_the_refusal_sorted() {
    let mut server = asked();
    server.asks(format!("334 {CHALLENGE}\r\n"), "\r\n");
    server.says("535-5.7.8 no\r\n535 5.7.8 Authentication unsuccessful\r\n");
    assert_eq!(
        server.fails(UpstreamFailureKind::TokenRefused),
        "the server answered the login with: (status 401) 535 5.7.8 no 5.7.8 Authentication unsuccessful"
    );
    for (answer, kind) in [
        ("535 x", UpstreamFailureKind::TokenRefused),
        (
            "535-5.7.8 Username and Password not accepted. For more information, go to\r\n535 5.7.8  https://support.google.com/mail",
            UpstreamFailureKind::TokenRefused,
        ),
        (
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
            UpstreamFailureKind::Forbidden,
        ),
        ("454 4.7.0 Temporary", UpstreamFailureKind::Unavailable),
        (
            "421 4.7.0 Too many login attempts",
            UpstreamFailureKind::Busy,
        ),
        (
            "432 4.3.2 Concurrent connections limit",
            UpstreamFailureKind::Busy,
        ),
    ] {
        let mut server = asked();
        server.says(format!("{answer}\r\n"));
        server.fails(kind);
        let (mut server, _) = inviting();
        server.says(format!("{answer}\r\n"));
        server.fails(kind);
    }
}

#[test]
fn oauthbearer_is_preferred_where_it_may_be() {
    let mut server = ready();
    server.login_with(TOKEN, MechanismChoice::Auto);
    assert!(server.heard().starts_with("AUTH OAUTHBEARER bix"));
    server.asks(format!("334 {CHALLENGE}\r\n"), "AQ==\r\n");
}

#[test]
fn mechanisms_of_old_servers_count_as_well() {
    let mut server = server();
    server.asks("220 x\r\n", "EHLO vm\r\n");
    server.says("250-x\r\n250 auth=login xoauth2\r\n");
    server.is_ready(&[]);
    server.login();
    server.hears(&format!("AUTH XOAUTH2 {XOAUTH2}\r\n"));
}

#[test]
fn starttls_forgets_everything_that_was_said_in_clear() {
    let mut server = Server::named(Protocol::Smtp, UpstreamTls::StartTls, Some("vm"));
    server.asks("220 x\r\n", "EHLO vm\r\n");
    server.asks(LIST, "STARTTLS\r\n");
    server.says("220-go\r\n220 ahead\r\n");
    server.shakes_hands();
    server.hears("EHLO vm\r\n");
    server.says("250-x\r\n250 SIZE 1\r\n");
    server.is_ready(&["SIZE 1"]);
    server.login();
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn without_starttls_nothing_is_said_in_clear() {
    let begun = || {
        let mut server = Server::named(Protocol::Smtp, UpstreamTls::StartTls, Some("vm"));
        server.asks("220 x\r\n", "EHLO vm\r\n");
        server
    };
    let mut server = begun();
    server.says("250-x\r\n250 AUTH XOAUTH2\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
    for answer in [
        "454 no",
        "502 what",
        "354 go",
        "250 ok",
        "220 go\r\n250 injected",
        "220 go\r\nx",
    ] {
        let mut server = begun();
        server.asks("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n");
        server.says(format!("{answer}\r\n"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn a_list_without_end_is_cut_off() {
    let mut server = server();
    server.asks("220 x\r\n", "EHLO vm\r\n");
    server.says("250-X\r\n".repeat(200));
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn a_visitor_takes_its_leave() {
    let mut server = ready();
    server.quit();
    server.hears("QUIT\r\n");
}
