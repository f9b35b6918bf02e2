//! What an access token says of itself, where it is a JWT (RFC 7519), against what the account needs. Providers call their tokens
//! opaque and nothing is checked here but words, so this explains; the mail server decides. No part of the token itself is told.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::finding::Told;
use crate::config::Provider;
use crate::failure::Cause;
use crate::oauth::jwt;
use crate::oauth::response::printable;
use crate::protocol::Protocol;

/// Characters of a claim.
const CLAIM: usize = 200;
/// Exchange Online, as it is called where an application is no URL.
const EXCHANGE: &str = "00000002-0000-0ff1-ce00-000000000000";
/// Microsoft Graph, likewise.
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
/// The claims that hold a person's address, the likeliest first.
const PERSON: [&str; 5] = ["upn", "preferred_username", "unique_name", "email", "sub"];
/// The claims that are shown.
const SHOWN: [&str; 9] = [
    "aud",
    "scp",
    "scope",
    "roles",
    "upn",
    "preferred_username",
    "unique_name",
    "email",
    "tid",
];

/// The claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims(Map<String, Value>);

/// What the account needs of a token.
#[derive(Clone, Debug)]
pub(super) struct Need<'a> {
    /// The account.
    pub(super) address: &'a str,
    /// Who has to have signed in.
    pub(super) person: &'a str,
    /// What the token has to open.
    pub(super) protocols: &'a [Protocol],
    /// Whether Exchange has to take it.
    pub(super) is_exchange: bool,
}

impl Claims {
    /// Reads a token; `None` if it is no JWT.
    pub(super) fn read(token: &str) -> Option<Self> {
        jwt::claims(token).map(Self)
    }

    /// The texts of a claim, which may be one or a list.
    fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The words of a claim that holds many in one text.
    fn words(&self, name: &str) -> Vec<&str> {
        let texts = self.texts(name);
        texts
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
            .collect()
    }

    /// Whose token it is, where it has an address.
    fn person(&self) -> Option<&str> {
        let mut texts = PERSON.iter().flat_map(|name| self.texts(name));
        texts.find(|text| text.contains('@'))
    }

    fn ends(&self) -> Option<Timestamp> {
        let seconds = self.0.get("exp")?.as_f64()?;
        Timestamp::from_second(seconds as i64).ok()
    }

    /// Whether nobody signed in: the application has rights of its own.
    fn is_applications(&self) -> bool {
        self.texts("idtyp") == ["app"]
            || (self.words("scp").is_empty() && !self.texts("roles").is_empty())
    }

    /// The claims that say something, as they are.
    fn shown(&self) -> String {
        let all = SHOWN.iter().filter_map(|name| {
            let texts = self.texts(name);
            let text = printable(&texts.join(" "), CLAIM);
            (!text.is_empty()).then(|| format!("{name} {text}"))
        });
        let ends = self.ends().map(|ends| format!("until {ends}"));
        let all: Vec<_> = all.chain(ends).collect();
        match all.is_empty() {
            true => "nothing that is known here".to_owned(),
            false => all.join(", "),
        }
    }
}

/// Whether a provider's mail servers are Exchange Online, in whatever cloud.
pub(super) fn is_exchange(provider: &Provider) -> bool {
    let is_preset = |preset: &String| preset.starts_with("microsoft");
    let is_scope = |scope: &String| {
        let url = url::Url::parse(scope).ok();
        url.is_some_and(|url| is_exchange_host(url.host_str().unwrap_or_default()))
    };
    let is_served = |protocol: &Protocol| {
        let endpoint = provider.endpoint(*protocol);
        endpoint.is_some_and(|endpoint| is_exchange_host(&endpoint.host))
    };
    provider.preset.as_ref().is_some_and(is_preset)
        || provider.scopes.iter().any(is_scope)
        || Protocol::ALL.iter().any(is_served)
}

fn is_exchange_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_below = |domain: &str| {
        let rest = host.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    [
        "office365.com",
        "outlook.office.com",
        "office365.us",
        "partner.outlook.cn",
    ]
    .into_iter()
    .any(is_below)
}

/// Compares what a token says with what is needed; the first that does not fit is told.
pub(super) fn compare(claims: Option<&Claims>, need: &Need<'_>, now: Timestamp) -> Told {
    let Some(claims) = claims else {
        return Told::well("the token is opaque, as most are; the mail server's answer tells more");
    };
    let first = ended(claims, now)
        .or_else(|| need.is_exchange.then(|| exchange(claims, need)).flatten())
        .or_else(|| somebody_elses(claims, need));
    first.unwrap_or_else(|| Told::well(format!("the token says: {}", claims.shown())))
}

fn wrong(claims: &Claims, what: &str, remedy: String) -> Told {
    let detail = format!("{what}; the token says: {}", claims.shown());
    Told::failed(Cause::Config, detail, remedy)
}

fn ended(claims: &Claims, now: Timestamp) -> Option<Told> {
    let ends = claims.ends().filter(|ends| *ends <= now)?;
    let what = format!("the token, which was just got, ended at {ends}, and here it is {now:.0}");
    Some(wrong(claims, &what, "Set this machine's clock".to_owned()))
}

fn exchange(claims: &Claims, need: &Need<'_>) -> Option<Told> {
    audience(claims, need).or_else(|| match claims.is_applications() {
        true => rights(claims, need, "roles", role),
        false => rights(claims, need, "scp", scope),
    })
}

fn audience(claims: &Claims, need: &Need<'_>) -> Option<Told> {
    let audiences = claims.texts("aud");
    let is_right = |audience: &&str| {
        let host = url::Url::parse(audience).ok();
        *audience == EXCHANGE
            || host.is_some_and(|url| is_exchange_host(url.host_str().unwrap_or_default()))
    };
    let Some(found) = audiences.first() else {
        return None; // nothing is said, so nothing is wrong
    };
    if audiences.iter().any(is_right) {
        return None;
    }
    let is_graph = found.contains("graph.microsoft") || *found == GRAPH;
    let whose = match is_graph {
        true => "Microsoft Graph".to_owned(),
        false => printable(found, CLAIM),
    };
    Some(wrong(
        claims,
        &format!("the token is for {whose}, and Exchange takes only tokens that are for itself"),
        match claims.is_applications() {
            true => "Set `scopes` to [\"https://outlook.office365.com/.default\"]".to_owned(),
            false => format!(
                "Ask for https://outlook.office.com/… `scopes` and for no others, then: mailwicket authorize {}",
                need.address
            ),
        },
    ))
}

const fn scope(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "IMAP.AccessAsUser.All",
        Protocol::Pop3 => "POP.AccessAsUser.All",
        Protocol::Smtp => "SMTP.Send",
    }
}

const fn role(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "IMAP.AccessAsApp",
        Protocol::Pop3 => "POP.AccessAsApp",
        Protocol::Smtp => "SMTP.SendAsApp",
    }
}

/// Whether each protocol's right stands in `claim`.
fn rights(
    claims: &Claims,
    need: &Need<'_>,
    claim: &str,
    right: fn(Protocol) -> &'static str,
) -> Option<Told> {
    let granted = claims.words(claim);
    let is_missing = |wanted: &&str| {
        !granted
            .iter()
            .any(|granted| granted.eq_ignore_ascii_case(wanted))
    };
    let wanted = need.protocols.iter().map(|protocol| right(*protocol));
    let missing: Vec<_> = wanted.filter(is_missing).collect();
    if missing.is_empty() {
        return None;
    }
    let what = format!("the token lacks {}", missing.join(" and "));
    if claim == "scp" {
        let remedy = format!(
            "Add the permission to the registration and to `scopes`, then: mailwicket authorize {}",
            need.address
        );
        return Some(wrong(claims, &what, remedy));
    }
    let remedy = "Add it under API permissions, \"Office 365 Exchange Online\", Application permissions, and grant admin consent";
    // Exchange has another way to let an application send, which no token shows.
    match missing[..] {
        ["SMTP.SendAsApp"] => Some(Told::warning(
            format!("{what}; the token says: {}", claims.shown()),
            format!(
                "{remedy}; with the role \"Application SMTP.SendAsApp\" in Exchange itself nothing is missing"
            ),
        )),
        _ => Some(wrong(claims, &what, remedy.to_owned())),
    }
}

fn somebody_elses(claims: &Claims, need: &Need<'_>) -> Option<Told> {
    if claims.is_applications() {
        return None;
    }
    let person = claims.person()?;
    if person.eq_ignore_ascii_case(need.person) {
        return None;
    }
    let person = printable(person, CLAIM);
    Some(Told::warning(
        format!(
            "the token is of {person}, and {} should have signed in; the token says: {}",
            need.person,
            claims.shown()
        ),
        other_person(&person, need),
    ))
}

/// What is told where a provider said who signed in, whatever the token looks like.
pub(super) fn signed_in(person: &str, need: &Need<'_>) -> Option<Told> {
    if person.eq_ignore_ascii_case(need.person) {
        return None;
    }
    let person = printable(person, CLAIM);
    Some(Told::warning(
        format!("{person} signed in, and {} should have", need.person),
        other_person(&person, need),
    ))
}

fn other_person(person: &str, need: &Need<'_>) -> String {
    format!(
        "If that is another person, sign in as {}: mailwicket authorize {}; if {person} is meant to open this mailbox, set authorize-as = \"{person}\"",
        need.person, need.address
    )
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn token(claims: &Value) -> String {
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("eyJhbGciOiJub25lIn0.{payload}.c2lnbmF0dXJl")
    }

    fn need(protocols: &[Protocol]) -> Need<'_> {
        Need {
            address: "alice@contoso.com",
            person: "alice@contoso.com",
            protocols,
            is_exchange: true,
        }
    }

    fn told(claims: &Value, need: &Need<'_>) -> Told {
        let claims = Claims::read(&token(claims)).expect("a JWT");
        compare(
            Some(&claims),
            need,
            Timestamp::from_second(NOW).expect("a time"),
        )
    }

    fn failed(claims: &Value, protocols: &[Protocol]) -> (String, String) {
        match told(claims, &need(protocols)) {
            Told::Failed { detail, remedy, .. } => (detail, remedy.expect("a remedy")),
            other => panic!("{other:?}"),
        }
    }

    fn persons() -> Value {
        json!({
            "aud": "https://outlook.office.com",
            "scp": "IMAP.AccessAsUser.All SMTP.Send",
            "upn": "Alice@Contoso.com",
            "exp": NOW + 3600,
        })
    }

    #[test]
    fn a_fitting_token_is_told_without_itself() {
        let told = told(&persons(), &need(&[Protocol::Imap, Protocol::Smtp]));
        let Told::Well(detail) = told else {
            panic!("{told:?}")
        };
        assert!(
            detail.contains("aud https://outlook.office.com, scp IMAP.AccessAsUser.All SMTP.Send")
        );
        assert!(!detail.contains("eyJ") && !detail.contains("c2lnbmF0dXJl"));
    }

    #[test]
    fn a_token_for_graph_is_named() {
        for aud in ["https://graph.microsoft.com", GRAPH] {
            let mut claims = persons();
            claims["aud"] = json!(aud);
            let (detail, remedy) = failed(&claims, &[Protocol::Imap]);
            assert!(
                detail.starts_with("the token is for Microsoft Graph"),
                "{detail}"
            );
            assert!(remedy.contains("https://outlook.office.com/…"), "{remedy}");
        }
    }

    #[test]
    fn a_host_that_only_looks_like_exchange_is_none() {
        for (host, is_one) in [
            ("outlook.office365.com", true),
            ("outlook.office.com", true),
            ("outlook.office365.us", true),
            ("evil-office365.com", false),
            ("office365.com.example", false),
            ("graph.microsoft.com", false),
        ] {
            assert_eq!(is_exchange_host(host), is_one, "{host}");
        }
        let mut claims = persons();
        claims["aud"] = json!(["x", EXCHANGE]);
        assert!(matches!(
            told(&claims, &need(&[Protocol::Imap])),
            Told::Well(_)
        ));
    }

    #[test]
    fn the_missing_permission_is_named_for_people_and_for_applications() {
        let (detail, remedy) = failed(&persons(), &[Protocol::Imap, Protocol::Pop3]);
        assert!(
            detail.starts_with("the token lacks POP.AccessAsUser.All;"),
            "{detail}"
        );
        assert!(remedy.contains("mailwicket authorize alice@contoso.com"));
        let application = json!({
            "aud": "https://outlook.office365.com", "roles": ["POP.AccessAsApp"], "idtyp": "app",
        });
        let (detail, remedy) = failed(&application, &[Protocol::Imap, Protocol::Pop3]);
        assert!(
            detail.starts_with("the token lacks IMAP.AccessAsApp;"),
            "{detail}"
        );
        assert!(remedy.contains("admin consent"), "{remedy}");
    }

    #[test]
    fn an_application_may_send_without_a_role_in_its_token() {
        let application = json!({"aud": EXCHANGE, "roles": ["IMAP.AccessAsApp"]});
        let told = told(&application, &need(&[Protocol::Imap, Protocol::Smtp]));
        assert!(matches!(told, Told::Warning { .. }), "{told:?}");
    }

    #[test]
    fn another_persons_token_is_named_and_may_be_meant() {
        let mut claims = persons();
        claims["upn"] = json!("bob@contoso.com");
        let Told::Warning { detail, remedy } = told(&claims, &need(&[Protocol::Imap])) else {
            panic!("no warning")
        };
        assert!(detail.contains("is of bob@contoso.com"), "{detail}");
        assert!(
            remedy.contains("authorize-as = \"bob@contoso.com\""),
            "{remedy}"
        );
        let meant = Need {
            person: "bob@contoso.com",
            ..need(&[Protocol::Imap])
        };
        assert!(matches!(told(&claims, &meant), Told::Well(_)));
    }

    #[test]
    fn a_token_that_has_ended_when_it_comes_is_the_clocks_fault() {
        let mut claims = persons();
        claims["exp"] = json!(NOW - 1);
        let (detail, remedy) = failed(&claims, &[Protocol::Imap]);
        assert!(detail.contains("ended at"), "{detail}");
        assert_eq!(remedy, "Set this machine's clock");
    }

    #[test]
    fn other_providers_tokens_need_no_audience() {
        let need = Need {
            is_exchange: false,
            ..need(&[Protocol::Imap])
        };
        let claims =
            json!({"aud": "account", "scope": "openid mail", "email": "alice@contoso.com"});
        assert!(matches!(told(&claims, &need), Told::Well(_)));
    }

    #[test]
    fn what_is_no_jwt_is_opaque() {
        for token in ["ya29.abc", "EwB4A8l6BAAU", "a.b.c", "a.e30.c.d", "..", ""] {
            assert_eq!(Claims::read(token), None, "{token}");
        }
        let told = compare(None, &need(&[]), Timestamp::UNIX_EPOCH);
        assert!(matches!(told, Told::Well(_)));
    }

    #[test]
    fn claims_cannot_drive_a_terminal() {
        let claims = json!({"aud": "\u{1b}[2Jhttps://x", "upn": "a@b\nok"});
        let (detail, _) = failed(&claims, &[Protocol::Imap]);
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
}
