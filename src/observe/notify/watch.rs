//! What people have to hear, and when: once at once, then a reminder a day, and once more when it is over.
//!
//! Knows no clock, file, account or network: it is shown what is wrong now, and says what is news.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long after the first word, and after each reminder, somebody is reminded.
const REMIND: SignedDuration = SignedDuration::from_hours(24);
/// An end that moves by less is the same one: it is told as seconds that are left, and clocks are set right.
const SAME_END: SignedDuration = SignedDuration::from_mins(10);
/// Days before an end at which it is announced; the last is the end itself.
const NOTICE_DAYS: [i64; 4] = [30, 7, 1, 0];

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whose trouble it is, as the mailbox of an account; with [`Trouble::kind`] it is what the trouble is known by.
    pub subject: String,
    /// What kind of trouble: an account's state, or another stable word.
    pub kind: String,
    /// Since when.
    pub since: Timestamp,
    /// How long it may last before anybody is told: what heals by itself within minutes is no news. `None` for what says nothing about
    /// trouble of this kind: it begins none, and ends none.
    pub patience: Option<SignedDuration>,
    /// Why, in words.
    pub reason: String,
    /// What to do, in words.
    pub remedy: String,
}

/// Something that will end on a known day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What ends, as `client-secret of provider contoso`.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// What to do before that.
    pub remedy: String,
}

/// All that can be seen at one time; each list is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Who can have trouble at all.
    pub accounts: BTreeSet<String>,
    /// What is wrong.
    pub troubles: Vec<Trouble>,
    /// What will end.
    pub endings: Vec<Ending>,
}

/// Something that people have to hear. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    /// What kind of notice it is.
    pub event: Event,
    /// Whom or what it is about.
    pub subject: String,
    /// What it says of it, in one stable word: an account's state, `login-failing`, `ending`.
    pub state: String,
    /// Since when that is so, or when the end is.
    pub at: Timestamp,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// What kind of notice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It has begun.
    Began,
    /// It goes on, a day after the last word about it.
    Reminder,
    /// It is over.
    Over,
    /// It will end, or has ended.
    Ending,
}

impl Notice {
    /// One line for people.
    pub fn text(&self) -> String {
        let Self {
            subject,
            state,
            reason,
            remedy,
            at,
            ..
        } = self;
        let mut text = match self.event {
            Event::Began => format!("{subject}: {state}"),
            Event::Reminder => format!("{subject}: still {state}, since {at:.0}"),
            Event::Over => format!("{subject}: ok again"),
            Event::Ending => format!("{subject}: ends {at:.0}"),
        };
        for more in [reason, remedy] {
            if !more.is_empty() {
                text.push_str(". ");
                text.push_str(more.trim_end_matches('.'));
            }
        }
        text
    }
}

/// What people have heard already. It is kept on disk, so that a restart repeats nothing and forgets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Watch {
    /// By subject.
    troubles: BTreeMap<String, Told>,
    /// By subject: the end that was announced, and the fewest days before it at which that was done.
    endings: BTreeMap<String, (Timestamp, i64)>,
}

/// A trouble that people have heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    kind: String,
    /// When they heard of it last.
    at: Timestamp,
    /// Whether it was not there at the last look. A login that succeeds may be refused the mailbox a moment later, and nobody wants to
    /// hear of that moment.
    #[serde(default)]
    is_gone: bool,
}

impl Watch {
    /// What is news. Taken for told: whoever cannot deliver it goes on with a copy of the state before.
    pub fn look(&mut self, now: Timestamp, sight: &Sight) -> Vec<Notice> {
        let mut notices = Vec::new();
        for trouble in &sight.troubles {
            notices.extend(self.of_trouble(now, trouble));
        }
        notices.extend(self.over(now, sight));
        for ending in &sight.endings {
            notices.extend(self.of_ending(now, ending));
        }
        let is_left = |subject: &String| sight.endings.iter().any(|end| end.subject == *subject);
        // What cannot be seen for a while is not told anew when it can.
        self.endings
            .retain(|subject, (at, _)| is_left(subject) || now < *at);
        notices
    }

    fn of_trouble(&mut self, now: Timestamp, trouble: &Trouble) -> Option<Notice> {
        let told = self.troubles.get(&trouble.subject);
        let event = match told {
            Some(told) if told.kind == trouble.kind => {
                // Either way: a clock that was ahead must not silence anybody.
                (now.duration_since(told.at).abs() >= REMIND).then_some(Event::Reminder)
            }
            // What has become worse, or other, is news, but what may heal by itself still gets its time.
            _ => (now.duration_since(trouble.since) >= trouble.patience?).then_some(Event::Began),
        }?;
        let kind = trouble.kind.clone();
        let told = Told {
            kind,
            at: now,
            is_gone: false,
        };
        self.troubles.insert(trouble.subject.clone(), told);
        Some(Notice {
            event,
            subject: trouble.subject.clone(),
            state: trouble.kind.clone(),
            at: trouble.since,
            reason: trouble.reason.clone(),
            remedy: trouble.remedy.clone(),
        })
    }

    /// What people have heard of and is no more. Of an account that is no more there is nothing to tell.
    fn over(&mut self, now: Timestamp, sight: &Sight) -> Vec<Notice> {
        let mut over = Vec::new();
        for (subject, told) in &mut self.troubles {
            let is_gone = !sight.goes_on(subject, told);
            let was_gone = std::mem::replace(&mut told.is_gone, is_gone);
            if was_gone && is_gone {
                over.push(subject.clone());
            }
        }
        for subject in &over {
            self.troubles.remove(subject);
        }
        over.retain(|subject| sight.accounts.contains(subject));
        let notice = |subject| Notice {
            event: Event::Over,
            subject,
            state: "ok".to_owned(),
            at: now,
            reason: String::new(),
            remedy: String::new(),
        };
        over.into_iter().map(notice).collect()
    }

    fn of_ending(&mut self, now: Timestamp, ending: &Ending) -> Option<Notice> {
        let left = ending.at.duration_since(now);
        let due = |days: &i64| left <= SignedDuration::from_hours(24 * days);
        // The nearest of the days that have come.
        let days = NOTICE_DAYS.into_iter().rev().find(due)?;
        let told = self.endings.get(&ending.subject);
        let is_same = |at: &Timestamp| ending.at.duration_since(*at).abs() < SAME_END;
        if told.is_some_and(|(at, told)| is_same(at) && *told <= days) {
            return None;
        }
        self.endings
            .insert(ending.subject.clone(), (ending.at, days));
        Some(Notice {
            event: Event::Ending,
            subject: ending.subject.clone(),
            state: "ending".to_owned(),
            at: ending.at,
            reason: String::new(),
            remedy: ending.remedy.clone(),
        })
    }
}

impl Sight {
    /// Whether what people were told of this subject is still so, or has become something else that they will be told of.
    fn goes_on(&self, subject: &str, told: &Told) -> bool {
        let is_it = |trouble: &Trouble| trouble.kind == told.kind || trouble.patience.is_some();
        let mut troubles = self.troubles.iter();
        troubles.any(|trouble| trouble.subject == *subject && is_it(trouble))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(START + hours * 3600).expect("a time")
    }

    fn trouble(kind: &str, patience: i64) -> Trouble {
        Trouble {
            subject: "alice@example.com".into(),
            kind: kind.into(),
            since: at(0),
            patience: Some(SignedDuration::from_hours(patience)),
            reason: "it lapsed".into(),
            remedy: "Sign in again.".into(),
        }
    }

    /// What alice's administrator sees.
    fn sight(troubles: &[Trouble], endings: &[Ending]) -> Sight {
        Sight {
            accounts: BTreeSet::from(["alice@example.com".to_owned()]),
            troubles: troubles.to_vec(),
            endings: endings.to_vec(),
        }
    }

    fn events(notices: &[Notice]) -> Vec<Event> {
        notices.iter().map(|notice| notice.event).collect()
    }

    #[test]
    fn trouble_is_told_once_then_daily_and_once_when_it_is_over() {
        let mut watch = Watch::default();
        let troubles = [trouble("needs-consent", 0)];
        let told: Vec<_> = (0..50)
            .flat_map(|hour| watch.look(at(hour), &sight(&troubles, &[])))
            .collect();
        assert_eq!(
            events(&told),
            [Event::Began, Event::Reminder, Event::Reminder]
        );
        assert_eq!(
            told[0].text(),
            "alice@example.com: needs-consent. it lapsed. Sign in again"
        );
        assert_eq!(watch.look(at(50), &sight(&[], &[])), []);
        assert_eq!(events(&watch.look(at(50), &sight(&[], &[]))), [Event::Over]);
        assert_eq!(watch.look(at(51), &sight(&[], &[])), []);
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_silences_nobody() {
        let mut watch = Watch::default();
        let troubles = sight(&[trouble("needs-consent", 0)], &[]);
        watch.look(at(24 * 365), &troubles);
        assert_eq!(events(&watch.look(at(1), &troubles)), [Event::Reminder]);
        assert_eq!(watch.look(at(2), &troubles), []);
    }

    #[test]
    fn what_heals_within_its_patience_is_never_told() {
        let mut watch = Watch::default();
        let troubles = [trouble("retrying", 2)];
        assert_eq!(watch.look(at(1), &sight(&troubles, &[])), []);
        assert_eq!(watch.look(at(1), &sight(&[], &[])), []);
        assert_eq!(
            events(&watch.look(at(2), &sight(&troubles, &[]))),
            [Event::Began]
        );
    }

    #[test]
    fn another_kind_of_trouble_is_news() {
        let mut watch = Watch::default();
        watch.look(at(0), &sight(&[trouble("retrying", 0)], &[]));
        let news = watch.look(at(1), &sight(&[trouble("needs-consent", 0)], &[]));
        assert_eq!(events(&news), [Event::Began]);
    }

    #[test]
    fn a_restart_repeats_nothing_and_forgets_nothing() {
        let mut watch = Watch::default();
        let troubles = [trouble("needs-consent", 0)];
        watch.look(at(0), &sight(&troubles, &[]));
        let kept = serde_json::to_string(&watch).expect("JSON");
        let mut watch: Watch = serde_json::from_str(&kept).expect("as it was written");
        assert_eq!(watch.look(at(1), &sight(&troubles, &[])), []);
        assert_eq!(watch.look(at(2), &sight(&[], &[])), []);
        assert_eq!(events(&watch.look(at(2), &sight(&[], &[]))), [Event::Over]);
    }

    #[test]
    fn an_end_is_announced_thirty_seven_and_one_day_ahead_and_when_it_has_come() {
        let mut watch = Watch::default();
        let end = [Ending {
            subject: "client-secret of provider contoso".into(),
            at: at(24 * 40),
            remedy: "make a new one".into(),
        }];
        let told_on: Vec<i64> = (0..60)
            .filter(|day| !watch.look(at(24 * day), &sight(&[], &end)).is_empty())
            .collect();
        assert_eq!(told_on, [10, 33, 39, 40]);
    }

    #[test]
    fn an_end_that_is_near_when_it_is_first_seen_is_announced_once() {
        let mut watch = Watch::default();
        let end = |at| {
            [Ending {
                subject: "x".into(),
                at,
                remedy: String::new(),
            }]
        };
        assert_eq!(watch.look(at(0), &sight(&[], &end(at(24 * 5)))).len(), 1);
        assert_eq!(watch.look(at(1), &sight(&[], &end(at(24 * 5)))), []);
        // A new secret with another end is another matter.
        assert_eq!(watch.look(at(2), &sight(&[], &end(at(24 * 6)))).len(), 1);
    }

    #[test]
    fn an_end_that_moves_by_seconds_is_the_same_and_told_once() {
        let mut watch = Watch::default();
        let end = |seconds| {
            [Ending {
                subject: "sign-in of alice@example.com".into(),
                at: at(5) + SignedDuration::from_secs(seconds),
                remedy: String::new(),
            }]
        };
        let told: Vec<_> = (0..100)
            .flat_map(|look| {
                let end = end((look % 3) * 7);
                // Once in a while it cannot be seen.
                let end = if look % 10 == 9 { &[][..] } else { &end };
                watch.look(at(0), &sight(&[], end))
            })
            .collect();
        assert_eq!(events(&told), [Event::Ending]);
    }

    #[test]
    fn trouble_of_an_account_that_was_removed_ends_without_a_word() {
        let mut watch = Watch::default();
        watch.look(at(0), &sight(&[trouble("needs-consent", 0)], &[]));
        for _ in 0..3 {
            assert_eq!(watch.look(at(1), &Sight::default()), []);
        }
        // And when it comes back, well, neither.
        assert_eq!(watch.look(at(2), &sight(&[], &[])), []);
        assert_eq!(watch.look(at(2), &sight(&[], &[])), []);
    }

    #[test]
    fn trouble_that_is_gone_for_one_look_is_not_over() {
        let mut watch = Watch::default();
        let troubles = [trouble("login-failing", 0)];
        watch.look(at(0), &sight(&troubles, &[]));
        for _ in 0..3 {
            assert_eq!(watch.look(at(1), &sight(&[], &[])), []);
            assert_eq!(watch.look(at(1), &sight(&troubles, &[])), []);
        }
    }

    #[test]
    fn what_says_nothing_of_a_trouble_neither_begins_nor_ends_it() {
        let mut watch = Watch::default();
        let nothing = [Trouble {
            patience: None,
            ..trouble("login-failing", 0)
        }];
        let look = |watch: &mut Watch, troubles: &[Trouble]| {
            let both = [at(1), at(1)].map(|at| watch.look(at, &sight(troubles, &[])));
            events(&both.concat())
        };
        assert_eq!(look(&mut watch, &nothing), []);
        assert_eq!(
            look(&mut watch, &[trouble("login-failing", 0)]),
            [Event::Began]
        );
        assert_eq!(look(&mut watch, &nothing), []);
        assert_eq!(
            look(&mut watch, &[trouble("needs-consent", 0)]),
            [Event::Began]
        );
        assert_eq!(look(&mut watch, &nothing), [Event::Over]);
    }
}
