//! Servers that repeat what they do not understand: none of it may reach the log.

use super::super::*;
use super::playbook::*;

/// A server of each protocol that has our message in hand, and how it begins a refusal.
fn asked() -> [(Server, &'static str); 3] {
    let mut imap = Server::new(Protocol::Imap, UpstreamTls::Implicit);
    imap.says("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n");
    imap.is_ready(&["IMAP4rev1"]);
    imap.login();
    let mut pop3 = Server::new(Protocol::Pop3, UpstreamTls::Implicit);
    pop3.says("+OK\r\n");
    pop3.says("+OK\r\nSASL XOAUTH2\r\n.\r\n");
    pop3.forgets();
    pop3.is_ready(&[]);
    pop3.login();
    pop3.says("+ \r\n");
    let mut smtp = Server::new(Protocol::Smtp, UpstreamTls::Implicit);
    smtp.says("220 x\r\n");
    smtp.says("250-x\r\n250 AUTH XOAUTH2\r\n");
    smtp.forgets();
    smtp.is_ready(&[]);
    smtp.login();
    let mut servers = [
        (imap, "mw4444444444444444 BAD"),
        (pop3, "-ERR"),
        (smtp, "500"),
    ];
    servers.iter_mut().for_each(|(server, _)| server.forgets());
    servers
}

#[test]
fn a_refusal_that_repeats_the_login_is_not_quoted() {
    for said in [XOAUTH2, TOKEN, &XOAUTH2[20..40]] {
        for (mut server, no) in asked() {
            server.says(format!("{no} unknown command {said}\r\n"));
            let detail = server.fails(UpstreamFailureKind::TokenRefused);
            assert!(
                detail.contains("(left out, because it repeats our login)"),
                "{detail}"
            );
        }
    }
}

#[test]
fn nonsense_that_repeats_the_login_is_not_quoted() {
    for (mut server, _) in asked() {
        server.says(format!("{XOAUTH2}\r\n"));
        let detail = server.fails(UpstreamFailureKind::Unavailable);
        assert!(
            detail.contains("(left out, because it repeats our login)"),
            "{detail}"
        );
    }
}

#[test]
fn a_status_is_a_word_or_it_is_not_quoted() {
    // {"status":"ya29.TESTTOKEN"}
    for (mut server, no) in asked() {
        let invitation = if no == "500" { "334" } else { "+" };
        server.says(format!(
            "{invitation} eyJzdGF0dXMiOiJ5YTI5LlRFU1RUT0tFTiJ9\r\n"
        ));
        server.hears("\r\n");
        server.says(format!("{no} no\r\n"));
        let detail = server.fails(UpstreamFailureKind::TokenRefused);
        assert!(!detail.contains("status"), "{detail}");
    }
}

#[test]
fn what_a_server_says_cannot_forge_a_log_line() {
    for (mut server, no) in asked() {
        server.says(format!("{no} \x1b[31mred\u{202e}{}\r\n", "y".repeat(1000)));
        let detail = server.fails(UpstreamFailureKind::TokenRefused);
        assert!(
            !detail.contains(char::is_control) && detail.len() < 400,
            "{detail}"
        );
        assert!(!detail.contains('\u{202e}'), "{detail}");
    }
}
