//! The halves of conversations that most tests have in common.

use mailwicket::protocol::Protocol;

use super::mail_program::MailProgram;
use super::upstream::{Script, Step, hear, say};
use super::words::{self, ALICE};

/// An error challenge: `{"status":"401"}`.
pub const CHALLENGE: &str = "eyJzdGF0dXMiOiI0MDEifQ==";

pub const PROTOCOLS: [Protocol; 3] = Protocol::ALL;

/// A server over implicit TLS, from the handshake to its capability list; `name` is what SMTP's EHLO must say.
pub fn opening(protocol: Protocol, name: &str) -> Script {
    let mut script = vec![Step::Tls];
    script.extend(list(protocol, name));
    script
}

/// From the greeting to the list.
pub fn list(protocol: Protocol, name: &str) -> Script {
    match protocol {
        Protocol::Imap => {
            vec![say(
                "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 IDLE] ready\r\n",
            )]
        }
        Protocol::Pop3 => vec![
            say("+OK ready\r\n"),
            hear("CAPA"),
            say("+OK\r\nTOP\r\nUIDL\r\nSASL XOAUTH2\r\n.\r\n"),
        ],
        Protocol::Smtp => vec![
            say("220 mail.example.com ESMTP\r\n"),
            hear(format!("EHLO {name}")),
            say("250-mail.example.com\r\n250-SIZE 1000\r\n250 AUTH XOAUTH2\r\n"),
        ],
    }
}

/// The good-bye of who only asked for the list.
pub fn farewell(protocol: Protocol) -> Script {
    let command = match protocol {
        Protocol::Imap => "TAG LOGOUT",
        Protocol::Pop3 | Protocol::Smtp => "QUIT",
    };
    vec![hear(command), Step::Close]
}

/// The visit at the program's start.
pub fn visitor(protocol: Protocol) -> Script {
    [opening(protocol, "[127.0.0.1]"), farewell(protocol)].concat()
}

/// What must be heard of a login with this token.
pub fn asked(protocol: Protocol, number: usize) -> Script {
    let message = words::xoauth2(number);
    match protocol {
        Protocol::Imap => vec![hear(format!("TAG AUTHENTICATE XOAUTH2 {message}"))],
        Protocol::Pop3 => vec![hear("AUTH XOAUTH2"), say("+ \r\n"), hear(message)],
        Protocol::Smtp => vec![hear(format!("AUTH XOAUTH2 {message}"))],
    }
}

/// The answer yes.
pub fn yes(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "TAG OK Welcome\r\n",
        Protocol::Pop3 => "+OK Welcome\r\n",
        Protocol::Smtp => "235 2.7.0 Welcome\r\n",
    }
}

/// A server that lets in whoever has this token.
pub fn lets_in(protocol: Protocol, number: usize) -> Script {
    [
        opening(protocol, "vm"),
        asked(protocol, number),
        vec![say(yes(protocol))],
    ]
    .concat()
}

/// A server that does not like this token, and says so with a challenge.
pub fn refuses(protocol: Protocol, number: usize) -> Script {
    let (invitation, no) = match protocol {
        Protocol::Imap => ("+", "TAG NO [AUTHENTICATIONFAILED] Invalid credentials\r\n"),
        Protocol::Pop3 => ("+", "-ERR [AUTH] Invalid credentials\r\n"),
        Protocol::Smtp => ("334", "535 5.7.8 Invalid credentials\r\n"),
    };
    [
        opening(protocol, "vm"),
        asked(protocol, number),
        vec![
            say(format!("{invitation} {CHALLENGE}\r\n")),
            hear(""),
            say(no),
            Step::HearEnd,
        ],
    ]
    .concat()
}

/// What a mail program hears first, and says first where it must.
pub fn greets(program: &mut MailProgram, protocol: Protocol) {
    match protocol {
        Protocol::Imap => program.hears(
            "* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=PLAIN AUTH=LOGIN] mailwicket ready\r\n",
        ),
        Protocol::Pop3 => program.hears("+OK mailwicket ready\r\n"),
        Protocol::Smtp => {
            program.hears("220 localhost ESMTP mailwicket\r\n");
            program.says("EHLO vm\r\n");
            program.hears("250-localhost\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n");
        }
    }
}

/// What a mail program hears first where the server could not be asked.
pub fn greets_blindly(program: &mut MailProgram, protocol: Protocol) {
    match protocol {
        Protocol::Imap => program.hears("* OK mailwicket ready\r\n"),
        Protocol::Pop3 => program.hears("+OK mailwicket ready\r\n"),
        Protocol::Smtp => {
            program.hears("220 localhost ESMTP mailwicket\r\n");
            program.says("HELO vm\r\n");
            program.hears("250 localhost\r\n");
        }
    }
}

/// A login with a password, as it is said.
pub fn login(protocol: Protocol, password: &str) -> String {
    match protocol {
        Protocol::Imap => format!("a LOGIN {ALICE} {password}\r\n"),
        Protocol::Pop3 => format!("USER {ALICE}\r\nPASS {password}\r\n"),
        Protocol::Smtp => format!("AUTH PLAIN {}\r\n", words::plain(password)),
    }
}

/// The answer to a login that succeeded.
pub fn welcome(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "a OK Welcome\r\n",
        Protocol::Pop3 => "+OK\r\n+OK Welcome\r\n",
        Protocol::Smtp => "235 2.7.0 Welcome\r\n",
    }
}

/// The answer to a login while the provider is out of reach, or does not speak as it should.
pub fn unavailable(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => {
            "a NO [UNAVAILABLE] Mail server unreachable, try again later. (MW-UPSTREAM)\r\n"
        }
        Protocol::Pop3 => {
            "+OK\r\n-ERR [SYS/TEMP] Mail server unreachable, try again later. (MW-UPSTREAM)\r\n"
        }
        Protocol::Smtp => "454 4.7.0 Mail server unreachable, try again later. (MW-UPSTREAM)\r\n",
    }
}

/// The answer to a login that the provider refused twice.
pub fn refused(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => {
            "* NO [ALERT] mailwicket: Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n\
             a NO [CONTACTADMIN] Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n"
        }
        Protocol::Pop3 => {
            "+OK\r\n-ERR [SYS/PERM] Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n"
        }
        Protocol::Smtp => {
            "454 4.7.0 Mail server refused the sign-in; run: mailwicket doctor ACCOUNT (MW-REFUSED)\r\n"
        }
    }
}

/// The answer to a wrong password.
pub fn wrong(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "a NO [AUTHENTICATIONFAILED] Authentication failed. (MW-PASSWORD)\r\n",
        Protocol::Pop3 => "+OK\r\n-ERR [AUTH] Authentication failed. (MW-PASSWORD)\r\n",
        Protocol::Smtp => "535 5.7.8 Authentication failed. (MW-PASSWORD)\r\n",
    }
}
