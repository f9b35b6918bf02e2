//! Our POP3 client, against servers of every kind.

use super::super::*;
use super::playbook::*;

const CAPABILITIES: &str = "+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN XOAUTH2 OAUTHBEARER\r\nUSER\r\n.\r\n";

fn server() -> Server {
    Server::new(Protocol::Pop3, UpstreamTls::Implicit)
}

fn ready() -> Server {
    let mut server = server();
    server.asks("+OK Gpop ready\r\n", "CAPA\r\n");
    server.says(CAPABILITIES);
    server.is_ready(&["TOP", "UIDL"]);
    server.hears("");
    server
}

fn asked() -> Server {
    let mut server = ready();
    server.login();
    server.hears("AUTH XOAUTH2\r\n");
    server.asks("+ \r\n", &format!("{XOAUTH2}\r\n"));
    server
}

#[test]
fn the_message_always_takes_a_line_of_its_own() {
    let mut server = asked();
    server.says("+OK Welcome.\r\n");
    server.lets_in(" Welcome.", "");
}

#[test]
fn an_invitation_without_a_space_is_one() {
    let mut server = ready();
    server.login();
    server.hears("AUTH XOAUTH2\r\n");
    server.asks("+\r\n", &format!("{XOAUTH2}\r\n"));
    server.says("+OK\r\n");
    server.lets_in("", "");
}

#[test]
fn greetings_that_promise_nothing_good_are_the_end() {
    for greeting in [
        "-ERR [SYS/TEMP] x",
        "-ERR x",
        "* OK",
        "220 x",
        "HTTP/1.1 400",
        "+ ",
        "",
        "+OK\0",
    ] {
        let mut server = server();
        server.says(format!("{greeting}\r\n"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
    let mut server = server();
    server.says("-ERR [IN-USE] x\r\n");
    server.fails(UpstreamFailureKind::Busy);
}

#[test]
fn an_answer_before_the_question_is_never_taken() {
    let mut server = server();
    server.says("+OK one\r\n+OK two\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
    let mut server = self::server();
    server.asks("+OK\r\n", "CAPA\r\n");
    server.says(format!("{CAPABILITIES}+ \r\n"));
    server.is_ready(&["TOP", "UIDL"]);
    server.login();
    server.fails(UpstreamFailureKind::Unavailable);
    let mut server = ready();
    server.login();
    server.hears("AUTH XOAUTH2\r\n");
    server.says("+ \r\n+OK\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn success_without_a_message_is_no_success() {
    let mut server = ready();
    server.login();
    server.hears("AUTH XOAUTH2\r\n");
    server.says("+OK come in\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn what_follows_success_is_kept() {
    let mut server = asked();
    server.says("+OK\tin\r\n+OK 2 320\r\n\0");
    server.fails(UpstreamFailureKind::Unavailable);
    let mut server = asked();
    server.says("+OK in\r\n+OK 2 320\r\n\0");
    server.lets_in(" in", "+OK 2 320\r\n\0");
}

#[test]
fn an_error_challenge_is_dismissed_and_the_refusal_sorted() {
    let mut server = asked();
    server.asks(format!("+ {CHALLENGE}\r\n"), "\r\n");
    server.says("-ERR [AUTH] Username and password not accepted.\r\n");
    let detail = server.fails(UpstreamFailureKind::TokenRefused);
    assert!(
        detail.starts_with(
            "the server answered the login with: (status 401) [AUTH] Username and password not accepted. (the token lacks"
        ),
        "{detail}"
    );
    for (answer, kind) in [
        ("-ERR", UpstreamFailureKind::TokenRefused),
        ("-ERR [SYS/TEMP] x", UpstreamFailureKind::Unavailable),
        ("-ERR [IN-USE] x", UpstreamFailureKind::Busy),
        ("-ERR [LOGIN-DELAY] x", UpstreamFailureKind::Busy),
        (
            "-ERR [SYS/PERM] Your account is not enabled for POP access",
            UpstreamFailureKind::Forbidden,
        ),
        ("hello", UpstreamFailureKind::Unavailable),
    ] {
        let mut server = asked();
        server.says(format!("{answer}\r\n"));
        server.fails(kind);
        let mut server = ready();
        server.login();
        server.hears("AUTH XOAUTH2\r\n");
        server.says(format!("{answer}\r\n"));
        server.fails(kind);
    }
}

#[test]
fn a_list_without_end_is_cut_off() {
    let mut server = server();
    server.asks("+OK\r\n", "CAPA\r\n");
    server.says(format!("+OK\r\n{}", "X\r\n".repeat(200)));
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn a_server_without_capa_or_oauth_gets_no_token() {
    let mut server = server();
    server.asks("+OK\r\n", "CAPA\r\n");
    server.says("-ERR what?\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
    let mut server = self::server();
    server.asks("+OK\r\n", "CAPA\r\n");
    server.says("+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n");
    server.is_ready(&[]);
    server.login();
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn stls_forgets_everything_that_was_said_in_clear() {
    let mut server = Server::new(Protocol::Pop3, UpstreamTls::StartTls);
    server.asks("+OK\r\n", "CAPA\r\n");
    server.asks("+OK\r\nSTLS \r\nEVIL\r\nSASL XOAUTH2\r\n.\r\n", "STLS\r\n");
    server.says("+OK begin\r\n");
    server.shakes_hands();
    server.hears("CAPA\r\n");
    server.says("+OK\r\nTOP\r\n.\r\n");
    server.is_ready(&["TOP"]);
    server.login();
    server.fails(UpstreamFailureKind::Unavailable);
}

#[test]
fn without_stls_nothing_is_said_in_clear() {
    let begun = || {
        let mut server = Server::new(Protocol::Pop3, UpstreamTls::StartTls);
        server.asks("+OK\r\n", "CAPA\r\n");
        server
    };
    let mut server = begun();
    server.says("+OK\r\nSASL XOAUTH2\r\n.\r\n");
    server.fails(UpstreamFailureKind::Unavailable);
    for answer in ["-ERR no", "+OK\r\n+OK injected", "+ ", "STLS"] {
        let mut server = begun();
        server.asks("+OK\r\nSTLS\r\n.\r\n", "STLS\r\n");
        server.says(format!("{answer}\r\n"));
        server.fails(UpstreamFailureKind::Unavailable);
    }
}

#[test]
fn a_visitor_takes_its_leave() {
    let mut server = ready();
    server.quit();
    server.hears("QUIT\r\n");
}
