//! What mail servers say when they let nobody in, as data: to explain another answer, add a row.
//!
//! The protocols define a few codes (RFC 5530, RFC 3206, RFC 3463) that say what may help; providers put the rest in words. A row
//! recognises words, says in ours what they mean, and corrects what the code alone would make us do: asking for another token does not
//! help where a switch is off.

use super::UpstreamFailureKind as Kind;

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// What can be done about it, where the words say more than the code.
    pub(super) kind: Option<Kind>,
    /// For the administrator: what it means, and what to do next.
    pub(super) remedy: &'static str,
}

struct Row {
    /// Fragments in lower case; all of them stand in the answer.
    words: &'static [&'static str],
    meaning: Meaning,
}

/// The meaning of what was `said` to a login, if it is a known one.
pub(super) fn meaning(said: &[u8]) -> Option<Meaning> {
    find(ROWS, said)
}

/// What it means if one of the first commands of a session that has logged in gets this answer: the token was good, and something is wrong all
/// the same.
pub(super) fn after_login(said: &[u8]) -> Option<&'static str> {
    find(AFTER_LOGIN, said).map(|meaning| meaning.remedy)
}

/// For how many milliseconds the server wants to be left alone, if it says so: "Request is throttled. Suggested Backoff Time: 92415
/// milliseconds".
pub(super) fn pause(said: &[u8]) -> Option<u64> {
    const WORDS: &[u8] = b"suggested backoff time:";
    let said = said.to_ascii_lowercase();
    let at = memchr::memmem::find(&said, WORDS)? + WORDS.len();
    let rest = said[at..].trim_ascii_start();
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit());
    let digits = std::str::from_utf8(&rest[..digits.count()]).ok()?;
    let is_in_milliseconds = rest[digits.len()..]
        .trim_ascii_start()
        .starts_with(b"millisecond");
    // A number that is too long is a long time; whoever keeps to it has a bound.
    let number = || digits.parse().unwrap_or(u64::MAX);
    (is_in_milliseconds && !digits.is_empty()).then(number)
}

fn find(rows: &[Row], said: &[u8]) -> Option<Meaning> {
    let said = said.to_ascii_lowercase();
    let says = |word: &&str| memchr::memmem::find(&said, word.as_bytes()).is_some();
    let row = rows.iter().find(|row| row.words.iter().all(says));
    row.map(|row| row.meaning)
}

/// The words explain what the code already says well enough to act.
const fn explained(words: &'static [&'static str], remedy: &'static str) -> Row {
    let kind = None;
    let meaning = Meaning { kind, remedy };
    Row { words, meaning }
}

const fn row(words: &'static [&'static str], kind: Kind, remedy: &'static str) -> Row {
    let kind = Some(kind);
    let meaning = Meaning { kind, remedy };
    Row { words, meaning }
}

use Kind::{Busy, Forbidden, TokenRefused, Unavailable};

/// The first row that fits is taken, so the particular stand before the general.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    // Exchange, SMTP
    row(&["smtpclientauthentication is disabled for the tenant"], Forbidden, "SMTP AUTH is switched off for the whole organisation, and OAuth needs it too. Its administrator runs: Set-TransportConfig -SmtpClientAuthenticationDisabled $false, or allows this mailbox alone: Set-CASMailbox ADDRESS -SmtpClientAuthenticationDisabled $false"),
    row(&["smtpclientauthentication is disabled for the mailbox"], Forbidden, "SMTP AUTH is switched off for this mailbox, and OAuth needs it too. The administrator runs: Set-CASMailbox ADDRESS -SmtpClientAuthenticationDisabled $false"),
    row(&["5.7.139", "security defaults"], Forbidden, "the organisation's security defaults lock this user out; the administrator must allow it"),
    row(&["5.7.139"], Forbidden, "a policy of the organisation refused the sign-in; the administrator finds it in the sign-in log"),
    row(&["5.5.124"], Forbidden, "the server for high-volume mail does not know this account; use smtp.office365.com, or have the account set up for it"),
    row(&["token will expire soon"], TokenRefused, "the server wants a token with more time left"),
    row(&["5.7.3", "authentication unsuccessful"], TokenRefused, "usual reasons: the scopes are not https://outlook.office.com/… ones, the person who signed in may not use this mailbox, or SMTP AUTH is switched off for it"),
    row(&["sender thread limit exceeded"], Busy, "Exchange takes three SMTP sessions of a mailbox at once; max-upstream = { smtp = 3 } makes the others wait here"),
    row(&["4.7.0 temporary server error"], Unavailable, "if it stays so, the token is usually for another purpose: compare the scopes"),
    // Exchange, IMAP and POP3
    row(&["authenticate failed"], TokenRefused, "usual reasons: the scopes are not https://outlook.office.com/… ones; IMAP is switched off for the mailbox; the person who signed in may not open it; or, without a person, New-ServicePrincipal got another object id than the enterprise application's, or Add-MailboxPermission is missing"),
    row(&["request is throttled"], Busy, "the server asks for fewer logins of this mailbox; the time that it names is kept, up to five minutes"),
    row(&["unknown user name or bad password"], TokenRefused, "usual reasons: POP3 is switched off for the mailbox, or the person who signed in may not open it"),
    // Google
    row(&["username and password not accepted"], TokenRefused, "the token lacks the scope https://mail.google.com/, or the person who signed in is not this user"),
    row(&["application-specific password required"], Forbidden, "Google did not take the login for an OAuth one; check `mechanism` and the scope https://mail.google.com/"),
    row(&["web login required"], Forbidden, "Google wants the person to sign in with a browser first"),
    row(&["not enabled for imap"], Forbidden, "IMAP is switched off in the mailbox's settings, or by the Workspace administrator"),
    row(&["not enabled for pop"], Forbidden, "POP is switched off in the mailbox's settings, or by the Workspace administrator"),
    row(&["too many simultaneous connections"], Busy, "Google takes 15 IMAP sessions of a mailbox at once; max-upstream = { imap = 15 } makes the others wait here"),
    row(&["too many login attempts"], Busy, "the mail program logs in for every message; let it keep its session"),
    row(&["overquota"], Busy, "the mailbox has used up what the provider allows it for now"),
    row(&["exceeded command or bandwidth limits"], Busy, "the mailbox has used up what the provider allows it for now"),
    // Yandex
    row(&["imap is disabled"], TokenRefused, "IMAP or the login by OAuth tokens may be switched off in the mailbox's settings"),
    // Dovecot
    row(&["maximum number of connections"], Busy, "the server counts sessions by user and address; max-upstream makes the others wait here"),
    // Several
    row(&["too many connections"], Busy, "the server has too many sessions of this mailbox or address; max-upstream makes the others wait here"),
    explained(&["[authenticationfailed]"], "the token is for another purpose or another user; compare the scopes and who signed in"),
];

#[rustfmt::skip]
static AFTER_LOGIN: &[Row] = &[
    explained(&["authenticated but not connected"], "the token is good, but its user may not open this mailbox: somebody else signed in, or Full Access is missing, or New-ServicePrincipal got another object id than the enterprise application's, or the mailbox has no licence or is throttled"),
    explained(&["5.7.60"], "the user of the token may not send as the sender that the mail program names; grant Send As, or set the mail program's sender to the account's address"),
    explained(&["sendasdenied"], "the user of the token may not send as the sender that the mail program names; grant Send As, or set the mail program's sender to the account's address"),
    explained(&["5.7.57"], "the server does not take this user for logged in; check that SMTP AUTH is switched on for the mailbox"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_particular_is_found_before_the_general() {
        let tenant = meaning(b"5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://x");
        let policy = meaning(b"5.7.139 Authentication unsuccessful, something new");
        assert!(tenant.unwrap().remedy.contains("Set-TransportConfig"));
        assert!(policy.unwrap().remedy.contains("sign-in log"));
        assert_eq!(policy.unwrap().kind, Some(Kind::Forbidden));
    }

    #[test]
    fn an_answer_without_known_words_means_what_its_code_says() {
        assert_eq!(meaning(b"NO try again"), None);
        let gmail = meaning(b"[AUTHENTICATIONFAILED] Invalid credentials (Failure)");
        assert_eq!(gmail.unwrap().kind, None);
    }

    #[test]
    fn the_time_for_which_exchange_wants_no_login_is_read() {
        for (said, pause) in [
            (
                "NO Request is throttled. Suggested Backoff Time: 92415 milliseconds",
                Some(92_415),
            ),
            ("suggested backoff time:7 Milliseconds.", Some(7)),
            (
                "Suggested Backoff Time: 99999999999999999999 milliseconds",
                Some(u64::MAX),
            ),
            ("Suggested Backoff Time: 92415 fortnights", None),
            ("Suggested Backoff Time: soon", None),
            ("Suggested Backoff Time:  milliseconds", None),
            ("Request is throttled", None),
        ] {
            assert_eq!(super::pause(said.as_bytes()), pause, "{said}");
        }
    }

    #[test]
    fn every_row_can_be_reached_and_says_something() {
        for row in ROWS {
            let said = row.words.join(" ");
            let found = meaning(said.as_bytes()).expect("a meaning");
            assert_eq!(found, row.meaning, "{said}");
            assert!(!row.meaning.remedy.is_empty(), "{said}");
            assert_eq!(said, said.to_ascii_lowercase());
        }
    }
}
