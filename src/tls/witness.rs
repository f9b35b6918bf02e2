//! Verification that remembers what it was shown, so that `doctor` can name who signed a certificate that is not believed.
//!
//! It believes what [`super::upstream`] believes and nothing more: it looks, then hands over to the library's own verifier, whose
//! answer stands. A connection that would fail without it fails with it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{TlsError, add_ca_file, provider, roots};

/// Whose word makes a certificate believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// One that browsers know (Mozilla's list).
    Public,
    /// One of the provider's `ca-file`.
    CaFile,
    /// One that only this machine's system knows.
    System,
}

/// What a server showed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The certificates, the server's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Who vouches for it, or why it is not believed.
    pub verdict: Result<Authority, Error>,
}

/// A verifier that remembers.
#[derive(Debug)]
pub struct Witness {
    /// The one whose answer stands.
    verifier: Arc<WebPkiServerVerifier>,
    public: Arc<WebPkiServerVerifier>,
    ca_file: Option<Arc<WebPkiServerVerifier>>,
    seen: Mutex<Option<Seen>>,
}

impl Witness {
    /// A configuration as [`super::upstream`] makes it, and what will be seen with it. Nothing is resumed, so that every connection
    /// shows its certificate.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn upstream(ca_file: Option<&Path>) -> Result<(Arc<ClientConfig>, Arc<Self>), TlsError> {
        let public = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let ca_file_alone = ca_file.map(|path| {
            let mut roots = RootCertStore::empty();
            add_ca_file(&mut roots, path)?;
            verifier(roots)
        });
        let witness = Arc::new(Self {
            verifier: verifier(roots(ca_file)?)?,
            public: verifier(public)?,
            ca_file: ca_file_alone.transpose()?,
            seen: Mutex::default(),
        });
        // "Dangerous" is what the library calls any verifier but its own; ours ends with its own answer.
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Ok((Arc::new(config), witness))
    }

    /// What the last server showed, if one has shown anything.
    pub fn take(&self) -> Option<Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take()
    }
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| TlsError::Setup(Error::General(error.to_string())))
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let asked = |verifier: &Arc<WebPkiServerVerifier>| {
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        };
        let verdict = asked(&self.verifier);
        let authority = || match (&self.ca_file, asked(&self.public)) {
            (_, Ok(_)) => Authority::Public,
            (Some(ca_file), _) if asked(ca_file).is_ok() => Authority::CaFile,
            _ => Authority::System,
        };
        let shown = std::iter::once(end_entity).chain(intermediates);
        let seen = Seen {
            chain: shown
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            verdict: match &verdict {
                Ok(_) => Ok(authority()),
                Err(error) => Err(error.clone()),
            },
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
