//! What is wrong with a configuration file, and how it is shown: the place, the line, a caret, and what to do.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the text, in octets; `None` when it is about the whole file.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            message: message.into(),
            hint: None,
        }
    }

    /// A problem of the file as a whole.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self {
            span: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Everything that is wrong with one file, in the order of the file.
///
/// It keeps the text, so that it can show lines; secrets in it are masked before they get here.
#[derive(Clone, Debug)]
pub struct Problems {
    path: PathBuf,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    /// `masked` is the text of the file without its secrets, with every other octet at its place.
    pub(super) fn new(path: &Path, masked: String, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        list.dedup();
        Self {
            path: path.to_owned(),
            text: masked,
            list,
        }
    }

    /// The problems.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// All problems with their lines, for people; with ANSI colours only if `color`.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let blocks: Vec<_> = self.blocks(renderer).map(|(_, block)| block).collect();
        blocks.join("\n\n")
    }

    /// Each problem with how it is shown, without colours.
    pub fn each(&self) -> impl Iterator<Item = (&Problem, String)> {
        self.blocks(Renderer::plain())
    }

    fn blocks(&self, renderer: Renderer) -> impl Iterator<Item = (&Problem, String)> {
        let lines = Lines::of(&self.text);
        let show = move |problem| (problem, self.block(problem, &lines, &renderer));
        self.list.iter().map(show)
    }

    fn block(&self, problem: &Problem, lines: &Lines<'_>, renderer: &Renderer) -> String {
        let path = self.path.display().to_string();
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let mut group = match &problem.span {
            Some(span) => {
                let line = lines.around(span);
                let mark = AnnotationKind::Primary.span(line.span);
                title.element(
                    Snippet::source(line.text)
                        .path(path)
                        .line_start(line.number)
                        .annotation(mark),
                )
            }
            None => Group::with_title(title).element(Origin::path(path)),
        };
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// The line in which a span begins. Only this line is shown, however far the span goes: the rest may be the whole file.
struct Line<'a> {
    text: &'a str,
    number: usize,
    span: Range<usize>,
}

/// A text with the starts of its lines, found once: there may be thousands of problems in a long text.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self {
            text,
            starts: [0].into_iter().chain(after).collect(),
        }
    }

    /// The line in which a span begins, however far out of the text the span is.
    fn around(&self, span: &Range<usize>) -> Line<'a> {
        let at = self.text.floor_char_boundary(span.start);
        let number = self.starts.partition_point(|&start| start <= at);
        let begin = self.starts[number - 1]; // the first line starts at 0, so at least one start is not after `at`
        let end = self
            .starts
            .get(number)
            .map_or(self.text.len(), |next| next - 1);
        let line = self.text[begin..end].trim_end_matches('\r');
        let last = begin + line.len();
        let from = at.min(last);
        let to = self.text.floor_char_boundary(span.end).clamp(from, last);
        Line {
            text: line,
            number,
            span: from - begin..to - begin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, problem: Problem) -> String {
        Problems::new(Path::new("x.toml"), text.into(), vec![problem]).to_string()
    }

    #[test]
    fn a_problem_shows_place_line_caret_and_hint() {
        let text = "a = 1\nprovider = \"gogle\"\n";
        let out = shown(
            text,
            Problem::at(17..24, "unknown provider").hint("mean `google`?"),
        );
        assert!(out.starts_with("error: unknown provider\n"), "{out}");
        assert!(out.contains("--> x.toml:2:12\n"), "{out}");
        assert!(out.contains("2 | provider = \"gogle\"\n"), "{out}");
        assert!(out.contains("^^^^^^^"), "{out}");
        assert!(out.contains("help: mean `google`?"), "{out}");
        assert!(!out.contains('\u{1b}'));
    }

    #[test]
    fn a_problem_without_a_place_names_the_file() {
        let out = shown("", Problem::of_file("no state directory"));
        assert!(
            out.contains("error: no state directory") && out.contains("x.toml"),
            "{out}"
        );
    }

    #[test]
    fn places_at_the_end_within_a_character_and_over_lines_are_shown() {
        for span in [0..0, 1..2, 2..3, 3..999, 999..1000, 0..6] {
            let out = shown("é\r\nü", Problem::at(span, "odd"));
            assert!(out.contains("--> x.toml:"), "{out}");
        }
        assert!(shown("", Problem::at(0..0, "odd")).contains("--> x.toml:1:1"));
    }

    #[test]
    fn colour_only_when_asked() {
        let problems = Problems::new(Path::new("x"), "a".into(), vec![Problem::at(0..1, "m")]);
        assert!(problems.render(true).contains('\u{1b}'));
    }
}
