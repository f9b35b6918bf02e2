//! A mail server that knows no protocol: it plays a script, and keeps every octet that it hears.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

use super::certificates::{self, Certificate};
use super::words;

/// How long anything that a test waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that a mail server does. `TAG` stands for the first word of the last line that was heard under it.
#[derive(Clone, Debug)]
pub enum Step {
    /// Says this at once.
    Say(String),
    /// Says this octet by octet, each in a segment and a TLS record of its own.
    Drip(String),
    /// Hears exactly this line.
    Hear(String),
    /// The TLS handshake.
    Tls,
    /// A handshake that the program must break off, because of this certificate.
    NoTls(Certificate),
    /// Hears the end of what the program says.
    HearEnd,
    /// Says this and hears that at the same time.
    Exchange(Vec<u8>, Vec<u8>),
    /// Says good-bye as TLS wants it, and closes.
    Close,
    /// Closes the socket without a word.
    Drop,
}

pub type Script = Vec<Step>;

pub fn say(text: impl Into<String>) -> Step {
    Step::Say(text.into())
}

pub fn hear(line: impl Into<String>) -> Step {
    Step::Hear(line.into())
}

/// What happened at a mail server.
#[derive(Default)]
struct Record {
    /// Every octet that was heard, decrypted where it was encrypted.
    heard: Vec<u8>,
    accepted: usize,
    over: usize,
    complaints: Vec<String>,
}

/// A running mail server.
pub struct Upstream {
    pub port: u16,
    visits: usize,
    record: Arc<Mutex<Record>>,
}

impl Upstream {
    /// Plays one script for each connection, in order.
    pub fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(Mutex::new(Record::default()));
        let visits = scripts.len();
        let shared = Arc::clone(&record);
        thread::spawn(move || {
            let mut scripts = scripts.into_iter();
            for socket in listener.incoming() {
                let record = Arc::clone(&shared);
                lock(&record).accepted += 1;
                match scripts.next() {
                    Some(script) => {
                        thread::spawn(move || visit(socket.unwrap(), &script, &record));
                    }
                    None => lock(&record)
                        .complaints
                        .push("a visit that nobody expected".into()),
                }
            }
        });
        Self {
            port,
            visits,
            record,
        }
    }

    /// Waits until so many visits are over.
    #[track_caller]
    pub fn has_seen(&self, visits: usize) {
        wait(
            || lock(&self.record).over >= visits,
            "the end of a visit to the mail server",
        );
    }

    /// Waits until every script was played, and looks whether each went as it was written.
    #[track_caller]
    pub fn is_done(&self) {
        wait(
            || {
                let record = lock(&self.record);
                record.over >= self.visits || !record.complaints.is_empty()
            },
            "the end of all scripts",
        );
        let record = lock(&self.record);
        assert!(record.complaints.is_empty(), "{:#?}", record.complaints);
        assert_eq!(
            record.accepted, self.visits,
            "connections to the mail server"
        );
    }

    pub fn heard(&self) -> Vec<u8> {
        lock(&self.record).heard.clone()
    }

    /// Whether a token was ever heard here, in whatever form.
    pub fn heard_a_token(&self) -> bool {
        let heard = self.heard();
        (1..10)
            .flat_map(|number| words::traces(&words::token(number)))
            .any(|trace| words::contains(&heard, trace))
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Looks again and again, until it is so or the test has lost patience.
#[track_caller]
pub fn wait(mut is_so: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn visit(socket: TcpStream, script: &Script, record: &Mutex<Record>) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut peer = Peer {
        line: Line::Clear(socket),
        tag: String::new(),
        record,
    };
    for (at, step) in script.iter().enumerate() {
        if let Err(complaint) = peer.play(step) {
            let what = format!("step {at} of {}: {step:.200?}: {complaint}", script.len());
            lock(record).complaints.push(what);
            break;
        }
    }
    drop(peer);
    lock(record).over += 1;
}

/// The other side of a connection.
struct Peer<'a> {
    line: Line,
    tag: String,
    record: &'a Mutex<Record>,
}

enum Line {
    Clear(TcpStream),
    Secured(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Line {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Clear(socket) => socket,
            Self::Secured(stream) => &stream.sock,
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.read(buffer),
            Self::Secured(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.write(bytes),
            Self::Secured(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
        }
    }
}

impl Peer<'_> {
    fn play(&mut self, step: &Step) -> Result<(), String> {
        let done = match step {
            Step::Say(text) => self.say(text.replace("TAG", &self.tag).as_bytes()),
            Step::Drip(text) => {
                let text = text.replace("TAG", &self.tag);
                text.as_bytes()
                    .chunks(1)
                    .try_for_each(|octet| self.say(octet))
            }
            Step::Hear(expected) => return self.hear(expected),
            Step::Tls => self.secure(Certificate::Good),
            Step::NoTls(bad) => {
                return match self.secure(*bad).and_then(|()| self.read(1)) {
                    Ok(_) => Err("the handshake was accepted".into()),
                    Err(_) => Ok(()),
                };
            }
            Step::HearEnd => return self.hear_end(),
            Step::Exchange(said, expected) => return self.exchange(said, expected),
            Step::Close => self.close(),
            Step::Drop => self.line.socket().shutdown(Shutdown::Both),
        };
        done.map_err(|error| error.to_string())
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.write_all(bytes)?;
        self.line.flush()
    }

    fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut heard = vec![0; count];
        self.line.read_exact(&mut heard)?;
        lock(self.record).heard.extend_from_slice(&heard);
        Ok(heard)
    }

    fn hear(&mut self, expected: &str) -> Result<(), String> {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            let octet = self
                .read(1)
                .map_err(|error| format!("{error} after {line:?}"))?;
            line.push(char::from(octet[0]));
        }
        if expected.starts_with("TAG ") {
            self.tag = line.split(' ').next().unwrap_or_default().to_owned();
        }
        let expected = expected.replace("TAG", &self.tag);
        match line == format!("{expected}\r\n") {
            true => Ok(()),
            false => Err(format!("heard {line:?}")),
        }
    }

    fn hear_end(&mut self) -> Result<(), String> {
        match self.read(1) {
            Ok(octet) => Err(format!("heard {octet:?}")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err("no end".into()),
            Err(_) => Ok(()),
        }
    }

    fn exchange(&mut self, said: &[u8], expected: &[u8]) -> Result<(), String> {
        const PIECE: usize = 16 * 1024;
        let mut said = said.chunks(PIECE);
        let mut expected = expected.chunks(PIECE);
        loop {
            let (out, back) = (said.next(), expected.next());
            if let Some(piece) = out {
                self.say(piece).map_err(|error| error.to_string())?;
            }
            if let Some(piece) = back {
                let heard = self.read(piece.len()).map_err(|error| error.to_string())?;
                if heard != piece {
                    return Err("heard other octets".into());
                }
            }
            if out.is_none() && back.is_none() {
                return Ok(());
            }
        }
    }

    fn secure(&mut self, certificate: Certificate) -> io::Result<()> {
        let Line::Clear(socket) = &self.line else {
            return Err(io::Error::other("the connection is secured already"));
        };
        let mut socket = socket.try_clone()?;
        let mut session =
            ServerConnection::new(certificates::server(certificate)).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        self.line = Line::Secured(Box::new(StreamOwned::new(session, socket)));
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if let Line::Secured(stream) = &mut self.line {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        match self.line.socket().shutdown(Shutdown::Write) {
            // Both sides may hang up at once, and then the other one was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => closed,
        }
    }
}
