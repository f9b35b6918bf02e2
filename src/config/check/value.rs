//! Checks of single values: each takes a value with its place and gives what it means, or the problem.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_spanned::Spanned;

use super::super::preset::is_guid;
use super::super::problem::Problem;
use super::super::{CertificateName, SecretSource};
use crate::password::Scheme;

/// Octets of a mail address or login name: 64 of a local part, `@`, 255 of a domain (RFC 5321 §4.5.3.1).
const MAX_NAME: usize = 320;

pub(super) type Checked<T> = Result<T, Problem>;

/// A text that is not empty.
pub fn filled(text: Spanned<String>, what: &str) -> Checked<String> {
    if text.get_ref().trim().is_empty() {
        return Err(Problem::at(text.span(), format!("{what} is empty")));
    }
    Ok(text.into_inner())
}

/// Why a text cannot be a name for a login, if so.
fn fault_of_name(text: &str) -> Option<&'static str> {
    match text {
        _ if text.trim().is_empty() => Some("is empty"),
        _ if text.chars().any(char::is_control) => {
            Some("has control characters, which no mail program can send")
        }
        _ if text.trim() != text => Some("begins or ends with a space"),
        _ if text.len() > MAX_NAME => Some("is longer than 320 octets"),
        _ => None,
    }
}

/// A name that somebody logs in with, here or upstream.
pub fn name(text: Spanned<String>, what: &str) -> Checked<String> {
    match fault_of_name(text.get_ref()) {
        Some(fault) => Err(Problem::at(text.span(), format!("{what} {fault}"))),
        None => Ok(text.into_inner()),
    }
}

/// A mailbox address.
pub fn address(text: Spanned<String>) -> Checked<String> {
    let span = text.span();
    let address = name(text, "the address")?;
    let whole = address.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains(char::is_whitespace)
    });
    if !whole || address.contains(char::is_whitespace) || looks_like_sample(&address) {
        let message = format!("`{address}` is not a mail address");
        return Err(Problem::at(span, message).hint("write the mailbox as NAME@DOMAIN"));
    }
    Ok(address)
}

/// A service account is an application: it has no mailbox.
pub fn person(address: String, span: Range<usize>) -> Checked<String> {
    if address
        .to_ascii_lowercase()
        .ends_with(".iam.gserviceaccount.com")
    {
        let message = format!("`{address}` is a service account, which has no mailbox");
        return Err(Problem::at(span, message).hint("write the address of the mailbox to open"));
    }
    Ok(address)
}

/// `10s`, `3m`, `1h`, `500ms`.
pub fn duration(text: &Spanned<String>) -> Checked<Duration> {
    parse_duration(text.get_ref()).ok_or_else(|| {
        let message = format!("`{}` is not a duration", text.get_ref());
        Problem::at(text.span(), message).hint(
            "write a whole number and a unit: \"500ms\", \"10s\", \"3m\" or \"1h\", up to \"24h\"",
        )
    })
}

/// No time-out of a connection is longer; a longer one is a slip.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(milliseconds)?);
    (duration <= MAX_DURATION).then_some(duration)
}

/// Where to bind.
pub fn socket_address(text: &Spanned<String>) -> Checked<SocketAddr> {
    let wrong = |hint: String| {
        Problem::at(
            text.span(),
            format!("`{}` is not an address to listen on", text.get_ref()),
        )
        .hint(hint)
    };
    let address = text.get_ref().parse();
    address.map_err(|_| wrong(listen_hint(text.get_ref())))
}

/// Where to bind what nobody on another machine may reach.
pub fn console_address(text: &Spanned<String>) -> Checked<SocketAddr> {
    let address = socket_address(text)?;
    if is_loopback(address.ip()) {
        return Ok(address);
    }
    let message = format!("{address} can be reached from other machines");
    Err(Problem::at(text.span(), message).hint(
        "listen on 127.0.0.1 or [::1]; or name who may reach the console, as in allow-from = [\"192.168.1.17\"], \
         and it is served over TLS",
    ))
}

/// What a certificate can be for.
pub fn certificate_name(text: &Spanned<String>) -> Checked<CertificateName> {
    CertificateName::parse(text.get_ref()).ok_or_else(|| {
        let message = format!("`{}` is neither a host name nor an address", text.get_ref());
        Problem::at(text.span(), message).hint(
            "write the name that mail programs use for this machine, as in \"mail.office.lan\"",
        )
    })
}

fn listen_hint(text: &str) -> String {
    match text.rsplit_once(':') {
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
            format!("write numbers: [\"127.0.0.1:{port}\", \"[::1]:{port}\"]")
        }
        _ if text.parse::<u16>().is_ok() => format!("write \"127.0.0.1:{text}\""),
        _ => "write an IP address and a port, as in \"127.0.0.1:1143\" or \"[::1]:1143\"".into(),
    }
}

pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A directory of Microsoft: its id or one of its domains, or a word such as `common`.
pub fn tenant(text: Spanned<String>) -> Checked<String> {
    let tenant = filled(text.clone(), "`tenant`")?;
    let plain = tenant
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if !plain || looks_like_sample(&tenant) {
        let message = format!("`{tenant}` is not a tenant");
        let hint =
            "write the directory's id or one of its domains, as in \"contoso.onmicrosoft.com\"";
        return Err(Problem::at(text.span(), message).hint(hint));
    }
    Ok(tenant)
}

/// The id of a registration.
pub fn client_id(text: Spanned<String>) -> Checked<String> {
    let span = text.span();
    let id = filled(text, "`client-id`")?;
    let nil = is_guid(&id) && id.bytes().all(|byte| b"0-".contains(&byte));
    let problem = match () {
        () if nil || looks_like_sample(&id) => Problem::at(span, "this client id is a sample"),
        // RFC 6749 appendix A.1: visible characters and space.
        () if !id.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) || id.trim() != id => {
            Problem::at(span, "this client id has characters that no client id has")
        }
        () => return Ok(id),
    };
    Err(problem.hint("write the id of your own registration at the provider"))
}

/// A secret in the file itself. Its text is in no message.
pub fn inline_secret(text: SecretString, span: Range<usize>, key: &str) -> Checked<SecretSource> {
    let shown = text.expose_secret();
    if shown.trim().is_empty() {
        return Err(
            Problem::at(span, format!("`{key}` is empty")).hint("remove it if there is none")
        );
    }
    if looks_like_sample(shown) {
        return Err(Problem::at(span, format!("this `{key}` is a sample"))
            .hint("write the value that the provider showed"));
    }
    Ok(SecretSource::Inline(text))
}

/// Whether somebody forgot to replace a text of an example.
fn looks_like_sample(text: &str) -> bool {
    let lower = text.trim().to_lowercase().replace('_', "-");
    let framed = lower.starts_with('<') && lower.ends_with('>');
    // A word of nothing but x, as in 123456789012-xxxx.apps.googleusercontent.com.
    let crossed_out = lower
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word.len() >= 4 && word.bytes().all(|b| b == b'x'));
    let starts = [
        "…",
        "...",
        "***",
        "your-",
        "your ",
        "changeme",
        "change-me",
        "replace-me",
        "client-id",
        "application-id",
        "client-secret",
    ];
    framed || crossed_out || starts.iter().any(|start| lower.starts_with(start))
}

/// The name of an environment variable.
pub fn variable_name(text: Spanned<String>) -> Checked<String> {
    let span = text.span();
    let name = filled(text, "the name of the variable")?;
    if name.contains(['=', '\0']) {
        return Err(
            Problem::at(span, "this is not the name of an environment variable")
                .hint("write the name, not the value"),
        );
    }
    Ok(name)
}

/// The name of a credential of systemd: a file name, so that it cannot lead out of the credentials' folder.
pub fn credential_name(text: Spanned<String>) -> Checked<String> {
    let span = text.span();
    let name = filled(text, "the name of the credential")?;
    if name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(Problem::at(span, "this is not the name of a credential")
            .hint("write the NAME of LoadCredential=NAME:FILE"));
    }
    Ok(name)
}

/// A program and its arguments.
pub fn command(words: Spanned<Vec<String>>) -> Checked<Vec<String>> {
    let empty = words
        .get_ref()
        .first()
        .is_none_or(|program| program.trim().is_empty());
    if empty || words.get_ref().iter().any(|word| word.contains('\0')) {
        return Err(Problem::at(words.span(), "this is not a command")
            .hint("write the program and each argument as its own string, as in [\"pass\", \"show\", \"mail\"]"));
    }
    Ok(words.into_inner())
}

/// A scope (RFC 6749 §3.3).
pub fn scope(text: Spanned<String>) -> Checked<String> {
    let span = text.span();
    let scope = filled(text, "a scope")?;
    if scope.contains(char::is_whitespace) {
        return Err(Problem::at(span, "a scope has no spaces")
            .hint("write each scope as its own string in the list"));
    }
    if !scope
        .bytes()
        .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    {
        return Err(Problem::at(
            span,
            "this scope has characters that no scope has",
        ));
    }
    Ok(scope)
}

/// The host of a mail server, in the form that its certificate is compared with.
pub fn host(text: &Spanned<String>) -> Checked<String> {
    let host = text.get_ref();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if rustls::pki_types::ServerName::try_from(bare).is_err() {
        let message = format!("`{host}` is not a host name");
        return Err(Problem::at(text.span(), message)
            .hint("write only the name, as in \"imap.example.com\"; the port has its own key"));
    }
    Ok(bare.to_owned())
}

/// A password hash of a kind and cost that is taken. The text is in no message: it may be a password put there by mistake.
pub fn password_hash(text: Spanned<String>) -> Checked<String> {
    match Scheme::of(text.get_ref()) {
        Ok(_) => Ok(text.into_inner()),
        Err(why) => Err(Problem::at(
            text.span(),
            format!("this password hash is not taken: {why}"),
        )
        .hint("`mailwicket password hash` makes one; it begins with $argon2id$")),
    }
}

/// A whole number within bounds.
pub fn number(value: &Spanned<i64>, least: usize, most: usize) -> Checked<usize> {
    usize::try_from(*value.get_ref())
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            Problem::at(
                value.span(),
                format!("this must be a number from {least} to {most}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Spanned<String> {
        Spanned::new(0..text.len(), text.to_owned())
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (written, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("3m", 180_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("24h", 86_400_000),
        ] {
            assert_eq!(
                duration(&text(written)).unwrap(),
                Duration::from_millis(milliseconds)
            );
        }
        for written in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "25h",
            "1h30m",
            "99999999999999999999s",
            "18446744073709551615h",
            "१s",
        ] {
            assert!(duration(&text(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn an_address_to_listen_on_is_numbers_and_the_consoles_is_loopback() {
        for good in [
            "127.0.0.1:0",
            "127.0.0.2:1143",
            "[::1]:1143",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(socket_address(&text(good)).is_ok(), "{good}");
            assert!(console_address(&text(good)).is_ok(), "{good}");
        }
        for open in ["0.0.0.0:1143", "[::]:1143", "192.168.1.5:25"] {
            assert!(socket_address(&text(open)).is_ok(), "{open}");
            assert!(console_address(&text(open)).is_err(), "{open}");
        }
        for bad in ["1143", "localhost:1143", "127.0.0.1", "::1:25:"] {
            assert!(socket_address(&text(bad)).is_err(), "{bad}");
        }
        let hint = socket_address(&text("localhost:1143"))
            .unwrap_err()
            .hint
            .unwrap();
        assert!(
            hint.contains("127.0.0.1:1143") && hint.contains("[::1]:1143"),
            "{hint}"
        );
    }

    #[test]
    fn a_certificate_is_for_names_and_addresses() {
        for good in ["mail.office.lan", "NAS", "192.168.1.2", "fd00::2"] {
            assert!(certificate_name(&text(good)).is_ok(), "{good}");
        }
        for bad in ["", "*.lan", "a..b", "-x", "http://x", "jörg.lan"] {
            assert!(certificate_name(&text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_names_are_what_a_mail_program_can_send() {
        for good in ["a@b", "jörg@exämple.com", "\"o@dd\"@example.com"] {
            assert!(address(text(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b\n",
            "a\u{1}@b",
            "…@example.com",
        ] {
            assert!(address(text(bad)).is_err(), "{bad}");
        }
        assert!(name(text("scanner 2"), "x").is_ok());
        assert!(name(text(&"x".repeat(321)), "x").is_err());
        assert!(person("a@b.iam.gserviceaccount.com".into(), 0..1).is_err());
    }

    #[test]
    fn samples_are_not_values() {
        for sample in [
            "…",
            "YOUR-CLIENT-ID",
            "your_client_id_here",
            "<client id>",
            "00000000-0000-0000-0000-000000000000",
            "  ",
        ] {
            assert!(client_id(text(sample)).is_err(), "{sample}");
        }
        for good in [
            "11111111-2222-3333-4444-555555555555",
            "abc.apps.googleusercontent.com",
            "mailwicket",
        ] {
            assert!(client_id(text(good)).is_ok(), "{good}");
        }
        let problem = inline_secret("<hunter2>".into(), 0..1, "client-secret").unwrap_err();
        assert!(!format!("{problem:?}").contains("hunter2"));
    }

    #[test]
    fn a_hash_must_be_whole_and_is_never_repeated() {
        let good = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$JVaNLQAxh6Pj1mWJKqV6m3mM4b0YAYcJ1nEJ7JSjYlM";
        assert!(
            password_hash(text(good)).is_ok(),
            "{:?}",
            password_hash(text(good))
        );
        let of_htpasswd = "$2y$05$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG";
        assert!(password_hash(text(of_htpasswd)).is_ok());
        for bad in [
            "hunter2",
            "$apr1$hunter2$",
            "$6$hunter2",
            "$2b$12$hunter2",
            &of_htpasswd.replace("$05$", "$15$"),
            "$argon2id$hunter2",
            "$argon2id$v=19$m=1,t=0,p=1$c29tZXNhbHQ$JVaN",
            &good[..40],
            "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$JVaN",
        ] {
            let problem = password_hash(text(bad)).unwrap_err();
            assert!(!format!("{problem:?}").contains("hunter2"));
        }
    }

    #[test]
    fn hosts_have_neither_scheme_nor_port() {
        for good in ["imap.example.com", "127.0.0.1", "::1", "[::1]", "localhost"] {
            assert!(host(&text(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "imap.example.com:993",
            "https://x",
            "a b",
            "exämple.com",
        ] {
            assert!(host(&text(bad)).is_err(), "{bad}");
        }
    }
}
