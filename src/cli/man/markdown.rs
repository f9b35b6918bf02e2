//! Markdown in the language of `man`: what our own documents use of it. A row of a table becomes a tag with a paragraph.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

/// Writes a document into a page. Its title is left out: the page has one.
pub fn write(page: &mut Roff, text: &str) {
    let mut writer = Writer::new(page);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        writer.event(event);
    }
}

struct Writer<'p> {
    page: &'p mut Roff,
    /// The paragraph, heading or cell that is being read.
    line: Vec<Inline>,
    style: Style,
    /// The cells of the row that is being read.
    cells: Vec<Vec<Inline>>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Roman,
    Bold,
    Italic,
}

/// Where the text goes that comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Page,
    Title,
    TableHead,
    Item,
    Code,
}

impl<'p> Writer<'p> {
    fn new(page: &'p mut Roff) -> Self {
        page.control("SH", ["DESCRIPTION"]);
        Self {
            page,
            line: Vec::new(),
            style: Style::Roman,
            cells: Vec::new(),
            place: Place::Page,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.place == Place::Code => self.code(&text),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.line.push(bold(text.as_ref())),
            Event::SoftBreak | Event::HardBreak => self.text(" "),
            // The documents have nothing else, and a test compares their words with the page's.
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.line.push(match self.style {
            Style::Roman => roman(text),
            Style::Bold => bold(text),
            Style::Italic => italic(text),
        });
    }

    fn code(&mut self, text: &str) {
        for line in text.lines() {
            self.page.text([roman(line)]);
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading {
                level: HeadingLevel::H1,
                ..
            } => self.place = Place::Title,
            Tag::Strong => self.style = Style::Bold,
            Tag::Emphasis => self.style = Style::Italic,
            Tag::TableHead => self.place = Place::TableHead,
            Tag::Item => self.place = Place::Item,
            Tag::CodeBlock(_) => {
                self.page
                    .control("PP", [])
                    .control("RS", ["4"])
                    .control("nf", []);
                self.place = Place::Code;
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.style = Style::Roman,
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Paragraph if self.place == Place::Item => {}
            TagEnd::Paragraph => self.paragraph("PP", &[]),
            TagEnd::Item => {
                self.paragraph("IP", &["\\(bu", "2"]);
                self.place = Place::Page;
            }
            TagEnd::CodeBlock => {
                self.page.control("fi", []).control("RE", []);
                self.place = Place::Page;
            }
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead => {
                self.cells.clear();
                self.place = Place::Page;
            }
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let words: String = self.line.drain(..).map(|inline| plain(&inline)).collect();
        if self.place == Place::Title {
            self.place = Place::Page;
            return;
        }
        let control = if level == HeadingLevel::H2 {
            "SH"
        } else {
            "SS"
        };
        self.page.control(control, [words.as_str()]);
    }

    fn paragraph(&mut self, control: &str, arguments: &[&str]) {
        if self.line.is_empty() {
            return;
        }
        self.page.control(control, arguments.iter().copied());
        self.page.text(std::mem::take(&mut self.line));
    }

    /// `key = value`, and below it what it means; with two columns, the first alone is the tag.
    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        let mut tag = cells.next().unwrap_or_default();
        let mut body: Vec<_> = cells.collect();
        if body.len() > 1 {
            tag.push(roman(" = "));
            tag.extend(body.remove(0));
        }
        self.page.control("TP", []);
        self.page.text(tag);
        self.page.text(body.join(&roman("; ")));
    }
}

fn plain(inline: &Inline) -> String {
    match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.clone(),
        Inline::LineBreak => " ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_documents_use_becomes_what_man_knows() {
        let mut page = Roff::new();
        let text = "# Title\n\nOne `two` **three**\n*four*.\n\n## `[x]`\n\n| key | value | meaning |\n|---|---|---|\n\
                    | `a-b` | **1** | does \\| it |\n\n* item\n\n```toml\n.x = 1\n```\n";
        write(&mut page, text);
        let page = page.to_roff();
        for part in [
            "One \\fBtwo\\fR \\fBthree\\fR \\fIfour\\fR.",
            ".SH [x]",
            ".TP\n\\fBa\\-b\\fR = \\fB1\\fR\ndoes | it\n",
            ".IP",
            ".nf\n\\&.x = 1\n.fi",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(
            !page.contains("Title") && !page.contains("meaning"),
            "{page}"
        );
    }
}
