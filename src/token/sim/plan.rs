//! What people, the machine and its administrator do in those years.

use super::chance::Dice;
use super::sky::{DAY, HOUR, MINUTE, Ms, SECOND};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// The account with this number logs in.
    Login(usize),
    /// Somebody looks at everything, and signs in where that is asked for.
    Look,
    /// Somebody ends an account's sign-in at the provider.
    Revoke(usize),
    /// The machine is suspended for so long.
    Suspend(Ms),
    /// The machine's clock is set, so that it is ahead by this.
    SetAhead(Ms),
    /// The process ends, politely or not, and is back after so long.
    Stop { politely: bool, back_after: Ms },
}

/// All that happens until `end`, in order. In the last `calm` nothing bad happens.
pub(super) fn events(seed: u64, accounts: usize, end: Ms, calm: Ms) -> Vec<(Ms, Event)> {
    let mut events = Vec::new();
    for account in 0..accounts {
        let dice = &mut Dice::of(seed, ("logins", account));
        let logins = logins(dice, end).into_iter();
        events.extend(logins.map(|at| (at, Event::Login(account))));
        let dice = &mut Dice::of(seed, ("revocations", account));
        events.extend(now_and_then(dice, 600 * DAY, end - calm, |_| {
            Event::Revoke(account)
        }));
    }
    let mut looks = Dice::of(seed, "looks");
    events.extend(now_and_then(&mut looks, 20 * HOUR, end, |_| Event::Look));
    let end = end - calm;
    let mut machine = Dice::of(seed, "machine");
    events.extend(now_and_then(&mut machine, 60 * DAY, end, |dice| {
        Event::Suspend(dice.scale(MINUTE, 5 * DAY))
    }));
    events.extend(now_and_then(&mut machine, 90 * DAY, end, |dice| {
        Event::Stop {
            politely: dice.hits(0.5),
            back_after: dice.scale(SECOND, 2 * DAY),
        }
    }));
    for (at, set) in now_and_then(&mut machine, 150 * DAY, end - 4 * DAY, |dice| {
        let error = dice.scale(2 * MINUTE, 20 * DAY);
        Event::SetAhead(dice.pick(&[error, -error]))
    }) {
        let right_again = at + machine.scale(10 * MINUTE, 4 * DAY);
        events.extend([(at, set), (right_again, Event::SetAhead(0))]);
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

fn now_and_then(
    dice: &mut Dice,
    on_average: Ms,
    end: Ms,
    event: impl Fn(&mut Dice) -> Event,
) -> Vec<(Ms, Event)> {
    let mut events = Vec::new();
    let mut at = dice.between(0, 2 * on_average);
    while at < end {
        events.push((at, event(dice)));
        at += dice.between(MINUTE, 2 * on_average);
    }
    events
}

/// Busy days, weeks with a login now and then, and idle months.
fn logins(dice: &mut Dice, end: Ms) -> Vec<Ms> {
    let mut logins = Vec::new();
    let mut at = dice.between(0, DAY);
    while at < end {
        let (length, shortest, longest) = match dice.between(0, 10) {
            0..2 => (dice.between(HOUR, 2 * DAY), 5 * SECOND, 10 * HOUR),
            2..5 => (dice.between(10 * DAY, 60 * DAY), DAY, 40 * DAY),
            _ => (dice.between(100 * DAY, 250 * DAY), 0, 0),
        };
        let season_end = (at + length).min(end);
        while longest > 0 && at < season_end {
            logins.push(at);
            at += dice.scale(shortest, longest);
        }
        at = at.max(season_end);
    }
    logins
}
