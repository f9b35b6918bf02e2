//! A token endpoint that gives out numbered tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::words;

/// What the endpoint answers, once it has given out all tokens that it may.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// More tokens.
    More,
    /// An error with this HTTP status and OAuth code.
    Error(u16, &'static str),
}

/// A running token endpoint.
pub struct SignIn {
    pub url: String,
    asked: Arc<AtomicUsize>,
}

impl SignIn {
    /// Gives out `tokens` tokens.
    pub fn start(tokens: usize, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let count = Arc::clone(&count);
                // A connection may be kept for more than one request.
                thread::spawn(move || {
                    while answer(socket.as_ref().unwrap(), &count, tokens, then).is_some() {}
                });
            }
        });
        Self { url, asked }
    }

    /// How often it was asked for a token.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut socket: &TcpStream, count: &AtomicUsize, tokens: usize, then: Then) -> Option<()> {
    let mut request = BufReader::new(socket);
    let (mut line, mut octets) = (String::new(), 0);
    request.read_line(&mut line).ok()?;
    let asks_for_a_token = line.starts_with("POST ");
    line.clear();
    while request.read_line(&mut line).ok()? > 0 && line != "\r\n" {
        let lower = line.to_ascii_lowercase();
        if let Some(length) = lower.strip_prefix("content-length:") {
            octets = length.trim().parse().ok()?;
        }
        line.clear();
    }
    if line.is_empty() {
        return None;
    }
    let mut body = vec![0; octets];
    request.read_exact(&mut body).ok()?;
    if !asks_for_a_token {
        let date = jiff::fmt::rfc2822::to_string(&jiff::Zoned::now()).ok()?;
        let refusal = format!("HTTP/1.1 405 X\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n");
        return socket.write_all(refusal.as_bytes()).ok();
    }
    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
    let (status, body) = match then {
        Then::Error(status, code) if number > tokens => {
            (status, format!("{{\"error\":\"{code}\"}}"))
        }
        _ => (
            200,
            format!(
                "{{\"access_token\":\"{}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}",
                words::token(number)
            ),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).ok()
}
