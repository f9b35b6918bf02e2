//! Messages: small work on their bytes, and a crowd of strange ones, the same in every run.

use std::fmt::Write as _;

/// Whether the message goes through a server that mends what it takes for a broken message.
#[derive(Clone, Copy, PartialEq)]
pub enum Road {
    /// Postfix puts an empty line where a header is not one, and trims carriage returns.
    Submission,
    /// Dovecot's LMTP keeps it all.
    Delivery,
}

// ---- bytes --------------------------------------------------------------------------------------------------

pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

pub fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

/// Maildir files have bare LFs.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 16);
    for &byte in text {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// Line ends as mail programs write them to files.
pub fn with_lf(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|&byte| byte != b'\r').collect()
}

/// As `DATA` wants it: dots doubled at the start of lines, and the end marked.
pub fn dotted(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// The other way.
pub fn undotted(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

// ---- messages -----------------------------------------------------------------------------------------------

/// A message that every mail program leaves alone.
pub fn plain(mark: &str) -> Vec<u8> {
    format!(
        "From: Alice <alice@example.test>\r\nTo: Bob <bob@example.test>\r\nSubject: {mark}\r\n\
         Date: Tue, 01 Oct 2024 12:00:00 +0000\r\nMessage-ID: <{mark}@example.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         The body of {mark}.\r\n.\r\n..\r\nGr\u{fc}\u{df}e, \u{65e5}\u{672c}\r\n\r\nThe end of {mark}.\r\n"
    )
    .into_bytes()
}

/// The body of `plain`, as a mail program must show it.
pub fn plain_body(mark: &str) -> Vec<u8> {
    let message = plain(mark);
    let at = find(&message, b"\r\n\r\n").expect("a body");
    message[at + 4..].to_vec()
}

/// So many strange messages, no two alike.
pub fn corpus(count: usize, road: Road) -> Vec<Vec<u8>> {
    (0..count).map(|number| strange(number, road)).collect()
}

/// Megabytes of all bytes that may be in a message.
pub fn large(megabytes: usize) -> Vec<u8> {
    let mut dice = Dice::new(5);
    let mut message =
        b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".to_vec();
    while message.len() < megabytes * 1_000_000 {
        dice.line(&mut message, 900, eight_bit);
    }
    message
}

fn strange(number: usize, road: Road) -> Vec<u8> {
    let mut dice = Dice::new(number as u64 + 1);
    let mut message = format!("X-Number: {number}\r\n").into_bytes();
    let mut put = |text: &str| message.extend_from_slice(text.as_bytes());
    match number % 16 {
        0 => put("Subject: plain\r\n\r\nNothing to see.\r\n"),
        1 => put(
            "Subject: Stra\u{df}e \u{2013} \u{65e5}\u{672c}\u{8a9e} \u{1f4ec}\r\nFrom: \u{c5}sa <a@example.test>\r\n\r\nsm\u{f8}rg\u{e5}s\r\n",
        ),
        2 => put(
            "Subject: =?utf-8?Q?a=5F?=\r\n\t=?iso-8859-1?B?Z3L832U=?=\r\n    and more  \r\n\r\nfolded\r\n",
        ),
        3 => put("Subject: dots\r\n\r\n.\r\n..\r\n...\r\n. \r\n.x\r\n..x\r\nx.\r\n\r\n.\r\n"),
        4 => put("Subject: nothing follows\r\n\r\n"),
        5 => put(
            "Subject: \r\nSubject: twice\r\nX-Empty:\r\nX-:\r\nx-UPPER-lower:no space\r\n\r\nodd\r\n",
        ),
        6 => put(
            "Content-Type: multipart/mixed; boundary=\"=_x;y\"\r\n\r\npreamble\r\n--=_x;y\r\n\r\none\r\n--=_x;y\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntwo\r\n",
        ),
        7 => put("Content-Type: multipart/alternative; boundary=\r\n\r\n--\r\n--\r\n----\r\n"),
        8 => put(
            "Content-Type: text/plain; charset=\"no-such\"; format=\r\nContent-Transfer-Encoding: 9bit\r\n\r\n=20=\r\n=ZZ\r\n",
        ),
        9 => put("Subject: white space\r\n\r\n \r\n\t\r\ntrailing   \r\n\r\n\r\n\r\n"),
        10 => put(
            "Subject: control\r\n\r\n\u{1}\u{2}\u{7}\u{8}\u{b}\u{c}\u{e}\u{1a}\u{1b}[31m\u{7f}\r\n",
        ),
        11 => put(
            "Subject: looks like protocol\r\n\r\nFrom here\r\n* BYE\r\n+OK\r\n-ERR\r\na1 OK LOGIN\r\nQUIT\r\n250 ok\r\n)\r\n{3}\r\nabc\r\n",
        ),
        12 => put("Subject: long lines\r\n\r\n"),
        13 => put("Subject: latin and worse\r\n\r\n"),
        14 => put("Subject: base64\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        _ => put("Subject: many fields\r\n"),
    }
    match number % 16 {
        12 => dice.lines(&mut message, 4, 30_000, printable),
        13 => dice.lines(&mut message, 40, 500, eight_bit),
        14 => dice.lines(&mut message, 60, 76, printable),
        15 => dice.fields(&mut message),
        _ => dice.lines(&mut message, 3, 200, printable),
    }
    if road == Road::Delivery && number % 5 == 4 {
        message.extend_from_slice(b"a bare\rcarriage return and a NUL \0\r\n");
    }
    message
}

fn printable(byte: u8) -> u8 {
    b' ' + byte % 95
}

/// Anything but NUL and line ends.
fn eight_bit(byte: u8) -> u8 {
    match byte {
        0 | b'\r' | b'\n' => 0xff,
        other => other,
    }
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }

    fn line(&mut self, out: &mut Vec<u8>, longest: usize, shape: fn(u8) -> u8) {
        for _ in 0..self.roll() % longest {
            out.push(shape((self.roll() & 0xff) as u8));
        }
        out.extend_from_slice(b"\r\n");
    }

    fn lines(&mut self, out: &mut Vec<u8>, most: usize, longest: usize, shape: fn(u8) -> u8) {
        for _ in 0..self.roll() % most {
            self.line(out, longest, shape);
        }
    }

    fn fields(&mut self, out: &mut Vec<u8>) {
        let mut text = String::new();
        for field in 0..self.roll() % 60 {
            let spaces = self.roll() % 5;
            let folds = "\r\n\tfolded".repeat(self.roll() % 4);
            write!(text, "X-Field-{field}:{:spaces$}value{folds}\r\n", "").expect("a string");
        }
        text.push_str("\r\nthe body\r\n");
        out.extend_from_slice(text.as_bytes());
    }
}
