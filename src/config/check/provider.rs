//! `[provider.NAME]`: the file's keys over those of the preset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use ::url::Url;
use serde_spanned::Spanned;

use super::super::preset::{self, PRESETS, Preset, fill};
use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::sift::nearest;
use super::super::{DEFAULT_REDIRECT_URL, Endpoint, Flow, MechanismChoice, Provider, UpstreamTls};
use super::{Checker, url, value};
use crate::protocol::Protocol;
use crate::tls;

/// Parameters of the authorization request that mailwicket sets itself (RFC 6749 §4.1.1, RFC 7636 §4.3).
const OWN_PARAMS: [&str; 8] = [
    "client_id",
    "client_secret",
    "scope",
    "redirect_uri",
    "response_type",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// What the checks of one provider have in common.
pub(super) struct Context {
    /// The place of the table.
    span: Range<usize>,
    /// The preset, if one was named and is known.
    pub(super) preset: Option<&'static Preset>,
    /// A preset was named that is not known: what it would have given is not missing.
    excused: bool,
    pub(super) flow: Flow,
    tenant: Option<Spanned<String>>,
}

impl Context {
    fn tenant(&self) -> Option<&str> {
        self.tenant.as_ref().map(|tenant| tenant.get_ref().as_str())
    }

    /// A text of the preset, with the tenant in it.
    fn filled(&self, text: impl Fn(&Preset) -> Option<&'static str>) -> Option<Url> {
        let text = fill(text(self.preset?)?, self.tenant());
        Url::parse(&text).ok() // presets parse and tenants are plain: see the tests
    }

    pub(super) fn is_microsoft(&self) -> bool {
        self.preset.is_some_and(|preset| preset.tenants)
    }
}

impl Checker {
    pub(super) fn provider(
        &mut self,
        name: Spanned<String>,
        table: Spanned<shape::Provider>,
    ) -> Option<Provider> {
        let span = table.span();
        let shape = table.into_inner();
        self.provider_name(&name);
        self.later(&shape.certificate, "`certificate`");
        self.later(&shape.device_url, "`device-url`");
        let named = shape.preset.as_ref().map(|preset| preset.get_ref().clone());
        let context = self.context(span, shape.preset, shape.flow, shape.tenant);
        let id_hint = "client-id = \"…\" is the id of your registration at the provider";
        let client_id = self.required(shape.client_id, &context.span, "client-id", id_hint);
        let client_id = client_id.and_then(|id| self.ok(value::client_id(id)));
        let has_secret =
            shape.client_secret.is_some() || self.dropped.contains(&context.span, "client-secret");
        let client_secret = shape
            .client_secret
            .and_then(|secret| self.secret(secret, "client-secret"));
        let token_at = shape.token_url.as_ref().map(Spanned::span);
        let issuer = self.issuer(shape.issuer, &context);
        let authorize_url = self.url(shape.authorize_url, || {
            context.filled(|p| Some(p.authorize_url))
        });
        let token_url = self.url(shape.token_url, || context.filled(|p| Some(p.token_url)));
        let revoke_url = self.url(shape.revoke_url, || context.filled(|p| p.revoke_url));
        self.must_have_urls(
            &context,
            issuer.is_some(),
            authorize_url.is_some(),
            token_url.is_some(),
        );
        if context.flow == Flow::ClientCredentials {
            let place = token_at.unwrap_or_else(|| context.span.clone());
            self.application(&context, has_secret, token_url.as_ref(), place);
        }
        let servers = [shape.imap, shape.pop3, shape.smtp];
        let [imap, pop3, smtp] = self.servers(servers, &context);
        let redirect_url = self.redirect_url(shape.redirect_url, context.preset);
        let scopes = self.scopes(shape.scopes, &context);
        let client_secret_expires = shape
            .client_secret_expires
            .and_then(|date| self.ok(expiry(&date)));
        let authorize_params = self.params(shape.authorize_params, context.preset);
        let ca_file = shape.ca_file.and_then(|file| self.ca_file(file));
        let egress = self.egress(shape.egress, &context.span);
        // All checks are made before the first of these ends the function.
        Some(Provider {
            name: name.into_inner(),
            preset: named,
            client_id: client_id?,
            client_secret,
            client_secret_expires,
            flow: context.flow,
            issuer,
            authorize_url,
            token_url,
            revoke_url,
            redirect_url: redirect_url?,
            scopes,
            authorize_params,
            imap,
            pop3,
            smtp,
            mechanism: shape
                .mechanism
                .map_or(MechanismChoice::Auto, Spanned::into_inner),
            ca_file,
            egress,
        })
    }

    /// Names stand in logs, labels and on command lines.
    fn provider_name(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if text.is_empty() || !plain {
            self.tell(
                Problem::at(name.span(), "this cannot be the name of a provider")
                    .hint("use letters, digits, `-`, `_` and `.`"),
            );
        }
    }

    fn context(
        &mut self,
        span: Range<usize>,
        preset: Field<String>,
        flow: Field<shape::Flow>,
        tenant: Field<String>,
    ) -> Context {
        let found = preset
            .as_ref()
            .and_then(|preset| self.ok(known_preset(preset)));
        let excused =
            (preset.is_some() && found.is_none()) || self.dropped.contains(&span, "preset");
        Context {
            preset: found,
            excused,
            flow: flow.map_or(Flow::AuthorizationCode, |flow| self.flow(&flow)),
            tenant: self.tenant(tenant, found, excused),
            span,
        }
    }

    fn flow(&mut self, flow: &Spanned<shape::Flow>) -> Flow {
        let word = match flow.get_ref() {
            shape::Flow::AuthorizationCode => return Flow::AuthorizationCode,
            shape::Flow::ClientCredentials => return Flow::ClientCredentials,
            shape::Flow::DeviceCode => "device-code",
            shape::Flow::ServiceAccount => "service-account",
            shape::Flow::Password => "password",
            shape::Flow::ManagedIdentity => "managed-identity",
        };
        let message = format!("the flow \"{word}\" is not in this version yet");
        self.tell(
            Problem::at(flow.span(), message)
                .hint("use \"authorization-code\" or \"client-credentials\""),
        );
        Flow::AuthorizationCode
    }

    fn tenant(
        &mut self,
        field: Field<String>,
        preset: Option<&Preset>,
        excused: bool,
    ) -> Field<String> {
        let text = field?;
        let span = text.span();
        if !excused && preset.is_none_or(|preset| !preset.tenants) {
            let problem = Problem::at(span.clone(), "`tenant` has no meaning for this provider");
            self.tell(
                problem.hint(
                    "it belongs to preset = \"microsoft\"; elsewhere it is a part of the URLs",
                ),
            );
        }
        self.ok(value::tenant(text))
            .map(|tenant| Spanned::new(span, tenant))
    }

    fn issuer(&mut self, field: Field<String>, context: &Context) -> Option<String> {
        match field {
            Some(text) => self.ok(url::issuer(&text)),
            None => context.preset?.issuer(context.tenant()),
        }
    }

    fn url(&mut self, field: Field<String>, default: impl Fn() -> Option<Url>) -> Option<Url> {
        match field {
            Some(text) => self.ok(url::endpoint_url(&text)),
            None => default(),
        }
    }

    /// Without a preset, and without an issuer that publishes them, the URLs must be given.
    fn must_have_urls(&mut self, context: &Context, issuer: bool, authorize: bool, token: bool) {
        let dropped = |key: &str| self.dropped.contains(&context.span, key);
        if issuer || context.excused || dropped("issuer") {
            return;
        }
        let authorize =
            authorize || context.flow == Flow::ClientCredentials || dropped("authorize-url");
        let token = token || dropped("token-url");
        let missing = match (authorize, token) {
            (true, true) => return,
            (false, true) => "`authorize-url` is",
            (true, false) => "`token-url` is",
            (false, false) => "`authorize-url` and `token-url` are",
        };
        let hint = format!(
            "give `issuer`, if the provider publishes its URLs, or preset = {}",
            preset_names(" or ")
        );
        self.tell(Problem::at(context.span.clone(), format!("{missing} missing here")).hint(hint));
    }

    /// What an application needs to sign in by itself.
    fn application(
        &mut self,
        context: &Context,
        has_secret: bool,
        token_url: Option<&Url>,
        token_at: Range<usize>,
    ) {
        if let Some(preset) = context.preset.filter(|preset| preset.app_scopes.is_none()) {
            let message = format!(
                "{} lets no application open mailboxes with client credentials",
                preset.name
            );
            self.tell(
                Problem::at(context.span.clone(), message)
                    .hint("use flow = \"authorization-code\""),
            );
            return;
        }
        if !has_secret {
            let problem = Problem::at(
                context.span.clone(),
                "an application that signs in by itself needs a `client-secret`",
            );
            self.tell(problem.hint("client-secret = { file = \"NAME.secret\" }"));
        }
        self.own_tenant(context, token_url, token_at);
    }

    fn own_tenant(&mut self, context: &Context, token_url: Option<&Url>, token_at: Range<usize>) {
        let hint = "write the tenant whose mailboxes are opened, as in \"contoso.onmicrosoft.com\" or its id";
        match &context.tenant {
            Some(tenant) if value::is_shared_tenant(tenant.get_ref()) => {
                let message = format!(
                    "`{}` is not a tenant in which an application can sign in",
                    tenant.get_ref()
                );
                self.tell(Problem::at(tenant.span(), message).hint(hint));
            }
            None if context.is_microsoft() && !self.dropped.contains(&context.span, "tenant") => {
                let message = "`tenant` is missing: an application signs in in one tenant";
                self.tell(Problem::at(context.span.clone(), message).hint(hint));
            }
            _ if token_url.is_some_and(is_shared_microsoft_url) => {
                let message =
                    "this token URL is for everybody; an application signs in in one tenant";
                self.tell(Problem::at(token_at, message).hint(hint));
            }
            _ => {}
        }
    }

    fn servers(
        &mut self,
        fields: [Field<shape::Endpoint>; 3],
        context: &Context,
    ) -> [Option<Endpoint>; 3] {
        let keys = Protocol::ALL.map(Protocol::word);
        let given = fields.iter().any(Option::is_some)
            || keys
                .iter()
                .any(|key| self.dropped.contains(&context.span, key));
        if !given && context.preset.is_none() && !context.excused {
            let problem = Problem::at(context.span.clone(), "this provider has no mail server");
            self.tell(
                problem.hint(
                    "add imap, pop3 or smtp = { host = \"…\", port = …, tls = \"implicit\" }",
                ),
            );
        }
        let [imap, pop3, smtp] = fields;
        let preset = context.preset;
        [
            self.server(imap, Protocol::Imap, preset.map(|p| p.imap)),
            self.server(pop3, Protocol::Pop3, preset.map(|p| p.pop3)),
            self.server(smtp, Protocol::Smtp, preset.map(|p| p.smtp)),
        ]
    }

    /// A server that is written replaces the preset's as a whole.
    fn server(
        &mut self,
        field: Field<shape::Endpoint>,
        protocol: Protocol,
        preset: Option<preset::Server>,
    ) -> Option<Endpoint> {
        let Some(written) = field else {
            return preset.map(preset::endpoint);
        };
        let span = written.span();
        let shape = written.into_inner();
        let host = self.required(
            shape.host,
            &span,
            "host",
            "host = \"…\" is the name of the mail server",
        );
        let host = host.and_then(|host| self.ok(value::host(&host)));
        let port = shape
            .port
            .and_then(|port| self.ok(value::number(&port, 1, u16::MAX.into())));
        let port = port.and_then(|port| u16::try_from(port).ok());
        let tls = shape.tls.map(Spanned::into_inner);
        let (port, tls) = complete(protocol, port, tls);
        Some(Endpoint {
            host: host?,
            port,
            tls,
        })
    }

    fn redirect_url(&mut self, field: Field<String>, preset: Option<&Preset>) -> Option<Url> {
        match field {
            Some(text) => self.ok(url::redirect_url(&text)),
            None => {
                Url::parse(preset.map_or(DEFAULT_REDIRECT_URL, |preset| preset.redirect_url)).ok()
            }
        }
    }

    /// The preset's parameters, and over them those of the file.
    fn params(
        &mut self,
        written: BTreeMap<Spanned<String>, Spanned<String>>,
        preset: Option<&Preset>,
    ) -> Vec<(String, String)> {
        let preset = preset.map_or(&[][..], |preset| preset.authorize_params);
        let mut params: BTreeMap<String, String> = preset
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        for (key, value) in written {
            if OWN_PARAMS.contains(&key.get_ref().as_str()) {
                let message = format!("`{}` is set by mailwicket itself", key.get_ref());
                self.tell(
                    Problem::at(key.span(), message)
                        .hint("it has a key of its own, or must be new each time; remove it"),
                );
            }
            params.insert(key.into_inner(), value.into_inner());
        }
        params.into_iter().collect()
    }

    fn ca_file(&mut self, text: Spanned<String>) -> Option<PathBuf> {
        let path = self.path(text.get_ref());
        match tls::upstream(Some(&path)) {
            Ok(_) => Some(path),
            Err(error) => {
                self.tell(Problem::at(text.span(), error.to_string()));
                None
            }
        }
    }
}

fn known_preset(name: &Spanned<String>) -> Result<&'static Preset, Problem> {
    Preset::named(name.get_ref()).ok_or_else(|| {
        let names = PRESETS.iter().map(|preset| preset.name);
        let known = format!(
            "this version knows {}; for another provider give `issuer` or the URLs",
            preset_names(", ")
        );
        let hint = match nearest(name.get_ref(), names) {
            Some(meant) => format!("did you mean `{meant}`? {known}"),
            None => known,
        };
        Problem::at(name.span(), format!("unknown preset `{}`", name.get_ref())).hint(hint)
    })
}

fn preset_names(between: &str) -> String {
    let names: Vec<_> = PRESETS
        .iter()
        .map(|preset| format!("\"{}\"", preset.name))
        .collect();
    names.join(between)
}

/// The well-known ports: each implies when TLS begins, and the other way round (RFC 8314 §3, RFC 3501, RFC 1939, RFC 6409).
fn complete(protocol: Protocol, port: Option<u16>, tls: Option<UpstreamTls>) -> (u16, UpstreamTls) {
    let (implicit, starttls): (u16, &[u16]) = match protocol {
        Protocol::Imap => (993, &[143]),
        Protocol::Pop3 => (995, &[110]),
        Protocol::Smtp => (465, &[587, 25]),
    };
    let tls = tls.unwrap_or(match port {
        Some(port) if starttls.contains(&port) => UpstreamTls::StartTls,
        _ => UpstreamTls::Implicit,
    });
    let port = port.unwrap_or(match tls {
        UpstreamTls::Implicit => implicit,
        UpstreamTls::StartTls => starttls[0],
    });
    (port, tls)
}

/// Whether a token URL of Microsoft is the one for all tenants.
fn is_shared_microsoft_url(url: &Url) -> bool {
    let tenant = url.path_segments().and_then(|mut segments| segments.next());
    url.host_str() == Some("login.microsoftonline.com")
        && tenant.is_some_and(value::is_shared_tenant)
}

fn expiry(date: &Spanned<toml::value::Datetime>) -> Result<jiff::civil::Date, Problem> {
    let written = date.get_ref().date.and_then(|date| {
        let (year, month, day) = (
            i16::try_from(date.year),
            i8::try_from(date.month),
            i8::try_from(date.day),
        );
        jiff::civil::Date::new(year.ok()?, month.ok()?, day.ok()?).ok()
    });
    written.ok_or_else(|| {
        Problem::at(date.span(), "this is not a date")
            .hint("write it as in 2027-03-01, without quotes")
    })
}
