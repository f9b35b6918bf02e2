//! A proxy on the way to a mail server: it hears what it must hear, says what it is told to, and then only carries octets.
//!
//! It leads to a name that nobody can resolve, so whoever gets there has gone through it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::upstream::PATIENCE;

/// What the proxy hears, and says to it.
pub type Talk = Vec<(Vec<u8>, Vec<u8>)>;

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    opened: Arc<AtomicUsize>,
}

impl Proxy {
    /// Has this talk with every visitor, and then leads to `port` of this machine; nowhere if there is none.
    pub fn start(talk: Talk, port: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (talk, count) = (talk.clone(), Arc::clone(&count));
                thread::spawn(move || lead(socket.unwrap(), &talk, port, &count));
            }
        });
        Self { port: own, opened }
    }

    /// How many tunnels it has made.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

fn lead(mut visitor: TcpStream, talk: &Talk, port: Option<u16>, opened: &AtomicUsize) {
    visitor.set_read_timeout(Some(PATIENCE)).unwrap();
    let Some(((last, granted), before)) = talk.split_last() else {
        return;
    };
    let exchange = |expected: &[u8]| {
        let mut heard = vec![0; expected.len()];
        (&visitor).read_exact(&mut heard).is_ok() && heard == expected
    };
    for (expected, answer) in before {
        if !exchange(expected) || (&visitor).write_all(answer).is_err() {
            return;
        }
    }
    if !exchange(last) {
        return;
    }
    let Some(port) = port else {
        let _ = visitor.write_all(granted);
        return;
    };
    let mut host = TcpStream::connect(("127.0.0.1", port)).unwrap();
    opened.fetch_add(1, Ordering::SeqCst);
    // What a server says of its own accord goes out in the same segment as the proxy's own answer.
    host.set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut first = [0; 1024];
    let count = host.read(&mut first).unwrap_or(0);
    host.set_read_timeout(None).unwrap();
    visitor.set_read_timeout(None).unwrap();
    if visitor
        .write_all(&[granted, &first[..count]].concat())
        .is_err()
    {
        return;
    }
    let (mut from, mut to) = (visitor.try_clone().unwrap(), host.try_clone().unwrap());
    thread::spawn(move || carry(&mut from, &mut to));
    carry(&mut host, &mut visitor);
}

/// One direction, to its end.
fn carry(from: &mut TcpStream, to: &mut TcpStream) {
    let _ = std::io::copy(from, to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}
