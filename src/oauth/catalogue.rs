//! What providers' error answers mean, as data: to explain a new error, add a row.
//!
//! What mailwicket *does* follows from `error` and `suberror` (RFC 6749 §5.2): providers say that numbers and texts may change.
//! Numbers and texts choose only the *explanation*, except that a number known to be temporary never ends a grant.

use std::time::Duration;

use super::response::ErrorAnswer;

/// What has to happen before the token endpoint may say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A person must sign in again; asking again with the same grant is useless.
    Consent,
    /// Somebody must change the registration, the configuration or a policy.
    Config,
    /// Nothing but time.
    Retry,
}

/// What an error answer means and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What has to happen.
    pub class: Class,
    /// One or two sentences for the administrator, in which ACCOUNT stands for the account's name; empty when nothing better than
    /// the provider's own text is known.
    pub remedy: &'static str,
    /// How long the whole registration has to be silent, where the provider is known to punish those who are not.
    pub pause: Option<Duration>,
}

/// The meaning of an error answer.
pub fn meaning(answer: &ErrorAnswer) -> Meaning {
    let row = ROWS.iter().find(|row| row.sign.fits(answer));
    let class = match row {
        Some(Row {
            temporary: true, ..
        }) => Class::Retry,
        _ => behaviour(&answer.error, answer.suberror.as_deref()),
    };
    let remedy = row.map_or_else(|| general_remedy(class), |row| row.remedy);
    let pause = row.and_then(|row| row.pause);
    Meaning {
        class,
        remedy,
        pause,
    }
}

/// What follows from the words that the RFCs and providers define for machines.
fn behaviour(error: &str, suberror: Option<&str>) -> Class {
    match (error, suberror) {
        // Entra: the token belongs to another client id, so signing in again would not help before the id is right.
        ("invalid_grant", Some("client_mismatch")) => Class::Config,
        (
            "invalid_grant"
            | "interaction_required"
            | "login_required"
            | "consent_required"
            | "account_selection_required"
            | "access_denied"
            | "expired_token"
            | "invalid_code",
            _,
        ) => Class::Consent,
        (
            "invalid_client"
            | "unauthorized_client"
            | "deleted_client"
            | "disabled_client"
            | "invalid_scope"
            | "invalid_request"
            | "invalid_target"
            | "invalid_resource"
            | "unsupported_grant_type"
            | "unsupported_response_type"
            | "admin_policy_enforced"
            | "org_internal"
            | "redirect_uri_mismatch"
            | "access_not_configured",
            _,
        ) => Class::Config,
        _ => Class::Retry,
    }
}

fn general_remedy(class: Class) -> &'static str {
    match class {
        Class::Consent => "Sign in again: mailwicket authorize ACCOUNT",
        Class::Config => {
            "Compare client id, secret, tenant and scopes with the registration at the provider."
        }
        Class::Retry => "",
    }
}

/// How a row recognises an answer.
enum Sign {
    /// Any of these numbers in `error_codes` or as `AADSTS…` in the description.
    Entra(&'static [u32]),
    /// This `error`.
    Word(&'static str),
    /// This `error` with this `suberror` or `error_subtype`.
    Sub(&'static str, &'static str),
    /// This `error` with this fragment in the description.
    Text(&'static str, &'static str),
}

impl Sign {
    fn fits(&self, answer: &ErrorAnswer) -> bool {
        match *self {
            Self::Entra(numbers) => numbers.iter().any(|number| answer.has_number(*number)),
            Self::Word(error) => answer.error == error,
            Self::Sub(error, sub) => {
                answer.error == error && answer.suberror.as_deref() == Some(sub)
            }
            Self::Text(error, fragment) => {
                let description = answer.description.as_deref().unwrap_or_default();
                answer.error == error && description.contains(fragment)
            }
        }
    }
}

struct Row {
    sign: Sign,
    /// Time alone heals it, whatever `error` says.
    temporary: bool,
    remedy: &'static str,
    pause: Option<Duration>,
}

const fn row(sign: Sign, remedy: &'static str) -> Row {
    Row {
        sign,
        temporary: false,
        remedy,
        pause: None,
    }
}

const fn wait(sign: Sign, remedy: &'static str) -> Row {
    Row {
        sign,
        temporary: true,
        remedy,
        pause: None,
    }
}

const fn pause(sign: Sign, minutes: u64, remedy: &'static str) -> Row {
    Row {
        pause: Some(Duration::from_secs(60 * minutes)),
        ..wait(sign, remedy)
    }
}

use Sign::{Entra, Sub, Text, Word};

/// The first row that fits is taken, so the particular stand before the general.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    // Microsoft Entra
    row(Entra(&[700_082, 70_008]), "The sign-in lapsed, usually because it was not used for 90 days. Sign in again: mailwicket authorize ACCOUNT"),
    row(Entra(&[700_084]), "The redirect address is registered as a single-page application, whose sign-ins end after 24 hours. Register it under \"Mobile and desktop applications\" and sign in again."),
    row(Entra(&[70_043]), "The organisation's sign-in frequency policy ended the session. Sign in again; ask the administrator to exempt this application."),
    row(Entra(&[50_173, 50_132, 50_133]), "The sign-in was revoked, often by a password change. Sign in again: mailwicket authorize ACCOUNT"),
    row(Entra(&[50_074, 50_076, 50_078, 50_158]), "The organisation now asks for another sign-in factor. Sign in again in the browser: mailwicket authorize ACCOUNT"),
    row(Entra(&[50_072, 50_079]), "The user has to register a second sign-in factor first. Sign in again in the browser and finish the registration."),
    row(Entra(&[50_097, 50_129, 53_000, 53_001]), "A policy demands a managed device, which this host cannot be. Ask the administrator for an exception, or use flow = \"client-credentials\"."),
    row(Entra(&[53_003]), "A Conditional Access policy blocked the sign-in. The administrator finds its name in the sign-in log."),
    row(Entra(&[530_032, 530_035]), "The organisation's security policy or security defaults blocked the sign-in; the administrator must allow it."),
    row(Entra(&[50_055]), "The user's password has expired. Change it, then sign in again."),
    row(Entra(&[50_057]), "The user's account is disabled; the administrator must enable it."),
    row(Entra(&[500_341]), "The user's account was deleted; remove it from the configuration."),
    row(Entra(&[50_105]), "The user is not assigned to the application: Enterprise applications, Users and groups."),
    row(Entra(&[50_020]), "A personal or foreign account was used at a tenant that does not know it. Set tenant to \"consumers\" or \"common\", or invite the user."),
    row(Entra(&[50_034]), "The tenant has no such user; check the address and the tenant."),
    row(Entra(&[50_194]), "The application belongs to one tenant: set tenant to that tenant's id."),
    row(Entra(&[50_011, 500_113]), "The redirect address is not registered: add http://localhost under \"Mobile and desktop applications\"."),
    row(Entra(&[65_001]), "Nobody has agreed to these permissions yet. Sign in and accept, or let an administrator grant consent."),
    row(Entra(&[65_004]), "The consent page was cancelled. Try again."),
    row(Entra(&[90_094, 90_095]), "Only an administrator may consent to this application; send the administrator the consent link."),
    row(Entra(&[650_052, 650_056, 650_057, 500_011]), "The application asks for a permission that it was not given. Check its API permissions and the scopes (https://outlook.office.com/…)."),
    row(Entra(&[70_011, 28_002, 700_022]), "The scope is wrong, or two resources are mixed in one request; use only https://outlook.office.com/… scopes."),
    row(Entra(&[700_016, 70_001]), "The client id is not known in this tenant: check client-id, tenant and cloud."),
    row(Entra(&[7_000_215, 70_002]), "The client secret is wrong; often the secret's ID was pasted in place of its value."),
    row(Entra(&[7_000_222]), "The client secret has expired; create a new one and put its value in the configuration."),
    row(Entra(&[7_000_218]), "The provider wants a client secret: set \"Allow public client flows\" to Yes, or give client-secret."),
    row(Entra(&[700_025]), "The application is public and must not send a secret: remove client-secret."),
    row(Entra(&[7_000_112]), "The application is disabled at the provider; the administrator must enable it."),
    row(Entra(&[700_005]), "The code came from another tenant than it was redeemed at; use one tenant in both URLs."),
    row(Entra(&[501_481, 54_005]), "The sign-in page was stale or used twice. Start again: mailwicket authorize ACCOUNT"),
    row(Entra(&[70_000]), "The provider cannot use the stored sign-in. Check that client-id did not change, then sign in again."),
    row(Entra(&[90_002]), "The tenant is not known here: check its name, and the national cloud."),
    row(Entra(&[90_038, 900_382, 900_432]), "The tenant lives in another national cloud; use that cloud's URLs and a registration there."),
    row(Entra(&[900_144, 9_002_313, 90_014]), "The request was malformed; look for spaces or line ends in client-id, tenant and secret."),
    row(Entra(&[9_001_023, 9_002_332]), "This grant is not allowed at \"common\" or \"consumers\": set tenant to the tenant's id."),
    row(Entra(&[700_027, 50_012]), "The provider does not accept the certificate's signature: upload the certificate to the registration, and check that the key belongs to it."),
    row(Entra(&[700_024]), "The assertion is not within its time: set this machine's clock."),
    row(Entra(&[700_211, 700_213, 70_021]), "No federated credential of the registration fits the assertion: compare its issuer, subject and audience (iss, sub, aud) with the registration's."),
    row(Entra(&[50_126]), "The user name or password is wrong; or the user signs in elsewhere (federation), where this flow cannot follow: use \"authorization-code\" or \"device-code\"."),
    row(Entra(&[70_019, 70_018]), "The code was not typed in time, or wrongly. Start again: mailwicket authorize ACCOUNT"),
    pause(Entra(&[50_196]), 60, "The provider saw a request loop. All accounts of this client id wait for an hour; look for another program that uses it."),
    pause(Entra(&[90_055]), 10, "The tenant is throttled at the provider. All accounts of this client id wait for ten minutes."),
    wait(Entra(&[90_012, 90_024, 90_033, 90_006, 50_033, 50_087, 70_012]), "The provider has trouble of its own."),
    // Google
    row(Sub("invalid_grant", "invalid_rapt"), "A Workspace session policy demands a new sign-in; the administrator may trust the application."),
    row(Text("invalid_grant", "expired or revoked"), "The sign-in was revoked, the password changed, or the consent screen is in \"Testing\", where sign-ins last 7 days: publish it (\"In production\" or \"Internal\") and sign in again."),
    row(Text("invalid_grant", "Invalid JWT"), "The assertion of the service account is not within its time: set this machine's clock."),
    row(Text("unauthorized_client", "not authorized for any of the scopes"), "Domain-wide delegation lacks the scope: admin console, API controls, add the client id with https://mail.google.com/."),
    row(Word("deleted_client"), "The client id was deleted in the provider's console."),
    row(Word("redirect_uri_mismatch"), "The redirect address is not registered; at Google the client must be of type \"Desktop app\"."),
    row(Word("admin_policy_enforced"), "The Workspace administrator blocks this application."),
    row(Word("org_internal"), "The application is internal to another organisation."),
    // Zoho
    row(Word("invalid_code"), "The code is too old or the account lives in another region's data centre. Check the URLs and sign in again."),
    // RFC 8628
    row(Word("expired_token"), "The sign-in was not finished in time. Start again: mailwicket authorize ACCOUNT"),
    // RFC 6749
    row(Word("access_denied"), "The sign-in was declined. Try again: mailwicket authorize ACCOUNT"),
    row(Word("invalid_client"), "The provider does not accept client-id or client-secret."),
    row(Word("unauthorized_client"), "The application may not use this flow; allow it in the registration."),
    row(Word("unsupported_grant_type"), "The provider does not offer this flow; choose another."),
    row(Word("invalid_scope"), "The provider does not know or not allow one of the scopes."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::OAuthError;
    use crate::oauth::response::RawError;
    use crate::oauth::secrets::Secrets;

    fn answer(json: &str) -> ErrorAnswer {
        let raw: RawError = serde_json::from_str(json).expect("a well-formed error");
        raw.cleaned(&Secrets::default())
    }

    #[test]
    fn words_choose_the_behaviour_and_numbers_the_explanation() {
        let expired = meaning(&answer(
            r#"{"error":"invalid_grant","error_codes":[700082]}"#,
        ));
        assert_eq!(expired.class, Class::Consent);
        assert!(expired.remedy.contains("90 days"));

        let secret = meaning(&answer(
            r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}"#,
        ));
        assert_eq!(secret.class, Class::Config);
        assert!(secret.remedy.contains("expired"));
    }

    #[test]
    fn a_temporary_number_never_ends_a_grant() {
        let trouble = meaning(&answer(
            r#"{"error":"invalid_grant","error_codes":[90033]}"#,
        ));
        assert_eq!(trouble.class, Class::Retry);
    }

    #[test]
    fn a_request_loop_that_the_provider_saw_silences_the_whole_registration() {
        let saw_a_loop = r#"{"error":"invalid_grant","error_codes":[50196]}"#;
        let error = OAuthError::Refused(answer(saw_a_loop));
        assert_eq!(error.class(), Class::Retry);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
        assert!(error.concerns_all_accounts());
        let revoked = OAuthError::Refused(answer(r#"{"error":"invalid_grant"}"#));
        assert!(!revoked.concerns_all_accounts());
    }

    #[test]
    fn an_unknown_error_is_retried() {
        assert_eq!(
            meaning(&answer(r#"{"error":"brand_new"}"#)).class,
            Class::Retry
        );
        assert_eq!(
            meaning(&answer(r#"{"error":"temporarily_unavailable"}"#)).class,
            Class::Retry
        );
    }

    #[test]
    fn no_number_stands_in_two_rows() {
        let mut numbers: Vec<u32> = ROWS
            .iter()
            .filter_map(|row| {
                if let Entra(numbers) = row.sign {
                    Some(numbers)
                } else {
                    None
                }
            })
            .flatten()
            .copied()
            .collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
