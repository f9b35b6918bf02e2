//! What a registration proves itself with, and whether the flow can work with it: said when the file is read, not at night.

use std::ops::Range;

use ::url::Url;
use serde_spanned::Spanned;

use super::super::preset::{Preset, is_shared_tenant, is_shared_url};
use super::super::problem::Problem;
use super::super::sift::Dropped;
use super::super::{ClientCertificate, Flow, SecretSource, shape};
use super::provider::Context;
use super::{Checker, value};

/// What the file gives to prove the application with, and the places of it. What was left out as faulty counts as given.
pub(super) struct Given {
    /// `client-secret`, `certificate` and `assertion`, which stand for each other.
    proofs: Vec<(&'static str, Range<usize>)>,
    service_account: Option<Range<usize>>,
    password_grant: Option<(Range<usize>, bool)>,
    dropped: bool,
}

impl Given {
    pub(super) fn of(shape: &shape::Provider, table: &Range<usize>, dropped: &Dropped) -> Self {
        let proofs = [
            (
                "client-secret",
                shape.client_secret.as_ref().map(Spanned::span),
            ),
            ("certificate", shape.certificate.as_ref().map(Spanned::span)),
            ("assertion", shape.assertion.as_ref().map(Spanned::span)),
        ];
        let keys = [
            "client-secret",
            "certificate",
            "assertion",
            "service-account",
            "allow-password-grant",
            "flow",
        ];
        Self {
            proofs: proofs
                .into_iter()
                .filter_map(|(key, span)| Some((key, span?)))
                .collect(),
            service_account: shape.service_account.as_ref().map(Spanned::span),
            password_grant: shape
                .allow_password_grant
                .as_ref()
                .map(|field| (field.span(), *field.get_ref())),
            dropped: keys.iter().any(|key| dropped.contains(table, key)),
        }
    }
}

impl Checker {
    pub(super) fn certificate(
        &mut self,
        table: Spanned<shape::ClientCertificate>,
    ) -> Option<ClientCertificate> {
        let span = table.span();
        let shape = table.into_inner();
        let hint = "file = \"…\" is the certificate, in PEM form";
        let file = self.required(shape.file, &span, "file", hint)?;
        let file = self.ok(value::filled(file, "the file name"))?;
        let file = self.path(&file);
        let key = match shape.key {
            Some(key) => self.secret(key, "key")?,
            None => SecretSource::File(file.clone()),
        };
        let algorithm = shape.algorithm.map(Spanned::into_inner);
        Some(ClientCertificate {
            file,
            key,
            algorithm: algorithm.unwrap_or_default(),
        })
    }

    /// Each flow needs its own proof, and a second one would be a guess which is meant.
    pub(super) fn credentials(&mut self, given: &Given, context: &Context) {
        if let [(first, _), (second, span), ..] = &given.proofs[..] {
            let message = format!("`{second}` and `{first}` stand for each other");
            self.tell(Problem::at(span.clone(), message).hint("give one of them"));
        }
        let flow = context.flow.word();
        match context.flow {
            Flow::ServiceAccount | Flow::ManagedIdentity => {
                for (key, span) in &given.proofs {
                    self.meaningless(key, span, flow);
                }
            }
            Flow::ClientCredentials if given.proofs.is_empty() && !given.dropped => {
                let message = "an application that signs in by itself needs a `client-secret`, a `certificate` or an `assertion`";
                let hint = "certificate = { file = \"NAME.pem\", key = { file = \"NAME.key\" } }, or client-secret = { file = \"NAME.secret\" }";
                self.tell(Problem::at(context.span.clone(), message).hint(hint));
            }
            _ => {}
        }
        self.service_account(given, context);
        self.password_grant(given, context);
    }

    fn service_account(&mut self, given: &Given, context: &Context) {
        match (context.flow, &given.service_account) {
            (Flow::ServiceAccount, None) if !given.dropped => {
                let message = "this flow needs a `service-account`";
                let hint = "service-account = { file = \"NAME.json\" }, the key file that the provider's console made";
                self.tell(Problem::at(context.span.clone(), message).hint(hint));
            }
            (Flow::ServiceAccount, _) | (_, None) => {}
            (flow, Some(span)) => self.meaningless("service-account", span, flow.word()),
        }
    }

    /// Whoever gives their password to a program must have said that they know what that means.
    fn password_grant(&mut self, given: &Given, context: &Context) {
        match (context.flow, &given.password_grant) {
            (Flow::Password, Some((_, true))) => {}
            (Flow::Password, _) if given.dropped => {}
            (Flow::Password, _) => {
                let message = "the password grant needs `allow-password-grant = true`";
                let hint = "mailwicket then sees the mailbox's password once, it does not work with a second factor, and providers are \
                            ending it; \"device-code\" needs no browser either";
                self.tell(Problem::at(context.span.clone(), message).hint(hint));
            }
            (flow, Some((span, _))) => {
                self.meaningless("allow-password-grant", span, flow.word());
            }
            (_, None) => {}
        }
    }

    fn meaningless(&mut self, key: &str, span: &Range<usize>, flow: &str) {
        let message = format!("`{key}` has no meaning with flow = \"{flow}\"");
        self.tell(Problem::at(span.clone(), message).hint("remove it, or choose another flow"));
    }

    /// Whether the provider has the flow at all, as far as is known.
    pub(super) fn fit_flow(&mut self, context: &Context, has_device_url: bool, has_issuer: bool) {
        let fault = match context.preset {
            Some(preset) => fault_of_preset(context.flow, preset, has_device_url),
            None if context.flow == Flow::DeviceCode && !has_device_url && !has_issuer => {
                Some("`device-url` is missing here".into())
            }
            None => None,
        };
        if let Some(message) = fault.filter(|_| !context.is_excused()) {
            let hint = match context.preset {
                Some(_) => "use flow = \"authorization-code\"",
                None => "give `issuer`, if the provider publishes its URLs, or `device-url`",
            };
            self.tell(Problem::at(context.span.clone(), message).hint(hint));
        }
    }

    /// An application signs in in one tenant, and so does a password.
    pub(super) fn own_tenant(&mut self, context: &Context, written: Endpoints<'_>) {
        let who = match context.flow {
            Flow::ClientCredentials => "an application",
            Flow::Password => "a password",
            _ => return,
        };
        let hint = "write the tenant whose mailboxes are opened, as in \"contoso.onmicrosoft.com\" or its id";
        match &context.tenant {
            Some(tenant) if is_shared_tenant(tenant.get_ref()) => {
                let message = format!(
                    "`{}` is not a tenant in which {who} can sign in",
                    tenant.get_ref()
                );
                self.tell(Problem::at(tenant.span(), message).hint(hint));
            }
            None if context.wants_tenant()
                && written.token_url.is_none()
                && !self.dropped.contains(&context.span, "tenant") =>
            {
                let message = format!("`tenant` is missing: {who} signs in in one tenant");
                self.tell(Problem::at(context.span.clone(), message).hint(hint));
            }
            _ => {
                let message = format!("this URL is for everybody; {who} signs in in one tenant");
                // The issuer only says where to sign in if the token URL does not.
                if let Some((_, at)) = written.decisive().filter(|(url, _)| is_shared_url(url)) {
                    self.tell(Problem::at(at, message).hint(hint));
                }
            }
        }
    }
}

/// The URLs that stand in the configuration, with their places.
pub(super) struct Endpoints<'a> {
    pub(super) token_url: Option<(&'a Url, Range<usize>)>,
    pub(super) issuer: Option<(&'a Url, Range<usize>)>,
}

impl<'a> Endpoints<'a> {
    fn decisive(self) -> Option<(&'a Url, Range<usize>)> {
        self.token_url.or(self.issuer)
    }
}

fn fault_of_preset(flow: Flow, preset: &Preset, has_device_url: bool) -> Option<String> {
    if preset.has_flow(flow) || (flow == Flow::DeviceCode && has_device_url) {
        return None;
    }
    let fault = match flow {
        Flow::DeviceCode => {
            "sign-ins on another device (\"device-code\") give no tokens for mail".to_owned()
        }
        Flow::ServiceAccount => "there are no service accounts".to_owned(),
        Flow::Password => "no password is exchanged for tokens".to_owned(),
        Flow::AuthorizationCode | Flow::ClientCredentials | Flow::ManagedIdentity => format!(
            "no application opens mailboxes by itself with \"{}\"",
            flow.word()
        ),
    };
    Some(format!("{}: {fault}", preset.title))
}
