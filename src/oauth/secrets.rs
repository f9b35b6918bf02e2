//! Takes the secrets of a request out of what came back: some servers, and pages on the way, echo what they were sent.
//!
//! Whole secrets are not all that may come back. Servers cut texts, put them into HTML, or quote the request as it was encoded; so
//! every longer run of octets that a text has in common with a secret goes, in any of the forms a secret travels in.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// Octets of the shortest secret that is looked for, and of the shortest beginning of one at the end of a text. What is shorter
/// could not be told from ordinary words.
const SHORTEST: usize = 6;
/// Octets of a run that a text has by chance in common with a secret so rarely that it may as well go.
const RUN: usize = 8;
/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// The secrets of one request. `Debug` shows none of them.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// Those of these that are long enough to be looked for.
    pub(super) fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let long = secrets.into_iter().filter(|s| s.len() >= SHORTEST);
        Self(long.map(|secret| Zeroizing::new(secret.into())).collect())
    }

    /// These and `more`.
    pub(super) fn and<'s>(&'s self, more: impl IntoIterator<Item = &'s str>) -> Self {
        Self::new(self.0.iter().map(|secret| secret.as_str()).chain(more))
    }

    /// `text` without them. It must be the whole text: a cut could leave less of a secret than can be known again.
    pub(super) fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.0.is_empty() || text.len() < SHORTEST {
            return Cow::Borrowed(text);
        }
        let forms: Vec<_> = self.0.iter().flat_map(|secret| forms(secret)).collect();
        let mut marks = Marks::over(text);
        marks.runs(&forms);
        marks.short_secrets(&forms);
        marks.beginnings_at_the_end(&forms);
        marks.cover()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

type Form = Zeroizing<Vec<u8>>;

/// A secret as it is, as a form carries it (RFC 6749 appendix B), and in base64 at each of the three places where it can begin in
/// what is encoded with it.
fn forms(secret: &str) -> Vec<Form> {
    let encoded: Zeroizing<String> = Zeroizing::new(byte_serialize(secret.as_bytes()).collect());
    let percent = Zeroizing::new(encoded.replace('+', "%20"));
    let mut forms: Vec<Form> = [secret, &encoded, &percent, &lower_case_escapes(&encoded)]
        .into_iter()
        .map(|form| Zeroizing::new(form.as_bytes().to_vec()))
        .collect();
    for before in 0..3 {
        let octets = Zeroizing::new([&[0; 2][..before], secret.as_bytes()].concat());
        // Four characters hold three octets; those at the ends hold something of the neighbours too.
        let whole = (before * 8).div_ceil(6)..octets.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(&octets));
            forms.push(Zeroizing::new(encoded.as_bytes()[whole.clone()].to_vec()));
        }
    }
    forms
}

/// `%2B` as `%2b`, which some servers write.
fn lower_case_escapes(form: &str) -> Zeroizing<String> {
    let mut left = 0;
    let lower = form.chars().map(|c| {
        left = if c == '%' { 2 } else { i32::max(left - 1, -1) };
        let is_digit = c != '%' && left >= 0;
        if is_digit { c.to_ascii_lowercase() } else { c }
    });
    Zeroizing::new(lower.collect())
}

/// Which octets of a text go.
struct Marks<'t> {
    text: &'t str,
    marked: Vec<bool>,
}

impl<'t> Marks<'t> {
    fn over(text: &'t str) -> Self {
        let marked = vec![false; text.len()];
        Self { text, marked }
    }

    /// Every run of [`RUN`] octets that a secret has too.
    fn runs(&mut self, forms: &[Form]) {
        let runs = forms.iter().flat_map(|form| form.windows(RUN));
        let mut known: Zeroizing<Vec<[u8; RUN]>> =
            Zeroizing::new(runs.filter_map(|run| run.try_into().ok()).collect());
        known.sort_unstable();
        for (at, run) in self.text.as_bytes().windows(RUN).enumerate() {
            if known.binary_search_by(|known| known[..].cmp(run)).is_ok() {
                self.marked[at..at + RUN].fill(true);
            }
        }
    }

    /// Secrets that are too short to have a run.
    fn short_secrets(&mut self, forms: &[Form]) {
        for form in forms
            .iter()
            .filter(|form| (SHORTEST..RUN).contains(&form.len()))
        {
            for at in memchr::memmem::find_iter(self.text.as_bytes(), form) {
                self.marked[at..at + form.len()].fill(true);
            }
        }
    }

    /// The beginning of a secret where somebody else has cut the text, with or without dots or a quote after it.
    fn beginnings_at_the_end(&mut self, forms: &[Form]) {
        let bare = self.text.trim_end_matches(|c: char| !c.is_alphanumeric());
        for end in [self.text.len(), bare.len()] {
            for form in forms {
                for length in SHORTEST..=RUN.min(form.len()) {
                    if self.text.as_bytes()[..end].ends_with(&form[..length]) {
                        self.marked[end - length..end].fill(true);
                    }
                }
            }
        }
    }

    fn cover(&self) -> Cow<'t, str> {
        if !self.marked.contains(&true) {
            return Cow::Borrowed(self.text);
        }
        let mut covered = String::with_capacity(self.text.len());
        let mut was_marked = false;
        for (at, c) in self.text.char_indices() {
            let is_marked = self.marked[at..at + c.len_utf8()].contains(&true);
            match (is_marked, was_marked) {
                (false, _) => covered.push(c),
                (true, false) => covered.push_str(REDACTED),
                (true, true) => {}
            }
            was_marked = is_marked;
        }
        Cow::Owned(covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "1//0gP9a+T/q2=Zx éß";

    fn redacted(text: &str) -> String {
        Secrets::new([TOKEN, "s3cretC"]).redacted(text).into_owned()
    }

    #[test]
    fn a_secret_goes_in_every_form_it_travels_in() {
        let form: String = byte_serialize(TOKEN.as_bytes()).collect();
        for echo in [
            TOKEN.to_owned(),
            form.clone(),
            form.replace('+', "%20"),
            form.replace("%2F", "%2f").replace("%2B", "%2b"),
            STANDARD_NO_PAD.encode(TOKEN),
            URL_SAFE_NO_PAD.encode(TOKEN),
        ] {
            assert_eq!(
                redacted(&format!("bad token '{echo}'!")),
                "bad token '[redacted]'!",
                "{echo}"
            );
        }
    }

    #[test]
    fn a_secret_goes_from_the_midst_of_something_encoded() {
        for before in ["", "a", "ab", "client-id:"] {
            let echo = STANDARD_NO_PAD.encode(format!("{before}{TOKEN}:after"));
            let left = redacted(&echo);
            let kept: usize = left.split("[redacted]").map(str::len).sum();
            assert!(left.contains("[redacted]"), "{left}");
            assert!(
                kept <= (before.len() + ":after".len()) * 4 / 3 + 8,
                "{left}"
            );
        }
    }

    #[test]
    fn a_piece_of_a_secret_goes_wherever_it_was_cut() {
        for (text, want) in [
            ("token 1//0gP9a+", "token [redacted]"),
            ("token 1//0gP", "token [redacted]"),
            ("token 1//0gP…\"", "token [redacted]…\""),
            ("token 0gP9a+T/q is bad", "token [redacted] is bad"),
            ("token 1//0g", "token 1//0g"),
            ("secret s3cretC.", "secret [redacted]."),
            ("secret s3cret", "secret [redacted]"),
        ] {
            assert_eq!(redacted(text), want);
        }
    }

    #[test]
    fn ordinary_words_stay() {
        let words = "AADSTS70000: the provided value for 'code' is not valid, é";
        assert_eq!(redacted(words), words);
        assert_eq!(
            Secrets::new(["is", ""]).redacted("this is it"),
            "this is it"
        );
    }
}
