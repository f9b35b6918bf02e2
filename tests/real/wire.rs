//! A connection in the clear and just enough of the protocols to ask and to hear. It blocks, and gives up after a
//! while.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::mail;
use crate::wait::PATIENCE;

/// A connection and what was read ahead of need.
pub struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    pub fn connect(port: u16) -> Self {
        Self::with(TcpStream::connect(("127.0.0.1", port)).expect("somebody listens"))
    }

    /// From one of the many addresses that a machine has for itself.
    pub fn connect_from(source: [u8; 4], port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let source = SocketAddr::from((source, 0));
        socket.bind(&source.into()).expect("an address of ours");
        let port = SocketAddr::from(([127, 0, 0, 1], port));
        socket.connect(&port.into()).expect("somebody listens");
        Self::with(socket.into())
    }

    fn with(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side reads");
    }

    /// No more from this side; the other may go on.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a socket");
    }

    /// One line, without its end.
    pub fn line(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            assert!(self.read_more() > 0, "the connection ended within a line");
        };
        let line = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
        self.ahead.drain(..end + 2);
        line
    }

    /// Exactly so many bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(
                self.read_more() > 0,
                "the connection ended within a literal"
            );
        }
        self.ahead.drain(..count).collect()
    }

    /// Everything until the other side ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read_more() > 0 {}
        std::mem::take(&mut self.ahead)
    }

    fn read_more(&mut self) -> usize {
        let mut buffer = vec![0; 65536];
        let count = self.stream.read(&mut buffer).expect("an answer in time");
        self.ahead.extend_from_slice(&buffer[..count]);
        count
    }

    // ---- SMTP and LMTP ----

    /// A reply of one or more lines, which must have this code.
    pub fn smtp_reply(&mut self, code: &str) -> String {
        let mut reply = String::new();
        loop {
            let line = self.line();
            reply.push_str(&line);
            reply.push('\n');
            if line.as_bytes().get(3) != Some(&b'-') {
                assert!(line.starts_with(code), "expected {code}: {reply}");
                return reply;
            }
        }
    }

    pub fn smtp(&mut self, command: &str, code: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.smtp_reply(code)
    }

    // ---- IMAP ----

    /// All lines up to the one with this tag, whatever that says.
    pub fn imap_until(&mut self, tag: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines
            .last()
            .is_some_and(|line| line.starts_with(&format!("{tag} ")))
        {
            lines.push(self.line());
        }
        lines
    }

    /// A command that must be OK.
    pub fn imap(&mut self, tag: &str, command: &str) -> Vec<String> {
        self.send(format!("{tag} {command}\r\n").as_bytes());
        let lines = self.imap_until(tag);
        let last = lines.last().expect("a line");
        assert!(last.starts_with(&format!("{tag} OK")), "{lines:?}");
        lines
    }

    /// The messages of the mailbox, in order.
    pub fn imap_fetch_all(&mut self) -> Vec<Vec<u8>> {
        self.imap("s", "SELECT INBOX");
        self.send(b"f FETCH 1:* BODY.PEEK[]\r\n");
        let mut messages = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with("f ") {
                assert!(line.starts_with("f OK"), "{line}");
                return messages;
            }
            if let Some(length) = literal(&line) {
                messages.push(self.exactly(length));
            }
        }
    }

    // ---- POP3 ----

    /// A command that must be +OK.
    pub fn pop3(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        let line = self.line();
        assert!(line.starts_with("+OK"), "{line}");
        line
    }

    /// The messages of the mailbox, in order.
    pub fn pop3_fetch_all(&mut self) -> Vec<Vec<u8>> {
        let stat = self.pop3("STAT");
        let count = stat.split(' ').nth(1).expect("+OK count size");
        let count: usize = count.parse().expect("a number");
        let fetch = |number: usize| {
            self.pop3(&format!("RETR {number}"));
            self.pop3_text()
        };
        (1..=count).map(fetch).collect()
    }

    fn pop3_text(&mut self) -> Vec<u8> {
        const END: &[u8] = b"\r\n.\r\n";
        let mut seen = 0;
        let end = loop {
            let found = mail::find(&self.ahead[seen..], END).map(|at| seen + at);
            if let Some(end) = found {
                break end;
            }
            seen = self.ahead.len().saturating_sub(END.len());
            assert!(
                self.read_more() > 0,
                "the connection ended within a message"
            );
        };
        let text: Vec<u8> = self.ahead.drain(..end + END.len()).collect();
        mail::undotted(&text[..end + 2])
    }
}

/// The length of the literal that a line ends with.
fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
