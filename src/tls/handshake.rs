//! Why a handshake with a mail program came to nothing, in the words of whoever can do something about it.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::hello::Version;

/// Why there is no secured connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It went away before it had seen a certificate: a scan, a health check, or a program that was closed.
    #[error("the peer went away in the middle of the handshake")]
    Gone,
    /// It went away without a word after it had seen the certificate.
    #[error(
        "the mail program closed the connection when it had seen the certificate; it probably does not trust it. \
         Have it trust the local CA (mailwicket ca export), or call this machine by a name that is in the certificate"
    )]
    Left,
    /// It took too long.
    #[error("the handshake was not finished in time")]
    Timeout,
    /// It is too old.
    #[error(
        "the mail program offers nothing newer than {0}, and TLS 1.2 is the least; update it, \
         or give it a listener with tls = \"none\" and its address in allow-plaintext-from"
    )]
    OldVersion(Version),
    /// It has no means in common with us.
    #[error(
        "the mail program has no secure cipher in common with mailwicket ({0}); update it, \
         or give it a listener with tls = \"none\" and its address in allow-plaintext-from"
    )]
    NothingInCommon(String),
    /// It wants to speak another protocol over TLS.
    #[error(
        "the peer wants to speak another protocol (ALPN), as browsers do; no mail program does"
    )]
    OtherProtocol,
    /// It does not like the certificate.
    #[error(
        "the mail program does not trust the certificate ({0}). Have it trust the local CA: mailwicket ca export; \
         or call this machine by a name that is in the certificate ([ca] names adds some)"
    )]
    Distrusted(String),
    /// It does not speak TLS as it should.
    #[error("the handshake failed: {0}")]
    Failed(String),
    /// We have no certificate.
    #[error("there is no certificate to show: {0}")]
    Certificate(String),
}

impl HandshakeError {
    /// What failed before the peer could see a certificate.
    pub(super) fn before_certificate(error: io::Error) -> Self {
        match rustls_error(&error) {
            Some(error) => Self::of_library(error),
            None => Self::Gone,
        }
    }

    /// What failed afterwards.
    pub(super) fn with_certificate(error: io::Error) -> Self {
        match rustls_error(&error) {
            Some(error) => Self::of_library(error),
            None => Self::Left,
        }
    }

    fn of_library(error: &Error) -> Self {
        match error {
            Error::NoApplicationProtocol => Self::OtherProtocol,
            Error::PeerIncompatible(reason) => Self::NothingInCommon(incompatible(reason)),
            Error::AlertReceived(alert) if is_about_certificate(*alert) => {
                Self::Distrusted(format!("alert {alert:?}"))
            }
            other => Self::Failed(other.to_string()),
        }
    }

    /// Whether it is worth a line in a usual log: somebody may have to do something.
    pub fn is_notable(&self) -> bool {
        !matches!(self, Self::Gone)
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::NoCipherSuitesInCommon => {
            "no cipher suite with forward secrecy and authenticated encryption".to_owned()
        }
        PeerIncompatible::NoSignatureSchemesInCommon => "no kind of signature".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "no group for the key exchange".to_owned(),
        // The names of the rest are English.
        other => format!("{other:?}"),
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
    )
}
