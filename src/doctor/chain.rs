//! What a server's certificates say, and what that means for the step `tls`. Knows no sockets, and believes nothing: whether the
//! chain is good was decided before.

use jiff::{Timestamp, ToSpan};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::name::Name;

use super::finding::Told;
use crate::failure::Cause;
use crate::oauth::response::printable;
use crate::tls::witness::{Authority, Seen};

/// A certificate that ends sooner is told. Most are renewed a month before their end, so this one was forgotten.
const SOON_DAYS: i64 = 14;
/// Characters of a name.
const NAME: usize = 120;
/// Certificates that are named; a server may show more.
const NAMED: usize = 6;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// What is told of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Certificate {
    /// Reads one; `None` if it is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let certificate = CertificateInner::<Raw>::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let validity = certificate.validity();
        let time = |time: x509_cert::time::Time| {
            let seconds = time.to_unix_duration().as_secs();
            Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
        };
        Some(Self {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            from: time(validity.not_before)?,
            until: time(validity.not_after)?,
        })
    }
}

/// The parts of a name by which people know it, else all of it.
fn name(name: &Name) -> String {
    let part = |wanted: ObjectIdentifier| {
        let found = name.iter().find(|part| part.oid == wanted)?;
        let text = DirectoryString::try_from(&found.value).ok()?;
        Some(text.value().into_owned())
    };
    let text = match (part(COMMON_NAME), part(ORGANISATION)) {
        (Some(common), Some(organisation)) if common != organisation => {
            format!("{common} ({organisation})")
        }
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => name.to_string(),
    };
    match text.is_empty() {
        true => "a certificate without a name".to_owned(),
        false => printable(&text, NAME),
    }
}

/// A chain as people read it: `mail.example.com < Some CA < Some Root`.
fn chain(certificates: &[Certificate]) -> String {
    let mut names: Vec<&str> = certificates
        .iter()
        .take(NAMED)
        .map(|certificate| certificate.subject.as_str())
        .collect();
    if let Some(last) = certificates.get(..NAMED).unwrap_or(certificates).last()
        && last.issuer != last.subject
    {
        names.push(&last.issuer);
    }
    names.join(" < ")
}

/// Who stands at the end of what was shown: the one that vouches for it.
fn signer(certificates: &[Certificate]) -> &str {
    certificates
        .last()
        .map_or("an unknown issuer", |last| &last.issuer)
}

fn days(from: Timestamp, until: Timestamp) -> i64 {
    (until.as_second() - from.as_second()) / (24 * 60 * 60)
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn read(seen: &Seen) -> Vec<Certificate> {
    seen.chain
        .iter()
        .filter_map(|der| Certificate::read(der))
        .collect()
}

/// What is told of a handshake that was made, in `version`.
pub(super) fn accepted(host: &str, version: &str, seen: Option<&Seen>, now: Timestamp) -> Told {
    let certificates = seen.map(read).unwrap_or_default();
    let Some((seen, own)) = seen.zip(certificates.first()) else {
        return Told::well(format!("{version} with {host}"));
    };
    let (who, remedy) = vouched(host, seen, signer(&certificates));
    let left = days(now, own.until);
    let detail = format!(
        "{version}; certificate until {} ({left} days left); {}; {who}",
        day(own.until),
        chain(&certificates)
    );
    // A ca-file is there because somebody knows, so its short-lived certificates are nobody's mistake either.
    match remedy {
        _ if own.until < now + (SOON_DAYS * 24).hours() => Told::warning(
            detail,
            format!("Whoever runs {host} has to renew its certificate; then connections fail"),
        ),
        Some(remedy) => Told::warning(detail, remedy),
        None => Told::well(detail),
    }
}

/// Who vouches for a chain that is believed, and what to think of it.
fn vouched(host: &str, seen: &Seen, signer: &str) -> (String, Option<String>) {
    match seen.verdict {
        Ok(Authority::Public) => ("signed by a public authority".to_owned(), None),
        Ok(Authority::CaFile) => (
            format!(
                "signed by {signer} of `ca-file`: a private authority, or a firewall that inspects TLS"
            ),
            None,
        ),
        Ok(Authority::System) | Err(_) => (
            format!(
                "signed by {signer}, which this machine trusts and browsers do not know: a firewall seems to inspect TLS"
            ),
            Some(format!(
                "If nobody is meant to read what goes to {host}, have whoever runs that firewall exempt it; else all is well"
            )),
        ),
    }
}

/// What is told of a handshake that failed for `reason`, with what to do about it as far as it is known.
pub(super) fn refused(
    host: &str,
    reason: &str,
    advice: Option<&str>,
    seen: Option<&Seen>,
    now: Timestamp,
) -> Told {
    let certificates = seen.map(read).unwrap_or_default();
    let (Some(Seen { verdict, .. }), Some(own)) = (seen, certificates.first()) else {
        return Told::failed(Cause::Upstream, reason, advice.unwrap_or_default());
    };
    let shown = format!(
        "shown was {}, good from {} to {}",
        chain(&certificates),
        day(own.from),
        day(own.until)
    );
    match verdict {
        Err(rustls::Error::InvalidCertificate(bad)) => {
            let (what, remedy) = distrusted(host, bad, &certificates, now);
            Told::failed(Cause::Upstream, format!("{what}; {shown}"), remedy)
        }
        _ => {
            let detail = format!("{reason}; {shown}");
            Told::failed(Cause::Upstream, detail, advice.unwrap_or_default())
        }
    }
}

fn distrusted(
    host: &str,
    bad: &rustls::CertificateError,
    certificates: &[Certificate],
    now: Timestamp,
) -> (String, String) {
    use rustls::CertificateError as Bad;
    let own = &certificates[0]; // the caller has looked
    let signer = signer(certificates);
    // What an authority of the same name and another key makes of it is not what is wrong.
    let has_no_trusted_signer = matches!(
        bad,
        Bad::UnknownIssuer
            | Bad::BadSignature
            | Bad::UnsupportedSignatureAlgorithmContext { .. }
            | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    );
    match bad {
        _ if has_no_trusted_signer && signer == own.subject => (
            format!("{host} shows a certificate that {signer} signed itself, and nobody vouches for it"),
            "Name that certificate with `ca-file`, if it is really the server's own; check `host`".to_owned(),
        ),
        _ if has_no_trusted_signer => (
            format!(
                "the certificate of {host} is signed by {signer}, whom this machine does not trust: a firewall that inspects TLS, a \
                 private authority, or a server that does not show its whole chain"
            ),
            format!(
                "If {signer} is your firewall or your own authority, name its certificate with `ca-file`; if nobody knows it, do not"
            ),
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => (
            format!(
                "the certificate of {host} ended on {}; by this machine's clock today is {}",
                day(own.until),
                day(now)
            ),
            "If that date is right, whoever runs the server has to renew its certificate; else set this machine's clock".to_owned(),
        ),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => (
            format!(
                "the certificate of {host} begins on {}; by this machine's clock today is {}",
                day(own.from),
                day(now)
            ),
            "Set this machine's clock".to_owned(),
        ),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => (
            format!("the certificate is for another host than {host}"),
            "Check `host`; a firewall or a portal may also answer in its place".to_owned(),
        ),
        other => (
            format!("the certificate of {host} is not believed: {other}"),
            "Whoever runs the server has to mend it".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
    use rustls::CertificateError as Bad;
    use rustls::pki_types::CertificateDer;

    use super::*;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Corp\u{1b}[31m");
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(signed_by: &CertifiedIssuer<'_, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["mail.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "mail.example.com");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 4, 1);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, signed_by).unwrap().der().clone()
    }

    #[test]
    fn a_name_is_told_as_it_is_and_not_with_the_escapes_of_ldap() {
        let authority = authority("Some, Inc. + \"Friends\"");
        let told = Certificate::read(&leaf(&authority)).unwrap().issuer;
        assert!(told.starts_with("Some, Inc. + \"Friends\" (Corp"), "{told}");
    }

    fn seen(verdict: Result<Authority, rustls::Error>) -> Seen {
        let chain = vec![leaf(&authority("Firewall CA"))];
        Seen { chain, verdict }
    }

    fn bad(bad: Bad) -> Seen {
        seen(Err(rustls::Error::InvalidCertificate(bad)))
    }

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    fn words(told: Told) -> String {
        match told {
            Told::Failed { detail, remedy, .. } => format!("{detail} | {}", remedy.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_public_authority_is_no_reason_for_words() {
        let told = accepted(
            "mail.example.com",
            "TLS 1.3",
            Some(&seen(Ok(Authority::Public))),
            at("2026-02-01"),
        );
        let Told::Well(detail) = told else {
            panic!("{told:?}")
        };
        assert!(
            detail.starts_with("TLS 1.3; certificate until 2026-04-01 (59 days left); mail.example.com < Firewall CA (Corp"),
            "{detail}"
        );
        assert!(detail.ends_with("signed by a public authority"), "{detail}");
        assert!(!detail.contains('\u{1b}'), "{detail}");
    }

    #[test]
    fn an_authority_that_only_this_machine_knows_is_named_as_a_firewall() {
        let seen = seen(Ok(Authority::System));
        let told = accepted("mail.example.com", "TLS 1.2", Some(&seen), at("2026-02-01"));
        let Told::Warning { detail, .. } = told else {
            panic!("{told:?}")
        };
        assert!(
            detail.contains("signed by Firewall CA") && detail.contains("inspect TLS"),
            "{detail}"
        );
    }

    #[test]
    fn a_certificate_is_told_two_weeks_before_its_end() {
        let seen = seen(Ok(Authority::CaFile));
        for (day, is_soon) in [("2026-03-17", false), ("2026-03-19", true)] {
            let told = accepted("mail.example.com", "TLS 1.3", Some(&seen), at(day));
            assert_eq!(matches!(told, Told::Warning { .. }), is_soon, "{told:?}");
        }
    }

    #[test]
    fn who_signed_what_is_not_believed_is_named() {
        let now = at("2026-02-01");
        let told = |seen: &Seen| words(refused("mail.example.com", "no", None, Some(seen), now));
        // The second: a trusted authority has the same name and another key.
        for why in [Bad::UnknownIssuer, Bad::BadSignature] {
            let unknown = told(&bad(why));
            assert!(unknown.contains("signed by Firewall CA"), "{unknown}");
        }
        let unknown = told(&bad(Bad::UnknownIssuer));
        assert!(
            unknown.contains("firewall") && unknown.contains("`ca-file`"),
            "{unknown}"
        );
        let own = authority("mail.example.com");
        let alone = Seen {
            chain: vec![own.der().clone()],
            ..bad(Bad::UnknownIssuer)
        };
        assert!(told(&alone).contains("signed itself"), "{}", told(&alone));
        let expired = told(&bad(Bad::Expired));
        assert!(expired.contains("ended on 2026-04-01"), "{expired}");
        let other = told(&bad(Bad::NotValidForName));
        assert!(
            other.contains("another host") && other.contains("`host`"),
            "{other}"
        );
    }

    #[test]
    fn a_server_that_shows_nothing_fails_in_the_words_of_the_connection() {
        let told = refused("h", "cut off", Some("look there"), None, at("2026-02-01"));
        assert_eq!(words(told), "cut off | look there");
    }
}
