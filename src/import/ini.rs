//! The dialect of INI that Python's `configparser` reads, with the place of everything.
//!
//! Knows no meaning of sections and keys. Python's rules, as far as they matter in files that Python takes:
//! - comments are whole lines that begin with `#` or `;`; there are none at the end of a line;
//! - the first `=` or `:` ends the key, which is in lower case;
//! - a line that is indented deeper than its key goes on with the value, empty lines included;
//! - `[DEFAULT]` stands behind every section.

/// A whole file.
#[derive(Default)]
pub struct Ini {
    /// The sections in their order, `[DEFAULT]` included.
    pub sections: Vec<Section>,
    /// Lines that are neither section, key nor value.
    pub strays: Vec<usize>,
}

/// `[name]` and what follows it.
pub struct Section {
    /// The name, without the brackets.
    pub name: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// Its keys in their order.
    pub entries: Vec<Entry>,
}

/// `key = value`.
#[derive(Clone)]
pub struct Entry {
    /// In lower case.
    pub key: String,
    /// Without the blanks around it; the lines of a longer one are parted by `\n`.
    pub value: String,
    /// Where it begins, from 1.
    pub line: usize,
}

impl Section {
    /// The value of a key; the last one, if it is there twice.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }
}

impl Ini {
    /// Reads a file. Nothing is an error: what cannot be read is a stray line.
    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            reader.line(number + 1, line);
        }
        reader.finish()
    }

    /// The section of that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// `[DEFAULT]`
    pub fn default_section(&self) -> Option<&Section> {
        self.section("DEFAULT")
    }
}

#[derive(Default)]
struct Reader {
    ini: Ini,
    /// How deep the last key was indented; deeper lines belong to its value.
    indent: usize,
    is_in_value: bool,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) {
        let content = line.trim();
        if content.starts_with(['#', ';']) {
            return;
        }
        if content.is_empty() {
            self.empty();
            return;
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if self.is_in_value && indent > self.indent {
            self.append(content);
            return;
        }
        self.indent = indent;
        if let Some(name) = heading(content) {
            self.section(name, number);
        } else if let Some(entry) = entry(content, number) {
            self.entry(entry);
        } else {
            self.stray(number);
        }
    }

    fn section(&mut self, name: &str, line: usize) {
        self.is_in_value = false;
        self.ini.sections.push(Section {
            name: name.to_owned(),
            line,
            entries: Vec::new(),
        });
    }

    fn entry(&mut self, entry: Entry) {
        match self.ini.sections.last_mut() {
            Some(section) => {
                section.entries.push(entry);
                self.is_in_value = true;
            }
            None => self.stray(entry.line),
        }
    }

    fn stray(&mut self, line: usize) {
        self.ini.strays.push(line);
    }

    fn empty(&mut self) {
        if self.is_in_value {
            self.append("");
        }
    }

    fn append(&mut self, content: &str) {
        let section = self.ini.sections.last_mut();
        if let Some(entry) = section.and_then(|section| section.entries.last_mut()) {
            entry.value.push('\n');
            entry.value.push_str(content);
        }
    }

    fn finish(mut self) -> Ini {
        let sections = self.ini.sections.iter_mut();
        for entry in sections.flat_map(|section| &mut section.entries) {
            entry.value = interpolated(entry.value.trim());
        }
        self.ini
    }
}

/// `[name]`; whatever follows the last bracket is ignored.
fn heading(content: &str) -> Option<&str> {
    let inner = content.strip_prefix('[')?;
    let (name, _) = inner.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

fn entry(content: &str, line: usize) -> Option<Entry> {
    let (key, value) = content.split_once(['=', ':'])?;
    let key = key.trim_end().to_lowercase();
    (!key.is_empty()).then(|| Entry {
        key,
        value: value.trim_start().to_owned(),
        line,
    })
}

/// `%%` stands for `%`. References to other keys (`%(name)s`) are left as they are: this format has no use for them.
fn interpolated(value: &str) -> String {
    value.replace("%%", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, section: &str, key: &str) -> Option<String> {
        let ini = Ini::parse(text);
        let entry = ini.section(section)?.entry(key)?;
        Some(entry.value.clone())
    }

    #[test]
    fn the_first_delimiter_ends_the_key_and_the_value_may_have_more() {
        let text = "[a]\nURL = https://x/?y=z\nother: 1=2\nempty =\nBoth : = x\n";
        let read = |key| value(text, "a", key);
        assert_eq!(read("url").unwrap(), "https://x/?y=z");
        assert_eq!(read("other").unwrap(), "1=2");
        assert_eq!(read("empty").unwrap(), "");
        assert_eq!(read("both").unwrap(), "= x");
    }

    #[test]
    fn a_value_goes_on_in_deeper_lines_and_over_empty_ones_and_comments() {
        let text = "[a]\ndoc = one\n\ttwo = 2\n\n    [three]\n# not me\n  four\nnext = 5\n";
        assert_eq!(
            value(text, "a", "doc").unwrap(),
            "one\ntwo = 2\n\n[three]\nfour"
        );
        assert_eq!(value(text, "a", "next").unwrap(), "5");
        assert_eq!(Ini::parse(text).sections.len(), 1);
    }

    #[test]
    fn an_indented_section_is_one_where_no_value_is_open() {
        let text = "[a]\n  [b]\n  key = 1\n  deeper = 2\n";
        assert_eq!(value(text, "b", "key").unwrap(), "1");
        assert_eq!(value(text, "b", "deeper").unwrap(), "2");
    }

    #[test]
    fn comments_are_whole_lines_only() {
        let text = "; x\n[a] # this too is ignored\nkey = v # part ; of it\n";
        assert_eq!(value(text, "a", "key").unwrap(), "v # part ; of it");
    }

    #[test]
    fn everything_has_its_line_and_strays_are_told() {
        let ini = Ini::parse("\u{feff}lost = 1\n[a]\r\nkey = 1\r\nwhat is this\n");
        assert_eq!(ini.strays, [1, 4]);
        let section = ini.section("a").unwrap();
        assert_eq!((section.line, section.entries[0].line), (2, 3));
        assert_eq!(section.entries[0].value, "1");
    }

    #[test]
    fn doubled_percent_signs_are_one() {
        assert_eq!(value("[a]\nk = 100%%x%41", "a", "k").unwrap(), "100%x%41");
    }
}
