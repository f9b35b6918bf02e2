//! The guard of sessions whose senders are limited, against written-down sessions and against everything else.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::smtp::{Breach, SenderGuard};
use super::super::*;
use super::playbook::profile;
use crate::config::Senders;

fn guard(senders: &[&str]) -> SenderGuard {
    let list = profile(Protocol::Smtp, &["SIZE 1000", "CHUNKING"]);
    let senders = Senders::new(senders.iter().copied()).unwrap();
    SenderGuard::new(Arc::new(senders), &list)
}

/// A session in which the device's side comes in pieces, with a word-perfect server behind the guard.
struct Session {
    guard: SenderGuard,
    waiting: Vec<u8>,
    passed: Vec<u8>,
}

impl Session {
    fn new(senders: &[&str]) -> Self {
        Self {
            guard: guard(senders),
            waiting: Vec::new(),
            passed: Vec::new(),
        }
    }

    fn up(&mut self, said: impl AsRef<[u8]>) -> &mut Self {
        self.waiting.extend_from_slice(said.as_ref());
        let taken = self.guard.up(&self.waiting, &mut self.passed);
        self.waiting.drain(..taken);
        self
    }

    fn down(&mut self, said: &str) -> &mut Self {
        self.guard.down(said.as_bytes());
        self.up("")
    }

    /// What went up since the last time.
    #[track_caller]
    fn passes(&mut self, expected: &str) -> &mut Self {
        let passed = std::mem::take(&mut self.passed);
        assert_eq!(
            passed.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
        self
    }

    #[track_caller]
    fn is_permitted(&mut self) -> &mut Self {
        assert_eq!(self.guard.breach(), None);
        self
    }

    #[track_caller]
    fn breaks(&mut self, breach: Breach) {
        assert_eq!(self.guard.breach(), Some(&breach));
    }

    /// In message data, with nothing passed on since.
    fn in_data() -> Self {
        let mut session = Self::new(&["a@x.y"]);
        session.up("MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n");
        session.down("250 1\r\n250 2\r\n354 3\r\n").passed.clear();
        session
    }
}

fn sender(address: &str) -> Breach {
    Breach::Sender(address.to_owned())
}

#[test]
fn forms_of_mail_that_devices_use_are_read() {
    for line in [
        "MAIL FROM:<a@x.y>",
        "mail from:<A@X.Y>",
        "MAIL FROM: <a@x.y>",
        "MAIL FROM:<a@x.y> SIZE=1000 BODY=8BITMIME SMTPUTF8",
        "MAIL FROM:<a@x.y> AUTH=<> RET=HDRS ENVID=QQ+3D314159",
        "MAIL FROM:<a@x.y>  SIZE=1 ",
        "MAIL FROM:<any.one+1@print.x.y>",
    ] {
        let line = format!("{line}\r\n");
        let mut session = Session::new(&["a@x.y", "*@print.x.y"]);
        session.up(&line).is_permitted().passes(&line);
    }
}

#[test]
fn a_sender_that_is_not_listed_never_goes_up() {
    for address in ["b@x.y", "a@x.z", "", "a@print.x.y.z", "c%d@print.x.y"] {
        let mut session = Session::new(&["a@x.y", "*@print.x.y"]);
        session.up(format!("NOOP\r\nMAIL FROM:<{address}>\r\nDATA\r\n"));
        session.passes("NOOP\r\n").breaks(sender(address));
        session.down("250 ok\r\n").up("MAIL FROM:<a@x.y>\r\n");
        session.passes("");
    }
    let mut session = Session::new(&["<>"]);
    session.up("MAIL FROM:<>\r\n").is_permitted();
    session.up("MAIL FROM:<a@x.y>\r\n").breaks(sender("a@x.y"));
}

#[test]
fn a_mail_whose_sender_servers_could_read_in_two_ways_never_goes_up() {
    for line in [
        "MAIL",
        "MAIL FROM:",
        "MAIL FROM:a@x.y",
        "MAIL FROM:<<a@x.y>>",
        "MAIL FROM:<a@x.y",
        "MAIL FROM:<a@x.y><b@x.y>",
        "MAIL FROM:<a@x.y> <b@x.y>",
        "MAIL FROM:<a@x.y>SIZE=1",
        "MAIL FROM:<a@x.y> SIZE=1=2",
        "MAIL FROM:<@relay.example:a@x.y>",
        "MAIL FROM:<@relay.example,@other.example:a@x.y>",
        "MAIL FROM:<\"a\"@x.y>",
        "MAIL FROM:<\"b@evil.example\"@x.y>",
        "MAIL FROM:<a@x.y(b@evil.example)>",
        "MAIL FROM:<a @x.y>",
        "MAIL FROM:<a@[192.0.2.1]>",
        "MAIL FROM:<a>",
        "MAIL FROM:\t<a@x.y>",
        "MAIL  FROM:<a@x.y>",
        "MAIL TO:<a@x.y>",
    ] {
        let mut session = Session::new(&["a@x.y", "*@x.y", "<>"]);
        session.up(format!("{line}\r\n")).passes("");
        assert!(
            matches!(
                session.guard.breach(),
                Some(Breach::NoAddress | Breach::Sender(_))
            ),
            "{line}: {:?}",
            session.guard.breach()
        );
    }
}

#[test]
fn every_message_of_a_session_is_watched() {
    let mut session = Session::new(&["a@x.y"]);
    for _ in 0..3 {
        let start = "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n";
        session.up(start).passes(start);
        session.up("Subject: x\r\n\r\nMAIL FROM:<b@x.y>\r\n..\r\n.\r\nRSET\r\n");
        session
            .passes("")
            .down("250 1\r\n250-2\r\n250 2\r\n354 go\r\n");
        session.passes("Subject: x\r\n\r\nMAIL FROM:<b@x.y>\r\n..\r\n.\r\nRSET\r\n");
        session.down("250 queued\r\n250 reset\r\n").is_permitted();
        assert!(session.guard.is_answered());
    }
    session
        .up("MAIL FROM:<b@x.y>\r\n")
        .passes("")
        .breaks(sender("b@x.y"));
}

#[test]
fn what_follows_a_refused_data_is_commands() {
    let mut session = Session::new(&["a@x.y"]);
    session
        .up("DATA\r\nMAIL FROM:<b@x.y>\r\n.\r\n")
        .passes("DATA\r\n");
    session
        .down("503-no\r\n503 no\r\n")
        .passes("")
        .breaks(sender("b@x.y"));
}

#[test]
fn commands_that_nobody_needs_to_send_never_go_up() {
    for line in [
        "AUTH PLAIN AGFsaWNlAHNlY3JldA==",
        "STARTTLS",
        "XCLIENT ADDR=192.0.2.1",
        "XFORWARD NAME=x",
        "ETRN x",
        "TURN",
        "SEND FROM:<b@x.y>",
        "SAML FROM:<b@x.y>",
        "SOML FROM:<b@x.y>",
        "BURL imap://x LAST",
        "VERB",
        "MAILFROM:<b@x.y>",
        " MAIL FROM:<b@x.y>",
        "MAIL\tFROM:<b@x.y>",
        "",
    ] {
        let mut session = Session::new(&["a@x.y"]);
        session.up(format!("{line}\r\n")).passes("");
        match session.guard.breach() {
            Some(breach @ Breach::Command(_)) => assert!(!breach.to_string().contains("AGFs")),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn lines_that_servers_could_part_in_two_ways_never_go_up() {
    let long = format!("NOOP {}\r\n", "x".repeat(1000));
    for line in [
        "NOOP\nMAIL FROM:<b@x.y>\r\n",
        "NOOP\rMAIL FROM:<b@x.y>\r\n",
        "NOOP\0\r\n",
        "NOOP\r\r\n",
        "MAIL FROM:<a@x.y>\n",
        &long,
    ] {
        let mut session = Session::new(&["a@x.y"]);
        session.up(line).passes("").breaks(Breach::Line);
    }
}

#[test]
fn an_end_of_data_that_only_some_servers_see_ends_the_session_before_they_do() {
    for (data, passes) in [
        ("x\n.\nMAIL FROM:<b@x.y>\r\n", "x\n."),
        ("x\n.\r\nMAIL FROM:<b@x.y>\r\n", "x\n."),
        ("x\r\n.\nMAIL FROM:<b@x.y>\r\n", "x\r\n."),
        ("x\r.\rMAIL FROM:<b@x.y>\r\n", "x\r."),
        ("x\r.\r\nMAIL FROM:<b@x.y>\r\n", "x\r."),
        ("x\r.\nMAIL FROM:<b@x.y>\r\n", "x\r."),
        ("x\r\n.\rMAIL FROM:<b@x.y>\r\n", "x\r\n."),
        ("x\r\n.\r\r\nMAIL FROM:<b@x.y>\r\n", "x\r\n."),
        ("x\n\n.\r\n", "x\n\n."),
        (".\n", "."),
        (".\r.", "."),
        ("x\r\n\0.\r\n", "x\r\n"),
        ("x\r\n.\0\r\n", "x\r\n."),
    ] {
        let mut session = Session::in_data();
        session.up(data).passes(passes).breaks(Breach::Data);
    }
}

#[test]
fn odd_data_that_all_servers_end_in_one_place_goes_through() {
    for data in [
        ".\r\n",
        "\r\n.\r\n",
        "bare\nlines\nand \r returns\r\r\n.\r\n",
        "x.\ny\n.z\n..\n\r..\r\n...\r\n. \r\n.\r\n",
        "\u{fc}\u{ff}\r\n.\r\n",
    ] {
        let mut session = Session::in_data();
        session.up(data).is_permitted().passes(data);
        session.up("MAIL FROM:<b@x.y>\r\n").breaks(sender("b@x.y"));
    }
}

#[test]
fn chunks_are_skipped_by_their_size() {
    let mut session = Session::new(&["a@x.y"]);
    session.up("MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nBDAT 21\r\nMAIL FROM:<b@x.y>\r\n");
    session.passes("MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\n");
    session.down("250 1\r\n").passes("").down("250 2\r\n");
    session
        .is_permitted()
        .passes("BDAT 21\r\nMAIL FROM:<b@x.y>\r\n");
    session
        .up("\r\nbdat 3 last\r\n.\r\nNOOP\r\n")
        .passes("\r\n");
    session
        .down("250 3\r\n")
        .passes("bdat 3 last\r\n.\r\nNOOP\r\n");
    session.down("250 4\r\n250 5\r\n").is_permitted();
    // The message is over: the server would not take another chunk as such.
    session.up("BDAT 3\r\n").passes("").breaks(Breach::Chunk);
}

#[test]
fn a_chunk_that_a_server_could_take_for_commands_never_goes_up() {
    let accepted = "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\n";
    for arguments in [
        "",
        " ",
        " x",
        " -1",
        " 0x10",
        " 010",
        " 1 FIRST",
        " 2147483648",
        "  1",
        " 1 LAST x",
    ] {
        let mut session = Session::new(&["a@x.y"]);
        session.up(accepted).down("250 1\r\n250 2\r\n");
        session
            .up(format!("BDAT{arguments}\r\n"))
            .breaks(Breach::Chunk);
    }
    for answers in [
        "250 1\r\n550 2\r\n",
        "550 1\r\n250 2\r\n",
        "550 1\r\n503 2\r\n",
    ] {
        let mut session = Session::new(&["a@x.y"]);
        session
            .up(accepted)
            .down(answers)
            .up("BDAT 1\r\nx")
            .breaks(Breach::Chunk);
    }
    let senders = Arc::new(Senders::new(["a@x.y"]).unwrap());
    let mut session = Session::new(&["a@x.y"]);
    session.guard = SenderGuard::new(senders, &profile(Protocol::Smtp, &["SIZE 1000"]));
    session
        .up(accepted)
        .down("250 1\r\n250 2\r\n")
        .up("BDAT 1\r\nx");
    session.breaks(Breach::Chunk);
}

#[test]
fn answers_that_nobody_asked_for_end_the_session() {
    for said in ["250 what\r\n", "hello\r\n", "25\r\n", "2500 x\r\n"] {
        Session::new(&["a@x.y"]).down(said).breaks(Breach::Answer);
    }
    let mut session = Session::in_data();
    session
        .up("x\r\n")
        .down("451 no more\r\n")
        .breaks(Breach::Answer);
}

#[test]
fn nothing_goes_up_behind_a_good_bye() {
    let mut session = Session::new(&["a@x.y"]);
    session
        .up("QUIT\r\nMAIL FROM:<b@x.y>\r\n")
        .passes("QUIT\r\n");
    session.down("221 bye\r\n421 and again\r\n").is_permitted();
    let mut session = Session::in_data();
    session
        .down("421 going down\r\n")
        .up("x\r\n.\r\nMAIL FROM:<b@x.y>\r\n");
    session.is_permitted().passes("");
    let mut session = Session::new(&["a@x.y"]);
    session.up("MAIL FROM:<a@x.y>\r\nDATA\r\n").passed.clear();
    session.down("421 going down\r\n").up("lost\r\n");
    session.down("354 go on\r\n").up("x\r\n").passes("");
}

// ---- properties

/// A server that reads strictly: what it takes for commands, and its answers.
#[derive(Default)]
struct Server {
    line: Vec<u8>,
    in_data: bool,
    chunk: usize,
    mails: Vec<Vec<u8>>,
}

impl Server {
    fn hears(&mut self, said: &[u8]) -> String {
        let mut answers = String::new();
        for octet in said {
            if self.chunk > 0 {
                self.chunk -= 1;
                continue;
            }
            self.line.push(*octet);
            if self.line.ends_with(b"\r\n") {
                let line = std::mem::take(&mut self.line);
                answers.push_str(self.answer(&line));
            }
        }
        answers
    }

    fn answer(&mut self, line: &[u8]) -> &'static str {
        match (self.in_data, &line[..4.min(line.len())]) {
            (true, _) if line == b".\r\n" => {
                self.in_data = false;
                "250 queued\r\n"
            }
            (true, _) => "",
            (_, b"DATA") => {
                self.in_data = true;
                "354-go\r\n354 on\r\n"
            }
            (_, b"BDAT") => {
                let words = String::from_utf8_lossy(line).into_owned();
                self.chunk = words.split_whitespace().nth(1).unwrap().parse().unwrap();
                "250 chunk\r\n"
            }
            (_, b"MAIL") => {
                self.mails.push(line.to_vec());
                "250 sender\r\n"
            }
            (_, b"EHLO") => "250-x\r\n250 CHUNKING\r\n",
            _ => "250 ok\r\n",
        }
    }
}

const SAID: [&str; 18] = [
    "EHLO vm\r\n",
    "MAIL FROM:<a@x.y>\r\n",
    "MAIL FROM:<A@X.y> SIZE=3\r\n",
    "RCPT TO:<b@x.y>\r\n",
    "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n",
    "MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nBDAT 21\r\nMAIL FROM:<b@x.y>\r\n\r\n",
    "BDAT 3 LAST\r\nx\r\n",
    "DATA\r\n",
    "Subject: x\r\n\r\n",
    "MAIL FROM:<b@x.y>\r\n",
    ".\r\n",
    "..\r\n",
    "\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    ".",
    "\n",
    "\r",
];

proptest! {
    #[test]
    fn what_a_server_takes_for_mail_is_always_permitted_and_does_not_depend_on_cuts(
        said in prop::collection::vec(select(SAID.to_vec()), 0..30),
        cuts in prop::collection::vec(1..40_usize, 1..8),
    ) {
        let said = said.concat();
        let run = |cuts: &[usize]| {
            let mut session = Session::new(&["a@x.y"]);
            let mut server = Server::default();
            let mut all = Vec::new();
            let mut cuts = cuts.iter().cycle();
            let mut rest = said.as_bytes();
            loop {
                // What goes up is answered at once, an answer at a time in single octets.
                while !session.passed.is_empty() {
                    let passed = std::mem::take(&mut session.passed);
                    all.extend_from_slice(&passed);
                    for octet in server.hears(&passed).chars() {
                        session.guard.down(octet.to_string().as_bytes());
                    }
                    session.up("");
                }
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                session.up(now);
                rest = later;
            }
            (all, session.guard.breach().cloned(), server.mails)
        };
        let (all, breach, mails) = run(&cuts);
        for mail in &mails {
            prop_assert!(mail.to_ascii_lowercase().starts_with(b"mail from:<a@x.y>"));
        }
        prop_assert!(said.as_bytes().starts_with(&all));
        prop_assert_eq!(run(&[usize::MAX]), (all, breach, mails));
    }

    #[test]
    fn permitted_sessions_go_through_octet_for_octet(
        body in "[ -~\u{e9}]{0,60}",
        lines in prop::collection::vec("[ -~]{0,30}", 0..8),
        messages in 1..4_usize,
        cut in 1..50_usize,
    ) {
        let mut message = format!("Subject: {body}\r\n\r\n");
        for line in &lines {
            let dot = if line.starts_with('.') { "." } else { "" };
            message.push_str(&format!("{dot}{line}\r\n"));
        }
        let whole = format!("MAIL FROM:<a@x.y>\r\nRCPT TO:<b@x.y>\r\nDATA\r\n{message}.\r\n").repeat(messages) + "QUIT\r\n";
        let mut session = Session::new(&["a@x.y"]);
        let mut server = Server::default();
        let mut all = Vec::new();
        for piece in whole.as_bytes().chunks(cut) {
            session.up(piece);
            while !session.passed.is_empty() {
                let passed = std::mem::take(&mut session.passed);
                all.extend_from_slice(&passed);
                session.down(&server.hears(&passed));
            }
        }
        prop_assert_eq!(session.guard.breach(), None);
        prop_assert_eq!(String::from_utf8(all).unwrap(), whole);
    }

    #[test]
    fn any_octets_at_all_are_taken_without_harm(
        up in prop::collection::vec(any::<u8>(), 0..300),
        down in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut session = Session::new(&["a@x.y"]);
        session.up(&up);
        session.guard.down(&down);
        session.up("");
        prop_assert!(up.starts_with(&session.passed));
    }
}
