//! The shape of the file: which keys there are and what type each has. What they mean is for `check`.
//!
//! Every key is optional here, so that `sift` can try each one alone and `check` can say in its own words what is missing.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use secrecy::SecretString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_spanned::Spanned;

use super::{Flow, LocalTls, MechanismChoice, OnUnavailable, SigningAlgorithm, UpstreamTls};
use crate::protocol::Protocol;

/// A key that may be absent, with the place of its value.
pub type Field<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct File {
    pub state_dir: Field<String>,
    pub console: Console,
    pub ca: Ca,
    pub vault: Vault,
    pub provider: BTreeMap<Spanned<String>, Spanned<Provider>>,
    #[serde(deserialize_with = "tables")]
    pub listener: Vec<Spanned<Listener>>,
    #[serde(deserialize_with = "tables")]
    pub account: Vec<Spanned<Account>>,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub log: Log,
    pub notify: Notify,
    pub metrics: Metrics,
}

/// `[console]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [console]"
)]
pub struct Console {
    pub listen: Field<String>,
    pub allow_from: Field<OneOrMany>,
    pub certificate: Field<Certificate>,
}

/// `[ca]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [ca]"
)]
pub struct Ca {
    pub names: Field<OneOrMany>,
}

/// `[vault]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [vault]"
)]
pub struct Vault {
    pub key: Field<Secret>,
    pub store: Field<Store>,
}

/// `[provider.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [provider.NAME]"
)]
pub struct Provider {
    pub preset: Field<String>,
    pub region: Field<String>,
    pub tenant: Field<String>,
    pub client_id: Field<String>,
    pub client_secret: Field<Secret>,
    pub client_secret_expires: Field<toml::value::Datetime>,
    pub certificate: Field<ClientCertificate>,
    pub assertion: Field<Secret>,
    pub service_account: Field<Secret>,
    pub allow_password_grant: Field<bool>,
    pub flow: Field<Flow>,
    pub issuer: Field<String>,
    pub authorize_url: Field<String>,
    pub token_url: Field<String>,
    pub device_url: Field<String>,
    pub revoke_url: Field<String>,
    pub redirect_url: Field<String>,
    pub scopes: Field<Vec<Spanned<String>>>,
    pub authorize_params: BTreeMap<Spanned<String>, Spanned<String>>,
    pub imap: Field<Endpoint>,
    pub pop3: Field<Endpoint>,
    pub smtp: Field<Endpoint>,
    pub mechanism: Field<MechanismChoice>,
    pub ca_file: Field<String>,
    pub egress: Field<Egress>,
}

/// `certificate = { file = "…", key = { file = "…" } }` of a provider
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table like { file = \"app.pem\", key = { file = \"app.key\" } }"
)]
pub struct ClientCertificate {
    pub file: Field<String>,
    pub key: Field<Secret>,
    pub algorithm: Field<SigningAlgorithm>,
}

/// `imap = { host = "…", port = 993, tls = "implicit" }`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table like { host = \"imap.example.com\", port = 993, tls = \"implicit\" }"
)]
pub struct Endpoint {
    pub host: Field<String>,
    pub port: Field<i64>,
    pub tls: Field<UpstreamTls>,
}

/// `[[listener]]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [[listener]]"
)]
pub struct Listener {
    pub protocol: Field<Protocol>,
    pub provider: Field<String>,
    pub listen: Field<OneOrMany>,
    pub tls: Field<LocalTls>,
    pub certificate: Field<Certificate>,
    pub allow_plaintext_from: Field<OneOrMany>,
    pub proxy_protocol_from: Field<OneOrMany>,
    pub without_login: Field<WithoutLogin>,
    pub on_unavailable: Field<OnUnavailable>,
}

/// `without-login = { account = "…", from = ["…"] }`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table like { account = \"scanner@example.com\", from = [\"192.168.1.20\"] }"
)]
pub struct WithoutLogin {
    pub account: Field<String>,
    pub from: Field<OneOrMany>,
    pub senders: Field<OneOrMany>,
}

/// `certificate = { file = "…", key = { file = "…" } }`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table like { file = \"fullchain.pem\", key = { file = \"privkey.pem\" } }"
)]
pub struct Certificate {
    pub file: Field<String>,
    pub key: Field<Secret>,
}

/// `[[account]]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [[account]]"
)]
pub struct Account {
    pub address: Field<String>,
    pub provider: Field<String>,
    pub logins: Field<OneOrMany>,
    pub identity: Field<Identity>,
    pub authorize_as: Field<String>,
    pub password_hash: Field<OneOrMany>,
    pub max_upstream: Field<MaxUpstream>,
}

/// `[timeouts]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [timeouts]"
)]
pub struct Timeouts {
    pub before_login: Field<String>,
    pub tls: Field<String>,
    pub connect: Field<String>,
    pub connect_total: Field<String>,
    pub upstream_login: Field<String>,
    pub token: Field<String>,
    pub drain: Field<String>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [limits]"
)]
pub struct Limits {
    pub sessions: Field<i64>,
    pub sessions_per_source: Field<i64>,
    pub sessions_per_account: Field<i64>,
    pub before_login: Field<i64>,
    pub before_login_per_source: Field<i64>,
    pub failed_logins: Field<i64>,
    pub failed_logins_per_minute: Field<i64>,
    pub line_before_login: Field<i64>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [log]"
)]
pub struct Log {
    pub level: Field<String>,
    pub format: Field<LogFormat>,
}

/// `format = "…"`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    Text,
    Json,
}

/// `[notify]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [notify]"
)]
pub struct Notify {
    pub command: Field<Vec<String>>,
    pub webhook: Field<Secret>,
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [metrics]"
)]
pub struct Metrics {
    pub listen: Field<String>,
}

/// Where a secret is: the text itself, or a table that names its source.
#[derive(Debug)]
pub enum Secret {
    Inline(SecretString),
    From(Source),
}

/// `{ file = … }` and its like; exactly one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Source {
    pub file: Field<String>,
    pub env: Field<String>,
    pub credential: Field<String>,
    pub command: Field<Vec<String>>,
}

/// `egress = "…"`, or a table that keeps the password elsewhere. The text may hold one.
#[derive(Debug)]
pub enum Egress {
    Url(SecretString),
    Table(Box<EgressTable>),
}

/// `egress = { url = "…", user = "…", password = { file = "…" } }`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EgressTable {
    pub url: Field<String>,
    pub user: Field<String>,
    pub password: Field<Secret>,
}

/// `store = "file"` or `{ postgres = "…" }`.
#[derive(Debug)]
pub enum Store {
    Word(String),
    Elsewhere,
}

/// `identity = "…"` or one per protocol.
#[derive(Debug)]
pub enum Identity {
    All(String),
    Each(IdentityTable),
}

/// `identity = { imap = "…", … }`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct IdentityTable {
    pub imap: Field<String>,
    pub pop3: Field<String>,
    pub smtp: Field<String>,
}

/// `max-upstream = 5` or one number per protocol.
#[derive(Debug)]
pub enum MaxUpstream {
    All(i64),
    Each(MaxUpstreamTable),
}

/// `max-upstream = { imap = …, … }`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MaxUpstreamTable {
    pub imap: Field<i64>,
    pub pop3: Field<i64>,
    pub smtp: Field<i64>,
}

/// A string or a list of strings, each with its place.
#[derive(Debug)]
pub struct OneOrMany(pub Vec<Spanned<String>>);

/// What a value looks like when a key takes a string and something else as well.
enum Kind<T> {
    Text(String),
    Table(T),
    List(Vec<Spanned<String>>),
}

/// Takes a string and whichever of the others is allowed.
struct KindVisitor<T> {
    expecting: &'static str,
    table: bool,
    list: bool,
    made: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for KindVisitor<T> {
    type Value = Kind<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if self.table {
            T::deserialize(MapAccessDeserializer::new(map)).map(Kind::Table)
        } else {
            Err(de::Error::invalid_type(de::Unexpected::Map, &self))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        if !self.list {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut list = Vec::new();
        while let Some(text) = seq.next_element()? {
            list.push(text);
        }
        Ok(Kind::List(list))
    }
}

fn text_or_table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
    expecting: &'static str,
) -> Result<Kind<T>, D::Error> {
    from.deserialize_any(KindVisitor {
        expecting,
        table: true,
        list: false,
        made: PhantomData,
    })
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expecting = "a string, or a table { file = … }, { env = … }, { credential = … } or { command = […] }";
        match text_or_table(from, expecting)? {
            Kind::Text(text) => Ok(Self::Inline(text.into())),
            Kind::Table(source) => Ok(Self::From(source)),
            Kind::List(_) => Err(de::Error::custom(expecting)),
        }
    }
}

impl<'de> Deserialize<'de> for Egress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expecting = "a string, or a table { url = …, user = …, password = … }";
        match text_or_table(from, expecting)? {
            Kind::Text(text) => Ok(Self::Url(text.into())),
            Kind::Table(table) => Ok(Self::Table(Box::new(table))),
            Kind::List(_) => Err(de::Error::custom(expecting)),
        }
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expecting = "a string, or a table { imap = …, pop3 = …, smtp = … }";
        match text_or_table(from, expecting)? {
            Kind::Text(text) => Ok(Self::All(text)),
            Kind::Table(each) => Ok(Self::Each(each)),
            Kind::List(_) => Err(de::Error::custom(expecting)),
        }
    }
}

impl<'de> Deserialize<'de> for MaxUpstream {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = MaxUpstream;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or a table { imap = …, pop3 = …, smtp = … }")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(MaxUpstream::All(number))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(MaxUpstream::Each)
            }
        }
        from.deserialize_any(Numbers)
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match text_or_table::<_, IgnoredAny>(from, "\"file\", or a table { postgres = … }")? {
            Kind::Text(word) => Ok(Self::Word(word)),
            Kind::Table(_) | Kind::List(_) => Ok(Self::Elsewhere),
        }
    }
}

/// Only to learn the place of a single string.
struct StringOrList(Kind<IgnoredAny>);

impl<'de> Deserialize<'de> for StringOrList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let visitor = KindVisitor {
            expecting: "a string or a list of strings",
            table: false,
            list: true,
            made: PhantomData,
        };
        from.deserialize_any(visitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Spanned::<StringOrList>::deserialize(from)?;
        let span = value.span();
        Ok(Self(match value.into_inner().0 {
            Kind::Text(text) => vec![Spanned::new(span, text)],
            Kind::List(list) => list,
            Kind::Table(_) => Vec::new(),
        }))
    }
}

/// `[[name]]` tables, with a better word for `[name]` than "expected a sequence".
fn tables<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Tables<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(
                "a list of tables; write its heading in double brackets, as in [[listener]]",
            )
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = seq.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
    from.deserialize_seq(Tables(PhantomData))
}
