//! What goes wrong at the token endpoint: for a while, for everybody; and with single requests.

use super::chance::Dice;
use super::sky::{DAY, HOUR, MINUTE, Ms, SECOND};

/// What the whole endpoint does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    /// Nobody answers the call.
    Unreachable,
    /// Requests are taken and never answered.
    Silent,
    /// An error page.
    Page(u16),
    /// A page of a portal that wants a login first, with status 200.
    Portal,
    /// 429 or 503 with `Retry-After`: so many milliseconds, in seconds or as a date.
    Busy { status: u16, after: Ms, dated: bool },
    /// `temporarily_unavailable`.
    Unavailable,
    /// The client secret has expired: `invalid_client`.
    Secret,
    /// Entra thinks that it sees a loop.
    Loop,
}

/// The longest time that is kept of a `Retry-After`.
pub(super) const RETRY_AFTER_MAX: Ms = HOUR;
/// After a failure that time heals, the next try comes within a minute; with it come a probe that fails in its own way, and latency.
const RETRY: Ms = 150 * SECOND;

impl Fault {
    /// How long after its end a renewal may still be held back.
    pub(super) fn echo(self) -> Ms {
        RETRY
            + match self {
                Self::Busy { after, .. } => after.min(RETRY_AFTER_MAX) * 11 / 10,
                Self::Secret => HOUR,
                Self::Loop => HOUR * 11 / 10,
                _ => 0,
            }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Ms,
    pub(super) until: Ms,
    pub(super) fault: Fault,
}

/// Faults of one endpoint until `end`, in order and apart from each other.
pub(super) fn windows(dice: &mut Dice, end: Ms) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut from = dice.between(DAY, 30 * DAY);
    loop {
        let fault = fault(dice);
        let longest = match fault {
            Fault::Loop => 10 * MINUTE,
            _ if dice.hits(0.05) => 3 * DAY,
            _ => 12 * HOUR,
        };
        let until = from + dice.scale(5 * MINUTE, longest);
        if until >= end {
            return windows;
        }
        windows.push(Window { from, until, fault });
        from = until + dice.scale(10 * DAY, 150 * DAY);
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let busy = Fault::Busy {
        status: dice.pick(&[429, 503]),
        after: dice.pick(&[SECOND, 30 * SECOND, 10 * MINUTE, HOUR, 400 * DAY]),
        dated: dice.hits(0.5),
    };
    let page = Fault::Page(dice.pick(&[500, 502, 504, 403]));
    dice.pick(&[
        Fault::Unreachable,
        Fault::Silent,
        page,
        page,
        Fault::Portal,
        busy,
        busy,
        Fault::Unavailable,
        Fault::Secret,
        Fault::Loop,
    ])
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    None,
    /// Lost before the provider saw it.
    LostBefore,
    /// Its answer is lost.
    LostAfter,
    /// The provider acts, and answers when nobody waits any more.
    TooLate,
    /// Slow, but in time.
    Slow,
    /// An error page, once.
    Page,
    /// The answer has a good refresh token and an access token that cannot be read.
    Unreadable,
}

pub(super) fn mishap(dice: &mut Dice, may_lose: bool) -> Mishap {
    let mishap = match dice.between(0, 1000) {
        0..5 => Mishap::LostBefore,
        5..10 => Mishap::LostAfter,
        10..13 => Mishap::TooLate,
        13..40 => Mishap::Slow,
        40..45 => Mishap::Page,
        45..50 => Mishap::Unreadable,
        _ => Mishap::None,
    };
    let loses = matches!(mishap, Mishap::LostAfter | Mishap::TooLate);
    // Where a lost answer ends a sign-in for good, it is rarer.
    if loses && !may_lose && !dice.hits(0.1) {
        return Mishap::None;
    }
    mishap
}
