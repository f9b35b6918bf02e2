//! The frame of every page: navigation, messages, forms, errors, and how times and sizes are said.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::REFRESH;
use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets;
use super::gate::Session;

/// The pages that the navigation leads to.
pub const NAVIGATION: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/add", "Add an account"),
    ("/events", "Recent events"),
    ("/providers", "Providers"),
    ("/listeners", "Listeners"),
    ("/configuration", "Configuration"),
];

/// A message at the head of the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    text: String,
    is_fault: bool,
}

impl Flash {
    /// Something was done.
    pub fn done(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_fault: false,
        }
    }

    /// Something was not done. Line breaks are kept.
    pub fn fault(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_fault: true,
        }
    }
}

/// A page for somebody who was let in.
pub struct Page<'a> {
    title: &'a str,
    here: &'a str,
    live: Option<String>,
}

impl<'a> Page<'a> {
    /// `here` is the address of its entry in [`NAVIGATION`], also for a page below that.
    pub fn new(title: &'a str, here: &'a str) -> Self {
        Self {
            title,
            here,
            live: None,
        }
    }

    /// Parts of it are kept up to date from this address; see `live`.
    #[must_use]
    pub fn live(mut self, from: String) -> Self {
        self.live = Some(from);
        self
    }

    /// The whole page, with the messages that wait.
    pub fn show(&self, session: &Session, content: &Markup) -> Markup {
        let flashes = session.take_flashes();
        html! {
            (head(self.title))
            body data-live=[self.live.as_deref()] {
                a.skip href="#content" { "Skip to the content" }
                header {
                    p.brand { "mailwicket" }
                    nav aria-label="Pages" {
                        ul {
                            @for (path, name) in NAVIGATION {
                                li {
                                    a href=(path) aria-current=[(*path == self.here).then_some("page")] { (name) }
                                }
                            }
                        }
                    }
                    form method="post" action="/logout" {
                        (session.csrf())
                        button.quiet type="submit" { "Log out" }
                    }
                }
                main #content tabindex="-1" {
                    h1 { (self.title) }
                    div #notice role="status" {}
                    @for flash in &flashes {
                        div.flash.fault[flash.is_fault] role=(if flash.is_fault { "alert" } else { "status" }) {
                            (flash.text)
                        }
                    }
                    (content)
                }
                (foot())
            }
        }
    }
}

fn head(title: &str) -> Markup {
    html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            title { (title) " – mailwicket" }
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            link rel="icon" href="data:,";
            link rel="stylesheet" href=(assets::STYLE.path());
            script src=(assets::SCRIPT.path()) defer {}
        }
    }
}

fn foot() -> Markup {
    html! {
        footer { p { "mailwicket " (env!("CARGO_PKG_VERSION")) } }
    }
}

/// A page for somebody who is not in.
pub fn plain(status: StatusCode, title: &str, content: &Markup) -> Response {
    let page = html! {
        (head(title))
        body {
            main #content { h1 { (title) } (content) }
            (foot())
        }
    };
    (status, page).into_response()
}

fn how_to_get_in() -> Markup {
    html! {
        p { "On the machine that mailwicket runs on, as the user that it runs as, type" }
        pre { code { "mailwicket console" } }
        p { "and open the link that it prints. A link works once, and for a few minutes." }
    }
}

/// Nobody is let in without a session.
pub fn outside() -> Response {
    plain(
        StatusCode::FORBIDDEN,
        "The console is closed",
        &how_to_get_in(),
    )
}

/// A link that opens nothing.
pub fn used() -> Response {
    let content = html! {
        p { "This link was used already, or waited too long." }
        (how_to_get_in())
    };
    plain(StatusCode::FORBIDDEN, "This link is over", &content)
}

/// Behind the last page.
pub fn goodbye() -> Response {
    plain(StatusCode::OK, "You are logged out", &how_to_get_in())
}

/// On from a page of ours to the first one.
pub fn go_on(to: &str) -> Response {
    let content = html! { p { a href=(to) { "On to the console" } } };
    let mut response = plain(StatusCode::OK, "The console is open", &content);
    if let Ok(to) = http::HeaderValue::from_str(&format!("0; url={to}")) {
        response.headers_mut().insert(REFRESH, to);
    }
    response
}

/// No such page.
pub async fn not_found(_: Session) -> Response {
    Fault::not_found().into_response()
}

/// Why there is no page.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl Fault {
    /// There is no such thing.
    pub fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "Not found",
            text: "There is nothing here.".into(),
        }
    }

    /// What was sent makes no sense.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "This did not work",
            text: text.into(),
        }
    }

    /// What was sent is not to be believed.
    pub fn refused(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            title: "Refused",
            text: text.into(),
        }
    }

    /// Too many at a time.
    pub fn busy(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: "Too much at a time",
            text: text.into(),
        }
    }

    /// Our own fault; the log says more.
    pub fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            title: "This did not work",
            text: "mailwicket could not do it; its log says why.".into(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let content = html! {
            p { (self.text) }
            p { a href="/" { "Back to the overview" } }
        };
        plain(self.status, self.title, &content)
    }
}

/// A line of a form: a label, an input, and what there is to say about it.
pub struct Field<'a> {
    name: &'a str,
    label: &'a str,
    kind: &'static str,
    value: &'a str,
    hint: &'a str,
    fault: &'a str,
    is_required: bool,
}

impl<'a> Field<'a> {
    /// A line of text.
    pub fn new(name: &'a str, label: &'a str) -> Self {
        Self {
            name,
            label,
            kind: "text",
            value: "",
            hint: "",
            fault: "",
            is_required: false,
        }
    }

    /// What is typed is not shown, and never comes back in a page.
    pub fn secret(name: &'a str, label: &'a str) -> Self {
        Self {
            kind: "password",
            ..Self::new(name, label)
        }
    }

    /// What stands in it; nothing ever stands in a secret one.
    #[must_use]
    pub fn value(self, value: &'a str) -> Self {
        match self.kind {
            "password" => self,
            _ => Self { value, ..self },
        }
    }

    /// What to write there.
    #[must_use]
    pub fn hint(self, hint: &'a str) -> Self {
        Self { hint, ..self }
    }

    /// What is wrong with what was written; nothing if it is empty.
    #[must_use]
    pub fn fault(self, fault: &'a str) -> Self {
        Self { fault, ..self }
    }

    /// It must be filled in.
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    /// The line.
    pub fn show(&self) -> Markup {
        let about = format!("about-{}", self.name);
        let has_words = !self.hint.is_empty() || !self.fault.is_empty();
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                input #(self.name) type=(self.kind) name=(self.name) value=[(!self.value.is_empty()).then_some(self.value)]
                    required[self.is_required] autocomplete="off" spellcheck="false"
                    aria-invalid=[(!self.fault.is_empty()).then_some("true")]
                    aria-describedby=[has_words.then_some(&about)];
                @if has_words {
                    div #(about) {
                        @if !self.fault.is_empty() { p.fault { (self.fault) } }
                        @if !self.hint.is_empty() { p.hint { (self.hint) } }
                    }
                }
            }
        }
    }
}

/// A table that becomes a list of cards where there is no room. The roles stand there because such styles take them away.
pub fn table(caption: &str, titles: &[&str], rows: &Markup) -> Markup {
    html! {
        table.cards role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" { @for title in titles { th scope="col" role="columnheader" { (title) } } }
            }
            tbody role="rowgroup" { (rows) }
        }
    }
}

/// A form that posts to `path`; its last line is the button.
pub fn form(session: &Session, path: &str, fields: &Markup, button: &str) -> Markup {
    html! {
        form method="post" action=(path) {
            (session.csrf())
            (fields)
            button type="submit" { (button) }
        }
    }
}

/// A point in time as people say it, with the exact one behind it.
pub fn when(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(format!("{at:.0}")) title=(format!("{at:.0}")) { (words(at, now)) } }
}

/// "in 42 min", "3 h ago".
pub fn words(at: Timestamp, now: Timestamp) -> String {
    let gap = at.duration_since(now);
    let length = length(gap.abs());
    match gap.is_positive() {
        true => format!("in {length}"),
        false if length == SOON => "just now".into(),
        false => format!("{length} ago"),
    }
}

const SOON: &str = "less than a minute";

/// A length of time in its largest unit.
pub fn length(gap: SignedDuration) -> String {
    let minutes = gap.as_mins();
    match minutes {
        0 => SOON.into(),
        1..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / (24 * 60)),
    }
}

/// Octets as people say them.
pub fn octets(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1000.0;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    match size < 9.95 {
        true => format!("{size:.1} {}", UNITS[unit]),
        false => format!("{size:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_one_unit() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let said = |seconds: i64| words(now + SignedDuration::from_secs(seconds), now);
        assert_eq!(said(-10), "just now");
        assert_eq!(said(10), "in less than a minute");
        assert_eq!(said(42 * 60), "in 42 min");
        assert_eq!(said(-3 * 3600), "3 h ago");
        assert_eq!(said(-30 * 86400), "30 days ago");
    }

    #[test]
    fn sizes_are_said_in_one_unit() {
        let said = [0, 999, 1000, 12_345, 999_600, 2_500_000_000].map(octets);
        assert_eq!(
            said,
            ["0 B", "999 B", "1.0 kB", "12 kB", "1.0 MB", "2.5 GB"]
        );
    }

    #[test]
    fn a_secret_that_was_typed_never_comes_back() {
        let field = Field::secret("secret", "Secret").value("opensesame");
        assert!(!field.show().into_string().contains("opensesame"));
    }
}
