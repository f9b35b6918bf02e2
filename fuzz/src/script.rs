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

use std::collections::VecDeque;

use mailwicket::config::{MechanismChoice, UpstreamTls};
use mailwicket::dialogue::Interruption;

/// What the mail program does next.
#[derive(Clone, Copy, Debug)]
pub enum Local<'a> {
    Says(&'a [u8]),
    IsInterrupted(Interruption),
}

/// A session, written down.
#[derive(Debug)]
pub struct Script<'a> {
    /// What stands before the first turn. Each octet means something by itself, in any order.
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

    /// `t`: TLS begins with STARTTLS upstream.
    pub fn tls(&self) -> UpstreamTls {
        match self.options.contains(&b't') {
            true => UpstreamTls::StartTls,
            false => UpstreamTls::Implicit,
        }
    }

    /// `x` or `b`: only XOAUTH2 or OAUTHBEARER.
    pub fn mechanism(&self) -> MechanismChoice {
        match (self.options.contains(&b'x'), self.options.contains(&b'b')) {
            (true, false) => MechanismChoice::Xoauth2,
            (false, true) => MechanismChoice::Oauthbearer,
            _ => MechanismChoice::Auto,
        }
    }
}
