//! How the two sides of a session are written down in one file.
//!
//! The octet 0xFF, which is in no UTF-8 text, and a letter begin a turn. What stands before the first turn are options.
//!
//! ```text
//! \xffL  the mail program says what follows, in one piece
//! \xffC  the same, and if a handshake is about to begin, in clear before it
//! \xffU  the mail server says what follows, when it is its turn
//! \xffN  the mail server says what follows, on the next connection to it
//! \xffI  the conversation with the mail program is interrupted; what follows begins with T, S or L: time-out, stop, limit
//! ```

use std::collections::VecDeque;

use mailwicket::config::{MechanismChoice, UpstreamTls};
use mailwicket::dialogue::{Interruption, Privacy};
use mailwicket::protocol::Protocol;

/// What the mail program does next.
#[derive(Clone, Copy, Debug)]
pub enum Local<'a> {
    Says(&'a [u8]),
    SaysInClear(&'a [u8]),
    IsInterrupted(Interruption),
}

/// A session, written down.
#[derive(Debug)]
pub struct Script<'a> {
    /// What stands before the first turn, up to a `/`. Each octet means something by itself, in any order.
    pub options: &'a [u8],
    /// The octets behind that `/`: lengths in which something comes.
    pub cuts: &'a [u8],
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
            cuts: &[],
            local: VecDeque::new(),
            visits: VecDeque::from([VecDeque::new()]),
        };
        let marks: Vec<usize> = (0..data.len().saturating_sub(1))
            .filter(|&at| data[at] == 0xff && b"LCUNI".contains(&data[at + 1]))
            .collect();
        if let Some(&first) = marks.first() {
            script.options = &data[..first];
        }
        if let Some(slash) = script.options.iter().position(|b| *b == b'/') {
            script.cuts = &script.options[slash + 1..];
            script.options = &script.options[..slash];
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
            b'C' => self.local.push_back(Local::SaysInClear(said)),
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

    /// The first option, where one file is for one of three protocols: `i`, `p` or `s`.
    pub fn protocol(&self) -> Protocol {
        match self.options.first() {
            Some(b'p') => Protocol::Pop3,
            Some(b's') => Protocol::Smtp,
            _ => Protocol::Imap,
        }
    }

    /// `t`: TLS begins with STARTTLS upstream.
    pub fn tls(&self) -> UpstreamTls {
        match self.options.contains(&b't') {
            true => UpstreamTls::StartTls,
            false => UpstreamTls::Implicit,
        }
    }

    /// How private the mail program's side is at first: `o`, STARTTLS is offered; `r`, it is required; `e`, all is encrypted.
    pub fn privacy(&self) -> Privacy {
        let known = [
            (b'r', Privacy::Required),
            (b'o', Privacy::Offered),
            (b'e', Privacy::Secured),
        ];
        let chosen = known
            .iter()
            .find(|(letter, _)| self.options.contains(letter));
        chosen.map_or(Privacy::Clear, |(_, privacy)| *privacy)
    }

    /// `w`: the mail program may send without a login.
    pub fn is_waived(&self) -> bool {
        self.options.contains(&b'w')
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
