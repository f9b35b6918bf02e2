//! `[provider.NAME]`: the file's keys over those of the preset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use ::url::Url;
use serde_spanned::Spanned;

use super::super::preset::{self, PRESETS, Preset, Tenants};
use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::super::sift::nearest;
use super::super::{DEFAULT_REDIRECT_URL, Endpoint, Flow, MechanismChoice, Provider, UpstreamTls};
use super::credential::{Endpoints, Given};
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

/// Where a machine in Azure asks for tokens of its own: an address of the link, which no network carries further.
const METADATA_SERVICE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// What the checks of one provider have in common.
pub(super) struct Context {
    /// The place of the table.
    pub(super) span: Range<usize>,
    /// The preset, if one was named and is known.
    pub(super) preset: Option<&'static Preset>,
    /// A preset was named that is not known: what it would have given is not missing.
    excused: bool,
    pub(super) flow: Flow,
    pub(super) tenant: Option<Spanned<String>>,
    region: Option<String>,
}

impl Context {
    fn tenant(&self) -> Option<&str> {
        self.tenant.as_ref().map(|tenant| tenant.get_ref().as_str())
    }

    /// A preset was named that is not known, so nothing can be said about it.
    pub(super) fn is_excused(&self) -> bool {
        self.excused
    }

    /// Whether its tenant must be said where `common` will not do.
    pub(super) fn wants_tenant(&self) -> bool {
        self.preset
            .is_some_and(|preset| preset.tenants == Tenants::Own)
    }

    fn region(&self, preset: &Preset) -> &str {
        preset.region(self.region.as_deref())
    }

    /// A text of the preset, with tenant and region in it.
    fn filled(&self, text: impl Fn(&Preset) -> Option<&'static str>) -> Option<Url> {
        let preset = self.preset?;
        let text = text(preset)?.replace("{tenant}", preset.tenant(self.tenant()));
        let text = text.replace("{region}", self.region(preset));
        Url::parse(&text).ok() // presets parse, tenants are plain and regions of the table: see the tests
    }

    fn token_url(&self) -> Option<Url> {
        match self.flow {
            Flow::ManagedIdentity => Url::parse(METADATA_SERVICE).ok(),
            _ => self.filled(|preset| Some(preset.token_url)),
        }
    }

    pub(super) fn is_microsoft(&self) -> bool {
        self.preset.is_some_and(Preset::is_microsoft)
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
        let named = shape.preset.as_ref().map(|preset| preset.get_ref().clone());
        let given = Given::of(&shape, &span, &self.dropped);
        let context = self.context(span, shape.preset, shape.flow, shape.tenant, shape.region);
        let client_id = self.client_id(shape.client_id, &context);
        let client_secret = shape
            .client_secret
            .and_then(|secret| self.secret(secret, "client-secret"));
        let certificate = shape.certificate.and_then(|table| self.certificate(table));
        let assertion = shape
            .assertion
            .and_then(|source| self.secret(source, "assertion"));
        let service_account = shape
            .service_account
            .and_then(|source| self.secret(source, "service-account"));
        let token_at = shape.token_url.as_ref().map(Spanned::span);
        let issuer_at = shape.issuer.as_ref().map(Spanned::span);
        let issuer = self.issuer(shape.issuer, &context);
        let authorize_url = self.url(shape.authorize_url, || {
            context.filled(|p| Some(p.authorize_url))
        });
        let token_url = self.url(shape.token_url, || context.token_url());
        let device_url = self.url(shape.device_url, || context.filled(|p| p.device_url));
        let revoke_url = self.url(shape.revoke_url, || context.filled(|p| p.revoke_url));
        self.must_have_urls(
            &context,
            issuer.is_some(),
            authorize_url.is_some(),
            token_url.is_some(),
        );
        let issuer_url = issuer.as_deref().and_then(|issuer| Url::parse(issuer).ok());
        let written = Endpoints {
            token_url: token_url.as_ref().zip(token_at),
            issuer: issuer_url.as_ref().zip(issuer_at),
        };
        self.credentials(&given, &context);
        self.fit_flow(&context, device_url.is_some(), issuer.is_some());
        self.own_tenant(&context, written);
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
            certificate,
            assertion,
            service_account,
            flow: context.flow,
            issuer,
            authorize_url,
            token_url,
            device_url,
            revoke_url,
            redirect_url: redirect_url?,
            scopes,
            authorize_params,
            imap,
            pop3,
            smtp,
            mechanism: shape.mechanism.map_or_else(
                || {
                    context
                        .preset
                        .map_or(MechanismChoice::Auto, |preset| preset.mechanism)
                },
                Spanned::into_inner,
            ),
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
        flow: Field<Flow>,
        tenant: Field<String>,
        region: Field<String>,
    ) -> Context {
        let found = preset
            .as_ref()
            .and_then(|preset| self.ok(known_preset(preset)));
        let excused =
            (preset.is_some() && found.is_none()) || self.dropped.contains(&span, "preset");
        Context {
            preset: found,
            excused,
            flow: flow.map_or(Flow::AuthorizationCode, Spanned::into_inner),
            tenant: self.tenant(tenant, found, excused),
            region: region.and_then(|region| self.region(region, found, excused)),
            span,
        }
    }

    /// Only a machine's own identity has no id that must be known.
    fn client_id(&mut self, field: Field<String>, context: &Context) -> Option<String> {
        let hint = "client-id = \"…\" is the id of your registration at the provider";
        let needs_none = matches!(context.flow, Flow::ManagedIdentity | Flow::ServiceAccount);
        match field {
            None if needs_none => Some(String::new()),
            field => self
                .required(field, &context.span, "client-id", hint)
                .and_then(|id| self.ok(value::client_id(id))),
        }
    }

    fn tenant(
        &mut self,
        field: Field<String>,
        preset: Option<&Preset>,
        excused: bool,
    ) -> Field<String> {
        let text = field?;
        let span = text.span();
        let hint = match preset.map_or(Tenants::None, |preset| preset.tenants) {
            _ if excused => None,
            Tenants::Own => None,
            Tenants::None => {
                Some("it belongs to the presets of Microsoft; elsewhere it is a part of the URLs")
            }
            Tenants::Only(_) => {
                Some("remove it: personal accounts are in no organisation's tenant")
            }
        };
        if let Some(hint) = hint {
            let problem = Problem::at(span.clone(), "`tenant` has no meaning for this provider");
            self.tell(problem.hint(hint));
        }
        self.ok(value::tenant(text))
            .map(|tenant| Spanned::new(span, tenant))
    }

    fn region(
        &mut self,
        text: Spanned<String>,
        preset: Option<&Preset>,
        excused: bool,
    ) -> Option<String> {
        let known = preset.map_or(&[][..], |preset| preset.regions);
        if known.contains(&text.get_ref().as_str()) {
            return Some(text.into_inner());
        }
        let message = match known {
            _ if excused => return None,
            [] => "`region` has no meaning for this provider".to_owned(),
            _ => format!("there is no region `{}`", text.get_ref()),
        };
        let hint = match known {
            [] => "remove it".to_owned(),
            _ => format!("there are: {}", known.join(", ")),
        };
        self.tell(Problem::at(text.span(), message).hint(hint));
        None
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
            authorize || context.flow != Flow::AuthorizationCode || dropped("authorize-url");
        let token = token || dropped("token-url");
        let missing = match (authorize, token) {
            (true, true) => return,
            (false, true) => "`authorize-url` is",
            (true, false) => "`token-url` is",
            (false, false) => "`authorize-url` and `token-url` are",
        };
        let hint = format!(
            "give `issuer`, if the provider publishes its URLs, or a preset: {}",
            preset_names()
        );
        self.tell(Problem::at(context.span.clone(), format!("{missing} missing here")).hint(hint));
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
            self.server(imap, Protocol::Imap, preset.and_then(|p| p.imap), context),
            self.server(pop3, Protocol::Pop3, preset.and_then(|p| p.pop3), context),
            self.server(smtp, Protocol::Smtp, preset.and_then(|p| p.smtp), context),
        ]
    }

    /// A server that is written replaces the preset's as a whole.
    fn server(
        &mut self,
        field: Field<shape::Endpoint>,
        protocol: Protocol,
        preset: Option<preset::Server>,
        context: &Context,
    ) -> Option<Endpoint> {
        let Some(written) = field else {
            let region = context.preset.map_or("", |preset| context.region(preset));
            return preset.map(|server| preset::endpoint(server, region));
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
            preset_names()
        );
        let meant = Preset::meant_by(name.get_ref()).or_else(|| nearest(name.get_ref(), names));
        let hint = match meant {
            Some(meant) => format!("did you mean `{meant}`? {known}"),
            None => known,
        };
        Problem::at(name.span(), format!("unknown preset `{}`", name.get_ref())).hint(hint)
    })
}

fn preset_names() -> String {
    let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
    names.join(", ")
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
