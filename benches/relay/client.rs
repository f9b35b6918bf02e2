//! The load: plain sockets that log in as an old mail program does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

pub const PASSWORD: &str = "bench-password";
const LOGIN: &str = "a1 LOGIN bench@example.test bench-password\r\n";

/// What is done through a proxy.
#[derive(Clone, Copy)]
pub enum Load {
    Down {
        connections: usize,
        piece: usize,
        pieces: usize,
    },
    Up {
        connections: usize,
        piece: usize,
        pieces: usize,
    },
    Logins {
        parallel: usize,
        each: usize,
    },
}

/// Does it; gives megabytes, or logins.
pub fn run(port: u16, load: Load) -> f64 {
    match load {
        Load::Down {
            connections,
            piece,
            pieces,
        } => {
            together(connections, || down(port, piece, pieces));
            (connections * piece * pieces) as f64 / 1e6
        }
        Load::Up {
            connections,
            piece,
            pieces,
        } => {
            together(connections, || up(port, piece, pieces));
            (connections * piece * pieces) as f64 / 1e6
        }
        Load::Logins { parallel, each } => {
            together(parallel, || (0..each).for_each(|_| drop(login(port))));
            (parallel * each) as f64
        }
    }
}

fn together(count: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| (0..count).for_each(|_| drop(scope.spawn(&work))));
}

/// A connection that is logged in.
pub fn login(port: u16) -> BufReader<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    tcp.set_nodelay(true).expect("TCP_NODELAY");
    tcp.set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out");
    let mut local = BufReader::with_capacity(256 * 1024, tcp);
    let greeting = line(&mut local);
    assert!(
        greeting.starts_with("* OK"),
        "a greeting on port {port}, not {greeting:?}"
    );
    local.get_mut().write_all(LOGIN.as_bytes()).expect("sent");
    let answer = line(&mut local);
    assert!(answer.starts_with("a1 OK"), "a login, not {answer:?}");
    local
}

fn line(local: &mut impl BufRead) -> String {
    let mut line = String::new();
    local.read_line(&mut line).expect("an answer");
    line
}

fn down(port: u16, piece: usize, pieces: usize) {
    let mut local = login(port);
    for _ in 0..pieces {
        write!(local.get_mut(), "DOWN {piece}\r\n").expect("sent");
        let count =
            io::copy(&mut local.by_ref().take(piece as u64), &mut io::sink()).expect("bytes");
        assert_eq!(count, piece as u64);
    }
}

fn up(port: u16, piece: usize, pieces: usize) {
    let mut local = login(port);
    let bytes = vec![0; piece];
    for _ in 0..pieces {
        write!(local.get_mut(), "UP {piece}\r\n").expect("sent");
        local.get_mut().write_all(&bytes).expect("sent");
        assert_eq!(line(&mut local), "OK\r\n");
    }
}

/// The time of every NOOP.
pub fn noops(port: u16, count: usize) -> Vec<Duration> {
    let mut local = login(port);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        local.get_mut().write_all(b"n NOOP\r\n").expect("sent");
        line(&mut local);
        times.push(begun.elapsed());
    }
    times
}

/// Sessions that are logged in and say nothing more.
pub fn idle(port: u16, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| login(port).into_inner()).collect()
}

/// Waits until somebody listens.
pub fn wait_for(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "nobody listens on {port}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
