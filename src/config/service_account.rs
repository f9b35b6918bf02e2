//! The key file of a service account, as Google's console makes it.
//!
//! Only what an assertion needs is read. `token_uri` in it is ignored: where secrets are sent to, the configuration says.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use secrecy::ExposeSecret;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{SecretError, SecretSource, signing_key};

/// A service account that can sign.
pub struct ServiceAccount {
    /// Its own address, which is no mailbox.
    pub address: String,
    /// Its key.
    pub key: Arc<dyn SigningKey>,
    /// The name of the key.
    pub key_id: Option<String>,
}

/// Why a key file cannot be used. No variant holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceAccountError {
    /// It cannot be read.
    #[error("the key of the service account: {0}")]
    Secret(#[from] SecretError),
    /// It is not one.
    #[error(
        "`service-account` is no key file of a service account; make one in JSON at the provider (Keys, Add key) and name that file"
    )]
    NotOne,
    /// The key in it is no use.
    #[error(
        "the private_key of the service account {address} cannot be used; make a new key at the provider"
    )]
    Key {
        /// The service account.
        address: String,
    },
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
}

impl ServiceAccount {
    /// Reads the file, now. It blocks, as [`SecretSource::read`] does.
    pub fn load(source: &SecretSource) -> Result<Self, ServiceAccountError> {
        let text = source.read_whole()?;
        // The parser's own message is dropped: it might quote the key.
        let file: KeyFile =
            serde_json::from_str(text.expose_secret()).map_err(|_| ServiceAccountError::NotOne)?;
        let pem = Zeroizing::new(file.private_key);
        if file.kind != "service_account" {
            return Err(ServiceAccountError::NotOne);
        }
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok();
        match key.and_then(signing_key) {
            Some(key) => Ok(Self {
                address: file.client_email,
                key,
                key_id: file.private_key_id,
            }),
            None => Err(ServiceAccountError::Key {
                address: file.client_email,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::testing::made;

    fn load(text: &str) -> Result<ServiceAccount, ServiceAccountError> {
        ServiceAccount::load(&SecretSource::Inline(text.to_owned().into()))
    }

    #[test]
    fn a_key_file_is_told_from_other_json_and_never_quoted() {
        let (_, key) = made(&rcgen::PKCS_RSA_SHA256);
        let file = |kind: &str, key: &str| {
            let email = "mail@project.iam.gserviceaccount.com";
            json!({"type": kind, "client_email": email, "private_key": key, "private_key_id": "k1"})
                .to_string()
        };
        let account = load(&file("service_account", &key)).expect("an account");
        assert_eq!(account.key_id.as_deref(), Some("k1"));
        for (text, want) in [
            (file("authorized_user", &key), "no key file"),
            (file("service_account", "s3cret"), "cannot be used"),
            (
                r#"{"installed": {"client_secret": "s3cret"}}"#.into(),
                "no key file",
            ),
            ("s3cret".into(), "no key file"),
        ] {
            let error = load(&text).err().expect("a fault");
            let told = format!("{error} {error:?}");
            assert!(told.contains(want) && !told.contains("s3cret"), "{told}");
        }
    }
}
