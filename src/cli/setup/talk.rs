//! Questions and answers: a line each, on a terminal or from a pipe.

use std::io::{self, BufRead, Write};

use secrecy::SecretString;

/// The answers ended before the questions.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// No more input.
    #[error("the answers ended before the questions; nothing more was written")]
    Ended,
    /// The terminal is gone.
    #[error("cannot ask: {0}")]
    Io(#[from] io::Error),
}

/// Where questions go and answers come from.
pub struct Talk<'t> {
    /// Lines of a person.
    pub answers: &'t mut dyn BufRead,
    /// Words for a person.
    pub words: &'t mut dyn Write,
    /// Whether a secret can be typed without being shown.
    pub is_terminal: bool,
}

impl Talk<'_> {
    /// Words without a question.
    pub fn say(&mut self, words: &str) -> Result<(), TalkError> {
        Ok(writeln!(self.words, "{words}")?)
    }

    /// An answer; an empty one means `default`, if there is one.
    pub fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String, TalkError> {
        loop {
            match default {
                Some(default) => write!(self.words, "{question} [{default}]: ")?,
                None => write!(self.words, "{question}: ")?,
            }
            self.words.flush()?;
            let answer = self.line()?;
            match (answer.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => self.say("An answer is needed.")?,
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// An answer that may be empty.
    pub fn ask_optional(&mut self, question: &str) -> Result<Option<String>, TalkError> {
        write!(self.words, "{question} (Enter for none): ")?;
        self.words.flush()?;
        let answer = self.line()?;
        Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
    }

    /// A secret, which is not shown while it is typed; it may be empty.
    pub fn ask_secret(&mut self, question: &str) -> Result<Option<SecretString>, TalkError> {
        write!(self.words, "{question} (not shown; Enter for none): ")?;
        self.words.flush()?;
        let answer = match self.is_terminal {
            true => rpassword::read_password()?,
            false => self.line()?,
        };
        let answer = answer.trim();
        Ok((!answer.is_empty()).then(|| SecretString::from(answer)))
    }

    /// Yes or no; Enter means yes.
    pub fn agrees(&mut self, question: &str) -> Result<bool, TalkError> {
        self.yes_or_no(question, "yes")
    }

    /// Yes or no, to what nobody should do by accident; Enter means no.
    pub fn permits(&mut self, question: &str) -> Result<bool, TalkError> {
        self.yes_or_no(question, "no")
    }

    fn yes_or_no(&mut self, question: &str, default: &str) -> Result<bool, TalkError> {
        loop {
            let answer = self.ask(&format!("{question} (yes or no)"), Some(default))?;
            match answer.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.say("Please answer yes or no.")?,
            }
        }
    }

    fn line(&mut self) -> Result<String, TalkError> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(TalkError::Ended),
            _ => Ok(line),
        }
    }
}
