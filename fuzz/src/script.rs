//! How the two sides of a session are written down in one file.
//!
//! The octet 0xFF, which is in no UTF-8 text, and a letter begin a turn. What stands before the first turn are options.
//!
//! ```text
//! \xffL  the mail program says what follows, in one piece
//! \xffU  the mail server says what follows, when it is its turn
//! \xffN  the mail server says what follows, on the next connection to it
//! \xffI  the conversation with the mail program is interrupted; what follows begins with T, S or L: time-out, stop, limit
//! ```
//!
//! An option is a letter, and each letter means something by itself; behind a `/` stand no letters but lengths ([`Script::cuts`]).

use std::collections::VecDeque;

use mailwicket::config::{MechanismChoice, UpstreamTls};
use mailwicket::dialogue::{Interruption, Privacy};

/// What the mail program does next.
#[derive(Clone, Copy, Debug)]
pub enum Local<'a> {
    Says(&'a [u8]),
    IsInterrupted(Interruption),
}

/// A session, written down.
#[derive(Debug)]
pub struct Script<'a> {
    /// What stands before the first turn.
    pub options: &'a [u8],
    /// The mail program's turns.
    pub local: VecDeque<Local<'a>>,
    /// The mail server's turns, for each connection to it.
    pub visits: VecDeque<VecDeque<&'a [u8]>>,
}

impl<'a> Script<'a> {
    /// Reads any octets.
    pub fn read(data: &'a [u8]) -> Self {
        let mut script = Self {
            options: data,
            local: VecDeque::new(),
            visits: VecDeque::from([VecDeque::new()]),
        };
        let marks: Vec<usize> = (0..data.len().saturating_sub(1))
            .filter(|&at| data[at] == 0xff && b"LUNI".contains(&data[at + 1]))
            .collect();
        if let Some(&first) = marks.first() {
            script.options = &data[..first];
        }
        for (which, &at) in marks.iter().enumerate() {
            let end = marks.get(which + 1).copied().unwrap_or(data.len());
            script.turn(data[at + 1], &data[at + 2..end]);
        }
        script
    }

    fn turn(&mut self, whose: u8, said: &'a [u8]) {
        match whose {
            b'L' => self.local.push_back(Local::Says(said)),
            b'I' => {
                let interruption = match said.first() {
                    Some(b'S') => Interruption::Shutdown,
                    Some(b'L') => Interruption::Limit,
                    _ => Interruption::Timeout,
                };
                self.local.push_back(Local::IsInterrupted(interruption));
            }
            b'N' => self.visits.push_back(VecDeque::from([said])),
            _ => match self.visits.back_mut() {
                Some(visit) => visit.push_back(said),
                None => self.visits.push_back(VecDeque::from([said])),
            },
        }
    }

    fn has(&self, option: u8) -> bool {
        let letters = self.options.split(|b| *b == b'/').next();
        letters.is_some_and(|letters| letters.contains(&option))
    }

    /// The lengths in which something comes.
    pub fn cuts(&self) -> &'a [u8] {
        let slash = self.options.iter().position(|b| *b == b'/');
        slash.map_or(&[][..], |at| &self.options[at + 1..])
    }

    /// `O`, `R` or `S`: TLS is offered to the mail program, or required, or on already.
    pub fn privacy(&self) -> Privacy {
        match (self.has(b'O'), self.has(b'R'), self.has(b'S')) {
            (true, _, _) => Privacy::Offered,
            (_, true, _) => Privacy::Required,
            (_, _, true) => Privacy::Secured,
            _ => Privacy::Clear,
        }
    }

    /// `W`: the mail program may send without a login.
    pub fn is_waived(&self) -> bool {
        self.has(b'W')
    }

    /// `t`: TLS begins with STARTTLS upstream.
    pub fn tls(&self) -> UpstreamTls {
        match self.has(b't') {
            true => UpstreamTls::StartTls,
            false => UpstreamTls::Implicit,
        }
    }

    /// `x` or `b`: only XOAUTH2 or OAUTHBEARER.
    pub fn mechanism(&self) -> MechanismChoice {
        match (self.has(b'x'), self.has(b'b')) {
            (true, false) => MechanismChoice::Xoauth2,
            (false, true) => MechanismChoice::Oauthbearer,
            _ => MechanismChoice::Auto,
        }
    }
}
